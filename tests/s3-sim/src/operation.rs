//! S3's operations by name, and which one an HTTP request asks for.
//!
//! The name is found before anything else looks at the request, so that refused requests
//! (bad signature, throttled, unknown bucket) are counted under it as well.

use http::{HeaderMap, Method, Uri};
use percent_encoding::percent_decode_str;

macro_rules! operations {
    ($($name:ident),* $(,)?) => {
        /// An operation of the S3 API.
        #[allow(missing_docs)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Operation { $($name),* }

        impl Operation {
            /// Every operation.
            pub const ALL: &[Operation] = &[$(Operation::$name),*];

            /// Its name as the S3 API spells it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Operation::$name => stringify!($name)),* }
            }
        }
    };
}

operations! {
    ListBuckets, CreateBucket, DeleteBucket, HeadBucket, GetBucketLocation,
    GetBucketVersioning, PutBucketVersioning, GetBucketEncryption, PutBucketEncryption,
    ListObjectsV2, ListObjects, ListObjectVersions, ListMultipartUploads,
    HeadObject, GetObject, PutObject, CopyObject, DeleteObject, DeleteObjects,
    GetObjectAttributes, GetObjectTagging, PutObjectTagging, DeleteObjectTagging,
    CreateMultipartUpload, UploadPart, UploadPartCopy, CompleteMultipartUpload,
    AbortMultipartUpload, ListParts,
    ListObjectAnnotations, GetObjectAnnotation, PutObjectAnnotation, Other,
}

impl Operation {
    /// The operation called `name`, if it is one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|op| op.name() == name)
    }

    /// The operation an HTTP request asks for.
    pub(crate) fn of(method: &Method, uri: &Uri, headers: &HeaderMap) -> Self {
        let path = uri.path().strip_prefix('/').unwrap_or_default();
        let query = uri.query().unwrap_or_default();
        match path.split_once('/') {
            None | Some((_, "")) if path.is_empty() => match *method {
                Method::GET => Self::ListBuckets,
                _ => Self::Other,
            },
            None | Some((_, "")) => Self::of_bucket(method, query),
            Some(_) => Self::of_object(method, query, headers),
        }
    }

    fn of_bucket(method: &Method, query: &str) -> Self {
        let has = |name| has_parameter(query, name);
        match *method {
            Method::HEAD => Self::HeadBucket,
            Method::POST if has("delete") => Self::DeleteObjects,
            Method::PUT if has("versioning") => Self::PutBucketVersioning,
            Method::PUT if has("encryption") => Self::PutBucketEncryption,
            Method::PUT if names_a_subresource(query) => Self::Other,
            Method::PUT => Self::CreateBucket,
            Method::DELETE if names_a_subresource(query) => Self::Other,
            Method::DELETE => Self::DeleteBucket,
            Method::GET if has("location") => Self::GetBucketLocation,
            Method::GET if has("versioning") => Self::GetBucketVersioning,
            Method::GET if has("encryption") => Self::GetBucketEncryption,
            Method::GET if has("versions") => Self::ListObjectVersions,
            Method::GET if has("uploads") => Self::ListMultipartUploads,
            Method::GET if has("list-type") => Self::ListObjectsV2,
            Method::GET if names_a_subresource(query) => Self::Other,
            Method::GET => Self::ListObjects,
            _ => Self::Other,
        }
    }

    fn of_object(method: &Method, query: &str, headers: &HeaderMap) -> Self {
        let has = |name| has_parameter(query, name);
        let copies = || headers.contains_key("x-amz-copy-source");
        match *method {
            Method::HEAD => Self::HeadObject,
            Method::GET if has("uploadId") => Self::ListParts,
            Method::GET if has("annotationName") => Self::GetObjectAnnotation,
            Method::GET if has("annotation") => Self::ListObjectAnnotations,
            Method::PUT if has("annotation") => Self::PutObjectAnnotation,
            Method::GET if has("tagging") => Self::GetObjectTagging,
            Method::GET if has("attributes") => Self::GetObjectAttributes,
            Method::GET if names_a_subresource(query) => Self::Other,
            Method::GET => Self::GetObject,
            Method::PUT if has("uploadId") && copies() => Self::UploadPartCopy,
            Method::PUT if has("uploadId") => Self::UploadPart,
            Method::PUT if has("tagging") => Self::PutObjectTagging,
            Method::PUT if names_a_subresource(query) => Self::Other,
            Method::PUT if copies() => Self::CopyObject,
            Method::PUT => Self::PutObject,
            Method::POST if has("uploads") => Self::CreateMultipartUpload,
            Method::POST if has("uploadId") => Self::CompleteMultipartUpload,
            Method::DELETE if has("uploadId") => Self::AbortMultipartUpload,
            Method::DELETE if has("tagging") => Self::DeleteObjectTagging,
            Method::DELETE => Self::DeleteObject,
            _ => Self::Other,
        }
    }

    /// True for what S3 counts against its limit of writes (PUT, COPY, POST, DELETE).
    #[must_use]
    pub fn is_write(self) -> bool {
        matches!(
            self,
            Self::PutObject
                | Self::CopyObject
                | Self::DeleteObject
                | Self::DeleteObjects
                | Self::PutObjectTagging
                | Self::PutObjectAnnotation
                | Self::DeleteObjectTagging
                | Self::CreateMultipartUpload
                | Self::UploadPart
                | Self::UploadPartCopy
                | Self::CompleteMultipartUpload
                | Self::AbortMultipartUpload
        )
    }

    /// True for operations that S3 may answer with 200 and an `<Error>` in the body.
    #[must_use]
    pub fn may_fail_within_200(self) -> bool {
        matches!(self, Self::CopyObject | Self::UploadPartCopy | Self::CompleteMultipartUpload)
    }
}

fn has_parameter(query: &str, name: &str) -> bool {
    query.split('&').any(|pair| pair.split('=').next() == Some(name))
}

fn names_a_subresource(query: &str) -> bool {
    const SUBRESOURCES: &[&str] = &[
        "accelerate",
        "acl",
        "analytics",
        "cors",
        "encryption",
        "intelligent-tiering",
        "inventory",
        "legal-hold",
        "lifecycle",
        "logging",
        "metrics",
        "notification",
        "object-lock",
        "ownershipControls",
        "policy",
        "policyStatus",
        "publicAccessBlock",
        "replication",
        "requestPayment",
        "restore",
        "retention",
        "select",
        "tagging",
        "torrent",
        "website",
    ];
    !query.is_empty()
        && query.split('&').filter_map(|pair| pair.split('=').next()).any(|name| SUBRESOURCES.contains(&name))
}

/// The bucket and the key a path-style request names, decoded; empty where it names none.
pub(crate) fn target(uri: &Uri) -> (String, String) {
    let path = uri.path().strip_prefix('/').unwrap_or_default();
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    let decode = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
    (decode(bucket), decode(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(method: &Method, uri: &str) -> Operation {
        Operation::of(method, &uri.parse().unwrap(), &HeaderMap::new())
    }

    #[test]
    fn is_told_by_method_path_and_query() {
        assert_eq!(of(&Method::GET, "/"), Operation::ListBuckets);
        assert_eq!(of(&Method::GET, "/b?list-type=2"), Operation::ListObjectsV2);
        assert_eq!(of(&Method::GET, "/b/?prefix=uploads"), Operation::ListObjects);
        assert_eq!(of(&Method::GET, "/b/k?x-id=GetObject"), Operation::GetObject);
        assert_eq!(of(&Method::GET, "/b//"), Operation::GetObject);
        assert_eq!(of(&Method::POST, "/b/k?uploads"), Operation::CreateMultipartUpload);
        assert_eq!(of(&Method::PUT, "/b/k?partNumber=1&uploadId=u"), Operation::UploadPart);
        assert_eq!(of(&Method::PUT, "/b?versioning"), Operation::PutBucketVersioning);
    }

    #[test]
    fn every_name_is_found_again() {
        for op in Operation::ALL {
            assert_eq!(Operation::from_name(op.name()), Some(*op));
        }
    }
}

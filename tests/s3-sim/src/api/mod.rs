//! S3's operations, a file for each group of them. `s3s` has parsed the request and checked
//! its signature; [`Gate`](crate::auth::Gate) has checked the right that the operation's
//! name tells.

mod annotations;
mod attributes;
mod buckets;
mod copy;
mod delete;
mod headers;
mod list;
mod multipart;
mod multipart_list;
mod parts;
mod put;
mod read;
mod source;
mod tagging;
mod versions;
mod xml;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use s3s::auth::Credentials;
use s3s::dto::{self, Timestamp};
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use crate::auth::Caller;
use crate::errors;
use crate::state::{Bucket, Found, State, StoredObject, VersionId};

pub(crate) use annotations::Annotations;
pub(crate) use source::source_size;

/// The operations on a state.
pub(crate) struct Api {
    pub(crate) state: Arc<State>,
}

/// XML that a listing has written itself; goes out in place of what s3s would write.
#[derive(Clone)]
pub(crate) struct RawXml(pub(crate) Bytes);

impl Api {
    fn caller(&self, credentials: Option<&Credentials>) -> S3Result<Caller<'_>> {
        Caller::of(&self.state, credentials)
    }

    fn bucket(&self, name: &str) -> S3Result<Arc<Bucket>> {
        self.state.bucket(name).ok_or_else(errors::no_such_bucket)
    }

    /// The object a request names, or the error S3 answers. Who may not list a bucket is not
    /// told what is missing there.
    fn find(
        &self,
        caller: &Caller<'_>,
        bucket: &Bucket,
        key: &str,
        version_id: Option<&str>,
    ) -> S3Result<Arc<StoredObject>> {
        let hidden = || errors::error(S3ErrorCode::AccessDenied, "Access Denied");
        let may_list = caller.may("s3:ListBucket", &bucket.name);
        let Some(version_id) = version_id else {
            return match bucket.latest(key) {
                Found::Object(object) => Ok(object),
                _ if !may_list => Err(hidden()),
                Found::Nothing => Err(errors::no_such_key()),
                Found::DeleteMarker(id) => Err(with_delete_marker(errors::no_such_key(), id)),
            };
        };
        let id = VersionId::parse(version_id)
            .ok_or_else(|| errors::invalid_argument("Invalid version id specified"))?;
        match bucket.version(key, id) {
            Found::Object(object) => Ok(object),
            Found::DeleteMarker(id) => Err(with_delete_marker(
                errors::error(
                    S3ErrorCode::MethodNotAllowed,
                    "The specified method is not allowed against this resource.",
                ),
                id,
            )),
            Found::Nothing if !may_list => Err(hidden()),
            Found::Nothing => Err(errors::no_such_version()),
        }
    }
}

fn with_delete_marker(mut error: S3Error, id: VersionId) -> S3Error {
    let mut headers = HeaderMap::new();
    headers.insert("x-amz-delete-marker", HeaderValue::from_static("true"));
    if let Ok(id) = HeaderValue::try_from(id.text()) {
        headers.insert("x-amz-version-id", id);
    }
    error.set_headers(headers);
    error
}

fn timestamp(time: std::time::SystemTime) -> Timestamp {
    Timestamp::from(time)
}

/// An answer with headers beside its output.
fn with_headers<T>(output: T, headers: HeaderMap) -> S3Result<S3Response<T>> {
    Ok(S3Response::with_headers(output, headers))
}

type Answer<T> = S3Result<S3Response<T>>;

/// Passes each operation on to the function of the same name in its module.
macro_rules! operations {
    ($($module:ident :: $name:ident ($input:ident) -> $output:ident),* $(,)?) => {
        #[async_trait]
        impl S3 for Api {
            $(
                async fn $name(&self, request: S3Request<dto::$input>) -> Answer<dto::$output> {
                    $module::$name(self, request).await
                }
            )*
        }
    };
}

operations! {
    buckets::list_buckets(ListBucketsInput) -> ListBucketsOutput,
    buckets::create_bucket(CreateBucketInput) -> CreateBucketOutput,
    buckets::delete_bucket(DeleteBucketInput) -> DeleteBucketOutput,
    buckets::head_bucket(HeadBucketInput) -> HeadBucketOutput,
    buckets::get_bucket_location(GetBucketLocationInput) -> GetBucketLocationOutput,
    buckets::get_bucket_versioning(GetBucketVersioningInput) -> GetBucketVersioningOutput,
    buckets::put_bucket_versioning(PutBucketVersioningInput) -> PutBucketVersioningOutput,
    buckets::get_bucket_encryption(GetBucketEncryptionInput) -> GetBucketEncryptionOutput,
    buckets::put_bucket_encryption(PutBucketEncryptionInput) -> PutBucketEncryptionOutput,
    list::list_objects_v2(ListObjectsV2Input) -> ListObjectsV2Output,
    list::list_objects(ListObjectsInput) -> ListObjectsOutput,
    versions::list_object_versions(ListObjectVersionsInput) -> ListObjectVersionsOutput,
    read::head_object(HeadObjectInput) -> HeadObjectOutput,
    read::get_object(GetObjectInput) -> GetObjectOutput,
    attributes::get_object_attributes(GetObjectAttributesInput) -> GetObjectAttributesOutput,
    put::put_object(PutObjectInput) -> PutObjectOutput,
    copy::copy_object(CopyObjectInput) -> CopyObjectOutput,
    delete::delete_object(DeleteObjectInput) -> DeleteObjectOutput,
    delete::delete_objects(DeleteObjectsInput) -> DeleteObjectsOutput,
    tagging::get_object_tagging(GetObjectTaggingInput) -> GetObjectTaggingOutput,
    tagging::put_object_tagging(PutObjectTaggingInput) -> PutObjectTaggingOutput,
    tagging::delete_object_tagging(DeleteObjectTaggingInput) -> DeleteObjectTaggingOutput,
    multipart::create_multipart_upload(CreateMultipartUploadInput) -> CreateMultipartUploadOutput,
    multipart::complete_multipart_upload(CompleteMultipartUploadInput) -> CompleteMultipartUploadOutput,
    multipart::abort_multipart_upload(AbortMultipartUploadInput) -> AbortMultipartUploadOutput,
    parts::upload_part(UploadPartInput) -> UploadPartOutput,
    parts::upload_part_copy(UploadPartCopyInput) -> UploadPartCopyOutput,
    multipart_list::list_parts(ListPartsInput) -> ListPartsOutput,
    multipart_list::list_multipart_uploads(ListMultipartUploadsInput) -> ListMultipartUploadsOutput,
}

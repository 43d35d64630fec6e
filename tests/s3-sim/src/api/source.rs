//! The source of CopyObject and UploadPartCopy: finding it, the rights and conditions on it.

use std::sync::Arc;

use http::HeaderMap;
use percent_encoding::percent_decode_str;
use s3s::{S3ErrorCode, S3Result};

use super::Api;
use crate::auth::{Caller, check_demands};
use crate::conditions::{ReadConditions, text_header};
use crate::errors;
use crate::state::{Found, State, StoredObject};

/// What `x-amz-copy-source` names.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SourceName {
    pub(super) bucket: String,
    pub(super) key: String,
    pub(super) version_id: Option<String>,
}

impl SourceName {
    /// Reads the header as S3 does: percent-decoded, with `+` for a space, which is how
    /// clients that forget to encode it come to grief.
    fn of(headers: &HeaderMap) -> S3Result<Self> {
        let invalid = || {
            errors::invalid_argument(
                "Copy Source must mention the source bucket and key: sourcebucket/sourcekey",
            )
        };
        let header = text_header(headers, "x-amz-copy-source").ok_or_else(invalid)?;
        let (path, version) = match header.split_once("?versionId=") {
            Some((path, version)) => (path, Some(version)),
            None => (header.as_str(), None),
        };
        let decode = |text: &str| {
            percent_decode_str(&text.replace('+', " "))
                .decode_utf8()
                .map(|text| text.into_owned())
                .map_err(|_| invalid())
        };
        let path = decode(path)?;
        let path = path.strip_prefix('/').unwrap_or(&path);
        let (bucket, key) = path.split_once('/').ok_or_else(invalid)?;
        if bucket.is_empty() || key.is_empty() {
            return Err(invalid());
        }
        Ok(Self {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            version_id: version.map(decode).transpose()?,
        })
    }
}

/// A source that may be copied.
pub(super) struct Source {
    pub(super) name: SourceName,
    pub(super) object: Arc<StoredObject>,
}

impl Source {
    /// Finds the source and checks the caller's rights, the bucket's demands, the storage
    /// class and the conditions on it, in this order.
    pub(super) fn open(api: &Api, caller: &Caller<'_>, headers: &HeaderMap) -> S3Result<Self> {
        let name = SourceName::of(headers)?;
        let bucket = api.bucket(&name.bucket)?;
        let action = match name.version_id {
            Some(_) => "s3:GetObjectVersion",
            None => "s3:GetObject",
        };
        caller.need(action, &name.bucket, Some(&name.key))?;
        check_demands(&api.state, &bucket, headers, "x-amz-source-expected-bucket-owner")?;
        let object =
            api.find(caller, &bucket, &name.key, name.version_id.as_deref()).map_err(|error| match error
                .code()
            {
                S3ErrorCode::MethodNotAllowed => errors::invalid_request(
                    "The source of a copy request may not specifically refer to a delete marker \
                     by version id.",
                ),
                _ => error,
            })?;
        if object.is_archived() {
            return Err(errors::archived());
        }
        caller.need_key("kms:Decrypt", &object.encryption)?;
        ReadConditions::of_copy_source(headers).check_source(&object)?;
        Ok(Self { name, object })
    }
}

/// `bytes=first-last`, the only form `x-amz-copy-source-range` has.
pub(super) fn parse_range(text: &str) -> S3Result<(u64, u64)> {
    text.strip_prefix("bytes=")
        .and_then(|range| range.split_once('-'))
        .and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)))
        .filter(|(first, last)| first <= last)
        .ok_or_else(|| {
            errors::invalid_argument(
                "The x-amz-copy-source-range value must be of the form bytes=first-last where \
                 first and last are the zero-based offsets of the first and last bytes to copy",
            )
        })
}

/// How many bytes an UploadPartCopy is about to copy, for its latency; 0 if that cannot be
/// told.
pub(crate) fn source_size(state: &State, headers: &HeaderMap) -> u64 {
    if let Some(range) = text_header(headers, "x-amz-copy-source-range") {
        return parse_range(&range).map_or(0, |(first, last)| last - first + 1);
    }
    let Ok(name) = SourceName::of(headers) else {
        return 0;
    };
    match state.bucket(&name.bucket).map(|bucket| bucket.latest(&name.key)) {
        Some(Found::Object(object)) => object.content.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(header: &str) -> Option<SourceName> {
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-copy-source", header.parse().unwrap());
        SourceName::of(&headers).ok()
    }

    #[test]
    fn a_source_is_decoded_once_and_plus_is_a_space() {
        let source = name("/bucket//a%2Fb%20c+d%2Be%3FversionId=?versionId=v%2B1").unwrap();
        assert_eq!(source.bucket, "bucket");
        assert_eq!(source.key, "/a/b c d+e?versionId=");
        assert_eq!(source.version_id.as_deref(), Some("v+1"));
        assert_eq!(name("bucket"), None);
        assert_eq!(name("bucket/"), None);
    }

    #[test]
    fn a_range_has_both_ends() {
        assert_eq!(parse_range("bytes=5-9").unwrap(), (5, 9));
        for bad in ["bytes=5-", "bytes=-5", "bytes=9-5", "5-9", "bytes=0-1,3-4"] {
            assert!(parse_range(bad).is_err(), "{bad}");
        }
    }
}

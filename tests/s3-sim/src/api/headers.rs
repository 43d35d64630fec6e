//! Objects as headers: what a PUT sends along, what a HEAD answers.

use std::collections::HashMap;
use std::sync::Arc;

use http::HeaderMap;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE,
    EXPIRES, HeaderName, HeaderValue,
};
use percent_encoding::percent_decode_str;
use s3s::{S3ErrorCode, S3Result};

use crate::checksum::ObjectChecksum;
use crate::conditions::text_header;
use crate::errors;
use crate::state::{
    Bucket, ContentHeaders, Encryption, NO_PROPERTIES, NO_TAGS, Properties, Restore, State, StorageClass,
    StoredObject, Tags, VersionId,
};
use crate::sync::ReadWrite;
use crate::time::http_date;

/// What S3 says of an object without a Content-Type.
const DEFAULT_CONTENT_TYPE: &str = "binary/octet-stream";
const MAX_USER_METADATA: usize = 2048;

/// What a request says the object shall have: content headers and user metadata.
pub(super) fn properties(
    headers: &HeaderMap,
    metadata: Option<HashMap<String, String>>,
) -> S3Result<Arc<Properties>> {
    let text = |name: HeaderName| text_header(headers, name.as_str());
    let properties = Properties {
        headers: ContentHeaders {
            content_type: text(CONTENT_TYPE),
            cache_control: text(CACHE_CONTROL),
            content_disposition: text(CONTENT_DISPOSITION),
            content_encoding: text(CONTENT_ENCODING).and_then(without_aws_chunked),
            content_language: text(CONTENT_LANGUAGE),
            expires: text(EXPIRES),
        },
        user_metadata: metadata.unwrap_or_default().into_iter().collect(),
    };
    let size: usize = properties.user_metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
    if size > MAX_USER_METADATA {
        return Err(errors::error(
            S3ErrorCode::MetadataTooLarge,
            "Your metadata headers exceed the maximum allowed metadata size",
        ));
    }
    if properties == **NO_PROPERTIES {
        return Ok(NO_PROPERTIES.clone());
    }
    Ok(Arc::new(properties))
}

/// `aws-chunked` is how the body travelled, not how the object is encoded.
fn without_aws_chunked(encoding: String) -> Option<String> {
    let kept: Vec<&str> =
        encoding.split(',').map(str::trim).filter(|coding| *coding != "aws-chunked").collect();
    (!kept.is_empty()).then(|| kept.join(","))
}

/// The tags of an `x-amz-tagging` header, encoded as a query string.
pub(super) fn tags(headers: &HeaderMap) -> S3Result<Arc<Tags>> {
    let Some(header) = text_header(headers, "x-amz-tagging") else {
        return Ok(NO_TAGS.clone());
    };
    let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    let pairs = header.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(key), decode(value))
    });
    checked_tags(pairs).map(Arc::new)
}

/// At most ten tags, each key once, keys up to 128 and values up to 256 characters.
pub(super) fn checked_tags(pairs: impl Iterator<Item = (String, String)>) -> S3Result<Tags> {
    let mut tags = Tags::new();
    for (key, value) in pairs {
        if key.is_empty() || key.chars().count() > 128 || value.chars().count() > 256 {
            return Err(errors::error(
                S3ErrorCode::InvalidTag,
                "The TagKey or TagValue you have provided is invalid",
            ));
        }
        if tags.insert(key, value).is_some() {
            return Err(errors::error(
                S3ErrorCode::InvalidTag,
                "Cannot provide multiple Tags with the same key",
            ));
        }
    }
    if tags.len() > 10 {
        return Err(errors::custom(
            http::StatusCode::BAD_REQUEST,
            "BadRequest",
            "Object tags cannot be greater than 10",
        ));
    }
    Ok(tags)
}

pub(super) fn storage_class(headers: &HeaderMap) -> S3Result<StorageClass> {
    match text_header(headers, "x-amz-storage-class") {
        None => Ok(StorageClass::Standard),
        Some(name) => StorageClass::from_name(&name).ok_or_else(|| {
            errors::error(S3ErrorCode::InvalidStorageClass, "The storage class you specified is not valid")
        }),
    }
}

pub(super) fn website_redirect(headers: &HeaderMap) -> Option<Arc<str>> {
    text_header(headers, "x-amz-website-redirect-location").map(Into::into)
}

/// The encryption a request asks for, or the bucket's default.
pub(super) fn encryption(state: &State, bucket: &Bucket, headers: &HeaderMap) -> Encryption {
    let key = text_header(headers, "x-amz-server-side-encryption-aws-kms-key-id");
    match text_header(headers, "x-amz-server-side-encryption").as_deref() {
        None => bucket.settings.reading().encryption.clone().unwrap_or_default(),
        Some("AES256") => Encryption::S3,
        Some(_) => kms(state, key.as_deref()),
    }
}

/// SSE-KMS with a key, or with the account's own.
pub(super) fn kms(state: &State, key: Option<&str>) -> Encryption {
    let account = state.account_id();
    Encryption::Kms(match key {
        Some(key) if key.starts_with("arn:") => key.into(),
        Some(key) => format!("arn:aws:kms:us-east-1:{account}:key/{key}").into(),
        None => format!("arn:aws:kms:us-east-1:{account}:alias/aws/s3").into(),
    })
}

/// Adds a header whose value may be anything a client once sent.
pub(super) fn add(headers: &mut HeaderMap, name: &'static str, value: impl AsRef<[u8]>) {
    if let Ok(value) = HeaderValue::from_bytes(value.as_ref()) {
        headers.insert(name, value);
    }
}

/// The headers that say how an object is encrypted.
pub(super) fn add_encryption(headers: &mut HeaderMap, encryption: &Encryption) {
    match encryption {
        Encryption::S3 => add(headers, "x-amz-server-side-encryption", "AES256"),
        Encryption::Kms(key) => {
            add(headers, "x-amz-server-side-encryption", "aws:kms");
            add(headers, "x-amz-server-side-encryption-aws-kms-key-id", key.as_bytes());
        }
    }
}

/// The header that carries a version's id; none for the null version.
pub(super) fn add_version(headers: &mut HeaderMap, id: VersionId) {
    if id != VersionId::NULL {
        add(headers, "x-amz-version-id", id.text());
    }
}

pub(super) fn add_checksum(headers: &mut HeaderMap, checksum: &ObjectChecksum) {
    add(headers, checksum.algorithm.header(), checksum.text());
    add(headers, "x-amz-checksum-type", checksum.type_name());
}

/// What every write of an object answers.
pub(super) fn of_written(object: &StoredObject, id: VersionId) -> HeaderMap {
    let mut headers = HeaderMap::new();
    add_encryption(&mut headers, &object.encryption);
    add_version(&mut headers, id);
    headers
}

/// What HEAD and GET answer about an object, but for its length and user metadata.
pub(super) fn of_object(object: &StoredObject) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(16);
    let kept = &object.properties.headers;
    let mut add_kept = |name: HeaderName, value: &Option<String>| {
        let value = value.as_deref().map(|text| HeaderValue::from_bytes(text.as_bytes()));
        if let Some(Ok(value)) = value {
            headers.insert(name, value);
        }
    };
    add_kept(CACHE_CONTROL, &kept.cache_control);
    add_kept(CONTENT_DISPOSITION, &kept.content_disposition);
    add_kept(CONTENT_ENCODING, &kept.content_encoding);
    add_kept(CONTENT_LANGUAGE, &kept.content_language);
    add_kept(EXPIRES, &kept.expires);
    let content_type = kept.content_type.as_deref().unwrap_or(DEFAULT_CONTENT_TYPE);
    add(&mut headers, "content-type", content_type);
    add(&mut headers, "etag", format!("\"{}\"", object.etag));
    add(&mut headers, "last-modified", http_date(object.last_modified));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    add_encryption(&mut headers, &object.encryption);
    add_version(&mut headers, object.version_id);
    if object.storage_class != StorageClass::Standard {
        add(&mut headers, "x-amz-storage-class", object.storage_class.name());
    }
    if object.extras.missing_meta > 0 {
        add(&mut headers, "x-amz-missing-meta", object.extras.missing_meta.to_string());
    }
    if object.extras.in_archive_tier {
        add(&mut headers, "x-amz-archive-status", "ARCHIVE_ACCESS");
    }
    if let Some(location) = &object.website_redirect {
        add(&mut headers, "x-amz-website-redirect-location", location.as_bytes());
    }
    match object.restore {
        None => {}
        Some(Restore::InProgress) => add(&mut headers, "x-amz-restore", "ongoing-request=\"true\""),
        Some(Restore::Until(expiry)) => add(
            &mut headers,
            "x-amz-restore",
            format!("ongoing-request=\"false\", expiry-date=\"{}\"", http_date(expiry)),
        ),
    }
    headers
}

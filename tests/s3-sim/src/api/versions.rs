//! ListObjectVersions, without delimiters.

use std::ops::Bound;

use bytes::Bytes;
use s3s::dto::{ListObjectVersionsInput, ListObjectVersionsOutput};
use s3s::{S3Request, S3Response};

use super::xml::{Listed, Xml};
use super::{Answer, Api, RawXml};
use crate::errors;
use crate::state::{Entry, Row, Step, Version, VersionId};

pub(super) async fn list_object_versions(
    api: &Api,
    request: S3Request<ListObjectVersionsInput>,
) -> Answer<ListObjectVersionsOutput> {
    let input = request.input;
    let bucket = api.bucket(&input.bucket)?;
    if input.delimiter.as_deref().is_some_and(|delimiter| !delimiter.is_empty()) {
        return Err(errors::error(
            s3s::S3ErrorCode::NotImplemented,
            "The simulator lists versions without delimiters only.",
        ));
    }
    let encoding_type = input.encoding_type.as_ref().map(|kind| kind.as_str());
    let encodes = encoding_type == Some("url");
    let prefix = input.prefix.unwrap_or_default();
    let max_keys = input.max_keys.unwrap_or(1000).clamp(0, 1000) as usize;
    let key_marker = input.key_marker.unwrap_or_default();
    let id_marker = input.version_id_marker.as_deref().and_then(VersionId::parse);

    let from = match &id_marker {
        _ if key_marker < prefix => Bound::Included(prefix.clone()),
        Some(_) => Bound::Included(key_marker.clone()),
        None => Bound::Excluded(key_marker.clone()),
    };
    let mut body = Xml::new(encodes, 512 * max_keys);
    let mut count = 0;
    let mut last: Option<(String, VersionId)> = None;
    let mut is_truncated = false;
    let owner = api.state.account_id();
    bucket.scan(from, |key, row| {
        if !key.starts_with(&prefix) || max_keys == 0 {
            return Step::Stop;
        }
        let mut skipping = id_marker.filter(|_| key == key_marker);
        let mut emit = |id: VersionId, is_latest: bool, listed: Result<Listed, std::time::SystemTime>| {
            if let Some(marker) = skipping {
                if marker == id {
                    skipping = None;
                }
                return true;
            }
            if count == max_keys {
                is_truncated = true;
                return false;
            }
            count += 1;
            last = Some((key.to_owned(), id));
            let name = if listed.is_ok() { "Version" } else { "DeleteMarker" };
            body.start(name);
            body.encoded("Key", key);
            body.element("VersionId", &id.text());
            body.element("IsLatest", if is_latest { "true" } else { "false" });
            match listed {
                Ok(listed) => body.listed(&listed, Some(owner), true),
                Err(last_modified) => body.last_modified(last_modified),
            }
            body.end(name);
            true
        };
        let goes_on = match row {
            Row::Generated(keys) => emit(VersionId::NULL, true, Ok(Listed::generated(keys, key))),
            Row::Written(Entry::Deleted) => true,
            Row::Written(Entry::Object(object)) => emit(object.version_id, true, Ok(Listed::of(object))),
            Row::Written(Entry::History(versions)) => versions.iter().enumerate().all(|(index, version)| {
                let listed = match version {
                    Version::Object(object) => Ok(Listed::of(object)),
                    Version::DeleteMarker { last_modified, .. } => Err(*last_modified),
                };
                emit(version.id(), index == 0, listed)
            }),
        };
        if goes_on { Step::Next } else { Step::Stop }
    });

    let mut xml = Xml::document("ListVersionsResult", encodes, body.len() + 1024);
    xml.element("Name", &input.bucket);
    xml.encoded("Prefix", &prefix);
    xml.encoded("KeyMarker", &key_marker);
    xml.element("VersionIdMarker", input.version_id_marker.as_deref().unwrap_or_default());
    if let Some((key, id)) = last.filter(|_| is_truncated) {
        xml.encoded("NextKeyMarker", &key);
        xml.element("NextVersionIdMarker", &id.text());
    }
    xml.element("MaxKeys", &max_keys.to_string());
    if let Some(encoding_type) = encoding_type {
        xml.element("EncodingType", encoding_type);
    }
    xml.element("IsTruncated", if is_truncated { "true" } else { "false" });
    xml.append(body);
    let mut response = S3Response::new(ListObjectVersionsOutput::default());
    response.extensions.insert(RawXml(Bytes::from(xml.close("ListVersionsResult"))));
    Ok(response)
}

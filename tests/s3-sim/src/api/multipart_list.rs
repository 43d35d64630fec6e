//! ListParts and ListMultipartUploads.

use s3s::dto::*;
use s3s::{S3Request, S3Response};

use super::multipart::find_upload;
use super::{Answer, Api, timestamp};
use crate::checksum::ChecksumAlgorithm;
use crate::encoding::url_encoded;
use crate::errors;
use crate::sync::Locked;

pub(super) async fn list_parts(api: &Api, request: S3Request<ListPartsInput>) -> Answer<ListPartsOutput> {
    let input = request.input;
    let bucket = api.bucket(&input.bucket)?;
    let upload = find_upload(&bucket, &input.key, &input.upload_id)?;
    let max = input.max_parts.unwrap_or(1000).clamp(0, 1000);
    let marker = input.part_number_marker.unwrap_or(0);
    let parts = upload.parts.locked();
    let mut after = parts.iter().filter(|(number, _)| i32::from(**number) > marker);
    let mut page = Vec::new();
    for (number, kept) in after.by_ref().take(max as usize) {
        let mut part = Part {
            e_tag: Some(kept.etag.to_dto()),
            last_modified: Some(timestamp(kept.last_modified)),
            part_number: Some(i32::from(*number)),
            size: Some(kept.content.len() as i64),
            ..Part::default()
        };
        let value = upload.checksum.map(|_| kept.checksum.base64());
        match upload.algorithm() {
            ChecksumAlgorithm::Crc32 => part.checksum_crc32 = value,
            ChecksumAlgorithm::Crc32c => part.checksum_crc32c = value,
            ChecksumAlgorithm::Crc64Nvme => part.checksum_crc64nvme = value,
            ChecksumAlgorithm::Sha1 => part.checksum_sha1 = value,
            ChecksumAlgorithm::Sha256 => part.checksum_sha256 = value,
        }
        page.push(part);
    }
    let is_truncated = after.next().is_some();
    let last = page.last().and_then(|part| part.part_number);
    Ok(S3Response::new(ListPartsOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(input.upload_id),
        is_truncated: Some(is_truncated),
        max_parts: Some(max),
        part_number_marker: Some(marker),
        next_part_number_marker: last.filter(|_| is_truncated),
        storage_class: Some(upload.storage_class.name().to_owned().into()),
        checksum_algorithm: upload.checksum.map(|checksum| checksum.algorithm.name().to_owned().into()),
        owner: Some(Owner { display_name: None, id: Some(api.state.account_id().to_owned()) }),
        parts: Some(page),
        ..ListPartsOutput::default()
    }))
}

pub(super) async fn list_multipart_uploads(
    api: &Api,
    request: S3Request<ListMultipartUploadsInput>,
) -> Answer<ListMultipartUploadsOutput> {
    let input = request.input;
    let bucket = api.bucket(&input.bucket)?;
    let encodes = match input.encoding_type.as_ref().map(|kind| kind.as_str()) {
        None => false,
        Some("url") => true,
        Some(_) => return Err(errors::invalid_argument("Invalid Encoding Method specified in Request")),
    };
    let encode = |text: &str| match encodes {
        true => url_encoded(text),
        false => text.to_owned(),
    };
    let max = input.max_uploads.unwrap_or(1000).clamp(0, 1000) as usize;
    let prefix = input.prefix.clone().unwrap_or_default();
    let delimiter = input.delimiter.clone().filter(|delimiter| !delimiter.is_empty());
    let key_marker = input.key_marker.clone().unwrap_or_default();
    let id_marker = input.upload_id_marker.clone().unwrap_or_default();

    let mut uploads = Vec::new();
    let mut prefixes: Vec<String> = Vec::new();
    let mut is_truncated = false;
    let mut last = None;
    for ((key, id), upload) in bucket.uploads.locked().iter() {
        // Without an upload id the marker's key is done with as a whole.
        let after = *key > key_marker || (*key == key_marker && !id_marker.is_empty() && *id > id_marker);
        let Some(rest) = key.strip_prefix(&prefix).filter(|_| after) else {
            continue;
        };
        let common = delimiter
            .as_ref()
            .and_then(|delimiter| rest.find(delimiter.as_str()).map(|at| at + delimiter.len()))
            .map(|end| &key[..prefix.len() + end]);
        if let Some(common) = common
            && (prefixes.last().is_some_and(|last| last == common) || key_marker == common)
        {
            continue;
        }
        if uploads.len() + prefixes.len() == max {
            is_truncated = max > 0;
            break;
        }
        if let Some(common) = common {
            prefixes.push(common.to_owned());
            last = Some((common.to_owned(), String::new()));
            continue;
        }
        last = Some((key.clone(), id.clone()));
        uploads.push(MultipartUpload {
            key: Some(encode(key)),
            upload_id: Some(id.clone()),
            initiated: Some(timestamp(upload.initiated)),
            storage_class: Some(upload.storage_class.name().to_owned().into()),
            checksum_algorithm: upload.checksum.map(|checksum| checksum.algorithm.name().to_owned().into()),
            owner: Some(Owner { display_name: None, id: Some(api.state.account_id().to_owned()) }),
            ..MultipartUpload::default()
        });
    }
    let (next_key, next_id) = last.filter(|_| is_truncated).unzip();
    Ok(S3Response::new(ListMultipartUploadsOutput {
        bucket: Some(input.bucket),
        prefix: input.prefix.as_deref().map(encode),
        delimiter: input.delimiter.as_deref().map(encode),
        key_marker: Some(encode(&key_marker)),
        upload_id_marker: Some(id_marker),
        max_uploads: Some(max as i32),
        encoding_type: input.encoding_type,
        is_truncated: Some(is_truncated),
        next_key_marker: next_key.as_deref().map(encode),
        next_upload_id_marker: next_id,
        uploads: Some(uploads),
        common_prefixes: Some(
            prefixes.iter().map(|prefix| CommonPrefix { prefix: Some(encode(prefix)) }).collect(),
        ),
        ..ListMultipartUploadsOutput::default()
    }))
}

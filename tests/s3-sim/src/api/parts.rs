//! UploadPart and UploadPartCopy.

use http::HeaderMap;
use s3s::dto::*;
use s3s::{S3Request, S3Result};

use super::multipart::find_upload;
use super::put::{MAX_PUT, demand_integrity, etag_of, receive};
use super::source::{Source, parse_range};
use super::{Answer, Api, headers, timestamp, with_headers};
use crate::checksum::ChecksumAlgorithm;
use crate::conditions::text_header;
use crate::content::Content;
use crate::errors;
use crate::state::{Bucket, Part, Upload, VersionId};
use crate::sync::Locked;
use crate::time;

/// Ranges can be copied out of objects above this size only.
const MIN_RANGE_SOURCE: u64 = 5 * 1024 * 1024;

pub(super) async fn upload_part(api: &Api, request: S3Request<UploadPartInput>) -> Answer<UploadPartOutput> {
    let input = request.input;
    let number = part_number(input.part_number)?;
    let bucket = api.bucket(&input.bucket)?;
    let upload = find_upload(&bucket, &input.key, &input.upload_id)?;
    api.caller(request.credentials.as_ref())?.need_key("kms:Decrypt", &upload.encryption)?;
    let received = receive(input.body, &request.headers, request.trailing_headers.as_ref()).await?;
    demand_integrity(&bucket, &request.headers, &received)?;
    check_algorithm(&upload, received.algorithm)?;
    let part = Part {
        etag: etag_of(&api.state, received.md5, &upload.encryption),
        checksum: upload.algorithm().of(&received.content),
        content: received.content,
        last_modified: time::now(),
    };
    let mut answer = HeaderMap::new();
    headers::add_encryption(&mut answer, &upload.encryption);
    headers::add(&mut answer, upload.algorithm().header(), part.checksum.base64());
    let output = UploadPartOutput { e_tag: Some(part.etag.to_dto()), ..UploadPartOutput::default() };
    keep(&bucket, &upload, number, part)?;
    with_headers(output, answer)
}

pub(super) async fn upload_part_copy(
    api: &Api,
    request: S3Request<UploadPartCopyInput>,
) -> Answer<UploadPartCopyOutput> {
    let input = request.input;
    let number = part_number(input.part_number)?;
    let caller = api.caller(request.credentials.as_ref())?;
    let bucket = api.bucket(&input.bucket)?;
    let upload = find_upload(&bucket, &input.key, &input.upload_id)?;
    caller.need_key("kms:Decrypt", &upload.encryption)?;
    let source = Source::open(api, &caller, &request.headers)?;
    let original = &source.object;
    let content = match text_header(&request.headers, "x-amz-copy-source-range") {
        None => original.content.clone(),
        Some(range) => range_of(&original.content, &range)?,
    };
    if content.len() > MAX_PUT {
        return Err(errors::source_too_large());
    }
    let part = Part {
        etag: etag_of(&api.state, content.md5(), &upload.encryption),
        checksum: upload.algorithm().of(&content),
        content,
        last_modified: time::now(),
    };
    let mut result = CopyPartResult {
        e_tag: Some(part.etag.to_dto()),
        last_modified: Some(timestamp(part.last_modified)),
        ..CopyPartResult::default()
    };
    let value = Some(part.checksum.base64());
    match upload.algorithm() {
        ChecksumAlgorithm::Crc32 => result.checksum_crc32 = value,
        ChecksumAlgorithm::Crc32c => result.checksum_crc32c = value,
        ChecksumAlgorithm::Crc64Nvme => result.checksum_crc64nvme = value,
        ChecksumAlgorithm::Sha1 => result.checksum_sha1 = value,
        ChecksumAlgorithm::Sha256 => result.checksum_sha256 = value,
    }
    let mut answer = HeaderMap::new();
    headers::add_encryption(&mut answer, &upload.encryption);
    if original.version_id != VersionId::NULL {
        headers::add(&mut answer, "x-amz-copy-source-version-id", original.version_id.text());
    }
    keep(&bucket, &upload, number, part)?;
    let output = UploadPartCopyOutput { copy_part_result: Some(result), ..UploadPartCopyOutput::default() };
    with_headers(output, answer)
}

fn part_number(number: i32) -> S3Result<u16> {
    u16::try_from(number).ok().filter(|number| (1..=10_000).contains(number)).ok_or_else(|| {
        errors::invalid_argument("Part number must be an integer between 1 and 10000, inclusive")
    })
}

/// Puts the part into the upload, unless that ended while the part travelled.
fn keep(bucket: &Bucket, upload: &Upload, number: u16, part: Part) -> S3Result<()> {
    let mut parts = upload.parts.locked();
    find_upload(bucket, &upload.key, &upload.id)?;
    parts.insert(number, part);
    Ok(())
}

/// An upload that was created with an algorithm takes parts with that one only.
fn check_algorithm(upload: &Upload, sent: Option<ChecksumAlgorithm>) -> S3Result<()> {
    match upload.checksum {
        Some(checksum) if sent != Some(checksum.algorithm) => {
            let name = |algorithm: ChecksumAlgorithm| algorithm.name().to_lowercase();
            Err(errors::invalid_request(format!(
                "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum \
                 Type: {}",
                name(checksum.algorithm),
                sent.map_or_else(|| "null".to_owned(), name)
            )))
        }
        _ => Ok(()),
    }
}

fn range_of(content: &Content, range: &str) -> S3Result<Content> {
    let (first, last) = parse_range(range)?;
    let size = content.len();
    if size <= MIN_RANGE_SOURCE {
        return Err(errors::invalid_request(
            "The specified copy source is not supported as a byte-range copy source",
        ));
    }
    if last >= size {
        return Err(errors::invalid_argument(format!(
            "Range specified is not valid for source object of size: {size}"
        )));
    }
    Ok(content.slice(first..last + 1))
}

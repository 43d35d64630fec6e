//! CreateMultipartUpload, CompleteMultipartUpload, AbortMultipartUpload.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use http::HeaderMap;
use s3s::dto::*;
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};

use super::{Answer, Api, headers, with_headers};
use crate::checksum::{ChecksumAlgorithm, ObjectChecksum, Value};
use crate::conditions::{WriteConditions, text_header};
use crate::content::Content;
use crate::errors;
use crate::etag::ETag;
use crate::state::{Bucket, Extras, Part, StoredObject, Upload, UploadChecksum, VersionId};
use crate::sync::Locked;
use crate::time;

/// Parts but the last must have as much.
const MIN_PART: u64 = 5 * 1024 * 1024;
const MAX_PARTS: usize = 10_000;

/// The open upload of a request.
pub(super) fn find_upload(bucket: &Bucket, key: &str, id: &str) -> S3Result<Arc<Upload>> {
    bucket.uploads.locked().get(&(key.to_owned(), id.to_owned())).cloned().ok_or_else(errors::no_such_upload)
}

pub(super) async fn create_multipart_upload(
    api: &Api,
    request: S3Request<CreateMultipartUploadInput>,
) -> Answer<CreateMultipartUploadOutput> {
    let input = request.input;
    let said = &request.headers;
    let caller = api.caller(request.credentials.as_ref())?;
    let bucket = api.bucket(&input.bucket)?;
    let tags = headers::tags(said)?;
    if !tags.is_empty() {
        caller.need("s3:PutObjectTagging", &bucket.name, Some(&input.key))?;
    }
    let encryption = headers::encryption(&api.state, &bucket, said);
    caller.need_key("kms:GenerateDataKey", &encryption)?;
    let checksum = upload_checksum(said)?;
    let nonce = api.state.nonce();
    let upload = Upload {
        key: input.key.clone(),
        id: format!("{:016x}{nonce:016x}", crate::random::mix(2, nonce)),
        initiated: time::now(),
        properties: headers::properties(said, input.metadata)?,
        tags,
        website_redirect: headers::website_redirect(said),
        storage_class: headers::storage_class(said)?,
        encryption,
        checksum,
        parts: Mutex::default(),
    };
    let mut answer = HeaderMap::new();
    headers::add_encryption(&mut answer, &upload.encryption);
    if let Some(checksum) = checksum {
        headers::add(&mut answer, "x-amz-checksum-algorithm", checksum.algorithm.name());
        let kind = if checksum.composite { "COMPOSITE" } else { "FULL_OBJECT" };
        headers::add(&mut answer, "x-amz-checksum-type", kind);
    }
    let output = CreateMultipartUploadOutput {
        bucket: Some(input.bucket),
        key: Some(input.key.clone()),
        upload_id: Some(upload.id.clone()),
        ..CreateMultipartUploadOutput::default()
    };
    bucket.uploads.locked().insert((input.key, upload.id.clone()), Arc::new(upload));
    with_headers(output, answer)
}

/// The checksum an upload is asked to have. CRC64NVME is always over the whole object, the
/// SHAs are always composite.
fn upload_checksum(headers: &HeaderMap) -> S3Result<Option<UploadChecksum>> {
    let kind = text_header(headers, "x-amz-checksum-type");
    let Some(name) = text_header(headers, "x-amz-checksum-algorithm") else {
        return Ok(None);
    };
    let algorithm = ChecksumAlgorithm::from_name(&name)
        .ok_or_else(|| errors::invalid_request("Checksum algorithm provided is unsupported."))?;
    let composite = match kind.as_deref() {
        None => algorithm != ChecksumAlgorithm::Crc64Nvme,
        Some(kind) => kind == "COMPOSITE",
    };
    let allowed = match algorithm {
        ChecksumAlgorithm::Crc64Nvme => !composite,
        ChecksumAlgorithm::Sha1 | ChecksumAlgorithm::Sha256 => composite,
        _ => true,
    };
    if !allowed {
        return Err(errors::invalid_request(format!(
            "The {} checksum type cannot be used with the {} checksum algorithm.",
            kind.unwrap_or_default(),
            algorithm.name().to_lowercase()
        )));
    }
    Ok(Some(UploadChecksum { algorithm, composite }))
}

pub(super) async fn abort_multipart_upload(
    api: &Api,
    request: S3Request<AbortMultipartUploadInput>,
) -> Answer<AbortMultipartUploadOutput> {
    let input = request.input;
    let bucket = api.bucket(&input.bucket)?;
    let removed = bucket.uploads.locked().remove(&(input.key, input.upload_id));
    removed.ok_or_else(errors::no_such_upload)?;
    Ok(S3Response::new(AbortMultipartUploadOutput::default()))
}

pub(super) async fn complete_multipart_upload(
    api: &Api,
    request: S3Request<CompleteMultipartUploadInput>,
) -> Answer<CompleteMultipartUploadOutput> {
    let input = request.input;
    let said = &request.headers;
    let bucket = api.bucket(&input.bucket)?;
    let conditions = WriteConditions::of(said)?;
    super::put::demand_condition(&bucket, &conditions)?;
    let upload = find_upload(&bucket, &input.key, &input.upload_id)?;
    let listed = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
    // Held until the object is there: of two completions one must find no upload.
    let mut parts = upload.parts.locked();
    find_upload(&bucket, &input.key, &input.upload_id)?;
    let chosen = choose_parts(&upload, &parts, &listed)?;
    let object = assemble(&upload, &chosen);
    check_claims(said, &object)?;
    let mut answer = headers::of_written(&object, VersionId::NULL);
    let mut output = CompleteMultipartUploadOutput {
        location: Some(format!(
            "http://s3.us-east-1.amazonaws.com/{}/{}",
            input.bucket,
            crate::encoding::url_encoded(&input.key)
        )),
        e_tag: Some(object.etag.to_dto()),
        checksum_type: Some(object.checksum.type_name().to_owned().into()),
        ..CompleteMultipartUploadOutput::default()
    };
    let value = Some(object.checksum.text());
    match object.checksum.algorithm {
        ChecksumAlgorithm::Crc32 => output.checksum_crc32 = value,
        ChecksumAlgorithm::Crc32c => output.checksum_crc32c = value,
        ChecksumAlgorithm::Crc64Nvme => output.checksum_crc64nvme = value,
        ChecksumAlgorithm::Sha1 => output.checksum_sha1 = value,
        ChecksumAlgorithm::Sha256 => output.checksum_sha256 = value,
    }
    let id = bucket.write(&input.key, object, &conditions)?;
    parts.clear();
    bucket.uploads.locked().remove(&(input.key.clone(), input.upload_id));
    headers::add_version(&mut answer, id);
    output.bucket = Some(input.bucket);
    output.key = Some(input.key);
    with_headers(output, answer)
}

/// The parts a completion lists: in order, there, unchanged, large enough.
fn choose_parts(
    upload: &Upload,
    parts: &BTreeMap<u16, Part>,
    listed: &[CompletedPart],
) -> S3Result<Vec<Part>> {
    if listed.is_empty() || listed.len() > MAX_PARTS {
        return Err(errors::error(
            S3ErrorCode::MalformedXML,
            "The XML you provided was not well-formed or did not validate against our published \
             schema",
        ));
    }
    let ascends = listed.is_sorted_by(|a, b| a.part_number < b.part_number);
    if !ascends {
        return Err(errors::error(
            S3ErrorCode::InvalidPartOrder,
            "The list of parts was not in ascending order. Parts must be ordered by part number.",
        ));
    }
    let mut chosen = Vec::with_capacity(listed.len());
    for named in listed {
        let invalid = || {
            errors::error(
                S3ErrorCode::InvalidPart,
                "One or more of the specified parts could not be found.  The part may not have \
                 been uploaded, or the specified entity tag may not match the part's entity tag.",
            )
        };
        let part = named
            .part_number
            .and_then(|number| u16::try_from(number).ok())
            .and_then(|number| parts.get(&number))
            .ok_or_else(invalid)?;
        let etag = part.etag.to_string();
        if named.e_tag.as_ref().is_none_or(|tag| tag.value() != etag) {
            return Err(invalid());
        }
        check_part_checksum(upload, named, part)?;
        chosen.push(part.clone());
    }
    let all_but_last = &chosen[..chosen.len() - 1];
    if all_but_last.iter().any(|part| part.content.len() < MIN_PART) {
        return Err(errors::error(
            S3ErrorCode::EntityTooSmall,
            "Your proposed upload is smaller than the minimum allowed size",
        ));
    }
    Ok(chosen)
}

/// An upload with a composite checksum wants each part's checksum again; any that is given
/// must be right.
fn check_part_checksum(upload: &Upload, named: &CompletedPart, part: &Part) -> S3Result<()> {
    let algorithm = upload.algorithm();
    let given = match algorithm {
        ChecksumAlgorithm::Crc32 => &named.checksum_crc32,
        ChecksumAlgorithm::Crc32c => &named.checksum_crc32c,
        ChecksumAlgorithm::Crc64Nvme => &named.checksum_crc64nvme,
        ChecksumAlgorithm::Sha1 => &named.checksum_sha1,
        ChecksumAlgorithm::Sha256 => &named.checksum_sha256,
    };
    match given {
        Some(value) if *value != part.checksum.base64() => Err(errors::error(
            S3ErrorCode::InvalidPart,
            "One or more of the specified parts could not be found.  The part may not have been \
             uploaded, or the specified checksum may not match the part's checksum.",
        )),
        None if upload.checksum.is_some_and(|checksum| checksum.composite) => {
            Err(errors::invalid_request(format!(
                "The upload was created using a {} checksum. The complete request must include \
                 the checksum for each part. It was missing for part {} in the request.",
                algorithm.name().to_lowercase(),
                named.part_number.unwrap_or_default()
            )))
        }
        _ => Ok(()),
    }
}

/// The object that parts make. Its LastModified is when the upload was initiated.
fn assemble(upload: &Upload, parts: &[Part]) -> StoredObject {
    let content = Content::join(parts.iter().map(|part| part.content.clone()));
    let algorithm = upload.algorithm();
    let values: Vec<Value> = parts.iter().map(|part| part.checksum).collect();
    let composite = upload.checksum.is_some_and(|checksum| checksum.composite);
    let value = if composite {
        algorithm.composite(&values)
    } else if content.is_virtual() {
        // A description's checksum does not follow from those of its pieces.
        algorithm.of(&content)
    } else {
        let sized: Vec<_> = parts.iter().map(|part| (part.checksum, part.content.len())).collect();
        algorithm.combine(&sized).unwrap_or_else(|| algorithm.of(&content))
    };
    StoredObject {
        etag: ETag::multipart(parts.iter().map(|part| &part.etag)),
        part_sizes: Some(parts.iter().map(|part| part.content.len()).collect()),
        checksum: Arc::new(ObjectChecksum {
            algorithm,
            value,
            composite_of: if composite { parts.len() as u32 } else { 0 },
            parts: values,
            asked_for: upload.checksum.is_some(),
        }),
        content,
        properties: upload.properties.clone(),
        tags: upload.tags.clone(),
        website_redirect: upload.website_redirect.clone(),
        storage_class: upload.storage_class,
        restore: None,
        extras: Extras::default(),
        encryption: upload.encryption.clone(),
        last_modified: upload.initiated,
        version_id: VersionId::NULL,
    }
}

/// Checks what the completion says about the whole: its size and its checksum.
fn check_claims(headers: &HeaderMap, object: &StoredObject) -> S3Result<()> {
    if let Some(size) = text_header(headers, "x-amz-mp-object-size")
        && size.parse() != Ok(object.content.len())
    {
        return Err(errors::invalid_request(
            "The provided 'x-amz-mp-object-size' header value does not match what was computed",
        ));
    }
    let checksum = &object.checksum;
    if let Some(claimed) = text_header(headers, checksum.algorithm.header())
        && claimed != checksum.text()
        && claimed != checksum.value.base64()
    {
        return Err(errors::error(
            S3ErrorCode::BadDigest,
            format!("The {} you specified did not match the calculated checksum.", checksum.algorithm.name()),
        ));
    }
    Ok(())
}

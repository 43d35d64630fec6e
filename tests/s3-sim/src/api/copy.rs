//! CopyObject.

use std::sync::Arc;

use s3s::dto::{CopyObjectInput, CopyObjectOutput, CopyObjectResult};
use s3s::{S3Request, S3Result};

use super::put::{MAX_PUT, etag_of};
use super::source::Source;
use super::{Answer, Api, headers, timestamp, with_headers};
use crate::checksum::{ChecksumAlgorithm, ObjectChecksum};
use crate::conditions::{WriteConditions, text_header};
use crate::errors;
use crate::etag::ETag;
use crate::state::{Encryption, Extras, StoredObject, VersionId};
use crate::time;

pub(super) async fn copy_object(api: &Api, request: S3Request<CopyObjectInput>) -> Answer<CopyObjectOutput> {
    let input = request.input;
    let said = &request.headers;
    let caller = api.caller(request.credentials.as_ref())?;
    let bucket = api.bucket(&input.bucket)?;
    let conditions = WriteConditions::of(said)?;
    let source = Source::open(api, &caller, said)?;
    let original = &source.object;
    // S3 asks for both rights even if the tags are to be replaced.
    if !original.tags.is_empty() {
        caller.need("s3:GetObjectTagging", &source.name.bucket, Some(&source.name.key))?;
        caller.need("s3:PutObjectTagging", &bucket.name, Some(&input.key))?;
    }
    if original.content.len() > MAX_PUT {
        return Err(errors::source_too_large());
    }
    super::put::demand_condition(&bucket, &conditions)?;
    let annotated = text_header(said, "x-amz-object-annotation-directive").as_deref() != Some("EXCLUDE");
    if annotated && !original.extras.annotations.is_empty() {
        caller.need("s3:GetObjectAnnotation", &source.name.bucket, Some(&source.name.key))?;
        caller.need("s3:PutObjectAnnotation", &bucket.name, Some(&input.key))?;
    }
    let replaces = |directive: &str| -> S3Result<bool> {
        match text_header(said, directive).as_deref() {
            None | Some("COPY") => Ok(false),
            Some("REPLACE") => Ok(true),
            Some(_) => Err(errors::invalid_argument("Unknown directive.")),
        }
    };
    let replaces_metadata = replaces("x-amz-metadata-directive")?;
    let replaces_tags = replaces("x-amz-tagging-directive")?;
    let changes = replaces_metadata
        || source.name.version_id.is_some()
        || said.contains_key("x-amz-storage-class")
        || said.contains_key("x-amz-server-side-encryption")
        || said.contains_key("x-amz-website-redirect-location");
    if !changes && source.name.bucket == input.bucket && source.name.key == input.key {
        return Err(errors::invalid_request(
            "This copy request is illegal because it is trying to copy an object to itself \
             without changing the object's metadata, storage class, website redirect location \
             or encryption attributes.",
        ));
    }
    let tags = match replaces_tags {
        true => headers::tags(said)?,
        false => original.tags.clone(),
    };
    if replaces_tags && !tags.is_empty() {
        caller.need("s3:PutObjectTagging", &bucket.name, Some(&input.key))?;
    }
    let encryption = headers::encryption(&api.state, &bucket, said);
    caller.need_key("kms:GenerateDataKey", &encryption)?;
    let object = StoredObject {
        content: original.content.clone(),
        etag: copied_etag(api, original, &encryption),
        part_sizes: None,
        checksum: copied_checksum(original, text_header(said, "x-amz-checksum-algorithm"))?,
        properties: match replaces_metadata {
            true => headers::properties(said, input.metadata)?,
            false => original.properties.clone(),
        },
        tags,
        website_redirect: headers::website_redirect(said),
        storage_class: headers::storage_class(said)?,
        restore: None,
        extras: Extras {
            annotations: if annotated { original.extras.annotations.clone() } else { Arc::default() },
            missing_meta: if replaces_metadata { 0 } else { original.extras.missing_meta },
            ..Extras::default()
        },
        encryption,
        last_modified: time::now(),
        version_id: VersionId::NULL,
    };
    let mut result = CopyObjectResult {
        e_tag: Some(object.etag.to_dto()),
        last_modified: Some(timestamp(object.last_modified)),
        ..CopyObjectResult::default()
    };
    let value = Some(object.checksum.text());
    match object.checksum.algorithm {
        ChecksumAlgorithm::Crc32 => result.checksum_crc32 = value,
        ChecksumAlgorithm::Crc32c => result.checksum_crc32c = value,
        ChecksumAlgorithm::Crc64Nvme => result.checksum_crc64nvme = value,
        ChecksumAlgorithm::Sha1 => result.checksum_sha1 = value,
        ChecksumAlgorithm::Sha256 => result.checksum_sha256 = value,
    }
    result.checksum_type = Some(object.checksum.type_name().to_owned().into());
    let mut answer = headers::of_written(&object, VersionId::NULL);
    if original.version_id != VersionId::NULL {
        headers::add(&mut answer, "x-amz-copy-source-version-id", original.version_id.text());
    }
    let id = bucket.write(&input.key, object, &conditions)?;
    headers::add_version(&mut answer, id);
    let output = CopyObjectOutput { copy_object_result: Some(result), ..CopyObjectOutput::default() };
    with_headers(output, answer)
}

/// A copy is one piece: it keeps the ETag of one that was, and gets a new one if the source
/// was multipart or either side is under SSE-KMS.
fn copied_etag(api: &Api, original: &StoredObject, encryption: &Encryption) -> ETag {
    let plain = original.encryption == Encryption::S3 && *encryption == Encryption::S3;
    if plain && original.etag.is_single() {
        return original.etag;
    }
    etag_of(&api.state, original.content.md5(), encryption)
}

/// The source's algorithm unless another one is asked for, over the whole object.
fn copied_checksum(original: &StoredObject, asked_for: Option<String>) -> S3Result<Arc<ObjectChecksum>> {
    let kept = &original.checksum;
    let algorithm = match asked_for {
        None => kept.algorithm,
        Some(name) => ChecksumAlgorithm::from_name(&name)
            .ok_or_else(|| errors::invalid_request("Checksum algorithm provided is unsupported."))?,
    };
    if algorithm == kept.algorithm && kept.parts.is_empty() {
        return Ok(kept.clone());
    }
    let asked = kept.asked_for || algorithm != kept.algorithm;
    Ok(Arc::new(ObjectChecksum::whole(algorithm, &original.content, asked)))
}

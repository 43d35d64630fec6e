//! An upload is begun, or found again.

use std::sync::atomic::{AtomicU32, Ordering};

use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumType, CopyPartResult, ServerSideEncryption};
use jiff::Timestamp;

use super::{Begun, CopiedPart, Upload};
use crate::checkpoint::OpenUpload;
use crate::copy::parts::Part;
use crate::copy::properties::{Properties, expires};
use crate::copy::ways::{Tags, Way};
use crate::copy::{CopyError, Job, checksums};
use crate::list::Entry;
use crate::operation::Operation;
use crate::report::{Lack, Property};
use crate::verify::is_kms;
use crate::{ETag, S3Error, S3ErrorKind};

impl<'a> Upload<'a> {
    /// Tells S3 again what CopyObject would have kept by itself.
    pub(super) async fn create(
        job: &'a Job,
        entry: &'a Entry,
        head: &HeadObjectOutput,
        tags: &Tags,
    ) -> Result<(Self, Way), CopyError> {
        let mut refused: Option<S3Error> = None;
        for way in job.ways(tags.header.is_some().then_some(Property::Tags)) {
            // An upload's conditions are those of its completion.
            if refused.is_some() && way.conditional != job.way().conditional {
                continue;
            }
            match Self::create_by(job, entry, head, tags.header.clone().filter(|_| way.tags)).await {
                Ok(upload) => {
                    job.learn_way(way, refused.as_ref());
                    return Ok((upload, way));
                }
                Err(error) if error.kind == S3ErrorKind::AccessDenied => {
                    refused.get_or_insert(error);
                }
                Err(error) => return Err(job.put_error(error, &entry.key).await),
            }
        }
        job.note_in_vain();
        match refused {
            Some(error) => Err(job.put_error(error, &entry.key).await),
            None => Err(CopyError::Stopped),
        }
    }

    async fn create_by(
        job: &'a Job,
        entry: &'a Entry,
        head: &HeadObjectOutput,
        tags: Option<String>,
    ) -> Result<Self, S3Error> {
        let key = job.destination_key(&entry.key);
        let kms_key_id = &job.as_configured.kms_key_id;
        let properties = Properties::from(head);
        let streams = job.streams();
        let has_tags = tags.is_some();
        let (algorithm, checksum_type) = checksum(head, streams);
        let began = Timestamp::now();
        let tries = AtomicU32::new(0);
        let created = job
            .caller
            .send(Operation::CreateMultipartUpload, || {
                tries.fetch_add(1, Ordering::Relaxed);
                job.destination
                    .client
                    .create_multipart_upload()
                    .bucket(&job.destination.bucket)
                    .key(&key)
                    .set_expected_bucket_owner(job.destination.owner.clone())
                    .set_metadata(properties.metadata.clone())
                    .set_cache_control(properties.cache_control.clone())
                    .set_content_disposition(properties.content_disposition.clone())
                    .set_content_encoding(properties.content_encoding.clone())
                    .set_content_language(properties.content_language.clone())
                    .set_content_type(properties.content_type.clone())
                    .set_website_redirect_location(properties.website_redirect_location.clone())
                    .set_tagging(tags.clone())
                    .set_checksum_algorithm(algorithm.clone())
                    .set_checksum_type(checksum_type.clone())
                    .set_storage_class(job.as_configured.storage_class.clone())
                    .set_server_side_encryption(kms_key_id.is_some().then_some(ServerSideEncryption::AwsKms))
                    .set_ssekms_key_id(kms_key_id.clone())
                    .customize()
                    .mutate_request(expires(&properties))
                    .send()
            })
            .await;
        let id = created.as_ref().ok().and_then(|created| created.upload_id()).unwrap_or_default().to_owned();
        let source_kms = is_kms(head.server_side_encryption());
        let upload = Self { job, entry, key, id, streams, source_kms, checksum: algorithm };
        // A try whose answer was lost, or not waited for, may have opened an upload that
        // nobody has the id of.
        if tries.into_inner() > u32::from(created.is_ok()) {
            upload.abort_strays_in_time(began).await;
        }
        created.map(|created| {
            job.uploads.opened(OpenUpload {
                key: entry.key.clone(),
                upload_id: upload.id.clone(),
                etag: entry.etag.to_string(),
                streams,
                kms: is_kms(created.server_side_encryption()),
                tags: has_tags,
            });
            upload
        })
    }

    /// The upload that an earlier run left open, and the parts that are there, with their
    /// sizes. One that cannot be gone on with is aborted.
    pub(super) async fn find(
        job: &'a Job,
        entry: &'a Entry,
        head: &HeadObjectOutput,
        tags: &Tags,
    ) -> Result<Option<Begun<'a>>, CopyError> {
        let Some(left) = job.uploads.claim(&entry.key) else { return Ok(None) };
        let streams = job.streams();
        let is_of_it = ETag::parse(&left.etag).proves(&entry.etag) && left.streams == streams;
        let upload = Self {
            job,
            entry,
            key: job.destination_key(&entry.key),
            id: left.upload_id.clone(),
            streams,
            source_kms: is_kms(head.server_side_encryption()),
            checksum: checksum(head, streams).0,
        };
        let (kms, has_tags) = (left.kms, left.tags);
        job.uploads.opened(left);
        if is_of_it {
            let lack = (tags.header.is_some() && !has_tags).then(|| Lack {
                property: Property::Tags,
                because: "an earlier run began its upload, and was not allowed to write tags".into(),
            });
            match upload.parts(kms).await {
                Ok(there) => return Ok(Some(Begun { upload, way: job.way(), there, lack })),
                Err(error) if error.kind == S3ErrorKind::Stopped => return Err(CopyError::Stopped),
                Err(error) => tracing::debug!(key = upload.key, %error, "an upload is begun anew"),
            }
        }
        if upload.abort().await {
            job.uploads.closed(&entry.key);
        }
        Ok(None)
    }

    /// The parts that are there, and their sizes.
    async fn parts(&self, kms: bool) -> Result<Vec<(u64, CopiedPart)>, S3Error> {
        let Self { job, .. } = self;
        let (mut parts, mut after) = (Vec::new(), None);
        loop {
            let list = || {
                job.destination
                    .client
                    .list_parts()
                    .bucket(&job.destination.bucket)
                    .key(&self.key)
                    .upload_id(&self.id)
                    .set_part_number_marker(after.clone())
                    .set_expected_bucket_owner(job.destination.owner.clone())
                    .send()
            };
            let page = job.caller.send(Operation::ListParts, list).await?;
            parts.extend(page.parts().iter().filter_map(|part| there(part, kms)));
            let next = page.next_part_number_marker().filter(|_| page.is_truncated() == Some(true));
            if next.is_none() || next == after.as_deref() {
                return Ok(parts);
            }
            after = next.map(str::to_owned);
        }
    }
}

/// A part of an earlier run, and its size.
fn there(part: &aws_sdk_s3::types::Part, kms: bool) -> Option<(u64, CopiedPart)> {
    let size = u64::try_from(part.size()?).ok()?;
    let result = CopyPartResult::builder()
        .set_e_tag(part.e_tag.clone())
        .set_checksum_crc32(part.checksum_crc32.clone())
        .set_checksum_crc32_c(part.checksum_crc32_c.clone())
        .set_checksum_crc64_nvme(part.checksum_crc64_nvme.clone())
        .set_checksum_sha1(part.checksum_sha1.clone())
        .set_checksum_sha256(part.checksum_sha256.clone())
        .build();
    Some((size, CopiedPart::new(Part { number: part.part_number()?, first: 0, size }, kms, result)))
}

/// The checksum that an upload of this object is to have.
fn checksum(head: &HeadObjectOutput, streams: bool) -> (Option<ChecksumAlgorithm>, Option<ChecksumType>) {
    match checksums::of_upload(head) {
        // S3 computes that one unasked. Asked for, it would have to come with every part.
        (Some(ChecksumAlgorithm::Crc64Nvme), _) if streams => (None, None),
        checksum => checksum,
    }
}

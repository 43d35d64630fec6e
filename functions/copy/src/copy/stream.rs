//! The bytes pass through this process: for vendors that gave only an access key and a
//! secret key, so that nobody may both read the source and write the destination.
//!
//! The body of a GET is the body of the PUT. Nothing is gathered in between: memory holds
//! what the network does, for objects of any size, and a slow destination slows the source.
//! So many bodies are on their way at once as [`Plan::max_streams`](crate::Plan) says.
//!
//! Deliberately absent: several ranged GETs ahead of one PutObject. The one connection that
//! the PutObject writes to is as slow as the one that it reads from.

use aws_sdk_s3::config::{self, StalledStreamProtectionConfig};
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::operation::put_object::PutObjectOutput;
use aws_sdk_s3::operation::upload_part::UploadPartOutput;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumMode, CopyPartResult, ServerSideEncryption};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::parts::Part;
use super::properties::{Properties, expires};
use super::ways::{Copied, Tags, Way};
use super::{CopyError, Job, checksums};
use crate::list::Entry;
use crate::operation::Operation;
use crate::report::Property;
use crate::verify::is_kms;
use crate::{ETag, S3Error, S3ErrorKind};

/// What a stream moves in a second at the least.
const SLOWEST: u64 = 1 << 20;

/// Streams an object that was uploaded in one piece into a PutObject.
pub(super) async fn copy(job: &Job, entry: &Entry) -> Result<Copied, CopyError> {
    let source = job.reader();
    // Before the GET, which is pinned: they are then this object's, and not its successor's.
    let tags = job.tags_to_write(source, &entry.key, None).await;
    let tags = tags.map_err(|error| job.error(error, source))?;
    let annotations = job.annotations(&entry.key).await?;
    let mut refused: Option<S3Error> = None;
    for way in job.ways(tags.header.is_some().then_some(Property::Tags)) {
        let mut put = self::put(job, entry, way, &tags).await;
        if put.as_ref().is_err_and(|error| job.learn_checksums(error)) {
            put = self::put(job, entry, way, &tags).await;
        }
        match put {
            Ok((put, missing_meta)) => {
                job.learn_way(way, refused.as_ref());
                let kms = is_kms(put.server_side_encryption());
                let verified_by = job.verify(entry, put.e_tag(), kms).await?;
                job.observer.moved(entry.size);
                let mut without = job.lacks(way, &tags, missing_meta);
                without.extend(job.annotate(&entry.key, put.e_tag(), annotations).await?);
                return Ok(Copied { verified_by, without });
            }
            Err(error) if error.operation == Operation::PutObject => match error.kind {
                S3ErrorKind::AccessDenied => {
                    refused.get_or_insert(error);
                }
                S3ErrorKind::PreconditionFailed => return Err(CopyError::Overwritten),
                _ => return Err(job.stream_error(error, &entry.key).await),
            },
            Err(error) => return Err(job.stream_error(error, &entry.key).await),
        }
    }
    job.note_in_vain();
    match refused {
        Some(error) => Err(job.stream_error(error, &entry.key).await),
        None => Err(CopyError::Stopped),
    }
}

/// The PutObject, and how many entries of the metadata no header can carry.
async fn put(
    job: &Job,
    entry: &Entry,
    way: Way,
    tags: &Tags,
) -> Result<(PutObjectOutput, Option<i32>), S3Error> {
    let key = job.destination_key(&entry.key);
    let kms_key_id = &job.as_configured.kms_key_id;
    let condition = job.condition(way, &entry.key).await;
    // Never closed; held while it is tried again, too.
    let _place = job.caller.streams.acquire().await;
    job.caller
        .persist(Operation::PutObject, entry.size / SLOWEST, async || {
            let got = get(job, entry, None).await?;
            let properties = Properties::from(&got);
            let missing_meta = got.missing_meta();
            let checksum = checksums::of_whole(&got);
            // Where the ETag is the MD5 of the bytes, the destination refuses any other.
            let md5 = match entry.etag {
                ETag::Plain(md5) if !is_kms(got.server_side_encryption()) => Some(STANDARD.encode(md5)),
                _ => None,
            };
            let computed = (job.demands_checksums() && checksum.is_none() && md5.is_none())
                .then_some(ChecksumAlgorithm::Crc64Nvme);
            let put = job
                .destination
                .client
                .put_object()
                .bucket(&job.destination.bucket)
                .key(&key)
                .set_if_none_match(condition.if_none_match())
                .set_if_match(condition.if_match())
                .set_expected_bucket_owner(job.destination.owner.clone())
                .set_metadata(properties.metadata.clone())
                .set_cache_control(properties.cache_control.clone())
                .set_content_disposition(properties.content_disposition.clone())
                .set_content_encoding(properties.content_encoding.clone())
                .set_content_language(properties.content_language.clone())
                .set_content_type(properties.content_type.clone())
                .set_website_redirect_location(properties.website_redirect_location.clone())
                .set_tagging(tags.header.clone().filter(|_| way.tags))
                .set_storage_class(job.as_configured.storage_class.clone())
                .set_server_side_encryption(kms_key_id.is_some().then_some(ServerSideEncryption::AwsKms))
                .set_ssekms_key_id(kms_key_id.clone())
                .set_content_md5(md5)
                .set_checksum_algorithm(computed.clone())
                .content_length(length(entry.size))
                .body(got.body);
            let put = checksums::send(put, checksum)
                .customize()
                .mutate_request(expires(&properties))
                .config_override(
                    watched(job).request_checksum_calculation(checksums::computed(computed.is_some())),
                );
            match job.caller.once(Operation::PutObject, put.send()).await {
                // Whoever is refused while it still sends may find the connection closed, and no
                // answer.
                Err(error) if error.kind == S3ErrorKind::Unreachable => {
                    let tags = tags.header.clone().filter(|_| way.tags);
                    Err(job.try_put(&entry.key, tags).await.err().unwrap_or(error))
                }
                put => Ok((put?, missing_meta)),
            }
        })
        .await
}

/// Streams one part of an object into an upload, with a checksum if the upload wants one.
pub(super) async fn part(
    job: &Job,
    entry: &Entry,
    (key, upload_id): (&str, &str),
    part: Part,
    checksum: Option<&ChecksumAlgorithm>,
) -> Result<UploadPartOutput, CopyError> {
    let _place = job.caller.streams.acquire().await;
    let put = async || {
        job.caller
            .persist(Operation::UploadPart, part.size / SLOWEST, async || {
                let unasked = job.demands_checksums().then_some(ChecksumAlgorithm::Crc64Nvme);
                let checksum = checksum.cloned().or(unasked);
                let got = get(job, entry, Some(part)).await?;
                let put = job
                    .destination
                    .client
                    .upload_part()
                    .bucket(&job.destination.bucket)
                    .key(key)
                    .upload_id(upload_id)
                    .part_number(part.number)
                    .set_expected_bucket_owner(job.destination.owner.clone())
                    .content_length(length(part.size))
                    .set_checksum_algorithm(checksum.clone())
                    .body(got.body)
                    .customize()
                    .config_override(
                        watched(job).request_checksum_calculation(checksums::computed(checksum.is_some())),
                    );
                job.caller.once(Operation::UploadPart, put.send()).await
            })
            .await
    };
    let mut uploaded = put().await;
    if uploaded.as_ref().is_err_and(|error| job.learn_checksums(error)) {
        uploaded = put().await;
    }
    match uploaded {
        Ok(put) => Ok(put),
        Err(error) => Err(job.stream_error(error, &entry.key).await),
    }
}

/// Opens the object, or a part of it, as it was listed.
async fn get(job: &Job, entry: &Entry, part: Option<Part>) -> Result<GetObjectOutput, S3Error> {
    let source = job.reader();
    let get = source
        .client
        .get_object()
        .bucket(&source.bucket)
        .key(&entry.key)
        .set_expected_bucket_owner(source.owner.clone())
        .if_match(entry.etag.quoted())
        // A range has no checksum of its own.
        .set_checksum_mode(part.is_none().then_some(ChecksumMode::Enabled))
        // An empty object has no range.
        .set_range(part.filter(|part| part.size > 0).map(|part| part.range()))
        .customize()
        .config_override(watched(job));
    let got = job.caller.once(Operation::GetObject, get.send()).await?;
    let expected = part.map_or(entry.size, |part| part.size);
    if got.content_length() == Some(length(expected)) {
        return Ok(got);
    }
    Err(S3Error {
        operation: Operation::GetObject,
        kind: S3ErrorKind::NotS3,
        code: format!("{} bytes", got.content_length().unwrap_or_default()),
        message: format!("{expected} were asked for"),
        request_id: None,
        tries: 1,
    })
}

/// Gives up a body that rests: what a large one may take as a whole is hours.
fn watched(job: &Job) -> config::Builder {
    let patience = StalledStreamProtectionConfig::enabled().grace_period(job.caller.patience);
    config::Builder::new().stalled_stream_protection(patience.build())
}

/// S3's sizes fit in 63 bits.
fn length(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

/// A streamed part as a copied one answers it.
pub(super) fn result(part: &UploadPartOutput) -> CopyPartResult {
    CopyPartResult::builder()
        .set_e_tag(part.e_tag.clone())
        .set_checksum_crc32(part.checksum_crc32.clone())
        .set_checksum_crc32_c(part.checksum_crc32_c.clone())
        .set_checksum_crc64_nvme(part.checksum_crc64_nvme.clone())
        .set_checksum_sha1(part.checksum_sha1.clone())
        .set_checksum_sha256(part.checksum_sha256.clone())
        .build()
}

//! A multipart copy with the source's own part boundaries: its ETag is then the source's,
//! later runs compare without reading, and the parts are copied at the same time.
//!
//! The boundaries are told from the size of the first part and the number of parts. S3
//! answers every part copy with its MD5, so the ETag that the whole will have is known
//! before it is completed: a wrong guess is mended part by part, and never published.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aws_sdk_s3::operation::complete_multipart_upload::CompleteMultipartUploadOutput;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::types::{
    ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart, CopyPartResult,
    ServerSideEncryption, Tag,
};
use futures_util::{StreamExt, TryStreamExt, stream as streams};
use jiff::{SignedDuration, Timestamp};

use super::parts::{self, Part};
use super::properties::{Properties, expires};
use super::ways::{Copied, Tags, Way};
use super::{CopyError, Job, checksums, copy_source, size, stream};
use crate::checkpoint::OpenUpload;
use crate::list::{Archived, Entry, timestamp};
use crate::plan::Carry;
use crate::report::{Failure, Lack, Operation, Property, VerifiedBy};
use crate::s3::{Caller, Side};
use crate::verify::is_kms;
use crate::{ETag, S3Error, S3ErrorKind};

pub(super) async fn copy(job: &Job, entry: &Entry) -> Result<Copied, CopyError> {
    let followed = matches!(entry.etag, ETag::Multipart(..)).then_some(1);
    let head = job.head_source(&entry.key, Some(&entry.etag), followed).await?;
    let layout = layout(job, entry, &head).await?;
    let source = job.reader();
    let tags = job.tags_to_write(source, &entry.key, head.tag_count()).await;
    let tags = tags.map_err(|error| job.error(error, source))?;
    let annotations = job.annotations(&entry.key).await?;
    let Begun { upload, way, there, lack } = match Upload::find(job, entry, &head, &tags).await? {
        Some(found) => found,
        None => {
            let (upload, way) = Upload::create(job, entry, &head, &tags).await?;
            Begun { upload, way, there: Vec::new(), lack: None }
        }
    };
    // A run that died before it could say what it had opened.
    if let Some(since) = job.uploads.strays_since() {
        upload.abort_strays_in_time(since).await;
    }
    let copied = upload.fill_and_complete(layout, there).await;
    match &copied {
        // The next run goes on with it.
        Err(CopyError::Stopped) if job.uploads.are_kept() => return Err(CopyError::Stopped),
        Err(_) => upload.abort().await,
        Ok(_) => {}
    }
    job.uploads.closed(&entry.key);
    let (verified_by, etag) = copied?;
    let mut without = job.lacks(way, &tags, head.missing_meta());
    without.extend(lack);
    without.extend(job.annotate(&entry.key, etag.as_deref(), annotations).await?);
    Ok(Copied { verified_by, without })
}

/// An upload of this run's, or of an earlier one's.
struct Begun<'a> {
    upload: Upload<'a>,
    way: Way,
    /// The parts that are there, and their sizes.
    there: Vec<(u64, CopiedPart)>,
    /// What the copy goes without because of the earlier run.
    lack: Option<Lack>,
}

/// Aborts an upload that an earlier run left open, and nobody has a use for.
pub(crate) async fn abort_left(job: &Job, lands_in: &str, left: &OpenUpload) {
    let entry = Entry {
        key: left.key.clone(),
        size: 0,
        etag: ETag::parse(&left.etag),
        modified: Timestamp::default(),
        archived: Archived::No,
    };
    let (key, id) = (format!("{lands_in}{}", left.key), left.upload_id.clone());
    Upload { job, entry: &entry, key, id, streams: false, source_kms: false, checksum: None }.abort().await;
}

/// The parts to copy, and whether they are a guess.
struct Layout {
    parts: Vec<Part>,
    guessed: bool,
    /// They are the source's own for certain: they make its ETag, or the bytes are not its own.
    exact: bool,
}

impl Layout {
    fn chosen(entry: &Entry) -> Self {
        Self { parts: parts::chosen(entry.size), guessed: false, exact: false }
    }
}

async fn layout(job: &Job, entry: &Entry, head: &HeadObjectOutput) -> Result<Layout, CopyError> {
    let ETag::Multipart(_, count) = entry.etag else {
        return Ok(Layout::chosen(entry));
    };
    let count = u64::from(count);
    // A server that knows no part numbers answers with the whole object and no count.
    let known = head.parts_count().and_then(|parts| u64::try_from(parts).ok()) == Some(count);
    let first =
        if known || count == 1 { size(head) } else { entry.size.div_ceil(count).next_multiple_of(1 << 20) };
    let parts = match parts::guessed(entry.size, first, count) {
        Some(parts) => Layout { guessed: count > 2, exact: count == 1 || known && count == 2, parts },
        None if known => ask_every_part(job, entry, count).await?,
        None => Layout::chosen(entry),
    };
    if parts::legal(&parts.parts) {
        return Ok(parts);
    }
    // Another server's parts, which S3 would refuse. The copy's ETag will differ.
    Ok(Layout::chosen(entry))
}

/// For parts of unequal sizes: one HEAD a part. An empty last part is left out: no range of
/// bytes says it. The copy's ETag will differ.
async fn ask_every_part(job: &Job, entry: &Entry, count: u64) -> Result<Layout, CopyError> {
    let sizes: Vec<u64> = streams::iter(1..=i32::try_from(count).unwrap_or(i32::MAX))
        .map(async |number| {
            let head = job.head_source(&entry.key, Some(&entry.etag), Some(number)).await?;
            Ok::<_, CopyError>(size(&head))
        })
        .buffered(job.caller.pace.most())
        .try_collect()
        .await?;
    // Unpinned it could be another object's; pinned, a sum that is off is a server's fault.
    if sizes.iter().sum::<u64>() == entry.size && entry.size > 0 {
        let parts = parts::of_sizes(sizes.into_iter().filter(|size| *size > 0));
        Ok(Layout { guessed: false, exact: parts.len() as u64 == count, parts })
    } else {
        Ok(Layout::chosen(entry))
    }
}

/// What aborting may take once the run was stopped.
const CLOSING: Duration = Duration::from_secs(4);

/// An upload of ours at the destination. Whoever creates one completes or aborts it.
struct Upload<'a> {
    job: &'a Job,
    entry: &'a Entry,
    key: String,
    id: String,
    /// Whether the parts pass through this process.
    streams: bool,
    source_kms: bool,
    /// The checksum that streamed parts must come with.
    checksum: Option<ChecksumAlgorithm>,
}

impl<'a> Upload<'a> {
    /// Tells S3 again what CopyObject would have kept by itself.
    async fn create(
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
    async fn find(
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
        upload.abort().await;
        job.uploads.closed(&entry.key);
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

    /// Within seconds, if the run is stopped.
    async fn abort_strays_in_time(&self, began: Timestamp) {
        let closed = async {
            self.job.caller.halt.cancelled().await;
            tokio::time::sleep(CLOSING).await;
        };
        tokio::select! {
            () = self.abort_strays(began) => {}
            () = closed => tracing::warn!(key = self.key, "an upload may have been left open"),
        }
    }

    /// Aborts this run's other uploads to the same key: those opened since `began`.
    async fn abort_strays(&self, began: Timestamp) {
        /// What the clocks here and at the server may differ by: S3 refuses a request at 15 minutes.
        const SKEW: SignedDuration = SignedDuration::from_mins(15);
        let Self { job, .. } = self;
        let caller = job.caller.closing();
        let uploads = caller
            .send(Operation::ListMultipartUploads, || {
                job.destination
                    .client
                    .list_multipart_uploads()
                    .bucket(&job.destination.bucket)
                    .set_expected_bucket_owner(job.destination.owner.clone())
                    .prefix(&self.key)
                    .send()
            })
            .await;
        let uploads = match uploads {
            Ok(uploads) => uploads,
            Err(error) => {
                tracing::warn!(key = self.key, %error, "an upload may have been left open");
                return;
            }
        };
        let oldest = began.saturating_sub(SKEW).unwrap_or(Timestamp::MIN);
        for stray in uploads.uploads() {
            let id = stray.upload_id().unwrap_or_default();
            let recent = stray.initiated().is_some_and(|time| timestamp(time) >= oldest);
            if stray.key() == Some(&self.key) && id != self.id && recent {
                let stray = Self { id: id.to_owned(), key: self.key.clone(), checksum: None, ..*self };
                stray.abort().await;
            }
        }
    }

    async fn fill_and_complete(
        &self,
        layout: Layout,
        there: Vec<(u64, CopiedPart)>,
    ) -> Result<(VerifiedBy, Option<String>), CopyError> {
        let mut copied = self.copy_missing(&layout.parts, there).await?;
        let mut exact = layout.exact;
        if layout.guessed
            && let Some(etag) = self.another_etag(&copied)
        {
            tracing::debug!(key = self.entry.key, %etag, "parts of unequal sizes: asking for each");
            let count = copied.len() as u64;
            let asked = ask_every_part(self.job, self.entry, count).await?;
            if parts::legal(&asked.parts) && asked.parts.len() <= copied.len() {
                exact = asked.exact;
                copied.truncate(asked.parts.len());
                let pairs = asked.parts.iter().zip(&layout.parts);
                let moved: Vec<Part> = pairs.filter(|(a, b)| a != b).map(|(part, _)| *part).collect();
                for part in self.copy_parts(&moved).await? {
                    let index = part.number as usize - 1;
                    copied[index] = part;
                }
            }
        }
        // What passed through here may have been damaged on its way.
        if self.streams
            && exact
            && let Some(etag) = self.another_etag(&copied)
        {
            return Err(CopyError::Refused(Failure {
                error: "Mismatch".into(),
                message: format!(
                    "its parts arrived as ETag {etag}, not {}; they were thrown away",
                    self.entry.etag
                ),
                remedy: "run again; if it stays, the network or the source alters what it sends".into(),
                request_id: None,
            }));
        }
        self.complete(&copied).await
    }

    /// The ETag these parts would make, if it is not the source's. Under SSE-KMS nobody
    /// can tell.
    fn another_etag(&self, copied: &[CopiedPart]) -> Option<ETag> {
        if self.source_kms || copied.iter().any(|part| part.kms) {
            return None;
        }
        let etags: Vec<ETag> = copied.iter().map(|part| part.etag.clone()).collect();
        ETag::of_parts(&etags).filter(|etag| *etag != self.entry.etag)
    }

    /// Copies those parts that are not there yet.
    async fn copy_missing(
        &self,
        parts: &[Part],
        there: Vec<(u64, CopiedPart)>,
    ) -> Result<Vec<CopiedPart>, CopyError> {
        let mut there: BTreeMap<_, _> =
            there.into_iter().map(|(size, part)| ((part.number, size), part)).collect();
        let (mut copied, mut missing) = (BTreeMap::new(), Vec::new());
        for part in parts {
            match there.remove(&(part.number, part.size)) {
                Some(there) => {
                    self.job.observer.moved(part.size);
                    copied.insert(part.number, there);
                }
                None => missing.push(*part),
            }
        }
        for part in self.copy_parts(&missing).await? {
            copied.insert(part.number, part);
        }
        Ok(copied.into_values().collect())
    }

    /// Answers them in the order in which they arrived.
    async fn copy_parts(&self, parts: &[Part]) -> Result<Vec<CopiedPart>, CopyError> {
        // One part that spans the object needs no range, and below 5 MiB takes none.
        let whole = parts.len() == 1 && parts[0].size == self.entry.size;
        streams::iter(parts.iter().copied())
            .map(|part| self.copy_part(part, whole))
            .buffer_unordered(self.job.caller.pace.most())
            .try_collect()
            .await
    }

    async fn copy_part(&self, part: Part, whole: bool) -> Result<CopiedPart, CopyError> {
        let Self { job, entry, .. } = self;
        if self.streams {
            let streamed =
                stream::part(job, entry, (&self.key, &self.id), part, self.checksum.as_ref()).await?;
            job.observer.moved(part.size);
            let kms = self.is_kms(streamed.server_side_encryption());
            return Ok(CopiedPart::new(part, kms, stream::result(&streamed)));
        }
        let source = copy_source(&job.source.bucket, &entry.key);
        let copied = job
            .caller
            .send_sized(Operation::UploadPartCopy, part.size, || {
                job.destination
                    .client
                    .upload_part_copy()
                    .bucket(&job.destination.bucket)
                    .key(&self.key)
                    .upload_id(&self.id)
                    .part_number(part.number)
                    .copy_source(&source)
                    .copy_source_if_match(entry.etag.quoted())
                    .set_copy_source_range((!whole).then(|| part.range()))
                    .set_expected_bucket_owner(job.destination.owner.clone())
                    .set_expected_source_bucket_owner(job.source.owner.clone())
                    .send()
            })
            .await;
        let copied = match copied {
            Ok(copied) => copied,
            Err(error) => return Err(job.copy_error(error, &entry.key).await),
        };
        job.observer.moved(part.size);
        let result = copied.copy_part_result().cloned().unwrap_or_else(|| CopyPartResult::builder().build());
        Ok(CopiedPart::new(part, self.is_kms(copied.server_side_encryption()), result))
    }

    fn is_kms(&self, encryption: Option<&ServerSideEncryption>) -> bool {
        let kms = is_kms(encryption);
        if kms {
            self.job.uploads.is_kms(&self.entry.key);
        }
        kms
    }

    /// Completes the upload; answers what proves it, and its ETag.
    async fn complete(&self, copied: &[CopiedPart]) -> Result<(VerifiedBy, Option<String>), CopyError> {
        let Self { job, entry, .. } = self;
        let parts = CompletedMultipartUpload::builder()
            .set_parts(Some(copied.iter().map(CopiedPart::completed).collect()))
            .build();
        let mut refused: Option<S3Error> = None;
        for way in job.ways(None) {
            match self.complete_by(way, &parts).await {
                Ok(completed) => {
                    job.learn_way(way, refused.as_ref());
                    let kms = is_kms(completed.server_side_encryption());
                    return Ok((job.verify(entry, completed.e_tag(), kms).await?, completed.e_tag));
                }
                Err(error) => match error.kind {
                    S3ErrorKind::AccessDenied => {
                        refused.get_or_insert(error);
                    }
                    // The answer to an earlier try was lost, but the upload had been completed.
                    S3ErrorKind::NoSuchUpload if error.tries > 1 => {
                        return Ok((job.verify(entry, None, false).await?, None));
                    }
                    S3ErrorKind::PreconditionFailed => return Err(CopyError::Overwritten),
                    _ => return Err(job.destination_error(error)),
                },
            }
        }
        job.note_in_vain();
        Err(refused.map_or(CopyError::Stopped, |error| job.destination_error(error)))
    }

    async fn complete_by(
        &self,
        way: Way,
        parts: &CompletedMultipartUpload,
    ) -> Result<CompleteMultipartUploadOutput, S3Error> {
        let Self { job, entry, .. } = self;
        let condition = job.condition(way, &entry.key).await;
        job.caller
            .send_sized(Operation::CompleteMultipartUpload, entry.size, || {
                job.destination
                    .client
                    .complete_multipart_upload()
                    .bucket(&job.destination.bucket)
                    .key(&self.key)
                    .upload_id(&self.id)
                    .multipart_upload(parts.clone())
                    .set_if_none_match(condition.if_none_match())
                    .set_if_match(condition.if_match())
                    .set_expected_bucket_owner(job.destination.owner.clone())
                    .send()
            })
            .await
    }

    /// Aborts the upload, within seconds if the run was stopped.
    async fn abort(&self) {
        let caller = &self.job.caller;
        // A stop ends this one at once, wherever it is.
        let mut aborted = self.abort_by(caller).await;
        if !aborted && caller.halt.is_cancelled() {
            let closing = caller.closing();
            aborted = tokio::time::timeout(CLOSING, self.abort_by(&closing)).await.unwrap_or(false);
        }
        if !aborted {
            tracing::warn!(
                key = self.key,
                upload_id = self.id,
                "an upload could not be aborted; a lifecycle rule for incomplete uploads removes it"
            );
        }
    }

    /// Aborts the upload until S3 no longer knows it: a part that was being copied when the
    /// first abort came in may have survived it.
    async fn abort_by(&self, caller: &Caller) -> bool {
        let Self { job, .. } = self;
        for _ in 0..3 {
            let aborted = caller
                .send(Operation::AbortMultipartUpload, || {
                    job.destination
                        .client
                        .abort_multipart_upload()
                        .bucket(&job.destination.bucket)
                        .key(&self.key)
                        .upload_id(&self.id)
                        .set_expected_bucket_owner(job.destination.owner.clone())
                        .send()
                })
                .await;
            if aborted.is_err_and(|error| error.kind == S3ErrorKind::NoSuchUpload) {
                return true;
            }
            let left = caller
                .send(Operation::ListParts, || {
                    job.destination
                        .client
                        .list_parts()
                        .bucket(&job.destination.bucket)
                        .key(&self.key)
                        .upload_id(&self.id)
                        .set_expected_bucket_owner(job.destination.owner.clone())
                        .max_parts(1)
                        .send()
                })
                .await;
            if left.is_err_and(|error| error.kind == S3ErrorKind::NoSuchUpload) {
                return true;
            }
        }
        false
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

struct CopiedPart {
    number: i32,
    etag: ETag,
    kms: bool,
    result: CopyPartResult,
}

impl CopiedPart {
    fn new(part: Part, kms: bool, result: CopyPartResult) -> Self {
        Self { number: part.number, etag: ETag::parse(result.e_tag().unwrap_or_default()), kms, result }
    }

    fn completed(&self) -> CompletedPart {
        let result = &self.result;
        CompletedPart::builder()
            .part_number(self.number)
            .set_e_tag(result.e_tag.clone())
            .set_checksum_crc32(result.checksum_crc32.clone())
            .set_checksum_crc32_c(result.checksum_crc32_c.clone())
            .set_checksum_crc64_nvme(result.checksum_crc64_nvme.clone())
            .set_checksum_sha1(result.checksum_sha1.clone())
            .set_checksum_sha256(result.checksum_sha256.clone())
            .build()
    }
}

impl Job {
    /// The source's tags as `x-amz-tagging` carries them. HEAD and GET count them, but not
    /// for those who may not read them: only a count of 0 is an answer.
    pub(super) async fn tags(
        &self,
        caller: &Caller,
        source: &Side,
        key: &str,
        count: Option<i32>,
    ) -> Result<Option<String>, S3Error> {
        if count == Some(0) || self.tags == Carry::Skip {
            return Ok(None);
        }
        let tagging = caller
            .send(Operation::GetObjectTagging, || {
                source
                    .client
                    .get_object_tagging()
                    .bucket(&source.bucket)
                    .key(key)
                    .set_expected_bucket_owner(source.owner.clone())
                    .send()
            })
            .await?;
        let tags = tagging.tag_set().iter().map(pair).collect::<Vec<_>>().join("&");
        Ok((!tags.is_empty()).then_some(tags))
    }
}

fn pair(tag: &Tag) -> String {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    let encode = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
    format!("{}={}", encode(tag.key()), encode(tag.value()))
}

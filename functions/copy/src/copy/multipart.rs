//! A multipart copy with the source's own part boundaries: its ETag is then the source's,
//! later runs compare without reading, and the parts are copied at the same time.
//!
//! The boundaries are told from the size of the first part and the number of parts. S3
//! answers every part copy with its MD5, so the ETag that the whole will have is known
//! before it is completed: a wrong guess is mended part by part, and never published.

mod abort;
mod layout;
mod open;

use std::collections::BTreeMap;

use aws_sdk_s3::operation::complete_multipart_upload::CompleteMultipartUploadOutput;
use aws_sdk_s3::types::{
    ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart, CopyPartResult, ServerSideEncryption,
};
use futures_util::{StreamExt, TryStreamExt, stream as streams};

use self::layout::{Layout, ask_every_part, layout};
use super::parts::{self, Part};
use super::ways::{Copied, Way};
use super::{CopyError, Job, copy_source, stream};
use crate::list::Entry;
use crate::operation::Operation;
use crate::report::{Failure, Lack, VerifiedBy};
use crate::verify::is_kms;
use crate::{ETag, S3Error, S3ErrorKind};

pub(crate) use abort::abort_left;

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
        // The end of the run tries again.
        Err(_) if !upload.abort().await => {}
        _ => job.uploads.closed(&entry.key),
    }
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

impl Upload<'_> {
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

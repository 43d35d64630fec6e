//! No upload is left open that nobody goes on with.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::Upload;
use crate::checkpoint::OpenUpload;
use crate::copy::Job;
use crate::list::{Archived, Entry, timestamp};
use crate::operation::Operation;
use crate::s3::Caller;
use crate::{ETag, S3ErrorKind};

/// What aborting may take once the run was stopped.
const CLOSING: Duration = Duration::from_secs(4);

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

impl Upload<'_> {
    /// Within seconds, if the run is stopped.
    pub(super) async fn abort_strays_in_time(&self, began: Timestamp) {
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

    /// Aborts the upload, within seconds if the run was stopped. Answers whether it is gone.
    pub(super) async fn abort(&self) -> bool {
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
        aborted
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

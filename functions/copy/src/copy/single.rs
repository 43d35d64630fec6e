//! One CopyObject: for every object that was uploaded in one piece. S3 keeps its metadata,
//! headers, tags and checksums, and its ETag.

use aws_sdk_s3::types::ServerSideEncryption;

use super::{CopyError, Job, copy_source};
use crate::list::Entry;
use crate::report::{Operation, VerifiedBy};
use crate::verify::is_kms;

/// The largest source that CopyObject takes: 5 GiB.
pub(super) const LARGEST: u64 = 5 << 30;

pub(super) async fn copy(job: &Job, entry: &Entry) -> Result<VerifiedBy, CopyError> {
    let source = copy_source(&job.source.bucket, &entry.key);
    let pin = entry.etag.quoted();
    let key = job.destination_key(&entry.key);
    let kms_key_id = &job.as_configured.kms_key_id;
    let copied = job
        .caller
        .send_sized(Operation::CopyObject, entry.size, || {
            job.destination
                .client
                .copy_object()
                .bucket(&job.destination.bucket)
                .key(&key)
                .copy_source(&source)
                .copy_source_if_match(&pin)
                .set_expected_bucket_owner(job.destination.owner.clone())
                .set_expected_source_bucket_owner(job.source.owner.clone())
                .set_storage_class(job.as_configured.storage_class.clone())
                .set_server_side_encryption(kms_key_id.is_some().then_some(ServerSideEncryption::AwsKms))
                .set_ssekms_key_id(kms_key_id.clone())
                .send()
        })
        .await;
    let copied = match copied {
        Ok(copied) => copied,
        Err(error) => return Err(job.copy_error(error, &entry.key).await),
    };
    let etag = copied.copy_object_result().and_then(|result| result.e_tag());
    let verified = job.verify(entry, etag, is_kms(copied.server_side_encryption())).await?;
    job.observer.moved(entry.size);
    Ok(verified)
}

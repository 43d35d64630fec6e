//! One CopyObject: for every object that was uploaded in one piece. S3 keeps its metadata,
//! headers, tags, annotations and checksums, and its ETag.

use aws_sdk_s3::operation::copy_object::CopyObjectOutput;
use aws_sdk_s3::types::{AnnotationDirective, ServerSideEncryption, TaggingDirective};

use super::ways::{Copied, Way};
use super::{CopyError, Job, copy_source, stream};
use crate::list::Entry;
use crate::operation::Operation;
use crate::plan::Carry;
use crate::report::Property;
use crate::rights::Said;
use crate::verify::is_kms;
use crate::{S3Error, S3ErrorKind};

/// The largest source that CopyObject takes: 5 GiB.
pub(super) const LARGEST: u64 = 5 << 30;

pub(super) async fn copy(job: &Job, entry: &Entry) -> Result<Copied, CopyError> {
    if job.is_better_streamed(entry) {
        return stream::copy(job, entry).await;
    }
    let usual = job.way();
    let mut refused: Option<S3Error> = None;
    for way in job.ways(Some(Property::Annotations)) {
        if refused.as_ref().is_some_and(|refused| !may_help(way, usual, refused)) {
            continue;
        }
        match send(job, entry, way).await {
            Ok(copied) => {
                job.learn_way(way, refused.as_ref());
                let etag = copied.copy_object_result().and_then(|result| result.e_tag());
                let kms = is_kms(copied.server_side_encryption());
                let verified_by = job.verify(entry, etag, kms).await?;
                job.observer.moved(entry.size);
                return Ok(Copied { verified_by, without: job.lacks_of(way) });
            }
            Err(error) if error.kind == S3ErrorKind::AccessDenied => {
                refused.get_or_insert(error);
            }
            Err(error) => return Err(job.copy_error(error, &entry.key).await),
        }
    }
    let Some(refused) = refused else { return Err(CopyError::Stopped) };
    let copied = job.around_tags(entry, refused).await;
    if matches!(copied, Err(CopyError::Refused(_))) {
        job.note_in_vain();
    }
    copied
}

/// Whether another way may lead around a refusal, as far as S3 says what it is about.
fn may_help(way: Way, usual: Way, refused: &S3Error) -> bool {
    match Said::of(&refused.message).map(|said| said.action) {
        None => !refused.code.starts_with("KMS."),
        Some("s3:PutObject") => way.annotations == usual.annotations,
        Some(action) => action.ends_with("ObjectAnnotation") && way.annotations != usual.annotations,
    }
}

async fn send(job: &Job, entry: &Entry, way: Way) -> Result<CopyObjectOutput, S3Error> {
    let source = copy_source(&job.source.bucket, &entry.key);
    let pin = entry.etag.quoted();
    let key = job.destination_key(&entry.key);
    let kms_key_id = &job.as_configured.kms_key_id;
    let condition = job.condition(way, &entry.key).await;
    // Said even where it is the default: what S3 does unasked may change.
    let annotations = match way.annotations {
        true => AnnotationDirective::Copy,
        false => AnnotationDirective::Exclude,
    };
    job.caller
        .send_sized(Operation::CopyObject, entry.size, || {
            job.destination
                .client
                .copy_object()
                .bucket(&job.destination.bucket)
                .key(&key)
                .copy_source(&source)
                .copy_source_if_match(&pin)
                .set_if_none_match(condition.if_none_match())
                .set_if_match(condition.if_match())
                .set_tagging_directive((job.tags == Carry::Skip).then_some(TaggingDirective::Replace))
                .annotation_directive(annotations.clone())
                .set_expected_bucket_owner(job.destination.owner.clone())
                .set_expected_source_bucket_owner(job.source.owner.clone())
                .set_storage_class(job.as_configured.storage_class.clone())
                .set_server_side_encryption(kms_key_id.is_some().then_some(ServerSideEncryption::AwsKms))
                .set_ssekms_key_id(kms_key_id.clone())
                .send()
        })
        .await
}

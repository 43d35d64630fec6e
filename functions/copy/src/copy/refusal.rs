//! What an error of a copy means: the source changed, the route must change, or the object
//! is not copied and somebody has to do something about it.
//!
//! A copy needs rights on both sides, and a bare "Access Denied" names neither side nor
//! right. What each side refuses by itself shows which.

use super::{CopyError, Job};
use crate::operation::Operation;
use crate::plan::Carry;
use crate::report::Failure;
use crate::rights::{Remedy, Said};
use crate::s3::Side;
use crate::verify::is_kms;
use crate::{S3Error, S3ErrorKind};

impl Job {
    /// An error of a streamed object: which side it is on shows in its operation.
    pub(super) async fn stream_error(&self, error: S3Error, key: &str) -> CopyError {
        match error.operation {
            Operation::GetObject | Operation::GetObjectTagging => self.error(error, self.reader()),
            _ => self.put_error(error, key).await,
        }
    }

    /// An error of a request that only concerns the destination.
    pub(super) fn destination_error(&self, error: S3Error) -> CopyError {
        match error.kind {
            S3ErrorKind::Stopped => CopyError::Stopped,
            _ => CopyError::Refused(self.failure(&error, self.destination.remedy(&error))),
        }
    }

    /// An error of a request that puts an object, with its tags, or begins to.
    pub(super) async fn put_error(&self, error: S3Error, key: &str) -> CopyError {
        if error.kind != S3ErrorKind::AccessDenied || Said::of(&error.message).is_some() {
            return self.destination_error(error);
        }
        let tags = self.tags(&self.caller, self.reader(), key, None).await.unwrap_or_default();
        let remedy = self.why_not_put(&error, key, tags, false).await;
        CopyError::Refused(self.failure(&error, remedy))
    }

    /// An error of a request that reads the source and writes the destination.
    pub(super) async fn copy_error(&self, error: S3Error, key: &str) -> CopyError {
        let remedy = match error.kind {
            // Another object's refusal has changed the route meanwhile.
            S3ErrorKind::AccessDenied if self.streams() => return CopyError::Switched,
            S3ErrorKind::AccessDenied => match self.why_not_copied(&error, key).await {
                Ok(remedy) => remedy,
                Err(error) => return error,
            },
            S3ErrorKind::NoSuchBucket => match self.is_listed(key).await {
                Err(error) if error.kind == S3ErrorKind::NoSuchBucket => self.source.remedy(&error),
                _ => self.destination.remedy(&error),
            },
            _ => return self.error(error, &self.destination),
        };
        CopyError::Refused(self.failure(&error, remedy))
    }

    /// Which right a server-side copy lacks.
    ///
    /// # Errors
    /// What a refusal of the source leads to, or another error that came to light meanwhile.
    async fn why_not_copied(&self, error: &S3Error, key: &str) -> Result<Remedy, CopyError> {
        let source = &self.source;
        if let Some(said) = Said::of(&error.message) {
            let of_source = match (said.action, said.resource) {
                // Parts of an upload need it on the destination's key, too.
                ("kms:Decrypt", Some(arn)) => {
                    self.head_source(key, None, None).await?.ssekms_key_id() == Some(arn)
                }
                _ => said.is_about(&source.bucket),
            };
            return match of_source {
                true => self.refused_by_source(error, source.remedy(error)),
                false => Ok(self.destination.remedy(error)),
            };
        }
        self.or_gone(key).await?;
        let head = match self.head_source(key, None, None).await {
            Err(CopyError::Refused(failure)) => return Ok(failure.remedy),
            head => head?,
        };
        let tags = match self.tags(&self.caller, source, key, head.tag_count()).await {
            Err(error) if error.kind == S3ErrorKind::AccessDenied => {
                return self.refused_by_source(&error, source.remedy(&error));
            }
            tags => tags.map_err(|error| self.error(error, source))?,
        };
        let annotated = match self.is_annotated(key).await {
            Err(error) if error.kind == S3ErrorKind::AccessDenied && self.annotations == Carry::Copy => {
                return self.refused_by_source(&error, source.remedy(&error));
            }
            annotated => annotated.unwrap_or_default(),
        };
        if is_kms(head.server_side_encryption()) && !self.may_decrypt(key).await {
            let remedy = source.place().allow_key("kms:Decrypt", head.ssekms_key_id());
            return self.refused_by_source(error, remedy);
        }
        Ok(self.why_not_put(error, key, tags, annotated).await)
    }

    /// Whoever may not list is refused what is gone.
    ///
    /// # Errors
    /// That it is gone.
    pub(super) async fn or_gone(&self, key: &str) -> Result<(), CopyError> {
        if self.own_may_not_list.is_some()
            && let Err(gone @ CopyError::NotFound(_)) = self.head_at(self.lister(), key, None, None).await
        {
            return Err(gone);
        }
        Ok(())
    }

    fn refused_by_source(&self, error: &S3Error, remedy: Remedy) -> Result<Remedy, CopyError> {
        if error.kind == S3ErrorKind::AccessDenied && self.switch(&remedy.text) {
            return Err(CopyError::Switched);
        }
        Ok(remedy)
    }

    async fn may_decrypt(&self, key: &str) -> bool {
        let Side { client, bucket, owner, .. } = &self.source;
        let got = self.caller.send(Operation::GetObject, || {
            let get = client.get_object().bucket(bucket).key(key).range("bytes=0-0");
            get.set_expected_bucket_owner(owner.clone()).send()
        });
        got.await.map_or_else(|error| error.kind != S3ErrorKind::AccessDenied, |_| true)
    }

    /// Which right a write lacks.
    async fn why_not_put(&self, error: &S3Error, key: &str, tags: Option<String>, annotated: bool) -> Remedy {
        if let Err(refused) = self.try_put(key, None).await {
            return self.destination.remedy(&refused);
        }
        let place = self.destination.place();
        if tags.is_some()
            && let Err(refused) = self.try_put(key, tags).await
        {
            return place.refused("s3:PutObjectTagging", &refused.message);
        }
        if annotated && let Err(refused) = self.try_annotate(key).await {
            return place.refused("s3:PutObjectAnnotation", &refused.message);
        }
        match &self.as_configured.kms_key_id {
            Some(key) => place.allow_key("kms:GenerateDataKey", Some(key)),
            None => format!(
                "{} is refused, though objects may be put there: look for a Deny with a condition in the \
                 policies of both buckets, and at the KMS key of {}",
                error.operation, self.destination.bucket
            )
            .into(),
        }
    }

    /// Asks whether an object may be put, and puts none: its Content-MD5 is that of other
    /// bytes, which S3 says only to those who have the right, and no object is replaced.
    pub(super) async fn try_put(&self, key: &str, tags: Option<String>) -> Result<(), S3Error> {
        let put = self.destination.client.put_object().bucket(&self.destination.bucket);
        let put = put
            .key(self.destination_key(key))
            .set_expected_bucket_owner(self.destination.owner.clone())
            .set_tagging(tags)
            .if_none_match("*")
            .content_md5(MD5_OF_OTHER_BYTES)
            .body(aws_sdk_s3::primitives::ByteStream::from_static(b"replicator"));
        match self.caller.once(Operation::PutObject, put.send()).await {
            Err(error) if error.kind == S3ErrorKind::AccessDenied => Err(error),
            _ => Ok(()),
        }
    }

    /// The same for an annotation.
    async fn try_annotate(&self, key: &str) -> Result<(), S3Error> {
        let put = self.destination.client.put_object_annotation().bucket(&self.destination.bucket);
        let put = put
            .key(self.destination_key(key))
            .annotation_name("replicator")
            .set_expected_bucket_owner(self.destination.owner.clone())
            .content_md5(MD5_OF_OTHER_BYTES)
            .annotation_payload(aws_sdk_s3::primitives::ByteStream::from_static(b"replicator"));
        match self.caller.once(Operation::PutObjectAnnotation, put.send()).await {
            Err(error) if error.kind == S3ErrorKind::AccessDenied => Err(error),
            _ => Ok(()),
        }
    }

    /// Streams from now on, if that may help.
    fn switch(&self, missing: &str) -> bool {
        if self.may_switch {
            let because = format!("the source refuses server-side copies ({missing})");
            if self.streams_because.set(because.clone()).is_ok() {
                tracing::info!(source = %self.name, because, "streaming with the vendor's keys");
            }
        }
        self.may_switch
    }

    /// An error of a request to one side.
    pub(super) fn error(&self, error: S3Error, side: &Side) -> CopyError {
        // The vendor's keys may do what the customer's own credentials may not.
        if error.kind == S3ErrorKind::AccessDenied
            && std::ptr::eq(side, &raw const self.source)
            && self.switch(&side.remedy(&error).text)
        {
            return CopyError::Switched;
        }
        match error.kind {
            S3ErrorKind::PreconditionFailed => CopyError::Overwritten,
            S3ErrorKind::NotFound => CopyError::NotFound(error),
            S3ErrorKind::Archived => CopyError::Archived,
            S3ErrorKind::Stopped => CopyError::Stopped,
            _ => CopyError::Refused(self.failure(&error, side.remedy(&error))),
        }
    }

    pub(super) fn failure(&self, error: &S3Error, remedy: Remedy) -> Failure {
        Failure {
            error: error.kind.name().into(),
            message: error.to_string(),
            remedy,
            request_id: error.request_id.clone(),
        }
    }
}

/// The MD5 of nothing.
const MD5_OF_OTHER_BYTES: &str = "1B2M2Y8AsgTpgAmY7PhCfg==";

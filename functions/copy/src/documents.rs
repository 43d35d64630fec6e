//! The replicator's own small objects below `.replicator/`: read, and written on the condition
//! that nobody else wrote meanwhile.

use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_s3::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::primitives::{ByteStream, DateTime, DateTimeFormat};
use aws_sdk_s3::types::ServerSideEncryption;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use md5::{Digest, Md5};

use crate::list::timestamp;
use crate::operation::Operation;
use crate::s3::{Caller, Side};
use crate::{Plan, RunError, S3Error, S3ErrorKind};

/// Reads and writes them.
#[derive(Clone)]
pub(crate) struct Documents {
    caller: Caller,
    side: Side,
    kms_key_id: Option<String>,
}

/// One of them, as it is at the destination.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    pub(crate) body: Vec<u8>,
    pub(crate) etag: String,
    /// When it was written, and when it was read: both by the server's clock.
    pub(crate) written: Timestamp,
    pub(crate) read: Timestamp,
}

/// What must hold for a document to be written.
#[derive(Clone, Debug)]
pub(crate) enum Condition {
    Any,
    /// It is not there.
    Absent,
    /// It is there with this ETag.
    Is(String),
}

impl Documents {
    pub(crate) fn new(plan: &Plan, caller: Caller, side: &Side) -> Self {
        Self { caller, side: side.clone(), kms_key_id: plan.destination.kms_key_id.clone() }
    }

    /// What a run says of an error that it cannot do without one.
    pub(crate) fn failed(&self, key: &str, error: S3Error) -> RunError {
        RunError::Document {
            bucket: self.side.bucket.clone(),
            key: key.to_owned(),
            remedy: self.side.remedy(&error),
            source: Box::new(error),
        }
    }

    /// `None` where there is none.
    pub(crate) async fn get(&self, key: &str) -> Result<Option<Document>, S3Error> {
        let Side { client, bucket, owner, .. } = &self.side;
        let got = self.caller.persist(Operation::GetObject, 0, async || {
            let date = Date::default();
            let get = client
                .get_object()
                .bucket(bucket)
                .key(key)
                .set_expected_bucket_owner(owner.clone())
                .customize()
                .interceptor(date.clone());
            let got = self.caller.once(Operation::GetObject, get.send()).await?;
            let written = got.last_modified().map(timestamp).unwrap_or_default();
            let etag = got.e_tag().unwrap_or_default().to_owned();
            let body = got.body.collect().await;
            let body =
                body.map_err(|error| S3Error::cut_short(Operation::GetObject, "half a body", &error))?;
            let read = date.read().unwrap_or_else(Timestamp::now);
            Ok(Document { body: body.to_vec(), etag, written, read })
        });
        match got.await {
            Ok(document) => Ok(Some(document)),
            Err(error) if error.kind == S3ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes JSON; answers its new ETag.
    pub(crate) async fn put(
        &self,
        key: &str,
        body: Vec<u8>,
        condition: &Condition,
    ) -> Result<String, S3Error> {
        self.put_as("application/json", key, body, condition).await
    }

    /// Answers its new ETag.
    pub(crate) async fn put_as(
        &self,
        content_type: &str,
        key: &str,
        body: Vec<u8>,
        condition: &Condition,
    ) -> Result<String, S3Error> {
        let (is, absent) = match condition {
            Condition::Any => (None, None),
            Condition::Is(etag) => (Some(etag.clone()), None),
            Condition::Absent => (None, Some("*".to_owned())),
        };
        let Side { client, bucket, owner, .. } = &self.side;
        // A bucket with Object Lock wants a digest of what it is to keep.
        let md5 = STANDARD.encode(Md5::digest(&body));
        let put = self.caller.send(Operation::PutObject, || {
            client
                .put_object()
                .bucket(bucket)
                .key(key)
                .set_expected_bucket_owner(owner.clone())
                .content_type(content_type)
                .set_if_match(is.clone())
                .set_if_none_match(absent.clone())
                .set_server_side_encryption(self.kms_key_id.is_some().then_some(ServerSideEncryption::AwsKms))
                .set_ssekms_key_id(self.kms_key_id.clone())
                .content_md5(&md5)
                .body(ByteStream::from(body.clone()))
                .send()
        });
        Ok(put.await?.e_tag().unwrap_or_default().to_owned())
    }
}

/// An answer's `Date`: the server's clock, which the SDK does not hand out.
#[derive(Clone, Debug, Default)]
struct Date(Arc<Mutex<Option<Timestamp>>>);

impl Date {
    fn read(&self) -> Option<Timestamp> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Intercept for Date {
    fn name(&self) -> &'static str {
        "Date"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date");
        let date = date.and_then(|date| DateTime::from_str(date, DateTimeFormat::HttpDate).ok());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = date.as_ref().map(timestamp);
        Ok(())
    }
}

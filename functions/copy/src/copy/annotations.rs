//! Annotations, where CopyObject does not bring them along: after the object is there, one by
//! one. S3 has no other way; a run that is killed in between leaves a copy without them.

use aws_sdk_s3::operation::list_object_annotations::ListObjectAnnotationsOutput;
use aws_sdk_s3::primitives::ByteStream;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream as streams};
use md5::{Digest, Md5};

use super::{CopyError, Job};
use crate::operation::Operation;
use crate::plan::Carry;
use crate::report::{Lack, Property};
use crate::s3::{Caller, Side};
use crate::{S3Error, S3ErrorKind};

/// What is held of them at once: S3 gives each 1 MiB at the most.
const AT_ONCE: usize = 4;

/// The annotations of an object.
#[derive(Debug, Default)]
pub(super) struct Annotations {
    names: Vec<String>,
    lack: Option<Lack>,
}

impl Job {
    /// The names of the source's annotations, if they may be read.
    pub(super) async fn annotations(&self, key: &str) -> Result<Annotations, CopyError> {
        let source = self.reader();
        let mut found = Annotations::default();
        if self.annotations == Carry::Skip || self.learned.source_has_none() {
            return Ok(found);
        }
        if let Some(lack) = self.learned.unread_annotations() {
            return Ok(Annotations { lack: Some(lack), ..found });
        }
        let mut token = None;
        loop {
            match list(&self.caller, source, key, token).await {
                Ok(Some(page)) => {
                    found.names.extend(page.annotations().iter().map(|one| one.annotation_name.clone()));
                    token = page.next_continuation_token;
                }
                Ok(None) => {
                    self.learned.learn_source_has_none();
                    return Ok(found);
                }
                Err(error) => {
                    let lack = self.left_behind(error, source)?;
                    return Ok(Annotations { lack: Some(lack), ..found });
                }
            }
            if token.is_none() {
                return Ok(found);
            }
        }
    }

    /// Writes annotations to the copy, whose ETag is `etag`; answers what it goes without.
    pub(super) async fn annotate(
        &self,
        key: &str,
        etag: Option<&str>,
        annotations: Annotations,
    ) -> Result<Option<Lack>, CopyError> {
        if annotations.names.is_empty() {
            return Ok(annotations.lack);
        }
        // A server that does not know annotations would take the text for the object itself.
        let lands = self.destination_key(key);
        match list(&self.caller, &self.destination, &lands, None).await {
            Ok(Some(_)) => {}
            Ok(None) => {
                let because = "the destination's server has no annotations".to_owned();
                return Ok(Some(Lack { property: Property::Annotations, because }));
            }
            Err(error) => return self.left_behind(error, &self.destination).map(Some),
        }
        let written = streams::iter(annotations.names)
            .map(|name| self.copy_annotation(key, etag, name))
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await;
        match written {
            Ok(()) => Ok(None),
            Err((error, side)) => self.left_behind(error, side).map(Some),
        }
    }

    /// Whether the source's object has annotations, and all that S3 needs to copy them may be read.
    pub(super) async fn is_annotated(&self, key: &str) -> Result<bool, S3Error> {
        if self.annotations == Carry::Skip {
            return Ok(false);
        }
        let listed = list(&self.caller, &self.source, key, None).await?;
        let first = listed.as_ref().and_then(|listed| listed.annotations().first());
        let Some(first) = first else { return Ok(false) };
        self.get_annotation(&self.source, key, &first.annotation_name).await.map(|_| true)
    }

    async fn get_annotation(&self, source: &Side, key: &str, name: &str) -> Result<Bytes, S3Error> {
        let got = self.caller.persist(Operation::GetObjectAnnotation, 0, async || {
            let get = source
                .client
                .get_object_annotation()
                .bucket(&source.bucket)
                .key(key)
                .annotation_name(name)
                .set_expected_bucket_owner(source.owner.clone());
            let got = self.caller.once(Operation::GetObjectAnnotation, get.send()).await?;
            let payload = got.annotation_payload.collect().await.map_err(|error| {
                S3Error::cut_short(Operation::GetObjectAnnotation, "half an annotation", &error)
            })?;
            Ok(payload.into_bytes())
        });
        got.await
    }

    async fn copy_annotation(
        &self,
        key: &str,
        etag: Option<&str>,
        name: String,
    ) -> Result<(), (S3Error, &Side)> {
        let source = self.reader();
        let got = self.get_annotation(source, key, &name);
        let payload = got.await.map_err(|error| (error, source))?;
        let side = &self.destination;
        let put = self.caller.send(Operation::PutObjectAnnotation, || {
            side.client
                .put_object_annotation()
                .bucket(&side.bucket)
                .key(self.destination_key(key))
                .annotation_name(&name)
                .set_object_if_match(etag.map(str::to_owned))
                .set_expected_bucket_owner(side.owner.clone())
                .content_md5(STANDARD.encode(Md5::digest(&payload)))
                .annotation_payload(ByteStream::from(payload.clone()))
                .send()
        });
        put.await.map(|_| ()).map_err(|error| (error, side))
    }

    /// Goes on without, where a right is missing and that is allowed.
    fn left_behind(&self, error: S3Error, side: &Side) -> Result<Lack, CopyError> {
        let lack = |because| Lack { property: Property::Annotations, because };
        match error.kind {
            // The vendor's keys may read them, but few objects have any: no reason to stream.
            S3ErrorKind::AccessDenied if self.annotations == Carry::Auto => {
                let because = format!("{error}; {}", side.remedy(&error).text);
                return Ok(self.learned.learn_unread(self.name, lack(because)));
            }
            // XML cannot carry every key.
            S3ErrorKind::NotS3 if self.annotations == Carry::Auto => return Ok(lack(error.to_string())),
            _ => {}
        }
        Err(match (error.kind, side.name) {
            // With its object: it was overwritten.
            (S3ErrorKind::NotFound | S3ErrorKind::PreconditionFailed, _) => CopyError::Overwritten,
            (_, "source") => self.error(error, self.reader()),
            _ => self.destination_error(error),
        })
    }
}

/// One page of an object's annotations; `None` where the server does not know any.
///
/// One byte at the most is asked for: a server that does not know annotations answers with the
/// object.
pub(crate) async fn list(
    caller: &Caller,
    side: &Side,
    key: &str,
    token: Option<String>,
) -> Result<Option<ListObjectAnnotationsOutput>, S3Error> {
    let listed = caller.persist(Operation::ListObjectAnnotations, 0, async || {
        let list = side
            .client
            .list_object_annotations()
            .bucket(&side.bucket)
            .key(key)
            .set_continuation_token(token.clone())
            .set_expected_bucket_owner(side.owner.clone())
            .customize()
            .mutate_request(|request| {
                request.headers_mut().insert("range", "bytes=0-0");
            });
        match caller.once(Operation::ListObjectAnnotations, list.send()).await {
            Err(error) if is_unknown(&error) => Ok(None),
            listed => listed.map(Some),
        }
    });
    listed.await
}

/// Whether a server does not know annotations: it says so, or answers with a byte of the object.
fn is_unknown(error: &S3Error) -> bool {
    let codes = ["NotImplemented", "MethodNotAllowed", "InvalidRange"];
    codes.contains(&error.code.as_str()) || error.code.starts_with("HTTP status 206")
}

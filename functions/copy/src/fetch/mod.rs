//! Reads one bucket: lists it, and gets objects in pinned pieces, with the same retries, pace
//! and classified errors as a replication. It writes nothing, at S3 or anywhere: what becomes
//! of the bytes is up to a [`Sink`].

mod evidence;
mod versions;

use std::io;
use std::ops::Range;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::Region;
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::types::{BucketVersioningStatus, ChecksumMode};
use jiff::Timestamp;
use tokio::time::timeout;

pub use evidence::{Crc64Nvme, Evidence, Judge, Proof, Verdict};

use self::versions::Versions;
use crate::list::{Keys, Listing, timestamp};
use crate::operation::Operation;
use crate::report::Failure;
use crate::rights::Whose;
use crate::s3::{Caller, Side};
use crate::{ETag, Halt, PlanError, RunError, S3Error, S3ErrorKind};

/// How long a server may send nothing. There is no limit to how long an object may take: a
/// slow line is no error.
const STALL: Duration = Duration::from_secs(30);
/// What bounds an attempt besides, in seconds.
const DAY: u64 = 86_400;

/// An object as a bucket lists it, or as it was looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its key.
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// Its ETag.
    pub etag: ETag,
    /// When it was written, by the server's clock.
    pub modified: Timestamp,
    /// In an archive tier, with no restored copy to read.
    pub archived: bool,
    /// The version that is meant; the newest one unless given.
    pub version: Option<String>,
}

/// Whose a bucket is, and whose credentials read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// The vendor's, with the customer's own credentials.
    Source,
    /// The vendor's, with the keys that the vendor gave.
    SourceWithVendorsKeys,
    /// The customer's.
    Destination,
}

/// A bucket to read, and how.
#[derive(Clone, Debug)]
pub struct Location {
    /// Whose it is, and whose credentials read it: for the sentences of errors.
    pub at: At,
    /// The setting or flag that names the bucket, for those too.
    pub setting: &'static str,
    /// Reads it.
    pub client: Client,
    /// Its name.
    pub bucket: String,
    /// The account id that must own it.
    pub owner: Option<String>,
}

/// Whether a bucket keeps what is overwritten and deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versioning {
    /// It does.
    Enabled,
    /// It did, and has what it kept until then.
    Suspended,
    /// It never did.
    Never,
}

/// Takes an object's bytes, from the first to the last.
pub trait Sink: Send {
    /// Takes the next bytes. An error ends the download of the object.
    fn write(&mut self, bytes: &[u8]) -> impl Future<Output = io::Result<()>> + Send;
}

/// Why an object was not got.
#[derive(Debug)]
pub enum FetchError {
    /// It is no longer the one that was listed: look it up, and begin anew.
    Overwritten,
    /// It is in an archive tier.
    Archived,
    /// The run was stopped.
    Stopped,
    /// The server's answer, which is final, and what to do about it.
    Refused(S3ErrorKind, Failure),
    /// The sink's error.
    Sink(io::Error),
}

/// One bucket that is read. Clones share their pace.
#[derive(Clone)]
pub struct Bucket {
    caller: Caller,
    side: Side,
}

impl Bucket {
    /// Reads it with at most `most` requests at once, until `halt` says stop.
    ///
    /// # Errors
    /// [`PlanError`] where its name is none that a bucket has.
    pub fn new(location: Location, most: usize, halt: &Halt) -> Result<Self, PlanError> {
        let Location { at, setting, client, bucket, owner } = location;
        let bucket = crate::plan::bucket(setting, Some(&bucket))?.ok_or(PlanError::NoSource)?;
        let caller = Caller::with(most, STALL, halt.clone());
        let whose = match at {
            At::Source => Whose::OwnAtSource,
            At::SourceWithVendorsKeys => Whose::VendorAtSource,
            At::Destination => Whose::OwnAtDestination,
        };
        Ok(Self { caller, side: Side::alone(whose, setting, client, bucket, owner) })
    }

    /// Lists the keys that begin with `prefix`, in order. The first page is here when this
    /// returns. Where the bucket is in another region than was said, that region is learned,
    /// and kept for what follows.
    ///
    /// # Errors
    /// [`RunError::List`] where the bucket cannot be listed.
    pub async fn list(&mut self, prefix: &str) -> Result<Objects, RunError> {
        let opened = Listing::open(&self.caller, &self.side, "", prefix).await;
        let listing = match opened {
            Err(error) if self.moved(&error).await => {
                Listing::open(&self.caller, &self.side, "", prefix).await
            }
            opened => opened,
        };
        Ok(Objects(Inner::Now(Keys::of(listing?))))
    }

    /// Lists the keys that begin with `prefix` as they were at a time, each with its version of
    /// then, from those that the bucket keeps. Else as [`list`](Self::list).
    ///
    /// # Errors
    /// [`RunError::List`] where the bucket's versions cannot be listed.
    pub async fn list_as_of(&mut self, prefix: &str, at: Timestamp) -> Result<Objects, RunError> {
        let opened = Versions::open(&self.caller, &self.side, prefix, at).await;
        let versions = match opened {
            Err(error) if self.moved(&error).await => {
                Versions::open(&self.caller, &self.side, prefix, at).await
            }
            opened => opened,
        };
        Ok(Objects(Inner::Then(Box::new(versions?))))
    }

    /// Whether the bucket is in another region, which is known from now on.
    async fn moved(&mut self, error: &RunError) -> bool {
        let RunError::List { source, .. } = error else { return false };
        if source.kind != S3ErrorKind::WrongRegion {
            return false;
        }
        let Some(region) = self.region().await else { return false };
        let config = self.side.client.config().to_builder().region(Region::new(region)).build();
        self.side.client = Client::from_conf(config);
        true
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.side.bucket
    }

    /// Whether it keeps versions.
    ///
    /// # Errors
    /// What S3 answered, such as that it may not be asked that.
    pub async fn versioning(&self) -> Result<Versioning, S3Error> {
        let side = &self.side;
        let asked = self.caller.send(Operation::GetBucketVersioning, || {
            let ask = side.client.get_bucket_versioning().bucket(&side.bucket);
            ask.set_expected_bucket_owner(side.owner.clone()).send()
        });
        Ok(match asked.await?.status {
            Some(BucketVersioningStatus::Enabled) => Versioning::Enabled,
            Some(_) => Versioning::Suspended,
            None => Versioning::Never,
        })
    }

    /// The bucket's region, which S3 tells whoever asks in another one.
    async fn region(&self) -> Option<String> {
        let head = self.side.client.head_bucket().bucket(&self.side.bucket).send();
        let error = timeout(STALL, head).await.ok()?.err()?;
        error.raw_response()?.headers().get("x-amz-bucket-region").map(str::to_owned)
    }

    /// The object as it is now, or that version of it, and what the server says of its bytes.
    ///
    /// # Errors
    /// [`FetchError`], by what the server answered.
    pub async fn look_up(&self, key: &str, version: Option<&str>) -> Result<(Object, Evidence), FetchError> {
        let head = self.head(key, version, None, None).await?;
        let object = Object {
            key: key.to_owned(),
            version: version.map(str::to_owned),
            size: head.content_length().and_then(|size| u64::try_from(size).ok()).unwrap_or_default(),
            etag: ETag::parse(head.e_tag().unwrap_or_default()),
            modified: head.last_modified().map(timestamp).unwrap_or_default(),
            archived: false,
        };
        let mut evidence = Evidence::from(&head);
        if let Some(count) = evidence.needs_parts() {
            let size_of = async |part: u16| {
                let head = self.head(key, version, Some(&object.etag), Some(part.into())).await?;
                let size = head.content_length().and_then(|size| u64::try_from(size).ok());
                Ok::<_, FetchError>(size.unwrap_or_default())
            };
            evidence = evidence.with_parts(size_of(1).await?, size_of(count).await?);
        }
        Ok((object, evidence))
    }

    /// Gets an object, or the bytes `range` of it, as it was listed: one that was overwritten
    /// meanwhile is refused. `sink` is made anew for each try.
    ///
    /// # Errors
    /// [`FetchError`], after as many tries as are worth it.
    pub async fn get<S: Sink>(
        &self,
        object: &Object,
        range: Option<Range<u64>>,
        sink: impl Fn(&Evidence) -> S,
    ) -> Result<S, FetchError> {
        let expected = range.as_ref().map_or(object.size, |range| range.end - range.start);
        let attempt = async || {
            let got = self.open(object, range.as_ref()).await?;
            if got.content_length().and_then(|size| u64::try_from(size).ok()) != Some(expected) {
                let size = got.content_length().unwrap_or_default();
                return Err(broken(format!("{size} bytes"), format!("{expected} were asked for")));
            }
            // A server that does not know conditions answers with another object.
            if ETag::parse(got.e_tag().unwrap_or_default()) != object.etag {
                return Ok(None);
            }
            let mut sink = sink(&Evidence::from(&got));
            match pour(got, expected, &mut sink).await {
                Ok(()) => Ok(Some(Ok(sink))),
                Err(Broken::Sink(error)) => Ok(Some(Err(error))),
                Err(Broken::Body(error)) => Err(error),
            }
        };
        match self.caller.persist(Operation::GetObject, DAY, attempt).await {
            Ok(Some(Ok(sink))) => Ok(sink),
            Ok(Some(Err(error))) => Err(FetchError::Sink(error)),
            Ok(None) => Err(FetchError::Overwritten),
            Err(error) => Err(self.error(error, object.version.is_some())),
        }
    }

    async fn open(&self, object: &Object, range: Option<&Range<u64>>) -> Result<GetObjectOutput, S3Error> {
        let side = &self.side;
        let get = side
            .client
            .get_object()
            .bucket(&side.bucket)
            .key(&object.key)
            .set_version_id(object.version.clone())
            .set_expected_bucket_owner(side.owner.clone())
            .if_match(object.etag.quoted())
            .set_range(range.map(|range| format!("bytes={}-{}", range.start, range.end - 1)))
            .customize()
            // Asked for past the SDK, which would compare it, too, and call what differs a
            // connection that broke.
            .mutate_request(|request| {
                request.headers_mut().insert("x-amz-checksum-mode", "ENABLED");
            });
        let answer = self.caller.once(Operation::GetObject, get.send());
        timeout(STALL, answer).await.unwrap_or_else(|_| Err(stalled()))
    }

    async fn head(
        &self,
        key: &str,
        version: Option<&str>,
        pin: Option<&ETag>,
        part_number: Option<i32>,
    ) -> Result<HeadObjectOutput, FetchError> {
        let side = &self.side;
        let head = self.caller.send(Operation::HeadObject, || {
            side.client
                .head_object()
                .bucket(&side.bucket)
                .key(key)
                .set_version_id(version.map(str::to_owned))
                .set_expected_bucket_owner(side.owner.clone())
                .set_if_match(pin.map(ETag::quoted))
                .set_part_number(part_number)
                .checksum_mode(ChecksumMode::Enabled)
                .send()
        });
        head.await.map_err(|error| self.error(error, version.is_some()))
    }

    fn error(&self, error: S3Error, of_version: bool) -> FetchError {
        match error.kind {
            S3ErrorKind::PreconditionFailed => FetchError::Overwritten,
            S3ErrorKind::Archived => FetchError::Archived,
            S3ErrorKind::Stopped => FetchError::Stopped,
            kind => FetchError::Refused(
                kind,
                Failure {
                    error: kind.name().into(),
                    message: error.to_string(),
                    remedy: match kind {
                        S3ErrorKind::NotFound => {
                            "it was deleted after it was listed, or is not served; run again".into()
                        }
                        S3ErrorKind::AccessDenied if of_version => {
                            self.side.place().refused("s3:GetObjectVersion", &error.message)
                        }
                        _ => self.side.remedy(&error),
                    },
                    request_id: error.request_id,
                },
            ),
        }
    }
}

/// A bucket's objects in the order of their keys' UTF-8 bytes, a page ahead of their reader.
pub struct Objects(Inner);

enum Inner {
    Now(Keys),
    Then(Box<Versions>),
}

impl Objects {
    /// The next object, or `None` at the end.
    ///
    /// # Errors
    /// [`RunError`] where the listing cannot go on.
    pub async fn next(&mut self) -> Result<Option<Object>, RunError> {
        let keys = match &mut self.0 {
            Inner::Now(keys) => keys,
            Inner::Then(versions) => return versions.next().await,
        };
        let entry = keys.next().await?;
        Ok(entry.map(|entry| Object {
            key: entry.key,
            size: entry.size,
            etag: entry.etag,
            modified: entry.modified,
            archived: !entry.archived.is_readable(),
            version: None,
        }))
    }

    /// So far, the keys of which the bucket keeps later versions alone: they were not there at
    /// the time, or nothing from before was kept.
    #[must_use]
    pub fn later(&self) -> u64 {
        match &self.0 {
            Inner::Now(_) => 0,
            Inner::Then(versions) => versions.later(),
        }
    }
}

enum Broken {
    Body(S3Error),
    Sink(io::Error),
}

async fn pour(got: GetObjectOutput, expected: u64, sink: &mut impl Sink) -> Result<(), Broken> {
    let mut body = got.body;
    let mut received = 0;
    while let Some(bytes) = timeout(STALL, body.next()).await.map_err(|_| Broken::Body(stalled()))? {
        let bytes = bytes.map_err(|error| {
            Broken::Body(broken("a body that broke off".into(), crate::s3::innermost(&error)))
        })?;
        received += bytes.len() as u64;
        if received > expected {
            break;
        }
        sink.write(&bytes).await.map_err(Broken::Sink)?;
    }
    if received == expected {
        return Ok(());
    }
    Err(Broken::Body(broken(format!("{received} bytes"), format!("{expected} were announced"))))
}

/// What is worth another try.
fn broken(code: String, message: String) -> S3Error {
    S3Error {
        operation: Operation::GetObject,
        kind: S3ErrorKind::Unreachable,
        code,
        message,
        request_id: None,
        tries: 1,
    }
}

fn stalled() -> S3Error {
    S3Error {
        kind: S3ErrorKind::TimedOut,
        ..broken(format!("nothing within {} s", STALL.as_secs()), String::new())
    }
}

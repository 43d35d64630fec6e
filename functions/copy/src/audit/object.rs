//! One object: asks both sides what they know of it, or reads both, and says what was found.
//!
//! An object may be overwritten at any moment on either side. A difference counts only
//! between two objects that are still there, and reads are pinned to what was listed: what
//! changes meanwhile is looked up again, and never called different for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::types::ChecksumMode;
use jiff::Timestamp;
use tokio::sync::Semaphore;

use super::judge::{self, Evidence, Seen};
use super::report::{Comparison, Finding};
use crate::copy::no_place;
use crate::list::{Entry, Listing, timestamp};
use crate::operation::Operation;
use crate::replicate::Observer;
use crate::s3::{Caller, Side};
use crate::verify::Facts;
use crate::{ETag, Failure, Remedy, S3Error, S3ErrorKind, Source};

/// Lookups of an object that is overwritten faster than it can be compared.
const LOOKUPS: u32 = 5;

/// What the comparisons of one source share.
pub(super) struct Desk {
    pub(super) source: Source,
    /// The source, read with the customer's own credentials.
    pub(super) own: Side,
    /// The same with the vendor's keys, where it gave any.
    pub(super) vendor: Option<Side>,
    /// Whether those read it from now on.
    pub(super) by_vendor: AtomicBool,
    pub(super) destination: Side,
    pub(super) caller: Caller,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) started: Timestamp,
    pub(super) reads: bool,
    /// What the answers being read may hold, in KiB; shared by all sources.
    pub(super) room: Arc<Semaphore>,
}

/// Why an object could not be compared.
#[derive(Debug)]
pub(super) enum Obstacle {
    /// It is no longer what was pinned, on either side.
    Changed,
    Gone(S3Error),
    Missing,
    /// It cannot be read before it is restored.
    Archived,
    Stopped,
    Refused(Failure),
}

impl Desk {
    pub(super) fn destination_key(&self, key: &str) -> String {
        format!("{}{key}", self.source.lands_in)
    }

    /// What an object is that is not at the destination.
    pub(super) fn missing(&self, source: &Entry) -> Finding {
        if let Some(failure) = no_place(self.source.name, &self.destination_key(&source.key)) {
            return Finding::Missing(failure);
        }
        match source.modified >= self.started {
            true => Finding::Changed,
            false => Finding::Missing(judge::missing(source)),
        }
    }

    /// Compares an object that both sides list.
    pub(super) async fn compare(&self, mut source: Entry, mut copy: Entry) -> Comparison {
        let listed = source.etag.clone();
        let mut finding = Finding::Changed;
        for _ in 0..LOOKUPS {
            let compared = match self.reads {
                true => self.read_or_ask(&source, &copy, &listed).await,
                false => self.ask(&source.key, &listed).await,
            };
            finding = match compared {
                Ok(finding) => finding,
                Err(Obstacle::Changed) => match self.look(&source.key).await {
                    Ok((now, now_copy)) => {
                        source = now.entry(&source);
                        copy = now_copy.entry(&copy);
                        continue;
                    }
                    Err(obstacle) => self.found(obstacle, &source).await,
                },
                Err(obstacle) => self.found(obstacle, &source).await,
            };
            break;
        }
        Comparison { source: self.source.name, size: source.size, key: source.key, finding }
    }

    async fn found(&self, obstacle: Obstacle, source: &Entry) -> Finding {
        match obstacle {
            Obstacle::Changed => Finding::Changed,
            Obstacle::Gone(error) => self.gone(&source.key, error).await,
            Obstacle::Missing => self.missing(source),
            Obstacle::Stopped => Finding::Interrupted,
            Obstacle::Refused(failure) => Finding::CannotTell(failure),
            Obstacle::Archived => Finding::CannotTell(Failure {
                error: S3ErrorKind::Archived.name().into(),
                message: "it is in an archive tier, and cannot be read".into(),
                remedy: "restore it first (aws s3api restore-object)".into(),
                request_id: None,
            }),
        }
    }

    /// Never calls an object gone that the source still lists.
    async fn gone(&self, key: &str, error: S3Error) -> Finding {
        let listing = Listing::open(&self.caller, self.reader(), "", key).await;
        match listing.map(|mut listing| listing.first().entries.pop_front()) {
            Ok(Some(first)) if first.key == key => {
                let remedy = "the source lists it, but does not serve it; ask the vendor";
                Finding::CannotTell(failure(&error, remedy))
            }
            Ok(_) => Finding::Changed,
            Err(error) if error.name() == S3ErrorKind::Stopped.name() => Finding::Interrupted,
            Err(again) => Finding::CannotTell(failure(&error, again.to_string())),
        }
    }

    /// Reads both sides, where both can be read and lengths are alike.
    async fn read_or_ask(&self, source: &Entry, copy: &Entry, listed: &ETag) -> Result<Finding, Obstacle> {
        let readable = source.archived.is_readable() && copy.archived.is_readable();
        if readable && source.size == copy.size {
            match self.read(source, copy, listed).await {
                Err(Obstacle::Archived) => {}
                read => return read,
            }
        }
        self.ask(&source.key, listed).await
    }

    /// Asks both sides what they know.
    async fn ask(&self, key: &str, listed: &ETag) -> Result<Finding, Obstacle> {
        let (source, copy) = self.look(key).await?;
        let evidence = judge::judge(&source.facts, &copy.facts);
        Ok(self.weigh(evidence, listed, &source, &copy))
    }

    /// What the evidence means, by when both objects were written.
    pub(super) fn weigh(&self, evidence: Evidence, listed: &ETag, source: &Seen, copy: &Seen) -> Finding {
        let changed = source.facts.etag != *listed || source.modified >= self.started;
        match evidence {
            Evidence::Same(by) => Finding::Identical { by },
            _ if changed => Finding::Changed,
            Evidence::Differs(difference) => {
                let failure = |message, remedy: &str| Failure {
                    error: difference.error.into(),
                    message,
                    remedy: remedy.into(),
                    request_id: None,
                };
                let copied_anew = judge::is_copied_anew(source, copy);
                match copied_anew && judge::is_outdated(source, copy) {
                    true => Finding::NewerAtSource(failure(
                        format!(
                            "{}; written {}, its copy {}",
                            difference.message, source.modified, copy.modified
                        ),
                        "replicate: the next run copies it",
                    )),
                    false => Finding::Different(failure(difference.message, judge::remedy(copied_anew))),
                }
            }
            // The copy is of an object before this one.
            Evidence::Nothing if source.modified > copy.modified => Finding::NewerAtSource(Failure {
                error: "ModifiedSince".into(),
                message: format!("written {}, its copy before that: {}", source.modified, copy.modified),
                remedy: "replicate: the next run copies it".into(),
                request_id: None,
            }),
            Evidence::Nothing => Finding::CannotTell(Failure {
                error: "NothingInCommon".into(),
                message: judge::why_nothing(&source.facts, &copy.facts),
                remedy: "verify it by reading both sides: local-runner verify --read".into(),
                request_id: None,
            }),
        }
    }

    /// Both objects as they are now.
    async fn look(&self, key: &str) -> Result<(Seen, Seen), Obstacle> {
        let source = async {
            loop {
                let side = self.reader();
                match self.head(side, key).await {
                    Ok(head) => return Ok(Seen::from(&head)),
                    Err(error) if self.may_turn_to_vendor(&error, side) => {}
                    Err(error) => return Err(self.obstacle(error, side)),
                }
            }
        };
        let lands = self.destination_key(key);
        let copy = async {
            let head = self.head(&self.destination, &lands).await;
            head.map(|head| Seen::from(&head)).map_err(|error| self.obstacle(error, &self.destination))
        };
        // An object that is gone from the source is not missing at the destination.
        let (source, copy) = tokio::join!(source, copy);
        Ok((source?, copy?))
    }

    async fn head(&self, side: &Side, key: &str) -> Result<HeadObjectOutput, S3Error> {
        let head = || {
            side.client
                .head_object()
                .bucket(&side.bucket)
                .key(key)
                .set_expected_bucket_owner(side.owner.clone())
                .checksum_mode(ChecksumMode::Enabled)
                .send()
        };
        self.caller.send(Operation::HeadObject, head).await
    }

    /// The source, as it is read.
    pub(super) fn reader(&self) -> &Side {
        match &self.vendor {
            Some(vendor) if self.by_vendor.load(Ordering::Relaxed) => vendor,
            _ => &self.own,
        }
    }

    /// Whether the vendor's keys may do what `side` was refused; they read from now on.
    pub(super) fn may_turn_to_vendor(&self, error: &S3Error, side: &Side) -> bool {
        let refused_own = error.kind.is_refusal() && std::ptr::eq(side, &raw const self.own);
        if refused_own && self.vendor.is_some() {
            self.by_vendor.store(true, Ordering::Relaxed);
            return true;
        }
        false
    }

    pub(super) fn obstacle(&self, error: S3Error, side: &Side) -> Obstacle {
        let at_destination = std::ptr::eq(side, &raw const self.destination);
        match error.kind {
            S3ErrorKind::PreconditionFailed => Obstacle::Changed,
            S3ErrorKind::NotFound if at_destination => Obstacle::Missing,
            S3ErrorKind::NotFound => Obstacle::Gone(error),
            S3ErrorKind::Archived => Obstacle::Archived,
            S3ErrorKind::Stopped => Obstacle::Stopped,
            _ => Obstacle::Refused(failure(&error, side.remedy(&error))),
        }
    }
}

fn failure(error: &S3Error, remedy: impl Into<Remedy>) -> Failure {
    Failure {
        error: error.kind.name().into(),
        message: error.to_string(),
        remedy: remedy.into(),
        request_id: error.request_id.clone(),
    }
}

impl From<&HeadObjectOutput> for Seen {
    fn from(head: &HeadObjectOutput) -> Self {
        Self { facts: Facts::from(head), modified: head.last_modified().map(timestamp).unwrap_or_default() }
    }
}

impl Seen {
    /// As a listing would tell it.
    fn entry(&self, listed: &Entry) -> Entry {
        Entry {
            key: listed.key.clone(),
            size: self.facts.size,
            etag: self.facts.etag.clone(),
            modified: self.modified,
            archived: listed.archived,
        }
    }
}

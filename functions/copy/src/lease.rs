//! One run at a time a source: a small object below `.replicator/lease/` says which run has
//! it. Whoever has it renews it; not renewed in time it lapses, and anybody may take it over.
//! Nothing is deleted: a run that ends writes that it let go.
//!
//! Every write is on the condition that nobody wrote since (If-None-Match, If-Match), so that
//! of two runs that begin at the same moment one is refused. When a lease was last renewed is
//! told by the server's clock alone (Last-Modified and Date of one answer); how long its holder
//! may still count on it, by the holder's own stopwatch, from before the renewal was sent.
//!
//! A lease spares two runs each other's work; what is copied is right without it, too. So
//! where there can be none, for want of a right or of a server that knows conditions, a run
//! goes on without. A server that ignores conditions lets two runs that begin within a second
//! work side by side.

mod keeper;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::checkpoint::{Checkpoint, Scope};
use crate::documents::{Condition, Document, Documents};
use crate::error::HELD;
use crate::settings::RESERVED_PREFIX;
use crate::{Failure, Halt, Operation, RunError, S3Error, S3ErrorKind, SourceName};

pub(crate) use keeper::{Ended, Lease};

/// Of the time after which a lease lapses, how much passes until it is renewed.
const RENEWALS: u32 = 3;
/// Before a renewal that failed is tried again.
const PAUSE: Duration = Duration::from_secs(1);
/// What letting go may take: it lapses by itself, too.
const RELEASE: Duration = Duration::from_secs(3);
/// After which the lease of a run lapses that was handed over and that nobody goes on with: the
/// longest that its pieces may all be waiting for somebody.
const HANDED_OVER: Duration = Duration::from_secs(1_800);
/// Times that a lease is looked at again because it changed while it was being taken.
const ATTEMPTS: u32 = 3;

/// What is in the object.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Record {
    version: u32,
    state: State,
    /// Names the run that wrote it.
    run: String,
    /// The same for people.
    holder: String,
    started: Timestamp,
    lapses_after_seconds: f64,
    /// Of this run and of those before it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    left: Vec<serde_json::Value>,
}

const VERSION: u32 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Held,
    /// By all who go on with pieces of the run.
    HandedOver,
    Released,
}

/// Who asks for a source's lease.
#[derive(Clone)]
pub(crate) struct Claim {
    documents: Documents,
    source: SourceName,
    key: String,
    record: Record,
    lapses_after: Duration,
    /// What is left of other runs, and stays as it is.
    others: Vec<Checkpoint>,
}

/// A lease as it was found.
#[derive(Default)]
pub(crate) struct Found {
    document: Option<Document>,
    /// `None` where what is there was not written by a run.
    record: Option<Record>,
}

impl Found {
    /// The same; `None` where there is no lease, or one that cannot be read.
    pub(crate) fn all_left(&self) -> Option<Vec<Checkpoint>> {
        let left = self.left();
        self.record.as_ref().filter(|record| record.left.len() == left.len()).map(|_| left)
    }

    /// What is left of the runs before.
    pub(crate) fn left(&self) -> Vec<Checkpoint> {
        let left = self.record.iter().flat_map(|record| &record.left);
        left.filter_map(|left| Checkpoint::deserialize(left).ok()).collect()
    }

    /// When the run before began, if it did not let go. Whoever takes it over succeeds a dead one.
    pub(crate) fn died_since(&self) -> Option<Timestamp> {
        self.record.as_ref().filter(|record| record.state != State::Released).map(|record| record.started)
    }
}

/// What became of asking.
pub(crate) enum Answer {
    /// It is ours.
    Taken(Lease),
    /// There is none to be had, and a run goes on without.
    Without,
    /// Another run has it.
    Held(RunError),
}

impl Claim {
    pub(crate) fn new(
        documents: Documents,
        source: SourceName,
        key: String,
        holder: &str,
        started: Timestamp,
        lapses_after: Duration,
    ) -> Self {
        let run = format!("{}-{:08x}", started.strftime("%Y%m%dT%H%M%SZ"), fastrand::u32(..));
        let record = Record {
            version: VERSION,
            state: State::Held,
            run,
            holder: holder.to_owned(),
            started,
            lapses_after_seconds: lapses_after.as_secs_f64(),
            left: Vec::new(),
        };
        Self { documents, source, key, record, lapses_after, others: Vec::new() }
    }

    /// The lease as it is. Writes nothing.
    pub(crate) async fn look(&self) -> Result<Found, S3Error> {
        look(&self.documents, &self.key).await
    }

    /// Writes what is left, for whoever takes it first. Nobody else knows of this lease yet.
    pub(crate) async fn leave(&self, left: &Checkpoint) -> Result<(), S3Error> {
        match self.put(State::Released, Some(left), &Condition::Absent).await {
            // It was written before, and the answer was lost.
            Err(error) if !is_refused_condition(&error) => Err(error),
            _ => Ok(()),
        }
    }

    /// The source's lease while a run has it that was handed over; and its ETag. Whoever closes
    /// that run may have let go before, and have died before it could tell of it.
    ///
    /// # Errors
    /// [`RunError::LeaseLost`] where that run no longer has it.
    pub(crate) async fn handed_over(
        documents: Documents,
        source: SourceName,
        run: &str,
        is_closing: bool,
    ) -> Result<(Self, String), RunError> {
        let key = key(source);
        let found = look(&documents, &key).await.map_err(|error| documents.failed(&key, error))?;
        let others = found.left();
        let is_open = |state| state == State::HandedOver || is_closing && state == State::Released;
        let Found { document: Some(document), record: Some(record) } = found else {
            return Err(RunError::LeaseLost { run: run.to_owned(), source_name: source });
        };
        if record.run != run || !is_open(record.state) {
            return Err(RunError::LeaseLost { run: run.to_owned(), source_name: source });
        }
        let claim = Self { documents, source, key, record, lapses_after: HANDED_OVER, others };
        Ok((claim, document.etag))
    }

    /// Renews it while `work` goes on, which `halt` ends if it is lost.
    ///
    /// # Errors
    /// [`RunError::LeaseLost`] where it is lost before.
    pub(crate) async fn renewed_during<T>(
        &self,
        mut etag: String,
        halt: &Halt,
        work: impl Future<Output = T>,
    ) -> Result<T, RunError> {
        let renewed = self.rewrite(State::HandedOver, None, &mut etag).await;
        if let Err(lost @ Lost::To(_)) = renewed {
            return Err(self.lost(lost));
        }
        let mut work = Box::pin(work);
        loop {
            tokio::select! {
                output = &mut work => return Ok(output),
                () = tokio::time::sleep(self.lapses_after / RENEWALS) => {}
            }
            match self.rewrite(State::HandedOver, None, &mut etag).await {
                Ok(()) => {}
                // Or many others renewed it at this moment, which does as well.
                Err(Lost::Unreachable(error)) => {
                    tracing::debug!(source = %self.source, %error, "the lease is not renewed by this run");
                }
                Err(Lost::To(_)) => {
                    halt.cancel();
                    return Ok(work.await);
                }
            }
        }
    }

    /// What of this scope was in doubt when it was handed over.
    pub(crate) fn in_doubt(&self, scope: &Scope) -> impl Iterator<Item = String> {
        self.others.iter().filter(|left| left.scope == *scope).flat_map(|left| left.in_doubt.clone())
    }

    /// Lets go of a lease that was handed over. `left` takes the place of what was left of its
    /// scope.
    pub(crate) async fn close(
        mut self,
        mut etag: String,
        scope: &Scope,
        left: Option<&Checkpoint>,
    ) -> Result<(), RunError> {
        self.others.retain(|other| other.scope != *scope);
        self.rewrite(State::Released, left, &mut etag).await.map_err(|lost| self.lost(lost))
    }

    fn lost(&self, lost: Lost) -> RunError {
        match lost {
            Lost::To(_) => RunError::LeaseLost { run: self.record.run.clone(), source_name: self.source },
            Lost::Unreachable(error) => self.documents.failed(&self.key, error),
        }
    }

    /// Takes the lease that was found, unless another run has it, and writes what would be left
    /// if this run died at once. `halt` is cancelled when it is lost.
    pub(crate) async fn take(
        mut self,
        found: Result<Found, S3Error>,
        own: Checkpoint,
        others: Vec<Checkpoint>,
        halt: &Halt,
    ) -> Answer {
        self.others = others;
        let found = match found {
            Ok(found) => found,
            Err(error) => return self.without(&error),
        };
        if let Err(held) = self.check(&found) {
            return Answer::Held(held);
        }
        let condition = match &found.document {
            Some(document) => Condition::Is(document.etag.clone()),
            None => Condition::Absent,
        };
        let asked = Instant::now();
        let etag = match self.put(State::Held, Some(&own), &condition).await {
            Ok(etag) => etag,
            // It changed since it was looked at: by a run that began at the same moment, or by
            // our own write, whose answer was lost.
            Err(error) if is_refused_condition(&error) => match self.look().await {
                Ok(Found { document: Some(document), record: Some(record) }) => {
                    if record.run != self.record.run {
                        return Answer::Held(self.held(record, &document));
                    }
                    document.etag
                }
                Ok(_) => return self.without(&error),
                Err(error) => return self.without(&error),
            },
            Err(error) => return self.without(&error),
        };
        Answer::Taken(Lease::keep(self, etag, own, asked, halt.clone()))
    }

    /// Whether this lease may be taken.
    fn check(&self, found: &Found) -> Result<(), RunError> {
        let Found { document: Some(document), record: Some(record) } = found else { return Ok(()) };
        if record.state == State::Released {
            return Ok(());
        }
        // The server's times are of whole seconds.
        let slack = SignedDuration::from_secs(1);
        if document.read <= lapses(record, document).saturating_add(slack).unwrap_or(Timestamp::MAX) {
            return Err(self.held(record.clone(), document));
        }
        tracing::warn!(
            source = %self.source,
            holder = record.holder,
            started = %record.started,
            last_sign = %document.written,
            "the run before this one ended without a word; going on in its place"
        );
        Ok(())
    }

    fn held(&self, record: Record, document: &Document) -> RunError {
        let lapses = lapses(&record, document);
        RunError::HeldByAnother {
            source_name: self.source,
            holder: record.holder,
            started: record.started,
            lapses,
            seconds: u64::try_from((lapses - document.read).get_seconds()).unwrap_or_default(),
        }
    }

    fn without(&self, error: &S3Error) -> Answer {
        tracing::warn!(
            source = %self.source,
            key = self.key,
            %error,
            "no lease can be had: nothing keeps another run from doing the same work at the same time"
        );
        Answer::Without
    }

    async fn put(
        &self,
        state: State,
        own: Option<&Checkpoint>,
        condition: &Condition,
    ) -> Result<String, S3Error> {
        let left = self.others.iter().chain(own).filter_map(|left| serde_json::to_value(left).ok());
        let record = Record { state, left: left.collect(), ..self.record.clone() };
        let body = serde_json::to_vec(&record).unwrap_or_default();
        self.documents.put(&self.key, body, condition).await
    }

    /// Writes over what this run wrote before, whose ETag is `etag`.
    async fn rewrite(&self, state: State, own: Option<&Checkpoint>, etag: &mut String) -> Result<(), Lost> {
        let mut condition = Condition::Is(etag.clone());
        for _ in 0..ATTEMPTS {
            match self.put(state, own, &condition).await {
                Ok(written) => {
                    *etag = written;
                    return Ok(());
                }
                Err(error) if is_refused_condition(&error) => {}
                Err(error) => return Err(Lost::Unreachable(error)),
            }
            // By another's write, or by our own, whose answer was lost.
            match self.look().await {
                Ok(Found { document: None, .. }) => condition = Condition::Absent,
                Ok(Found { document: Some(document), record: Some(record) }) => {
                    let is_over = record.state == State::Released && state != State::Released;
                    if record.run != self.record.run || is_over {
                        return Err(Lost::To(record.holder));
                    }
                    condition = Condition::Is(document.etag);
                }
                Ok(_) => return Err(Lost::To("something that writes no lease".into())),
                Err(error) => return Err(Lost::Unreachable(error)),
            }
        }
        Err(Lost::Unreachable(changing()))
    }
}

/// Why a lease could not be renewed.
#[derive(Debug)]
pub(crate) enum Lost {
    /// Another run, who this is, took it over.
    To(String),
    /// The server did not take it.
    Unreachable(S3Error),
}

impl Lost {
    /// What a report says of it.
    pub(crate) fn failure(self) -> Failure {
        let (error, message) = match self {
            Self::To(holder) => (HELD, format!("another run took over: {holder}")),
            Self::Unreachable(error) => {
                ("LeaseLapsed", format!("its lease could not be renewed in time: {error}"))
            }
        };
        Failure {
            error: error.into(),
            message,
            remedy: "run again; what is there already is not copied twice".into(),
            request_id: None,
        }
    }
}

fn is_refused_condition(error: &S3Error) -> bool {
    // A lease that is gone answers 404 to If-Match.
    matches!(error.kind, S3ErrorKind::PreconditionFailed | S3ErrorKind::NotFound)
}

fn changing() -> S3Error {
    S3Error {
        operation: Operation::PutObject,
        kind: S3ErrorKind::PreconditionFailed,
        code: "another ETag each time".into(),
        message: String::new(),
        request_id: None,
        tries: ATTEMPTS,
    }
}

fn silent(within: Duration) -> S3Error {
    let code = format!("nothing within {} s", within.as_secs_f32());
    S3Error { kind: S3ErrorKind::TimedOut, code, ..changing() }
}

/// Where a source's lease is.
pub(crate) fn key(source: SourceName) -> String {
    format!("{RESERVED_PREFIX}lease/{source}.json")
}

pub(crate) async fn look(documents: &Documents, key: &str) -> Result<Found, S3Error> {
    let document = documents.get(key).await?;
    let record = document.as_ref().and_then(|document| serde_json::from_slice(&document.body).ok());
    Ok(Found { document, record })
}

/// When a lease lapses, by the server's clock.
fn lapses(record: &Record, document: &Document) -> Timestamp {
    let after = SignedDuration::try_from_secs_f64(record.lapses_after_seconds).unwrap_or_default();
    document.written.saturating_add(after).unwrap_or(Timestamp::MAX)
}

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

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

use crate::documents::{Condition, Document, Documents};
use crate::error::HELD;
use crate::replicate::joined;
use crate::settings::RESERVED_PREFIX;
use crate::{Failure, Halt, Operation, RunError, S3Error, S3ErrorKind, SourceName};

/// Of the time after which a lease lapses, how much passes until it is renewed.
const RENEWALS: u32 = 3;
/// Before a renewal that failed is tried again.
const PAUSE: Duration = Duration::from_secs(1);
/// What letting go may take: it lapses by itself, too.
const RELEASE: Duration = Duration::from_secs(3);
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
}

const VERSION: u32 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Held,
    Released,
}

/// Who asks for a source's lease.
#[derive(Clone)]
pub(crate) struct Claim {
    documents: Documents,
    source: SourceName,
    record: Record,
    lapses_after: Duration,
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
        };
        Self { documents, source, record, lapses_after }
    }

    fn key(&self) -> String {
        format!("{RESERVED_PREFIX}lease/{}.json", self.source)
    }

    /// The lease as it is. Writes nothing.
    pub(crate) async fn look(&self) -> Result<Option<Document>, S3Error> {
        self.documents.get(&self.key()).await
    }

    /// Takes the lease, unless another run has it. `halt` is cancelled when it is lost.
    pub(crate) async fn take(self, mut found: Result<Option<Document>, S3Error>, halt: &Halt) -> Answer {
        for _ in 0..ATTEMPTS {
            let condition = match &found {
                Ok(None) => Condition::Absent,
                Ok(Some(document)) => match self.check(document) {
                    Ok(()) => Condition::Is(document.etag.clone()),
                    Err(held) => return Answer::Held(held),
                },
                Err(error) => return self.without(error),
            };
            let asked = Instant::now();
            match self.put(State::Held, &condition).await {
                Ok(etag) => return Answer::Taken(Lease::keep(self, etag, asked, halt.clone())),
                // It changed since it was looked at; perhaps by our own write, whose answer
                // was lost.
                Err(error) if is_refused_condition(&error) => found = self.look().await,
                Err(error) => return self.without(&error),
            }
        }
        self.without(&changing())
    }

    /// Whether this lease may be taken.
    fn check(&self, document: &Document) -> Result<(), RunError> {
        // What cannot be read was not written by a run.
        let Ok(record) = serde_json::from_slice::<Record>(&document.body) else { return Ok(()) };
        let lapses_after = SignedDuration::try_from_secs_f64(record.lapses_after_seconds).unwrap_or_default();
        let lapses = document.written.saturating_add(lapses_after).unwrap_or(Timestamp::MAX);
        // The server's times are of whole seconds.
        let is_alive = document.read <= lapses.saturating_add(SignedDuration::from_secs(1)).unwrap_or(lapses);
        if record.state == State::Released || record.run == self.record.run || !is_alive {
            if record.state == State::Held && record.run != self.record.run {
                tracing::warn!(
                    source = %self.source,
                    holder = record.holder,
                    started = %record.started,
                    last_sign = %document.written,
                    "the run before this one ended without a word; going on in its place"
                );
            }
            return Ok(());
        }
        Err(RunError::HeldByAnother {
            source_name: self.source,
            holder: record.holder,
            started: record.started,
            lapses,
            seconds: u64::try_from((lapses - document.read).get_seconds()).unwrap_or_default(),
        })
    }

    fn without(&self, error: &S3Error) -> Answer {
        tracing::warn!(
            source = %self.source,
            key = self.key(),
            %error,
            "no lease can be had: nothing keeps another run from doing the same work at the same time"
        );
        Answer::Without
    }

    async fn put(&self, state: State, condition: &Condition) -> Result<String, S3Error> {
        let record = Record { state, ..self.record.clone() };
        let body = serde_json::to_vec_pretty(&record).unwrap_or_default();
        self.documents.put(&self.key(), body, condition).await
    }

    /// Writes over what this run wrote before, whose ETag is `etag`.
    async fn rewrite(&self, state: State, etag: &mut String) -> Result<(), Lost> {
        let mut condition = Condition::Is(etag.clone());
        for _ in 0..ATTEMPTS {
            match self.put(state, &condition).await {
                Ok(written) => {
                    *etag = written;
                    return Ok(());
                }
                Err(error) if is_refused_condition(&error) => {}
                Err(error) => return Err(Lost::Unreachable(error)),
            }
            // By another's write, or by our own, whose answer was lost.
            match self.look().await {
                Ok(Some(document)) => match serde_json::from_slice::<Record>(&document.body) {
                    Ok(record) if record.run == self.record.run => condition = Condition::Is(document.etag),
                    Ok(record) => return Err(Lost::To(record.holder)),
                    Err(_) => return Err(Lost::To("something that writes no lease".into())),
                },
                Ok(None) => condition = Condition::Absent,
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

/// A lease that is held, and renewed by a task of its own until it is released or lost.
pub(crate) struct Lease {
    /// Dropped to end the task.
    end: oneshot::Sender<()>,
    keeper: JoinHandle<Kept>,
}

/// A lease when its renewing came to an end.
struct Kept {
    claim: Claim,
    etag: String,
    lost: Option<Lost>,
}

impl Lease {
    fn keep(claim: Claim, etag: String, asked: Instant, halt: Halt) -> Self {
        let (end, ended) = oneshot::channel();
        let mut kept = Kept { claim, etag, lost: None };
        let keeper = tokio::spawn(async move {
            if let Some(lost) = kept.renew(asked, ended).await {
                kept.lost = Some(lost);
                halt.cancel();
            }
            kept
        });
        Self { end, keeper }
    }

    /// Lets go of it, for the next run to take it at once. Answers how it was lost before, if
    /// it was.
    pub(crate) async fn release(self) -> Option<Lost> {
        drop(self.end);
        let Kept { claim, mut etag, lost } = joined(self.keeper.await);
        if lost.is_some() {
            return lost;
        }
        let released = timeout(RELEASE, claim.rewrite(State::Released, &mut etag)).await;
        if !matches!(released, Ok(Ok(()))) {
            tracing::warn!(source = %claim.source, ?released, "its lease could not be released; it lapses by itself");
        }
        None
    }
}

impl Kept {
    /// Renews it until `end`. Answers why it could not.
    async fn renew(&mut self, mut asked: Instant, mut end: oneshot::Receiver<()>) -> Option<Lost> {
        let lapses_after = self.claim.lapses_after;
        let mut next = asked + lapses_after / RENEWALS;
        loop {
            tokio::select! {
                biased;
                // An error, for nothing is ever sent.
                _ = &mut end => return None,
                () = tokio::time::sleep_until(next) => {}
            }
            let (began, lapses) = (Instant::now(), asked + lapses_after);
            match timeout_at(lapses, self.claim.rewrite(State::Held, &mut self.etag)).await {
                Ok(Ok(())) => {
                    asked = began;
                    next = asked + lapses_after / RENEWALS;
                }
                Ok(Err(Lost::Unreachable(error))) if Instant::now() < lapses => {
                    tracing::debug!(source = %self.claim.source, %error, "the lease is not renewed yet");
                    next = (Instant::now() + PAUSE).min(lapses);
                }
                Ok(Err(lost)) => return Some(lost),
                Err(_) => return Some(Lost::Unreachable(silent(lapses_after))),
            }
        }
    }
}

//! Proves, without writing anything, that the destination has what the sources have:
//! nothing is missing, and what is there is what the vendor has.
//!
//! Both sides are listed and joined as a run does it. Equal sizes and ETags prove an object
//! by the listings alone; of the others both sides are asked for what they know (ETag,
//! encryption, checksums of the whole object). `read` reads every object on both sides
//! instead, and compares its bytes, headers and metadata.

mod judge;
mod object;
mod read;
mod report;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use jiff::Timestamp;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::diff::Pair;
use crate::join::Join;
use crate::kept::Shelf;
use crate::keyspace::KeyRange;
use crate::list::{Entry, Listing};
use crate::replicate::{AHEAD, Observer, joined, open};
use crate::s3::{Caller, Side};
use crate::settings::RESERVED_PREFIX;
use crate::{Clients, Halt, Plan, RunError, S3ErrorKind, Transfer, VerifiedBy};
use object::Desk;
pub use report::{Comparison, Finding, SourceVerification, Verification};

/// Compares both sides, as `plan` says, until all is compared or `halt` says stop. Sends
/// ListObjectsV2, HeadObject and GetObject only.
///
/// What is missing or different is in the answer, not an error.
///
/// # Errors
/// A [`RunError`] where a bucket cannot be listed at all.
pub async fn verify(
    plan: &Plan,
    clients: &Clients,
    halt: &Halt,
    observer: Arc<dyn Observer>,
) -> Result<Verification, RunError> {
    let mut run = Box::pin(run(plan, clients, halt, observer));
    tokio::select! {
        verification = &mut run => verification,
        () = halt.watch() => run.await,
    }
}

async fn run(
    plan: &Plan,
    clients: &Clients,
    halt: &Halt,
    observer: Arc<dyn Observer>,
) -> Result<Verification, RunError> {
    let (started, clock) = (Timestamp::now(), Instant::now());
    let caller = Caller::new(plan, halt.clone());
    let room = Arc::new(Semaphore::new(read::ROOM));
    let mut audits = Vec::with_capacity(plan.sources.len());
    for source in &plan.sources {
        let (reader, listing) = open(plan, clients, source, &caller, "").await?;
        let destination = Side::destination(clients, plan);
        let copies = Listing::open(&caller, &destination, &source.lands_in, &plan.prefix).await?;
        let by_vendor = plan.transfer == Transfer::Stream || reader.streams_because.get().is_some();
        audits.push(Audit {
            plan,
            // One range after the other: where a verification stopped is one key.
            join: Join::new(
                [listing, copies],
                vec![KeyRange::default()],
                Shelf::new(&caller, &destination, source.name, &source.bucket),
                Arc::new(Semaphore::new(0)),
            ),
            found: SourceVerification::new(source, &plan.destination.bucket),
            waiting: VecDeque::new(),
            last: String::new(),
            begun: String::new(),
            desk: Arc::new(Desk {
                source: source.clone(),
                own: reader.own,
                vendor: reader.vendor,
                by_vendor: AtomicBool::new(by_vendor),
                destination,
                caller: caller.clone(),
                observer: Arc::clone(&observer),
                started,
                reads: plan.read,
                room: Arc::clone(&room),
            }),
        });
    }
    let found = futures_util::future::join_all(audits.into_iter().map(Audit::finish)).await;
    Ok(Verification::new(found, &caller.requests, plan.read, started, clock.elapsed().as_secs_f64()))
}

/// One source's part of a verification.
struct Audit<'a> {
    plan: &'a Plan,
    desk: Arc<Desk>,
    join: Join,
    found: SourceVerification,
    /// To be compared when there is room.
    waiting: VecDeque<(Entry, Entry)>,
    /// The last key that was listed.
    last: String,
    /// The last key whose comparison was begun.
    begun: String,
}

impl Audit<'_> {
    async fn finish(mut self) -> SourceVerification {
        let mut comparisons = JoinSet::new();
        let room = self.desk.caller.pace.most() * 5 / 4 + 1;
        let halt = self.desk.caller.halt.clone();
        let mut listed = false;
        while !(listed && self.waiting.is_empty()) {
            if halt.is_draining() || self.found.error.is_some() {
                self.stop();
                break;
            }
            while comparisons.len() < room
                && let Some((source, copy)) = self.waiting.pop_front()
            {
                self.begun.clone_from(&source.key);
                let desk = Arc::clone(&self.desk);
                comparisons.spawn(async move { desk.compare(source, copy).await });
            }
            tokio::select! {
                biased;
                Some(comparison) = comparisons.join_next() => self.record(&joined(comparison)),
                () = halt.draining() => {}
                pair = self.join.next(), if !listed && self.waiting.len() < AHEAD => match pair {
                    Ok(Some(pair)) => self.consider(pair),
                    Ok(None) => {
                        listed = true;
                        self.desk.observer.all_found();
                    }
                    Err(error) => self.fail(&error),
                },
            }
        }
        while let Some(comparison) = comparisons.join_next().await {
            self.record(&joined(comparison));
        }
        self.found
    }

    /// Decides on one key, if the listings tell enough.
    fn consider(&mut self, pair: Pair) {
        let (source, copy) = match pair {
            Pair::Destination(extra) => {
                if !self.desk.destination_key(&extra.key).starts_with(RESERVED_PREFIX) {
                    self.found(extra, Finding::OnlyAtDestination);
                }
                return;
            }
            Pair::Source(source) => (source, None),
            Pair::Both(source, copy) => (source, Some(copy)),
        };
        self.desk.observer.listed();
        self.last.clone_from(&source.key);
        self.found.listed.add(source.size);
        if self.plan.modified_after.is_some_and(|time| source.modified <= time) {
            return self.found.left_out.add(source.size);
        }
        let copy = copy.filter(|_| !self.desk.destination_key(&source.key).starts_with(RESERVED_PREFIX));
        match copy {
            None => {
                let finding = self.desk.missing(&source);
                if matches!(finding, Finding::Missing(_)) {
                    if !source.archived.is_readable() {
                        self.found.missing_archived.add(source.size);
                    }
                    let since = self.found.missing_since.get_or_insert(source.modified);
                    *since = source.modified.min(*since);
                }
                self.found(source, finding);
            }
            Some(copy) if !self.plan.read && judge::is_listed_identical(&source, &copy) => {
                self.found.identical(source.size, VerifiedBy::Etag);
            }
            Some(copy) => {
                self.desk.observer.found(if self.plan.read { source.size } else { 0 });
                self.waiting.push_back((source, copy));
            }
        }
    }

    fn found(&mut self, entry: Entry, finding: Finding) {
        self.record(&Comparison { source: self.desk.source.name, key: entry.key, size: entry.size, finding });
    }

    fn record(&mut self, comparison: &Comparison) {
        if let Finding::Missing(failure)
        | Finding::Different(failure)
        | Finding::NewerAtSource(failure)
        | Finding::CannotTell(failure) = &comparison.finding
        {
            tracing::warn!(
                source = %comparison.source,
                bucket = self.desk.source.bucket,
                key = comparison.key,
                error = failure.error,
                remedy = %failure.remedy,
                request_id = failure.request_id,
                "not verified: {}",
                failure.message
            );
            // Not this object's fault: all others would be refused, too.
            if failure.error == S3ErrorKind::BadCredentials.name() {
                self.found.error.get_or_insert_with(|| failure.clone());
            }
        }
        self.found.record(comparison);
        self.desk.observer.compared(comparison);
    }

    /// Notes up to where everything was compared, or is being compared.
    fn stop(&mut self) {
        let after = if self.waiting.is_empty() { &self.last } else { &self.begun };
        self.found.stopped_after = Some(after.clone());
    }

    /// The rest of the source could not be listed.
    fn fail(&mut self, error: &RunError) {
        // A stop that interrupts a listing is no error.
        if error.name() == S3ErrorKind::Stopped.name() {
            return;
        }
        self.found.error = Some(error.failure("verify again"));
    }
}

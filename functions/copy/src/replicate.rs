//! The flow of a run: list both sides, join, decide, copy, record. Copying begins with the
//! first page, and stops admitting objects when [`Halt`] says so.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use futures_util::future::{OptionFuture, join_all};
use jiff::Timestamp;
use tokio::task::JoinSet;

use crate::audit::Comparison;
use crate::copy::{Job, Reader, breadth, foresee};
use crate::diff::{Decision, Pair, decide};
use crate::documents::Documents;
use crate::join::{Join, places};
use crate::kept::Shelf;
use crate::keyspace::RangeId;
use crate::lease::{Answer, Claim, Lease};
use crate::list::{Entry, Listing};
use crate::report::{Failure, Fate, Outcome, Reason, Report, Tally, close};
use crate::s3::{Caller, Clients, Side};
use crate::{Halt, Plan, RunError, S3ErrorKind, Source, Transfer};

/// Is told what a run does, while it does it. Called from many tasks; must not block.
pub trait Observer: Send + Sync {
    /// An object was listed at a source.
    fn listed(&self) {}
    /// An object is to be copied.
    fn found(&self, _bytes: u64) {}
    /// Bytes arrived at the destination: a whole object's or a part's.
    fn moved(&self, _bytes: u64) {}
    /// A source is listed to its end: all its objects that are to be copied were found.
    fn all_found(&self) {}
    /// An object was dealt with.
    fn done(&self, _outcome: &Outcome) {}
    /// An object was compared that the listings alone did not prove to be identical.
    fn compared(&self, _comparison: &Comparison) {}
}

/// Nobody is told.
impl Observer for () {}

/// Copies what is new or changed, as `plan` says, until all is done or `halt` says stop.
///
/// Objects that fail are in the report, not an error.
///
/// # Errors
/// A [`RunError`] where a bucket cannot be listed at all, or where every copy was refused
/// for want of a right, or where another run has every source. Nothing was copied then.
pub async fn replicate(
    plan: &Plan,
    clients: &Clients,
    halt: &Halt,
    observer: Arc<dyn Observer>,
) -> Result<Report, RunError> {
    // Boxed: a caller's future need not hold all of a run's.
    let mut run = Box::pin(run(plan, clients, halt, observer));
    tokio::select! {
        report = &mut run => report,
        () = halt.watch() => run.await,
    }
}

async fn run(
    plan: &Plan,
    clients: &Clients,
    halt: &Halt,
    observer: Arc<dyn Observer>,
) -> Result<Report, RunError> {
    let (started, clock) = (Timestamp::now(), Instant::now());
    let caller = Caller::new(plan, halt.clone());

    // All listings are open before the first copy is made: what cannot be listed is known
    // while nothing is written yet.
    let to = Side::destination(clients, plan);
    let places = places(plan.max_in_flight);
    let opened = plan.sources.iter().map(async |source| {
        let caller = caller.part();
        let documents = Documents::new(plan, caller.aside(), &to);
        let claim = Claim::new(documents, source.name, &plan.holder, started, plan.lease);
        let destination = Listing::open(&caller, &to, &source.lands_in, &plan.prefix);
        let (from, destination, lease) = tokio::join!(
            open(plan, clients, source, &caller),
            destination,
            OptionFuture::from((!plan.dry_run).then(|| claim.look())),
        );
        let (from, listing) = from?;
        let shelf = Shelf::new(&caller, &to, source.name, &source.bucket);
        let run = SourceRun {
            plan,
            join: Join::new(listing, destination?, shelf, Arc::clone(&places)),
            tally: Tally::new(source, &plan.destination.bucket),
            job: Arc::new(Job::new(plan, source, from, to.clone(), caller, Arc::clone(&observer))),
            observer: Arc::clone(&observer),
            waiting: VecDeque::new(),
            probes: 0,
        };
        Ok((run, lease.map(|found| (claim, found))))
    });
    let opened: Vec<_> = join_all(opened).await.into_iter().collect::<Result<_, RunError>>()?;
    let tallies = join_all(opened.into_iter().map(async |(run, lease)| match lease {
        Some((claim, found)) => match claim.take(found, &run.job.caller.halt).await {
            Answer::Taken(lease) => (run.finish_under(lease).await, None),
            Answer::Without => (run.finish().await, None),
            Answer::Held(error) => (run.not_begun(&error), Some(error)),
        },
        None => (run.finish().await, None),
    }));
    let (tallies, held): (Vec<_>, Vec<_>) = tallies.await.into_iter().unzip();
    if held.iter().all(Option::is_some)
        && let Some(held) = held.into_iter().flatten().next()
    {
        return Err(held);
    }

    let seconds = clock.elapsed().as_secs_f64();
    let report = close(tallies, &caller.requests, plan.dry_run, started, seconds);
    match refusal(&report) {
        Some(refusal) => {
            Err(RunError::Denied { message: refusal.message.clone(), remedy: refusal.remedy.clone() })
        }
        None => Ok(report),
    }
}

/// Lists a source with whichever credentials may, and says which way its bytes will go.
pub(crate) async fn open(
    plan: &Plan,
    clients: &Clients,
    source: &Source,
    caller: &Caller,
) -> Result<(Reader, Listing), RunError> {
    let own = Side::source(&clients.source, source);
    let vendor = clients.vendor.as_ref().map(|client| Side::vendor(client, source));
    let list = async |side: &Side| Listing::open(caller, side, "", &plan.prefix).await;
    let (mut streams_because, mut own_may_not_list) = (OnceLock::new(), None);
    let listing = match (plan.transfer, &vendor) {
        (Transfer::Stream, vendor) => {
            streams_because = OnceLock::from("TRANSFER is stream, or the endpoints differ".to_owned());
            list(vendor.as_ref().unwrap_or(&own)).await?
        }
        (Transfer::ServerSide, _) | (Transfer::Auto, None) => list(&own).await?,
        (Transfer::Auto, Some(vendor)) => match list(&own).await {
            Err(RunError::List { remedy, source: refused, .. }) if refused.kind.is_refusal() => {
                tracing::info!(source = %source.name, %remedy, "listing with the vendor's keys");
                own_may_not_list = Some(remedy.text);
                list(vendor).await?
            }
            listing => listing?,
        },
    };
    Ok((Reader { own, vendor, streams_because, own_may_not_list }, listing))
}

/// Refusals in a row, and nothing else, after which as many others are tried and, if those
/// are refused as well, a source is given up: the right is missing for all of it, and a
/// million refused copies cost what a million copies do.
const REFUSALS: u64 = 32;

/// The first refusal, if every copy was refused and nothing is at the destination.
fn refusal(report: &Report) -> Option<&Failure> {
    let any = |of: fn(&crate::SourceReport) -> crate::Amount| report.total(of).objects > 0;
    if any(|source| source.copied) || any(|source| source.unchanged) {
        return None;
    }
    let mut failures = report.sources.iter().flat_map(|source| &source.failures);
    let denied = S3ErrorKind::AccessDenied.name();
    let first = failures.next().filter(|object| object.failure.error == denied)?;
    failures.all(|object| object.failure.error == denied).then_some(&first.failure)
}

/// One source's part of a run.
struct SourceRun<'a> {
    plan: &'a Plan,
    job: Arc<Job>,
    observer: Arc<dyn Observer>,
    join: Join,
    tally: Tally,
    /// To be copied when there is room.
    waiting: VecDeque<(RangeId, Entry, Reason)>,
    /// Copies begun out of order, after refusals and nothing else.
    probes: u64,
}

/// How far the listing runs ahead of the copies: enough to tell how much there is to do,
/// little enough to hold (2 MiB).
pub(crate) const AHEAD: usize = 10_000;
/// Keys that are decided on before anything else is looked after: a page of either side.
const AT_ONCE: usize = 1_000;

impl SourceRun<'_> {
    /// Runs while nobody else takes the source over.
    async fn finish_under(self, lease: Lease) -> Tally {
        let mut tally = self.finish().await;
        if let Some(lost) = lease.release().await {
            tally.report.error.get_or_insert(lost.failure());
        }
        tally
    }

    /// Leaves the source to the run that has it.
    fn not_begun(mut self, held: &RunError) -> Tally {
        self.fail(held);
        self.stop();
        (self.tally.report.transfer, self.tally.report.transfer_because) = self.job.route();
        self.tally
    }

    async fn finish(mut self) -> Tally {
        let mut copies = JoinSet::new();
        // A few more than the requests in flight, so that none waits for a task to be made.
        let most = self.job.caller.pace.most();
        let room = most * 5 / 4 + 1;
        // Of large objects only a few are begun: with all of them half done at the deadline,
        // none would be done, in this run or the next.
        let widest = most.div_ceil(4);
        let mut taken = 0;
        let halt = self.job.caller.halt.clone();
        let mut listed = false;
        while !(listed && self.waiting.is_empty()) {
            if self.probes == REFUSALS && copies.is_empty() && self.is_refused() {
                // It would be refused again: no stop that the next run makes up for.
                let first = self.tally.report.failures.first();
                self.tally.report.error = first.map(|object| object.failure.clone());
            }
            if halt.is_draining() || self.is_given_up() {
                self.stop();
                break;
            }
            while taken < room
                && let Some((entry, reason)) = self.next(listed)
            {
                let job = Arc::clone(&self.job);
                let breadth = breadth(&entry).min(widest);
                taken += breadth;
                copies.spawn(async move { (job.copy(entry, reason).await, breadth) });
            }
            tokio::select! {
                biased;
                Some(copy) = copies.join_next() => {
                    let (outcome, breadth) = joined(copy);
                    taken -= breadth;
                    self.record(&outcome);
                }
                () = halt.draining() => {}
                pair = self.join.next(), if !listed && self.waiting.len() < AHEAD => {
                    listed = self.take(pair).await;
                }
            }
        }
        if self.tally.report.error.is_some() {
            self.stop();
        }
        while let Some(copy) = copies.join_next().await {
            self.record(&joined(copy).0);
        }
        let report = &mut self.tally.report;
        let is_whole = report.stopped_after.is_none() && self.plan.prefix.is_empty();
        if is_whole && !self.plan.dry_run {
            self.join.keep().await;
        }
        (report.transfer, report.transfer_because) = self.job.route();
        self.tally
    }

    /// Decides on a key and on those that need not be waited for. Answers whether it was the
    /// last one.
    async fn take(&mut self, pair: Result<Option<Pair>, RunError>) -> bool {
        let mut pair = match pair {
            Ok(None) => {
                if self.tally.report.error.is_none() {
                    self.observer.all_found();
                }
                return true;
            }
            pair => pair,
        };
        for _ in 0..AT_ONCE {
            match pair {
                Ok(Some(found)) => self.consider(found).await,
                Ok(None) => break,
                Err(error) => {
                    self.fail(&error);
                    // What was found is copied still, and what other ranges hold: the next run
                    // may find no more. No key's order can be trusted where one's cannot.
                    return matches!(error, RunError::Disorder { .. });
                }
            }
            pair = self.join.ready();
        }
        false
    }

    /// What to copy next: in order, unless all that was tried was refused. Then the last ones
    /// of as many as can be seen ahead tell whether the right is missing for those alone that
    /// come first, such as old ones under a key that is not shared.
    fn next(&mut self, listed: bool) -> Option<(Entry, Reason)> {
        if !self.is_refused() {
            let (range, entry, reason) = self.waiting.pop_front()?;
            self.join.keyspace().admitted(range, Some(&entry.key));
            return Some((entry, reason));
        }
        if self.probes == REFUSALS || !listed && self.waiting.len() < AHEAD {
            return None;
        }
        self.probes += 1;
        let (range, entry, reason) = self.waiting.pop_back()?;
        self.join.keyspace().admitted(range, None);
        Some((entry, reason))
    }

    /// Decides on one key.
    async fn consider(&mut self, pair: Pair) {
        let range = self.join.range();
        let (entry, reason) = match pair {
            Pair::Destination(extra) => {
                if !self.job.is_reserved(&extra.key) {
                    self.tally.report.only_at_destination.add(extra.size);
                }
                return;
            }
            Pair::Source(entry) => (entry, Some(Reason::New)),
            Pair::Both(entry, copy) => {
                let reason = self.differs(&entry, &copy).await;
                (entry, reason)
            }
        };
        self.observer.listed();
        self.join.keyspace().looked_at(range, &entry.key);
        let report = &mut self.tally.report;
        report.listed.add(entry.size);
        report.newest = report.newest.max(Some(entry.modified));
        let Some(reason) = reason else {
            report.unchanged.add(entry.size);
            return;
        };
        if self.plan.modified_after.is_some_and(|time| entry.modified <= time) {
            report.left_out.add(entry.size);
            return;
        }
        let fate = match self.job.obstacle(&entry) {
            Some(fate) => fate,
            None if self.plan.dry_run => {
                self.job.settle(&entry.key).await;
                self.tally.foresee(foresee(&entry, self.job.streams()));
                Fate::WouldCopy { reason }
            }
            None => {
                self.job.settle(&entry.key).await;
                self.observer.found(entry.size);
                self.join.keyspace().found(range);
                return self.waiting.push_back((range, entry, reason));
            }
        };
        let Entry { key, size, modified, .. } = entry;
        self.record(&Outcome { source: self.job.name, key, size, modified, fate });
    }

    async fn differs(&self, source: &Entry, copy: &Entry) -> Option<Reason> {
        let mut decision = decide(source, copy, self.job.known_plain_etags());
        if decision == Decision::AskEncryption {
            decision = decide(source, copy, self.job.learn_plain_etags(&source.key).await);
        }
        match decision {
            Decision::Skip => None,
            Decision::Copy(reason) => Some(reason),
            Decision::AskEncryption => Some(Reason::EtagDiffers),
        }
    }

    fn record(&mut self, outcome: &Outcome) {
        if let Fate::Failed(failure) = &outcome.fate {
            tracing::warn!(
                source = %outcome.source,
                bucket = self.job.source.bucket,
                key = outcome.key,
                error = failure.error,
                remedy = %failure.remedy,
                request_id = failure.request_id,
                "not copied: {}",
                failure.message
            );
        }
        // Not this object's fault: the next one would be refused, too.
        if let Fate::Failed(failure) = &outcome.fate
            && failure.error == S3ErrorKind::BadCredentials.name()
        {
            self.tally.report.error.get_or_insert_with(|| failure.clone());
        }
        self.tally.record(outcome);
        self.observer.done(outcome);
    }

    /// Notes up to where everything was dealt with, or is being copied.
    fn stop(&mut self) {
        for (_, entry, _) in &self.waiting {
            self.tally.miss(entry.modified);
        }
        let after = self.join.keyspace().done_up_to().to_owned();
        self.tally.report.stopped_after = Some(after);
    }

    /// The rest of the source could not be listed.
    fn fail(&mut self, error: &RunError) {
        // A stop that interrupts a listing is no error.
        if error.name() != S3ErrorKind::Stopped.name() {
            self.tally.report.error.get_or_insert_with(|| Failure {
                error: error.name().into(),
                message: match std::error::Error::source(error) {
                    Some(cause) => format!("{error}: {cause}"),
                    None => error.to_string(),
                },
                remedy: "run again; what is there already is not copied twice".into(),
                request_id: None,
            });
        }
    }

    /// Whether what is left is likely to fail, too: unless the server answers, and a listing
    /// alone is broken.
    fn is_given_up(&self) -> bool {
        let broken = [S3ErrorKind::Refused.name(), S3ErrorKind::NotS3.name(), "ListingOutOfOrder"];
        self.tally.report.error.as_ref().is_some_and(|error| !broken.contains(&error.error.as_str()))
    }

    /// Whether all that was tried was refused.
    fn is_refused(&self) -> bool {
        let report = &self.tally.report;
        report.failed.objects >= REFUSALS
            && report.copied.objects == 0
            && report.unchanged.objects == 0
            && report.failures.iter().all(|object| object.failure.error == S3ErrorKind::AccessDenied.name())
    }
}

/// A panic in a copy is a bug, and ends the run as one.
pub(crate) fn joined<T>(copy: Result<T, tokio::task::JoinError>) -> T {
    copy.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

//! The flow of a run: list both sides, join, decide, copy, record. Copying begins with the
//! first page, and stops admitting objects when [`Halt`] says so.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, timeout};

use crate::audit::Comparison;
use crate::checkpoint::{Checkpoint, OpenUpload, Remains, Scope};
use crate::copy::{Job, Reader, abort_left, breadth, foresee};
use crate::diff::{Decision, Pair, decide};
use crate::documents::Documents;
use crate::join::{Join, places};
use crate::kept::Shelf;
use crate::keyspace::RangeId;
use crate::lease::{Answer, Claim, Ended, Found, Lease};
use crate::ledger::Ledger;
use crate::list::{Entry, Listing};
use crate::report::{Failure, Fate, Outcome, Reason, Report};
use crate::s3::{Caller, Side};
use crate::tally::{Tally, close, status};
use crate::{Clients, Halt, Plan, RunError, S3ErrorKind, Source, SourceName, Transfer, lease, pieces};

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
        let key = plan.piece.clone().unwrap_or_else(|| lease::key(source.name));
        let claim = Claim::new(documents, source.name, key, &plan.holder, started, plan.lease);
        let found = match plan.dry_run {
            true => Ok(Found::default()),
            false => claim.look().await,
        };
        let scope = Scope::of(plan, source);
        let mut remains = match &found {
            Ok(found) => Remains::of(found.left(), found.died_since(), &scope),
            Err(_) => Remains::default(),
        };
        let ledger = match &plan.piece {
            None => Ledger::new(scope, started, &mut remains),
            // All of the source is not its.
            Some(piece) => Ledger::of_piece(scope, started, &mut remains)
                .ok_or_else(|| RunError::NoPiece(piece.clone()))?,
        };
        let ranges = ledger.ranges().to_vec();
        let after = ranges.first().map_or("", |range| &range.after);
        let (from, destination) = tokio::join!(
            open(plan, clients, source, &caller, after),
            Listing::open_after(&caller, &to, &source.lands_in, &plan.prefix, after),
        );
        let (from, listing) = from?;
        let shelf = Shelf::new(&caller, &to, source.name, &source.bucket);
        let run = SourceRun {
            plan,
            join: Join::new([listing, destination?], ranges, shelf, Arc::clone(&places)),
            tally: Tally::new(source, &plan.destination.bucket),
            job: Arc::new(Job::new(plan, source, from, to.clone(), caller, Arc::clone(&observer))),
            observer: Arc::clone(&observer),
            waiting: VecDeque::new(),
            probes: 0,
            ledger,
        };
        Ok((run, claim, found, remains))
    });
    let opened: Vec<_> = join_all(opened).await.into_iter().collect::<Result<_, RunError>>()?;
    let tallies = join_all(opened.into_iter().map(async |(run, claim, found, remains)| {
        if plan.dry_run {
            return (run.finish(None).await, (None, None));
        }
        let Remains { others, dropped, .. } = remains;
        match claim.take(found, run.ledger.unbegun(), others, &run.job.caller.halt).await {
            Answer::Taken(lease) => {
                let (tally, goes_on) = run.finish_under(lease, dropped).await;
                (tally, (None, goes_on))
            }
            Answer::Without => {
                let mut tally = run.finish(None).await;
                if tally.report.resumed.is_some() {
                    tally.report.error.get_or_insert_with(not_noted);
                }
                (tally, (None, None))
            }
            Answer::Held(error) => (run.not_begun(&error), (Some(error), None)),
        }
    }));
    let (tallies, others): (Vec<_>, Vec<_>) = tallies.await.into_iter().unzip();
    let (held, goes_on): (Vec<_>, Vec<_>) = others.into_iter().unzip();
    if held.iter().all(Option::is_some)
        && let Some(held) = held.into_iter().flatten().next()
    {
        return Err(held);
    }

    let seconds = clock.elapsed().as_secs_f64();
    let mut report = close(tallies, &caller.requests, plan.dry_run, started, seconds);
    if plan.dry_run
        && let Some(latency) = caller.pace.latency()
    {
        report.foretell(latency, plan.max_in_flight);
    }
    for (at, goes_on) in goes_on.into_iter().enumerate() {
        if let Some(goes_on) = goes_on {
            goes_on.hand_over(&mut report, at).await;
        }
    }
    match refusal(&report) {
        Some(refusal) => {
            Err(RunError::Denied { message: refusal.message.clone(), remedy: refusal.remedy.clone() })
        }
        None => Ok(report),
    }
}

/// Of a run that went on where another one stopped and may not write that it did: the next one
/// would go on there again, and none would ever look at what came before.
fn not_noted() -> Failure {
    Failure {
        error: "LeaseNotWritten".into(),
        message: "it went on where an earlier run stopped, and cannot note that it did".into(),
        remedy: "allow s3:PutObject on .replicator/* of the destination".into(),
        request_id: None,
    }
}

/// What a run had no time for, and the lease that it still has.
struct GoesOn {
    documents: Documents,
    source: SourceName,
    lease: Lease,
    left: Checkpoint,
    /// Where its ranges may be cut.
    cuts: Vec<String>,
}

/// What writing the pieces may take, of the time that a run keeps for its end.
const WRITING: Duration = Duration::from_secs(5);

impl GoesOn {
    /// Leaves it to others in pieces, or, where these cannot be written, to the next run.
    async fn hand_over(self, report: &mut Report, at: usize) {
        let Self { documents, source, lease, left, cuts } = self;
        let mut base = Report { sources: vec![report.sources[at].clone()], ..report.clone() };
        // They are told once, by this run if it has anything else to tell.
        if report.sources.len() > 1 {
            base.requests.clear();
        }
        let pieces = left.clone().cut(pieces::MOST, &cuts);
        let written = pieces::write(&documents, lease.run(), source, pieces, base);
        let lost = match timeout(WRITING, written).await {
            Ok(Ok(over)) => {
                let lost = lease.hand_over(&left.shared()).await;
                report.sources[at].handed_over = Some(over).filter(|_| lost.is_none());
                lost
            }
            failed => {
                tracing::warn!(%source, ?failed, "not handed over, and left to the next run");
                lease.release(Some(left)).await.lost
            }
        };
        if let Some(lost) = lost {
            report.sources[at].error.get_or_insert(lost.failure());
            report.status = status(&report.sources);
        }
    }
}

/// Lists a source, after this key, with whichever credentials may, and says which way its bytes
/// will go.
pub(crate) async fn open(
    plan: &Plan,
    clients: &Clients,
    source: &Source,
    caller: &Caller,
    after: &str,
) -> Result<(Reader, Listing), RunError> {
    let own = Side::source(&clients.source, source);
    let vendor = clients.vendor.as_ref().map(|client| Side::vendor(client, source));
    let list = async |side: &Side| Listing::open_after(caller, side, "", &plan.prefix, after).await;
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
    let is_rest = report.sources.iter().any(|source| source.resumed.is_some());
    let goes_on = report.sources.iter().any(|source| source.handed_over.is_some());
    if is_rest || goes_on || any(|source| source.copied) || any(|source| source.unchanged) {
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
    /// What was begun, and what earlier runs left.
    ledger: Ledger,
}

/// How far the listing runs ahead of the copies: enough to tell how much there is to do,
/// little enough to hold (2 MiB).
pub(crate) const AHEAD: usize = 10_000;
/// Objects to be copied that a stopped run leaves to the next by their names: 4 MiB. What it
/// listed beyond is listed again.
const MOST_LEFT: usize = 2 * AHEAD;
/// How often what is left is noted while a run works.
const NOTE: Duration = Duration::from_secs(1);
/// Keys that are decided on before anything else is looked after: a page of either side.
const AT_ONCE: usize = 1_000;

impl SourceRun<'_> {
    /// Runs while nobody else takes the source over, and leaves what is left to the next run.
    async fn finish_under(mut self, lease: Lease, dropped: Vec<Checkpoint>) -> (Tally, Option<GoesOn>) {
        let (left, strays_since) = self.ledger.uploads();
        self.job.uploads.keep(left, strays_since);
        let useless = dropped.iter().flat_map(|dropped| {
            dropped.uploads.iter().map(|upload| abort_left(&self.job, &dropped.scope.lands_in, upload))
        });
        join_all(useless).await;
        self.work(Some(&lease.journal)).await;
        let report = &self.tally.report;
        let was_stopped = report.stopped_after.is_some() || report.interrupted.objects > 0;
        // After an error the next run looks at everything: what is broken may stay so, and must
        // not keep it from the rest. Of a piece, nobody else looks at anything.
        let goes_on = report.error.is_none() || self.plan.piece.is_some();
        let left = (was_stopped && goes_on).then(|| self.left(true));
        if left.is_none() {
            // Their objects are gone, or were copied another way.
            self.abort(&[]).await;
        }
        if let Some(left) =
            left.as_ref().filter(|_| self.plan.hands_over && self.tally.report.error.is_none())
        {
            let cuts = self.join.keyspace().cuts(&left.ranges, pieces::MOST);
            let documents = Documents::new(self.plan, self.job.caller.aside(), &self.job.destination);
            let goes_on = GoesOn { documents, source: self.job.name, lease, left: left.clone(), cuts };
            return (self.close(), Some(goes_on));
        }
        // What failed may have arrived, and lack what comes after it.
        let everything = self.tally.report.error.is_none();
        let left =
            left.or_else(|| self.ledger.left_in_doubt(everything).filter(|_| self.plan.piece.is_none()));
        let Ended { lost, uploads } = lease.release(left).await;
        self.abort(&uploads).await;
        if let Some(lost) = lost {
            self.tally.report.error.get_or_insert(lost.failure());
        }
        (self.close(), None)
    }

    /// Aborts the uploads that are open, but for those that the next run knows of.
    async fn abort(&self, but: &[OpenUpload]) {
        let uploads = self.job.uploads.all();
        let useless =
            uploads.iter().filter(|upload| !but.iter().any(|but| but.upload_id == upload.upload_id));
        join_all(useless.map(|upload| abort_left(&self.job, self.job.lands_in(), upload))).await;
        for upload in &uploads {
            self.job.uploads.closed(&upload.key);
        }
    }

    /// Notes what would be left if this run were killed.
    fn note(&mut self, journal: Option<&watch::Sender<Checkpoint>>) {
        if let Some(journal) = journal {
            journal.send_replace(self.left(false));
        }
    }

    /// What is left: if the run was stopped, or, while it works, if it were killed now.
    fn left(&mut self, stopped: bool) -> Checkpoint {
        let waiting = self.waiting.iter().filter(|_| stopped).map(|(_, entry, reason)| (entry, *reason));
        let ranges = self.join.keyspace().left(stopped);
        self.ledger.checkpoint(ranges, waiting, self.job.uploads.all(), self.tally.report.newest)
    }

    /// Leaves the source to the run that has it.
    fn not_begun(mut self, held: &RunError) -> Tally {
        self.fail(held);
        self.stop();
        self.close()
    }

    async fn finish(mut self, journal: Option<&watch::Sender<Checkpoint>>) -> Tally {
        self.work(journal).await;
        self.close()
    }

    fn close(mut self) -> Tally {
        let report = &mut self.tally.report;
        (report.transfer, report.transfer_because) = self.job.route();
        report.resumed = self.ledger.resumed();
        report.newest = report.newest.max(self.ledger.earlier().newest);
        report.newest_missing = report.newest_missing.max(self.ledger.earlier().newest_missing);
        self.tally
    }

    async fn work(&mut self, journal: Option<&watch::Sender<Checkpoint>>) {
        let mut copies = JoinSet::new();
        let mut notes = tokio::time::interval(NOTE);
        notes.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // A few more than the requests in flight, so that none waits for a task to be made.
        let most = self.job.caller.pace.most();
        let room = most * 5 / 4 + 1;
        // Of large objects only a few are begun: with all of them half done at the deadline,
        // none would be done, in this run or the next.
        let widest = most.div_ceil(4);
        let mut taken = 0;
        let halt = self.job.caller.halt.clone();
        let mut listed = false;
        while !(listed && self.waiting.is_empty() && !self.ledger.has_carried()) {
            let is_probed = self.probes == REFUSALS || listed && self.waiting.is_empty();
            if is_probed && copies.is_empty() && self.is_refused() {
                // It would be refused again: no stop that the next run makes up for.
                let first = self.tally.report.failures.first();
                self.tally.report.error = first.map(|object| object.failure.clone());
            }
            if halt.is_draining() || self.is_given_up() {
                if !listed && !halt.is_cancelled() && self.tally.report.error.is_none() {
                    self.look_through().await;
                }
                self.stop();
                break;
            }
            while taken < room
                && let Some((entry, reason, begun)) = self.next(listed)
            {
                let job = Arc::clone(&self.job);
                let breadth = breadth(&entry, self.job.streams()).min(widest);
                taken += breadth;
                copies.spawn(async move { (job.copy(entry, reason, begun).await, breadth) });
            }
            tokio::select! {
                biased;
                _ = notes.tick() => self.note(journal),
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
        loop {
            tokio::select! {
                _ = notes.tick() => self.note(journal),
                copy = copies.join_next() => match copy {
                    Some(copy) => self.record(&joined(copy).0),
                    None => break,
                },
            }
        }
        let is_whole = self.tally.report.stopped_after.is_none() && self.plan.prefix.is_empty();
        if is_whole && !self.plan.dry_run && self.ledger.resumed().is_none() {
            self.join.keep().await;
        }
    }

    /// Looks at what was listed already, so that the next run need not list it again.
    async fn look_through(&mut self) {
        self.join.close();
        while self.waiting.len() < MOST_LEFT
            && let Ok(Some(pair)) = self.join.ready()
        {
            self.consider(pair).await;
        }
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
    fn next(&mut self, listed: bool) -> Option<(Entry, Reason, bool)> {
        if !self.is_refused() {
            if let Some(object) = self.ledger.next_carried() {
                let begun = object.begun || self.ledger.is_in_doubt(&object.key);
                let (entry, reason) = object.entry();
                self.observer.found(entry.size);
                self.ledger.begun(&entry, reason);
                return Some((entry, reason, begun));
            }
            let (range, entry, reason) = self.waiting.pop_front()?;
            self.join.keyspace().admitted(range, Some(&entry.key));
            self.ledger.begun(&entry, reason);
            let begun = reason == Reason::InDoubt && self.ledger.is_in_doubt(&entry.key);
            return Some((entry, reason, begun));
        }
        if self.probes == REFUSALS || !listed && self.waiting.len() < AHEAD {
            return None;
        }
        self.probes += 1;
        let (range, entry, reason) = self.waiting.pop_back()?;
        self.join.keyspace().admitted(range, None);
        self.ledger.begun(&entry, reason);
        Some((entry, reason, false))
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
                let in_doubt = self.ledger.is_in_doubt(&entry.key).then_some(Reason::InDoubt);
                (entry, reason.or(in_doubt))
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
        self.ledger.done(outcome);
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

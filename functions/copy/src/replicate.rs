//! The flow of a run: list both sides, join, decide, copy, record. Copying begins with the
//! first page, and stops admitting objects when [`Halt`] says so.

mod source_run;

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use jiff::Timestamp;
use tokio::time::timeout;

use self::source_run::SourceRun;
use crate::audit::Comparison;
use crate::checkpoint::{Checkpoint, Remains, Scope};
use crate::copy::{Job, Reader};
use crate::documents::Documents;
use crate::join::{Join, places};
use crate::kept::Shelf;
use crate::lease::{Answer, Claim, Found, Lease};
use crate::ledger::Ledger;
use crate::list::Listing;
use crate::report::{Failure, Outcome, Report, status};
use crate::s3::{Caller, Side};
use crate::tally::{Tally, close};
use crate::{Clients, Halt, Plan, RunError, S3ErrorKind, Source, SourceName, Transfer, lease, pieces};

pub(crate) use source_run::AHEAD;

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

/// A panic in a copy is a bug, and ends the run as one.
pub(crate) fn joined<T>(copy: Result<T, tokio::task::JoinError>) -> T {
    copy.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

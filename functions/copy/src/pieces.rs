//! A run that many invocations share: what one had no time for is cut into pieces, each with a
//! lease of its own below `.replicator/runs/RUN/`, in which its checkpoint is, as a source's is.
//! Somebody else, such as a state machine, calls [`copy()`] on each until it is complete, on
//! several at once, and [`close()`] at last, which makes one report of all.
//!
//! The source's lease stays with the run meanwhile, and is renewed by whoever copies a piece. If
//! nobody does any more it lapses, and the next run goes on with what was left when the run was
//! cut: pieces save work, and losing them loses nothing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::checkpoint::{Checkpoint, Scope, earliest};
use crate::documents::{Condition, Document, Documents};
use crate::lease::{Claim, look};
use crate::replicate::replicate;
use crate::report::status;
use crate::s3::{Caller, Side};
use crate::settings::RESERVED_PREFIX;
use crate::{
    Clients, Failure, Halt, Operation, Plan, Report, RunError, S3Error, S3ErrorKind, SourceName, SourceReport,
};

/// Pieces of a run at the most: as many invocations at once send more than S3 takes.
pub(crate) const MOST: usize = 64;
/// Calls in a row that leave a piece as they found it, after which it is given up.
const IDLE: u32 = 3;
/// The same where parts are copied, which may be too large for a call: a day of calls.
const ALIKE: u32 = 96;
/// Pieces that are read or written at once.
const AT_ONCE: usize = 16;
/// After which a piece's lease lapses whose call died: the next call waits for it.
const LEASE: Duration = Duration::from_secs(30);
/// Times that a piece's account is looked at again because it changed meanwhile.
const ATTEMPTS: u32 = 3;

/// A run that others go on with, as a report tells of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HandedOver {
    /// Its name.
    pub run: String,
    /// The key in the destination of the list of its pieces: a JSON array of
    /// `{"piece": "RUN/NUMBER"}`.
    pub list: String,
    /// How many there are.
    pub pieces: usize,
    /// Those that are not done now that it is closed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<LeftPiece>,
}

/// A piece that was not done when its run was closed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LeftPiece {
    /// `RUN/NUMBER`.
    pub piece: String,
    /// Its first key is after this one.
    pub after: String,
    /// Why it is not done.
    pub because: String,
}

/// What became of one call.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    /// `RUN/NUMBER`.
    pub piece: String,
    /// Whether nothing is left of it.
    pub complete: bool,
}

/// What was done to a piece so far; beside its lease.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Account {
    /// Calls in a row that left it as they found it.
    idle: u32,
    /// Those, and calls that copied parts and nothing else.
    #[serde(default)]
    alike: u32,
    /// Why the last one failed.
    error: Option<String>,
    report: Option<Report>,
    /// Of the run; in the first piece's.
    scope: Option<Scope>,
}

/// In the list: what the state machine hands to each of its children.
#[derive(Serialize, Deserialize)]
struct Item {
    piece: String,
}

/// Of a piece's lease.
fn key(piece: &str) -> String {
    format!("{RESERVED_PREFIX}runs/{piece}.json")
}

fn account(piece: &str) -> String {
    key(&format!("{piece}.report"))
}

fn list(run: &str) -> String {
    key(&format!("{run}/pieces"))
}

/// Writes the pieces of a run, and their list last. `report` tells what was done before.
pub(crate) async fn write(
    documents: &Documents,
    run: &str,
    source: SourceName,
    pieces: Vec<Checkpoint>,
    report: Report,
) -> Result<HandedOver, S3Error> {
    let started = report.started;
    let items: Vec<_> = (0..pieces.len()).map(|number| Item { piece: format!("{run}/{number}") }).collect();
    let scope = pieces.first().map(|piece| piece.scope.clone());
    let base = Account { report: Some(report), scope, ..Account::default() };
    put(documents, &account(&items[0].piece), &base, &Condition::Absent).await?;
    let written = pieces.iter().zip(&items).map(async |(left, item)| {
        let key = key(&item.piece);
        let claim = Claim::new(documents.clone(), source, key, &item.piece, started, Duration::ZERO);
        claim.leave(left).await
    });
    stream::iter(written).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
    put(documents, &list(run), &items, &Condition::Absent).await?;
    Ok(HandedOver { run: run.to_owned(), list: list(run), pieces: items.len(), left: Vec::new() })
}

/// Copies a piece until nothing is left of it, or `halt` says stop. `plan` is of any request: the
/// piece knows its own.
///
/// # Errors
/// A [`RunError`] where it could not be begun, where another run has the source, and, as
/// [`RunError::NoHeadway`], where nothing comes of going on.
pub async fn copy(plan: &Plan, clients: &Clients, halt: &Halt, piece: &str) -> Result<Step, RunError> {
    let documents = documents(plan, clients);
    let Some(before) = see(&documents, piece).await?.left else {
        return Ok(Step { piece: piece.to_owned(), complete: true });
    };
    let run = piece.split('/').next().unwrap_or_default();
    let copied = async {
        let plan = before.scope.narrow(plan)?;
        let plan = Plan { piece: Some(key(piece)), lease: LEASE, hands_over: false, ..plan };
        let source = plan.sources[0].name;
        let (claim, etag) = Claim::handed_over(documents.clone(), source, run, false).await?;
        claim.renewed_during(etag, halt, replicate(&plan, clients, halt, Arc::new(()))).await?
    };
    let (report, error) = match copied.await {
        Ok(report) => (Some(report), None),
        // By a call that died a moment ago: it lapses.
        Err(held @ RunError::HeldByAnother { .. }) => return Err(held),
        Err(error) => (None, Some(error)),
    };
    let after = see(&documents, piece).await?.left;
    // Parts of one large object are no less to do in its checkpoint.
    let parts = |report: &Report| {
        [Operation::UploadPart, Operation::UploadPartCopy]
            .iter()
            .any(|part| report.requests.contains_key(part))
    };
    let is_alike = after.as_ref().is_some_and(|after| after.is_like(&before));
    let is_idle = is_alike && !report.iter().any(parts);
    let account = update(&documents, piece, |account| {
        account.idle = if is_idle { account.idle + 1 } else { 0 };
        account.alike = if is_alike { account.alike + 1 } else { 0 };
        account.error = error.as_ref().map(sentence);
        account.report = match (account.report.take(), report.clone()) {
            (Some(earlier), Some(report)) => Some(earlier.then(report)),
            (earlier, report) => earlier.or(report),
        };
    });
    let account = account.await?;
    match error {
        _ if account.idle >= IDLE || account.alike >= ALIKE => {
            Err(RunError::NoHeadway { piece: piece.to_owned(), because: account.because() })
        }
        // It was stopped before it could begin: the next call may have more time.
        Some(error) if error.name() != S3ErrorKind::Stopped.name() => Err(error),
        _ => Ok(Step { piece: piece.to_owned(), complete: after.is_none() }),
    }
}

/// An error and its causes.
fn sentence(error: &RunError) -> String {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

impl Account {
    /// Whether the call that left nothing of the piece has told what it did. What was done before
    /// the first call was told by a run that was stopped.
    fn is_told(&self) -> bool {
        let is_ended = |of: &SourceReport| of.stopped_after.is_none() && of.interrupted.objects == 0;
        self.report.as_ref().is_some_and(|report| report.sources.iter().all(is_ended))
    }

    /// Why the piece is not complete, as far as is known.
    fn because(&self) -> String {
        let report = self.report.iter().flat_map(|report| &report.sources).next();
        match (&self.error, report.and_then(|report| report.error.as_ref())) {
            (Some(error), _) => error.clone(),
            (None, Some(error)) => format!("{}; {}", error.message, error.remedy),
            _ if self.idle > 0 => format!("nothing came of the last {} invocations for it", self.idle),
            _ => "no invocation for it came to an end".to_owned(),
        }
    }
}

/// Ends a run that was handed over: one report of its pieces, and what is left of them for the
/// next run. Also answers the plan that the run had.
///
/// # Errors
/// A [`RunError`] where its pieces cannot be read, or another run has the source meanwhile.
pub async fn close(plan: &Plan, clients: &Clients, run: &str) -> Result<(Plan, Report), RunError> {
    let documents = documents(plan, clients);
    let items = read::<Vec<Item>>(&documents, &list(run)).await?;
    let (items, _) = items.ok_or_else(|| RunError::NoPiece(list(run)))?;
    let pieces = items.iter().map(async |item| {
        let seen = see(&documents, &item.piece).await?;
        let account = read::<Account>(&documents, &account(&item.piece)).await?;
        Ok::<_, RunError>((&item.piece, seen, account.map(|(account, _)| account).unwrap_or_default()))
    });
    let pieces: Vec<_> = stream::iter(pieces).buffered(AT_ONCE).try_collect().await?;

    let (mut scope, mut reports) = (None, Vec::new());
    let (mut left, mut remains, mut unheard) = (Vec::new(), Vec::new(), 0);
    for (piece, seen, account) in pieces {
        if let Some(checkpoint) = seen.left {
            let because = match seen.died {
                true => "the last invocation for it died in the midst".to_owned(),
                false => account.because(),
            };
            let after = checkpoint.ranges.first().map(|range| range.after.clone()).unwrap_or_default();
            left.push(LeftPiece { piece: piece.clone(), after, because });
            remains.push(checkpoint);
        } else if !account.is_told() {
            unheard += 1;
        }
        scope = scope.or(account.scope);
        reports.extend(account.report);
    }
    let report = reports.into_iter().reduce(Report::beside);
    let mut report = report.ok_or_else(|| RunError::NoPiece(list(run)))?;
    let [of] = &mut report.sources[..] else { return Err(RunError::NoPiece(list(run))) };
    of.stopped_after = left.iter().map(|piece| piece.after.clone()).min();
    of.handed_over = Some(HandedOver { run: run.to_owned(), list: list(run), pieces: items.len(), left });
    if unheard > 0 {
        of.error.get_or_insert_with(|| Failure {
            error: "ReportLost".into(),
            message: format!(
                "{unheard} of its pieces are done, but what became of their objects is not known"
            ),
            remedy: "run again: it looks at everything".into(),
            request_id: None,
        });
    }
    let source = of.source;
    // As a run that is not handed over leaves them.
    let mut in_doubt: BTreeSet<_> = of.failures.iter().map(|object| object.key.clone()).collect();
    report.status = status(&report.sources);

    let (claim, etag) = Claim::handed_over(documents, source, run, true).await?;
    let scope = scope.ok_or_else(|| RunError::NoPiece(list(run)))?;
    let plan = scope.narrow(plan)?;
    // What was in doubt before is perhaps in none of its ranges.
    in_doubt.extend(claim.in_doubt(&scope));
    let doubt = Checkpoint::of_doubt(scope.clone(), report.started, in_doubt, None);
    let left = Checkpoint::join(remains.into_iter().chain(doubt));
    claim.close(etag, &scope, left.as_ref()).await?;
    Ok((plan, report))
}

/// A piece as its lease has it.
struct Seen {
    left: Option<Checkpoint>,
    /// Whether its last invocation did not let go of it.
    died: bool,
}

async fn see(documents: &Documents, piece: &str) -> Result<Seen, RunError> {
    let key = key(piece);
    let found = look(documents, &key).await.map_err(|error| documents.failed(&key, error))?;
    // What cannot be read is not done.
    let Some(left) = found.all_left() else { return Err(RunError::NoPiece(key)) };
    let died = found.died_since();
    let left = Checkpoint::join(left)
        .map(|left| Checkpoint { strays_since: earliest(left.strays_since, died), ..left });
    Ok(Seen { left, died: died.is_some() })
}

fn documents(plan: &Plan, clients: &Clients) -> Documents {
    let caller = Caller::new(plan, Halt::never()).aside();
    Documents::new(plan, caller, &Side::destination(clients, plan))
}

async fn read<T: DeserializeOwned>(
    documents: &Documents,
    key: &str,
) -> Result<Option<(T, String)>, RunError> {
    let found = documents.get(key).await.map_err(|error| documents.failed(key, error))?;
    let Some(Document { body, etag, .. }) = found else { return Ok(None) };
    match serde_json::from_slice(&body) {
        Ok(value) => Ok(Some((value, etag))),
        Err(_) => Err(RunError::NoPiece(key.to_owned())),
    }
}

/// Changes a piece's account; two calls may do so at the same time.
async fn update(
    documents: &Documents,
    piece: &str,
    change: impl Fn(&mut Account),
) -> Result<Account, RunError> {
    let key = account(piece);
    let mut attempt = 1;
    loop {
        let (mut account, condition) = match read::<Account>(documents, &key).await? {
            Some((account, etag)) => (account, Condition::Is(etag)),
            None => (Account::default(), Condition::Absent),
        };
        change(&mut account);
        match put(documents, &key, &account, &condition).await {
            Ok(()) => return Ok(account),
            Err(error) if error.kind == S3ErrorKind::PreconditionFailed && attempt < ATTEMPTS => attempt += 1,
            Err(error) => return Err(documents.failed(&key, error)),
        }
    }
}

async fn put<T: Serialize>(
    documents: &Documents,
    key: &str,
    body: &T,
    condition: &Condition,
) -> Result<(), S3Error> {
    let body = serde_json::to_vec(body).unwrap_or_default();
    documents.put(key, body, condition).await.map(drop)
}

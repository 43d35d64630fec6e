//! The flow of a download: list, look at what is here, fetch, record. Memory does not grow
//! with the number of keys: tasks are bounded, and a report keeps the first problems.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bucket_copy::fetch::{Evidence, Object, Objects, Proof, Verdict};
use bucket_copy::{Failure, Halt};
use jiff::Timestamp;
use tokio::task::JoinSet;

use super::object::{Job, NO_PLACE, Unfinished, WIDTH, failure, no_place, refused, same, unwritable};
use super::partial::PIECE;
use super::place::{Place, place};
use super::report::Tally;
use super::target::{Existing, Unplaced};

/// What to download, and what to do with what is here.
pub(crate) struct Wanted {
    /// Keys that begin with this.
    pub(crate) prefix: String,
    /// How many bytes of it paths leave out.
    pub(crate) left_out: usize,
    /// But none of those that begin with one of these.
    pub(crate) except: Vec<String>,
    /// As they were at this time.
    pub(crate) as_of: Option<Timestamp>,
    /// Replace files that differ.
    pub(crate) overwrite: bool,
    /// Compare by content, not by size and time.
    pub(crate) checksum: bool,
    /// Requests at once.
    pub(crate) most: usize,
}

/// What became of one object.
#[derive(Debug)]
pub(super) enum Fate {
    Downloaded(Proof),
    Unchanged,
    Folder,
    /// The file that is here differs, and was not to be replaced.
    Kept,
    Archived,
    Interrupted,
    Failed(Failure),
}

/// A failure that would be that of other objects as well.
struct Fatal {
    failure: Failure,
    at_once: bool,
}

/// Failures of the server's, with no success between, after which it is held to be gone.
const GONE: u32 = 4;

/// How many places an object takes. A request that brings megabytes counts as four: more of
/// them at once only wait for each other at the server.
fn breadth(size: u64) -> usize {
    let pieces = usize::try_from(size.div_ceil(PIECE)).unwrap_or(usize::MAX);
    if pieces <= 1 { 1 } else { 4 * pieces.min(WIDTH) }
}

/// Downloads what is `wanted` of the objects listed.
pub(super) async fn run(job: &Arc<Job>, wanted: &Wanted, mut objects: Objects, halt: &Halt) -> Tally {
    let began = Instant::now();
    let mut tally = Tally::new(job, wanted);
    let mut tasks = JoinSet::new();
    let (mut taken, mut listed, mut gone) = (0, false, 0);
    loop {
        tokio::select! {
            biased;
            Some(task) = tasks.join_next() => {
                let (object, fate, breadth) = joined(task);
                taken -= breadth;
                let fate = match fate {
                    Ok(fate) => fate,
                    Err(Fatal { failure, at_once }) => {
                        gone += 1;
                        if at_once || gone == GONE {
                            tally.error.get_or_insert_with(|| failure.clone());
                            halt.cancel();
                            listed = true;
                        }
                        Fate::Failed(failure)
                    }
                };
                match fate {
                    Fate::Downloaded(_) => gone = 0,
                    Fate::Interrupted => (listed, tally.stopped) = (true, true),
                    _ => {}
                }
                record(job, &mut tally, &object, fate);
            }
            object = objects.next(), if !listed && taken < wanted.most => match object {
                Ok(Some(object)) if wanted.except.iter().any(|prefix| object.key.starts_with(prefix)) => {}
                Ok(Some(object)) => {
                    job.counts.listed();
                    tally.listed(&object);
                    match consider(job, wanted, &object) {
                        Ok((path, before)) => {
                            job.counts.found(object.size);
                            let breadth = breadth(object.size).min(wanted.most);
                            taken += breadth;
                            let (job, checksum) = (Arc::clone(job), wanted.checksum);
                            let overwrite = wanted.overwrite;
                            tasks.spawn(async move {
                                let fate = deal(&job, &object, path, before, overwrite, checksum).await;
                                (object, fate, breadth)
                            });
                        }
                        Err(fate) => record(job, &mut tally, &object, fate),
                    }
                }
                Ok(None) => {
                    (listed, tally.later) = (true, objects.later());
                    job.counts.all_found();
                }
                Err(error) => {
                    listed = true;
                    if error.name() == "Stopped" {
                        tally.stopped = true;
                    } else {
                        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
                        let message = format!("{error}{}", cause.unwrap_or_default());
                        tally.error = Some(failure(error.name(), message, "run again to go on"));
                    }
                }
            },
            else => break,
        }
    }
    tally.seconds = began.elapsed().as_secs_f64();
    tally
}

/// What can be told without waiting; else where the object goes, and what is there.
fn consider(job: &Job, wanted: &Wanted, object: &Object) -> Result<(PathBuf, Existing), Fate> {
    let place = place(&object.key[wanted.left_out..], object.size, cfg!(windows));
    let misfit = |misfit: super::place::Misfit| failure("NoPlace", misfit.to_string(), NO_PLACE);
    let path = match place.map_err(|error| Fate::Failed(misfit(error)))? {
        Place::File(path) => path,
        Place::Folder(path) => {
            let made = job.target.folder(&path);
            return Err(made.map_or_else(|unplaced| Fate::Failed(no_place(&unplaced)), |()| Fate::Folder));
        }
    };
    let existing = job.target.existing(&path).and_then(|existing| match existing {
        Existing::Folder => Err(Unplaced::Folder),
        Existing::Other => Err(Unplaced::Special),
        Existing::File { ours: true, .. } => Err(Unplaced::Taken),
        existing => Ok(existing),
    });
    let existing = existing.map_err(|unplaced| Fate::Failed(no_place(&unplaced)))?;
    match existing {
        Existing::File { size, modified, .. }
            if size == object.size
                && seconds(modified) == Some(object.modified.as_second())
                && !wanted.checksum =>
        {
            return Err(Fate::Unchanged);
        }
        // Its content is to be compared.
        Existing::File { size, .. } if size == object.size => {}
        // A machine that crashed before all was on its disk leaves a file that has its time and lacks
        // its end.
        Existing::File { size, modified, .. }
            if size < object.size
                && seconds(modified) == Some(object.modified.as_second())
                && !object.archived => {}
        Existing::File { .. } if !wanted.overwrite => return Err(Fate::Kept),
        _ if object.archived => return Err(Fate::Archived),
        _ => {}
    }
    Ok((path, existing))
}

/// Compares where a file of the same size is here, and downloads.
async fn deal(
    job: &Job,
    object: &Object,
    path: PathBuf,
    before: Existing,
    overwrite: bool,
    checksum: bool,
) -> Result<Fate, Fatal> {
    if let Existing::File { size, modified, .. } = before
        && size == object.size
    {
        let same_time = seconds(modified) == Some(object.modified.as_second());
        match unchanged(job, object, &path, same_time, checksum).await {
            Ok(true) => return Ok(Fate::Unchanged),
            Ok(false) if !overwrite => return Ok(Fate::Kept),
            Ok(false) if object.archived => return Ok(Fate::Archived),
            Ok(false) => {}
            Err(unfinished) => return fate(unfinished),
        }
    }
    match job.download(object.clone(), &path, before).await {
        Ok(proof) => Ok(Fate::Downloaded(proof)),
        Err(unfinished) => fate(unfinished),
    }
}

/// Whether a file of the object's size has its content.
async fn unchanged(
    job: &Job,
    object: &Object,
    path: &std::path::Path,
    same_time: bool,
    checksum: bool,
) -> Result<bool, Unfinished> {
    let listed = Evidence::listed(object);
    let evidence = match listed.strongest() {
        Proof::Md5 if !checksum => listed,
        _ => {
            let (now, evidence) =
                job.bucket.look_up(&object.key, object.version.as_deref()).await.map_err(refused)?;
            if now.etag != object.etag {
                return Ok(false);
            }
            evidence
        }
    };
    let (target, path) = (Arc::clone(&job.target), path.to_owned());
    let compared = tokio::task::spawn_blocking(move || same(&target, &path, &evidence)).await;
    match joined(compared).map_err(unwritable)? {
        Verdict::Refuted(_) => Ok(false),
        Verdict::Proven(Proof::Size) => Ok(same_time),
        Verdict::Proven(_) => Ok(true),
    }
}

fn fate(unfinished: Unfinished) -> Result<Fate, Fatal> {
    match unfinished {
        Unfinished::Archived => Ok(Fate::Archived),
        Unfinished::Stopped => Ok(Fate::Interrupted),
        Unfinished::Failed(failure) => Ok(Fate::Failed(failure)),
        Unfinished::NoRoom(error) => {
            let remedy = "make room, then run again: what is here already is not fetched twice";
            let failure = failure("NoRoom", format!("the directory cannot be written to: {error}"), remedy);
            Err(Fatal { failure, at_once: true })
        }
        Unfinished::Server(failure) => {
            let patient = ["EndpointUnreachable", "TimedOut"].contains(&failure.error.as_str());
            Err(Fatal { failure, at_once: !patient })
        }
    }
}

fn record(job: &Job, tally: &mut Tally, object: &Object, fate: Fate) {
    job.counts.finished(matches!(fate, Fate::Failed(_)));
    if let Fate::Failed(failure) = &fate {
        tracing::debug!(key = object.key, error = failure.error, "not downloaded: {}", failure.message);
    }
    tally.record(object, fate);
}

/// Since 1970, as S3 tells times in its headers.
fn seconds(time: SystemTime) -> Option<i64> {
    jiff::Timestamp::try_from(time).ok().map(jiff::Timestamp::as_second)
}

/// A panic in a task is a bug, and ends the run as one.
fn joined<T>(task: Result<T, tokio::task::JoinError>) -> T {
    task.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

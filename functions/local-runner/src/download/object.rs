//! One object, from the bucket to its file: got, verified, and only then given its name.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use bucket_copy::Failure;
use bucket_copy::fetch::{Bucket, Crc64Nvme, Evidence, FetchError, Judge, Object, Proof, Sink, Verdict};
use futures_util::{TryStreamExt, stream};
use tokio::task::spawn_blocking;

use super::partial::{PIECE, Partial};
use super::target::{Existing, Target, Unplaced, write_at};
use crate::meter::Counts;

/// Downloads of an object that changes, or arrives damaged, before it is given up.
const ATTEMPTS: u32 = 5;
/// Pieces of one object that are got at once.
pub(super) const WIDTH: usize = 8;
/// What is written at once.
const FLUSH: usize = 1 << 20;

/// Why an object has no file.
#[derive(Debug)]
pub(super) enum Unfinished {
    Archived,
    Stopped,
    Failed(Failure),
    /// No other object's file could be written either.
    NoRoom(io::Error),
    /// The server's answer, and that it would answer for others alike.
    Server(Failure),
}

/// What downloads have in common.
pub(super) struct Job {
    pub(super) bucket: Bucket,
    pub(super) name: String,
    pub(super) target: Arc<Target>,
    pub(super) counts: Arc<Counts>,
}

/// One try's end that another may better.
enum Ended {
    Overwritten,
    Damaged(Proof),
    Fetch(FetchError),
    Unplaced(Unplaced),
    Io(io::Error),
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<FetchError> for Ended {
    fn from(error: FetchError) -> Self {
        match error {
            FetchError::Overwritten => Self::Overwritten,
            FetchError::Sink(error) => Self::Io(error),
            other => Self::Fetch(other),
        }
    }
}

impl From<Unplaced> for Ended {
    fn from(error: Unplaced) -> Self {
        Self::Unplaced(error)
    }
}

impl Job {
    /// Downloads `object` to `path`, where `before` was; answers what proved it.
    pub(super) async fn download(
        &self,
        mut object: Object,
        path: &Path,
        before: Existing,
    ) -> Result<Proof, Unfinished> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let ended = match self.attempt(&mut object, path, before).await {
                Ok(proof) => return Ok(proof),
                Err(ended) => ended,
            };
            let again = attempts < ATTEMPTS;
            match ended {
                Ended::Overwritten if again => {
                    match self.bucket.look_up(&object.key, object.version.as_deref()).await {
                        Ok((now, _)) => object = now,
                        Err(error) => return Err(refused(error)),
                    }
                }
                Ended::Damaged(_) if again => {}
                Ended::Overwritten => {
                    return Err(Unfinished::Failed(failure(
                        "KeepsChanging",
                        format!("it was overwritten {attempts} times while it was being downloaded"),
                        "run again when its writer rests",
                    )));
                }
                Ended::Damaged(proof) => {
                    return Err(Unfinished::Failed(failure(
                        "Mismatch",
                        format!("what arrives is not the object, by its {proof} ({attempts} times)"),
                        "run again; if it stays, the object or the network is damaged",
                    )));
                }
                Ended::Fetch(error) => return Err(refused(error)),
                Ended::Unplaced(Unplaced::Io(error)) | Ended::Io(error) => return Err(unwritable(error)),
                Ended::Unplaced(unplaced) => return Err(Unfinished::Failed(no_place(&unplaced))),
            }
        }
    }

    async fn attempt(&self, object: &mut Object, path: &Path, before: Existing) -> Result<Proof, Ended> {
        if object.size > PIECE {
            self.large(object, path, before).await
        } else {
            self.small(object, path, before).await
        }
    }

    /// In one request, which tells what is to be verified too.
    async fn small(&self, object: &Object, path: &Path, before: Existing) -> Result<Proof, Ended> {
        let begin = |evidence: &Evidence| Writer {
            target: Arc::clone(&self.target),
            state: Some(Box::new(Written { judge: evidence.judge(), file: None })),
            buffer: Vec::with_capacity(FLUSH.min(usize::try_from(object.size).unwrap_or(FLUSH))),
        };
        let writer = self.bucket.get(object, None, begin).await?;
        let (target, path, modified) = (Arc::clone(&self.target), path.to_owned(), object.modified.into());
        let proof = blocking(move || writer.finish(&target, &path, modified, before)).await?;
        self.counts.moved(object.size);
        Ok(proof)
    }

    /// In pieces, of which those are got that are missing.
    async fn large(&self, object: &mut Object, path: &Path, before: Existing) -> Result<Proof, Ended> {
        let (now, evidence) = self.bucket.look_up(&object.key, object.version.as_deref()).await?;
        if now.etag != object.etag || now.size != object.size {
            // Its new size may make it a small one.
            *object = now;
            return Err(Ended::Overwritten);
        }
        let (target, name, wanted) = (Arc::clone(&self.target), self.name.clone(), object.clone());
        let partial = Arc::new(blocking(move || Partial::open(&target, &name, &wanted)).await?);
        self.counts.moved(partial.present());
        let pieces = stream::iter(partial.missing().into_iter().map(Ok::<_, Ended>));
        let (got, shared) = (&*object, &partial);
        let fetched = pieces.try_for_each_concurrent(WIDTH, |(piece, range)| async move {
            let begin = |_: &Evidence| Stretch {
                file: Arc::clone(&shared.file),
                at: range.start,
                crc: Crc64Nvme::default(),
            };
            let Stretch { crc, file, .. } = self.bucket.get(got, Some(range.clone()), begin).await?;
            let partial = Arc::clone(shared);
            blocking(move || {
                // A piece is noted when a crash cannot take it any more.
                file.sync_data()?;
                partial.note(piece, crc.value())
            })
            .await?;
            self.counts.moved(range.end - range.start);
            Ok(())
        });
        if let Err(ended) = fetched.await {
            if matches!(ended, Ended::Overwritten) {
                partial.forget(&self.target);
            }
            return Err(ended);
        }
        let (target, path, modified) = (Arc::clone(&self.target), path.to_owned(), object.modified.into());
        blocking(move || {
            let verdict = match evidence.judge_pieces(partial.crcs()) {
                Some(verdict) => verdict,
                None => {
                    let mut judge = evidence.judge();
                    partial.judge(&mut judge)?;
                    judge.verdict()
                }
            };
            let proof = proven(verdict).inspect_err(|_| partial.forget(&target))?;
            partial.file.set_modified(modified)?;
            partial.file.sync_all()?;
            target.place(&partial.part(), &path, before)?;
            partial.forget(&target);
            Ok(proof)
        })
        .await
    }
}

/// Runs what may wait for a disk.
async fn blocking<T, E>(work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, E>
where
    T: Send + 'static,
    E: Send + 'static,
{
    spawn_blocking(work).await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

fn proven(verdict: Verdict) -> Result<Proof, Ended> {
    match verdict {
        Verdict::Proven(proof) => Ok(proof),
        Verdict::Refuted(proof) => Err(Ended::Damaged(proof)),
    }
}

/// A small object's bytes: those of up to a megabyte meet the disk when they are all there.
struct Writer {
    target: Arc<Target>,
    /// Lent to the thread that writes.
    state: Option<Box<Written>>,
    buffer: Vec<u8>,
}

struct Written {
    judge: Judge,
    file: Option<Unnamed>,
}

/// A file that goes away unless it gets a name.
struct Unnamed {
    target: Arc<Target>,
    name: String,
    file: File,
    placed: bool,
}

impl Drop for Unnamed {
    fn drop(&mut self) {
        if !self.placed {
            self.target.discard(&self.name);
        }
    }
}

impl Written {
    fn write(&mut self, target: &Arc<Target>, bytes: &[u8]) -> io::Result<&mut Unnamed> {
        let unnamed = match &mut self.file {
            Some(unnamed) => unnamed,
            none => {
                let (name, file) = target.unnamed()?;
                none.insert(Unnamed { target: Arc::clone(target), name, file, placed: false })
            }
        };
        self.judge.update(bytes);
        unnamed.file.write_all(bytes)?;
        Ok(unnamed)
    }
}

impl Sink for Writer {
    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !self.buffer.is_empty() && self.buffer.len() + bytes.len() > FLUSH {
            let (target, buffer) = (Arc::clone(&self.target), std::mem::take(&mut self.buffer));
            let mut state = self.state.take().ok_or(ErrorKind::BrokenPipe)?;
            let (state, mut buffer) = blocking(move || {
                state.write(&target, &buffer)?;
                Ok::<_, io::Error>((state, buffer))
            })
            .await?;
            buffer.clear();
            (self.state, self.buffer) = (Some(state), buffer);
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }
}

impl Writer {
    fn finish(
        self,
        target: &Arc<Target>,
        path: &Path,
        modified: SystemTime,
        before: Existing,
    ) -> Result<Proof, Ended> {
        let mut state = self.state.ok_or(io::Error::from(ErrorKind::BrokenPipe))?;
        state.write(target, &self.buffer)?;
        let Written { judge, file } = *state;
        let proof = proven(judge.verdict())?;
        if let Some(mut unnamed) = file {
            unnamed.file.set_modified(modified)?;
            #[cfg(not(target_os = "linux"))]
            unnamed.file.sync_all()?;
            target.place(&unnamed.name, path, before)?;
            unnamed.placed = true;
        }
        Ok(proof)
    }
}

/// A piece's bytes, at their place in a large object's file.
struct Stretch {
    file: Arc<File>,
    at: u64,
    crc: Crc64Nvme,
}

impl Sink for Stretch {
    /// On the spot: what comes in one read of the network is in the cache's reach still, and
    /// goes to the system's own. To hand it to a thread that may wait for a disk takes longer.
    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        write_at(&self.file, bytes, self.at)?;
        self.crc.update(bytes);
        self.at += bytes.len() as u64;
        Ok(())
    }
}

/// Whether the file at `path` has the bytes of which `evidence` tells.
pub(super) fn same(target: &Target, path: &Path, evidence: &Evidence) -> io::Result<Verdict> {
    let mut file = target.read(path)?;
    let mut judge = evidence.judge();
    let mut buffer = vec![0; FLUSH];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(judge.verdict()),
            read => judge.update(&buffer[..read]),
        }
    }
}

pub(super) fn failure(error: &str, message: String, remedy: &str) -> Failure {
    Failure { error: error.to_owned(), message, remedy: remedy.into(), request_id: None }
}

/// What to do about a key that has no place.
pub(super) const NO_PLACE: &str =
    "get it by itself under another name: aws s3api get-object --bucket BUCKET --key KEY FILE";

pub(super) fn no_place(unplaced: &Unplaced) -> Failure {
    failure("NoPlace", unplaced.to_string(), NO_PLACE)
}

pub(super) fn refused(error: FetchError) -> Unfinished {
    use bucket_copy::S3ErrorKind::{BadCredentials, NoSuchBucket, TimedOut, Unreachable};
    match error {
        FetchError::Archived => Unfinished::Archived,
        FetchError::Stopped => Unfinished::Stopped,
        FetchError::Refused(BadCredentials | NoSuchBucket | TimedOut | Unreachable, failure) => {
            Unfinished::Server(failure)
        }
        FetchError::Refused(_, failure) => Unfinished::Failed(failure),
        FetchError::Sink(error) => unwritable(error),
        FetchError::Overwritten => {
            Unfinished::Failed(failure("KeepsChanging", "it keeps changing".into(), "run again"))
        }
    }
}

pub(super) fn unwritable(error: io::Error) -> Unfinished {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::ReadOnlyFilesystem => {
            Unfinished::NoRoom(error)
        }
        ErrorKind::FileTooLarge => Unfinished::Failed(failure(
            "FileTooLarge",
            format!("its file is larger than may be written here ({error})"),
            "download to another file system (FAT holds 4 GiB a file), or raise the limit (ulimit -f)",
        )),
        _ => Unfinished::Failed(failure(
            "NotWritten",
            format!("its file cannot be written ({error})"),
            "see to the directory, then run again",
        )),
    }
}

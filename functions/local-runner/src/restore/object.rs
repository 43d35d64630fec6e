//! An object as a [`Read`] and [`Seek`]: what decoders want. It is read in pieces, each
//! pinned to the ETag it had at first and tried again by itself, one piece ahead; memory
//! holds three of them.

use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bucket_copy::fetch::{Bucket, Evidence, FetchError, Judge, Object, Proof, Sink, Verdict};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::backups::Unread;

/// Bytes a request.
const PIECE: u64 = 8 << 20;

/// Reads an object on a thread that may block.
pub(crate) struct ObjectReader {
    bucket: Bucket,
    object: Arc<Object>,
    runtime: Handle,
    place: u64,
    piece: Piece,
    ahead: Option<(u64, JoinHandle<Result<Gathered, FetchError>>)>,
    seal: Seal,
}

#[derive(Default)]
struct Piece {
    at: u64,
    bytes: Vec<u8>,
}

impl ObjectReader {
    pub(crate) fn new(bucket: &Bucket, object: Object, evidence: &Evidence, runtime: Handle) -> Self {
        let judge = Judged { size: object.size, upto: 0, judge: Some(evidence.judge()) };
        Self {
            bucket: bucket.clone(),
            object: Arc::new(object),
            runtime,
            place: 0,
            piece: Piece::default(),
            ahead: None,
            seal: Seal(Arc::new(Mutex::new(judge))),
        }
    }

    /// What tells in the end whether the bytes were the object's.
    pub(crate) fn seal(&self) -> Seal {
        self.seal.clone()
    }

    /// Asks for the piece at `at`, unless it is past the end.
    fn ask(&self, at: u64) -> Option<(u64, JoinHandle<Result<Gathered, FetchError>>)> {
        let to = (at + PIECE).min(self.object.size);
        if at >= to {
            return None;
        }
        let (bucket, object) = (self.bucket.clone(), Arc::clone(&self.object));
        Some((at, self.runtime.spawn(async move { get(&bucket, &object, at..to).await })))
    }

    fn fetch(&mut self) -> io::Result<()> {
        // On a grid, so that small jumps back, as for a zip archive's directory, cost nothing.
        let at = self.place / PIECE * PIECE;
        let (_, asked) = match self.ahead.take().filter(|(begins, _)| *begins == at) {
            Some(ahead) => ahead,
            None => self.ask(at).ok_or(io::ErrorKind::UnexpectedEof)?,
        };
        let next = self.ask(at + PIECE);
        let got = self.runtime.block_on(asked).map_err(io::Error::other)?;
        let bytes = got.map_err(|error| io::Error::other(Unread(error)))?.0;
        self.seal.update(at, &bytes);
        self.piece = Piece { at, bytes };
        self.ahead = next;
        Ok(())
    }
}

async fn get(bucket: &Bucket, object: &Object, range: Range<u64>) -> Result<Gathered, FetchError> {
    let length = usize::try_from(range.end - range.start).unwrap_or_default();
    bucket.get(object, Some(range), |_| Gathered(Vec::with_capacity(length))).await
}

struct Gathered(Vec<u8>);

impl Sink for Gathered {
    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

impl Read for ObjectReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.place >= self.object.size || buffer.is_empty() {
            return Ok(0);
        }
        let end = self.piece.at + self.piece.bytes.len() as u64;
        if self.place < self.piece.at || self.place >= end {
            self.fetch()?;
        }
        let from = usize::try_from(self.place - self.piece.at).unwrap_or_default();
        let there = &self.piece.bytes[from..];
        let count = there.len().min(buffer.len());
        buffer[..count].copy_from_slice(&there[..count]);
        self.place += count as u64;
        Ok(count)
    }
}

impl Seek for ObjectReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let place = match to {
            SeekFrom::Start(place) => Some(place),
            SeekFrom::End(offset) => self.object.size.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.place.checked_add_signed(offset),
        };
        self.place = place.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.place)
    }
}

impl Drop for ObjectReader {
    fn drop(&mut self) {
        if let Some((_, asked)) = &self.ahead {
            asked.abort();
        }
    }
}

/// Judges the object's bytes as they are read, from the first to the last. Clones share it.
#[derive(Clone)]
pub(crate) struct Seal(Arc<Mutex<Judged>>);

struct Judged {
    size: u64,
    upto: u64,
    judge: Option<Judge>,
}

/// What the bytes that were read prove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sealed {
    /// They are the object's.
    Whole(Proof),
    /// They are not what the server says the object is.
    Broken(Proof),
    /// Not all of the object was read.
    Part,
}

impl Seal {
    fn update(&self, at: u64, bytes: &[u8]) {
        let mut judged = self.lock();
        // Whoever jumps over bytes cannot judge the whole; what was read twice counts once.
        let Some(new) = judged.upto.checked_sub(at).and_then(|seen| bytes.get(usize::try_from(seen).ok()?..))
        else {
            return;
        };
        if let Some(judge) = &mut judged.judge {
            judge.update(new);
        }
        judged.upto += new.len() as u64;
    }

    /// The verdict, once.
    pub(crate) fn verdict(&self) -> Sealed {
        let mut judged = self.lock();
        if judged.upto < judged.size {
            return Sealed::Part;
        }
        match judged.judge.take().map(Judge::verdict) {
            Some(Verdict::Proven(proof)) => Sealed::Whole(proof),
            Some(Verdict::Refuted(proof)) => Sealed::Broken(proof),
            None => Sealed::Part,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Judged> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! A large object while it is downloaded: its bytes in one file, and in another, a line each,
//! which pieces of them are there. A run that was cut, even by a crash of the machine, is
//! continued: each piece that is said to be there is read and compared with its CRC first.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bucket_copy::fetch::{Crc64Nvme, Judge, Object};
use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};

use super::target::{PART, STATE, Target};

/// What is got at once of a large object, and all of a smaller one.
pub(super) const PIECE: u64 = 16 << 20;
/// The most pieces that an object has.
const MOST: u64 = 10_000;
/// What is read at once.
const BUFFER: usize = 1 << 20;

/// Whose bytes these are: the first line of the state.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Owner {
    bucket: String,
    key: String,
    etag: String,
    size: u64,
    piece_size: u64,
}

/// A piece that is there: a further line of the state.
#[derive(Debug, Serialize, Deserialize)]
struct Piece {
    piece: usize,
    crc64nvme: u64,
}

/// A large object on its way.
pub(super) struct Partial {
    name: String,
    size: u64,
    piece_size: u64,
    pub(super) file: Arc<File>,
    progress: Mutex<Progress>,
}

struct Progress {
    state: File,
    /// The CRC of each piece that is there.
    pieces: Vec<Option<u64>>,
}

impl Partial {
    /// Begins it, or continues what an earlier run left of the very same object.
    pub(super) fn open(target: &Target, bucket: &str, object: &Object) -> io::Result<Self> {
        let digest = Md5::digest(format!("{bucket}\0{}", object.key));
        let name: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let piece_size = PIECE.max(object.size.div_ceil(MOST).next_multiple_of(1 << 20));
        let owner = Owner {
            bucket: bucket.to_owned(),
            key: object.key.clone(),
            etag: object.etag.to_string(),
            size: object.size,
            piece_size,
        };
        let count = usize::try_from(object.size.div_ceil(piece_size)).map_err(io::Error::other)?;
        let file = target.lasting(&format!("{name}{PART}"))?;
        let state = target.lasting(&format!("{name}{STATE}"))?;
        let pieces = vec![None; count];
        let (size, file) = (object.size, Arc::new(file));
        let partial = Self { name, size, piece_size, file, progress: Mutex::new(Progress { state, pieces }) };
        if !partial.resume(&owner)? {
            partial.begin(&owner)?;
        }
        Ok(partial)
    }

    /// Takes over the pieces that are there; `false` if they are not this object's.
    fn resume(&self, owner: &Owner) -> io::Result<bool> {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let Progress { state, pieces } = &mut *progress;
        // A crash may leave half a line, or nonsense.
        let mut lines = BufReader::new(&*state).split(b'\n').map_while(Result::ok);
        let first: Option<Owner> = lines.next().and_then(|line| serde_json::from_slice(&line).ok());
        if first.as_ref() != Some(owner) {
            return Ok(false);
        }
        let said: Vec<Piece> = lines.filter_map(|line| serde_json::from_slice(&line).ok()).collect();
        for Piece { piece, crc64nvme } in said {
            if piece < pieces.len() && self.crc(piece).ok() == Some(crc64nvme) {
                pieces[piece] = Some(crc64nvme);
            }
        }
        state.seek(SeekFrom::End(0))?;
        // Behind half a line.
        state.write_all(b"\n")?;
        Ok(true)
    }

    /// Begins anew: nothing of what is there is believed.
    fn begin(&self, owner: &Owner) -> io::Result<()> {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        progress.pieces.fill(None);
        let state = &mut progress.state;
        state.set_len(0)?;
        state.rewind()?;
        self.file.set_len(0)?;
        self.file.set_len(self.size)?;
        let mut line = serde_json::to_vec(owner)?;
        line.push(b'\n');
        state.write_all(&line)
    }

    /// The pieces that are missing, each with the bytes that it has of the object.
    pub(super) fn missing(&self) -> Vec<(usize, Range<u64>)> {
        let progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = progress.pieces.iter().enumerate().filter(|(_, crc)| crc.is_none());
        missing.map(|(piece, _)| (piece, self.range(piece))).collect()
    }

    /// The bytes that are there.
    pub(super) fn present(&self) -> u64 {
        self.size - self.missing().into_iter().map(|(_, range)| range.end - range.start).sum::<u64>()
    }

    /// Notes that a piece is there, on the disk.
    pub(super) fn note(&self, piece: usize, crc64nvme: u64) -> io::Result<()> {
        let mut line = serde_json::to_vec(&Piece { piece, crc64nvme })?;
        line.push(b'\n');
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        progress.pieces[piece] = Some(crc64nvme);
        progress.state.write_all(&line)
    }

    /// The CRCs of all pieces in their order, each with its size.
    pub(super) fn crcs(&self) -> Vec<(u64, u64)> {
        let progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let crcs = progress.pieces.iter().enumerate();
        crcs.filter_map(|(piece, crc)| {
            let range = self.range(piece);
            Some(((*crc)?, range.end - range.start))
        })
        .collect()
    }

    /// Has `judge` read all of it.
    pub(super) fn judge(&self, judge: &mut Judge) -> io::Result<()> {
        self.read(0..self.size, |bytes| judge.update(bytes))
    }

    /// The file that has the bytes, by its name in the work folder.
    pub(super) fn part(&self) -> String {
        format!("{}{PART}", self.name)
    }

    /// Once the bytes have their own name, or are not worth to be kept.
    pub(super) fn forget(&self, target: &Target) {
        target.discard(&format!("{}{STATE}", self.name));
        target.discard(&self.part());
    }

    fn range(&self, piece: usize) -> Range<u64> {
        let first = piece as u64 * self.piece_size;
        first..self.size.min(first + self.piece_size)
    }

    fn crc(&self, piece: usize) -> io::Result<u64> {
        let mut crc = Crc64Nvme::default();
        self.read(self.range(piece), |bytes| crc.update(bytes))?;
        Ok(crc.value())
    }

    /// Only while nothing is being written: reading moves the file's position.
    fn read(&self, range: Range<u64>, mut take: impl FnMut(&[u8])) -> io::Result<()> {
        let mut file = &*self.file;
        file.seek(SeekFrom::Start(range.start))?;
        let mut buffer = vec![0; BUFFER];
        let mut left = range.end - range.start;
        while left > 0 {
            let now = usize::try_from(left).unwrap_or(BUFFER).min(BUFFER);
            file.read_exact(&mut buffer[..now])?;
            take(&buffer[..now]);
            left -= now as u64;
        }
        Ok(())
    }
}

//! What objects hold: real bytes, shared and never copied, or virtual bytes that are only
//! described.
//!
//! Promises: slicing and joining cost no bytes; virtual slices that continue each other join
//! into one, so that an object put together from parts equals the one it was cut from; the
//! digest of anything virtual is the digest of its description, hence equal for equal content
//! whatever its size.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use md5::{Digest, Md5};

/// How many bytes a GET takes from a content at a time.
const CHUNK: u64 = 64 * 1024;

/// A range of an endless pseudo-random sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct VirtualSlice {
    seed: u64,
    offset: u64,
    len: u64,
}

#[derive(Clone, PartialEq, Eq)]
enum Segment {
    Bytes(Bytes),
    Virtual(VirtualSlice),
}

impl Segment {
    fn len(&self) -> u64 {
        match self {
            Segment::Bytes(bytes) => bytes.len() as u64,
            Segment::Virtual(slice) => slice.len,
        }
    }

    fn slice(&self, range: Range<u64>) -> Segment {
        match self {
            Segment::Bytes(bytes) => Segment::Bytes(bytes.slice(range.start as usize..range.end as usize)),
            Segment::Virtual(slice) => Segment::Virtual(VirtualSlice {
                seed: slice.seed,
                offset: slice.offset + range.start,
                len: range.end - range.start,
            }),
        }
    }
}

#[derive(Clone)]
enum Repr {
    One(Segment),
    Joined { segments: Arc<[Segment]>, len: u64 },
}

/// The content of an object or a part.
#[derive(Clone)]
pub struct Content(Repr);

impl Content {
    /// Real bytes.
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        Self(Repr::One(Segment::Bytes(bytes.into())))
    }

    /// `len` bytes that are never held: they follow from `seed`.
    #[must_use]
    pub fn virtual_bytes(seed: u64, len: u64) -> Self {
        if len == 0 {
            // Emptiness has one MD5, whoever describes it.
            return Self::default();
        }
        Self(Repr::One(Segment::Virtual(VirtualSlice { seed, offset: 0, len })))
    }

    /// The pieces one after another, as CompleteMultipartUpload joins parts.
    #[must_use]
    pub fn join(pieces: impl IntoIterator<Item = Content>) -> Self {
        let mut segments: Vec<Segment> = Vec::new();
        for piece in pieces {
            for segment in piece.segments() {
                push_merged(&mut segments, segment.clone());
            }
        }
        match segments.len() {
            0 => Self::default(),
            1 => Self(Repr::One(segments.remove(0))),
            _ => {
                let len = segments.iter().map(Segment::len).sum();
                Self(Repr::Joined { segments: segments.into(), len })
            }
        }
    }

    /// Its length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        match &self.0 {
            Repr::One(segment) => segment.len(),
            Repr::Joined { len, .. } => *len,
        }
    }

    /// True if it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// True if any of it is only described.
    #[must_use]
    pub fn is_virtual(&self) -> bool {
        self.segments().iter().any(|segment| matches!(segment, Segment::Virtual(_)))
    }

    /// The bytes from `range.start` up to `range.end`, both within the content.
    #[must_use]
    pub fn slice(&self, range: Range<u64>) -> Self {
        if range.is_empty() {
            return Self::default();
        }
        if let Repr::One(segment) = &self.0 {
            return Self(Repr::One(segment.slice(range)));
        }
        let mut start = 0;
        let mut pieces = Vec::new();
        for segment in self.segments() {
            let end = start + segment.len();
            let (from, to) = (range.start.max(start), range.end.min(end));
            if from < to {
                pieces.push(Self(Repr::One(segment.slice(from - start..to - start))));
            }
            start = end;
        }
        Self::join(pieces)
    }

    /// All of it as bytes. For small contents: virtual bytes are made here.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        if let Repr::One(Segment::Bytes(bytes)) = &self.0 {
            return bytes.clone();
        }
        let mut all = BytesMut::with_capacity(self.len() as usize);
        for chunk in self.chunks() {
            all.extend_from_slice(&chunk);
        }
        all.freeze()
    }

    /// Its bytes in pieces of moderate size, made when asked for.
    pub fn chunks(&self) -> impl Iterator<Item = Bytes> + Send + Sync + 'static {
        let content = self.clone();
        let mut segment = 0;
        let mut position = 0;
        std::iter::from_fn(move || {
            loop {
                let current = content.segments().get(segment)?;
                let end = (position + CHUNK).min(current.len());
                if position == end {
                    segment += 1;
                    position = 0;
                    continue;
                }
                let piece = current.slice(position..end);
                position = end;
                return Some(match piece {
                    Segment::Bytes(bytes) => bytes,
                    Segment::Virtual(slice) => slice.generate(),
                });
            }
        })
    }

    /// The MD5: of the bytes, or of the description if any of it is virtual.
    #[must_use]
    pub fn md5(&self) -> [u8; 16] {
        let mut hasher = Md5::new();
        self.digest_input(|data| hasher.update(data));
        hasher.finalize().into()
    }

    /// Feeds `update` what a digest of this content is taken of.
    pub(crate) fn digest_input(&self, mut update: impl FnMut(&[u8])) {
        if !self.is_virtual() {
            for segment in self.segments() {
                if let Segment::Bytes(bytes) = segment {
                    update(bytes);
                }
            }
            return;
        }
        // Runs of real bytes are described by length and MD5, so that where they were cut
        // does not show.
        let mut run: Option<(u64, Md5)> = None;
        let end_run = |run: &mut Option<(u64, Md5)>, update: &mut dyn FnMut(&[u8])| {
            if let Some((len, hasher)) = run.take() {
                update(b"bytes");
                update(&len.to_le_bytes());
                update(&hasher.finalize());
            }
        };
        for segment in self.segments() {
            match segment {
                Segment::Bytes(bytes) => {
                    let (len, hasher) = run.get_or_insert_with(|| (0, Md5::new()));
                    *len += bytes.len() as u64;
                    hasher.update(bytes);
                }
                Segment::Virtual(slice) => {
                    end_run(&mut run, &mut update);
                    let mut description = [0; 31];
                    description[..7].copy_from_slice(b"virtual");
                    description[7..15].copy_from_slice(&slice.seed.to_le_bytes());
                    description[15..23].copy_from_slice(&slice.offset.to_le_bytes());
                    description[23..].copy_from_slice(&slice.len.to_le_bytes());
                    update(&description);
                }
            }
        }
        end_run(&mut run, &mut update);
    }

    fn segments(&self) -> &[Segment] {
        match &self.0 {
            Repr::One(segment) => std::slice::from_ref(segment),
            Repr::Joined { segments, .. } => segments,
        }
    }
}

impl Default for Content {
    fn default() -> Self {
        Self::bytes(Bytes::new())
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Content({} {}bytes)", self.len(), if self.is_virtual() { "virtual " } else { "" })
    }
}

/// Contents are equal if their bytes are; a virtual one only equals its own description.
impl PartialEq for Content {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len()
            && if self.is_virtual() || other.is_virtual() {
                self.md5() == other.md5()
            } else {
                self.to_bytes() == other.to_bytes()
            }
    }
}

fn push_merged(segments: &mut Vec<Segment>, next: Segment) {
    if next.len() == 0 {
        return;
    }
    if let (Some(Segment::Virtual(last)), Segment::Virtual(next)) = (segments.last_mut(), &next)
        && last.seed == next.seed
        && last.offset + last.len == next.offset
    {
        last.len += next.len;
        return;
    }
    segments.push(next);
}

impl VirtualSlice {
    /// The bytes themselves: word `i` of the sequence is SplitMix64's `i`-th, so that any
    /// range can be made on its own.
    fn generate(self) -> Bytes {
        let mut out = BytesMut::with_capacity(self.len as usize + 16);
        let skip = (self.offset % 8) as usize;
        let mut word = self.offset / 8;
        while out.len() < self.len as usize + skip {
            out.extend_from_slice(&crate::random::mix(self.seed, word).to_le_bytes());
            word += 1;
        }
        out.freeze().slice(skip..skip + self.len as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn virtual_parts_join_into_what_they_were_cut_from() {
        let whole = Content::virtual_bytes(7, 1000);
        let joined = Content::join([whole.slice(0..300), whole.slice(300..1000)]);
        assert_eq!(joined.md5(), whole.md5());
        let swapped = Content::join([whole.slice(300..1000), whole.slice(0..300)]);
        assert_ne!(swapped.md5(), whole.md5());
    }

    #[test]
    fn any_range_of_virtual_bytes_is_the_same_bytes() {
        let whole = Content::virtual_bytes(7, 200_000);
        let bytes = whole.to_bytes();
        assert_eq!(bytes.len(), 200_000);
        assert_eq!(whole.slice(65_531..131_077).to_bytes(), bytes[65_531..131_077]);
    }

    #[test]
    fn a_slice_across_real_parts_is_the_bytes_there() {
        let joined = Content::join([Content::bytes("abc"), Content::bytes("def")]);
        assert_eq!(joined.slice(1..5).to_bytes(), "bcde");
        assert_eq!(joined.md5(), Content::bytes("abcdef").md5());
    }
}

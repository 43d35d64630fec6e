//! The arithmetic of parts. Pure.

use crate::ETag;
use crate::list::Entry;
use crate::operation::Operation;

const MIB: u64 = 1 << 20;
/// S3's limits: every part but the last has at least 5 MiB, none has more than 5 GiB, and
/// there are at most 10,000.
pub(super) const SMALLEST: u64 = 5 * MIB;
pub(super) const LARGEST: u64 = 5 << 30;
pub(super) const MOST: u64 = 10_000;
/// Where the source has no parts to follow.
const CHOSEN: u64 = 64 * MIB;

/// One part: its number counts from 1, its bytes are `first..=last` of the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) number: i32,
    pub(super) first: u64,
    pub(super) size: u64,
}

impl Part {
    /// The value of `x-amz-copy-source-range`.
    pub(super) fn range(&self) -> String {
        format!("bytes={}-{}", self.first, self.first + self.size - 1)
    }
}

/// Parts of the given sizes, one after the other.
pub(super) fn of_sizes(sizes: impl IntoIterator<Item = u64>) -> Vec<Part> {
    let mut first = 0;
    (1..)
        .zip(sizes)
        .map(|(number, size)| {
            let part = Part { number, first, size };
            first += size;
            part
        })
        .collect()
}

/// Parts of one size, the last one shorter. An empty object has one empty part.
pub(super) fn uniform(size: u64, part_size: u64) -> Vec<Part> {
    let count = size.div_ceil(part_size).max(1);
    of_sizes((0..count).map(|index| part_size.min(size - index * part_size)))
}

/// Parts for an object whose source has none to follow: 64 MiB each, more where 10,000 of
/// those do not suffice.
pub(super) fn chosen(size: u64) -> Vec<Part> {
    uniform(size, CHOSEN.max(size.div_ceil(MOST).next_multiple_of(MIB)))
}

/// The source's own parts, told from the size of the first and their number; `None` if
/// those do not fit together. Only the copy's ETag can prove the guess.
pub(super) fn guessed(size: u64, first: u64, count: u64) -> Option<Vec<Part>> {
    let fits = first > 0 && size.div_ceil(first) == count || size == 0 && count == 1;
    fits.then(|| uniform(size, first.max(1)))
}

/// Whether S3 takes these parts.
pub(super) fn legal(parts: &[Part]) -> bool {
    let but_last = parts.len().saturating_sub(1);
    parts.len() as u64 <= MOST
        && parts.iter().all(|part| part.size <= LARGEST)
        && parts.iter().take(but_last).all(|part| part.size >= SMALLEST)
}

/// The parts that this object is likely to be copied in; `None` for one CopyObject.
fn foreseen(entry: &Entry) -> Option<u64> {
    match entry.etag {
        ETag::Multipart(_, count) => Some(u64::from(count)),
        _ if entry.size > super::single::LARGEST => Some(chosen(entry.size).len() as u64),
        _ => None,
    }
}

/// How many requests at once this object keeps busy, on average: its parts go together, the
/// four requests around them one after the other. One that is streamed whole takes as much of
/// the line as others' parts.
pub(crate) fn breadth(entry: &Entry, streams: bool) -> usize {
    let whole = if streams { entry.size.div_ceil(STREAMED).max(1) } else { 1 };
    usize::try_from(foreseen(entry).map_or(whole, |parts| parts.div_ceil(5))).unwrap_or(usize::MAX)
}

/// What a streamed object of one piece is counted in.
const STREAMED: u64 = 64 << 20;

/// The requests that copying this object takes when nothing goes wrong.
pub(crate) fn foresee(entry: &Entry, streams: bool) -> Vec<(Operation, u64)> {
    use Operation::*;
    let Some(parts) = foreseen(entry) else {
        return match streams {
            true => {
                vec![(ListObjectAnnotations, 1), (GetObject, 1), (GetObjectTagging, 1), (PutObject, 1)]
            }
            false => vec![(CopyObject, 1)],
        };
    };
    let copies = match streams {
        true => vec![(GetObject, parts), (UploadPart, parts)],
        false => vec![(UploadPartCopy, parts)],
    };
    let besides =
        [HeadObject, GetObjectTagging, ListObjectAnnotations, CreateMultipartUpload, CompleteMultipartUpload];
    besides.into_iter().map(|operation| (operation, 1)).chain(copies).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// S3's largest object: 50 TB.
    const LARGEST_OBJECT: u64 = 50_000_000_000_000;

    fn covers(parts: &[Part], size: u64) {
        let mut next = 0;
        for (index, part) in parts.iter().enumerate() {
            assert_eq!((part.number as usize, part.first), (index + 1, next));
            next += part.size;
        }
        assert_eq!(next, size);
    }

    #[test]
    fn a_guess_is_made_only_where_number_and_size_fit() {
        assert_eq!(guessed(25, 10, 3), Some(of_sizes([10, 10, 5])));
        assert_eq!(guessed(25, 10, 2), None);
        assert_eq!(guessed(20, 10, 2), Some(of_sizes([10, 10])));
        assert_eq!(guessed(10, 10, 1), Some(of_sizes([10])));
        assert_eq!(guessed(0, 0, 1), Some(of_sizes([0])));
        assert_eq!(guessed(10, 0, 1), None);
    }

    #[test]
    fn a_range_names_its_first_and_last_byte() {
        assert_eq!(uniform(25, 10)[1].range(), "bytes=10-19");
        assert_eq!(uniform(25, 10)[2].range(), "bytes=20-24");
    }

    #[test]
    fn parts_that_s3_would_refuse_are_known() {
        assert!(legal(&of_sizes([SMALLEST, 1])));
        assert!(!legal(&of_sizes([SMALLEST - 1, 1])));
        assert!(!legal(&of_sizes([LARGEST + 1])));
        assert!(!legal(&of_sizes(vec![SMALLEST; 10_001])));
    }

    proptest! {
        #[test]
        fn chosen_parts_cover_any_object_within_the_limits(size in 0..=LARGEST_OBJECT) {
            let parts = chosen(size);
            covers(&parts, size);
            prop_assert!(legal(&parts));
        }

        #[test]
        fn a_guess_covers_the_object(size in 1u64..1 << 40, first in 1u64 << 20..1 << 33) {
            if let Some(parts) = guessed(size, first, size.div_ceil(first)) {
                covers(&parts, size);
            }
        }
    }
}

//! Which objects to copy: the step of a merge of two ordered listings, and the decision for
//! each pair. Pure.

use jiff::{SignedDuration, Timestamp};

use crate::ETag;
use crate::list::Entry;
use crate::report::Reason;

/// An object overwritten while its copy is made can carry an older time than the copy: no
/// copy takes longer than this.
const MARGIN: SignedDuration = SignedDuration::from_mins(15);
/// The same for an object of parts, whose time is that of its upload's opening: what was there
/// before may have been copied while the upload was open.
const MARGIN_OF_PARTS: SignedDuration = SignedDuration::from_hours(24);

/// One key, and on which sides it is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Pair {
    Source(Entry),
    Both(Entry, Entry),
    Destination(Entry),
}

/// Takes the lesser head, or both where they are one key.
pub(crate) fn pair(source: &mut Option<Entry>, destination: &mut Option<Entry>) -> Option<Pair> {
    use std::cmp::Ordering;
    let order = match (&*source, &*destination) {
        (None, None) => return None,
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (Some(a), Some(b)) => a.key.as_bytes().cmp(b.key.as_bytes()),
    };
    match order {
        Ordering::Less => source.take().map(Pair::Source),
        Ordering::Greater => destination.take().map(Pair::Destination),
        Ordering::Equal => source.take().zip(destination.take()).map(|(a, b)| Pair::Both(a, b)),
    }
}

/// What to do with an object that is on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    Skip,
    Copy(Reason),
    /// Two ETags of one kind differ: whether that means anything depends on SSE-KMS, which
    /// the listing does not show.
    AskEncryption,
}

/// Whether plain ETags are MD5s on both sides, and those of parts made of MD5s. Under SSE-KMS
/// they are not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum PlainEtags {
    #[default]
    Unknown,
    Comparable,
    Incomparable,
}

/// Whether the copy at the destination is still the source's object.
pub(crate) fn decide(source: &Entry, destination: &Entry, plain: PlainEtags) -> Decision {
    if source.size != destination.size {
        return Decision::Copy(Reason::SizeDiffers);
    }
    if source.etag.proves(&destination.etag) {
        return Decision::Skip;
    }
    let comparable = match (&source.etag, &destination.etag) {
        (ETag::Plain(_), ETag::Plain(_)) => true,
        // A copy follows its source's parts.
        (ETag::Multipart(_, parts), ETag::Multipart(_, copied)) => parts == copied,
        _ => false,
    };
    match plain {
        PlainEtags::Unknown if comparable => Decision::AskEncryption,
        PlainEtags::Comparable if comparable => Decision::Copy(Reason::EtagDiffers),
        _ if source.modified > destination.modified => Decision::Copy(Reason::ModifiedSince),
        _ if is_newer(&source.etag, source.modified, destination.modified) => Decision::Copy(Reason::InDoubt),
        _ => Decision::Skip,
    }
}

/// Whether the checksums of both sides, for a HEAD each, may spare the copy: where the times
/// leave it in doubt, and where a server that tells no part sizes made of as many parts
/// another ETag.
pub(crate) fn is_doubtful(source: &Entry, reason: Reason) -> bool {
    match reason {
        Reason::InDoubt => true,
        Reason::EtagDiffers => matches!(source.etag, ETag::Multipart(..)),
        Reason::New | Reason::SizeDiffers | Reason::ModifiedSince => false,
    }
}

/// Whether the source was written after its copy was made, or so shortly before that the copy
/// may miss it.
pub(crate) fn is_newer(etag: &ETag, modified: Timestamp, copied: Timestamp) -> bool {
    let margin = match etag {
        ETag::Multipart(..) => MARGIN_OF_PARTS,
        _ => MARGIN,
    };
    modified > copied.saturating_sub(margin).unwrap_or(Timestamp::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: &str, size: u64, etag: &str, minute: i64) -> Entry {
        Entry {
            key: key.into(),
            size,
            etag: ETag::parse(etag),
            modified: Timestamp::from_second(minute * 60).expect("in range"),
            archived: crate::list::Archived::No,
        }
    }

    const A: &str = "0cc175b9c0f1b6a831c399e269772661";
    const B: &str = "92eb5ffee6ae2fec3ad71c777531578f";

    fn decided(source: (u64, &str, i64), destination: (u64, &str, i64), plain: PlainEtags) -> Decision {
        decide(
            &entry("k", source.0, source.1, source.2),
            &entry("k", destination.0, destination.1, destination.2),
            plain,
        )
    }

    #[test]
    fn an_object_is_copied_when_it_differs_and_only_then() {
        use PlainEtags::{Comparable, Incomparable, Unknown};
        let a2 = &format!("{A}-2");
        let (b2, b3) = (&format!("{B}-2"), &format!("{B}-3"));
        for (source, destination, plain, expected) in [
            ((1, A, 0), (1, A, 900), Unknown, Decision::Skip),
            ((1, A, 900), (1, A, 0), Comparable, Decision::Skip),
            ((2, A, 0), (1, A, 900), Unknown, Decision::Copy(Reason::SizeDiffers)),
            ((1, A, 0), (1, B, 900), Unknown, Decision::AskEncryption),
            ((1, A, 0), (1, B, 900), Comparable, Decision::Copy(Reason::EtagDiffers)),
            // An ETag that says nothing: the times decide, less the margin.
            ((1, A, 0), (1, B, 900), Incomparable, Decision::Skip),
            ((1, A, 901), (1, B, 900), Incomparable, Decision::Copy(Reason::ModifiedSince)),
            ((1, A, 900), (1, B, 900), Incomparable, Decision::Copy(Reason::InDoubt)),
            ((1, A, 886), (1, B, 900), Incomparable, Decision::Copy(Reason::InDoubt)),
            ((1, A, 885), (1, B, 900), Incomparable, Decision::Skip),
            ((1, a2, 0), (1, A, 1440), Comparable, Decision::Skip),
            // Its upload may have been open when the copy was made.
            ((1, a2, 0), (1, A, 1439), Comparable, Decision::Copy(Reason::InDoubt)),
            ((1, a2, 0), (1, b2, 900), Unknown, Decision::AskEncryption),
            ((1, a2, 0), (1, b2, 900), Comparable, Decision::Copy(Reason::EtagDiffers)),
            ((1, a2, 0), (1, b2, 1440), Incomparable, Decision::Skip),
            // Not parted alike: made by another tool.
            ((1, a2, 0), (1, b3, 1440), Comparable, Decision::Skip),
            ((1, a2, 900), (1, b3, 900), Comparable, Decision::Copy(Reason::InDoubt)),
            ((1, "", 901), (1, A, 900), Comparable, Decision::Copy(Reason::ModifiedSince)),
            // Servers that list no ETags at all.
            ((1, "", 900), (1, "", 900), Comparable, Decision::Copy(Reason::InDoubt)),
            ((1, "", 0), (1, "", 900), Comparable, Decision::Skip),
        ] {
            assert_eq!(decided(source, destination, plain), expected, "{source:?} {destination:?} {plain:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_join_yields_every_key_of_either_side_once_in_order(
            source in proptest::collection::btree_set("[a/\\-é]{0,3}", 0..12),
            destination in proptest::collection::btree_set("[a/\\-é]{0,3}", 0..12),
        ) {
            let mut left = source.iter().map(|key| entry(key, 0, A, 0)).peekable();
            let mut right = destination.iter().map(|key| entry(key, 0, A, 0)).peekable();
            let (mut a, mut b) = (left.next(), right.next());
            let mut seen = Vec::new();
            while let Some(pair) = pair(&mut a, &mut b) {
                let (key, on) = match pair {
                    Pair::Source(entry) => (entry.key, (true, false)),
                    Pair::Destination(entry) => (entry.key, (false, true)),
                    Pair::Both(entry, _) => (entry.key, (true, true)),
                };
                seen.push((key, on));
                a = a.or_else(|| left.next());
                b = b.or_else(|| right.next());
            }
            let expected: Vec<_> = source
                .union(&destination)
                .map(|key| (key.clone(), (source.contains(key), destination.contains(key))))
                .collect();
            proptest::prop_assert_eq!(seen, expected);
        }
    }
}

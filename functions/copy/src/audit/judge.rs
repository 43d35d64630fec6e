//! What two descriptions of one key prove. Pure: no request, no clock.

use jiff::Timestamp;

use crate::diff::{Decision, PlainEtags, decide, is_newer};
use crate::list::{Archived, Entry};
use crate::verify::Facts;
use crate::{ETag, Failure, VerifiedBy};

/// One side's object, as it was last asked for.
pub(super) struct Seen {
    pub(super) facts: Facts,
    pub(super) modified: Timestamp,
}

/// What two descriptions prove.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Evidence {
    Same(VerifiedBy),
    Differs(Difference),
    Nothing,
}

/// How a copy differs from the source's object.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Difference {
    /// Its stable name.
    pub(super) error: &'static str,
    pub(super) message: String,
}

/// Whether the listings alone prove that the copy is the source's object. An ETag that is
/// none of S3's may be anything, such as a time.
pub(super) fn is_listed_identical(source: &Entry, copy: &Entry) -> bool {
    source.size == copy.size && same_etag(&source.etag, &copy.etag)
}

fn same_etag(source: &ETag, copy: &ETag) -> bool {
    source == copy && !matches!(source, ETag::Opaque(_))
}

/// Compares by the strongest evidence that both sides have.
pub(super) fn judge(source: &Facts, copy: &Facts) -> Evidence {
    if source.size != copy.size {
        let message = format!("it has {} at the source, its copy {}", bytes(source.size), bytes(copy.size));
        return Evidence::Differs(Difference { error: "SizeDiffers", message });
    }
    if source.size == 0 {
        return Evidence::Same(VerifiedBy::Bytes);
    }
    if same_etag(&source.etag, &copy.etag) {
        return Evidence::Same(VerifiedBy::Etag);
    }
    let common = source.checksums.iter().find_map(|(algorithm, value)| {
        let (_, other) = copy.checksums.iter().find(|(other, _)| other == algorithm)?;
        Some((algorithm, value, other))
    });
    match common {
        Some((_, value, other)) if value == other => Evidence::Same(VerifiedBy::Checksum),
        Some((algorithm, value, other)) => Evidence::Differs(Difference {
            error: "ChecksumDiffers",
            message: format!("its {algorithm} is {value} at the source, its copy's {other}"),
        }),
        None if is_md5(source) && is_md5(copy) => Evidence::Differs(Difference {
            error: "ETagDiffers",
            message: format!("its ETag is {} at the source, its copy's {}", source.etag, copy.etag),
        }),
        None => Evidence::Nothing,
    }
}

fn is_md5(facts: &Facts) -> bool {
    !facts.kms && matches!(facts.etag, ETag::Plain(_))
}

/// Why the ETags prove nothing.
pub(super) fn why_nothing(source: &Facts, copy: &Facts) -> String {
    let why = match (&source.etag, &copy.etag) {
        _ if source.kms || copy.kms => "under SSE-KMS ETags say nothing of the bytes",
        (ETag::Multipart(_, parts), ETag::Multipart(_, copied)) if parts == copied => {
            "their ETags differ, for other bytes or for parts cut at other places"
        }
        (ETag::Plain(_) | ETag::Multipart(..), ETag::Plain(_) | ETag::Multipart(..)) => {
            "they were uploaded in other parts, so their ETags cannot be compared"
        }
        _ => "the server's ETags say nothing of the bytes",
    };
    format!("both have {}, but {why}, and no checksum is on both sides", bytes(source.size))
}

/// Whether the copy was made before, or while, the source's object was written.
pub(super) fn is_outdated(source: &Seen, copy: &Seen) -> bool {
    is_newer(&source.facts.etag, source.modified, copy.modified)
}

/// Whether the next run would copy it, by what the listings will tell it.
pub(super) fn is_copied_anew(source: &Seen, copy: &Seen) -> bool {
    let plain = match source.facts.kms || copy.facts.kms {
        true => PlainEtags::Incomparable,
        false => PlainEtags::Comparable,
    };
    let entry = |seen: &Seen| Entry {
        key: String::new(),
        size: seen.facts.size,
        etag: seen.facts.etag.clone(),
        modified: seen.modified,
        archived: Archived::No,
    };
    matches!(decide(&entry(source), &entry(copy), plain), Decision::Copy(_))
}

/// What to do about a copy that is not the source's object.
pub(super) fn remedy(copied_anew: bool) -> &'static str {
    if copied_anew {
        "replicate: the next run copies it anew; if it stays, something else writes to the destination"
    } else {
        "replicate does not see this, as the listings are alike: move the copy away, then replicate"
    }
}

/// What to do about an object that is not at the destination.
pub(super) fn missing(source: &Entry) -> Failure {
    let (error, message, remedy) = if !source.archived.is_readable() {
        (
            "ObjectArchived",
            "in an archive tier at the source, and not at the destination",
            "restore it at the source (aws s3api restore-object), then replicate",
        )
    } else {
        ("NotCopied", "not at the destination", "replicate: the next run copies it")
    };
    Failure {
        error: error.into(),
        message: format!("{message}; written {}", source.modified),
        remedy: remedy.into(),
        request_id: None,
    }
}

fn bytes(size: u64) -> String {
    if size == 1 { "1 byte".to_owned() } else { format!("{size} bytes") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "0cc175b9c0f1b6a831c399e269772661";
    const B: &str = "92eb5ffee6ae2fec3ad71c777531578f";

    fn facts(size: u64, etag: &str, kms: bool, crc: Option<&str>) -> Facts {
        Facts {
            size,
            etag: ETag::parse(etag),
            kms,
            checksums: crc.map(|crc| ("CRC64NVME", crc.to_owned())).into_iter().collect(),
            composites: Vec::new(),
        }
    }

    fn named(evidence: &Evidence) -> &'static str {
        match evidence {
            Evidence::Same(VerifiedBy::Etag) => "etag",
            Evidence::Same(VerifiedBy::Checksum) => "checksum",
            Evidence::Same(VerifiedBy::Bytes) => "bytes",
            Evidence::Same(VerifiedBy::Size) => "size",
            Evidence::Differs(difference) => difference.error,
            Evidence::Nothing => "nothing",
        }
    }

    #[test]
    fn nothing_is_called_identical_without_a_proof_and_nothing_different_without_one() {
        let (a2, b2, b3) = (&format!("{A}-2"), &format!("{B}-2"), &format!("{B}-3"));
        for (source, copy, expected) in [
            (facts(1, A, false, None), facts(1, A, false, None), "etag"),
            (facts(1, a2, false, None), facts(1, a2, false, None), "etag"),
            (facts(1, A, false, None), facts(2, A, false, None), "SizeDiffers"),
            (facts(1, A, false, None), facts(1, B, false, None), "ETagDiffers"),
            (facts(1, A, false, None), facts(1, B, true, None), "nothing"),
            (facts(1, A, true, None), facts(1, B, false, None), "nothing"),
            (facts(1, a2, false, None), facts(1, B, false, None), "nothing"),
            // The same bytes, cut at other places, have such ETags.
            (facts(1, a2, false, None), facts(1, b2, false, None), "nothing"),
            (facts(1, a2, false, None), facts(1, b3, false, None), "nothing"),
            (facts(1, a2, false, Some("x")), facts(1, b3, false, Some("x")), "checksum"),
            (facts(1, a2, false, Some("x")), facts(1, b3, false, Some("y")), "ChecksumDiffers"),
            (facts(1, A, false, Some("x")), facts(1, B, true, Some("y")), "ChecksumDiffers"),
            // Another server's ETags may be times.
            (facts(1, "0x8D", false, None), facts(1, "0x8D", false, None), "nothing"),
            (facts(1, "", false, None), facts(1, "", false, None), "nothing"),
            (facts(0, A, true, None), facts(0, B, true, None), "bytes"),
        ] {
            assert_eq!(named(&judge(&source, &copy)), expected, "{source:?} {copy:?}");
        }
    }

    #[test]
    fn what_to_do_depends_on_whether_the_next_run_sees_the_difference() {
        let seen = |etag: &str, kms| Seen {
            facts: facts(1, etag, kms, None),
            modified: Timestamp::from_second(if kms { 90_000 } else { 0 }).expect("in range"),
        };
        assert!(is_copied_anew(&seen(A, false), &seen(B, false)));
        assert!(!is_copied_anew(&seen(A, false), &seen(B, true)), "under SSE-KMS the times decide");
        assert!(!is_copied_anew(&seen(A, false), &seen(A, false)), "other headers show in no listing");
    }
}

//! Whether a copy is the object that was listed. Pure: two descriptions in, a verdict out.

use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::types::{ChecksumType, ServerSideEncryption};

use crate::ETag;
use crate::report::VerifiedBy;

/// What one side says of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) size: u64,
    pub(crate) etag: ETag,
    /// Under SSE-KMS an ETag is no MD5.
    pub(crate) kms: bool,
    /// Checksums of the whole object, by algorithm.
    pub(crate) checksums: Vec<(&'static str, String)>,
    /// Checksums made of the parts' checksums. They depend on the parts: only where they are the
    /// same do they tell anything.
    pub(crate) composites: Vec<(&'static str, String)>,
}

impl From<&HeadObjectOutput> for Facts {
    fn from(head: &HeadObjectOutput) -> Self {
        let whole = head.checksum_type() != Some(&ChecksumType::Composite);
        let checksums = [
            ("CRC64NVME", head.checksum_crc64_nvme()),
            ("CRC32", head.checksum_crc32()),
            ("CRC32C", head.checksum_crc32_c()),
            ("SHA1", head.checksum_sha1()),
            ("SHA256", head.checksum_sha256()),
            ("SHA512", head.checksum_sha512()),
            ("MD5", head.checksum_md5()),
            ("XXHASH64", head.checksum_xxhash64()),
            ("XXHASH3", head.checksum_xxhash3()),
            ("XXHASH128", head.checksum_xxhash128()),
        ];
        // An older server sends no type, but a composite checksum ends in `-N`.
        let (checksums, composites) = checksums
            .into_iter()
            .filter_map(|(algorithm, value)| Some((algorithm, value?.to_owned())))
            .partition(|(_, value)| whole && !value.contains('-'));
        Self {
            size: head.content_length().and_then(|size| u64::try_from(size).ok()).unwrap_or_default(),
            etag: ETag::parse(head.e_tag().unwrap_or_default()),
            kms: is_kms(head.server_side_encryption()),
            checksums,
            composites,
        }
    }
}

pub(crate) fn is_kms(encryption: Option<&ServerSideEncryption>) -> bool {
    matches!(encryption, Some(ServerSideEncryption::AwsKms | ServerSideEncryption::AwsKmsDsse))
}

/// What two descriptions prove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Verified(VerifiedBy),
    Mismatch,
}

/// Compares by the strongest evidence that both sides have.
pub(crate) fn compare(source: &Facts, destination: &Facts) -> Verdict {
    if source.size != destination.size {
        return Verdict::Mismatch;
    }
    if source.etag.proves(&destination.etag) {
        return Verdict::Verified(VerifiedBy::Etag);
    }
    let common = source.checksums.iter().find_map(|(algorithm, value)| {
        let other = destination.checksums.iter().find(|(other, _)| other == algorithm)?;
        Some(other.1 == *value)
    });
    let has_same_parts = source.composites.iter().any(|composite| destination.composites.contains(composite));
    match common {
        None if has_same_parts => Verdict::Verified(VerifiedBy::Checksum),
        Some(true) => Verdict::Verified(VerifiedBy::Checksum),
        Some(false) => Verdict::Mismatch,
        None if comparable(source) && comparable(destination) => Verdict::Mismatch,
        None => Verdict::Verified(VerifiedBy::Size),
    }
}

/// Whether the ETag is the MD5 of the object's bytes.
fn comparable(facts: &Facts) -> bool {
    !facts.kms && matches!(facts.etag, ETag::Plain(_))
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

    #[test]
    fn checksums_of_parts_prove_what_is_the_same_and_refute_nothing() {
        let of = |sha: &str| Facts {
            composites: vec![("SHA256", sha.to_owned())],
            ..facts(1, &format!("{A}-2"), true, None)
        };
        let other = |sha: &str| Facts { etag: ETag::parse(&format!("{B}-2")), ..of(sha) };
        assert_eq!(compare(&of("x-2"), &other("x-2")), Verdict::Verified(VerifiedBy::Checksum));
        assert_eq!(compare(&of("x-2"), &other("y-2")), Verdict::Verified(VerifiedBy::Size));
    }

    #[test]
    fn the_strongest_common_evidence_decides() {
        use VerifiedBy::{Checksum, Etag, Size};
        for (source, destination, verdict) in [
            (facts(1, A, false, None), facts(1, A, false, None), Verdict::Verified(Etag)),
            (facts(1, "", false, None), facts(1, "", false, None), Verdict::Verified(Size)),
            (facts(1, A, false, None), facts(2, A, false, None), Verdict::Mismatch),
            (facts(1, A, false, None), facts(1, B, false, None), Verdict::Mismatch),
            (facts(1, A, false, None), facts(1, B, true, None), Verdict::Verified(Size)),
            (facts(1, A, true, None), facts(1, B, false, None), Verdict::Verified(Size)),
            (facts(1, A, false, Some("x")), facts(1, B, true, Some("x")), Verdict::Verified(Checksum)),
            (facts(1, A, false, Some("x")), facts(1, B, true, Some("y")), Verdict::Mismatch),
            (facts(1, &format!("{A}-2"), false, None), facts(1, B, false, None), Verdict::Verified(Size)),
        ] {
            assert_eq!(compare(&source, &destination), verdict, "{source:?} {destination:?}");
        }
    }
}

//! What a server says of an object's bytes, and whether given bytes are those. Pure.

use std::fmt;

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::types::ChecksumType;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crc_fast::{CrcAlgorithm, Digest as Crc, checksum_combine};
use md5::{Digest, Md5};
use serde::Serialize;
use sha1::Sha1;
use sha2::Sha256;

use crate::ETag;
use crate::verify::is_kms;

/// What proves that bytes are those of an object, the strongest first. A CRC64NVME comes
/// before an MD5: against accidents it is as good, and takes a fiftieth of the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// The CRC64NVME that S3 computes of every whole object.
    Crc64Nvme,
    /// The MD5 that the ETag is.
    Md5,
    /// The MD5 of the parts' MD5s that the ETag is.
    PartsMd5,
    /// A SHA-256 that the object was uploaded with.
    Sha256,
    /// A SHA-1 that the object was uploaded with.
    Sha1,
    /// A CRC32C that the object was uploaded with.
    Crc32c,
    /// A CRC32 that the object was uploaded with.
    Crc32,
    /// Nothing but the size.
    Size,
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Crc64Nvme => "CRC64NVME",
            Self::Md5 => "MD5",
            Self::PartsMd5 => "MD5 of its parts",
            Self::Sha256 => "SHA-256",
            Self::Sha1 => "SHA-1",
            Self::Crc32c => "CRC32C",
            Self::Crc32 => "CRC32",
            Self::Size => "size alone",
        })
    }
}

/// What a server says of an object's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    size: u64,
    etag: ETag,
    /// Under SSE-KMS, or with a customer's key, an ETag is no MD5.
    hidden: bool,
    /// Checksums of the whole object, as they are sent: base64.
    checksums: Vec<(Proof, String)>,
    /// The size of every part but the last, where it is known.
    part_size: Option<u64>,
}

macro_rules! evidence_from {
    ($answer:ty) => {
        impl From<&$answer> for Evidence {
            fn from(answer: &$answer) -> Self {
                let checksums = [
                    (Proof::Crc64Nvme, answer.checksum_crc64_nvme()),
                    (Proof::Sha256, answer.checksum_sha256()),
                    (Proof::Sha1, answer.checksum_sha1()),
                    (Proof::Crc32c, answer.checksum_crc32_c()),
                    (Proof::Crc32, answer.checksum_crc32()),
                ];
                let composite = answer.checksum_type() == Some(&ChecksumType::Composite);
                Self {
                    size: answer.content_length().and_then(|size| u64::try_from(size).ok()).unwrap_or(0),
                    etag: ETag::parse(answer.e_tag().unwrap_or_default()),
                    hidden: is_kms(answer.server_side_encryption())
                        || answer.sse_customer_algorithm().is_some(),
                    checksums: checksums
                        .into_iter()
                        .filter_map(|(proof, value)| Some((proof, value?.to_owned())))
                        // An older server sends no type, but a composite one ends in `-N`.
                        .filter(|(_, value)| !composite && !value.contains('-'))
                        .collect(),
                    part_size: None,
                }
            }
        }
    };
}

evidence_from!(GetObjectOutput);
evidence_from!(HeadObjectOutput);

impl Evidence {
    /// Only what a listing tells: whether the ETag is an MD5 is not known from that.
    #[must_use]
    pub fn listed(object: &super::Object) -> Self {
        let (size, etag) = (object.size, object.etag.clone());
        Self { size, etag, hidden: false, checksums: Vec::new(), part_size: None }
    }

    /// The number of parts, where the ETag proves more once their size is known.
    pub(super) fn needs_parts(&self) -> Option<u16> {
        match self.etag {
            ETag::Multipart(_, count @ 2..)
                if !self.hidden && self.part_size.is_none() && self.strongest() > Proof::PartsMd5 =>
            {
                Some(count)
            }
            _ => None,
        }
    }

    /// With the first part's size and the last one's. They tell the others' if those are all as
    /// large as the first.
    pub(super) fn with_parts(mut self, first: u64, last: u64) -> Self {
        if let ETag::Multipart(_, count) = self.etag
            && (1..=first).contains(&last)
            && first.checked_mul(u64::from(count) - 1).and_then(|all| all.checked_add(last))
                == Some(self.size)
        {
            self.part_size = Some(first);
        }
        self
    }

    /// The strongest proof that there can be.
    #[must_use]
    pub fn strongest(&self) -> Proof {
        let by_etag = match self.etag {
            _ if self.hidden => Proof::Size,
            ETag::Plain(_) => Proof::Md5,
            ETag::Multipart(_, 1) => Proof::PartsMd5,
            ETag::Multipart(..) if self.part_size.is_some() => Proof::PartsMd5,
            _ => Proof::Size,
        };
        let checksums = self.checksums.iter().map(|(proof, _)| *proof);
        checksums.chain([by_etag]).min().unwrap_or(Proof::Size)
    }

    /// Begins to judge bytes, from the first to the last.
    #[must_use]
    pub fn judge(&self) -> Judge {
        let hash = match self.strongest() {
            Proof::Crc64Nvme => Hash::Crc(Crc::new(CrcAlgorithm::Crc64Nvme)),
            Proof::Md5 => Hash::Md5(Md5::new()),
            Proof::PartsMd5 => Hash::Parts {
                part_size: self.part_size.unwrap_or(u64::MAX),
                part: Md5::new(),
                filled: 0,
                parts: Vec::new(),
            },
            Proof::Sha256 => Hash::Sha256(Sha256::new()),
            Proof::Sha1 => Hash::Sha1(Sha1::new()),
            Proof::Crc32c => Hash::Crc(Crc::new(CrcAlgorithm::Crc32Iscsi)),
            Proof::Crc32 => Hash::Crc(Crc::new(CrcAlgorithm::Crc32IsoHdlc)),
            Proof::Size => Hash::Nothing,
        };
        Judge { evidence: self.clone(), hash, size: 0 }
    }

    /// Judges by the CRC64NVMEs of consecutive pieces, each with its size in bytes; `None` if
    /// the server has no CRC64NVME.
    pub fn judge_pieces(&self, pieces: impl IntoIterator<Item = (u64, u64)>) -> Option<Verdict> {
        let stated = self.checksum(Proof::Crc64Nvme)?;
        let mut size = 0;
        let mut whole = Crc::new(CrcAlgorithm::Crc64Nvme).finalize();
        for (crc, length) in pieces {
            whole = checksum_combine(CrcAlgorithm::Crc64Nvme, whole, crc, length);
            size += length;
        }
        let same = size == self.size && STANDARD.encode(whole.to_be_bytes()) == stated;
        Some(if same { Verdict::Proven(Proof::Crc64Nvme) } else { Verdict::Refuted(Proof::Crc64Nvme) })
    }

    fn checksum(&self, wanted: Proof) -> Option<&str> {
        self.checksums.iter().find(|(proof, _)| *proof == wanted).map(|(_, value)| value.as_str())
    }
}

/// The CRC64NVME of bytes as they come. To join two of them costs as much as a mebibyte more.
#[derive(Clone, Copy, Debug)]
pub struct Crc64Nvme(Crc);

impl Default for Crc64Nvme {
    fn default() -> Self {
        Self(Crc::new(CrcAlgorithm::Crc64Nvme))
    }
}

impl Crc64Nvme {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Of all that was taken.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.finalize()
    }
}

/// What became of the bytes that were judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// They are the object's.
    Proven(Proof),
    /// They are not.
    Refuted(Proof),
}

/// Takes bytes in their order, and says at last whether they are the object's.
pub struct Judge {
    evidence: Evidence,
    hash: Hash,
    size: u64,
}

enum Hash {
    Nothing,
    Crc(Crc),
    Md5(Md5),
    Parts { part_size: u64, part: Md5, filled: u64, parts: Vec<ETag> },
    Sha1(Sha1),
    Sha256(Sha256),
}

impl Judge {
    /// Takes the next bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
        self.size += bytes.len() as u64;
        match &mut self.hash {
            Hash::Nothing => {}
            Hash::Crc(crc) => crc.update(bytes),
            Hash::Md5(md5) => md5.update(bytes),
            Hash::Sha1(sha1) => sha1.update(bytes),
            Hash::Sha256(sha256) => sha256.update(bytes),
            Hash::Parts { part_size, part, filled, parts } => {
                while !bytes.is_empty() {
                    let room = usize::try_from(*part_size - *filled).unwrap_or(usize::MAX);
                    let (now, rest) = bytes.split_at(bytes.len().min(room));
                    part.update(now);
                    *filled += now.len() as u64;
                    if *filled == *part_size {
                        parts.push(ETag::Plain(part.finalize_reset().into()));
                        *filled = 0;
                    }
                    bytes = rest;
                }
            }
        }
    }

    /// Whether all that was taken is the object.
    #[must_use]
    pub fn verdict(self) -> Verdict {
        let Self { evidence, hash, size } = self;
        let proof = evidence.strongest();
        let same_checksum = |bytes: &[u8]| evidence.checksum(proof) == Some(&STANDARD.encode(bytes));
        let same = match hash {
            Hash::Nothing => true,
            Hash::Crc(crc) if proof == Proof::Crc64Nvme => same_checksum(&crc.finalize().to_be_bytes()),
            // The upper half of a CRC32 is empty.
            Hash::Crc(crc) => same_checksum(&crc.finalize().to_be_bytes()[4..]),
            Hash::Sha1(sha1) => same_checksum(&sha1.finalize()),
            Hash::Sha256(sha256) => same_checksum(&sha256.finalize()),
            Hash::Md5(md5) => evidence.etag == ETag::Plain(md5.finalize().into()),
            Hash::Parts { part, filled, mut parts, .. } => {
                if filled > 0 || parts.is_empty() {
                    parts.push(ETag::Plain(part.finalize().into()));
                }
                ETag::of_parts(&parts).as_ref() == Some(&evidence.etag)
            }
        };
        if same && size == evidence.size { Verdict::Proven(proof) } else { Verdict::Refuted(proof) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"The quick brown fox jumps over the lazy dog";

    fn evidence(etag: &str, checksums: &[(Proof, &str)]) -> Evidence {
        Evidence {
            size: TEXT.len() as u64,
            etag: ETag::parse(etag),
            hidden: false,
            checksums: checksums.iter().map(|(proof, value)| (*proof, (*value).to_owned())).collect(),
            part_size: None,
        }
    }

    /// In pieces, as they come from a network.
    fn judged(evidence: &Evidence, bytes: &[u8]) -> Verdict {
        let mut judge = evidence.judge();
        bytes.chunks(5).for_each(|piece| judge.update(piece));
        judge.verdict()
    }

    /// Of `TEXT`, by md5sum, sha1sum, sha256sum, and other implementations of the CRCs.
    fn all() -> Vec<(Proof, Evidence)> {
        let checksum = |proof, value| (proof, evidence("opaque", &[(proof, value)]));
        vec![
            (Proof::Md5, evidence("9e107d9d372bb6826bd81d3542a419d6", &[])),
            checksum(Proof::Sha1, "L9ThxnotKPzthJ7hu3bnORuT6xI="),
            checksum(Proof::Sha256, "16j7swfXgJRpypq8sAguT41WUeRtPNt2LQLQvzfJ5ZI="),
            checksum(Proof::Crc32, "QU+jOQ=="),
            checksum(Proof::Crc32c, "ImIEBA=="),
        ]
    }

    #[test]
    fn every_proof_knows_its_bytes_and_refutes_a_flipped_bit() {
        for (proof, evidence) in all() {
            assert_eq!(judged(&evidence, TEXT), Verdict::Proven(proof));
            for place in 0..TEXT.len() {
                let mut flipped = TEXT.to_vec();
                flipped[place] ^= 4;
                assert_eq!(judged(&evidence, &flipped), Verdict::Refuted(proof), "{place}");
            }
            assert_eq!(judged(&evidence, &TEXT[1..]), Verdict::Refuted(proof));
        }
    }

    #[test]
    fn an_etag_of_parts_is_judged_by_parts_of_one_size() {
        let md5 = |bytes: &[u8]| ETag::Plain(Md5::digest(bytes).into());
        let parts: Vec<ETag> = TEXT.chunks(20).map(md5).collect();
        let etag = ETag::of_parts(&parts).expect("plain parts").to_string();
        let without = evidence(&etag, &[]);
        assert_eq!((without.strongest(), without.needs_parts()), (Proof::Size, Some(3)));
        for (first, last) in [(30, 3), (20, 4), (18, 5), (0, 43), (1, 41)] {
            assert_eq!(without.clone().with_parts(first, last).strongest(), Proof::Size, "{first}, {last}");
        }
        let with = without.with_parts(20, 3);
        assert_eq!(judged(&with, TEXT), Verdict::Proven(Proof::PartsMd5));
        assert_eq!(judged(&with, &TEXT.to_ascii_uppercase()), Verdict::Refuted(Proof::PartsMd5));
        let one = evidence(&ETag::of_parts(&[md5(TEXT)]).expect("plain").to_string(), &[]);
        assert_eq!(judged(&one, TEXT), Verdict::Proven(Proof::PartsMd5));
    }

    fn crc64nvme(bytes: &[u8]) -> u64 {
        let mut crc = Crc64Nvme::default();
        crc.update(bytes);
        crc.value()
    }

    #[test]
    fn pieces_are_judged_by_their_joined_crc() {
        let crc = STANDARD.encode(crc64nvme(TEXT).to_be_bytes());
        let stated = evidence("opaque", &[(Proof::Crc64Nvme, &crc)]);
        let pieces = |bytes: &[u8]| -> Vec<_> {
            bytes.chunks(7).map(|piece| (crc64nvme(piece), piece.len() as u64)).collect()
        };
        assert_eq!(stated.judge_pieces(pieces(TEXT)), Some(Verdict::Proven(Proof::Crc64Nvme)));
        let mut torn = pieces(TEXT);
        torn.swap(0, 1);
        assert_eq!(stated.judge_pieces(torn), Some(Verdict::Refuted(Proof::Crc64Nvme)));
        assert_eq!(judged(&stated, TEXT), Verdict::Proven(Proof::Crc64Nvme));
        assert_eq!(evidence("opaque", &[]).judge_pieces(pieces(TEXT)), None);
    }

    #[test]
    fn an_etag_under_another_key_is_no_md5() {
        let kms = Evidence { hidden: true, ..evidence("9e107d9d372bb6826bd81d3542a419d6", &[]) };
        assert_eq!(judged(&kms, b"other bytes"), Verdict::Refuted(Proof::Size));
        assert_eq!(judged(&kms, &TEXT.to_ascii_uppercase()), Verdict::Proven(Proof::Size));
    }
}

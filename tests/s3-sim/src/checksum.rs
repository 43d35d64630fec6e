//! Additional checksums: the five algorithms, whole-object and composite values.
//!
//! Of virtual content the "checksum" is that of its description, as its MD5 is.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use crc_fast::CrcAlgorithm;
use sha1::Digest as _;

use crate::content::Content;

/// A checksum algorithm of S3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChecksumAlgorithm {
    /// CRC32 (ISO HDLC).
    Crc32,
    /// CRC32C (Castagnoli).
    Crc32c,
    /// CRC64NVME, which S3 computes when no other was asked for.
    Crc64Nvme,
    /// SHA-1.
    Sha1,
    /// SHA-256.
    Sha256,
}

impl ChecksumAlgorithm {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Crc32, Self::Crc32c, Self::Crc64Nvme, Self::Sha1, Self::Sha256];

    /// Its name as S3 spells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Crc64Nvme => "CRC64NVME",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
        }
    }

    /// The algorithm called `name`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// The header that carries its values.
    pub(crate) fn header(self) -> &'static str {
        match self {
            Self::Crc32 => "x-amz-checksum-crc32",
            Self::Crc32c => "x-amz-checksum-crc32c",
            Self::Crc64Nvme => "x-amz-checksum-crc64nvme",
            Self::Sha1 => "x-amz-checksum-sha1",
            Self::Sha256 => "x-amz-checksum-sha256",
        }
    }

    /// True if a multipart object's whole-object value follows from its parts' values.
    #[must_use]
    pub fn combines(self) -> bool {
        !matches!(self, Self::Sha1 | Self::Sha256)
    }

    fn crc(self) -> Option<CrcAlgorithm> {
        match self {
            Self::Crc32 => Some(CrcAlgorithm::Crc32IsoHdlc),
            Self::Crc32c => Some(CrcAlgorithm::Crc32Iscsi),
            Self::Crc64Nvme => Some(CrcAlgorithm::Crc64Nvme),
            Self::Sha1 | Self::Sha256 => None,
        }
    }

    fn crc_value(self, crc: u64) -> Value {
        match self {
            Self::Crc64Nvme => Value::new(&crc.to_be_bytes()),
            _ => Value::new(&(crc as u32).to_be_bytes()),
        }
    }

    /// The whole-object value of `content`.
    pub(crate) fn of(self, content: &Content) -> Value {
        if let Some(algorithm) = self.crc() {
            let mut digest = crc_fast::Digest::new(algorithm);
            content.digest_input(|data| digest.update(data));
            return self.crc_value(digest.finalize());
        }
        if self == Self::Sha1 {
            let mut digest = sha1::Sha1::new();
            content.digest_input(|data| digest.update(data));
            return Value::new(&digest.finalize());
        }
        let mut digest = sha2::Sha256::new();
        content.digest_input(|data| digest.update(data));
        Value::new(&digest.finalize())
    }

    /// The whole-object value of parts joined, from the parts' values and lengths, without
    /// reading the parts again. `None` for algorithms that cannot.
    pub(crate) fn combine(self, parts: &[(Value, u64)]) -> Option<Value> {
        let algorithm = self.crc()?;
        let combined = parts.iter().fold(None, |sum: Option<u64>, (value, len)| {
            let value = value.as_integer();
            Some(match sum {
                None => value,
                Some(sum) => crc_fast::checksum_combine(algorithm, sum, value, *len),
            })
        });
        combined.map(|crc| self.crc_value(crc))
    }

    /// The composite value: the checksum of the parts' checksums.
    pub(crate) fn composite(self, parts: &[Value]) -> Value {
        let joined: Vec<u8> = parts.iter().flat_map(|part| part.bytes()).copied().collect();
        self.of(&Content::bytes(joined))
    }
}

/// A checksum's value: 4, 8, 20 or 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Value {
    len: u8,
    bytes: [u8; 32],
}

impl Value {
    fn new(value: &[u8]) -> Self {
        let mut bytes = [0; 32];
        bytes[..value.len()].copy_from_slice(value);
        Self { len: value.len() as u8, bytes }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    pub(crate) fn base64(&self) -> String {
        BASE64_STANDARD.encode(self.bytes())
    }

    fn as_integer(&self) -> u64 {
        self.bytes().iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.base64())
    }
}

/// The checksum of an object, with those of its parts if it has any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ObjectChecksum {
    pub(crate) algorithm: ChecksumAlgorithm,
    pub(crate) value: Value,
    /// The number behind a composite value; 0 for a whole-object value.
    pub(crate) composite_of: u32,
    pub(crate) parts: Vec<Value>,
    /// False for the CRC64NVME that S3 computes unasked: GetObjectAttributes then keeps the
    /// parts to itself.
    pub(crate) asked_for: bool,
}

impl ObjectChecksum {
    /// A whole-object checksum.
    pub(crate) fn whole(algorithm: ChecksumAlgorithm, content: &Content, asked_for: bool) -> Self {
        Self { algorithm, value: algorithm.of(content), composite_of: 0, parts: Vec::new(), asked_for }
    }

    pub(crate) fn type_name(&self) -> &'static str {
        if self.composite_of > 0 { "COMPOSITE" } else { "FULL_OBJECT" }
    }

    /// As it stands in headers: base64, and `-N` behind a composite one.
    pub(crate) fn text(&self) -> String {
        match self.composite_of {
            0 => self.value.base64(),
            parts => format!("{}-{parts}", self.value.base64()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_the_published_ones() {
        let check = Content::bytes("123456789");
        let hex = |algorithm: ChecksumAlgorithm| {
            algorithm.of(&check).bytes().iter().map(|byte| format!("{byte:02x}")).collect::<String>()
        };
        assert_eq!(hex(ChecksumAlgorithm::Crc32), "cbf43926");
        assert_eq!(hex(ChecksumAlgorithm::Crc32c), "e3069283");
        assert_eq!(hex(ChecksumAlgorithm::Crc64Nvme), "ae8b14860a799888");
        assert_eq!(hex(ChecksumAlgorithm::Sha1), "f7c3bc1d808e04732adf679965ccc34ca7ae3441");
    }

    #[test]
    fn parts_combine_into_the_whole() {
        for algorithm in ChecksumAlgorithm::ALL {
            let parts = [Content::bytes("12345"), Content::bytes("6789")];
            let values: Vec<_> = parts.iter().map(|p| (algorithm.of(p), p.len())).collect();
            assert_eq!(
                algorithm.combine(&values),
                algorithm.combines().then(|| algorithm.of(&Content::join(parts)))
            );
        }
    }
}

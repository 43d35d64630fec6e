//! ETags as S3 spells them: 32 hex digits, and `-N` behind those of N parts.

use std::fmt;

use md5::{Digest, Md5};

/// An ETag without its quotes. Small and `Copy`, because there is one for every object.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ETag {
    digest: [u8; 16],
    /// 0 for an object that was written in one piece.
    parts: u32,
}

impl ETag {
    /// The ETag of an object written in one piece, or of one part.
    #[must_use]
    pub fn single(digest: [u8; 16]) -> Self {
        Self { digest, parts: 0 }
    }

    /// The ETag of a completed multipart upload: the MD5 of its parts' MD5s.
    pub fn multipart<'a>(parts: impl IntoIterator<Item = &'a ETag>) -> Self {
        let mut hasher = Md5::new();
        let mut count = 0;
        for part in parts {
            hasher.update(part.digest);
            count += 1;
        }
        Self { digest: hasher.finalize().into(), parts: count }
    }

    /// What stands there under SSE-KMS: as long as an MD5, yet not that of the bytes, and
    /// another one for every object.
    #[must_use]
    pub fn obscured(self, nonce: u64) -> Self {
        let mut hasher = Md5::new();
        hasher.update(self.digest);
        hasher.update(nonce.to_le_bytes());
        Self { digest: hasher.finalize().into(), parts: self.parts }
    }

    /// True for an object that was written in one piece.
    #[must_use]
    pub fn is_single(&self) -> bool {
        self.parts == 0
    }

    /// How many parts the object was written in, 0 if it was one piece.
    #[must_use]
    pub fn part_count(&self) -> u32 {
        self.parts
    }

    /// Appends the ETag without quotes.
    pub(crate) fn write_to(&self, out: &mut Vec<u8>) {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        for byte in self.digest {
            out.push(HEX[usize::from(byte >> 4)]);
            out.push(HEX[usize::from(byte & 15)]);
        }
        if self.parts > 0 {
            out.extend_from_slice(format!("-{}", self.parts).as_bytes());
        }
    }

    /// The form s3s puts into its answers.
    pub(crate) fn to_dto(self) -> s3s::dto::ETag {
        s3s::dto::ETag::Strong(self.to_string())
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = Vec::with_capacity(40);
        self.write_to(&mut out);
        f.write_str(&String::from_utf8_lossy(&out))
    }
}

impl fmt::Debug for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_one_piece_is_the_md5_in_hex() {
        let etag = ETag::single(Md5::digest(b"").into());
        assert_eq!(etag.to_string(), "d41d8cd98f00b204e9800998ecf8427e");
    }

    #[test]
    fn of_parts_is_the_md5_of_their_md5s_and_their_number() {
        let part = ETag::single(Md5::digest(b"").into());
        let mut joined = Vec::new();
        joined.extend_from_slice(&Md5::digest(b""));
        joined.extend_from_slice(&Md5::digest(b""));
        let expected = ETag::single(Md5::digest(&joined).into());
        assert_eq!(ETag::multipart([&part, &part]).to_string(), format!("{expected}-2"));
    }
}

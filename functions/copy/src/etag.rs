//! ETags as S3 makes them, in 24 bytes instead of a string.

use std::fmt;

use md5::{Digest, Md5};

/// An object's ETag.
///
/// S3 answers the MD5 of the bytes for an object uploaded in one piece, and the MD5 of the
/// parts' MD5s with `-N` behind it for one uploaded in N parts. Under SSE-KMS the ETag has
/// the same look but is no MD5: the text alone cannot tell.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ETag {
    /// 32 hexadecimal digits.
    Plain([u8; 16]),
    /// 32 hexadecimal digits, `-`, the number of parts.
    Multipart([u8; 16], u16),
    /// Anything else, as another server may answer.
    Opaque(Box<str>),
}

impl ETag {
    /// Reads an ETag with or without its quotes.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let text = text.trim_matches('"');
        Self::parse_s3(text).unwrap_or_else(|| Self::Opaque(text.into()))
    }

    fn parse_s3(text: &str) -> Option<Self> {
        let (digest, rest) = text.split_at_checked(32)?;
        let mut md5 = [0; 16];
        for (byte, digits) in md5.iter_mut().zip(digest.as_bytes().chunks_exact(2)) {
            *byte = hex(digits[0])? << 4 | hex(digits[1])?;
        }
        match rest.strip_prefix('-') {
            None if rest.is_empty() => Some(Self::Plain(md5)),
            // Only what `Display` would write back: a condition must quote the very text.
            Some(count) if !count.starts_with(['0', '+']) => Some(Self::Multipart(md5, count.parse().ok()?)),
            _ => None,
        }
    }

    /// The ETag that S3 gives an object made of these parts.
    #[must_use]
    pub(crate) fn of_parts(parts: &[ETag]) -> Option<Self> {
        let mut whole = Md5::new();
        for part in parts {
            let Self::Plain(md5) = part else { return None };
            whole.update(md5);
        }
        Some(Self::Multipart(whole.finalize().into(), u16::try_from(parts.len()).ok()?))
    }

    /// Whether both are known and the same. An object without an ETag is like no other.
    #[must_use]
    pub(crate) fn proves(&self, other: &Self) -> bool {
        self == other && !matches!(self, Self::Opaque(text) if text.is_empty())
    }

    /// The ETag as a condition's header carries it.
    #[must_use]
    pub(crate) fn quoted(&self) -> String {
        format!("\"{self}\"")
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(md5) => md5.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
            Self::Multipart(md5, parts) => write!(f, "{}-{parts}", Self::Plain(*md5)),
            Self::Opaque(text) => f.write_str(text),
        }
    }
}

/// Lower case only, as S3 writes it.
fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_etag_is_written_back_as_it_was_read() {
        for (text, plain, multipart) in [
            ("d41d8cd98f00b204e9800998ecf8427e", true, false),
            ("d41d8cd98f00b204e9800998ecf8427e-10000", false, true),
            ("d41d8cd98f00b204e9800998ecf8427e-1", false, true),
            ("D41D8CD98F00B204E9800998ECF8427E", false, false),
            ("d41d8cd98f00b204e9800998ecf8427e-01", false, false),
            ("d41d8cd98f00b204e9800998ecf8427e-", false, false),
            ("0x8DB2D6E1C4A0D5F", false, false),
            ("äöüäöüäöüäöüäöüäöü", false, false),
            ("", false, false),
        ] {
            let etag = ETag::parse(&format!("\"{text}\""));
            assert_eq!(etag.to_string(), text);
            assert_eq!(matches!(etag, ETag::Plain(_)), plain, "{text}");
            assert_eq!(matches!(etag, ETag::Multipart(..)), multipart, "{text}");
        }
    }

    #[test]
    fn an_etag_of_parts_is_the_md5_of_their_md5s() {
        // Two parts, "a" and "b", hashed with md5sum.
        let parts = ["0cc175b9c0f1b6a831c399e269772661", "92eb5ffee6ae2fec3ad71c777531578f"].map(ETag::parse);
        let whole = ETag::of_parts(&parts).expect("plain parts");
        assert_eq!(whole.to_string(), "96e024ba2074fe77e8e965ba43a704be-2");
        assert_eq!(ETag::of_parts(&[ETag::parse("opaque")]), None);
    }
}

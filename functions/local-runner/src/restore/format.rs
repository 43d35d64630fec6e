//! What a dump is wrapped in, told by its first bytes, and how to get it out. A name may say
//! anything: only the content counts.

use std::borrow::Cow;
use std::io::{self, BufReader, Cursor, Read, Seek, SeekFrom};

use zip::{CompressionMethod, ZipArchive};

use super::object::{ObjectReader, Seal};

/// Layers of packing, such as gzip in zip, before this is called no dump.
const LAYERS: usize = 3;
/// What is looked at to tell what it is.
const HEAD: usize = 4096;

/// What is in the wrapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// Statements.
    Sql,
    /// What `pg_dump --format=custom` writes.
    PostgresCustom,
}

/// A dump, unwrapped as it is read.
pub(crate) struct Dump {
    pub(crate) content: Content,
    /// The names of its layers, from the outer one: `gzip`, …
    pub(crate) layers: Vec<&'static str>,
    /// Its first bytes, up to four KiB, which `reader` reads again.
    pub(crate) head: Vec<u8>,
    pub(crate) reader: Box<dyn Read + Send>,
    /// Tells in the end whether the object's bytes were right. A zip archive is not read
    /// from end to end: its own CRC-32 tells there.
    pub(crate) seal: Option<Seal>,
}

/// Why no dump came out. Names no object: its caller does.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FormatError {
    #[error("it is empty")]
    Empty,
    #[error("it is {0}")]
    NotADump(&'static str),
    #[error("the zip archive holds {0}: name one of them with --entry")]
    Entries(String),
    #[error("the zip archive has no file `{0}`; it holds {1}")]
    NoEntry(String, String),
    #[error("`{0}` in the zip archive is encrypted: decrypt it first")]
    Encrypted(String),
    #[error("`{0}` in the zip archive is packed in a way that is not known here ({1}): unpack it first")]
    Method(String, String),
    #[error("it cannot be unpacked")]
    Read(#[from] io::Error),
}

/// Opens the dump in `object`; `entry` names a file of a zip archive.
pub(crate) fn open(mut object: ObjectReader, entry: Option<&str>) -> Result<Dump, FormatError> {
    let mut seal = Some(object.seal());
    let mut layers = Vec::new();
    let head = head_of(&mut object)?;
    let mut reader: Box<dyn Read + Send> = match Magic::of(&head) {
        Magic::Zip => {
            seal = None;
            layers.push("zip");
            zip_entry(object, entry)?
        }
        _ => Box::new(again(head, object)),
    };
    loop {
        let head = head_of(&mut reader)?;
        let unread = again(head.clone(), reader);
        let content = match Magic::of(&head) {
            Magic::Sql => Content::Sql,
            Magic::PostgresCustom => Content::PostgresCustom,
            Magic::Empty => return Err(FormatError::Empty),
            Magic::Other(what) => return Err(FormatError::NotADump(what)),
            _ if layers.len() == LAYERS => return Err(FormatError::NotADump("packed too many times")),
            Magic::Zip => return Err(FormatError::NotADump("a zip archive within another: unpack it first")),
            Magic::Gzip => {
                layers.push("gzip");
                reader = Box::new(flate2::read::MultiGzDecoder::new(unread));
                continue;
            }
            Magic::Bzip2 => {
                layers.push("bzip2");
                reader = Box::new(bzip2::read::MultiBzDecoder::new(unread));
                continue;
            }
            Magic::Zstd => {
                layers.push("zstd");
                let mut decoder = zstd::Decoder::new(unread)?;
                // What `zstd --ultra --long=31` makes asks for 2 GiB; more cannot be asked for.
                decoder.window_log_max(31)?;
                reader = Box::new(decoder);
                continue;
            }
        };
        return Ok(Dump { content, layers, head, reader: Box::new(unread), seal });
    }
}

fn again<R: Read>(head: Vec<u8>, rest: R) -> io::Chain<Cursor<Vec<u8>>, R> {
    Cursor::new(head).chain(rest)
}

fn head_of(reader: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(HEAD);
    reader.by_ref().take(HEAD as u64).read_to_end(&mut head)?;
    Ok(head)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Magic {
    Empty,
    Gzip,
    Zstd,
    Bzip2,
    Zip,
    PostgresCustom,
    Sql,
    Other(&'static str),
}

impl Magic {
    fn of(head: &[u8]) -> Self {
        match head {
            [] => Self::Empty,
            [0x1f, 0x8b, ..] => Self::Gzip,
            // A frame, or one to skip.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Self::Bzip2,
            [b'P', b'K', 3 | 5, 4 | 6, ..] => Self::Zip,
            _ if head.starts_with(b"PGDMP") => Self::PostgresCustom,
            _ if head.starts_with(b"\xfd7zXZ\0") => Self::Other("packed with xz: unpack it first (xz -d)"),
            _ if head.starts_with(b"7z\xbc\xaf\x27\x1c") => Self::Other("a 7z archive: unpack it first"),
            _ if head.starts_with(b"Salted__") => Self::Other("encrypted (openssl): decrypt it first"),
            _ if head.starts_with(b"-----BEGIN PGP") || head.starts_with(b"\x85") => {
                Self::Other("encrypted (PGP): decrypt it first")
            }
            _ if head.get(257..262) == Some(b"ustar") => Self::Other("a tar archive: unpack it first"),
            _ if head.starts_with(b"\xff\xfe") || head.starts_with(b"\xfe\xff") => {
                Self::Other("text in UTF-16, which no client reads: convert it to UTF-8 (iconv)")
            }
            // A dump may hold raw binary later on, but it begins with words.
            _ if head.iter().take(64).any(|byte| *byte == 0) => Self::Other("no database dump"),
            _ => Self::Sql,
        }
    }
}

/// The one file in a zip archive, by ranged reads: its directory is at the end.
fn zip_entry(object: ObjectReader, wanted: Option<&str>) -> Result<Box<dyn Read + Send>, FormatError> {
    let damaged = |error: zip::result::ZipError| io::Error::new(io::ErrorKind::InvalidData, error);
    let mut archive = ZipArchive::new(BufReader::with_capacity(64 << 10, object)).map_err(damaged)?;
    let mut files = Vec::new();
    for index in 0..archive.len() {
        let file = archive.by_index_raw(index).map_err(damaged)?;
        let name = file.name().map_err(damaged)?.into_owned();
        if !file.is_dir() && !name.starts_with("__MACOSX/") && wanted.is_none_or(|wanted| wanted == name) {
            files.push((index, name));
        }
    }
    let (index, name) = match &files[..] {
        [only] => only.clone(),
        [] if wanted.is_some() => {
            let all = (0..archive.len()).filter_map(|index| archive.name_for_index(index)?.ok());
            let there = names(all.map(Cow::into_owned).collect());
            return Err(FormatError::NoEntry(wanted.unwrap_or_default().to_owned(), there));
        }
        [] => return Err(FormatError::Empty),
        many => return Err(FormatError::Entries(names(many.iter().map(|file| file.1.clone()).collect()))),
    };
    let file = archive.by_index_raw(index).map_err(damaged)?;
    if file.encrypted() {
        return Err(FormatError::Encrypted(name));
    }
    let (method, packed, size, crc) = (file.compression(), file.compressed_size(), file.size(), file.crc32());
    let begins = file.data_start().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
    drop(file);
    let mut object = archive.into_inner();
    object.seek(SeekFrom::Start(begins))?;
    let packed = object.take(packed);
    let reader: Box<dyn Read + Send> = match method {
        CompressionMethod::Stored => Box::new(packed),
        CompressionMethod::DEFLATE => Box::new(flate2::bufread::DeflateDecoder::new(packed)),
        CompressionMethod::BZIP2 => Box::new(bzip2::bufread::BzDecoder::new(packed)),
        CompressionMethod::ZSTD => Box::new(zstd::Decoder::with_buffer(packed)?),
        method => return Err(FormatError::Method(name, method.to_string())),
    };
    Ok(Box::new(Checked { reader, crc: flate2::Crc::new(), wanted: (size, crc) }))
}

fn names(mut all: Vec<String>) -> String {
    const SHOWN: usize = 5;
    let more = all.len().saturating_sub(SHOWN);
    all.truncate(SHOWN);
    let list = all.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{list} and {more} more") } else { list }
}

/// Ends well only if the size and the CRC-32 are those of the archive's directory.
struct Checked {
    reader: Box<dyn Read + Send>,
    crc: flate2::Crc,
    wanted: (u64, u32),
}

impl Read for Checked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.crc.update(&buffer[..count]);
        // Its amount wraps at 4 GiB, and so does what it is compared with.
        let same = self.crc.sum() == self.wanted.1 && self.crc.amount() == self.wanted.0 as u32;
        if count == 0 && !buffer.is_empty() && !same {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "its CRC-32 or its size is not the archive's",
            ));
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_is_told_by_its_first_bytes() {
        for (head, magic) in [
            (&b"\x1f\x8b\x08\0"[..], Magic::Gzip),
            (b"\x28\xb5\x2f\xfd\x04", Magic::Zstd),
            (b"\x52\x2a\x4d\x18", Magic::Zstd),
            (b"BZh91AY", Magic::Bzip2),
            (b"PK\x03\x04", Magic::Zip),
            (b"PK\x05\x06", Magic::Zip),
            (b"PGDMP\x01\x0e", Magic::PostgresCustom),
            (b"-- MariaDB dump 10.19", Magic::Sql),
            (b"\xef\xbb\xbf-- with a mark", Magic::Sql),
            (b"", Magic::Empty),
        ] {
            assert_eq!(Magic::of(head), magic);
        }
        for other in [&b"\xfd7zXZ\0"[..], b"Salted__", b"\xff\xfe-\0-\0", b"SQLite format 3\0"] {
            assert!(matches!(Magic::of(other), Magic::Other(_)));
        }
    }
}

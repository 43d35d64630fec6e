//! A multipart upload that is open.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use crate::checksum::{ChecksumAlgorithm, Value};
use crate::content::Content;
use crate::etag::ETag;
use crate::state::object::{Encryption, Properties, StorageClass, Tags};

/// An open upload. What the object will be was said when it was initiated.
#[derive(Debug)]
pub(crate) struct Upload {
    pub(crate) key: String,
    pub(crate) id: String,
    pub(crate) initiated: SystemTime,
    pub(crate) properties: Arc<Properties>,
    pub(crate) tags: Arc<Tags>,
    pub(crate) website_redirect: Option<Arc<str>>,
    pub(crate) storage_class: StorageClass,
    pub(crate) encryption: Encryption,
    /// The additional checksum asked for; CRC64NVME over the whole if none was.
    pub(crate) checksum: Option<UploadChecksum>,
    pub(crate) parts: Mutex<BTreeMap<u16, Part>>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct UploadChecksum {
    pub(crate) algorithm: ChecksumAlgorithm,
    pub(crate) composite: bool,
}

impl Upload {
    /// The algorithm its parts' checksums are of.
    pub(crate) fn algorithm(&self) -> ChecksumAlgorithm {
        self.checksum.map_or(ChecksumAlgorithm::Crc64Nvme, |checksum| checksum.algorithm)
    }
}

/// A part that was uploaded or copied.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) content: Content,
    pub(crate) etag: ETag,
    pub(crate) checksum: Value,
    pub(crate) last_modified: SystemTime,
}

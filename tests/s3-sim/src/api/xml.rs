//! The XML of listings.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::encoding::{url_text, xml_text};
use crate::etag::ETag;
use crate::generated::GeneratedKeys;
use crate::state::{Restore, StorageClass, StoredObject};
use crate::time::iso8601;

/// What a listing says of an object.
pub(super) struct Listed {
    etag: ETag,
    size: u64,
    last_modified: SystemTime,
    storage_class: StorageClass,
    restore: Option<Restore>,
    checksum_algorithm: &'static str,
    checksum_type: &'static str,
}

impl Listed {
    pub(super) fn of(object: &StoredObject) -> Self {
        Self {
            etag: object.etag,
            size: object.content.len(),
            last_modified: object.last_modified,
            storage_class: object.storage_class,
            restore: object.restore,
            checksum_algorithm: object.checksum.algorithm.name(),
            checksum_type: object.checksum.type_name(),
        }
    }

    pub(super) fn generated(keys: &GeneratedKeys, key: &str) -> Self {
        Self {
            etag: keys.etag(key),
            size: keys.size(),
            last_modified: keys.last_modified(),
            storage_class: StorageClass::Standard,
            restore: None,
            checksum_algorithm: "CRC64NVME",
            checksum_type: "FULL_OBJECT",
        }
    }
}

/// XML under construction.
pub(super) struct Xml {
    out: Vec<u8>,
    /// True under `encoding-type=url`.
    encodes: bool,
    /// The moment written last: most keys of a page share it.
    moment: (SystemTime, String),
}

impl Xml {
    pub(super) fn new(encodes: bool, capacity: usize) -> Self {
        Self { out: Vec::with_capacity(capacity), encodes, moment: (UNIX_EPOCH, iso8601(UNIX_EPOCH)) }
    }

    /// A document with the element `root` open.
    pub(super) fn document(root: &str, encodes: bool, capacity: usize) -> Self {
        let mut xml = Self::new(encodes, capacity);
        xml.raw("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<");
        xml.raw(root);
        xml.raw(" xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
        xml
    }

    pub(super) fn len(&self) -> usize {
        self.out.len()
    }

    pub(super) fn append(&mut self, other: Xml) {
        self.out.extend_from_slice(&other.out);
    }

    /// The finished document.
    pub(super) fn close(mut self, root: &str) -> Vec<u8> {
        self.end(root);
        self.out
    }

    pub(super) fn raw(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    pub(super) fn start(&mut self, name: &str) {
        self.raw("<");
        self.raw(name);
        self.raw(">");
    }

    pub(super) fn end(&mut self, name: &str) {
        self.raw("</");
        self.raw(name);
        self.raw(">");
    }

    /// An element with text.
    pub(super) fn element(&mut self, name: &str, text: &str) {
        self.start(name);
        xml_text(&mut self.out, text);
        self.end(name);
    }

    /// An element that `encoding-type=url` applies to: a key, a prefix, a delimiter.
    pub(super) fn encoded(&mut self, name: &str, text: &str) {
        self.start(name);
        if self.encodes {
            url_text(&mut self.out, text);
        } else {
            xml_text(&mut self.out, text);
        }
        self.end(name);
    }

    pub(super) fn common_prefix(&mut self, prefix: &str) {
        self.start("CommonPrefixes");
        self.encoded("Prefix", prefix);
        self.end("CommonPrefixes");
    }

    pub(super) fn contents(
        &mut self,
        key: &str,
        listed: &Listed,
        owner: Option<&str>,
        with_restore_status: bool,
    ) {
        self.start("Contents");
        self.encoded("Key", key);
        self.listed(listed, owner, with_restore_status);
        self.end("Contents");
    }

    /// What stands behind the key.
    pub(super) fn listed(&mut self, listed: &Listed, owner: Option<&str>, with_restore_status: bool) {
        self.last_modified(listed.last_modified);
        self.raw("<ETag>&quot;");
        listed.etag.write_to(&mut self.out);
        self.raw("&quot;</ETag>");
        self.element("ChecksumAlgorithm", listed.checksum_algorithm);
        self.element("ChecksumType", listed.checksum_type);
        self.element("Size", &listed.size.to_string());
        if let Some(owner) = owner {
            self.raw("<Owner>");
            self.element("ID", owner);
            self.raw("</Owner>");
        }
        self.element("StorageClass", listed.storage_class.name());
        if let Some(restore) = listed.restore.filter(|_| with_restore_status) {
            self.start("RestoreStatus");
            match restore {
                Restore::InProgress => self.element("IsRestoreInProgress", "true"),
                Restore::Until(expiry) => {
                    self.element("IsRestoreInProgress", "false");
                    self.element("RestoreExpiryDate", &iso8601(expiry));
                }
            }
            self.end("RestoreStatus");
        }
    }

    pub(super) fn last_modified(&mut self, moment: SystemTime) {
        if self.moment.0 != moment {
            self.moment = (moment, iso8601(moment));
        }
        self.out.extend_from_slice(b"<LastModified>");
        self.out.extend_from_slice(self.moment.1.as_bytes());
        self.out.extend_from_slice(b"</LastModified>");
    }
}

//! What tests read from the state: everything about an object or an open upload at a moment.

use std::collections::BTreeMap;
use std::time::SystemTime;

use crate::content::Content;
use crate::state::object::{
    ContentHeaders, Encryption, Restore, StorageClass, StoredObject, Tags, VersionId,
};
use crate::state::upload::Upload;
use crate::sync::Locked;

/// Everything about an object.
#[derive(Clone, Debug, PartialEq)]
pub struct ObjectSnapshot {
    /// Its key.
    pub key: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its ETag without quotes.
    pub etag: String,
    /// The sizes of its parts, empty if it was written in one piece.
    pub part_sizes: Vec<u64>,
    /// User metadata, names without `x-amz-meta-`.
    pub user_metadata: BTreeMap<String, String>,
    /// Content-Type and its like.
    pub headers: ContentHeaders,
    /// Its tags.
    pub tags: Tags,
    /// Its storage class.
    pub storage_class: StorageClass,
    /// The restored copy, if it is archived and one was asked for.
    pub restore: Option<Restore>,
    /// Its checksum.
    pub checksum: ChecksumSnapshot,
    /// Its encryption.
    pub encryption: Encryption,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Entries of its user metadata that no header can carry.
    pub missing_meta: u32,
    /// Whether it is under retention.
    pub retained: bool,
    /// Its website redirect location.
    pub website_redirect: Option<String>,
    /// When it was last modified: for a multipart object, when the upload was initiated.
    pub last_modified: SystemTime,
    /// Its version, `None` for the null version.
    pub version_id: Option<String>,
    /// What it holds.
    pub content: Content,
}

/// An object's checksum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChecksumSnapshot {
    /// The algorithm as S3 spells it ("CRC64NVME").
    pub algorithm: &'static str,
    /// The value in base64, with `-N` behind it if it is composite.
    pub value: String,
    /// "FULL_OBJECT" or "COMPOSITE".
    pub kind: &'static str,
    /// False for the CRC64NVME that S3 computes unasked.
    pub asked_for: bool,
}

impl ObjectSnapshot {
    pub(crate) fn of(key: &str, object: &StoredObject) -> Self {
        let checksum = &object.checksum;
        Self {
            key: key.to_owned(),
            size: object.content.len(),
            etag: object.etag.to_string(),
            part_sizes: object.part_sizes.as_deref().map(<[u64]>::to_vec).unwrap_or_default(),
            user_metadata: object.properties.user_metadata.clone(),
            headers: object.properties.headers.clone(),
            tags: (*object.tags).clone(),
            storage_class: object.storage_class,
            restore: object.restore,
            checksum: ChecksumSnapshot {
                algorithm: checksum.algorithm.name(),
                value: checksum.text(),
                kind: checksum.type_name(),
                asked_for: checksum.asked_for,
            },
            annotations: (*object.extras.annotations).clone(),
            missing_meta: object.extras.missing_meta,
            retained: object.extras.retained,
            encryption: object.encryption.clone(),
            website_redirect: object.website_redirect.as_deref().map(str::to_owned),
            last_modified: object.last_modified,
            version_id: (object.version_id != VersionId::NULL).then(|| object.version_id.text()),
            content: object.content.clone(),
        }
    }
}

/// A multipart upload that was neither completed nor aborted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadSnapshot {
    /// The key it is for.
    pub key: String,
    /// Its upload id.
    pub upload_id: String,
    /// When it was initiated.
    pub initiated: SystemTime,
    /// The sizes of the parts it has, by part number.
    pub parts: BTreeMap<u16, u64>,
}

impl UploadSnapshot {
    pub(crate) fn of(upload: &Upload) -> Self {
        Self {
            key: upload.key.clone(),
            upload_id: upload.id.clone(),
            initiated: upload.initiated,
            parts: upload.parts.locked().iter().map(|(number, part)| (*number, part.content.len())).collect(),
        }
    }
}

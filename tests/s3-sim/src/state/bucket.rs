//! A bucket: its keys in the order of their UTF-8 bytes, written ones layered above
//! generated ones, each with one object or a history of versions.
//!
//! Promises: conditions are checked and the write is done under one lock; no lookup scans.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::SystemTime;

use s3s::S3Result;

use crate::checksum::{ChecksumAlgorithm, ObjectChecksum};
use crate::conditions::WriteConditions;
use crate::etag::ETag;
use crate::generated::GeneratedKeys;
use crate::state::object::{
    Encryption, Extras, NO_PROPERTIES, NO_TAGS, StorageClass, StoredObject, VersionId,
};
use crate::state::upload::Upload;
use crate::sync::ReadWrite;
use crate::time;

/// Whether a bucket keeps versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Versioning {
    /// It never did.
    #[default]
    Off,
    /// Every write makes a version.
    Enabled,
    /// It did; writes replace the null version.
    Suspended,
}

/// What can be set on a bucket.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    pub(crate) versioning: Versioning,
    pub(crate) encryption: Option<Encryption>,
    /// The account it belongs to, if not the simulator's own.
    pub(crate) owner: Option<String>,
    pub(crate) requester_pays: bool,
    /// Object Lock's default retention.
    pub(crate) retains: bool,
    /// A policy that denies unconditional writes.
    pub(crate) demands_conditions: bool,
}

pub(crate) struct Bucket {
    pub(crate) name: String,
    pub(crate) created: SystemTime,
    pub(crate) settings: RwLock<Settings>,
    pub(crate) uploads: Mutex<BTreeMap<(String, String), Arc<Upload>>>,
    generated: Option<GeneratedKeys>,
    written: RwLock<BTreeMap<Box<str>, Entry>>,
    next_version: AtomicU64,
}

/// What was written at a key.
#[derive(Clone, Debug)]
pub(crate) enum Entry {
    /// One object, the null version.
    Object(Arc<StoredObject>),
    /// A generated key that was deleted.
    Deleted,
    /// Versions, newest first; never empty.
    History(Vec<Version>),
}

#[derive(Clone, Debug)]
pub(crate) enum Version {
    Object(Arc<StoredObject>),
    DeleteMarker { id: VersionId, last_modified: SystemTime },
}

impl Version {
    pub(crate) fn id(&self) -> VersionId {
        match self {
            Version::Object(object) => object.version_id,
            Version::DeleteMarker { id, .. } => *id,
        }
    }
}

/// What a lookup finds.
pub(crate) enum Found {
    Object(Arc<StoredObject>),
    DeleteMarker(VersionId),
    Nothing,
}

/// What a deletion did.
#[derive(Debug, Default)]
pub(crate) struct Deleted {
    pub(crate) version_id: Option<VersionId>,
    pub(crate) is_marker: bool,
}

/// A key as a scan meets it.
pub(crate) enum Row<'a> {
    Written(&'a Entry),
    Generated(&'a GeneratedKeys),
}

/// How a scan goes on.
pub(crate) enum Step {
    Next,
    /// With the first key from here on.
    SeekTo(String),
    Stop,
}

impl Entry {
    pub(crate) fn latest(&self) -> Option<&Arc<StoredObject>> {
        match self {
            Entry::Object(object) => Some(object),
            Entry::Deleted => None,
            Entry::History(versions) => match versions.first() {
                Some(Version::Object(object)) => Some(object),
                _ => None,
            },
        }
    }

    fn find(&self) -> Found {
        match self {
            Entry::Object(object) => Found::Object(object.clone()),
            Entry::Deleted => Found::Nothing,
            Entry::History(versions) => versions.first().map_or(Found::Nothing, found),
        }
    }

    fn find_version(&self, id: VersionId) -> Found {
        match self {
            Entry::Object(object) if object.version_id == id => Found::Object(object.clone()),
            Entry::History(versions) => {
                versions.iter().find(|version| version.id() == id).map_or(Found::Nothing, found)
            }
            _ => Found::Nothing,
        }
    }
}

fn found(version: &Version) -> Found {
    match version {
        Version::Object(object) => Found::Object(object.clone()),
        Version::DeleteMarker { id, .. } => Found::DeleteMarker(*id),
    }
}

impl Bucket {
    pub(crate) fn new(name: &str, generated: Option<GeneratedKeys>) -> Self {
        Self {
            name: name.to_owned(),
            created: time::now(),
            settings: RwLock::default(),
            uploads: Mutex::default(),
            generated,
            written: RwLock::default(),
            next_version: AtomicU64::new(1),
        }
    }

    /// What is at `key` now.
    pub(crate) fn latest(&self, key: &str) -> Found {
        if let Some(entry) = self.written.reading().get(key) {
            return entry.find();
        }
        self.generated_object(key).map_or(Found::Nothing, |object| Found::Object(Arc::new(object)))
    }

    /// A version of `key`.
    pub(crate) fn version(&self, key: &str, id: VersionId) -> Found {
        if let Some(entry) = self.written.reading().get(key) {
            return entry.find_version(id);
        }
        match self.generated_object(key) {
            Some(object) if id == VersionId::NULL => Found::Object(Arc::new(object)),
            _ => Found::Nothing,
        }
    }

    /// Writes `object` at `key` if the conditions hold, and answers its version.
    pub(crate) fn write(
        &self,
        key: &str,
        mut object: StoredObject,
        conditions: &WriteConditions,
    ) -> S3Result<VersionId> {
        let versioning = self.settings.reading().versioning;
        let id = match versioning {
            Versioning::Enabled => self.new_version(),
            Versioning::Off | Versioning::Suspended => VersionId::NULL,
        };
        object.version_id = id;
        object.extras.retained |= self.settings.reading().retains;
        let object = Arc::new(object);
        let mut written = self.written.writing();
        if !conditions.is_empty() {
            conditions.check(self.etag_of(written.get(key), key))?;
        }
        match written.get_mut(key) {
            Some(Entry::History(versions)) => {
                push_version(versions, Version::Object(object));
            }
            Some(entry) if versioning == Versioning::Off => *entry = Entry::Object(object),
            None if versioning == Versioning::Off => {
                written.insert(key.into(), Entry::Object(object));
            }
            present => {
                let mut versions = self.history_of(present.as_deref(), key);
                push_version(&mut versions, Version::Object(object));
                written.insert(key.into(), Entry::History(versions));
            }
        }
        Ok(id)
    }

    /// Deletes what is at `key`, or sets a delete marker where versions are kept.
    pub(crate) fn delete(&self, key: &str) -> Deleted {
        let versioning = self.settings.reading().versioning;
        let mut written = self.written.writing();
        if versioning == Versioning::Off {
            let generated = self.generated.as_ref().is_some_and(|keys| keys.contains(key));
            if generated {
                written.insert(key.into(), Entry::Deleted);
            } else {
                written.remove(key);
            }
            return Deleted::default();
        }
        let id = match versioning {
            Versioning::Enabled => self.new_version(),
            _ => VersionId::NULL,
        };
        let mut versions = self.history_of(written.get(key), key);
        push_version(&mut versions, Version::DeleteMarker { id, last_modified: time::now() });
        written.insert(key.into(), Entry::History(versions));
        Deleted { version_id: Some(id), is_marker: true }
    }

    /// Deletes a version for good.
    pub(crate) fn delete_version(&self, key: &str, id: VersionId) -> Deleted {
        let mut written = self.written.writing();
        let mut versions = self.history_of(written.get(key), key);
        let mut deleted = Deleted { version_id: Some(id), is_marker: false };
        versions.retain(|version| {
            let gone = version.id() == id;
            deleted.is_marker |= gone && matches!(version, Version::DeleteMarker { .. });
            !gone
        });
        if !versions.is_empty() {
            written.insert(key.into(), Entry::History(versions));
        } else if self.generated.as_ref().is_some_and(|keys| keys.contains(key)) {
            written.insert(key.into(), Entry::Deleted);
        } else {
            written.remove(key);
        }
        deleted
    }

    /// Changes what is at `key` (its newest version, or the given one) in place. False if
    /// there is nothing.
    pub(crate) fn update(
        &self,
        key: &str,
        id: Option<VersionId>,
        change: impl FnOnce(&mut StoredObject),
    ) -> bool {
        let mut written = self.written.writing();
        let found = match (written.get(key), id) {
            (Some(entry), None) => entry.find(),
            (Some(entry), Some(id)) => entry.find_version(id),
            (None, _) => self
                .generated_object(key)
                .filter(|_| id.is_none_or(|id| id == VersionId::NULL))
                .map_or(Found::Nothing, |object| Found::Object(Arc::new(object))),
        };
        let Found::Object(object) = found else {
            return false;
        };
        let mut object = (*object).clone();
        let id = object.version_id;
        change(&mut object);
        let object = Arc::new(object);
        match written.get_mut(key) {
            Some(Entry::History(versions)) => {
                for version in versions {
                    if version.id() == id {
                        *version = Version::Object(object.clone());
                    }
                }
            }
            Some(entry) => *entry = Entry::Object(object),
            None => {
                written.insert(key.into(), Entry::Object(object));
            }
        }
        true
    }

    /// Visits keys in order from `start` on, deleted ones included. The lock is held for as
    /// long: visit a page, not a bucket.
    pub(crate) fn scan(&self, start: Bound<String>, mut visit: impl FnMut(&str, Row<'_>) -> Step) {
        let written = self.written.reading();
        let mut start = start;
        'seek: loop {
            let from = start.as_ref().map(String::as_str);
            let mut entries = written.range::<str, _>((from, Bound::Unbounded)).peekable();
            let mut index = self.generated.as_ref().map_or(0, |keys| keys.first_within(from));
            let generated_key = |index| {
                self.generated
                    .as_ref()
                    .filter(|keys| index < keys.count())
                    .map(|keys| (keys, keys.key(index)))
            };
            let mut generated = generated_key(index);
            loop {
                let step = match (entries.peek(), &generated) {
                    (None, None) => return,
                    (Some((key, entry)), None) => {
                        let step = visit(key, Row::Written(entry));
                        entries.next();
                        step
                    }
                    (Some((key, entry)), Some((_, other))) if ***key <= **other => {
                        if ***key == **other {
                            index += 1;
                            generated = generated_key(index);
                        }
                        let step = visit(key, Row::Written(entry));
                        entries.next();
                        step
                    }
                    (_, Some((keys, key))) => {
                        let step = visit(key, Row::Generated(keys));
                        index += 1;
                        generated = generated_key(index);
                        step
                    }
                };
                match step {
                    Step::Next => {}
                    Step::Stop => return,
                    Step::SeekTo(key) => {
                        start = Bound::Included(key);
                        continue 'seek;
                    }
                }
            }
        }
    }

    /// True if nothing is in it.
    pub(crate) fn is_empty(&self) -> bool {
        let mut empty = true;
        self.scan(Bound::Unbounded, |_, row| match row {
            Row::Written(Entry::Deleted) => Step::Next,
            _ => {
                empty = false;
                Step::Stop
            }
        });
        empty
    }

    fn new_version(&self) -> VersionId {
        VersionId(self.next_version.fetch_add(1, Ordering::Relaxed))
    }

    fn etag_of(&self, entry: Option<&Entry>, key: &str) -> Option<ETag> {
        match entry {
            Some(entry) => entry.latest().map(|object| object.etag),
            None => self.generated.as_ref().filter(|keys| keys.contains(key)).map(|keys| keys.etag(key)),
        }
    }

    /// The versions of a key, also where they were none so far.
    fn history_of(&self, entry: Option<&Entry>, key: &str) -> Vec<Version> {
        match entry {
            Some(Entry::History(versions)) => versions.clone(),
            Some(Entry::Object(object)) => vec![Version::Object(object.clone())],
            Some(Entry::Deleted) => Vec::new(),
            None => self
                .generated_object(key)
                .map(|object| Version::Object(Arc::new(object)))
                .into_iter()
                .collect(),
        }
    }

    fn generated_object(&self, key: &str) -> Option<StoredObject> {
        let keys = self.generated.as_ref().filter(|keys| keys.contains(key))?;
        let content = keys.content(key);
        Some(StoredObject {
            etag: ETag::single(content.md5()),
            part_sizes: None,
            checksum: Arc::new(ObjectChecksum::whole(ChecksumAlgorithm::Crc64Nvme, &content, false)),
            content,
            properties: NO_PROPERTIES.clone(),
            tags: NO_TAGS.clone(),
            website_redirect: None,
            storage_class: StorageClass::Standard,
            restore: None,
            extras: Extras::default(),
            encryption: Encryption::S3,
            last_modified: keys.last_modified(),
            version_id: VersionId::NULL,
        })
    }
}

/// Puts the newest version first; a null version replaces the one before it.
fn push_version(versions: &mut Vec<Version>, version: Version) {
    if version.id() == VersionId::NULL {
        versions.retain(|older| older.id() != VersionId::NULL);
    }
    versions.insert(0, version);
}

//! The state of the simulated S3, and the way tests reach into it without HTTP.
//!
//! Methods that name a bucket panic if there is none of that name: a test that misspells a
//! bucket should not pass.

mod bucket;
mod object;
mod snapshot;
mod upload;

use std::collections::HashMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::SystemTime;

pub use self::bucket::Versioning;
pub(crate) use self::bucket::{Bucket, Deleted, Entry, Found, Row, Step, Version};
pub use self::object::{ContentHeaders, Encryption, Object, Restore, StorageClass, Tags};
pub(crate) use self::object::{Extras, NO_PROPERTIES, NO_TAGS, Properties, StoredObject, VersionId};
pub use self::snapshot::{ChecksumSnapshot, ObjectSnapshot, UploadSnapshot};
pub(crate) use self::upload::{Part, Upload, UploadChecksum};
use crate::conditions::WriteConditions;
use crate::config::User;
use crate::generated::GeneratedKeys;
use crate::sync::{Locked, ReadWrite};
use crate::time;

/// Everything the simulator holds: users, buckets, objects, open uploads.
pub struct State {
    buckets: RwLock<HashMap<String, Arc<Bucket>>>,
    users: RwLock<HashMap<String, Arc<User>>>,
    account_id: String,
    nonce: AtomicU64,
}

impl State {
    pub(crate) fn new(users: &[User], account_id: &str) -> Self {
        Self {
            buckets: RwLock::default(),
            users: RwLock::new(
                users.iter().map(|user| (user.access_key.clone(), Arc::new(user.clone()))).collect(),
            ),
            account_id: account_id.to_owned(),
            nonce: AtomicU64::new(1),
        }
    }

    /// Creates a bucket. One that is there already stays as it is.
    pub fn create_bucket(&self, name: &str) {
        self.buckets.writing().entry(name.to_owned()).or_insert_with(|| Arc::new(Bucket::new(name, None)));
    }

    /// Creates a bucket with generated keys, in place of any of that name.
    pub fn create_generated_bucket(&self, name: &str, keys: GeneratedKeys) {
        self.buckets.writing().insert(name.to_owned(), Arc::new(Bucket::new(name, Some(keys))));
    }

    /// Deletes a bucket and all it holds. False if there was none.
    pub fn delete_bucket(&self, name: &str) -> bool {
        self.buckets.writing().remove(name).is_some()
    }

    /// Turns versioning on or off.
    pub fn set_versioning(&self, bucket: &str, versioning: Versioning) {
        self.expect_bucket(bucket).settings.writing().versioning = versioning;
    }

    /// Sets a bucket's default encryption.
    pub fn set_default_encryption(&self, bucket: &str, encryption: Encryption) {
        self.expect_bucket(bucket).settings.writing().encryption = Some(encryption);
    }

    /// Gives a bucket to another account, as if someone else had re-created it.
    pub fn set_bucket_owner(&self, bucket: &str, account_id: &str) {
        self.expect_bucket(bucket).settings.writing().owner = Some(account_id.to_owned());
    }

    /// Makes a bucket refuse requests without `x-amz-request-payer: requester`.
    pub fn set_requester_pays(&self, bucket: &str, requester_pays: bool) {
        self.expect_bucket(bucket).settings.writing().requester_pays = requester_pays;
    }

    /// Turns Object Lock on, with a default retention: every write makes a retained version, and
    /// bodies must come with a checksum.
    pub fn set_retention(&self, bucket: &str) {
        let bucket = self.expect_bucket(bucket);
        let mut settings = bucket.settings.writing();
        settings.versioning = Versioning::Enabled;
        settings.retains = true;
    }

    /// Makes a bucket refuse unconditional writes, as a policy can.
    pub fn demand_conditions(&self, bucket: &str) {
        self.expect_bucket(bucket).settings.writing().demands_conditions = true;
    }

    /// Adds a user, or replaces the one with the same access key.
    pub fn set_user(&self, user: User) {
        self.users.writing().insert(user.access_key.clone(), Arc::new(user));
    }

    /// Puts an object and answers what it is now.
    pub fn put(&self, bucket: &str, key: &str, object: Object) -> ObjectSnapshot {
        let bucket = self.expect_bucket(bucket);
        let default = bucket.settings.reading().encryption.clone();
        let mut stored = object.store(default.unwrap_or_default(), || self.nonce());
        stored.version_id =
            bucket.write(key, stored.clone(), &WriteConditions::default()).unwrap_or_default();
        ObjectSnapshot::of(key, &stored)
    }

    /// The object at `key`, if there is one.
    #[must_use]
    pub fn object(&self, bucket: &str, key: &str) -> Option<ObjectSnapshot> {
        match self.expect_bucket(bucket).latest(key) {
            Found::Object(object) => Some(ObjectSnapshot::of(key, &object)),
            _ => None,
        }
    }

    /// A version of the object at `key`.
    #[must_use]
    pub fn object_version(&self, bucket: &str, key: &str, version: &str) -> Option<ObjectSnapshot> {
        match self.expect_bucket(bucket).version(key, VersionId::parse(version)?) {
            Found::Object(object) => Some(ObjectSnapshot::of(key, &object)),
            _ => None,
        }
    }

    /// All keys in the order of their UTF-8 bytes.
    #[must_use]
    pub fn keys(&self, bucket: &str) -> Vec<String> {
        let mut keys = Vec::new();
        self.expect_bucket(bucket).scan(Bound::Unbounded, |key, row| {
            if !matches!(row, Row::Written(entry) if entry.latest().is_none()) {
                keys.push(key.to_owned());
            }
            Step::Next
        });
        keys
    }

    /// How many versions of objects there are, delete markers left out.
    #[must_use]
    pub fn versions(&self, bucket: &str) -> usize {
        let mut versions = 0;
        self.expect_bucket(bucket).scan(Bound::Unbounded, |_, row| {
            versions += match row {
                Row::Written(Entry::History(history)) => {
                    history.iter().filter(|version| matches!(version, Version::Object(_))).count()
                }
                Row::Written(entry) => usize::from(entry.latest().is_some()),
                Row::Generated(_) => 1,
            };
            Step::Next
        });
        versions
    }

    /// The multipart uploads that were neither completed nor aborted.
    #[must_use]
    pub fn open_uploads(&self, bucket: &str) -> Vec<UploadSnapshot> {
        // A completion locks an upload's parts before the bucket's uploads: never lock the
        // other way round.
        let uploads: Vec<_> = self.expect_bucket(bucket).uploads.locked().values().cloned().collect();
        uploads.iter().map(|upload| UploadSnapshot::of(upload)).collect()
    }

    /// Deletes an object, or sets a delete marker where versions are kept.
    pub fn delete(&self, bucket: &str, key: &str) {
        self.expect_bucket(bucket).delete(key);
    }

    /// Sets when an object was last modified, in whole seconds. False if there is none.
    pub fn set_last_modified(&self, bucket: &str, key: &str, last_modified: SystemTime) -> bool {
        self.expect_bucket(bucket).update(key, None, |object| {
            object.last_modified = time::whole_seconds(last_modified);
        })
    }

    /// Replaces an object's tags. False if there is none.
    pub fn set_tags(&self, bucket: &str, key: &str, tags: Tags) -> bool {
        self.expect_bucket(bucket).update(key, None, |object| object.tags = Arc::new(tags))
    }

    /// Moves an object into a storage class, as a lifecycle rule would. False if there is
    /// none.
    pub fn archive(&self, bucket: &str, key: &str, class: StorageClass) -> bool {
        self.expect_bucket(bucket).update(key, None, |object| {
            object.storage_class = class;
            object.restore = None;
        })
    }

    /// Moves an object of INTELLIGENT_TIERING into an archive tier, which no listing shows.
    /// False if there is none.
    pub fn archive_in_tier(&self, bucket: &str, key: &str) -> bool {
        self.expect_bucket(bucket).update(key, None, |object| {
            object.storage_class = StorageClass::IntelligentTiering;
            object.extras.in_archive_tier = true;
            object.restore = None;
        })
    }

    /// Restores an archived object, or says how far that is. False if there is none.
    pub fn restore(&self, bucket: &str, key: &str, restore: Restore) -> bool {
        self.expect_bucket(bucket).update(key, None, |object| object.restore = Some(restore))
    }

    pub(crate) fn bucket(&self, name: &str) -> Option<Arc<Bucket>> {
        self.buckets.reading().get(name).cloned()
    }

    pub(crate) fn buckets(&self) -> Vec<Arc<Bucket>> {
        let mut buckets: Vec<_> = self.buckets.reading().values().cloned().collect();
        buckets.sort_by(|a, b| a.name.cmp(&b.name));
        buckets
    }

    pub(crate) fn user(&self, access_key: &str) -> Option<Arc<User>> {
        self.users.reading().get(access_key).cloned()
    }

    pub(crate) fn account_id(&self) -> &str {
        &self.account_id
    }

    /// A number that no one got before.
    pub(crate) fn nonce(&self) -> u64 {
        self.nonce.fetch_add(1, Ordering::Relaxed)
    }

    fn expect_bucket(&self, name: &str) -> Arc<Bucket> {
        self.bucket(name).unwrap_or_else(|| panic!("the simulator has no bucket {name:?}"))
    }
}

//! An object: as tests hand it in, as the simulator keeps it, as tests read it.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::SystemTime;

use crate::checksum::{ChecksumAlgorithm, ObjectChecksum};
use crate::content::Content;
use crate::etag::ETag;
use crate::time;

/// The content headers an object keeps and gives back as they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct ContentHeaders {
    pub content_type: Option<String>,
    pub cache_control: Option<String>,
    pub content_disposition: Option<String>,
    pub content_encoding: Option<String>,
    pub content_language: Option<String>,
    /// As it came, whether or not it is a date.
    pub expires: Option<String>,
}

/// What CopyObject copies or replaces as one (`x-amz-metadata-directive`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Properties {
    pub(crate) headers: ContentHeaders,
    pub(crate) user_metadata: BTreeMap<String, String>,
}

/// An object's tags.
pub type Tags = BTreeMap<String, String>;

/// Properties and tags of objects without any, shared by all of those.
pub(crate) static NO_PROPERTIES: LazyLock<Arc<Properties>> = LazyLock::new(Arc::default);
pub(crate) static NO_TAGS: LazyLock<Arc<Tags>> = LazyLock::new(Arc::default);

/// A storage class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum StorageClass {
    #[default]
    Standard,
    ReducedRedundancy,
    StandardIa,
    OnezoneIa,
    IntelligentTiering,
    GlacierIr,
    Glacier,
    DeepArchive,
}

impl StorageClass {
    const ALL: [(&'static str, Self); 8] = [
        ("STANDARD", Self::Standard),
        ("REDUCED_REDUNDANCY", Self::ReducedRedundancy),
        ("STANDARD_IA", Self::StandardIa),
        ("ONEZONE_IA", Self::OnezoneIa),
        ("INTELLIGENT_TIERING", Self::IntelligentTiering),
        ("GLACIER_IR", Self::GlacierIr),
        ("GLACIER", Self::Glacier),
        ("DEEP_ARCHIVE", Self::DeepArchive),
    ];

    /// Its name as S3 spells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL[self as usize].0
    }

    /// The class called `name`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find_map(|(own, class)| (own == name).then_some(class))
    }

    /// True if objects must be restored before they can be read or copied.
    #[must_use]
    pub fn is_archive(self) -> bool {
        matches!(self, Self::Glacier | Self::DeepArchive)
    }
}

/// The restored copy of an archived object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restore {
    /// It was asked for and is not there yet.
    InProgress,
    /// It is there until the given moment.
    Until(SystemTime),
}

/// Server-side encryption of an object, or a bucket's default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Encryption {
    /// SSE-S3 (`AES256`).
    #[default]
    S3,
    /// SSE-KMS (`aws:kms`) with a key's id. ETags of such objects are not MD5s.
    Kms(Arc<str>),
}

/// A version's id. `null` for what was written while versioning was off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct VersionId(pub(crate) u64);

impl VersionId {
    pub(crate) const NULL: Self = Self(0);

    pub(crate) fn text(self) -> String {
        match self.0 {
            0 => "null".to_owned(),
            // Opaque to clients, as S3's are; the number can be read back from the end.
            id => format!("{:016x}{id:016x}", crate::random::mix(1, id)),
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text == "null" {
            return Some(Self::NULL);
        }
        let id = u64::from_str_radix(text.get(16..32)?, 16).ok()?;
        (Self(id).text() == text).then_some(Self(id))
    }
}

/// What few objects have.
#[derive(Clone, Debug, Default)]
pub(crate) struct Extras {
    pub(crate) annotations: Arc<BTreeMap<String, String>>,
    /// Entries of user metadata that no header can carry.
    pub(crate) missing_meta: u32,
    /// Under Object Lock's retention.
    pub(crate) retained: bool,
    /// In an archive tier of INTELLIGENT_TIERING.
    pub(crate) in_archive_tier: bool,
}

/// An object as the simulator keeps it. What copies share is behind `Arc`s.
#[derive(Clone, Debug)]
pub(crate) struct StoredObject {
    pub(crate) content: Content,
    pub(crate) etag: ETag,
    /// Sizes of the parts of a multipart object.
    pub(crate) part_sizes: Option<Arc<[u64]>>,
    pub(crate) checksum: Arc<ObjectChecksum>,
    pub(crate) properties: Arc<Properties>,
    pub(crate) tags: Arc<Tags>,
    pub(crate) website_redirect: Option<Arc<str>>,
    pub(crate) storage_class: StorageClass,
    pub(crate) restore: Option<Restore>,
    pub(crate) extras: Extras,
    pub(crate) encryption: Encryption,
    pub(crate) last_modified: SystemTime,
    pub(crate) version_id: VersionId,
}

impl StoredObject {
    /// True if it must be restored before it can be read.
    pub(crate) fn is_archived(&self) -> bool {
        (self.storage_class.is_archive() || self.extras.in_archive_tier)
            && !matches!(self.restore, Some(Restore::Until(_)))
    }
}

/// An object to be put into the state directly; its setters can be chained.
#[derive(Clone, Debug, Default)]
pub struct Object {
    pub(crate) content: Content,
    pub(crate) part_sizes: Vec<u64>,
    pub(crate) properties: Properties,
    pub(crate) tags: Tags,
    pub(crate) website_redirect: Option<String>,
    pub(crate) storage_class: StorageClass,
    pub(crate) encryption: Option<Encryption>,
    pub(crate) checksum: Option<ChecksumAlgorithm>,
    pub(crate) composite: bool,
    pub(crate) extras: Extras,
    pub(crate) last_modified: Option<SystemTime>,
}

impl Object {
    /// An object with the given content.
    #[must_use]
    pub fn new(content: Content) -> Self {
        Self { content, ..Self::default() }
    }

    /// An object of real bytes.
    pub fn bytes(bytes: impl Into<bytes::Bytes>) -> Self {
        Self::new(Content::bytes(bytes))
    }

    /// An object of `len` bytes that follow from `seed` and are not held.
    #[must_use]
    pub fn virtual_bytes(seed: u64, len: u64) -> Self {
        Self::new(Content::virtual_bytes(seed, len))
    }

    /// Makes it a multipart object with parts of `part_size` bytes, the last one shorter.
    #[must_use]
    pub fn with_part_size(self, part_size: u64) -> Self {
        let len = self.content.len();
        let sizes =
            (0..len.div_ceil(part_size).max(1)).map(|index| part_size.min(len - index * part_size)).collect();
        self.with_parts(sizes)
    }

    /// Makes it a multipart object with parts of these sizes, which must sum up to its own.
    #[must_use]
    pub fn with_parts(mut self, sizes: Vec<u64>) -> Self {
        assert_eq!(sizes.iter().sum::<u64>(), self.content.len(), "parts must sum up to the object's size");
        self.part_sizes = sizes;
        self
    }

    /// Sets the content headers.
    #[must_use]
    pub fn with_headers(mut self, headers: ContentHeaders) -> Self {
        self.properties.headers = headers;
        self
    }

    /// Sets the Content-Type.
    #[must_use]
    pub fn with_content_type(mut self, content_type: impl Into<String>) -> Self {
        self.properties.headers.content_type = Some(content_type.into());
        self
    }

    /// Adds user metadata (`x-amz-meta-NAME`).
    #[must_use]
    pub fn with_metadata(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.properties.user_metadata.insert(name.into().to_ascii_lowercase(), value.into());
        self
    }

    /// Adds a tag.
    #[must_use]
    pub fn with_tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.insert(key.into(), value.into());
        self
    }

    /// Sets the storage class. Archive classes are archived at once.
    #[must_use]
    pub fn with_storage_class(mut self, class: StorageClass) -> Self {
        self.storage_class = class;
        self
    }

    /// Sets the encryption instead of the bucket's default.
    #[must_use]
    pub fn with_encryption(mut self, encryption: Encryption) -> Self {
        self.encryption = Some(encryption);
        self
    }

    /// Gives it an additional checksum: composite for parts and an algorithm that S3 only
    /// composes (SHA), whole-object otherwise.
    #[must_use]
    pub fn with_checksum(mut self, algorithm: ChecksumAlgorithm) -> Self {
        self.checksum = Some(algorithm);
        self
    }

    /// Gives an object of parts a checksum of its parts' checksums.
    #[must_use]
    pub fn with_composite_checksum(mut self, algorithm: ChecksumAlgorithm) -> Self {
        self.composite = true;
        self.with_checksum(algorithm)
    }

    /// Adds an annotation.
    #[must_use]
    pub fn with_annotation(mut self, name: impl Into<String>, text: impl Into<String>) -> Self {
        Arc::make_mut(&mut self.extras.annotations).insert(name.into(), text.into());
        self
    }

    /// Gives it so many entries of user metadata that no header can carry.
    #[must_use]
    pub fn with_missing_meta(mut self, entries: u32) -> Self {
        self.extras.missing_meta = entries;
        self
    }

    /// Puts it under retention.
    #[must_use]
    pub fn with_retention(mut self) -> Self {
        self.extras.retained = true;
        self
    }

    /// Sets the website redirect location.
    #[must_use]
    pub fn with_website_redirect(mut self, location: impl Into<String>) -> Self {
        self.website_redirect = Some(location.into());
        self
    }

    /// Sets when it was last modified instead of now.
    #[must_use]
    pub fn with_last_modified(mut self, last_modified: SystemTime) -> Self {
        self.last_modified = Some(last_modified);
        self
    }

    /// As it is kept in a bucket whose default encryption is `default`.
    pub(crate) fn store(self, default: Encryption, nonce: impl Fn() -> u64) -> StoredObject {
        let Self { content, .. } = self;
        let encryption = self.encryption.unwrap_or(default);
        let obscure = |etag: ETag| match encryption {
            Encryption::S3 => etag,
            Encryption::Kms(_) => etag.obscured(nonce()),
        };
        let mut start = 0;
        let parts: Vec<Content> = self
            .part_sizes
            .iter()
            .map(|size| {
                start += size;
                content.slice(start - size..start)
            })
            .collect();
        let etag = if parts.is_empty() {
            obscure(ETag::single(content.md5()))
        } else {
            let etags: Vec<_> = parts.iter().map(|part| obscure(ETag::single(part.md5()))).collect();
            ETag::multipart(&etags)
        };
        let algorithm = self.checksum.unwrap_or(ChecksumAlgorithm::Crc64Nvme);
        let mut checksum = ObjectChecksum::whole(algorithm, &content, self.checksum.is_some());
        checksum.parts = parts.iter().map(|part| algorithm.of(part)).collect();
        if !parts.is_empty() && (self.composite || !algorithm.combines()) {
            checksum.value = algorithm.composite(&checksum.parts);
            checksum.composite_of = parts.len() as u32;
        }
        StoredObject {
            content,
            etag,
            part_sizes: (!parts.is_empty()).then(|| self.part_sizes.into()),
            checksum: Arc::new(checksum),
            properties: Arc::new(self.properties),
            tags: Arc::new(self.tags),
            website_redirect: self.website_redirect.map(Into::into),
            storage_class: self.storage_class,
            restore: None,
            extras: self.extras,
            encryption,
            last_modified: self.last_modified.map_or_else(time::now, time::whole_seconds),
            version_id: VersionId::NULL,
        }
    }
}

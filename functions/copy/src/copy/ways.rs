//! Ways around a refusal, and what a copy then goes without. What one object teaches is kept
//! for all of its source, so that a right that is missing is not asked for again and again.
//!
//! S3 copies no tagged object for those who may not read or write tags, not even if it is told
//! to leave them out. Such an object is streamed with the destination's own credentials: a
//! PutObject keeps the ETag, which UploadPartCopy of a single part would not.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

use super::{CopyError, Job, stream};
use crate::ETag;
use crate::list::Entry;
use crate::plan::Carry;
use crate::report::{Lack, Property, VerifiedBy};
use crate::rights::Said;
use crate::s3::Side;
use crate::{S3Error, S3ErrorKind, SourceName};

/// A copy that is at the destination.
#[derive(Debug)]
pub(super) struct Copied {
    pub(super) verified_by: VerifiedBy,
    pub(super) without: Vec<Lack>,
}

/// How an object is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Way {
    /// On the condition that nobody else wrote it meanwhile, which policies can demand.
    pub(super) conditional: bool,
    pub(super) tags: bool,
    pub(super) annotations: bool,
}

/// What the destination has to be like for a conditional write to be done.
#[derive(Debug)]
pub(super) enum Condition {
    Any,
    Absent,
    Is(String),
}

impl Condition {
    pub(super) fn if_none_match(&self) -> Option<String> {
        matches!(self, Self::Absent).then(|| "*".into())
    }

    pub(super) fn if_match(&self) -> Option<String> {
        match self {
            Self::Is(etag) => Some(etag.clone()),
            _ => None,
        }
    }
}

/// What the objects copied so far have taught.
#[derive(Debug, Default)]
pub(super) struct Learned {
    conditional: AtomicBool,
    /// Streams must come with a checksum.
    checksums: AtomicBool,
    tags_unreadable: OnceLock<Lack>,
    tags_unwritable: OnceLock<Lack>,
    /// Why CopyObject leaves annotations out.
    annotations: OnceLock<Lack>,
    /// Why they are not read one by one.
    unread_annotations: OnceLock<Lack>,
    /// The source's server does not know annotations.
    no_annotations: AtomicBool,
    /// Server-side copies are refused for the sake of tags.
    tags_stop_copies: AtomicBool,
    /// Refusals in a row that no way led around.
    in_vain: AtomicU32,
}

impl Learned {
    pub(super) fn source_has_none(&self) -> bool {
        self.no_annotations.load(Relaxed)
    }

    pub(super) fn learn_source_has_none(&self) {
        self.no_annotations.store(true, Relaxed);
    }

    pub(super) fn unread_annotations(&self) -> Option<Lack> {
        self.unread_annotations.get().cloned()
    }

    pub(super) fn learn_unread(&self, source: SourceName, lack: Lack) -> Lack {
        let learned = self.unread_annotations.get_or_init(|| {
            tracing::warn!(%source, because = lack.because, "copying without annotations");
            lack
        });
        learned.clone()
    }
}

/// Refusals in a row that are looked into: what is missing is not found out by more of them.
const LOOKED_INTO: u32 = 8;
/// What may be streamed for no more than a refused request costs: below it, no server-side copy
/// is tried that is likely to be refused for the sake of tags.
const CHEAP: u64 = 8 << 20;

impl Job {
    pub(super) fn way(&self) -> Way {
        Way {
            conditional: self.learned.conditional.load(Relaxed),
            tags: self.tags != Carry::Skip && self.learned.tags_unwritable.get().is_none(),
            annotations: self.annotations != Carry::Skip && self.learned.annotations.get().is_none(),
        }
    }

    /// The ways to write an object, the usual one first, each of the others for when those
    /// before it are refused.
    pub(super) fn ways(&self, may_drop: Option<Property>) -> Vec<Way> {
        let usual = self.way();
        let mut ways = vec![usual];
        if self.learned.in_vain.load(Relaxed) < LOOKED_INTO {
            let bare = match may_drop {
                Some(Property::Tags) if self.tags == Carry::Auto => Way { tags: false, ..usual },
                Some(Property::Annotations) if self.annotations == Carry::Auto => {
                    Way { annotations: false, ..usual }
                }
                _ => usual,
            };
            for way in [Way { conditional: true, ..usual }, bare, Way { conditional: true, ..bare }] {
                if !ways.contains(&way) {
                    ways.push(way);
                }
            }
        }
        ways
    }

    /// Keeps for the objects to come which way an object took, and why the others were refused.
    pub(super) fn learn_way(&self, way: Way, refused: Option<&S3Error>) {
        self.learned.in_vain.store(0, Relaxed);
        let Some(refused) = refused else { return };
        let usual = self.way();
        if way.conditional && !usual.conditional {
            tracing::info!(source = %self.name, "the destination takes conditional writes only");
            self.learned.conditional.store(true, Relaxed);
        }
        let lack = |property, remedy: String| {
            let because = format!("{refused}; {remedy}");
            tracing::warn!(source = %self.name, because, "copying without {property}");
            Lack { property, because }
        };
        let (source, destination) = (self.source.place(), self.destination.place());
        if usual.tags && !way.tags {
            let remedy = destination.allow("s3:PutObjectTagging").text;
            self.learned.tags_unwritable.get_or_init(|| lack(Property::Tags, remedy));
        }
        if usual.annotations && !way.annotations {
            let read = source.allow("s3:GetObjectAnnotation").text;
            let write = destination.allow("s3:PutObjectAnnotation").text;
            let remedy = format!("{read}, and {write}");
            self.learned.annotations.get_or_init(|| lack(Property::Annotations, remedy));
        }
    }

    /// Notes a refusal that no way led around.
    pub(super) fn note_in_vain(&self) {
        self.learned.in_vain.fetch_add(1, Relaxed);
    }

    /// What copies made this way go without, as far as rights are missing.
    pub(super) fn lacks_of(&self, way: Way) -> Vec<Lack> {
        let annotations = self.learned.annotations.get().filter(|_| !way.annotations);
        annotations.into_iter().cloned().collect()
    }

    /// What a write has to ask of the destination.
    pub(super) async fn condition(&self, way: Way, key: &str) -> Condition {
        if !way.conditional {
            return Condition::Any;
        }
        match self.head_destination(key).await {
            Ok(head) => Condition::Is(ETag::parse(head.e_tag().unwrap_or_default()).quoted()),
            Err(_) => Condition::Absent,
        }
    }

    /// Whether streamed bytes must come with a checksum, as Object Lock demands.
    pub(super) fn demands_checksums(&self) -> bool {
        self.learned.checksums.load(Relaxed)
    }

    /// Whether an error says that they must.
    pub(super) fn learn_checksums(&self, error: &S3Error) -> bool {
        let demanded = error.kind == S3ErrorKind::Refused && error.message.contains("Content-MD5");
        if demanded {
            self.learned.checksums.store(true, Relaxed);
        }
        demanded
    }

    /// The tags to write, or why there are none.
    pub(super) async fn tags_to_write(
        &self,
        source: &Side,
        key: &str,
        count: Option<i32>,
    ) -> Result<Tags, S3Error> {
        // Where they are counted they may be read, whatever others are.
        let readable = count.is_some_and(|count| count > 0);
        if let Some(lack) = self.learned.tags_unreadable.get().filter(|_| !readable) {
            return Ok(Tags { header: None, lack: Some(lack.clone()) });
        }
        let tags = self.tags(&self.caller, source, key, count).await;
        // The vendor's keys may do what the customer's own credentials may not.
        let others = self.may_switch && !self.streams();
        match tags {
            Err(error) if error.kind == S3ErrorKind::AccessDenied && self.tags == Carry::Auto && !others => {
                let because = format!("{error}; {}", source.remedy(&error).text);
                tracing::warn!(source = %self.name, because, "copying without tags");
                let lack = Lack { property: Property::Tags, because };
                Ok(Tags {
                    header: None,
                    lack: Some(self.learned.tags_unreadable.get_or_init(|| lack).clone()),
                })
            }
            tags => Ok(Tags { header: tags?, lack: None }),
        }
    }

    /// What a copy goes without, if it is written this way.
    pub(super) fn lacks(&self, way: Way, tags: &Tags, missing_meta: Option<i32>) -> Vec<Lack> {
        let unwritable = self.learned.tags_unwritable.get().filter(|_| tags.header.is_some() && !way.tags);
        let entries = missing_meta.filter(|entries| *entries > 0).map(|entries| Lack {
            property: Property::Metadata,
            because: format!("{entries} of its user metadata are no text that a header can carry"),
        });
        tags.lack.clone().into_iter().chain(unwritable.cloned()).chain(entries).collect()
    }

    /// Whether a server-side copy would cost more than it brings.
    pub(super) fn is_better_streamed(&self, entry: &Entry) -> bool {
        entry.size <= CHEAP && self.learned.tags_stop_copies.load(Relaxed)
    }

    /// Copies an object whose server-side copy is refused, if that is for the sake of its tags.
    pub(super) async fn around_tags(&self, entry: &Entry, refused: S3Error) -> Result<Copied, CopyError> {
        let in_vain = self.learned.in_vain.load(Relaxed) >= LOOKED_INTO;
        let other = Said::of(&refused.message).is_some_and(|said| !said.action.contains("Tagging"))
            || refused.code.starts_with("KMS.");
        if self.tags == Carry::Copy || self.streams() || in_vain || other {
            return Err(self.copy_error(refused, &entry.key).await);
        }
        self.or_gone(&entry.key).await?;
        let Ok(head) = self.head_source(&entry.key, Some(&entry.etag), None).await else {
            return Err(self.copy_error(refused, &entry.key).await);
        };
        if self.tags == Carry::Auto {
            let tags = self.tags_to_write(&self.source, &entry.key, head.tag_count()).await;
            let tags = tags.map_err(|error| self.error(error, &self.source))?;
            if tags.header.is_none() && tags.lack.is_none() {
                return Err(self.copy_error(refused, &entry.key).await);
            }
        }
        let copied = stream::copy(self, entry).await;
        if copied.is_ok() {
            self.learned.tags_stop_copies.store(true, Relaxed);
        }
        copied
    }
}

/// An object's tags as `x-amz-tagging` carries them.
#[derive(Clone, Debug, Default)]
pub(super) struct Tags {
    pub(super) header: Option<String>,
    /// Why they are not known.
    pub(super) lack: Option<Lack>,
}

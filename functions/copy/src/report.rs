//! What a run did: an [`Outcome`] for each object it acted on, and a [`Report`] with the
//! totals, the requests and their price. Counters take the same few bytes for any number of
//! objects; of the failures the first [`KEPT_FAILURES`] are kept, all are counted.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::HELD;
use crate::operation::Operation;
use crate::pieces::HandedOver;
use crate::{Remedy, SourceName};

/// Failures named in a report; the log names all.
pub(crate) const KEPT_FAILURES: usize = 1_000;

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Route {
    /// S3 copies: CopyObject and UploadPartCopy. One principal reads and writes.
    ServerSide,
    /// The run reads with the vendor's keys and writes with the customer's.
    Stream,
}

/// Why an object is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Not at the destination.
    New,
    /// Its size differs from the copy's.
    SizeDiffers,
    /// Its ETag differs, and both are MD5s or made of as many parts' MD5s.
    EtagDiffers,
    /// Its ETag cannot be compared, and it was modified after its copy was made.
    ModifiedSince,
    /// Its ETag cannot be compared, it was modified so shortly before its copy was made that
    /// the copy may miss it, and no checksum says that it does not.
    InDoubt,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::New => "new",
            Self::SizeDiffers => "size differs",
            Self::EtagDiffers => "ETag differs",
            Self::ModifiedSince => "modified since it was copied",
            Self::InDoubt => "modified shortly before it was copied",
        })
    }
}

/// Something of an object besides its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Property {
    /// Its tags, or some it may have.
    Tags,
    /// Its annotations, or some it may have.
    Annotations,
    /// Entries of its user metadata.
    Metadata,
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tags => "tags",
            Self::Annotations => "annotations",
            Self::Metadata => "some of its metadata",
        })
    }
}

/// Something that an object was copied without.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lack {
    /// What.
    pub property: Property,
    /// Why, and what to do.
    pub because: String,
}

/// What proved that a copy is the object that was listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerifiedBy {
    /// The destination's ETag equals the source's.
    Etag,
    /// A checksum of the whole object is the same on both sides.
    Checksum,
    /// Only the size can be compared (SSE-KMS without a common checksum).
    Size,
    /// Every byte was read on both sides.
    Bytes,
}

/// What became of one object.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// The source it is in.
    pub source: SourceName,
    /// Its key there.
    pub key: String,
    /// Its size in bytes.
    pub size: u64,
    /// When it was last modified there.
    pub modified: Timestamp,
    /// What became of it.
    #[serde(flatten)]
    pub fate: Fate,
}

/// What became of one object.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "fate", rename_all = "snake_case")]
pub enum Fate {
    /// The destination has it, by its own answer.
    Copied {
        /// Why it was copied.
        reason: Reason,
        /// What proved it.
        verified_by: VerifiedBy,
        /// How many times it was overwritten at the source while it was being copied.
        overwritten: u32,
        /// What of it could not be copied.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        without: Vec<Lack>,
    },
    /// Not copied: a checksum, or an ETag, of the whole object is the same on both sides.
    Unchanged,
    /// A dry run's `Copied`.
    WouldCopy {
        /// Why it would be copied.
        reason: Reason,
    },
    /// In an archive tier: it must be restored before it can be read.
    Archived(Archive),
    /// Deleted at the source after it was listed.
    Gone,
    /// The run was stopped while it was being copied.
    Interrupted,
    /// Not copied.
    Failed(Failure),
}

/// Why an object was not copied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The stable name of the kind of error.
    pub error: String,
    /// What happened.
    pub message: String,
    /// What to do.
    #[serde(flatten)]
    pub remedy: Remedy,
    /// S3's request id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// A number of objects and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    /// Objects.
    pub objects: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Amount {
    pub(crate) fn add(&mut self, bytes: u64) {
        self.objects += 1;
        self.bytes += bytes;
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self { objects: self.objects + other.objects, bytes: self.bytes + other.bytes }
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Everything in the sources is at the destination (or, in a dry run, was looked at).
    Complete,
    /// Everything was looked at, but some objects failed or are archived.
    ObjectsMissing,
    /// Stopped before everything was looked at; run again to go on.
    Stopped,
    /// A source was given up: it could not be listed to its end, or all of it was refused.
    Failed,
}

/// What a run did to one source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourceReport {
    /// Which source.
    pub source: SourceName,
    /// Its bucket.
    pub bucket: String,
    /// The bucket that received the copies.
    pub destination_bucket: String,
    /// What stands before a source key to make its destination key.
    pub destination_prefix: String,
    /// Whether S3 copies the objects, or the bytes pass through this run.
    pub transfer: Route,
    /// Why.
    pub transfer_because: String,
    /// Objects listed at the source.
    pub listed: Amount,
    /// Already at the destination, the same.
    pub unchanged: Amount,
    /// Not copied because the request's `modified_after` leaves them out.
    pub left_out: Amount,
    /// Copied and verified; in a dry run, what would be copied.
    pub copied: Amount,
    /// Of these, by why they were copied.
    pub copied_because: BTreeMap<Reason, Amount>,
    /// Of these, by what proved them; empty in a dry run.
    pub verified_by: BTreeMap<VerifiedBy, u64>,
    /// Of these, by what they were copied without.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub copied_without: BTreeMap<Property, u64>,
    /// Not copied for an error.
    pub failed: Amount,
    /// Not copied because they are in an archive tier.
    pub archived: Amount,
    /// Deleted at the source after they were listed.
    pub gone: Amount,
    /// Being copied when the run was stopped.
    pub interrupted: Amount,
    /// Times an object was overwritten while it was being copied, and looked up again.
    pub overwritten: u64,
    /// When the newest object listed was modified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newest: Option<Timestamp>,
    /// When the newest of those that should be at the destination, but are not, was modified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newest_missing: Option<Timestamp>,
    /// At the destination but no longer at the source; they are kept.
    pub only_at_destination: Amount,
    /// Where it went on, if earlier runs were stopped before their end. What those looked at, it
    /// did not look at again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resumed: Option<Resumed>,
    /// Where a stopped run ended: source keys after this one were not looked at; `""` is
    /// before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped_after: Option<String>,
    /// Why the rest of the source was given up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// Who goes on with the rest, or went on with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handed_over: Option<HandedOver>,
    /// The first failures; `failed` counts all.
    pub failures: Vec<FailedObject>,
    /// The first objects that were copied without something; `copied_without` counts all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lacking: Vec<LackingObject>,
    /// The first archived objects; `archived` counts all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub archived_objects: Vec<ArchivedObject>,
}

/// An object that was copied without something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LackingObject {
    /// Its key at the source.
    pub key: String,
    /// What it was copied without.
    pub without: Vec<Lack>,
}

/// An object that cannot be read before it is restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchivedObject {
    /// Its key at the source.
    pub key: String,
    /// How to have it restored.
    #[serde(flatten)]
    pub archive: Archive,
}

/// How an archived object can be had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Archive {
    /// Whether a restore was asked for already, and is not done yet.
    pub restoring: bool,
    /// The command that asks for one, for whoever has s3:RestoreObject on the source: its owner,
    /// and those its owner allows.
    pub restore: String,
}

/// The runs that another one went on with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resumed {
    /// When the first of them began.
    pub since: Timestamp,
    /// How many they were.
    pub runs: u32,
    /// It looked at keys after this one, but for those that were dealt with beyond; at none
    /// where `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Objects that they found archived; this run did not look at them again.
    pub archived: Amount,
    /// Objects that they failed to copy, and this run did not try again; the next one will.
    pub failed: Amount,
}

impl SourceReport {
    /// Whether others are at work on what is left of it.
    #[must_use]
    pub fn goes_on(&self) -> bool {
        self.stopped_after.is_some() && self.handed_over.as_ref().is_some_and(|over| over.left.is_empty())
    }
}

/// An object that was not copied, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FailedObject {
    /// Its key at the source.
    pub key: String,
    /// Why.
    #[serde(flatten)]
    pub failure: Failure,
}

/// What a run did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// How it ended.
    pub status: Status,
    /// Whether it only looked.
    pub dry_run: bool,
    /// When it began.
    pub started: Timestamp,
    /// How long it took.
    pub seconds: f64,
    /// Each source's part.
    pub sources: Vec<SourceReport>,
    /// Requests sent, every try counted.
    pub requests: BTreeMap<Operation, u64>,
    /// What they cost in USD, at us-east-1's prices.
    pub cost_usd: f64,
    /// The requests that the copies of a dry run would take, if none must be tried again.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub forecast: BTreeMap<Operation, u64>,
    /// What those would cost in USD.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forecast_usd: Option<f64>,
    /// How long they would take, in seconds, at the pace at which the dry run's own requests
    /// were answered. S3 has no such figure: it is right within a factor of two or three.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forecast_seconds: Option<f64>,
}

impl Report {
    /// A total over all sources, such as `report.total(|source| source.copied)`.
    #[must_use]
    pub fn total(&self, of: impl Fn(&SourceReport) -> Amount) -> Amount {
        self.sources.iter().map(of).fold(Amount::default(), Amount::plus)
    }

    /// The same without the sources that others are at work on.
    #[must_use]
    pub fn ended(mut self) -> Self {
        self.sources.retain(|source| !source.goes_on());
        self.status = status(&self.sources);
        self
    }

    /// The same with 20 failures a source at the most: a Lambda's answer and a log line are
    /// bounded.
    #[must_use]
    pub fn brief(mut self) -> Self {
        for source in &mut self.sources {
            source.failures.truncate(20);
            source.lacking.truncate(20);
            source.archived_objects.truncate(20);
        }
        self
    }
}

/// How a run ended, by what it did to its sources.
pub(crate) fn status(sources: &[SourceReport]) -> Status {
    let stopped = |source: &SourceReport| source.stopped_after.is_some() || source.interrupted.objects > 0;
    let missing = |source: &SourceReport| {
        let earlier = source.resumed.as_ref().map(|resumed| resumed.archived.plus(resumed.failed));
        source.failed.plus(source.archived).plus(earlier.unwrap_or_default()).objects > 0
    };
    // Another run is at work: nothing is wrong, but this one is not the one that tells.
    let failed = |source: &SourceReport| source.error.as_ref().is_some_and(|error| error.error != HELD);
    if sources.iter().any(failed) {
        Status::Failed
    } else if sources.iter().any(stopped) {
        Status::Stopped
    } else if sources.iter().any(missing) {
        Status::ObjectsMissing
    } else {
        Status::Complete
    }
}

//! What a verification found. Counters take the same few bytes for any number of objects; of
//! each kind of finding the first [`KEPT`] are kept, all are counted.

use std::collections::{BTreeMap, HashMap};
use std::mem::discriminant;

use jiff::Timestamp;
use serde::Serialize;

use crate::operation::{Requests, price};
use crate::{Amount, Failure, Operation, Source, SourceName, Status, VerifiedBy};

/// Objects kept of each kind of finding and source.
const KEPT: u64 = 1_000;

/// What was found of one object.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// The source it is in.
    pub source: SourceName,
    /// Its key there.
    pub key: String,
    /// Its size in bytes: the source's, where it is at the source.
    pub size: u64,
    /// What was found.
    #[serde(flatten)]
    pub finding: Finding,
}

/// What was found of one object.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "finding", rename_all = "snake_case")]
pub enum Finding {
    /// The destination has what the source has.
    Identical {
        /// What proved it.
        by: VerifiedBy,
    },
    /// Not at the destination.
    Missing(Failure),
    /// At the destination, but not what the source has.
    Different(Failure),
    /// Written at the source after its copy was made: the next run copies it.
    NewerAtSource(Failure),
    /// What both sides say of it proves nothing, or a side refused to say it.
    CannotTell(Failure),
    /// Written or deleted while it was verified. No fault: it is for the next run.
    Changed,
    /// Not at the source (any more). No fault: nothing is ever deleted.
    OnlyAtDestination,
    /// Being compared when the verification was stopped.
    Interrupted,
}

/// What a verification found at one source.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SourceVerification {
    /// Which source.
    pub source: SourceName,
    /// Its bucket.
    pub bucket: String,
    /// The bucket that holds the copies.
    pub destination_bucket: String,
    /// What stands before a source key to make its destination key.
    pub destination_prefix: String,
    /// Objects listed at the source.
    pub listed: Amount,
    /// Not compared because the request's `modified_after` leaves them out.
    pub left_out: Amount,
    /// At the destination, and proven to be what the source has.
    pub identical: Amount,
    /// Of these, by what proved them.
    pub proven_by: BTreeMap<VerifiedBy, u64>,
    /// Not at the destination.
    pub missing: Amount,
    /// Of these, in an archive tier at the source.
    pub missing_archived: Amount,
    /// When the longest missing one of these was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing_since: Option<Timestamp>,
    /// At the destination, but not what the source has.
    pub different: Amount,
    /// Written at the source after their copies were made.
    pub newer_at_source: Amount,
    /// Neither proven to be the same nor to differ.
    pub cannot_tell: Amount,
    /// Written or deleted while they were verified.
    pub changed: Amount,
    /// Being compared when the verification was stopped.
    pub interrupted: Amount,
    /// At the destination but not at the source; they are kept.
    pub only_at_destination: Amount,
    /// Where a stopped verification ended: source keys after this one were not looked at;
    /// `""` is before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped_after: Option<String>,
    /// Why the rest of the source was given up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// The first objects that are missing, different, newer at the source, or cannot be
    /// told, of each kind; the amounts count all.
    pub findings: Vec<Comparison>,
}

impl SourceVerification {
    pub(super) fn new(source: &Source, destination_bucket: &str) -> Self {
        Self {
            source: source.name,
            bucket: source.bucket.clone(),
            destination_bucket: destination_bucket.to_owned(),
            destination_prefix: source.lands_in.clone(),
            listed: Amount::default(),
            left_out: Amount::default(),
            identical: Amount::default(),
            proven_by: BTreeMap::new(),
            missing: Amount::default(),
            missing_archived: Amount::default(),
            missing_since: None,
            different: Amount::default(),
            newer_at_source: Amount::default(),
            cannot_tell: Amount::default(),
            changed: Amount::default(),
            interrupted: Amount::default(),
            only_at_destination: Amount::default(),
            stopped_after: None,
            error: None,
            findings: Vec::new(),
        }
    }

    pub(super) fn identical(&mut self, size: u64, by: VerifiedBy) {
        self.identical.add(size);
        *self.proven_by.entry(by).or_default() += 1;
    }

    pub(super) fn record(&mut self, comparison: &Comparison) {
        let amount = match &comparison.finding {
            Finding::Identical { by } => return self.identical(comparison.size, *by),
            Finding::Changed => return self.changed.add(comparison.size),
            Finding::OnlyAtDestination => return self.only_at_destination.add(comparison.size),
            Finding::Interrupted => return self.interrupted.add(comparison.size),
            Finding::Missing(_) => &mut self.missing,
            Finding::Different(_) => &mut self.different,
            Finding::NewerAtSource(_) => &mut self.newer_at_source,
            Finding::CannotTell(_) => &mut self.cannot_tell,
        };
        amount.add(comparison.size);
        if amount.objects <= KEPT {
            self.findings.push(comparison.clone());
        }
    }

    fn is_stopped(&self) -> bool {
        self.stopped_after.is_some() || self.interrupted.objects > 0
    }

    fn is_proven(&self) -> bool {
        let faults = [self.missing, self.different, self.newer_at_source, self.cannot_tell];
        faults.iter().all(|amount| amount.objects == 0)
    }
}

/// What a verification found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verification {
    /// `complete`: every object at the sources is proven to be at the destination.
    /// `objects_missing`: all were looked at, and some are missing, different, newer at the
    /// source, or not proven.
    pub status: Status,
    /// Whether every object was read on both sides.
    pub read: bool,
    /// When it began.
    pub started: Timestamp,
    /// How long it took.
    pub seconds: f64,
    /// Each source's part.
    pub sources: Vec<SourceVerification>,
    /// Requests sent, every try counted.
    pub requests: BTreeMap<Operation, u64>,
    /// What they cost in USD, at us-east-1's prices.
    pub cost_usd: f64,
}

impl Verification {
    pub(super) fn new(
        sources: Vec<SourceVerification>,
        requests: &Requests,
        read: bool,
        started: Timestamp,
        seconds: f64,
    ) -> Self {
        let status = if sources.iter().any(|source| source.error.is_some()) {
            Status::Failed
        } else if sources.iter().any(SourceVerification::is_stopped) {
            Status::Stopped
        } else if sources.iter().all(SourceVerification::is_proven) {
            Status::Complete
        } else {
            Status::ObjectsMissing
        };
        let requests = requests.snapshot();
        Self { status, read, started, seconds, sources, cost_usd: price(&requests), requests }
    }

    /// A total over all sources, such as `verification.total(|source| source.missing)`.
    #[must_use]
    pub fn total(&self, of: impl Fn(&SourceVerification) -> Amount) -> Amount {
        self.sources.iter().map(of).fold(Amount::default(), Amount::plus)
    }

    /// The same with 20 objects of each kind and source at the most: a Lambda's answer and a
    /// log line are bounded.
    #[must_use]
    pub fn brief(mut self) -> Self {
        for source in &mut self.sources {
            let mut seen = HashMap::new();
            source.findings.retain(|comparison| {
                let seen = seen.entry(discriminant(&comparison.finding)).or_insert(0);
                *seen += 1;
                *seen <= 20
            });
        }
        self
    }
}

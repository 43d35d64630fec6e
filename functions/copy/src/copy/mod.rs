//! Brings one object over, by the route its ETag asks for, and says what became of it.
//!
//! Every request that reads the source is pinned to the ETag it was listed (or last looked
//! up) with: an object overwritten meanwhile answers 412, is looked up again and copied as
//! it is now. A copy is therefore never torn.

pub(crate) mod annotations;
mod archive;
mod checksums;
mod multipart;
mod parts;
mod properties;
mod refusal;
mod single;
mod stream;
mod uploads;
mod ways;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::types::ChecksumMode;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::sync::OnceCell;

use crate::diff::{PlainEtags, is_doubtful};
use crate::list::{Archived, Entry, timestamp};
use crate::operation::Operation;
use crate::plan::{Carry, Destination};
use crate::replicate::Observer;
use crate::report::{Failure, Fate, Outcome, Reason, Route, VerifiedBy};
use crate::s3::{Caller, Side};
use crate::settings::RESERVED_PREFIX;
use crate::verify::{Facts, Verdict, compare};
use crate::{ETag, Plan, S3Error, S3ErrorKind, Source, SourceName, Transfer};

pub(crate) use multipart::abort_left;
pub(crate) use parts::{breadth, foresee};
pub(crate) use uploads::Uploads;
use ways::Copied;

/// Lookups of an object that is overwritten faster than it can be copied.
const LOOKUPS: u32 = 5;
/// S3's limit of a key, in bytes of its UTF-8.
const LONGEST_KEY: usize = 1_024;

/// What the copies of one source share.
pub(crate) struct Job {
    pub(crate) name: SourceName,
    pub(crate) caller: Caller,
    pub(crate) source: Side,
    /// The source with the vendor's keys, where it gave any.
    vendor: Option<Side>,
    pub(crate) destination: Side,
    /// Why the bytes pass through this process; `None` while S3 copies.
    streams_because: OnceLock<String>,
    /// Whether to stream where the source refuses S3's copies.
    may_switch: bool,
    /// What the customer's own credentials lack to list the source; the vendor's keys do.
    own_may_not_list: Option<String>,
    /// Whether the source was asked if it may be read with the customer's own credentials.
    settled: OnceCell<()>,
    /// What the copies should be like.
    as_configured: Destination,
    lands_in: String,
    observer: Arc<dyn Observer>,
    plain: Mutex<PlainEtags>,
    tags: Carry,
    annotations: Carry,
    learned: ways::Learned,
    pub(crate) uploads: Uploads,
}

/// A source, and who may read it how.
pub(crate) struct Reader {
    pub(crate) own: Side,
    pub(crate) vendor: Option<Side>,
    pub(crate) streams_because: OnceLock<String>,
    pub(crate) own_may_not_list: Option<String>,
}

/// Why a copy did not come about.
#[derive(Debug)]
enum CopyError {
    /// The object is no longer the one that was pinned.
    Overwritten,
    /// The server does not find the object.
    NotFound(S3Error),
    Archived,
    Stopped,
    /// The source refuses S3's copies, and is streamed from now on.
    Switched,
    Refused(Failure),
}

impl Job {
    pub(crate) fn new(
        plan: &Plan,
        source: &Source,
        from: Reader,
        to: Side,
        caller: Caller,
        observer: Arc<dyn Observer>,
    ) -> Self {
        Self {
            name: source.name,
            caller,
            source: from.own,
            may_switch: plan.transfer == Transfer::Auto && from.vendor.is_some(),
            vendor: from.vendor,
            streams_because: from.streams_because,
            own_may_not_list: from.own_may_not_list,
            settled: OnceCell::new(),
            destination: to,
            as_configured: plan.destination.clone(),
            lands_in: source.lands_in.clone(),
            observer,
            plain: Mutex::default(),
            tags: plan.tags,
            annotations: plan.annotations,
            learned: ways::Learned::default(),
            uploads: Uploads::default(),
        }
    }

    /// Whether the bytes pass through this process.
    pub(crate) fn streams(&self) -> bool {
        self.streams_because.get().is_some()
    }

    /// Which way the bytes go, and why.
    pub(crate) fn route(&self) -> (Route, String) {
        match self.streams_because.get() {
            Some(because) => (Route::Stream, because.clone()),
            None => {
                let listed = match &self.own_may_not_list {
                    Some(missing) => format!("; the vendor's keys list it ({missing})"),
                    None => String::new(),
                };
                let because = "the source may be read with the destination's credentials";
                (Route::ServerSide, format!("{because}{listed}"))
            }
        }
    }

    /// Asks, before the first copy, whether the source may be read with the customer's own
    /// credentials: one request, where else all in flight would be refused.
    pub(crate) async fn settle(&self, key: &str) {
        if !self.may_switch || self.streams() {
            return;
        }
        // A refusal switches; anything else is for the copy to find out.
        self.settled.get_or_init(async || drop(self.head_source(key, None, None).await)).await;
    }

    /// The source as it is listed.
    fn lister(&self) -> &Side {
        match (&self.vendor, &self.own_may_not_list) {
            (Some(vendor), Some(_)) => vendor,
            _ => self.reader(),
        }
    }

    /// The source as it is read.
    fn reader(&self) -> &Side {
        if self.streams() { self.vendor.as_ref().unwrap_or(&self.source) } else { &self.source }
    }

    /// Copies one object and says what became of it. If its copy was `begun` before, it is
    /// looked for first.
    pub(crate) async fn copy(&self, mut entry: Entry, reason: Reason, begun: bool) -> Outcome {
        let mut overwritten = 0;
        let mut doubtful = begun || is_doubtful(&entry, reason);
        let fate = loop {
            if std::mem::take(&mut doubtful) && self.is_there(&entry).await {
                let annotated = if begun { self.annotate_again(&entry).await } else { Ok(()) };
                break match annotated {
                    Ok(()) => Fate::Unchanged,
                    Err(error) => self.fate(&entry, error).await,
                };
            }
            match self.attempt(&entry).await {
                Err(CopyError::Switched) => {}
                Ok(Copied { verified_by, without }) => {
                    break Fate::Copied { reason, verified_by, overwritten, without };
                }
                Err(CopyError::Overwritten) if overwritten + 1 < LOOKUPS => {
                    overwritten += 1;
                    match self.look_up(&entry).await {
                        Ok(now) => entry = now,
                        Err(error) => break self.fate(&entry, error).await,
                    }
                }
                Err(error) => break self.fate(&entry, error).await,
            }
        };
        let Entry { key, size, modified, .. } = entry;
        Outcome { source: self.name, key, size, modified, fate }
    }

    /// Annotations come after the object, except where S3 copied it whole: what stopped its copy
    /// may have come between. Which way it was copied, by another run, nobody knows.
    async fn annotate_again(&self, entry: &Entry) -> Result<(), CopyError> {
        let annotations = self.annotations(&entry.key).await?;
        self.annotate(&entry.key, None, annotations).await.map(drop)
    }

    async fn attempt(&self, entry: &Entry) -> Result<Copied, CopyError> {
        match entry.etag {
            ETag::Multipart(..) => multipart::copy(self, entry).await,
            _ if entry.size > single::LARGEST => multipart::copy(self, entry).await,
            _ if self.streams() => stream::copy(self, entry).await,
            _ => single::copy(self, entry).await,
        }
    }

    /// Whether the destination has the very bytes, by what both sides say of them. What cannot
    /// be asked is copied.
    async fn is_there(&self, entry: &Entry) -> bool {
        let source = self.head_source(&entry.key, Some(&entry.etag), None);
        let (source, destination) = tokio::join!(source, self.head_destination(&entry.key));
        let (Ok(source), Ok(destination)) = (source, destination) else { return false };
        let verdict = compare(&Facts::from(&source), &Facts::from(&destination));
        matches!(verdict, Verdict::Verified(VerifiedBy::Etag | VerifiedBy::Checksum))
    }

    /// What keeps an object from being copied, as far as the listing tells.
    pub(crate) fn obstacle(&self, entry: &Entry) -> Option<Fate> {
        if let Some(archived) = self.listed_as_archived(entry) {
            return Some(archived);
        }
        no_place(self.name, &self.destination_key(&entry.key)).map(Fate::Failed)
    }

    /// Whether the key lands in the replicator's own part of the destination.
    pub(crate) fn is_reserved(&self, key: &str) -> bool {
        self.destination_key(key).starts_with(RESERVED_PREFIX)
    }

    /// The object as it is now.
    async fn look_up(&self, entry: &Entry) -> Result<Entry, CopyError> {
        let head = self.head_source(&entry.key, None, None).await?;
        Ok(Entry {
            key: entry.key.clone(),
            size: size(&head),
            etag: ETag::parse(head.e_tag().unwrap_or_default()),
            modified: head.last_modified().map(timestamp).unwrap_or_default(),
            archived: Archived::No,
        })
    }

    async fn head_source(
        &self,
        key: &str,
        pin: Option<&ETag>,
        part_number: Option<i32>,
    ) -> Result<HeadObjectOutput, CopyError> {
        self.head_at(self.reader(), key, pin, part_number).await
    }

    async fn head_at(
        &self,
        source: &Side,
        key: &str,
        pin: Option<&ETag>,
        part_number: Option<i32>,
    ) -> Result<HeadObjectOutput, CopyError> {
        self.caller
            .send(Operation::HeadObject, || {
                source
                    .client
                    .head_object()
                    .bucket(&source.bucket)
                    .key(key)
                    .set_expected_bucket_owner(source.owner.clone())
                    .set_if_match(pin.map(ETag::quoted))
                    .set_part_number(part_number)
                    .checksum_mode(ChecksumMode::Enabled)
                    .send()
            })
            .await
            .map_err(|error| self.error(error, source))
    }

    async fn head_destination(&self, key: &str) -> Result<HeadObjectOutput, S3Error> {
        self.caller
            .send(Operation::HeadObject, || {
                self.destination
                    .client
                    .head_object()
                    .bucket(&self.destination.bucket)
                    .key(self.destination_key(key))
                    .set_expected_bucket_owner(self.destination.owner.clone())
                    .checksum_mode(ChecksumMode::Enabled)
                    .send()
            })
            .await
    }

    /// Proves a copy by the ETag it was answered with, or, where that says nothing, by asking
    /// both sides for what they know. Where there was no answer, a size proves nothing: the
    /// object before it may have the same.
    async fn verify(&self, entry: &Entry, copied: Option<&str>, kms: bool) -> Result<VerifiedBy, CopyError> {
        if kms {
            self.learn(PlainEtags::Incomparable);
        }
        if copied.is_some_and(|copied| ETag::parse(copied).proves(&entry.etag)) {
            return Ok(VerifiedBy::Etag);
        }
        let source = Facts::from(&self.head_source(&entry.key, Some(&entry.etag), None).await?);
        let destination =
            self.head_destination(&entry.key).await.map_err(|error| self.destination_error(error))?;
        let destination = Facts::from(&destination);
        if source.kms || destination.kms {
            self.learn(PlainEtags::Incomparable);
        }
        match compare(&source, &destination) {
            Verdict::Verified(VerifiedBy::Size) if copied.is_none() => Err(CopyError::Refused(Failure {
                error: "Unproven".into(),
                message: "the copy was not answered, and only the sizes can be compared".into(),
                remedy: "run again; what is there already is not copied twice".into(),
                request_id: None,
            })),
            Verdict::Verified(by) => Ok(by),
            Verdict::Mismatch => Err(CopyError::Refused(Failure {
                error: "Mismatch".into(),
                message: format!(
                    "the copy is not the source's object: source {} bytes, ETag {}; destination {} bytes, ETag {}",
                    source.size, source.etag, destination.size, destination.etag
                ),
                remedy: "run again; if it stays, something else writes to the destination".into(),
                request_id: None,
            })),
        }
    }

    /// Whether plain ETags can be compared, by one HEAD on each side at the first pair that
    /// differs.
    pub(crate) async fn learn_plain_etags(&self, key: &str) -> PlainEtags {
        let source = self.head_source(key, None, None).await.ok();
        let destination = match self.head_destination(key).await {
            // Whoever may not look is not told, however often. Then the times decide.
            Err(error) if error.kind == S3ErrorKind::AccessDenied => {
                return self.learn(PlainEtags::Incomparable);
            }
            destination => destination.ok(),
        };
        let (Some(source), Some(destination)) = (source, destination) else {
            // Not known for this object: it is copied, which is safe.
            return PlainEtags::Comparable;
        };
        self.learn(if Facts::from(&source).kms || Facts::from(&destination).kms {
            PlainEtags::Incomparable
        } else {
            PlainEtags::Comparable
        })
    }

    pub(crate) fn known_plain_etags(&self) -> PlainEtags {
        *self.plain.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn learn(&self, plain: PlainEtags) -> PlainEtags {
        *self.plain.lock().unwrap_or_else(PoisonError::into_inner) = plain;
        plain
    }

    /// What stands before a source key to make its destination key.
    pub(crate) fn lands_in(&self) -> &str {
        &self.lands_in
    }

    fn destination_key(&self, key: &str) -> String {
        format!("{}{key}", self.lands_in)
    }

    async fn fate(&self, entry: &Entry, error: CopyError) -> Fate {
        match error {
            CopyError::Archived => self.found_archived(&entry.key).await,
            CopyError::Stopped | CopyError::Switched => Fate::Interrupted,
            CopyError::Refused(failure) => Fate::Failed(failure),
            CopyError::Overwritten => Fate::Failed(Failure {
                error: "KeepsChanging".into(),
                message: format!("it was overwritten {LOOKUPS} times while it was being copied"),
                remedy: "run again when its writer rests".into(),
                request_id: None,
            }),
            CopyError::NotFound(error) => match self.is_listed(&entry.key).await {
                Ok(false) => Fate::Gone,
                // Never call an object gone that the source still lists.
                Ok(true) => Fate::Failed(
                    self.failure(&error, "the source lists it, but does not serve it; ask the vendor".into()),
                ),
                Err(error) if error.kind == S3ErrorKind::Stopped => Fate::Interrupted,
                Err(error) => Fate::Failed(self.failure(&error, self.source.remedy(&error))),
            },
        }
    }

    async fn is_listed(&self, key: &str) -> Result<bool, S3Error> {
        let source = self.lister();
        let listing = self
            .caller
            .send(Operation::ListObjectsV2, || {
                source
                    .client
                    .list_objects_v2()
                    .bucket(&source.bucket)
                    .set_expected_bucket_owner(source.owner.clone())
                    .prefix(key)
                    .encoding_type(aws_sdk_s3::types::EncodingType::Url)
                    .max_keys(1)
                    .send()
            })
            .await?;
        // An empty 200 names no bucket, and tells nothing: the object is not called gone.
        let listed = listing.name().is_none();
        // The key itself is the first of all keys that begin with it.
        let encoded = listing.encoding_type().is_some();
        let key = |object| crate::list::key(object, encoded).as_deref() == Some(key);
        Ok(listed || listing.contents().iter().any(key))
    }
}

/// Why nothing can be copied to this key of the destination, if so.
pub(crate) fn no_place(source: SourceName, lands: &str) -> Option<Failure> {
    let (error, message) = if lands.starts_with(RESERVED_PREFIX) {
        ("ReservedPrefix", format!("it would land in {RESERVED_PREFIX}, which is the replicator's own"))
    } else if lands.len() > LONGEST_KEY {
        (
            "KeyTooLong",
            format!("its key at the destination has {} bytes; S3 takes {LONGEST_KEY}", lands.len()),
        )
    } else {
        return None;
    };
    Some(Failure {
        error: error.into(),
        message,
        remedy: format!("set another {}_PREFIX", source.to_string().to_uppercase()).into(),
        request_id: None,
    })
}

fn size(head: &HeadObjectOutput) -> u64 {
    head.content_length().and_then(|size| u64::try_from(size).ok()).unwrap_or_default()
}

/// All that RFC 3986 leaves reserved, but for the slashes.
const COPY_SOURCE: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// The value of `x-amz-copy-source`, percent-encoded as S3 demands.
pub(crate) fn copy_source(bucket: &str, key: &str) -> String {
    // Through an access point: its ARN, then `/object/`.
    let between = if bucket.starts_with("arn:") { "/object/" } else { "/" };
    utf8_percent_encode(&format!("{bucket}{between}{key}"), COPY_SOURCE).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_source_is_percent_encoded() {
        assert_eq!(copy_source("b", "a b+c%2F?/ü\n"), "b/a%20b%2Bc%252F%3F/%C3%BC%0A");
        assert_eq!(
            copy_source("arn:aws:s3:eu-west-1:123456789012:accesspoint/dumps", "a"),
            "arn%3Aaws%3As3%3Aeu-west-1%3A123456789012%3Aaccesspoint/dumps/object/a"
        );
    }
}

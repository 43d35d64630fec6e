//! A bucket's keys as ordered pages of [`Entry`]. Disorder is an error: everything after
//! this stage trusts the order.

use std::collections::VecDeque;

use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::types::{EncodingType, Object, OptionalObjectAttributes, RestoreStatus};
use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use tokio::task::JoinHandle;

use crate::operation::Operation;
use crate::s3::{Caller, Side};
use crate::{ETag, RunError, S3Error, S3ErrorKind};

/// What a listing tells of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The key, without the prefix that the destination puts before it.
    pub(crate) key: String,
    /// Bytes.
    pub(crate) size: u64,
    pub(crate) etag: ETag,
    pub(crate) modified: Timestamp,
    pub(crate) archived: Archived,
}

/// Whether an object is in an archive, with no restored copy to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Archived {
    No,
    Yes,
    /// A restore was asked for.
    Restoring,
}

impl Archived {
    /// Whether it can be read now.
    pub(crate) fn is_readable(self) -> bool {
        self == Self::No
    }
}

impl AsRef<str> for Entry {
    fn as_ref(&self) -> &str {
        &self.key
    }
}

/// One side's keys under a prefix, and the first page of them.
pub(crate) struct Listing {
    /// Asks for the first page.
    pager: Pager,
    first: Page,
}

/// Keys in order, and the pager that can fetch the page after it.
pub(crate) struct Page {
    pub(crate) entries: VecDeque<Entry>,
    pub(crate) rest: Option<Box<Pager>>,
}

impl Listing {
    /// Lists `prefix` + `below` and strips `prefix` from the keys. The first page is here
    /// when this returns, so that a bucket that cannot be listed is known before anything
    /// is written.
    pub(crate) async fn open(
        caller: &Caller,
        side: &Side,
        prefix: &str,
        below: &str,
    ) -> Result<Self, RunError> {
        Self::open_after(caller, side, prefix, below, "").await
    }

    /// The same, from the first key after `after` on, which is given without `prefix`.
    pub(crate) async fn open_after(
        caller: &Caller,
        side: &Side,
        prefix: &str,
        below: &str,
        after: &str,
    ) -> Result<Self, RunError> {
        let pager = Pager {
            caller: caller.first(),
            side: side.clone(),
            strip: prefix.len(),
            prefix: format!("{prefix}{below}"),
            token: None,
            last: (!after.is_empty()).then(|| format!("{prefix}{after}")),
        };
        let first = pager.clone().fetch().await?;
        Ok(Self { pager: Pager { caller: caller.seasoned(), ..pager }, first })
    }

    /// The first page, once.
    pub(crate) fn first(&mut self) -> Page {
        std::mem::replace(&mut self.first, Page { entries: VecDeque::new(), rest: None })
    }

    /// Lists what comes after a key, which is given without the prefix.
    pub(crate) fn after(&self, key: &str) -> Pager {
        let prefix = self.pager.prefix.get(..self.pager.strip).unwrap_or_default();
        Pager { last: Some(format!("{prefix}{key}")), ..self.pager.clone() }
    }

    /// What stands before every key that is listed, in bytes.
    pub(crate) fn strips(&self) -> usize {
        self.pager.strip
    }
}

/// A listing's keys, one after the other. A page is asked for while the one before it is
/// read, and no further.
pub(crate) struct Keys {
    page: VecDeque<Entry>,
    next: Option<JoinHandle<Result<Page, RunError>>>,
}

impl Keys {
    pub(crate) fn of(mut listing: Listing) -> Self {
        let mut keys = Self { page: VecDeque::new(), next: None };
        keys.turn(listing.first());
        keys
    }

    /// The next object, or `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Entry>, RunError> {
        loop {
            if let Some(entry) = self.page.pop_front() {
                return Ok(Some(entry));
            }
            let Some(next) = &mut self.next else { return Ok(None) };
            // Whoever stops waiting here finds the page in its place next time.
            let page = next.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
            self.next = None;
            self.turn(page?);
        }
    }

    fn turn(&mut self, page: Page) {
        self.page = page.entries;
        self.next = page.rest.map(|pager| tokio::spawn(pager.fetch()));
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        if let Some(next) = &self.next {
            next.abort();
        }
    }
}

/// Fetches a page.
#[derive(Clone)]
pub(crate) struct Pager {
    caller: Caller,
    side: Side,
    strip: usize,
    prefix: String,
    token: Option<String>,
    /// All keys come after this one.
    last: Option<String>,
}

impl Pager {
    pub(crate) async fn fetch(mut self) -> Result<Page, RunError> {
        let output = self.ask().await.map_err(|source| self.failed(source))?;
        let more = goes_on(&output);
        self.token = output.next_continuation_token().map(str::to_owned);
        let encoded = output.encoding_type() == Some(&EncodingType::Url);
        let mut entries = VecDeque::with_capacity(output.contents().len());
        for object in output.contents.unwrap_or_default() {
            let key = key(&object, encoded).ok_or_else(|| self.failed(self.not_s3("a key is not UTF-8")))?;
            self.check_order(&key)?;
            entries.push_back(entry(key[self.strip..].to_owned(), &object));
            self.last = Some(key);
        }
        self.caller = self.caller.seasoned();
        Ok(Page { entries, rest: more.then(|| Box::new(self)) })
    }

    async fn ask(&self) -> Result<ListObjectsV2Output, S3Error> {
        let output = self
            .caller
            .send(Operation::ListObjectsV2, || {
                self.side
                    .client
                    .list_objects_v2()
                    .bucket(&self.side.bucket)
                    .set_expected_bucket_owner(self.side.owner.clone())
                    .prefix(&self.prefix)
                    .set_continuation_token(self.token.clone())
                    .set_start_after(self.last.clone().filter(|_| self.token.is_none()))
                    // XML 1.0 cannot carry every key that S3 can.
                    .encoding_type(EncodingType::Url)
                    .optional_object_attributes(OptionalObjectAttributes::RestoreStatus)
                    .send()
            })
            .await?;
        // An empty 200 parses as an empty bucket. Every S3 names the bucket it lists.
        let token = output.next_continuation_token();
        let stands = goes_on(&output) && (token.is_none() || token == self.token.as_deref());
        if output.name().is_none() || stands {
            return Err(self.not_s3("the answer does not name the bucket, or does not go on"));
        }
        Ok(output)
    }

    fn failed(&self, source: S3Error) -> RunError {
        self.side.not_listed(source)
    }

    fn not_s3(&self, message: &str) -> S3Error {
        S3Error {
            operation: Operation::ListObjectsV2,
            kind: S3ErrorKind::NotS3,
            code: "what is no bucket listing".into(),
            message: message.into(),
            request_id: None,
            tries: 1,
        }
    }

    /// Strictly ascending, and below the prefix that was asked for.
    fn check_order(&self, key: &str) -> Result<(), RunError> {
        let before = self.last.as_deref().unwrap_or("");
        let ascends = self.last.is_none() || before.as_bytes() < key.as_bytes();
        if ascends && key.starts_with(&self.prefix) {
            return Ok(());
        }
        Err(RunError::Disorder {
            bucket: self.side.bucket.clone(),
            before: before.to_owned(),
            after: key.to_owned(),
        })
    }
}

/// A server may give a token, and not say that the page is cut short.
fn goes_on(page: &ListObjectsV2Output) -> bool {
    page.is_truncated().unwrap_or(page.next_continuation_token().is_some())
}

/// In `encoding-type=url`, `+` stands for a space. A server that does not know the encoding
/// does not name it in its answer either.
pub(crate) fn key(object: &Object, encoded: bool) -> Option<String> {
    decoded(object.key()?, encoded)
}

pub(crate) fn decoded(key: &str, encoded: bool) -> Option<String> {
    if !encoded || !key.contains(['+', '%']) {
        return Some(key.to_owned());
    }
    let key = key.replace('+', " ");
    Some(percent_decode_str(&key).decode_utf8().ok()?.into_owned())
}

fn entry(key: String, object: &Object) -> Entry {
    Entry {
        key,
        size: object.size().and_then(|size| u64::try_from(size).ok()).unwrap_or_default(),
        etag: ETag::parse(object.e_tag().unwrap_or_default()),
        modified: object.last_modified().map(timestamp).unwrap_or_default(),
        archived: archived(object.storage_class().map(|class| class.as_str()), object.restore_status()),
    }
}

/// Whether an object of this storage class can be read.
pub(crate) fn archived(class: Option<&str>, restore: Option<&RestoreStatus>) -> Archived {
    let restoring = restore.is_some_and(|status| status.is_restore_in_progress() == Some(true));
    let restored = restore.is_some_and(|status| status.restore_expiry_date().is_some());
    match (matches!(class, Some("GLACIER" | "DEEP_ARCHIVE")), restoring, restored) {
        (false, ..) | (_, false, true) => Archived::No,
        (_, true, _) => Archived::Restoring,
        _ => Archived::Yes,
    }
}

/// S3's times are between 2006 and 9999; the conversion cannot fail on them.
pub(crate) fn timestamp(time: &aws_sdk_s3::primitives::DateTime) -> Timestamp {
    let nanos = i32::try_from(time.subsec_nanos()).unwrap_or_default();
    Timestamp::new(time.secs(), nanos).unwrap_or_default()
}

//! A bucket's keys as they were at a time, from the versions that it keeps.
//!
//! A version's time is that of S3's clock, in seconds; of an upload in parts, when it began.
//! Of two changes in one second the later one counts where the listing tells which that is; an
//! object and its deletion cannot be told apart there, and the object counts: what is given
//! back too much can be thrown away.

use std::cmp::Ordering;
use std::collections::VecDeque;

use aws_sdk_s3::operation::list_object_versions::ListObjectVersionsOutput;
use aws_sdk_s3::types::{EncodingType, ObjectVersion, OptionalObjectAttributes};
use jiff::Timestamp;
use tokio::task::JoinHandle;

use super::Object;
use crate::list::{decoded, timestamp};
use crate::operation::Operation;
use crate::s3::{Caller, Side};
use crate::{ETag, RunError, S3Error, S3ErrorKind};

/// One version, or one deletion, of a key.
#[derive(Debug)]
struct Version {
    key: String,
    modified: Timestamp,
    latest: bool,
    /// `None`: it was deleted.
    object: Option<Object>,
}

/// What a key was at a time, of its versions as far as they are seen.
#[derive(Debug)]
struct Found {
    key: String,
    /// The newest that is not later.
    then: Option<Version>,
}

/// The objects that a bucket had at a time, in the order of their keys' UTF-8 bytes.
pub(super) struct Versions {
    at: Timestamp,
    page: VecDeque<Version>,
    /// The next page, asked for while the one before it is read.
    next: Option<JoinHandle<Result<Page, RunError>>>,
    found: Option<Found>,
    /// Keys of which there are only later versions.
    later: u64,
}

impl Versions {
    /// The first page is here when this returns.
    pub(super) async fn open(
        caller: &Caller,
        side: &Side,
        prefix: &str,
        at: Timestamp,
    ) -> Result<Self, RunError> {
        let (caller, side) = (caller.first(), side.clone());
        let first = Pager { caller, side, prefix: prefix.to_owned(), marker: None, last: String::new() };
        let first = first.fetch().await?;
        let mut versions = Self { at, page: VecDeque::new(), next: None, found: None, later: 0 };
        versions.turn(first);
        Ok(versions)
    }

    /// Keys that came after the time, or of which the bucket kept nothing from before.
    pub(super) fn later(&self) -> u64 {
        self.later
    }

    pub(super) async fn next(&mut self) -> Result<Option<Object>, RunError> {
        loop {
            let Some(version) = self.page.pop_front() else {
                let Some(next) = &mut self.next else {
                    return Ok(self.found.take().and_then(|found| self.close(found)));
                };
                // Whoever stops waiting here finds the page in its place next time.
                let page = next.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
                self.next = None;
                self.turn(page?);
                continue;
            };
            match &mut self.found {
                Some(found) if found.key == version.key => found.see(version, self.at),
                found => {
                    let mut new = Found { key: version.key.clone(), then: None };
                    new.see(version, self.at);
                    if let Some(object) = found.replace(new).and_then(|before| self.close(before)) {
                        return Ok(Some(object));
                    }
                }
            }
        }
    }

    /// All versions of a key were seen.
    fn close(&mut self, found: Found) -> Option<Object> {
        self.later += u64::from(found.then.is_none());
        found.then?.object
    }

    fn turn(&mut self, page: Page) {
        self.page = page.versions;
        self.next = page.rest.map(|pager| tokio::spawn(pager.fetch()));
    }
}

impl Drop for Versions {
    fn drop(&mut self) {
        if let Some(next) = &self.next {
            next.abort();
        }
    }
}

impl Found {
    /// S3 lists a key's versions from the newest to the oldest: of equals the first one counts.
    fn see(&mut self, version: Version, at: Timestamp) {
        let rank = |version: &Version| (version.modified, version.latest, version.object.is_some());
        let newer = self.then.as_ref().is_none_or(|then| rank(&version) > rank(then));
        if version.modified <= at && newer {
            self.then = Some(version);
        }
    }
}

struct Page {
    versions: VecDeque<Version>,
    rest: Option<Box<Pager>>,
}

struct Pager {
    caller: Caller,
    side: Side,
    prefix: String,
    /// The last key of the page before, and its version.
    marker: Option<(String, Option<String>)>,
    last: String,
}

impl Pager {
    async fn fetch(mut self) -> Result<Page, RunError> {
        let failed = |source: S3Error| self.side.not_listed(source);
        let output = self.ask().await.map_err(failed)?;
        let encoded = output.encoding_type() == Some(&EncodingType::Url);
        let key = |key: Option<&str>| {
            decoded(key.unwrap_or_default(), encoded).ok_or_else(|| failed(not_s3("a key is not UTF-8")))
        };
        let marker = match output.is_truncated() {
            Some(true) => {
                let marker = (key(output.next_key_marker())?, output.next_version_id_marker.clone());
                if marker.0.is_empty() || self.marker.as_ref() == Some(&marker) {
                    return Err(failed(not_s3("the answer does not go on")));
                }
                Some(marker)
            }
            _ => None,
        };
        let mut objects = VecDeque::new();
        for version in output.versions() {
            objects.push_back(of(key(version.key())?, version));
        }
        let mut deletions = VecDeque::new();
        for marker in output.delete_markers() {
            deletions.push_back(Version {
                key: key(marker.key())?,
                modified: marker.last_modified().map(timestamp).unwrap_or_default(),
                latest: marker.is_latest() == Some(true),
                object: None,
            });
        }
        let versions = merged(objects, deletions);
        for version in &versions {
            let ascends = self.last.as_bytes() <= version.key.as_bytes();
            if !ascends || !version.key.starts_with(&self.prefix) {
                let (bucket, after) = (self.side.bucket.clone(), version.key.clone());
                return Err(RunError::Disorder { bucket, before: self.last, after });
            }
            self.last.clone_from(&version.key);
        }
        self.caller = self.caller.seasoned();
        let rest = marker.is_some().then(|| Box::new(Self { marker, ..self }));
        Ok(Page { versions, rest })
    }

    async fn ask(&self) -> Result<ListObjectVersionsOutput, S3Error> {
        let (key, version) = self.marker.clone().unzip();
        let list = self.caller.send(Operation::ListObjectVersions, || {
            self.side
                .client
                .list_object_versions()
                .bucket(&self.side.bucket)
                .set_expected_bucket_owner(self.side.owner.clone())
                .prefix(&self.prefix)
                .set_key_marker(key.clone())
                .set_version_id_marker(version.clone().flatten())
                .encoding_type(EncodingType::Url)
                .optional_object_attributes(OptionalObjectAttributes::RestoreStatus)
                .send()
        });
        let output = list.await?;
        // An empty 200 parses as an empty bucket.
        if output.name().is_none() { Err(not_s3("the answer does not name the bucket")) } else { Ok(output) }
    }
}

/// Both of a page's lists by key; the answer's own order of them is lost in the SDK.
fn merged(mut objects: VecDeque<Version>, mut deletions: VecDeque<Version>) -> VecDeque<Version> {
    let mut all = VecDeque::with_capacity(objects.len() + deletions.len());
    loop {
        let first = match (objects.front(), deletions.front()) {
            (Some(object), Some(deletion)) => object.key.as_bytes().cmp(deletion.key.as_bytes()),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return all,
        };
        all.extend(if first == Ordering::Greater { deletions.pop_front() } else { objects.pop_front() });
    }
}

fn of(key: String, version: &ObjectVersion) -> Version {
    let modified = version.last_modified().map(timestamp).unwrap_or_default();
    Version {
        key: key.clone(),
        modified,
        latest: version.is_latest() == Some(true),
        object: Some(Object {
            key,
            size: version.size().and_then(|size| u64::try_from(size).ok()).unwrap_or_default(),
            etag: ETag::parse(version.e_tag().unwrap_or_default()),
            modified,
            archived: !crate::list::archived(
                version.storage_class().map(|class| class.as_str()),
                version.restore_status(),
            )
            .is_readable(),
            version: version.version_id().map(str::to_owned),
        }),
    }
}

fn not_s3(message: &str) -> S3Error {
    S3Error {
        operation: Operation::ListObjectVersions,
        kind: S3ErrorKind::NotS3,
        code: "what is no list of versions".into(),
        message: message.into(),
        request_id: None,
        tries: 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    /// A version of `k` called `id`, or its deletion.
    fn version(id: Option<&str>, second: i64, latest: bool) -> Version {
        let object = id.map(|id| Object {
            key: "k".into(),
            size: 1,
            etag: ETag::parse(""),
            modified: time(second),
            archived: false,
            version: Some(id.into()),
        });
        Version { key: "k".into(), modified: time(second), latest, object }
    }

    fn then(versions: impl IntoIterator<Item = Version>, second: i64) -> Option<Option<String>> {
        let mut found = Found { key: "k".into(), then: None };
        versions.into_iter().for_each(|version| found.see(version, time(second)));
        found.then.map(|then| then.object.and_then(|object| object.version))
    }

    #[test]
    fn the_newest_version_that_is_not_later_counts() {
        let history = || {
            [version(Some("d"), 40, true), version(None, 30, false), version(Some("b"), 20, false)]
                .into_iter()
                .chain([version(Some("a"), 10, false)])
        };
        let some = |id: &str| Some(Some(id.to_owned()));
        assert_eq!(then(history(), 9), None);
        assert_eq!(then(history(), 10), some("a"));
        assert_eq!(then(history(), 29), some("b"));
        assert_eq!(then(history(), 30), Some(None), "deleted");
        assert_eq!(then(history(), 41), some("d"));
    }

    #[test]
    fn within_one_second_the_latest_counts_then_the_first_listed_and_no_deletion() {
        let some = |id: &str| Some(Some(id.to_owned()));
        let two = [version(Some("b"), 10, false), version(Some("a"), 10, false)];
        assert_eq!(then(two, 10), some("b"));
        assert_eq!(then([version(Some("a"), 10, false), version(None, 10, true)], 10), Some(None));
        assert_eq!(then([version(None, 10, false), version(Some("a"), 10, true)], 10), some("a"));
        assert_eq!(then([version(None, 10, false), version(Some("a"), 10, false)], 10), some("a"));
    }
}

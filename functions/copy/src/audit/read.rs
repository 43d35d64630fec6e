//! Both sides of one object, read side by side and compared byte by byte.
//!
//! Nothing is gathered: the answers are compared as they arrive, so that memory holds what
//! the network does, for objects of any size. Every GET is pinned to what was listed.

use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::judge::{Difference, Evidence, Seen};
use super::object::{Desk, Obstacle};
use super::report::Finding;
use crate::list::{Entry, timestamp};
use crate::operation::Operation;
use crate::s3::Side;
use crate::verify::{Facts, is_kms};
use crate::{ETag, S3Error, S3ErrorKind, VerifiedBy};

/// What is read by one request of each side.
const RANGE: u64 = 64 << 20;
/// Ranges of one object that are read at once.
const RANGES: usize = 8;
/// What a read moves in a second at the least.
const SLOWEST: u64 = 1 << 20;
/// What the answers of both sides hold of one range at the most, in KiB.
const HELD: u64 = 1_024;
/// KiB that all answers together may hold.
pub(super) const ROOM: usize = 64 << 10;

/// The first answers of both sides.
struct Opened {
    source: Seen,
    copy: Seen,
    property: Option<String>,
}

/// One range as it is read.
struct Reading {
    opened: OnceLock<Opened>,
    /// Up to here both sides are the same.
    offset: AtomicU64,
    /// The side whose request failed last.
    failed_at_destination: AtomicBool,
}

impl Desk {
    /// Reads both objects, which are of one size, to their first difference.
    pub(super) async fn read(
        &self,
        source: &Entry,
        copy: &Entry,
        listed: &ETag,
    ) -> Result<Finding, Obstacle> {
        let mut read = stream::iter(ranges(source.size))
            .map(|range| self.read_range(source, copy, range))
            .buffered(RANGES);
        let mut opened: Option<Opened> = None;
        let mut differs = None;
        while let Some((first, difference)) = read.try_next().await? {
            opened.get_or_insert(first);
            if difference.is_some() {
                differs = difference;
                break;
            }
        }
        // There is a range even of an empty object.
        let Some(opened) = opened else { return Err(Obstacle::Changed) };
        let evidence = match (differs, opened.property) {
            (Some(offset), _) => Evidence::Differs(Difference {
                error: "BytesDiffer",
                message: format!("read on both sides, its copy differs from byte {offset} on"),
            }),
            (None, Some(message)) => Evidence::Differs(Difference { error: "PropertiesDiffer", message }),
            (None, None) => Evidence::Same(VerifiedBy::Bytes),
        };
        Ok(self.weigh(evidence, listed, &opened.source, &opened.copy))
    }

    /// Reads a range of both; answers where they begin to differ.
    async fn read_range(
        &self,
        source: &Entry,
        copy: &Entry,
        range: Range<u64>,
    ) -> Result<(Opened, Option<u64>), Obstacle> {
        let held = ((range.end - range.start) / 512 + 16).min(HELD);
        // The semaphore is never closed.
        let _room = self.room.acquire_many(u32::try_from(held).unwrap_or(u32::MAX)).await.ok();
        let reading = Reading {
            opened: OnceLock::new(),
            offset: AtomicU64::new(range.start),
            failed_at_destination: AtomicBool::new(false),
        };
        let seconds = (range.end - range.start) / SLOWEST;
        let key = self.destination_key(&source.key);
        loop {
            let side = self.reader();
            let sides = [(side, source.key.as_str(), source), (&self.destination, key.as_str(), copy)];
            let read = self.caller.persist(Operation::GetObject, seconds, async || {
                self.read_on(sides, range.end, &reading).await
            });
            let error = match read.await {
                Ok(difference) => match reading.opened.into_inner() {
                    Some(opened) => return Ok((opened, difference)),
                    None => return Err(Obstacle::Changed),
                },
                Err(error) => error,
            };
            if reading.failed_at_destination.load(Ordering::Relaxed) {
                return Err(self.obstacle(error, &self.destination));
            }
            if !self.may_turn_to_vendor(&error, side) {
                return Err(self.obstacle(error, side));
            }
        }
    }

    /// Goes on from where both sides were the same.
    async fn read_on(
        &self,
        [source, copy]: [(&Side, &str, &Entry); 2],
        end: u64,
        reading: &Reading,
    ) -> Result<Option<u64>, S3Error> {
        let start = reading.offset.load(Ordering::Relaxed);
        let at = |destination: bool| {
            move |error: S3Error| {
                reading.failed_at_destination.store(destination, Ordering::Relaxed);
                error
            }
        };
        let (got, got_copy) = tokio::join!(self.get(source, start..end), self.get(copy, start..end));
        let (mut got, mut got_copy) = (got.map_err(at(false))?, got_copy.map_err(at(true))?);
        reading.opened.get_or_init(|| Opened {
            property: differing_property(&got, &got_copy),
            source: seen(&got, source.2),
            copy: seen(&got_copy, copy.2),
        });
        let (mut ours, mut theirs) = (Bytes::new(), Bytes::new());
        loop {
            if ours.is_empty() {
                ours = chunk(&mut got.body).await.map_err(at(false))?;
            }
            if theirs.is_empty() {
                theirs = chunk(&mut got_copy.body).await.map_err(at(true))?;
            }
            let same = ours.len().min(theirs.len());
            let offset = reading.offset.load(Ordering::Relaxed);
            if same == 0 {
                // Both were of the length asked for: one broke off, if not both ended.
                return if offset == end { Ok(None) } else { Err(at(!ours.is_empty())(cut())) };
            }
            let (a, b) = (ours.split_to(same), theirs.split_to(same));
            if a != b {
                let equal = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
                return Ok(Some(offset + equal as u64));
            }
            reading.offset.store(offset + same as u64, Ordering::Relaxed);
            self.observer.moved(same as u64);
        }
    }

    async fn get(
        &self,
        (side, key, listed): (&Side, &str, &Entry),
        range: Range<u64>,
    ) -> Result<GetObjectOutput, S3Error> {
        let get = side
            .client
            .get_object()
            .bucket(&side.bucket)
            .key(key)
            .set_expected_bucket_owner(side.owner.clone())
            .if_match(listed.etag.quoted())
            // An empty object has no range.
            .set_range((!range.is_empty()).then(|| format!("bytes={}-{}", range.start, range.end - 1)));
        let got = self.caller.once(Operation::GetObject, get.send()).await?;
        // Not every server heeds the condition.
        if got.e_tag().map(ETag::parse).as_ref() != Some(&listed.etag) {
            return Err(unexpected(S3ErrorKind::PreconditionFailed, "another ETag than was asked for"));
        }
        let length = got.content_length().and_then(|length| u64::try_from(length).ok());
        if length != Some(range.end - range.start) {
            return Err(unexpected(S3ErrorKind::NotS3, "another length than was asked for"));
        }
        Ok(got)
    }
}

/// Of an empty object one, which is empty.
fn ranges(size: u64) -> impl Iterator<Item = Range<u64>> {
    let rest = (1..size.div_ceil(RANGE)).map(move |index| index * RANGE..((index + 1) * RANGE).min(size));
    std::iter::once(0..size.min(RANGE)).chain(rest)
}

fn seen(got: &GetObjectOutput, listed: &Entry) -> Seen {
    Seen {
        facts: Facts {
            size: listed.size,
            etag: listed.etag.clone(),
            kms: is_kms(got.server_side_encryption()),
            checksums: Vec::new(),
            composites: Vec::new(),
        },
        modified: got.last_modified().map_or(listed.modified, timestamp),
    }
}

/// The next bytes; none at the end.
async fn chunk(body: &mut ByteStream) -> Result<Bytes, S3Error> {
    loop {
        match body.next().await {
            None => return Ok(Bytes::new()),
            Some(Ok(chunk)) if chunk.is_empty() => {}
            Some(Ok(chunk)) => return Ok(chunk),
            Some(Err(_)) => return Err(cut()),
        }
    }
}

fn cut() -> S3Error {
    unexpected(S3ErrorKind::Unreachable, "a body that broke off")
}

fn unexpected(kind: S3ErrorKind, answer: &str) -> S3Error {
    S3Error {
        operation: Operation::GetObject,
        kind,
        code: answer.into(),
        message: String::new(),
        request_id: None,
        tries: 1,
    }
}

/// The first property, besides the bytes, in which a copy differs.
fn differing_property(source: &GetObjectOutput, copy: &GetObjectOutput) -> Option<String> {
    let pairs = [
        ("Content-Type", source.content_type(), copy.content_type()),
        ("Content-Encoding", source.content_encoding(), copy.content_encoding()),
        ("Content-Language", source.content_language(), copy.content_language()),
        ("Content-Disposition", source.content_disposition(), copy.content_disposition()),
        ("Cache-Control", source.cache_control(), copy.cache_control()),
        ("Expires", source.expires_string(), copy.expires_string()),
        (
            "x-amz-website-redirect-location",
            source.website_redirect_location(),
            copy.website_redirect_location(),
        ),
    ];
    let (name, value, other) = pairs
        .into_iter()
        .map(|(name, value, other)| (name.to_owned(), value, other))
        .chain(metadata(source, copy))
        .find(|(_, value, other)| value != other)?;
    let shown = |value: Option<&str>| value.map_or("none".to_owned(), |value| format!("{value:?}"));
    Some(format!("its {name} is {} at the source, its copy's {}", shown(value), shown(other)))
}

/// The user metadata of either side.
fn metadata<'a>(
    source: &'a GetObjectOutput,
    copy: &'a GetObjectOutput,
) -> impl Iterator<Item = (String, Option<&'a str>, Option<&'a str>)> {
    let value = |output: &'a GetObjectOutput, name: &str| output.metadata()?.get(name).map(String::as_str);
    let mut names: Vec<_> =
        [source, copy].iter().filter_map(|output| output.metadata()).flat_map(|all| all.keys()).collect();
    names.sort();
    names.dedup();
    names.into_iter().map(move |name| (format!("x-amz-meta-{name}"), value(source, name), value(copy, name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_cover_an_object_exactly() {
        assert!(ranges(0).eq(std::iter::once(0..0)));
        assert!(ranges(RANGE).eq(std::iter::once(0..RANGE)));
        assert_eq!(
            ranges(2 * RANGE + 1).collect::<Vec<_>>(),
            [0..RANGE, RANGE..2 * RANGE, 2 * RANGE..2 * RANGE + 1]
        );
    }
}

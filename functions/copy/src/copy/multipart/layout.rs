//! Where the parts of a copy begin and end.

use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use futures_util::{StreamExt, TryStreamExt, stream as streams};

use crate::ETag;
use crate::copy::parts::{self, Part};
use crate::copy::{CopyError, Job, size};
use crate::list::Entry;

/// The parts to copy, and whether they are a guess.
pub(super) struct Layout {
    pub(super) parts: Vec<Part>,
    pub(super) guessed: bool,
    /// They are the source's own for certain: they make its ETag, or the bytes are not its own.
    pub(super) exact: bool,
}

impl Layout {
    fn chosen(entry: &Entry) -> Self {
        Self { parts: parts::chosen(entry.size), guessed: false, exact: false }
    }
}

pub(super) async fn layout(job: &Job, entry: &Entry, head: &HeadObjectOutput) -> Result<Layout, CopyError> {
    let ETag::Multipart(_, count) = entry.etag else {
        return Ok(Layout::chosen(entry));
    };
    let count = u64::from(count);
    // A server that knows no part numbers answers with the whole object and no count.
    let known = head.parts_count().and_then(|parts| u64::try_from(parts).ok()) == Some(count);
    let first =
        if known || count == 1 { size(head) } else { entry.size.div_ceil(count).next_multiple_of(1 << 20) };
    let parts = match parts::guessed(entry.size, first, count) {
        Some(parts) => Layout { guessed: count > 2, exact: count == 1 || known && count == 2, parts },
        None if known => ask_every_part(job, entry, count).await?,
        None => Layout::chosen(entry),
    };
    if parts::legal(&parts.parts) {
        return Ok(parts);
    }
    // Another server's parts, which S3 would refuse. The copy's ETag will differ.
    Ok(Layout::chosen(entry))
}

/// For parts of unequal sizes: one HEAD a part. An empty last part is left out: no range of
/// bytes says it. The copy's ETag will differ.
pub(super) async fn ask_every_part(job: &Job, entry: &Entry, count: u64) -> Result<Layout, CopyError> {
    let sizes: Vec<u64> = streams::iter(1..=i32::try_from(count).unwrap_or(i32::MAX))
        .map(async |number| {
            let head = job.head_source(&entry.key, Some(&entry.etag), Some(number)).await?;
            Ok::<_, CopyError>(size(&head))
        })
        .buffered(job.caller.pace.most())
        .try_collect()
        .await?;
    // Unpinned it could be another object's; pinned, a sum that is off is a server's fault.
    if sizes.iter().sum::<u64>() == entry.size && entry.size > 0 {
        let parts = parts::of_sizes(sizes.into_iter().filter(|size| *size > 0));
        Ok(Layout { guessed: false, exact: parts.len() as u64 == count, parts })
    } else {
        Ok(Layout::chosen(entry))
    }
}

//! Both sides' objects, key by key, and what the pair of them tells.

use std::cmp::Ordering;

use bucket_copy::RunError;
use bucket_copy::fetch::{Object, Objects};
use jiff::SignedDuration;
use serde::Serialize;

/// The state of a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    /// The same on both sides, by its ETag.
    Complete,
    /// As large on both sides, but their ETags cannot be compared.
    NotVerified,
    /// The vendor has another one by now.
    ChangedSince,
    /// On this side alone.
    OnlyHere,
    /// At the vendor alone, of which the destination is listed.
    NotCopied,
    /// The other side was not listed.
    NotCompared,
    /// It must be restored from its archive tier before it can be read.
    Archived,
}

/// One key that is on this side, or on the other alone.
pub(super) enum Pair {
    Here(Object, State),
    OnlyThere(Object),
}

/// Reads one or two sides in the order of their keys.
pub(super) struct Pairs {
    here: Side,
    there: Option<Side>,
    error: Option<RunError>,
    here_is_copy: bool,
}

struct Side {
    objects: Objects,
    /// What stands before the keys, in bytes.
    prefix: usize,
    head: Option<Object>,
}

impl Side {
    fn new((objects, prefix): (Objects, usize)) -> Self {
        Self { objects, prefix, head: None }
    }

    async fn fill(&mut self) -> Result<(), RunError> {
        if self.head.is_none()
            && let Some(mut object) = self.objects.next().await?
        {
            object.key.drain(..self.prefix);
            self.head = Some(object);
        }
        Ok(())
    }
}

impl Pairs {
    pub(super) fn new(here: (Objects, usize), there: Option<(Objects, usize)>, here_is_copy: bool) -> Self {
        Self { here: Side::new(here), there: there.map(Side::new), error: None, here_is_copy }
    }

    /// The next key, without its side's prefix.
    pub(super) async fn next(&mut self) -> Result<Option<Pair>, RunError> {
        self.here.fill().await?;
        if let Some(there) = &mut self.there
            && let Err(error) = there.fill().await
        {
            (self.there, self.error) = (None, Some(error));
        }
        let Some(there) = &mut self.there else {
            let here = self.here.head.take();
            return Ok(here.map(|here| judged(here, State::NotCompared)));
        };
        let order = match (&self.here.head, &there.head) {
            (None, None) => return Ok(None),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(here), Some(there)) => here.key.as_bytes().cmp(there.key.as_bytes()),
        };
        Ok(match order {
            Ordering::Less => self.here.head.take().map(|here| judged(here, State::OnlyHere)),
            Ordering::Greater => there.head.take().map(Pair::OnlyThere),
            Ordering::Equal => self.here.head.take().zip(there.head.take()).map(|(here, there)| {
                let state = if self.here_is_copy { state(&there, &here) } else { state(&here, &there) };
                judged(here, state)
            }),
        })
    }

    pub(super) fn is_compared(&self) -> bool {
        self.there.is_some()
    }

    pub(super) fn into_error(self) -> Option<String> {
        self.error.map(|error| error.to_string())
    }
}

fn judged(object: Object, state: State) -> Pair {
    let state = if object.archived { State::Archived } else { state };
    Pair::Here(object, state)
}

/// An object overwritten while its copy is made can carry an older time than the copy.
const MARGIN: SignedDuration = SignedDuration::from_mins(15);

/// As far as two listings tell, which do not show whether ETags are those of SSE-KMS.
fn state(source: &Object, copy: &Object) -> State {
    if source.size != copy.size {
        State::ChangedSince
    } else if source.etag == copy.etag {
        State::Complete
    } else if copy.modified.duration_since(source.modified) < MARGIN {
        State::ChangedSince
    } else {
        State::NotVerified
    }
}

#[cfg(test)]
mod tests {
    use bucket_copy::ETag;
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn two_listings_tell_the_state() {
        let object = |size, etag: &str, minute: i64| Object {
            key: "a".into(),
            size,
            etag: ETag::parse(etag),
            modified: Timestamp::from_second(minute * 60).expect("in range"),
            archived: false,
            version: None,
        };
        let source = object(1, "a", 60);
        for (copy, expected) in [
            (object(1, "a", 100), State::Complete),
            (object(1, "a", 10), State::Complete),
            (object(2, "a", 100), State::ChangedSince),
            (object(1, "b", 74), State::ChangedSince),
            (object(1, "b", 76), State::NotVerified),
        ] {
            assert_eq!(state(&source, &copy), expected, "{copy:?}");
        }
    }
}

//! What is left of a run that stopped before its end: the keys it did not look at, the objects
//! it did but that are not copied yet, and the uploads it left open. It is kept in the source's
//! lease ([`crate::lease`]), which only the run that holds it writes, so that a run and what is
//! left of it can never be those of two runs.
//!
//! It is written while the run works, too, every time the lease is renewed and soon after an
//! upload was opened: what a killed run leaves is known but for its last seconds. Ranges then
//! begin at the last key up to which everything was dealt with or is in flight; what is in
//! flight is among the objects, with a mark that it may have arrived.
//!
//! Of a checkpoint that [`Checkpoint::cut`] makes many, each is whole: it can be kept on its own
//! and continued like any other.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::keyspace::KeyRange;
use crate::list::{Archived, Entry};
use crate::report::{Amount, Reason};
use crate::{ETag, Plan, RunError, Source};

/// Objects that failed that a checkpoint keeps, to be tried again by the next run. Of more, it
/// keeps the number: the run after that looks at everything again.
pub(crate) const KEPT_FAILED: usize = 1_000;

/// What is left of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    pub(crate) scope: Scope,
    /// When the first of the runs began that this is left of.
    pub(crate) since: Timestamp,
    /// How many runs worked on it.
    pub(crate) rounds: u32,
    /// Keys that were not looked at; in order, no key in two of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) ranges: Vec<KeyRange>,
    /// Objects that were, and are to be copied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) objects: Vec<Unfinished>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) uploads: Vec<OpenUpload>,
    /// Keys of objects that may have arrived without what comes after them, such as annotations:
    /// a listing does not tell.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) in_doubt: BTreeSet<String>,
    /// What the runs before found that no run after them will look at.
    #[serde(default)]
    pub(crate) earlier: Earlier,
    /// Since then a run worked on it that died: what it opened last is not in `uploads`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) strays_since: Option<Timestamp>,
}

/// What a run was asked for, and how it copies. Another run does not go on where this one ended:
/// it would leave out what it was asked for, or mix two kinds of copies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Scope {
    bucket: String,
    pub(crate) lands_in: String,
    pub(crate) prefix: String,
    pub(crate) modified_after: Option<Timestamp>,
    storage_class: Option<String>,
    kms_key_id: Option<String>,
}

impl Scope {
    pub(crate) fn of(plan: &Plan, source: &Source) -> Self {
        Self {
            bucket: source.bucket.clone(),
            lands_in: source.lands_in.clone(),
            prefix: plan.prefix.clone(),
            modified_after: plan.modified_after,
            storage_class: plan.destination.storage_class.as_ref().map(ToString::to_string),
            kms_key_id: plan.destination.kms_key_id.clone(),
        }
    }

    /// The plan of a run of this scope.
    ///
    /// # Errors
    /// [`RunError::OtherSettings`] where the settings are others now.
    pub(crate) fn narrow(&self, plan: &Plan) -> Result<Plan, RunError> {
        let plan = Plan { prefix: self.prefix.clone(), modified_after: self.modified_after, ..plan.clone() };
        match plan.sources.iter().find(|source| Self::of(&plan, source) == *self) {
            Some(source) => Ok(Plan { sources: vec![source.clone()], ..plan }),
            None => Err(RunError::OtherSettings(self.bucket.clone())),
        }
    }

    /// Whether it is all of the source.
    pub(crate) fn is_whole(&self) -> bool {
        self.prefix.is_empty() && self.modified_after.is_none()
    }

    /// Whether it is of the same bucket, and lands in the same place.
    fn is_of(&self, other: &Self) -> bool {
        (&self.bucket, &self.lands_in) == (&other.bucket, &other.lands_in)
    }

    /// The same, but for being all of the source.
    fn whole(&self) -> Self {
        Self { prefix: String::new(), modified_after: None, ..self.clone() }
    }
}

/// An object that is to be copied.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Unfinished {
    pub(crate) key: String,
    size: u64,
    etag: String,
    modified: Timestamp,
    reason: Reason,
    /// Its copy was begun, and may have arrived unheard.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) begun: bool,
}

impl Unfinished {
    pub(crate) fn new(entry: &Entry, reason: Reason, begun: bool) -> Self {
        Self {
            key: entry.key.clone(),
            size: entry.size,
            etag: entry.etag.to_string(),
            modified: entry.modified,
            reason,
            begun,
        }
    }

    /// As it was listed.
    pub(crate) fn entry(self) -> (Entry, Reason) {
        let Self { key, size, modified, reason, .. } = self;
        (Entry { key, size, etag: ETag::parse(&self.etag), modified, archived: Archived::No }, reason)
    }
}

/// A multipart upload that was neither completed nor aborted. Its parts are found again by
/// ListParts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OpenUpload {
    /// The key at the source.
    pub(crate) key: String,
    pub(crate) upload_id: String,
    /// The ETag of the object that its parts are of.
    pub(crate) etag: String,
    /// Whether its parts passed through the run: they come with other checksums then.
    #[serde(default)]
    pub(crate) streams: bool,
    /// Whether its parts' ETags are no MD5s.
    #[serde(default)]
    pub(crate) kms: bool,
    /// Whether it was opened with the object's tags.
    #[serde(default)]
    pub(crate) tags: bool,
}

/// What runs found that stays to be told when the last of them is done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Earlier {
    pub(crate) archived: Amount,
    /// Those that are not among the objects.
    pub(crate) failed: Amount,
    pub(crate) newest: Option<Timestamp>,
    pub(crate) newest_missing: Option<Timestamp>,
}

impl Earlier {
    pub(crate) fn miss(&mut self, modified: Timestamp) {
        self.newest_missing = self.newest_missing.max(Some(modified));
    }
}

impl Checkpoint {
    /// Of a run that has not begun.
    pub(crate) fn new(scope: Scope, since: Timestamp) -> Self {
        Self {
            scope,
            since,
            rounds: 0,
            ranges: vec![KeyRange::default()],
            objects: Vec::new(),
            uploads: Vec::new(),
            in_doubt: BTreeSet::new(),
            earlier: Earlier::default(),
            strays_since: None,
        }
    }

    /// Of a run that looked at everything; `None` where nothing is in doubt.
    pub(crate) fn of_doubt(
        scope: Scope,
        since: Timestamp,
        in_doubt: BTreeSet<String>,
        strays_since: Option<Timestamp>,
    ) -> Option<Self> {
        let ranges = Vec::new();
        (!in_doubt.is_empty() || strays_since.is_some()).then(|| Self {
            ranges,
            in_doubt,
            strays_since,
            ..Self::new(scope, since)
        })
    }

    /// Keys of objects that may have arrived without what comes after them.
    fn doubts(&mut self) -> BTreeSet<String> {
        let begun = self.objects.iter().filter(|object| object.begun).map(|object| object.key.clone());
        let mut doubts: BTreeSet<_> = begun.collect();
        doubts.append(&mut self.in_doubt);
        doubts
    }

    /// Whether a run that does no more than this leaves less to the next. One large object that
    /// takes longer than a run, and does not come in parts, must not keep the next ones from
    /// all that is new: they look at everything again, and find it among that.
    pub(crate) fn is_worth_going_on(&self) -> bool {
        !self.ranges.is_empty() || self.objects.iter().any(|object| !object.begun)
    }

    /// Whether another has the same left, in whatever order it came to be.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        let keys = |of: &Self| -> BTreeSet<String> { of.objects.iter().map(|of| of.key.clone()).collect() };
        self.ranges == other.ranges && keys(self) == keys(other)
    }

    /// As long as others go on with pieces of it, any of its objects may have arrived.
    pub(crate) fn shared(mut self) -> Self {
        self.objects.iter_mut().for_each(|object| object.begun = true);
        self
    }

    /// Puts together what is left of several of one scope; `None` where there are none.
    pub(crate) fn join(pieces: impl IntoIterator<Item = Self>) -> Option<Self> {
        let mut joined = pieces.into_iter().reduce(|mut all, piece| {
            all.since = all.since.min(piece.since);
            all.rounds = all.rounds.max(piece.rounds);
            all.ranges.extend(piece.ranges);
            all.objects.extend(piece.objects);
            all.uploads.extend(piece.uploads);
            all.in_doubt.extend(piece.in_doubt);
            let Earlier { archived, failed, newest, newest_missing } = piece.earlier;
            all.earlier.archived = all.earlier.archived.plus(archived);
            all.earlier.failed = all.earlier.failed.plus(failed);
            all.earlier.newest = all.earlier.newest.max(newest);
            all.earlier.newest_missing = all.earlier.newest_missing.max(newest_missing);
            all.strays_since = earliest(all.strays_since, piece.strays_since);
            all
        })?;
        joined.ranges.sort_by(|a, b| a.after.cmp(&b.after));
        Some(joined)
    }

    /// What was written may be rubbish.
    fn is_sound(&self) -> bool {
        let in_order =
            |ranges: &[KeyRange]| ranges[0].up_to.as_ref().is_some_and(|up_to| *up_to <= ranges[1].after);
        let is_range = |range: &KeyRange| range.up_to.as_ref().is_none_or(|up_to| *up_to > range.after);
        self.ranges.iter().all(is_range) && self.ranges.windows(2).all(in_order)
    }

    /// Cuts it into at most so many, of about the same number of keys as far as `boundaries`,
    /// in order, tell. What was found earlier is in the first.
    pub(crate) fn cut(self, pieces: usize, boundaries: &[String]) -> Vec<Self> {
        let ranges: Vec<_> = self.ranges.iter().flat_map(|range| split(range, boundaries)).collect();
        let pieces = pieces.min(ranges.len().max(self.objects.len())).max(1);
        let piece = Self {
            ranges: Vec::new(),
            objects: Vec::new(),
            uploads: Vec::new(),
            earlier: Earlier::default(),
            ..self.clone()
        };
        let mut cut = vec![piece; pieces];
        cut[0].earlier = self.earlier;
        let count = ranges.len();
        for (index, range) in ranges.into_iter().enumerate() {
            let ranges = &mut cut[index * pieces / count].ranges;
            match ranges.last_mut() {
                Some(last) if last.up_to.as_ref() == Some(&range.after) => last.up_to = range.up_to,
                _ => ranges.push(range),
            }
        }
        for (index, object) in self.objects.into_iter().enumerate() {
            cut[index % pieces].objects.push(object);
        }
        for upload in self.uploads {
            // With its object, which finds it by its key.
            let its = |piece: &Self| {
                piece.objects.iter().any(|object| object.key == upload.key)
                    || piece.ranges.iter().any(|range| range.holds(&upload.key))
            };
            let at = cut.iter().position(its).unwrap_or(0);
            cut[at].uploads.push(upload);
        }
        cut
    }
}

/// The earlier of two times, where either may be none.
pub(crate) fn earliest(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    one.into_iter().chain(other).min()
}

/// A range at the boundaries within it.
fn split(range: &KeyRange, boundaries: &[String]) -> Vec<KeyRange> {
    let mut after = range.after.clone();
    let mut ranges = Vec::new();
    for boundary in boundaries {
        let is_within = *boundary > after && range.up_to.as_ref().is_none_or(|up_to| boundary < up_to);
        if is_within {
            let before = std::mem::replace(&mut after, boundary.clone());
            ranges.push(KeyRange { after: before, up_to: Some(boundary.clone()) });
        }
    }
    ranges.push(KeyRange { after, up_to: range.up_to.clone() });
    ranges
}

/// What a run finds of those before it.
#[derive(Debug, Default)]
pub(crate) struct Remains {
    /// What it goes on with.
    pub(crate) own: Option<Checkpoint>,
    /// What it leaves for others as it is.
    pub(crate) others: Vec<Checkpoint>,
    /// Uploads of narrower runs, for a run over all of the source to go on with.
    pub(crate) adopted: Vec<OpenUpload>,
    /// What of theirs is in doubt.
    pub(crate) in_doubt: BTreeSet<String>,
    /// What nobody will go on with. Its uploads are of no use.
    pub(crate) dropped: Vec<Checkpoint>,
    /// When the run before began, if it died.
    pub(crate) died_since: Option<Timestamp>,
}

impl Remains {
    /// Sorts what is left for a run of this scope.
    ///
    /// It goes on with what was left of its own scope. A run over all of the source finds and
    /// copies again whatever a narrower one left, so that this is forgotten; but its uploads
    /// are taken over. A narrower one leaves what is left of the whole alone, for the next of
    /// that kind to go on with; of two narrow ones, as somebody asked for them by hand, the
    /// newer one counts.
    pub(crate) fn of(left: Vec<Checkpoint>, died_since: Option<Timestamp>, scope: &Scope) -> Self {
        let mut remains = Self { died_since, ..Self::default() };
        for mut checkpoint in left {
            if !checkpoint.is_sound() {
                tracing::warn!(?scope, "what a run before left cannot be understood; starting over");
                remains.dropped.push(checkpoint);
            } else if checkpoint.scope == *scope {
                remains.own = Some(checkpoint);
            } else if !scope.is_whole() && checkpoint.scope == scope.whole() {
                checkpoint.strays_since = earliest(checkpoint.strays_since, died_since);
                remains.others.push(checkpoint);
            } else if !checkpoint.scope.is_of(scope) {
                // Another deployment's that shares the destination.
                remains.others.push(checkpoint);
            } else if checkpoint.scope.whole() == *scope {
                remains.adopted.append(&mut checkpoint.uploads);
                remains.in_doubt.append(&mut checkpoint.doubts());
                remains.died_since = earliest(remains.died_since, checkpoint.strays_since);
            } else {
                remains.in_doubt.append(&mut checkpoint.doubts());
                remains.dropped.push(checkpoint);
            }
        }
        remains
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(after: &str, up_to: Option<&str>) -> KeyRange {
        KeyRange { after: after.to_owned(), up_to: up_to.map(str::to_owned) }
    }

    fn object(key: &str) -> Unfinished {
        let modified = Timestamp::UNIX_EPOCH;
        let entry =
            Entry { key: key.into(), size: 1, etag: ETag::parse("e"), modified, archived: Archived::No };
        Unfinished::new(&entry, Reason::New, false)
    }

    fn upload(key: &str) -> OpenUpload {
        OpenUpload {
            key: key.into(),
            upload_id: key.into(),
            etag: "e".into(),
            streams: false,
            kms: false,
            tags: false,
        }
    }

    fn checkpoint() -> Checkpoint {
        let scope = Scope {
            bucket: "b".into(),
            lands_in: String::new(),
            prefix: String::new(),
            modified_after: None,
            storage_class: None,
            kms_key_id: None,
        };
        Checkpoint {
            ranges: vec![range("b", Some("f")), range("m", None)],
            objects: ["a1", "a2", "g"].map(object).into(),
            uploads: ["a2", "p"].map(upload).into(),
            earlier: Earlier { archived: Amount { objects: 3, bytes: 3 }, ..Earlier::default() },
            ..Checkpoint::new(scope, Timestamp::UNIX_EPOCH)
        }
    }

    #[test]
    fn what_is_left_is_alike_whatever_order_it_came_to_be_in() {
        let left = |objects: Vec<Unfinished>| Checkpoint { objects, ..checkpoint() };
        let begun = Unfinished { begun: true, ..object("a") };
        assert!(left(vec![object("a"), object("b")]).is_like(&left(vec![object("b"), begun])));
        assert!(!left(vec![object("a"), object("b")]).is_like(&left(vec![object("a")])));
    }

    #[test]
    fn the_pieces_are_the_whole_and_nothing_is_in_two() {
        let boundaries = ["c", "d", "f", "h", "o", "q", "s"].map(str::to_owned);
        for pieces in 1..12 {
            let whole = checkpoint();
            let cut = whole.clone().cut(pieces, &boundaries);
            assert!((1..=pieces).contains(&cut.len()), "{cut:#?}");
            assert!(cut.iter().all(Checkpoint::is_sound), "{cut:#?}");
            for key in ["a", "b", "b1", "c", "d1", "f", "g", "m", "m1", "o", "p", "q", "z"] {
                let holds = |checkpoint: &Checkpoint| {
                    checkpoint.ranges.iter().filter(|range| range.holds(key)).count()
                };
                assert_eq!(cut.iter().map(holds).sum::<usize>(), holds(&whole), "{pieces} {key}");
            }
            let objects = |key: &str| {
                cut.iter().filter(|piece| piece.objects.iter().any(|object| object.key == key)).count()
            };
            assert!(whole.objects.iter().all(|object| objects(&object.key) == 1));
            for piece in &cut {
                for upload in &piece.uploads {
                    let is_object = piece.objects.iter().any(|object| object.key == upload.key);
                    assert!(
                        is_object || piece.ranges.iter().any(|range| range.holds(&upload.key)),
                        "{piece:#?}"
                    );
                }
            }
            assert_eq!(cut.iter().map(|piece| piece.uploads.len()).sum::<usize>(), 2);
            assert_eq!(cut.iter().map(|piece| piece.earlier.archived.objects).sum::<u64>(), 3);
        }
        assert_eq!(checkpoint().cut(4, &boundaries).len(), 4);
    }

    #[test]
    fn what_a_run_goes_on_with_is_what_was_left_of_its_own_kind() {
        let whole = checkpoint();
        let narrow = |prefix: &str| Checkpoint {
            scope: Scope { prefix: prefix.into(), ..whole.scope.clone() },
            ..checkpoint()
        };
        let left = || vec![whole.clone(), narrow("a")];
        let remains = Remains::of(left(), None, &whole.scope);
        assert_eq!(
            (remains.own.as_ref(), remains.adopted.len(), remains.dropped.len()),
            (Some(&whole), 2, 0)
        );
        let remains = Remains::of(left(), None, &narrow("a").scope);
        assert_eq!(
            (remains.own, remains.others, remains.dropped),
            (Some(narrow("a")), vec![whole.clone()], vec![])
        );
        let remains = Remains::of(left(), None, &narrow("b").scope);
        assert_eq!(
            (remains.own, remains.others, remains.dropped),
            (None, vec![whole.clone()], vec![narrow("a")])
        );
        let shared = Scope { lands_in: "elsewhere/".into(), ..whole.scope.clone() };
        let remains = Remains::of(left(), None, &shared);
        assert_eq!((remains.own, remains.others.len(), remains.dropped), (None, 2, vec![]));
        let other = Scope { storage_class: Some("GLACIER".into()), ..whole.scope.clone() };
        let remains = Remains::of(left(), None, &other);
        assert_eq!((remains.own, remains.adopted.len(), remains.dropped.len()), (None, 0, 2));
    }
}

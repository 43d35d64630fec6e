//! What a run has begun and not finished: what its [`Checkpoint`] is made of.

use std::collections::{BTreeSet, HashMap, VecDeque};

use jiff::Timestamp;

use crate::checkpoint::{Checkpoint, Earlier, KEPT_FAILED, OpenUpload, Remains, Scope, Unfinished, earliest};
use crate::keyspace::KeyRange;
use crate::list::Entry;
use crate::report::{Fate, Outcome, Reason, Resumed};

/// One source's, in one run.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// What this run goes on with, or what it would were it killed at once; but for its objects.
    begin: Checkpoint,
    /// Of what this run goes on with: not begun yet.
    carried: VecDeque<Unfinished>,
    in_flight: HashMap<String, Unfinished>,
    /// Interrupted or failed.
    unfinished: Vec<Unfinished>,
    failed: usize,
    /// Keys that are looked at more closely than a listing tells.
    in_doubt: BTreeSet<String>,
    earlier: Earlier,
}

impl Ledger {
    /// Goes on with `remains`, whatever they are; `None` where there are none.
    pub(crate) fn of_piece(scope: Scope, started: Timestamp, remains: &mut Remains) -> Option<Self> {
        let own = remains.own.take()?;
        let mut ledger = Self::new(scope, started, remains);
        let strays_since = earliest(own.strays_since, ledger.begin.strays_since);
        ledger.carried = own.objects.iter().cloned().collect();
        ledger.in_doubt = own.in_doubt.clone();
        ledger.earlier = own.earlier.clone();
        ledger.begin = Checkpoint { objects: Vec::new(), strays_since, ..own };
        Some(ledger)
    }

    /// Goes on with `remains`, or begins with everything.
    pub(crate) fn new(scope: Scope, started: Timestamp, remains: &mut Remains) -> Self {
        let mut begin = Checkpoint::new(scope, started);
        let mut in_doubt = std::mem::take(&mut remains.in_doubt);
        match remains.own.take() {
            Some(own) if own.is_worth_going_on() => begin = own,
            Some(own) => {
                (begin.uploads, begin.strays_since) = (own.uploads, own.strays_since);
                in_doubt.extend(own.in_doubt);
                in_doubt.extend(own.objects.into_iter().map(|object| object.key));
            }
            None => {}
        }
        in_doubt.append(&mut begin.in_doubt);
        begin.uploads.append(&mut remains.adopted);
        begin.strays_since = earliest(begin.strays_since, remains.died_since);
        Self {
            carried: std::mem::take(&mut begin.objects).into(),
            earlier: begin.earlier.clone(),
            begin,
            in_flight: HashMap::new(),
            unfinished: Vec::new(),
            failed: 0,
            in_doubt,
        }
    }

    /// Whether an object may have arrived without what comes after it.
    pub(crate) fn is_in_doubt(&self, key: &str) -> bool {
        self.in_doubt.contains(key)
    }

    /// The keys to look at.
    pub(crate) fn ranges(&self) -> &[KeyRange] {
        &self.begin.ranges
    }

    /// What earlier runs left open, and since when one may have left more.
    pub(crate) fn uploads(&self) -> (Vec<OpenUpload>, Option<Timestamp>) {
        (self.begin.uploads.clone(), self.begin.strays_since)
    }

    /// What the report says of the runs before; `None` where there were none.
    pub(crate) fn resumed(&self) -> Option<Resumed> {
        let Checkpoint { since, rounds, ranges, earlier, .. } = &self.begin;
        (*rounds > 0).then(|| Resumed {
            since: *since,
            runs: *rounds,
            after: ranges.first().map(|range| range.after.clone()),
            archived: earlier.archived,
            failed: earlier.failed,
        })
    }

    /// What they found that their reports told, and this one's has to tell again.
    pub(crate) fn earlier(&self) -> &Earlier {
        &self.begin.earlier
    }

    /// How many objects of those that earlier runs left are not begun yet.
    pub(crate) fn carried(&self) -> usize {
        self.carried.len()
    }

    /// The next object of those that earlier runs left.
    pub(crate) fn next_carried(&mut self) -> Option<Unfinished> {
        self.carried.pop_front()
    }

    /// The last one.
    pub(crate) fn last_carried(&mut self) -> Option<Unfinished> {
        self.carried.pop_back()
    }

    /// A copy is begun.
    pub(crate) fn begun(&mut self, entry: &Entry, reason: Reason) {
        self.in_flight.insert(entry.key.clone(), Unfinished::new(entry, reason, true));
    }

    /// An object was dealt with.
    pub(crate) fn done(&mut self, outcome: &Outcome) {
        let begun = self.in_flight.remove(&outcome.key);
        match (&outcome.fate, begun) {
            (Fate::Interrupted, Some(begun)) => self.unfinished.push(begun),
            (Fate::Failed(_), Some(begun)) if self.failed < KEPT_FAILED => {
                self.failed += 1;
                self.unfinished.push(begun);
            }
            (Fate::Failed(_), _) => {
                self.earlier.failed.add(outcome.size);
                self.earlier.miss(outcome.modified);
            }
            (Fate::Archived(_), _) => {
                self.earlier.archived.add(outcome.size);
                self.earlier.miss(outcome.modified);
            }
            _ => {
                self.in_doubt.remove(&outcome.key);
            }
        }
    }

    /// What a run leaves that was not stopped to the next one, which looks at everything. Where
    /// it did so itself, from the first key `to_the_end`, what was not met is gone.
    pub(crate) fn left_in_doubt(&self, to_the_end: bool) -> Option<Checkpoint> {
        let everything = to_the_end && self.begin.scope.is_whole() && self.resumed().is_none();
        let mut in_doubt: BTreeSet<_> = self.unfinished.iter().map(|object| object.key.clone()).collect();
        if !everything {
            in_doubt.extend(self.in_doubt.iter().cloned());
        }
        // What died before may have left an upload of what was not copied this time either.
        let strays = self.begin.strays_since.filter(|_| !everything || !self.unfinished.is_empty());
        Checkpoint::of_doubt(self.begin.scope.clone(), self.begin.since, in_doubt, strays)
    }

    /// What is left: of these keys nothing is known, `waiting` are to be copied, `uploads` open.
    pub(crate) fn checkpoint<'a>(
        &self,
        ranges: Vec<KeyRange>,
        waiting: impl Iterator<Item = (&'a Entry, Reason)>,
        uploads: Vec<OpenUpload>,
        newest: Option<Timestamp>,
    ) -> Checkpoint {
        // A copy that was begun out of order is found again where the keys before it are.
        let found_again = |object: &&Unfinished| ranges.iter().any(|range| range.holds(&object.key));
        let begun = self.in_flight.values().chain(&self.unfinished).filter(|object| !found_again(object));
        let waiting = waiting.map(|(entry, reason)| Unfinished::new(entry, reason, false));
        let objects: Vec<_> = self.carried.iter().chain(begun).cloned().chain(waiting).collect();
        Checkpoint {
            rounds: self.begin.rounds + 1,
            ranges,
            objects,
            uploads,
            in_doubt: self.in_doubt.clone(),
            earlier: Earlier { newest: self.begin.earlier.newest.max(newest), ..self.earlier.clone() },
            ..self.begin.clone()
        }
    }

    /// The checkpoint of a run that was killed before it did anything.
    pub(crate) fn unbegun(&self) -> Checkpoint {
        let objects = self.carried.iter().cloned().collect();
        Checkpoint { objects, in_doubt: self.in_doubt.clone(), ..self.begin.clone() }
    }
}

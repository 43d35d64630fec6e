//! The keys of a source as ranges that meet exactly, how far each was dealt with, and where to
//! split one. Pure: what was listed comes in, where to list goes out.
//!
//! A range begins after one key and ends with another, so that no key is in two or in none of
//! them, whatever its letters. It ends earlier when another takes its rest, which is only
//! ever keys that no page of it has reached yet.
//!
//! Nobody knows what a bucket holds before it is listed: a split can find nothing. Every split
//! costs up to one request a side more than one range would, so their number is limited by
//! that of the pages listed. An earlier run's boundaries cost as much, but never disappoint.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::alphabet::{Alphabet, Ruler, after_all, common};

/// Keys after one and up to another, which is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeyRange {
    /// Empty: from the first key on.
    #[serde(default)]
    pub(crate) after: String,
    /// None: to the last key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) up_to: Option<String>,
}

impl KeyRange {
    pub(crate) fn holds(&self, key: &str) -> bool {
        key > self.after.as_str() && !self.is_beyond(key)
    }

    fn is_beyond(&self, key: &str) -> bool {
        self.up_to.as_deref().is_some_and(|up_to| key > up_to)
    }
}

/// A range's name while it is listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct RangeId(u32);

/// A new range.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Split {
    pub(crate) id: RangeId,
    pub(crate) after: String,
    /// Of the source and the destination: those without are known to have no key in it.
    pub(crate) has_keys: [bool; 2],
}

/// How far one side of a range was listed.
#[derive(Clone, Debug, Default)]
struct Progress {
    pages: u64,
    /// The last key of its pages, or that which the range begins after.
    reached: String,
    /// There is no further key in the range.
    ended: bool,
}

#[derive(Debug)]
struct Range {
    id: RangeId,
    keys: KeyRange,
    sides: [Progress; 2],
    /// The first key of its pages.
    first: Option<String>,
    end: End,
    /// The last key that was looked at, and the last one that a copy was begun for.
    looked_at: String,
    admitted: String,
    /// Copies found in it that were not begun yet.
    waiting: u64,
    listed: bool,
}

/// What is known of the keys after a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Unknown,
    /// There is one.
    Followed,
    /// There is none next to it: perhaps its own end long before.
    Deserted,
}

impl Range {
    fn new(id: RangeId, keys: KeyRange, end: End) -> Self {
        let side = Progress { reached: keys.after.clone(), ..Progress::default() };
        Self {
            id,
            sides: [side.clone(), side],
            first: None,
            end,
            looked_at: keys.after.clone(),
            admitted: keys.after.clone(),
            waiting: 0,
            listed: false,
            keys,
        }
    }

    fn reached(&self) -> &str {
        let [source, destination] = &self.sides;
        (&source.reached).max(&destination.reached)
    }

    fn is_unknown(&self) -> bool {
        self.sides.iter().any(|side| side.pages == 0 && !side.ended)
    }

    fn pages(&self) -> u64 {
        self.sides.iter().map(|side| side.pages).sum()
    }

    fn is_done(&self) -> bool {
        self.listed && self.waiting == 0
    }

    /// Up to where everything was looked at and nothing waits.
    fn done_up_to(&self) -> &str {
        if self.waiting == 0 { &self.looked_at } else { &self.admitted }
    }
}

/// Ranges of fewer pages, both sides together, are not worth a split.
const WORTH_A_SPLIT: f64 = 20.0;
/// Where no key is known beyond, how many times the way that was come is gone at once.
const LEAP: f64 = 3.0;

/// Of both sides, that a range must have to be worth one in the next run.
const PAGES_OF_A_RANGE: u64 = 20;
/// Requests above the least number that any run may send.
const FREE_REQUESTS: u64 = 16;
/// Keys of a page from which the letters are learned.
const SAMPLED: usize = 8;

/// Keys that divide a source into ranges of about one size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Boundaries {
    /// Of both sides, when the keys were found.
    pub(crate) pages: u64,
    /// In order.
    pub(crate) keys: Vec<String>,
}

/// All keys of a source, those not listed yet included.
#[derive(Debug)]
pub(crate) struct Keyspace {
    /// In the order of their keys; they meet.
    ranges: Vec<Range>,
    made: u32,
    /// The longest key that may be asked for, in bytes.
    longest: usize,
    /// What an earlier run found, in order, and how many pages lie between two of it.
    known: Vec<String>,
    apart: f64,
    alphabet: Alphabet,
    lowest: Option<String>,
    /// Pages of both sides, the keys on them that are within their ranges, and the most that
    /// one page had.
    pages: u64,
    keys: u64,
    page: u64,
    samples: Samples,
}

impl Keyspace {
    /// These ranges, in order; what is between them was dealt with. No split is longer than
    /// `longest` bytes.
    pub(crate) fn new(longest: usize, open: Vec<KeyRange>) -> Self {
        let mut ranges: Vec<Range> = Vec::with_capacity(2 * open.len() + 1);
        let mut begin = |keys: KeyRange, is_done: bool| {
            let id = RangeId(u32::try_from(ranges.len()).unwrap_or(u32::MAX));
            let mut range = Range::new(id, keys, End::Unknown);
            range.listed = is_done;
            range.sides.iter_mut().for_each(|side| side.ended = is_done);
            ranges.push(range);
        };
        // Where the last one ended; nowhere after the last key.
        let mut reached = Some(String::new());
        for keys in open {
            if let Some(reached) = reached.filter(|reached| *reached != keys.after) {
                begin(KeyRange { after: reached, up_to: Some(keys.after.clone()) }, true);
            }
            reached = keys.up_to.clone();
            begin(keys, false);
        }
        if let Some(after) = reached {
            begin(KeyRange { after, up_to: None }, true);
        }
        Self {
            made: u32::try_from(ranges.len()).unwrap_or(u32::MAX),
            ranges,
            longest,
            known: Vec::new(),
            apart: 0.0,
            alphabet: Alphabet::default(),
            lowest: None,
            pages: 0,
            keys: 0,
            page: 1,
            samples: Samples::default(),
        }
    }

    /// The ranges that were not listed to their end, and what they begin after.
    pub(crate) fn open(&self) -> impl Iterator<Item = (RangeId, &str)> {
        let open = self.ranges.iter().filter(|range| !range.listed);
        open.map(|range| (range.id, range.keys.after.as_str()))
    }

    /// Splits at what an earlier run found, before any guess.
    pub(crate) fn know(&mut self, boundaries: Boundaries) {
        self.apart = precise(boundaries.pages / (boundaries.keys.len() as u64 + 1));
        self.known = boundaries.keys;
    }

    /// Takes note of a page of a range's side (0: the source) and drops what is beyond the
    /// range's end. Answers whether the side goes on: `more` is what the page says.
    pub(crate) fn arrived<K: AsRef<str>>(
        &mut self,
        id: RangeId,
        side: usize,
        page: &mut VecDeque<K>,
        more: bool,
    ) -> bool {
        self.pages += 1;
        let Some(at) = self.position(id) else { return false };
        let range = &mut self.ranges[at];
        let mut beyond = false;
        while page.back().is_some_and(|key| range.keys.is_beyond(key.as_ref())) {
            page.pop_back();
            beyond = true;
        }
        self.keys += page.len() as u64;
        self.page = self.page.max(page.len() as u64);
        let progress = &mut range.sides[side];
        progress.pages += 1;
        if let Some(last) = page.back() {
            last.as_ref().clone_into(&mut progress.reached);
        }
        progress.ended = !more || beyond || range.keys.up_to.as_ref() == Some(&progress.reached);
        let goes_on = !progress.ended;
        if let (Some(first), Some(last)) = (page.front(), page.back()) {
            self.learn(at, first.as_ref(), last.as_ref());
            let step = (page.len() / SAMPLED).max(1);
            for key in page.iter().step_by(step) {
                self.alphabet.learn(key.as_ref());
            }
        }
        let range = &self.ranges[at];
        if range.first.is_none() && range.sides.iter().all(|side| side.ended) && at > 0 {
            self.ranges[at - 1].end = End::Deserted;
        }
        goes_on
    }

    fn learn(&mut self, at: usize, first: &str, last: &str) {
        let lower = |known: &Option<String>| known.as_deref().is_none_or(|known| first < known);
        if lower(&self.ranges[at].first) {
            self.ranges[at].first = Some(first.to_owned());
        }
        if lower(&self.lowest) {
            self.lowest = Some(first.to_owned());
        }
        if let Some(before) = at.checked_sub(1) {
            self.ranges[before].end = End::Followed;
        }
        self.alphabet.learn(last);
        self.samples.take(last);
    }

    /// Whether the source goes on after `pages` pages.
    pub(crate) fn is_longer_than(&self, pages: u64) -> bool {
        let mut sides = self.ranges.iter().flat_map(|range| &range.sides);
        sides.any(|side| side.pages >= pages && !side.ended)
    }

    /// Takes about half of what is left of the range that most is left of, if there is enough.
    pub(crate) fn split(&mut self) -> Option<Split> {
        let cuts = (0..self.ranges.len()).filter_map(|at| {
            let (key, left) = self.cut(at)?;
            Some((at, key, left))
        });
        let (at, key, _) = cuts.max_by(|(.., a), (.., b)| a.total_cmp(b))?;
        Some(self.split_at(at, key))
    }

    fn split_at(&mut self, at: usize, after: String) -> Split {
        let id = RangeId(self.made);
        self.made += 1;
        let range = &mut self.ranges[at];
        let up_to = range.keys.up_to.replace(after.clone());
        let mut rest = Range::new(id, KeyRange { after: after.clone(), up_to }, range.end);
        range.end = End::Unknown;
        // What ended before the new boundary has nothing after it.
        let has_keys = [0, 1].map(|side| !range.sides[side].ended);
        for (side, has_keys) in rest.sides.iter_mut().zip(has_keys) {
            side.ended = !has_keys;
        }
        self.ranges.insert(at + 1, rest);
        Split { id, after, has_keys }
    }

    /// Where to cut a range, and how many pages may be left of it.
    fn cut(&self, at: usize) -> Option<(String, f64)> {
        let range = &self.ranges[at];
        if range.listed || range.sides.iter().all(|side| side.ended) {
            return None;
        }
        let (key, left) = self.known_cut(range).or_else(|| self.guessed_cut(at))?;
        let is_within = key.as_str() > range.reached()
            && range.keys.up_to.as_ref().is_none_or(|up_to| key < *up_to)
            && key.len() <= self.longest;
        is_within.then_some((key, left))
    }

    fn known_cut(&self, range: &Range) -> Option<(String, f64)> {
        let from = self.known.partition_point(|key| key.as_str() <= range.reached());
        let to = match &range.keys.up_to {
            Some(up_to) => self.known.partition_point(|key| key < up_to),
            None => self.known.len(),
        };
        let inside = self.known.get(from..to).filter(|inside| !inside.is_empty())?;
        Some((inside[inside.len() / 2].clone(), self.apart * precise(inside.len() as u64 + 1)))
    }

    fn guessed_cut(&self, at: usize) -> Option<(String, f64)> {
        let range = &self.ranges[at];
        // What the last split found will tell more of this one.
        let awaited = [Some(range), self.ranges.get(at + 1)];
        if awaited.into_iter().flatten().any(Range::is_unknown) || !self.can_afford_a_guess() {
            return None;
        }
        let (lowest, first, reached) = (self.lowest.as_deref()?, range.first.as_deref()?, range.reached());
        let seen = precise(self.pages);
        let Some(up_to) = &range.keys.up_to else {
            // Is there anything beside the one folder, or after the one number, seen so far?
            let shared = &reached[..common(lowest, reached)];
            if !shared.is_empty() {
                return after_all(shared).map(|key| (key, seen));
            }
            let ruler = Ruler::new(&self.alphabet, reached, "");
            let at = ruler.place(reached);
            let half = (1.0 - at) / 2.0;
            return Some((ruler.key(at + half, half / 4.0), seen));
        };
        let beside = self.after_folder(at, reached).filter(|key| range.end != End::Followed && key < up_to);
        if let Some(key) = beside {
            return Some((key, seen));
        }
        let ruler = Ruler::new(&self.alphabet, reached, up_to);
        let at = ruler.place(reached);
        let (come, left) = (at - ruler.place(first), ruler.place(up_to) - at);
        let mut pages = if come > 0.0 { precise(range.pages()) * left / come } else { seen };
        let mut step = left / 2.0;
        if range.end != End::Followed {
            pages = pages.min(seen.max(WORTH_A_SPLIT));
            let way = at - ruler.place(lowest);
            step = if way > 0.0 { step.min(LEAP * way) } else { step };
        }
        if range.end == End::Deserted {
            step = step.min(left / 8.0);
        }
        (pages >= WORTH_A_SPLIT && step > 0.0).then(|| (ruler.key(at + step, step / 4.0), pages))
    }

    /// What comes after the folder that a range is within so far, unless that is one of many.
    fn after_folder(&self, at: usize, reached: &str) -> Option<String> {
        let range = &self.ranges[at];
        let outside = range.keys.up_to.as_deref().map_or(0, |up_to| common(reached, up_to));
        let shared = &reached[..common(range.first.as_deref()?, reached)];
        let folder = &shared[..=shared.rfind('/')?];
        let parent = &folder[..folder.trim_end_matches('/').rfind('/').map_or(0, |slash| slash + 1)];
        let before = at.checked_sub(1).and_then(|at| self.ranges[at].first.as_deref());
        let has_siblings = before.is_some_and(|first| first.starts_with(parent));
        after_all(folder).filter(|_| folder.len() > outside && !has_siblings)
    }

    /// Whether two requests more, a split's worst, are still within a tenth of all. Every range
    /// that is open may end with next to nothing on the last page of either side; most do not
    /// do so on both. The first splits are for free, for the pages to come.
    fn can_afford_a_guess(&self) -> bool {
        let open = self.ranges.iter().flat_map(|range| &range.sides).filter(|side| !side.ended).count();
        let wasted = self.pages.saturating_sub(self.keys / self.page) + open as u64 * 3 / 4 + 2;
        wasted <= (self.pages / 2).min(FREE_REQUESTS.max(self.pages / 12))
    }

    /// The rest of a range cannot be listed.
    pub(crate) fn given_up(&mut self, id: RangeId) {
        if let Some(at) = self.position(id) {
            self.ranges[at].sides.iter_mut().for_each(|side| side.ended = true);
        }
    }

    /// Everything in a range was looked at.
    pub(crate) fn listed(&mut self, id: RangeId) {
        if let Some(at) = self.position(id) {
            self.ranges[at].listed = true;
            self.join(at);
        }
    }

    /// A key was looked at.
    pub(crate) fn looked_at(&mut self, id: RangeId, key: &str) {
        if let Some(at) = self.position(id) {
            key.clone_into(&mut self.ranges[at].looked_at);
        }
    }

    /// A copy was found.
    pub(crate) fn found(&mut self, id: RangeId) {
        if let Some(at) = self.position(id) {
            self.ranges[at].waiting += 1;
        }
    }

    /// A copy is begun: of the first of those that wait, or, out of their order, of another.
    pub(crate) fn admitted(&mut self, id: RangeId, in_order: Option<&str>) {
        if let Some(at) = self.position(id) {
            let range = &mut self.ranges[at];
            range.waiting -= 1;
            if let Some(key) = in_order {
                key.clone_into(&mut range.admitted);
            }
            self.join(at);
        }
    }

    /// The key up to which everything was looked at and nothing waits; empty for none.
    pub(crate) fn done_up_to(&self) -> &str {
        let unfinished = self.ranges.iter().find(|range| !range.is_done()).or(self.ranges.last());
        unfinished.map_or("", Range::done_up_to)
    }

    /// What is left. Of a run that was stopped, keys that nobody looked at. While it works,
    /// those as well that wait to be copied.
    pub(crate) fn left(&self, stopped: bool) -> Vec<KeyRange> {
        let open = self.ranges.iter().filter(|range| match stopped {
            true => !range.listed,
            false => !range.is_done(),
        });
        let left = open.map(|range| {
            let after = if stopped { range.looked_at.as_str() } else { range.done_up_to() };
            KeyRange { after: after.to_owned(), up_to: range.keys.up_to.clone() }
        });
        left.filter(|range| range.up_to.as_ref() != Some(&range.after)).collect()
    }

    /// Joins a range that is done with its neighbours that are: of those, memory holds one
    /// between any two that are not.
    fn join(&mut self, at: usize) {
        let is_done = |range: Option<&Range>| range.is_some_and(Range::is_done);
        if !is_done(self.ranges.get(at)) {
            return;
        }
        for at in [at, at.saturating_sub(1)] {
            if is_done(self.ranges.get(at)) && is_done(self.ranges.get(at + 1)) {
                let right = self.ranges.remove(at + 1);
                let left = &mut self.ranges[at];
                left.keys.up_to = right.keys.up_to;
                left.looked_at = right.looked_at;
            }
        }
    }

    /// Where the next run is to split, for at most `most` ranges of one size; `None` if the
    /// boundaries known already do as well.
    pub(crate) fn boundaries(&mut self, most: usize) -> Option<Boundaries> {
        let ranges = usize::try_from(self.pages / PAGES_OF_A_RANGE).unwrap_or(most).clamp(1, most);
        self.samples.keys.sort_unstable();
        let samples = &self.samples.keys;
        let share = samples.len().div_ceil(ranges);
        let mut rest = samples.as_slice();
        let mut largest = 0;
        for key in &self.known {
            let (before, after) = rest.split_at(rest.partition_point(|sample| sample <= key));
            largest = largest.max(before.len());
            rest = after;
        }
        let is_fair = largest.max(rest.len()) <= 2 * share;
        if is_fair && (ranges / 2..=ranges * 2).contains(&(self.known.len() + 1)) {
            return None;
        }
        let mut keys: Vec<_> =
            (1..ranges).map(|index| samples[index * samples.len() / ranges].clone()).collect();
        keys.dedup();
        Some(Boundaries { pages: self.pages, keys })
    }

    fn position(&self, id: RangeId) -> Option<usize> {
        self.ranges.iter().position(|range| range.id == id)
    }
}

/// The last keys of some pages, evenly spread over all.
#[derive(Debug)]
struct Samples {
    keys: Vec<String>,
    /// Pages for each.
    every: u64,
    since: u64,
}

impl Default for Samples {
    fn default() -> Self {
        Self { keys: Vec::new(), every: 1, since: 0 }
    }
}

impl Samples {
    const MOST: usize = 512;

    fn take(&mut self, key: &str) {
        self.since += 1;
        if self.since < self.every {
            return;
        }
        self.since = 0;
        self.keys.push(key.to_owned());
        if self.keys.len() >= Self::MOST {
            self.keys.sort_unstable();
            let mut keep = false;
            self.keys.retain(|_| {
                keep = !keep;
                keep
            });
            self.every *= 2;
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "guesses of pages")]
fn precise(pages: u64) -> f64 {
    pages as f64
}

mod cut;
#[cfg(test)]
mod tests;

//! Both sides of a source side by side, over many key ranges at once: each range is a
//! merge-join of its own, and all feed one reader. A page is asked for while the one before
//! it is read, and no further, so that memory holds two pages of each side and range.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use crate::RunError;
use crate::diff::{Pair, pair};
use crate::kept::Shelf;
use crate::keyspace::{Boundaries, KeyRange, Keyspace, RangeId, Split};
use crate::list::{Entry, Listing, Page, Pager};

/// Ranges that are listed at once, over all sources: two processors do not keep up with more.
const MOST_RANGES: usize = 32;
/// Requests in flight of which one range may be listed.
const REQUESTS_A_RANGE: usize = 8;
/// Up to so many pages are listed one after the other, with no request besides.
const FEW_PAGES: u64 = 3;
/// S3's limit of a key, in bytes of its UTF-8.
const LONGEST_KEY: usize = 1_024;

/// Places for the ranges of a run, all sources together, beside the first one of each.
pub(crate) fn places(max_in_flight: usize) -> Arc<Semaphore> {
    let ranges = (max_in_flight / REQUESTS_A_RANGE).clamp(1, MOST_RANGES);
    Arc::new(Semaphore::new(ranges - 1))
}

/// The keys of both sides, each once; in order within a range.
pub(crate) struct Join {
    keyspace: Keyspace,
    listings: [Listing; 2],
    lanes: VecDeque<Lane>,
    /// Ranges that are not read yet, and what they begin after.
    pending: VecDeque<(RangeId, String)>,
    /// No further page is asked for.
    closed: bool,
    arrivals: JoinSet<Arrival>,
    places: Arc<Semaphore>,
    shelf: Shelf,
    kept: Kept,
    /// The range of the pair answered last.
    range: RangeId,
}

/// The boundaries of an earlier run.
#[derive(PartialEq, Eq)]
enum Kept {
    NotAsked,
    Asked,
    Known,
}

enum Arrival {
    Page(RangeId, usize, Box<Result<Page, RunError>>),
    Kept(Boundaries),
}

/// A range that is being read.
struct Lane {
    id: RangeId,
    sides: [Side; 2],
    /// The only range of a source needs none.
    _place: Option<OwnedSemaphorePermit>,
}

struct Side {
    head: Option<Entry>,
    page: VecDeque<Entry>,
    next: Next,
}

enum Next {
    Asked,
    Here(Box<Page>),
    Failed(RunError),
    End,
}

/// What a lane has to give.
enum Step {
    Pair(Pair),
    Wait,
    Failed(RunError),
    End,
}

impl Join {
    /// Of both listings' keys those in `ranges`. The listings begin where the first one does.
    pub(crate) fn new(
        [source, destination]: [Listing; 2],
        ranges: Vec<KeyRange>,
        shelf: Shelf,
        places: Arc<Semaphore>,
    ) -> Self {
        let keyspace = Keyspace::new(LONGEST_KEY - destination.strips(), ranges);
        let mut pending: VecDeque<_> = keyspace.open().map(|(id, after)| (id, after.to_owned())).collect();
        let first = pending.pop_front().map(|(id, _)| id);
        let lane = |id| Lane { id, sides: [Side::new(), Side::new()], _place: None };
        let mut join = Self {
            keyspace,
            listings: [source, destination],
            lanes: first.map(lane).into_iter().collect(),
            pending,
            closed: false,
            arrivals: JoinSet::new(),
            places,
            shelf,
            kept: Kept::NotAsked,
            range: first.unwrap_or_default(),
        };
        for side in [0, 1] {
            let page = join.listings[side].first();
            if let Some(range) = first {
                join.arrived(range, side, Ok(page));
            }
        }
        join
    }

    /// A key of either side, or `None` when both are at their end. After an error the ranges
    /// that it does not concern go on.
    pub(crate) async fn next(&mut self) -> Result<Option<Pair>, RunError> {
        loop {
            if let Some(pair) = self.ready()? {
                return Ok(Some(pair));
            }
            if self.lanes.is_empty()
                && let Some((id, after)) = self.pending.pop_front()
            {
                self.read(id, &after, [true, true], None);
            }
            // Whoever stops waiting here finds the page in its place next time.
            match self.arrivals.join_next().await {
                None => return Ok(None),
                Some(Ok(Arrival::Page(id, side, page))) => self.arrived(id, side, *page),
                Some(Ok(Arrival::Kept(boundaries))) => {
                    self.keyspace.know(boundaries);
                    self.kept = Kept::Known;
                }
                Some(Err(panic)) => std::panic::resume_unwind(panic.into_panic()),
            }
            self.spread();
        }
    }

    /// The next key that need not be waited for.
    pub(crate) fn ready(&mut self) -> Result<Option<Pair>, RunError> {
        for _ in 0..self.lanes.len() {
            let Some(lane) = self.lanes.front_mut() else { break };
            let id = lane.id;
            match lane.step(&mut self.arrivals, self.closed) {
                Step::Pair(pair) => {
                    self.range = id;
                    return Ok(Some(pair));
                }
                Step::Wait => self.lanes.rotate_left(1),
                Step::End => {
                    self.lanes.pop_front();
                    self.keyspace.listed(id);
                }
                Step::Failed(error) => {
                    self.lanes.pop_front();
                    self.keyspace.given_up(id);
                    return Err(error);
                }
            }
        }
        Ok(None)
    }

    /// Asks for no further page: what is here can still be read.
    pub(crate) fn close(&mut self) {
        self.closed = true;
    }

    /// The range of the pair answered last.
    pub(crate) fn range(&self) -> RangeId {
        self.range
    }

    /// What was dealt with, and what is left.
    pub(crate) fn keyspace(&mut self) -> &mut Keyspace {
        &mut self.keyspace
    }

    /// Keeps where to split for the next run, where that pays and is not known already.
    pub(crate) async fn keep(&mut self) {
        if let Some(boundaries) = self.keyspace.boundaries(MOST_RANGES) {
            self.shelf.write(boundaries).await;
        }
    }

    fn arrived(&mut self, id: RangeId, side: usize, page: Result<Page, RunError>) {
        let Some(lane) = self.lanes.iter_mut().find(|lane| lane.id == id) else { return };
        lane.sides[side].next = match page {
            Err(error) => Next::Failed(error),
            Ok(mut page) => {
                if !self.keyspace.arrived(id, side, &mut page.entries, page.rest.is_some()) {
                    page.rest = None;
                }
                Next::Here(Box::new(page))
            }
        };
    }

    /// Lists in as many ranges as there are places for and splits worth their requests.
    fn spread(&mut self) {
        if self.kept == Kept::NotAsked && self.keyspace.is_longer_than(FEW_PAGES) {
            self.kept = Kept::Asked;
            let shelf = self.shelf.clone();
            self.arrivals.spawn(async { Arrival::Kept(shelf.read().await) });
        }
        while let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            if let Some((id, after)) = self.pending.pop_front() {
                self.read(id, &after, [true, true], Some(place));
            } else if self.kept == Kept::Known
                && let Some(Split { id, after, has_keys }) = self.keyspace.split()
            {
                self.read(id, &after, has_keys, Some(place));
            } else {
                return;
            }
        }
    }

    /// Reads another range.
    fn read(&mut self, id: RangeId, after: &str, has_keys: [bool; 2], place: Option<OwnedSemaphorePermit>) {
        tracing::debug!(after, "listing another range");
        let sides = [0, 1].map(|side| {
            let next = match has_keys[side] {
                true => ask(&mut self.arrivals, id, side, self.listings[side].after(after)),
                false => Next::End,
            };
            Side { next, ..Side::new() }
        });
        self.lanes.push_back(Lane { id, sides, _place: place });
    }
}

fn ask(arrivals: &mut JoinSet<Arrival>, id: RangeId, side: usize, pager: Pager) -> Next {
    arrivals.spawn(async move { Arrival::Page(id, side, Box::new(pager.fetch().await)) });
    Next::Asked
}

impl Lane {
    fn step(&mut self, arrivals: &mut JoinSet<Arrival>, closed: bool) -> Step {
        for (index, side) in self.sides.iter_mut().enumerate() {
            let ask = |pager| match closed {
                // Never answered: the range does not end here.
                true => Next::Asked,
                false => ask(arrivals, self.id, index, pager),
            };
            match side.fill(ask) {
                Ok(()) => {}
                Err(error) => return Step::Failed(error),
            }
        }
        if self.sides.iter().any(Side::waits) {
            return Step::Wait;
        }
        let [source, destination] = &mut self.sides;
        pair(&mut source.head, &mut destination.head).map_or(Step::End, Step::Pair)
    }
}

impl Side {
    fn new() -> Self {
        Self { head: None, page: VecDeque::new(), next: Next::End }
    }

    /// Puts the next key in its place, if it is here.
    fn fill(&mut self, mut ask: impl FnMut(Pager) -> Next) -> Result<(), RunError> {
        while self.head.is_none() {
            self.head = self.page.pop_front();
            if self.head.is_some() {
                break;
            }
            match std::mem::replace(&mut self.next, Next::End) {
                Next::Here(page) => {
                    self.page = page.entries;
                    self.next = page.rest.map_or(Next::End, |pager| ask(*pager));
                }
                Next::Failed(error) => return Err(error),
                waiting @ (Next::Asked | Next::End) => {
                    self.next = waiting;
                    break;
                }
            }
        }
        Ok(())
    }

    fn waits(&self) -> bool {
        self.head.is_none() && !matches!(self.next, Next::End)
    }
}

//! Listings of any keys, split anywhere at any time; and buckets of many shapes, listed by as
//! many ranges as a run would, in rounds of one page each.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// Keys of both sides, in pages.
struct Buckets {
    sides: [Vec<String>; 2],
    page: usize,
}

/// A listing of `Buckets` over a `Keyspace`.
struct Listing<'a> {
    buckets: &'a Buckets,
    keyspace: Keyspace,
    /// Pages to be asked for: of which range and side, after which key.
    open: Vec<(RangeId, usize, String)>,
    /// What each range and side yielded.
    seen: Vec<(RangeId, usize, String)>,
    requests: u64,
}

impl<'a> Listing<'a> {
    fn new(buckets: &'a Buckets) -> Self {
        let keyspace = Keyspace::new(1_000, vec![KeyRange::default()]);
        let open = [0, 1].map(|side| (RangeId(0), side, String::new())).into();
        Self { buckets, keyspace, open, seen: Vec::new(), requests: 0 }
    }

    fn fetch(&mut self, nth: usize) {
        let (id, side, after) = self.open.remove(nth);
        let keys = &self.buckets.sides[side];
        let from = keys.partition_point(|key| *key <= after);
        let to = (from + self.buckets.page).min(keys.len());
        let mut page: VecDeque<_> = keys[from..to].to_vec().into();
        self.requests += 1;
        let goes_on = self.keyspace.arrived(id, side, &mut page, to < keys.len());
        if goes_on {
            self.open.push((id, side, keys[to - 1].clone()));
        }
        self.seen.extend(page.into_iter().map(|key| (id, side, key)));
        if !self.open.iter().any(|(open, ..)| *open == id) {
            self.keyspace.listed(id);
        }
    }

    fn take(&mut self, split: Split) {
        for side in [0, 1].into_iter().filter(|side| split.has_keys[*side]) {
            self.open.push((split.id, side, split.after.clone()));
        }
    }

    /// Cuts the range that `key` is in, if its pages have not reached it yet.
    fn cut(&mut self, key: &str) {
        let ranges = &self.keyspace.ranges;
        let at = ranges.iter().position(|range| !range.keys.is_beyond(key)).expect("ranges meet");
        let range = &ranges[at];
        let is_open = range.sides.iter().any(|side| !side.ended) && !range.listed;
        if is_open && key > range.reached() && range.keys.up_to.as_deref() != Some(key) {
            let split = self.keyspace.split_at(at, key.to_owned());
            self.take(split);
        }
    }

    fn run(&mut self, ranges: usize) -> u64 {
        let mut rounds = 0;
        while !self.open.is_empty() {
            rounds += 1;
            for _ in 0..self.open.len() {
                self.fetch(0);
                while self.open.iter().map(|(id, ..)| id.0).collect::<BTreeSet<_>>().len() < ranges
                    && self.requests > 6
                    && let Some(split) = self.keyspace.split()
                {
                    self.take(split);
                }
            }
        }
        rounds
    }

    #[track_caller]
    fn assert_whole(&self) {
        for side in [0, 1] {
            let mut ranges: BTreeMap<u32, Vec<&String>> = BTreeMap::new();
            for (id, _, key) in self.seen.iter().filter(|(_, of, _)| *of == side) {
                ranges.entry(id.0).or_default().push(key);
            }
            // The order within a range stays.
            let mut ranges: Vec<_> = ranges.into_values().collect();
            ranges.sort();
            let keys: Vec<_> = ranges.concat().into_iter().cloned().collect();
            assert_eq!(keys, self.buckets.sides[side], "side {side}");
        }
    }
}

/// Letters at every edge of UTF-8, and of what a key may hold.
const KEY: &str = "[a/\\-é\u{0}\u{1}\u{7f}\u{d7ff}\u{e000}\u{ffff}\u{10000}\u{10ffff}]{1,4}";

fn keys() -> impl Strategy<Value = Vec<String>> {
    prop::collection::btree_set(KEY, 0..40).prop_map(|keys| keys.into_iter().collect())
}

#[derive(Clone, Debug)]
enum Event {
    Page(prop::sample::Index),
    Cut(String),
    Guess,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => any::<prop::sample::Index>().prop_map(Event::Page),
        1 => KEY.prop_map(Event::Cut),
        1 => Just(Event::Guess),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn every_key_is_seen_once_and_in_order_whatever_is_split_when(
        source in keys(),
        destination in keys(),
        known in prop::collection::btree_set(KEY, 0..4),
        page in 1..4usize,
        events in prop::collection::vec(event(), 0..60),
    ) {
        let buckets = Buckets { sides: [source, destination], page };
        let mut listing = Listing::new(&buckets);
        listing.keyspace.know(Boundaries { pages: 10, keys: known.into_iter().collect() });
        for event in events {
            match event {
                Event::Page(nth) if !listing.open.is_empty() => listing.fetch(nth.index(listing.open.len())),
                Event::Page(_) => {}
                Event::Cut(key) => listing.cut(&key),
                Event::Guess => {
                    if let Some(split) = listing.keyspace.split() {
                        listing.take(split);
                    }
                }
            }
        }
        listing.run(5);
        listing.assert_whole();
        prop_assert_eq!(listing.keyspace.ranges.len(), 1, "what is done is joined");
    }
}

fn shape(name: &str, keys: impl Iterator<Item = String>) -> (String, Vec<String>) {
    (name.to_owned(), keys.collect::<BTreeSet<_>>().into_iter().collect())
}

fn shapes(count: u64) -> Vec<(String, Vec<String>)> {
    let all = move || 0..count;
    let mut random = fastrand::Rng::with_seed(1);
    let mut word = |letters: &str, len: usize| -> String {
        let letters: Vec<_> = letters.chars().collect();
        (0..len).map(|_| letters[random.usize(..letters.len())]).collect()
    };
    let lowercase: Vec<_> = all().map(|_| word("abcdefghijklmnopqrstuvwxyz", 12)).collect();
    let chinese: Vec<_> = all().map(|_| word("一丁七万丈三上下不与丐丑专且世", 6)).collect();
    let long = "archive/".repeat(25);
    vec![
        shape("hexadecimal", all().map(|index| format!("{:016x}.bin", u64::MAX / count * index))),
        shape("sequential", all().map(|index| format!("files/{index:09}"))),
        shape("numbers", all().map(|index| format!("files/{index}"))),
        shape("long prefix", all().map(move |index| format!("{long}{index:09}"))),
        shape(
            "dates",
            all().map(|index| {
                let year = if index % 10 == 0 { 2016 + index / 10 % 10 } else { 2024 };
                let (month, day) = (1 + index / 7 % 12, 1 + index / 31 % 28);
                format!("logs/{year}/{month:02}/{day:02}/{index:09}.json")
            }),
        ),
        shape(
            "folders",
            all().map(|index| {
                let folder = ["a b", "über", "ключ", "中文", "日本", "😀"][index as usize % 6];
                format!("{folder}/名前-{index:09}")
            }),
        ),
        shape("lowercase", lowercase.into_iter()),
        shape("chinese", chinese.into_iter()),
        shape(
            "one large folder",
            all().map(|index| match index {
                0..3_000 => format!("{:02}/small-{index}", index / 100),
                _ => format!("50/large/{index:07}"),
            }),
        ),
        shape("users", all().map(|index| format!("users/{}/profile/img-{:03}.png", index / 50, index % 50))),
    ]
}

#[test]
fn buckets_of_any_shape_are_listed_in_parallel_with_few_requests_more() {
    let sizes = [10_500, 30_000];
    for (name, keys) in sizes.into_iter().flat_map(shapes) {
        let pages = keys.len().div_ceil(100) as u64;
        let buckets = Buckets { sides: [keys.clone(), keys], page: 100 };
        let mut listing = Listing::new(&buckets);
        let rounds = listing.run(32);
        listing.assert_whole();
        assert!(listing.requests <= 2 * pages * 110 / 100, "{name}: {} of {pages} twice", listing.requests);
        assert!(rounds <= pages * 2 / 3, "{name}: {rounds} rounds for {pages} pages");

        let kept = listing.keyspace.boundaries(32).expect("worth keeping");
        let mut again = Listing::new(&buckets);
        again.keyspace.know(kept);
        let rounds = again.run(32);
        again.assert_whole();
        assert!(again.requests <= 2 * pages * 110 / 100, "{name} again: {} of {pages} twice", again.requests);
        assert!(rounds <= 20, "{name} again: {rounds} rounds for {pages} pages");
        assert_eq!(again.keyspace.boundaries(32), None, "{name}: what is known need not be kept again");
    }
}

/// Where nothing of it was copied yet, a split costs no request at the destination.
#[test]
fn a_destination_that_ends_early_is_not_asked_again() {
    let [sequential] = &shapes(30_000)[1..2] else { panic!("it is the second") };
    let buckets = Buckets { sides: [sequential.1.clone(), sequential.1[..150].to_vec()], page: 100 };
    let mut listing = Listing::new(&buckets);
    let rounds = listing.run(32);
    listing.assert_whole();
    assert!(rounds < 150 && listing.requests <= 332, "{rounds} rounds, {} requests", listing.requests);
}

#[test]
fn what_is_done_ends_with_the_first_key_that_waits_or_was_not_looked_at() {
    let mut keyspace = Keyspace::new(1_000, vec![KeyRange::default()]);
    let first = RangeId(0);
    let second = keyspace.split_at(0, "m".into()).id;
    assert_eq!(keyspace.done_up_to(), "");
    keyspace.looked_at(first, "a");
    keyspace.looked_at(second, "n");
    assert_eq!(keyspace.done_up_to(), "a");
    for key in ["b", "c"] {
        keyspace.looked_at(first, key);
        keyspace.found(first);
    }
    assert_eq!(keyspace.done_up_to(), "", "nothing is admitted yet");
    keyspace.admitted(first, Some("b"));
    assert_eq!(keyspace.done_up_to(), "b");
    keyspace.admitted(first, Some("c"));
    keyspace.looked_at(first, "d");
    assert_eq!(keyspace.done_up_to(), "d");
    keyspace.listed(first);
    assert_eq!(keyspace.done_up_to(), "n", "all of the first range is done");
    keyspace.found(second);
    keyspace.listed(second);
    assert_eq!(keyspace.done_up_to(), "m");
    keyspace.admitted(second, Some("n"));
    assert_eq!((keyspace.done_up_to(), keyspace.ranges.len()), ("n", 1));
}

/// Of many shapes, and with as little seen of them as a run that has hardly begun has.
#[test]
fn what_is_left_is_cut_into_pieces_of_which_none_holds_nearly_all() {
    for (name, keys) in shapes(30_000) {
        let buckets = Buckets { sides: [keys.clone(), Vec::new()], page: 100 };
        let mut listing = Listing::new(&buckets);
        for _ in 0..40 {
            listing.fetch(0);
            while listing.open.len() < 8
                && listing.requests > 6
                && let Some(split) = listing.keyspace.split()
            {
                listing.take(split);
            }
        }
        let open = listing.keyspace.ranges.iter().filter(|range| !range.listed);
        let left: Vec<_> = open
            .map(|range| KeyRange { after: range.reached().to_owned(), up_to: range.keys.up_to.clone() })
            .collect();
        let count = |ranges: &[KeyRange]| -> Vec<usize> {
            let holds = |range: &KeyRange, key: &String| *key > range.after && !range.is_beyond(key);
            ranges.iter().map(|range| keys.iter().filter(|key| holds(range, key)).count()).collect()
        };
        let cuts = listing.keyspace.cuts(&left, 64);
        assert!(cuts.is_sorted_by(|a, b| a < b) && cuts.len() + left.len() <= 64, "{name}: {cuts:?}");
        let mut pieces = Vec::new();
        for mut range in left {
            for key in &cuts {
                if *key > range.after && range.up_to.as_ref().is_none_or(|up_to| key < up_to) {
                    let after = std::mem::replace(&mut range.after, key.clone());
                    pieces.push(KeyRange { after, up_to: Some(key.clone()) });
                }
            }
            pieces.push(range);
        }
        let sizes = count(&pieces);
        let largest = sizes.iter().max().copied().unwrap_or_default();
        let filled = sizes.iter().filter(|size| **size > 0).count();
        assert!(largest <= 15_000 && filled >= 6, "{name}: {sizes:?}");
    }
}

//! From counters to speed, share and time left.
//!
//! An object weighs its bytes and what its request costs besides, so that a million small
//! files and one large dump both move the bar evenly.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bucket_copy::{Comparison, Fate, Finding, Outcome};

/// What a request takes, in bytes that S3 could have moved meanwhile.
const REQUEST: u64 = 256 << 10;
/// The speed is that of this long.
const WINDOW: Duration = Duration::from_secs(8);

/// The counters of a run at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// Objects listed at the sources.
    pub(crate) listed: u64,
    /// Objects to be copied, as far as listed.
    pub(crate) found: u64,
    /// Their bytes.
    pub(crate) found_bytes: u64,
    /// Objects of these that were dealt with.
    pub(crate) done: u64,
    /// Bytes that arrived.
    pub(crate) moved: u64,
    /// Objects that failed.
    pub(crate) failed: u64,
    /// Sources whose listing goes on: what is found is not yet all there is.
    pub(crate) listing: u64,
}

impl Snapshot {
    /// What there is to do, as far as known.
    pub(crate) fn length(&self) -> u64 {
        self.found_bytes + self.found * REQUEST
    }

    /// How much of it is done.
    pub(crate) fn position(&self) -> u64 {
        (self.moved + self.done * REQUEST).min(self.length())
    }

    /// 0 to 100.
    pub(crate) fn percent(&self) -> u64 {
        let share = u128::from(self.position()) * 100 / u128::from(self.length().max(1));
        u64::try_from(share).unwrap_or(100)
    }
}

/// The counters that a run moves.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    listed: AtomicU64,
    found: AtomicU64,
    found_bytes: AtomicU64,
    done: AtomicU64,
    moved: AtomicU64,
    failed: AtomicU64,
    listing: AtomicU64,
}

impl Counts {
    /// For a run over this many sources.
    pub(crate) fn new(sources: usize) -> Self {
        Self { listing: AtomicU64::new(sources as u64), ..Self::default() }
    }

    pub(crate) fn all_found(&self) {
        self.listing.fetch_sub(1, Relaxed);
    }

    pub(crate) fn listed(&self) {
        self.listed.fetch_add(1, Relaxed);
    }

    pub(crate) fn found(&self, bytes: u64) {
        self.found.fetch_add(1, Relaxed);
        self.found_bytes.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn moved(&self, bytes: u64) {
        self.moved.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn done(&self, outcome: &Outcome) {
        self.finished(matches!(outcome.fate, Fate::Failed(_)));
    }

    pub(crate) fn finished(&self, failed: bool) {
        self.done.fetch_add(1, Relaxed);
        self.failed.fetch_add(u64::from(failed), Relaxed);
    }

    pub(crate) fn compared(&self, comparison: &Comparison) {
        let (done, failed) = match comparison.finding {
            Finding::OnlyAtDestination => (0, 0),
            // Known by the listings, so never begun.
            Finding::Missing(_) => (0, 1),
            Finding::Different(_) | Finding::NewerAtSource(_) | Finding::CannotTell(_) => (1, 1),
            Finding::Identical { .. } | Finding::Changed | Finding::Interrupted => (1, 0),
        };
        self.done.fetch_add(done, Relaxed);
        self.failed.fetch_add(failed, Relaxed);
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot {
            listed: self.listed.load(Relaxed),
            found: self.found.load(Relaxed),
            found_bytes: self.found_bytes.load(Relaxed),
            done: self.done.load(Relaxed),
            moved: self.moved.load(Relaxed),
            failed: self.failed.load(Relaxed),
            listing: self.listing.load(Relaxed),
        }
    }
}

/// The last few seconds of a run.
#[derive(Debug, Default)]
pub(crate) struct Meter(VecDeque<(Duration, Snapshot)>);

impl Meter {
    /// Notes the counters at `time` since the beginning.
    pub(crate) fn note(&mut self, time: Duration, snapshot: Snapshot) {
        while self.0.len() > 2 && self.0.get(1).is_some_and(|(second, _)| time - *second > WINDOW) {
            self.0.pop_front();
        }
        self.0.push_back((time, snapshot));
    }

    /// Bytes a second.
    pub(crate) fn bytes_per_second(&self) -> f64 {
        self.per_second(|snapshot| snapshot.moved)
    }

    /// How long what was found so far still takes; `None` while there is nothing to tell from.
    pub(crate) fn left(&self) -> Option<Duration> {
        let (_, now) = self.0.back()?;
        let speed = self.per_second(Snapshot::position);
        let left = now.length() - now.position();
        #[expect(clippy::cast_precision_loss, reason = "seconds are shown")]
        let seconds = left as f64 / speed;
        (left > 0 && speed > 0.0).then(|| Duration::try_from_secs_f64(seconds).ok()).flatten()
    }

    fn per_second(&self, of: impl Fn(&Snapshot) -> u64) -> f64 {
        let (Some((from, before)), Some((to, now))) = (self.0.front(), self.0.back()) else { return 0.0 };
        let seconds = (*to - *from).as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a speed is shown with three digits")]
        let amount = of(now).saturating_sub(of(before)) as f64;
        if seconds > 0.0 { amount / seconds } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(done: u64) -> Snapshot {
        Snapshot {
            listed: 100,
            found: 100,
            found_bytes: 100 << 20,
            done,
            moved: done << 20,
            failed: 0,
            listing: 0,
        }
    }

    #[test]
    fn the_time_left_follows_from_the_last_seconds() {
        let mut meter = Meter::default();
        assert_eq!((meter.left(), meter.bytes_per_second()), (None, 0.0));
        for second in 0..=20_u64 {
            meter.note(Duration::from_secs(second), at(second));
        }
        assert_eq!(meter.left(), Some(Duration::from_secs(80)));
        assert_eq!(meter.bytes_per_second(), f64::from(1 << 20));
        assert!(meter.0.len() <= 10, "a long run keeps no more than a short one");
        for second in 21..=40 {
            meter.note(Duration::from_secs(second), at(20));
        }
        assert_eq!(meter.left(), None, "a run that stands still has no end in sight");
    }

    #[test]
    fn the_bar_never_runs_past_its_end() {
        let empty = Snapshot { done: 7, ..Snapshot::default() };
        assert_eq!((empty.position(), empty.length(), empty.percent()), (0, 0, 0));
        assert_eq!((at(50).percent(), at(100).percent()), (50, 100));
    }
}

//! How many requests are in flight, over all sources and routes. It is judged by the share of
//! the answers that are SlowDowns: up by one after a round of (nearly) none, and where it is more
//! than a few, down by that share or to as many as the server worked on. A server at its limit
//! then refuses few and is kept at its limit, and one that refuses some at random, however many
//! it is asked, is not spared for it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

/// After a cut, answers tell for so long of the overload before it.
const REST: Duration = Duration::from_millis(100);
/// Answers that tell something together, at the least.
const ROUND: usize = 100;
/// The share of SlowDowns, one in so many, up to which there can be more in flight.
const FEW: usize = 80;
/// The same, from which there must be fewer.
const MANY: usize = 40;

/// A limit of requests in flight that adapts to the server.
#[derive(Debug)]
pub(crate) struct Pace {
    permits: Semaphore,
    state: Mutex<State>,
    most: usize,
}

#[derive(Debug)]
struct State {
    limit: usize,
    /// Permits to be withdrawn when they come back.
    debt: usize,
    /// Answers of this round.
    answers: usize,
    /// Of these, SlowDowns.
    slow: usize,
    /// The time that the others took, added up.
    worked: Duration,
    /// When this round began: after a cut, in the future.
    since: Instant,
    /// Of all good answers.
    took: Duration,
    good: u32,
}

impl Pace {
    /// Begins at, and never exceeds, `most` requests in flight.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            permits: Semaphore::new(most),
            state: Mutex::new(State {
                limit: most,
                debt: 0,
                answers: 0,
                slow: 0,
                worked: Duration::ZERO,
                since: Instant::now(),
                took: Duration::ZERO,
                good: 0,
            }),
            most,
        }
    }

    /// The most requests in flight there may ever be.
    pub(crate) fn most(&self) -> usize {
        self.most
    }

    /// Waits for a place. The permit is held for one request, never while backing off.
    pub(crate) async fn admit(&self) -> Permit<'_> {
        // The semaphore is never closed.
        Permit { pace: self, place: self.permits.acquire().await.ok() }
    }

    /// A request was answered well, after this time in flight.
    pub(crate) fn answered(&self, took: Duration) {
        self.count(Some(took));
        let mut state = self.state();
        state.took += took;
        state.good = state.good.saturating_add(1);
    }

    /// How long a request is in flight on average, if one was answered well.
    pub(crate) fn latency(&self) -> Option<Duration> {
        let State { took, good, .. } = *self.state();
        (good > 0).then(|| took / good)
    }

    /// The server asked to be spared.
    pub(crate) fn slowed(&self) {
        self.count(None);
    }

    /// An answer: what a good one took.
    fn count(&self, good: Option<Duration>) {
        let now = Instant::now();
        let mut state = self.state();
        if now < state.since {
            return;
        }
        state.answers += 1;
        state.slow += usize::from(good.is_none());
        state.worked += good.unwrap_or_default();
        // As many as were in flight together, or as are enough to tell.
        if state.answers < state.limit.max(ROUND) {
            return;
        }
        let State { limit, answers, slow, .. } = *state;
        // On average, by Little's law.
        let at_work = state.worked.div_duration_f64(now - state.since) as usize;
        (state.answers, state.slow, state.worked, state.since) = (0, 0, Duration::ZERO, now);
        if slow * MANY > answers {
            // SlowDowns come sooner than other answers, and make up more of them.
            let spared = limit - (limit * slow / answers).clamp(1, limit.div_ceil(3));
            // A first round ends before its good answers are in: it says too little.
            self.cut(&mut state, spared.min(at_work).max(limit.div_ceil(8)));
            state.since = now + REST;
        } else if slow * FEW <= answers && limit < self.most {
            state.limit += 1;
            match state.debt {
                0 => self.permits.add_permits(1),
                _ => state.debt -= 1,
            }
        }
    }

    fn cut(&self, state: &mut State, limit: usize) {
        state.debt += state.limit - limit;
        state.debt -= self.permits.forget_permits(state.debt);
        state.limit = limit;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in flight, given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit<'a> {
    pace: &'a Pace,
    place: Option<SemaphorePermit<'a>>,
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let mut state = self.pace.state();
        if state.debt > 0
            && let Some(place) = self.place.take()
        {
            state.debt -= 1;
            place.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A round of answers: so many good ones, each of a second, and so many SlowDowns.
    async fn round(pace: &Pace, good: usize, slow: usize) {
        tokio::time::advance(Duration::from_secs(1)).await;
        (0..good).for_each(|_| pace.answered(Duration::from_secs(1)));
        (0..slow).for_each(|_| pace.slowed());
    }

    #[tokio::test(start_paused = true)]
    async fn the_limit_falls_by_what_is_refused_and_climbs_back() {
        let pace = Pace::new(200);
        let in_flight: Vec<_> = futures_util::future::join_all((0..200).map(|_| pace.admit())).await;
        round(&pace, 180, 20).await;
        (0..200).for_each(|_| pace.slowed()); // the same overload
        assert_eq!(pace.state().limit, 180, "by the share");
        drop(in_flight);
        assert_eq!(pace.permits.available_permits(), 180);

        round(&pace, 60, 120).await;
        // 60 s in the 0.9 s after the cut.
        assert_eq!(pace.state().limit, 66, "to what the server worked on");
        round(&pace, 0, 100).await;
        assert_eq!((pace.state().limit, pace.permits.available_permits()), (9, 9), "but not to nothing");

        for _ in 0..191 {
            round(&pace, 200, 0).await;
        }
        assert_eq!((pace.state().limit, pace.permits.available_permits()), (200, 200));

        for _ in 0..50 {
            round(&pace, 0, 200).await;
        }
        assert_eq!(pace.permits.available_permits(), 1, "one request is always let through");
    }

    #[tokio::test(start_paused = true)]
    async fn one_slow_down_in_a_hundred_answers_spares_nobody() {
        let pace = Pace::new(200);
        for _ in 0..1_000 {
            round(&pace, 198, 2).await;
        }
        assert_eq!(pace.state().limit, 200);
    }
}

//! How many requests are in flight, over all sources and routes. It is judged by the share of
//! the answers that are SlowDowns: up by one after a round of (nearly) none, down by that share
//! where it is more than a few, at most by a third. A server at its limit then refuses few and is kept at its
//! limit, and one that refuses some at random, however many it is asked, is not spared for it.

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
    cut: Option<Instant>,
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
                cut: None,
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
        self.count(false);
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
        self.count(true);
    }

    fn count(&self, slow: bool) {
        let mut state = self.state();
        if state.cut.is_some_and(|at| at.elapsed() < REST) {
            return;
        }
        state.answers += 1;
        state.slow += usize::from(slow);
        // As many as were in flight together, or as are enough to tell.
        if state.answers < state.limit.max(ROUND) {
            return;
        }
        let State { limit, answers, slow, .. } = *state;
        (state.answers, state.slow) = (0, 0);
        if slow * MANY > answers {
            // SlowDowns come sooner than other answers, and make up more of them.
            let fewer = limit - (limit * slow / answers).clamp(1, limit.div_ceil(3));
            self.cut(&mut state, fewer.max(1));
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
        state.cut = Some(Instant::now());
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

    /// A round of answers, of which so many are SlowDowns.
    fn round(pace: &Pace, slow: usize) {
        let answers = pace.state().limit.max(ROUND);
        (0..answers - slow).for_each(|_| pace.answered(Duration::ZERO));
        (0..slow).for_each(|_| pace.slowed());
    }

    #[tokio::test(start_paused = true)]
    async fn the_limit_falls_by_the_share_that_is_refused_and_climbs_back() {
        let pace = Pace::new(100);
        let in_flight: Vec<_> = futures_util::future::join_all((0..100).map(|_| pace.admit())).await;
        round(&pace, 34);
        round(&pace, 34); // the same overload
        assert_eq!(pace.state().limit, 66);
        drop(in_flight);
        assert_eq!(pace.permits.available_permits(), 66);

        tokio::time::advance(REST).await;
        round(&pace, 60);
        assert_eq!((pace.state().limit, pace.permits.available_permits()), (44, 44), "at most by a third");

        tokio::time::advance(REST).await;
        (0..100).for_each(|_| round(&pace, 0));
        assert_eq!((pace.state().limit, pace.permits.available_permits()), (100, 100));

        for _ in 0..50 {
            tokio::time::advance(REST).await;
            round(&pace, 50);
        }
        assert_eq!(pace.permits.available_permits(), 1, "one request is always let through");
    }

    #[tokio::test(start_paused = true)]
    async fn one_slow_down_in_a_hundred_answers_spares_nobody() {
        let pace = Pace::new(200);
        (0..1_000).for_each(|_| round(&pace, 2));
        assert_eq!(pace.state().limit, 200);
    }
}

//! How many requests are in flight, over all sources and routes: up by one after a round of
//! good answers, down by a third at a SlowDown.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

/// SlowDowns within this time tell of one overload, and cut once.
const ROUND: Duration = Duration::from_millis(250);

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
    /// Good answers since the limit last changed.
    good: usize,
    cut: Option<Instant>,
}

impl Pace {
    /// Begins at, and never exceeds, `most` requests in flight.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            permits: Semaphore::new(most),
            state: Mutex::new(State { limit: most, debt: 0, good: 0, cut: None }),
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

    /// A request was answered well.
    pub(crate) fn answered(&self) {
        let mut state = self.state();
        if state.limit == self.most {
            return;
        }
        state.good += 1;
        if state.good >= state.limit {
            state.good = 0;
            state.limit += 1;
            match state.debt {
                0 => self.permits.add_permits(1),
                _ => state.debt -= 1,
            }
        }
    }

    /// The server asked to be spared.
    pub(crate) fn slowed(&self) {
        let mut state = self.state();
        if state.cut.is_some_and(|at| at.elapsed() < ROUND) {
            return;
        }
        let limit = (state.limit * 2 / 3).max(1);
        state.debt += state.limit - limit;
        state.debt -= self.permits.forget_permits(state.debt);
        state.limit = limit;
        state.good = 0;
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

    #[tokio::test(start_paused = true)]
    async fn the_limit_falls_at_a_slow_down_and_climbs_back() {
        let pace = Pace::new(9);
        let in_flight: Vec<_> = futures_util::future::join_all((0..9).map(|_| pace.admit())).await;
        pace.slowed();
        pace.slowed(); // the same overload
        assert_eq!(pace.state().limit, 6);
        drop(in_flight);
        assert_eq!(pace.permits.available_permits(), 6);

        tokio::time::advance(ROUND).await;
        pace.slowed();
        assert_eq!((pace.state().limit, pace.permits.available_permits()), (4, 4));

        for _ in 0..4 + 5 + 6 + 7 + 8 {
            pace.answered();
        }
        pace.answered();
        assert_eq!((pace.state().limit, pace.permits.available_permits()), (9, 9));

        for _ in 0..50 {
            tokio::time::advance(ROUND).await;
            pace.slowed();
        }
        assert_eq!(pace.permits.available_permits(), 1, "one request is always let through");
    }
}

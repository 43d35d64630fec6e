//! When a run ends early: by a deadline or because somebody said so.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Tells a run when to stop. Two steps: *drain* (admit no further object, let what is in
/// flight finish) and *cancel* (drop what is in flight, abort its uploads). Clones share
/// their state.
#[derive(Clone, Debug, Default)]
pub struct Halt {
    drain: CancellationToken,
    cancel: CancellationToken,
    deadline: Option<Instant>,
}

/// What it takes, once cancelled, to abort the open uploads and to report.
const CLOSING: Duration = Duration::from_secs(5);

impl Halt {
    /// A run that ends by itself, or when [`Halt::cancel`] is called.
    #[must_use]
    pub fn never() -> Self {
        Self::default()
    }

    /// A run that must have answered by `deadline`: it drains a tenth of its time (30 s at
    /// most) before, and cancels 5 s before (or a twentieth of its time, if that is less).
    #[must_use]
    pub fn at(deadline: std::time::Instant) -> Self {
        Self { deadline: Some(deadline.into()), ..Self::default() }
    }

    /// A part of the run, which also ends with the whole and can be ended alone.
    pub(crate) fn part(&self) -> Self {
        Self { drain: self.drain.child_token(), cancel: self.cancel.child_token(), deadline: None }
    }

    /// Lets the run end: what is in flight finishes.
    pub fn drain(&self) {
        self.drain.cancel();
    }

    /// Ends the run now, within seconds: what is in flight is dropped, and left to the next run.
    pub fn cancel(&self) {
        self.drain.cancel();
        self.cancel.cancel();
    }

    /// Whether no further object is to be admitted.
    pub(crate) fn is_draining(&self) -> bool {
        self.drain.is_cancelled()
    }

    /// Resolves when no further object is to be admitted.
    pub(crate) async fn draining(&self) {
        self.drain.cancelled().await;
    }

    /// Whether what is in flight is to be dropped.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    /// Resolves when what is in flight is to be dropped.
    pub async fn cancelled(&self) {
        self.cancel.cancelled().await;
    }

    /// Drives both steps by the deadline; never ends where there is none.
    pub(crate) async fn watch(&self) {
        let Some(deadline) = self.deadline else { return std::future::pending().await };
        let left = deadline.saturating_duration_since(Instant::now());
        let closing = CLOSING.min(left / 20);
        let draining = (left / 10).min(Duration::from_secs(30)).max(closing);
        tokio::time::sleep_until(deadline - draining).await;
        self.drain.cancel();
        tokio::time::sleep_until(deadline - closing).await;
        self.cancel();
    }
}

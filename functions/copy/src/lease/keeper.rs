//! A lease while it is held: renewed, and let go of.

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

use super::{Claim, HANDED_OVER, Lost, PAUSE, RELEASE, RENEWALS, State, silent};
use crate::Halt;
use crate::checkpoint::{Checkpoint, OpenUpload};
use crate::replicate::joined;

/// A lease that is held, and renewed by a task of its own until it is released or lost.
pub(crate) struct Lease {
    run: String,
    /// What is left as it is now. Dropped to end the task.
    pub(crate) journal: watch::Sender<Checkpoint>,
    keeper: JoinHandle<Kept>,
}

/// A lease when its renewing came to an end.
struct Kept {
    claim: Claim,
    etag: String,
    /// What it says is open.
    uploads: Vec<OpenUpload>,
    lost: Option<Lost>,
}

/// A lease that is no longer held.
pub(crate) struct Ended {
    /// How it was lost, if it was before it was released.
    pub(crate) lost: Option<Lost>,
    /// Open uploads that the next run will know of.
    pub(crate) uploads: Vec<OpenUpload>,
}

impl Lease {
    pub(super) fn keep(claim: Claim, etag: String, own: Checkpoint, asked: Instant, halt: Halt) -> Self {
        let run = claim.record.run.clone();
        let mut kept = Kept { claim, etag, uploads: own.uploads.clone(), lost: None };
        let (journal, left) = watch::channel(own);
        let keeper = tokio::spawn(async move {
            if let Some(lost) = kept.renew(asked, left).await {
                kept.lost = Some(lost);
                halt.cancel();
            }
            kept
        });
        Self { run, journal, keeper }
    }

    /// The name of the run that has it.
    pub(crate) fn run(&self) -> &str {
        &self.run
    }

    /// Leaves it to those who go on with the run, each of whom renews it. If none does any more,
    /// `left` is what the next run goes on with. Answers how it was lost, if it was.
    pub(crate) async fn hand_over(self, left: &Checkpoint) -> Option<Lost> {
        drop(self.journal);
        let Kept { mut claim, mut etag, lost, .. } = joined(self.keeper.await);
        if lost.is_some() {
            return lost;
        }
        claim.record.lapses_after_seconds = HANDED_OVER.as_secs_f64();
        let rewrite = claim.rewrite(State::HandedOver, Some(left), &mut etag);
        timeout(RELEASE, rewrite).await.unwrap_or_else(|_| Err(Lost::Unreachable(silent(RELEASE)))).err()
    }

    /// Lets go of it, for the next run to take it at once, and says what is left.
    pub(crate) async fn release(self, left: Option<Checkpoint>) -> Ended {
        drop(self.journal);
        let Kept { claim, mut etag, uploads, lost } = joined(self.keeper.await);
        if lost.is_some() {
            return Ended { lost, uploads };
        }
        match timeout(RELEASE, claim.rewrite(State::Released, left.as_ref(), &mut etag)).await {
            Ok(Ok(())) => Ended { lost, uploads: left.map(|left| left.uploads).unwrap_or_default() },
            released => {
                tracing::warn!(
                    source = %claim.source,
                    ?released,
                    "its lease could not be released; it lapses by itself"
                );
                Ended { lost, uploads }
            }
        }
    }
}

impl Kept {
    fn knows(&self, uploads: &[OpenUpload]) -> bool {
        uploads.iter().all(|upload| self.uploads.contains(upload))
    }

    /// Renews it until there is no more to say of what is left. Answers why it could not.
    async fn renew(&mut self, mut asked: Instant, mut left: watch::Receiver<Checkpoint>) -> Option<Lost> {
        let lapses_after = self.claim.lapses_after;
        let mut next = asked + lapses_after / RENEWALS;
        loop {
            tokio::select! {
                biased;
                changed = left.changed() => match changed {
                    Err(_) => return None,
                    // An upload is made known at once: this run may be killed.
                    Ok(()) if self.knows(&left.borrow_and_update().uploads) => continue,
                    Ok(()) => {}
                },
                () = tokio::time::sleep_until(next) => {}
            }
            let own = left.borrow_and_update().clone();
            let (began, lapses) = (Instant::now(), asked + lapses_after);
            let rewrite = self.claim.rewrite(State::Held, Some(&own), &mut self.etag);
            let mut journal = left.clone();
            // A run that ends does not wait for a server that hangs; what was written all the
            // same is found when the lease is released.
            let ended = async {
                while journal.changed().await.is_ok() {}
                tokio::time::sleep(PAUSE).await;
            };
            let written = tokio::select! {
                written = timeout_at(lapses, rewrite) => written,
                () = ended => return None,
            };
            match written {
                Ok(Ok(())) => {
                    self.uploads = own.uploads;
                    asked = began;
                    next = asked + lapses_after / RENEWALS;
                }
                Ok(Err(Lost::Unreachable(error))) if Instant::now() < lapses => {
                    tracing::debug!(source = %self.claim.source, %error, "the lease is not renewed yet");
                    next = (Instant::now() + PAUSE).min(lapses);
                }
                Ok(Err(lost)) => return Some(lost),
                Err(_) => return Some(Lost::Unreachable(silent(lapses_after))),
            }
        }
    }
}

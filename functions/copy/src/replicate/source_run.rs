//! One source's part of a run: the pairs that the listings make are decided on, and what is to
//! be copied is, while its ledger notes what would be left.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::{GoesOn, Observer, joined};
use crate::checkpoint::{Checkpoint, OpenUpload, Unfinished};
use crate::copy::{Job, abort_left, breadth, foresee};
use crate::diff::{Decision, Pair, decide};
use crate::documents::Documents;
use crate::join::Join;
use crate::keyspace::RangeId;
use crate::lease::{Ended, Lease};
use crate::ledger::Ledger;
use crate::list::Entry;
use crate::report::{Fate, Outcome, Reason};
use crate::tally::Tally;
use crate::{Plan, RunError, S3ErrorKind, pieces};

/// Refusals in a row, and nothing else, after which as many others are tried and, if those
/// are refused as well, a source is given up: the right is missing for all of it, and a
/// million refused copies cost what a million copies do.
const REFUSALS: u64 = 32;

/// One source's part of a run.
pub(super) struct SourceRun<'a> {
    pub(super) plan: &'a Plan,
    pub(super) job: Arc<Job>,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) join: Join,
    pub(super) tally: Tally,
    /// To be copied when there is room.
    pub(super) waiting: VecDeque<(RangeId, Entry, Reason)>,
    /// Copies begun out of order, after refusals and nothing else.
    pub(super) probes: u64,
    /// What was begun, and what earlier runs left.
    pub(super) ledger: Ledger,
}

/// How far the listing runs ahead of the copies: enough to tell how much there is to do,
/// little enough to hold (2 MiB).
pub(crate) const AHEAD: usize = 10_000;
/// Objects to be copied that a stopped run leaves to the next by their names, those that earlier
/// ones left included: 4 MiB. What it listed beyond is listed again.
const MOST_LEFT: usize = 2 * AHEAD;
/// How often what is left is noted while a run works.
const NOTE: Duration = Duration::from_secs(1);
/// Keys that are decided on before anything else is looked after: a page of either side.
const AT_ONCE: usize = 1_000;

impl SourceRun<'_> {
    /// Runs while nobody else takes the source over, and leaves what is left to the next run.
    pub(super) async fn finish_under(
        mut self,
        lease: Lease,
        dropped: Vec<Checkpoint>,
    ) -> (Tally, Option<GoesOn>) {
        let (left, strays_since) = self.ledger.uploads();
        self.job.uploads.keep(left, strays_since);
        let useless = dropped.iter().flat_map(|dropped| {
            dropped.uploads.iter().map(|upload| abort_left(&self.job, &dropped.scope.lands_in, upload))
        });
        join_all(useless).await;
        self.work(Some(&lease.journal)).await;
        let report = &self.tally.report;
        let was_stopped = report.stopped_after.is_some() || report.interrupted.objects > 0;
        // After an error the next run looks at everything: what is broken may stay so, and must
        // not keep it from the rest. Of a piece, nobody else looks at anything.
        let goes_on = report.error.is_none() || self.plan.piece.is_some();
        let left = (was_stopped && goes_on).then(|| self.left(true));
        if left.is_none() {
            // Their objects are gone, or were copied another way.
            self.abort(&[]).await;
        }
        if let Some(left) =
            left.as_ref().filter(|_| self.plan.hands_over && self.tally.report.error.is_none())
        {
            let cuts = self.join.keyspace().cuts(&left.ranges, pieces::MOST);
            let documents = Documents::new(self.plan, self.job.caller.aside(), &self.job.destination);
            let goes_on = GoesOn { documents, source: self.job.name, lease, left: left.clone(), cuts };
            return (self.close(), Some(goes_on));
        }
        // What failed may have arrived, and lack what comes after it.
        let to_the_end = self.tally.report.error.is_none();
        let left =
            left.or_else(|| self.ledger.left_in_doubt(to_the_end).filter(|_| self.plan.piece.is_none()));
        let Ended { lost, uploads } = lease.release(left).await;
        self.abort(&uploads).await;
        if let Some(lost) = lost {
            self.tally.report.error.get_or_insert(lost.failure());
        }
        (self.close(), None)
    }

    /// Aborts the uploads that are open, but for those that the next run knows of.
    async fn abort(&self, but: &[OpenUpload]) {
        let uploads = self.job.uploads.take_all();
        let useless =
            uploads.iter().filter(|upload| !but.iter().any(|but| but.upload_id == upload.upload_id));
        join_all(useless.map(|upload| abort_left(&self.job, self.job.lands_in(), upload))).await;
    }

    /// Notes what would be left if this run were killed.
    fn note(&mut self, journal: Option<&watch::Sender<Checkpoint>>) {
        if let Some(journal) = journal {
            journal.send_replace(self.left(false));
        }
    }

    /// What is left: if the run was stopped, or, while it works, if it were killed now.
    fn left(&mut self, stopped: bool) -> Checkpoint {
        let waiting = self.waiting.iter().filter(|_| stopped).map(|(_, entry, reason)| (entry, *reason));
        let ranges = self.join.keyspace().left(stopped);
        self.ledger.checkpoint(ranges, waiting, self.job.uploads.all(), self.tally.report.newest)
    }

    /// Leaves the source to the run that has it.
    pub(super) fn not_begun(mut self, held: &RunError) -> Tally {
        self.fail(held);
        self.stop();
        self.close()
    }

    pub(super) async fn finish(mut self, journal: Option<&watch::Sender<Checkpoint>>) -> Tally {
        self.work(journal).await;
        self.close()
    }

    fn close(mut self) -> Tally {
        let report = &mut self.tally.report;
        (report.transfer, report.transfer_because) = self.job.route();
        report.resumed = self.ledger.resumed();
        report.newest = report.newest.max(self.ledger.earlier().newest);
        report.newest_missing = report.newest_missing.max(self.ledger.earlier().newest_missing);
        self.tally
    }

    async fn work(&mut self, journal: Option<&watch::Sender<Checkpoint>>) {
        let mut copies = JoinSet::new();
        let mut notes = tokio::time::interval(NOTE);
        notes.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // A few more than the requests in flight, so that none waits for a task to be made.
        let most = self.job.caller.pace.most();
        let room = most * 5 / 4 + 1;
        // Of large objects only a few are begun: with all of them half done at the deadline,
        // none would be done, in this run or the next.
        let widest = most.div_ceil(4);
        let mut taken = 0;
        let halt = self.job.caller.halt.clone();
        let mut listed = false;
        while !(listed && self.ahead() == 0) {
            let is_probed = self.probes == REFUSALS || listed && self.waiting.is_empty();
            if is_probed && copies.is_empty() && self.is_refused() {
                // It would be refused again: no stop that the next run makes up for.
                let first = self.tally.report.failures.first();
                self.tally.report.error = first.map(|object| object.failure.clone());
            }
            if halt.is_draining() || self.is_given_up() {
                if !listed && !halt.is_cancelled() && self.tally.report.error.is_none() {
                    self.look_through().await;
                }
                self.stop();
                break;
            }
            while taken < room
                && let Some((entry, reason, begun)) = self.next(listed)
            {
                let job = Arc::clone(&self.job);
                let breadth = breadth(&entry, self.job.streams()).min(widest);
                taken += breadth;
                copies.spawn(async move { (job.copy(entry, reason, begun).await, breadth) });
            }
            tokio::select! {
                biased;
                _ = notes.tick() => self.note(journal),
                Some(copy) = copies.join_next() => {
                    let (outcome, breadth) = joined(copy);
                    taken -= breadth;
                    self.record(&outcome);
                }
                () = halt.draining() => {}
                pair = self.join.next(), if !listed && self.ahead() < AHEAD => {
                    listed = self.take(pair).await;
                }
            }
        }
        if self.tally.report.error.is_some() {
            self.stop();
        }
        loop {
            tokio::select! {
                _ = notes.tick() => self.note(journal),
                copy = copies.join_next() => match copy {
                    Some(copy) => self.record(&joined(copy).0),
                    None => break,
                },
            }
        }
        let is_whole = self.tally.report.stopped_after.is_none() && self.plan.prefix.is_empty();
        if is_whole && !self.plan.dry_run && self.ledger.resumed().is_none() {
            self.join.keep().await;
        }
    }

    /// Objects that are to be copied, and are not begun.
    fn ahead(&self) -> usize {
        self.waiting.len() + self.ledger.carried()
    }

    /// Looks at what was listed already, so that the next run need not list it again.
    async fn look_through(&mut self) {
        self.join.close();
        while self.ahead() < MOST_LEFT
            && let Ok(Some(pair)) = self.join.ready()
        {
            self.consider(pair).await;
        }
    }

    /// Decides on a key and on those that need not be waited for. Answers whether it was the
    /// last one.
    async fn take(&mut self, pair: Result<Option<Pair>, RunError>) -> bool {
        let mut pair = match pair {
            Ok(None) => {
                if self.tally.report.error.is_none() {
                    self.observer.all_found();
                }
                return true;
            }
            pair => pair,
        };
        for _ in 0..AT_ONCE {
            match pair {
                Ok(Some(found)) => self.consider(found).await,
                Ok(None) => break,
                Err(error) => {
                    self.fail(&error);
                    // What was found is copied still, and what other ranges hold: the next run
                    // may find no more. No key's order can be trusted where one's cannot.
                    return matches!(error, RunError::Disorder { .. });
                }
            }
            pair = self.join.ready();
        }
        false
    }

    /// What to copy next: in order, unless all that was tried was refused. Then the last ones
    /// of as many as can be seen ahead tell whether the right is missing for those alone that
    /// come first, such as old ones under a key that is not shared.
    fn next(&mut self, listed: bool) -> Option<(Entry, Reason, bool)> {
        if !self.is_refused() {
            if let Some(object) = self.ledger.next_carried() {
                return Some(self.go_on_with(object));
            }
            let (range, entry, reason) = self.waiting.pop_front()?;
            self.join.keyspace().admitted(range, Some(&entry.key));
            self.ledger.begun(&entry, reason);
            let begun = reason == Reason::InDoubt && self.ledger.is_in_doubt(&entry.key);
            return Some((entry, reason, begun));
        }
        if self.probes == REFUSALS || !listed && self.ahead() < AHEAD {
            return None;
        }
        self.probes += 1;
        let Some((range, entry, reason)) = self.waiting.pop_back() else {
            return self.ledger.last_carried().map(|object| self.go_on_with(object));
        };
        self.join.keyspace().admitted(range, None);
        self.ledger.begun(&entry, reason);
        Some((entry, reason, false))
    }

    /// An object that an earlier run left.
    fn go_on_with(&mut self, object: Unfinished) -> (Entry, Reason, bool) {
        let begun = object.begun || self.ledger.is_in_doubt(&object.key);
        let (entry, reason) = object.entry();
        self.observer.found(entry.size);
        self.ledger.begun(&entry, reason);
        (entry, reason, begun)
    }

    /// Decides on one key.
    async fn consider(&mut self, pair: Pair) {
        let range = self.join.range();
        let (entry, reason) = match pair {
            Pair::Destination(extra) => {
                if !self.job.is_reserved(&extra.key) {
                    self.tally.report.only_at_destination.add(extra.size);
                }
                return;
            }
            Pair::Source(entry) => (entry, Some(Reason::New)),
            Pair::Both(entry, copy) => {
                let reason = self.differs(&entry, &copy).await;
                let in_doubt = self.ledger.is_in_doubt(&entry.key).then_some(Reason::InDoubt);
                (entry, reason.or(in_doubt))
            }
        };
        self.observer.listed();
        self.join.keyspace().looked_at(range, &entry.key);
        let report = &mut self.tally.report;
        report.listed.add(entry.size);
        report.newest = report.newest.max(Some(entry.modified));
        let Some(reason) = reason else {
            report.unchanged.add(entry.size);
            return;
        };
        if self.plan.modified_after.is_some_and(|time| entry.modified <= time) {
            report.left_out.add(entry.size);
            return;
        }
        let fate = match self.job.obstacle(&entry) {
            Some(fate) => fate,
            None if self.plan.dry_run => {
                self.job.settle(&entry.key).await;
                self.tally.foresee(foresee(&entry, self.job.streams()));
                Fate::WouldCopy { reason }
            }
            None => {
                self.job.settle(&entry.key).await;
                self.observer.found(entry.size);
                self.join.keyspace().found(range);
                return self.waiting.push_back((range, entry, reason));
            }
        };
        let Entry { key, size, modified, .. } = entry;
        self.record(&Outcome { source: self.job.name, key, size, modified, fate });
    }

    async fn differs(&self, source: &Entry, copy: &Entry) -> Option<Reason> {
        let mut decision = decide(source, copy, self.job.known_plain_etags());
        if decision == Decision::AskEncryption {
            decision = decide(source, copy, self.job.learn_plain_etags(&source.key).await);
        }
        match decision {
            Decision::Skip => None,
            Decision::Copy(reason) => Some(reason),
            Decision::AskEncryption => Some(Reason::EtagDiffers),
        }
    }

    fn record(&mut self, outcome: &Outcome) {
        if let Fate::Failed(failure) = &outcome.fate {
            tracing::warn!(
                source = %outcome.source,
                bucket = self.job.source.bucket,
                key = outcome.key,
                error = failure.error,
                remedy = %failure.remedy,
                request_id = failure.request_id,
                "not copied: {}",
                failure.message
            );
        }
        // Not this object's fault: the next one would be refused, too.
        if let Fate::Failed(failure) = &outcome.fate
            && failure.error == S3ErrorKind::BadCredentials.name()
        {
            self.tally.report.error.get_or_insert_with(|| failure.clone());
        }
        self.tally.record(outcome);
        self.ledger.done(outcome);
        self.observer.done(outcome);
    }

    /// Notes up to where everything was dealt with, or is being copied.
    fn stop(&mut self) {
        for (_, entry, _) in &self.waiting {
            self.tally.miss(entry.modified);
        }
        let after = self.join.keyspace().done_up_to().to_owned();
        self.tally.report.stopped_after = Some(after);
    }

    /// The rest of the source could not be listed.
    fn fail(&mut self, error: &RunError) {
        // A stop that interrupts a listing is no error.
        if error.name() != S3ErrorKind::Stopped.name() {
            let remedy = "run again; what is there already is not copied twice";
            self.tally.report.error.get_or_insert_with(|| error.failure(remedy));
        }
    }

    /// Whether what is left is likely to fail, too: unless the server answers, and a listing
    /// alone is broken.
    fn is_given_up(&self) -> bool {
        let broken = [S3ErrorKind::Refused.name(), S3ErrorKind::NotS3.name(), "ListingOutOfOrder"];
        self.tally.report.error.as_ref().is_some_and(|error| !broken.contains(&error.error.as_str()))
    }

    /// Whether all that was tried was refused.
    fn is_refused(&self) -> bool {
        let report = &self.tally.report;
        report.failed.objects >= REFUSALS
            && report.copied.objects == 0
            && report.unchanged.objects == 0
            && report.failures.iter().all(|object| object.failure.error == S3ErrorKind::AccessDenied.name())
    }
}

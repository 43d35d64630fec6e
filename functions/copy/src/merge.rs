//! One report of a run that several invocations shared: each made a report of its own part.

use std::collections::BTreeMap;

use crate::operation::price;
use crate::report::{Amount, KEPT_FAILURES, Report, SourceReport, status};

/// How two parts of a run are related.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// The second one took over what the first one left.
    After,
    /// Each had keys of its own.
    Beside,
}

impl Report {
    /// With that of the part that went on where this one was stopped.
    #[must_use]
    pub(crate) fn then(self, next: Self) -> Self {
        self.with(next, Order::After)
    }

    /// With that of another part, of other keys.
    #[must_use]
    pub(crate) fn beside(self, other: Self) -> Self {
        self.with(other, Order::Beside)
    }

    fn with(mut self, other: Self, order: Order) -> Self {
        let started = self.started.min(other.started);
        let ends = [&self, &other]
            .map(|part| (part.started - started).total(jiff::Unit::Second).unwrap_or(0.0) + part.seconds);
        for source in other.sources {
            match self.sources.iter_mut().find(|known| known.source == source.source) {
                Some(known) => known.add(source, order),
                None => self.sources.push(source),
            }
        }
        add(&mut self.requests, other.requests, |a, b| a + b);
        Self {
            status: status(&self.sources),
            started,
            seconds: ends[0].max(ends[1]),
            cost_usd: price(&self.requests),
            ..self
        }
    }
}

impl SourceReport {
    fn add(&mut self, other: Self, order: Order) {
        // All fields, lest one that comes to be is forgotten here.
        let Self {
            source: _,
            bucket: _,
            destination_bucket: _,
            destination_prefix: _,
            transfer,
            transfer_because,
            listed,
            unchanged,
            left_out,
            copied,
            copied_because,
            verified_by,
            copied_without,
            lacking,
            archived_objects,
            failed,
            archived,
            gone,
            interrupted,
            overwritten,
            newest,
            newest_missing,
            only_at_destination,
            stopped_after,
            error,
            handed_over: _,
            resumed,
            failures,
        } = other;
        for (total, more) in [
            (&mut self.listed, listed),
            (&mut self.unchanged, unchanged),
            (&mut self.left_out, left_out),
            (&mut self.copied, copied),
            (&mut self.gone, gone),
            (&mut self.only_at_destination, only_at_destination),
        ] {
            *total = total.plus(more);
        }
        add(&mut self.copied_because, copied_because, Amount::plus);
        add(&mut self.verified_by, verified_by, |a, b| a + b);
        add(&mut self.copied_without, copied_without, |a, b| a + b);
        self.lacking.extend(lacking);
        self.lacking.truncate(KEPT_FAILURES);
        self.archived_objects.extend(archived_objects);
        self.archived_objects.truncate(KEPT_FAILURES);
        self.overwritten += overwritten;
        self.newest = self.newest.max(newest);
        if self.transfer_because.is_empty() {
            (self.transfer, self.transfer_because) = (transfer, transfer_because);
        }
        match order {
            // What the first one had not done, the second one did, or says that it is left. What it
            // did not try again, it tells again.
            Order::After => {
                let earlier = resumed.map(|resumed| (resumed.failed, resumed.archived)).unwrap_or_default();
                (self.failed, self.archived) = (failed.plus(earlier.0), archived.plus(earlier.1));
                self.interrupted = interrupted;
                self.stopped_after = stopped_after;
                self.error = error;
                self.newest_missing = newest_missing;
                let before = std::mem::replace(&mut self.failures, failures);
                let again = before.into_iter().filter(|_| earlier.0.objects > 0);
                self.failures.extend(again);
            }
            Order::Beside => {
                self.failed = self.failed.plus(failed);
                self.archived = self.archived.plus(archived);
                self.failures.extend(failures);
                self.interrupted = self.interrupted.plus(interrupted);
                self.stopped_after = match (self.stopped_after.take(), stopped_after) {
                    (Some(a), Some(b)) => Some(a.min(b)),
                    (a, b) => a.or(b),
                };
                self.error = self.error.take().or(error);
                self.newest_missing = self.newest_missing.max(newest_missing);
            }
        }
        self.failures.truncate(KEPT_FAILURES);
    }
}

fn add<K: Ord, V: Copy + Default>(
    totals: &mut BTreeMap<K, V>,
    more: BTreeMap<K, V>,
    plus: impl Fn(V, V) -> V,
) {
    for (key, value) in more {
        let total = totals.entry(key).or_default();
        *total = plus(*total, value);
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::operation::{Operation, Requests};
    use crate::tally::{Tally, close};
    use crate::{Failure, Fate, Outcome, Reason, Source, SourceName, Status, VerifiedBy};

    fn part(at: i64, fates: Vec<(i64, Fate)>, stopped_after: Option<&str>) -> Report {
        let source =
            Source { name: SourceName::Database, bucket: "v".into(), lands_in: String::new(), owner: None };
        let mut tally = Tally::new(&source, "c");
        let modified = |second| Timestamp::from_second(second).expect("in range");
        for (second, fate) in fates {
            let modified = modified(second);
            tally.record(&Outcome { source: source.name, key: "k".into(), size: 10, modified, fate });
        }
        tally.report.stopped_after = stopped_after.map(str::to_owned);
        let requests = Requests::default();
        requests.count(Operation::CopyObject);
        close(vec![tally], &requests, false, modified(at), 100.0)
    }

    fn copied() -> Fate {
        Fate::Copied {
            reason: Reason::New,
            verified_by: VerifiedBy::Etag,
            overwritten: 0,
            without: Vec::new(),
        }
    }

    fn failed() -> Fate {
        let failure =
            Failure { error: "E".into(), message: "m".into(), remedy: "r".into(), request_id: None };
        Fate::Failed(failure)
    }

    #[test]
    fn what_a_part_left_is_told_by_the_part_after_it() {
        let first = part(0, vec![(1, copied()), (9, Fate::Interrupted)], Some("k"));
        let second = part(500, vec![(2, copied()), (3, failed())], None);
        let whole = first.clone().then(second);
        let source = &whole.sources[0];
        assert_eq!(whole.status, Status::ObjectsMissing);
        assert_eq!((source.copied.objects, source.copied.bytes, source.failed.objects), (2, 20, 1));
        assert_eq!((source.interrupted.objects, source.failures.len()), (0, 1));
        assert_eq!(source.newest_missing, Timestamp::from_second(3).ok(), "not that of what was interrupted");
        assert_eq!((whole.seconds, whole.requests[&Operation::CopyObject]), (600.0, 2));
        assert!((whole.cost_usd - 2.0 * first.cost_usd).abs() < 1e-12);
    }

    #[test]
    fn of_parts_side_by_side_the_first_key_that_is_left_is_told() {
        let done = part(0, vec![(1, copied())], None);
        let parts = [Some("m"), Some("c")].map(|after| part(10, vec![(2, copied())], after));
        let whole = parts.into_iter().fold(done, Report::beside);
        assert_eq!(whole.status, Status::Stopped);
        assert_eq!(whole.sources[0].stopped_after.as_deref(), Some("c"));
        assert_eq!(whole.sources[0].copied_because[&Reason::New].objects, 3);
        assert_eq!(whole.sources[0].verified_by[&VerifiedBy::Etag], 3);
    }

    #[test]
    fn a_report_is_read_as_it_was_written() {
        let report = part(0, vec![(1, copied()), (2, failed()), (3, Fate::Gone)], Some("k"));
        let text = serde_json::to_string(&report).expect("JSON");
        assert_eq!(serde_json::from_str::<Report>(&text).expect("a report"), report);
    }
}

//! A report in the making: what becomes of each object, added up.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::operation::{Operation, Requests, price};
use crate::report::{
    Amount, ArchivedObject, FailedObject, Fate, KEPT_FAILURES, LackingObject, Outcome, Report, Route,
    SourceReport, status,
};

/// A source's report as it grows.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) report: SourceReport,
    pub(crate) forecast: BTreeMap<Operation, u64>,
}

impl Tally {
    pub(crate) fn new(source: &crate::Source, destination_bucket: &str) -> Self {
        Self {
            report: SourceReport {
                source: source.name,
                bucket: source.bucket.clone(),
                destination_bucket: destination_bucket.to_owned(),
                destination_prefix: source.lands_in.clone(),
                transfer: Route::ServerSide,
                transfer_because: String::new(),
                listed: Amount::default(),
                unchanged: Amount::default(),
                left_out: Amount::default(),
                copied: Amount::default(),
                copied_because: BTreeMap::new(),
                verified_by: BTreeMap::new(),
                copied_without: BTreeMap::new(),
                failed: Amount::default(),
                archived: Amount::default(),
                gone: Amount::default(),
                interrupted: Amount::default(),
                overwritten: 0,
                newest: None,
                newest_missing: None,
                only_at_destination: Amount::default(),
                resumed: None,
                stopped_after: None,
                error: None,
                handed_over: None,
                failures: Vec::new(),
                lacking: Vec::new(),
                archived_objects: Vec::new(),
            },
            forecast: BTreeMap::new(),
        }
    }

    pub(crate) fn record(&mut self, outcome: &Outcome) {
        if matches!(outcome.fate, Fate::Archived(_) | Fate::Interrupted | Fate::Failed(_)) {
            self.miss(outcome.modified);
        }
        let report = &mut self.report;
        match &outcome.fate {
            Fate::Copied { reason, verified_by, overwritten, without } => {
                report.copied.add(outcome.size);
                report.copied_because.entry(*reason).or_default().add(outcome.size);
                *report.verified_by.entry(*verified_by).or_default() += 1;
                report.overwritten += u64::from(*overwritten);
                for lack in without {
                    *report.copied_without.entry(lack.property).or_default() += 1;
                }
                if !without.is_empty() && report.lacking.len() < KEPT_FAILURES {
                    report.lacking.push(LackingObject { key: outcome.key.clone(), without: without.clone() });
                }
            }
            Fate::WouldCopy { reason } => {
                report.copied.add(outcome.size);
                report.copied_because.entry(*reason).or_default().add(outcome.size);
            }
            Fate::Unchanged => report.unchanged.add(outcome.size),
            Fate::Archived(archive) => {
                report.archived.add(outcome.size);
                if report.archived_objects.len() < KEPT_FAILURES {
                    let object = ArchivedObject { key: outcome.key.clone(), archive: archive.clone() };
                    report.archived_objects.push(object);
                }
            }
            Fate::Gone => report.gone.add(outcome.size),
            Fate::Interrupted => report.interrupted.add(outcome.size),
            Fate::Failed(failure) => {
                report.failed.add(outcome.size);
                if report.failures.len() < KEPT_FAILURES {
                    report.failures.push(FailedObject { key: outcome.key.clone(), failure: failure.clone() });
                }
            }
        }
    }

    /// An object is not at the destination as it should be.
    pub(crate) fn miss(&mut self, modified: Timestamp) {
        self.report.newest_missing = self.report.newest_missing.max(Some(modified));
    }

    /// Adds the requests that a copy of this object takes when nothing goes wrong.
    pub(crate) fn foresee(&mut self, requests: impl IntoIterator<Item = (Operation, u64)>) {
        for (operation, count) in requests {
            *self.forecast.entry(operation).or_default() += count;
        }
    }
}

/// Closes the books.
pub(crate) fn close(
    tallies: Vec<Tally>,
    requests: &Requests,
    dry_run: bool,
    started: Timestamp,
    seconds: f64,
) -> Report {
    let mut forecast = BTreeMap::new();
    let mut sources = Vec::with_capacity(tallies.len());
    for tally in tallies {
        for (operation, count) in tally.forecast {
            *forecast.entry(operation).or_default() += count;
        }
        sources.push(tally.report);
    }
    let requests = requests.snapshot();
    Report {
        status: status(&sources),
        dry_run,
        started,
        seconds,
        sources,
        cost_usd: price(&requests),
        requests,
        forecast_usd: dry_run.then(|| price(&forecast)),
        forecast_seconds: None,
        forecast,
    }
}

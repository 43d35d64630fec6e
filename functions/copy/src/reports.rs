//! Reports as they are kept: below `.replicator/reports/` in the destination, a JSON document
//! and a page for people for each run, the newest page under a name that does not change, and
//! a [`History`] of the last runs, which the page's chart shows.
//!
//! A report is closed before it is kept: the five requests that keeping it takes (a GetObject
//! and four PutObjects) are not in it.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::documents::{Condition, Document, Documents};
use crate::operation::Operation;
use crate::report::{Amount, Report, Status};
use crate::s3::{Caller, Side};
use crate::{Clients, Halt, Plan, S3Error, S3ErrorKind, SourceName};

/// Where reports are kept in the destination.
const FOLDER: &str = ".replicator/reports/";
const HISTORY: &str = ".replicator/reports/history.json";
/// Runs that a history remembers: three months of daily ones.
const REMEMBERED: usize = 90;
const PAGE: &str = include_str!("reports/page.html");
/// Two runs that end together write the history one after the other.
const ATTEMPTS: u32 = 5;

/// The last runs on one destination, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// At most 90.
    pub runs: Vec<Summary>,
}

/// What a history remembers of one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// When it began.
    pub started: Timestamp,
    /// How long it took.
    pub seconds: f64,
    /// How it ended.
    pub status: Status,
    /// The sources it looked at.
    pub sources: Vec<SourceName>,
    /// Copied and verified.
    pub copied: Amount,
    /// Already at the destination, the same.
    pub unchanged: Amount,
    /// Not copied for an error.
    pub failed: Amount,
    /// Not copied because they are in an archive tier.
    pub archived: Amount,
    /// What its requests cost in USD.
    pub cost_usd: f64,
}

impl History {
    fn add(&mut self, report: &Report) {
        self.runs.push(Summary {
            started: report.started,
            seconds: report.seconds,
            status: report.status,
            sources: report.sources.iter().map(|source| source.source).collect(),
            copied: report.total(|source| source.copied),
            unchanged: report.total(|source| source.unchanged),
            failed: report.total(|source| source.failed),
            archived: report.total(|source| source.archived),
            cost_usd: report.cost_usd,
        });
        let forgotten = self.runs.len().saturating_sub(REMEMBERED);
        self.runs.drain(..forgotten);
    }
}

/// A run as one HTML page without references to anything outside of it, in English or
/// French as the browser asks; `history` becomes its chart.
#[must_use]
pub fn page(report: &Report, history: &History) -> String {
    let data = serde_json::json!({ "report": report, "history": history.runs }).to_string();
    // Inside a script element nothing but `</script` ends it, and keys may hold that.
    let data = data.replace('<', "\\u003c");
    PAGE.replacen("\"DATA\"", &data, 1)
}

/// Keeps a run's report at the destination, within the given time, and answers the history
/// with this run as its last.
///
/// # Errors
/// The [`S3Error`] of the first request that was not granted; what was written before stays.
pub async fn keep(
    plan: &Plan,
    clients: &Clients,
    report: &Report,
    within: Duration,
) -> Result<History, S3Error> {
    let caller = Caller::new(plan, Halt::never()).closing();
    let keeper = Keeper(Documents::new(plan, caller, &Side::destination(clients, plan)));
    match tokio::time::timeout(within, keeper.keep(report)).await {
        Ok(kept) => kept,
        Err(_) => Err(S3Error {
            operation: Operation::PutObject,
            kind: S3ErrorKind::TimedOut,
            code: format!("nothing within {} s", within.as_secs()),
            message: String::new(),
            request_id: None,
            tries: 1,
        }),
    }
}

struct Keeper(Documents);

impl Keeper {
    async fn keep(&self, report: &Report) -> Result<History, S3Error> {
        let history = self.remember(report).await?;
        let name = format!("{FOLDER}{}", name(report));
        let json = serde_json::to_vec_pretty(report).unwrap_or_default();
        let page = page(report, &history).into_bytes();
        const HTML: &str = "text/html; charset=utf-8";
        self.0.put(&format!("{name}.json"), json, &Condition::Any).await?;
        self.0.put_as(HTML, &format!("{name}.html"), page.clone(), &Condition::Any).await?;
        self.0.put_as(HTML, &format!("{FOLDER}latest.html"), page, &Condition::Any).await?;
        Ok(history)
    }

    /// Adds the run to the history. Another run may do the same at this moment: the write is
    /// conditional on what was read.
    async fn remember(&self, report: &Report) -> Result<History, S3Error> {
        let mut attempt = 1;
        loop {
            let (mut history, condition) = self.history().await?;
            history.add(report);
            let text = serde_json::to_vec(&history).unwrap_or_default();
            match self.0.put(HISTORY, text, &condition).await {
                Err(error) if error.kind == S3ErrorKind::PreconditionFailed && attempt < ATTEMPTS => {
                    attempt += 1;
                }
                put => return put.map(|_| history),
            }
        }
    }

    async fn history(&self) -> Result<(History, Condition), S3Error> {
        let Some(Document { body, etag, .. }) = self.0.get(HISTORY).await? else {
            return Ok((History::default(), Condition::Absent));
        };
        // What cannot be read is begun again: it is for a chart.
        let history = serde_json::from_slice(&body).unwrap_or_else(|error| {
            tracing::warn!(%error, "{HISTORY} cannot be read and is begun again");
            History::default()
        });
        Ok((history, Condition::Is(etag)))
    }
}

/// `2026-11-21T03-00-00Z-database`: keys that sort by time, and hold nothing that a file
/// system or a URL minds.
fn name(report: &Report) -> String {
    let started = report.started.strftime("%Y-%m-%dT%H-%M-%SZ");
    let sources: Vec<_> = report.sources.iter().map(|source| source.source.to_string()).collect();
    format!("{started}-{}", sources.join("-"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn report(at: i64) -> Report {
        Report {
            status: Status::Complete,
            dry_run: false,
            started: Timestamp::from_second(at).expect("in range"),
            seconds: 1.0,
            sources: Vec::new(),
            requests: BTreeMap::new(),
            cost_usd: 0.0,
            forecast: BTreeMap::new(),
            forecast_usd: None,
            forecast_seconds: None,
        }
    }

    #[test]
    fn a_history_forgets_the_oldest_runs() {
        let mut history = History::default();
        for at in 0..100 {
            history.add(&report(at));
        }
        let started: Vec<_> = history.runs.iter().map(|run| run.started.as_second()).collect();
        assert_eq!(started, (10..100).collect::<Vec<_>>());
    }

    #[test]
    fn no_key_breaks_out_of_the_page() {
        let mut report = report(0);
        let source = crate::Source {
            name: SourceName::Database,
            bucket: "</script><b>&\"DATA\"".into(),
            lands_in: String::new(),
            owner: None,
        };
        report.sources.push(crate::tally::Tally::new(&source, "b").report);
        let page = page(&report, &History::default());
        assert!(!page.contains("</script><b>"));
        let data = page.split("type=\"application/json\">").nth(1).expect("the data");
        let data = data.split("</script>").next().expect("its end");
        let data: serde_json::Value = serde_json::from_str(data).expect("JSON");
        assert_eq!(data["report"]["sources"][0]["bucket"], source.bucket);
    }
}

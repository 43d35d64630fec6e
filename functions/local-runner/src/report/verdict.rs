//! The last lines: how a run ended, what to do next, and what it took.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use bucket_copy::{Amount, Operation, Report, Resumed, Status};

use super::{BAD, CARE, GOOD, WIDTH};
use crate::quantity::{self, count, duration, number, usd};

/// How it ended, and what it took.
pub(crate) fn verdict(report: &Report) -> String {
    let (style, word, rest) = match (report.status, report.dry_run) {
        (Status::Complete, false) if report.sources.iter().any(|source| source.resumed.is_some()) => {
            (GOOD, "Complete", "what was left is copied. Run again: it looks at everything.".to_owned())
        }
        (Status::Complete, false) => {
            (GOOD, "Complete", "the destination has everything that was asked for.".to_owned())
        }
        (Status::Complete, true) => (GOOD, "Dry run", "nothing was written.".to_owned()),
        (Status::ObjectsMissing, true) => {
            (CARE, "Dry run", format!("nothing was written; {}", missing(report)))
        }
        (Status::ObjectsMissing, false) => (CARE, "Not complete", missing(report)),
        (Status::Stopped, _) => {
            (CARE, "Stopped", "run again to go on; what is there already is not copied twice.".to_owned())
        }
        (Status::Failed, _) => (BAD, "Failed", "a source was given up before its end, see above.".to_owned()),
    };
    let mut text = format!("{style}{word}:{style:#} {rest}\n");
    if let Some(price) = report.forecast_usd {
        let requests: u64 = report.forecast.values().sum();
        let head = match requests {
            0 => "There is nothing to copy.".to_owned(),
            _ => format!(
                "To copy it takes {}, {} (without transfer and storage){}: {}",
                count(requests, "request"),
                usd(price),
                report.forecast_seconds.map_or_else(String::new, |seconds| {
                    format!(", roughly {}", duration(Duration::from_secs_f64(seconds)))
                }),
                operations(&report.forecast)
            ),
        };
        text.push_str(&wrap(&head));
    }
    text.push_str(&took(&report.requests, report.cost_usd, report.seconds));
    text
}

/// What it took.
pub(super) fn took(requests: &BTreeMap<Operation, u64>, usd: f64, seconds: f64) -> String {
    wrap(&format!(
        "{}, {}, in {}: {}",
        count(requests.values().sum(), "request"),
        quantity::usd(usd),
        duration(Duration::try_from_secs_f64(seconds).unwrap_or_default()),
        operations(requests)
    ))
}

fn missing(report: &Report) -> String {
    // Those of the runs before it, which this one did not look at again, included.
    let earlier =
        |of: fn(&Resumed) -> Amount| report.total(|s| s.resumed.as_ref().map(of).unwrap_or_default());
    let failed = report.total(|s| s.failed).objects + earlier(|runs| runs.failed).objects;
    let archived = report.total(|s| s.archived).objects + earlier(|runs| runs.archived).objects;
    match (failed, archived) {
        (failed, 0) => format!("{} failed.", count(failed, "object")),
        (0, archived) => format!("{} archived at the source.", are(archived)),
        (failed, archived) => {
            format!("{} failed, {} archived at the source.", count(failed, "object"), are(archived))
        }
    }
}

fn are(objects: u64) -> String {
    format!("{} {}", count(objects, "object"), if objects == 1 { "is" } else { "are" })
}

/// `3,000 CopyObject, 8 ListObjectsV2`, the most frequent first.
fn operations(requests: &BTreeMap<Operation, u64>) -> String {
    let mut requests: Vec<_> = requests.iter().collect();
    requests.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let named: Vec<_> = requests
        .iter()
        .map(|(operation, count)| format!("{}{NO_BREAK}{operation}", number(**count)))
        .collect();
    named.join(", ")
}

/// Stands where [`wrap`] must not break a line.
const NO_BREAK: char = '\u{a0}';

/// Lines of at most [`WIDTH`] columns, those after the first indented.
pub(super) fn wrap(text: &str) -> String {
    format!("{}\n", wrapped(text, 0, 2))
}

/// The same, without the last line's end, from a column on, and indented by so many.
pub(crate) fn wrapped(text: &str, mut column: usize, indent: usize) -> String {
    let mut lines = String::new();
    for word in text.split(' ') {
        let width = word.chars().count();
        if !lines.is_empty() && column + 1 + width > WIDTH {
            let _ = write!(lines, "\n{:indent$}", "");
            column = indent;
        } else if !lines.is_empty() {
            lines.push(' ');
            column += 1;
        }
        lines.push_str(&word.replace(NO_BREAK, " "));
        column += width;
    }
    lines
}

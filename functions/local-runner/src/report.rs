//! A report as text: a block for each source, its failures, a verdict. Pure; styled with
//! ANSI sequences that `anstream` strips where they do not belong.

mod failures;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use bucket_copy::{Amount, Operation, Reason, Report, SourceReport, Status, VerifiedBy};

use crate::escape::escape;
use crate::quantity::{bytes, count, duration, number, usd};
use crate::replicate::Reasons;

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const GOOD: Style = AnsiColor::Green.on_default().bold();
const CARE: Style = AnsiColor::Yellow.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();
const PLAIN: Style = Style::new();

/// The width that texts are wrapped at.
const WIDTH: usize = 80;

/// The whole report.
pub(crate) fn render(report: &Report, reasons: &Reasons) -> String {
    let mut text = String::new();
    let blocks: Vec<_> = report.sources.iter().map(|source| rows(source, report.dry_run, reasons)).collect();
    let widths = Widths::of(blocks.iter().flatten());
    for (source, rows) in report.sources.iter().zip(&blocks) {
        header(&mut text, source);
        for row in rows {
            row.write(&mut text, widths);
        }
        failures::write(&mut text, source);
        text.push('\n');
    }
    text.push_str(&verdict(report));
    text
}

/// From where to where; on two lines where one would be too long.
fn header(text: &mut String, source: &SourceReport) {
    let name = source.source.to_string();
    let from = format!("s3://{}", escape(&source.bucket));
    let to = format!("s3://{}/{}", escape(&source.destination_bucket), escape(&source.destination_prefix));
    let _ = write!(text, "{BOLD}{name}{BOLD:#}  {from}");
    let width = [&name, &from, &to].iter().map(|part| part.chars().count()).sum::<usize>() + 5;
    if width > WIDTH {
        let _ = write!(text, "\n{:1$}", "", name.len());
    }
    let _ = writeln!(text, " {DIM}→{DIM:#} {to}");
}

/// How it ended, and what it took.
pub(crate) fn verdict(report: &Report) -> String {
    let (style, word, rest) = match (report.status, report.dry_run) {
        (Status::Complete, false) => {
            (GOOD, "Complete", "the destination has everything that was asked for.".to_owned())
        }
        (Status::Complete | Status::ObjectsMissing, true) => {
            (GOOD, "Dry run", "nothing was written.".to_owned())
        }
        (Status::ObjectsMissing, false) => (CARE, "Not complete", missing(report)),
        (Status::Stopped, _) => {
            (CARE, "Stopped", "run again to go on; what is there already is not copied twice.".to_owned())
        }
        (Status::Failed, _) => {
            (BAD, "Failed", "a source could not be listed to its end; run again.".to_owned())
        }
    };
    let mut text = format!("{style}{word}:{style:#} {rest}\n");
    if let Some(price) = report.forecast_usd {
        let requests: u64 = report.forecast.values().sum();
        let head = match requests {
            0 => "There is nothing to copy.".to_owned(),
            _ => format!(
                "To copy it takes {}, {} (without transfer and storage): {}",
                count(requests, "request"),
                usd(price),
                operations(&report.forecast)
            ),
        };
        text.push_str(&wrap(&head));
    }
    let requests: u64 = report.requests.values().sum();
    let head = format!(
        "{}, {}, in {}: {}",
        count(requests, "request"),
        usd(report.cost_usd),
        duration(Duration::try_from_secs_f64(report.seconds).unwrap_or_default()),
        operations(&report.requests)
    );
    text.push_str(&wrap(&head));
    text
}

fn missing(report: &Report) -> String {
    let (failed, archived) = (report.total(|s| s.failed).objects, report.total(|s| s.archived).objects);
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
fn wrap(text: &str) -> String {
    let mut lines = String::new();
    let mut column = 0;
    for word in text.split(' ') {
        let width = word.chars().count();
        if column > 0 && column + 1 + width > WIDTH {
            lines.push_str("\n  ");
            column = 2;
        } else if column > 0 {
            lines.push(' ');
            column += 1;
        }
        lines.push_str(&word.replace(NO_BREAK, " "));
        column += width;
    }
    lines.push('\n');
    lines
}

/// A line of a source's block.
struct Row {
    style: Style,
    label: &'static str,
    amount: Option<Amount>,
    note: String,
}

#[derive(Clone, Copy)]
struct Widths {
    label: usize,
    objects: usize,
    bytes: usize,
}

impl Widths {
    fn of<'a>(rows: impl Iterator<Item = &'a Row> + Clone) -> Self {
        let amounts = rows.clone().filter_map(|row| row.amount);
        Self {
            label: rows.map(|row| row.label.len()).max().unwrap_or(0),
            objects: amounts.clone().map(|amount| number(amount.objects).len()).max().unwrap_or(0),
            bytes: amounts.map(|amount| bytes(amount.bytes).len()).max().unwrap_or(0),
        }
    }
}

impl Row {
    fn write(&self, text: &mut String, widths: Widths) {
        let Self { style, label, amount, note } = self;
        let _ = write!(text, "  {style}{label:<0$}{style:#}", widths.label);
        if let Some(amount) = amount {
            let _ = write!(
                text,
                "  {:>2$}  {:>3$}",
                number(amount.objects),
                if amount.objects == 0 { String::new() } else { bytes(amount.bytes) },
                widths.objects,
                widths.bytes
            );
        }
        if !note.is_empty() {
            let _ = write!(text, "  {DIM}{note}{DIM:#}");
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
}

fn rows(source: &SourceReport, dry_run: bool, reasons: &Reasons) -> Vec<Row> {
    let always = |label, amount, note: String| Some(Row { style: PLAIN, label, amount: Some(amount), note });
    let some = |style, label, amount: Amount, note: &str| {
        (amount.objects > 0).then(|| Row { style, label, amount: Some(amount), note: note.to_owned() })
    };
    let word = |label, note: String| Row { style: PLAIN, label, amount: None, note };
    let mut rows = vec![always("listed", source.listed, String::new())];
    rows.push(some(PLAIN, "already there", source.unchanged, ""));
    rows.push(some(PLAIN, "left out", source.left_out, "not modified after the time given"));
    if dry_run {
        rows.push(always("would copy", source.copied, String::new()));
        for ((_, reason), amount) in reasons.iter().filter(|((name, _), _)| *name == source.source) {
            rows.push(some(DIM, because(*reason), *amount, ""));
        }
    } else {
        rows.push(always("copied", source.copied, copied(source)));
    }
    rows.push((source.verified_by.len() > 1).then(|| word("verified", verified(source))));
    rows.push((source.overwritten > 0).then(|| {
        let times = count(source.overwritten, "time");
        word("changed meanwhile", format!("{times} while being copied; copied as it is now"))
    }));
    rows.push(some(BAD, "failed", source.failed, "see below"));
    rows.push(some(CARE, "archived", source.archived, "restore them at the source, then run again"));
    rows.push(some(PLAIN, "gone", source.gone, "deleted at the source after they were listed"));
    rows.push(some(CARE, "interrupted", source.interrupted, "being copied when the run was stopped"));
    rows.push(some(PLAIN, "only at destination", source.only_at_destination, "kept; not at the source"));
    rows.push(source.stopped_after.as_ref().map(|key| {
        let place = match key.as_str() {
            "" => "before the first object".to_owned(),
            key => format!("after {}", escape(key)),
        };
        word("stopped", place)
    }));
    rows.into_iter().flatten().collect()
}

fn because(reason: Reason) -> &'static str {
    match reason {
        Reason::New => "  new",
        Reason::SizeDiffers => "  size differs",
        Reason::EtagDiffers => "  ETag differs",
        Reason::ModifiedSince => "  modified since",
    }
}

/// `12 new, 3 changed; verified by ETag`.
fn copied(source: &SourceReport) -> String {
    let new = source.copied_because.get(&Reason::New).copied().unwrap_or(0);
    let changed = source.copied_because.values().sum::<u64>() - new;
    let mut parts = Vec::new();
    if new > 0 {
        parts.push(format!("{} new", number(new)));
    }
    if changed > 0 {
        parts.push(format!("{} changed", number(changed)));
    }
    let mut text = parts.join(", ");
    if let (Some((by, _)), 1) = (source.verified_by.first_key_value(), source.verified_by.len()) {
        let _ = write!(text, "; verified by {}", proof(*by));
    }
    text
}

fn verified(source: &SourceReport) -> String {
    let parts: Vec<_> = source
        .verified_by
        .iter()
        .map(|(by, count)| format!("{} by {}", number(*count), proof(*by)))
        .collect();
    parts.join(", ")
}

fn proof(by: VerifiedBy) -> &'static str {
    match by {
        VerifiedBy::Etag => "ETag",
        VerifiedBy::Checksum => "checksum",
        VerifiedBy::Size => "size alone",
    }
}

//! A report as text: a block for each source, its failures, a verdict. Pure; styled with
//! ANSI sequences that `anstream` strips where they do not belong.

pub(crate) mod failures;
mod notes;
pub(crate) mod rows;
#[cfg(test)]
mod tests;
mod verdict;
mod verification;

use std::fmt::Write;

use anstyle::{AnsiColor, Style};
use bucket_copy::{Report, SourceName};

use crate::escape::escape;
use rows::{Widths, rows};
pub(crate) use verdict::{verdict, wrapped};
pub(crate) use verification::render as render_verification;

pub(crate) const BOLD: Style = Style::new().bold();
pub(crate) const DIM: Style = Style::new().dimmed();
pub(crate) const GOOD: Style = AnsiColor::Green.on_default().bold();
pub(crate) const CARE: Style = AnsiColor::Yellow.on_default().bold();
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
pub(crate) const PLAIN: Style = Style::new();

/// The width that texts are wrapped at.
const WIDTH: usize = 80;

/// The whole report.
pub(crate) fn render(report: &Report) -> String {
    let mut text = String::new();
    let blocks: Vec<_> = report.sources.iter().map(|source| rows(source, report.dry_run)).collect();
    let widths = Widths::of(blocks.iter().flatten());
    for (source, rows) in report.sources.iter().zip(&blocks) {
        header(
            &mut text,
            source.source,
            (&source.bucket, &source.destination_bucket, &source.destination_prefix),
        );
        for row in rows {
            row.write(&mut text, widths);
        }
        failures::write(&mut text, source);
        notes::write(&mut text, source);
        text.push('\n');
    }
    text.push_str(&verdict(report));
    text
}

/// From where to where; on two lines where one would be too long.
fn header(text: &mut String, source: SourceName, (bucket, destination, prefix): (&str, &str, &str)) {
    let name = source.to_string();
    let from = format!("s3://{}", escape(bucket));
    let to = format!("s3://{}/{}", escape(destination), escape(prefix));
    let _ = write!(text, "{BOLD}{name}{BOLD:#}  {from}");
    let width = [&name, &from, &to].iter().map(|part| part.chars().count()).sum::<usize>() + 5;
    if width > WIDTH {
        let _ = write!(text, "\n{:1$}", "", name.len());
    }
    let _ = writeln!(text, " {DIM}→{DIM:#} {to}");
}

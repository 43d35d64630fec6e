//! What failed, and what to do: objects with one remedy stand together above it.

use std::fmt::Write;

use bucket_copy::{FailedObject, Remedy, SourceReport};

use super::{BAD, CARE, DIM};
use crate::escape::{escape, escape_lines};
use crate::quantity::number;

/// Objects named for each source; the JSON report names a thousand.
const NAMED: usize = 20;

/// Writes a source's failures, if it has any.
pub(super) fn write(text: &mut String, source: &SourceReport) {
    if let Some(error) = &source.error {
        let _ = writeln!(text, "\n  {BAD}given up before its end:{BAD:#} {}", escape(&error.message));
        remedy(text, &error.remedy);
    }
    list(text, "failed", &source.failures, source.failed.objects);
}

/// Writes the first of `total` objects that failed, or otherwise are not as asked for.
pub(crate) fn list(text: &mut String, label: &str, failures: &[FailedObject], total: u64) {
    let named = &failures[..failures.len().min(NAMED)];
    for group in by_remedy(named) {
        text.push('\n');
        for object in &group {
            let _ = writeln!(text, "  {BAD}{label}:{BAD:#} {}", escape(&object.key));
            let _ = writeln!(text, "    {DIM}{}{DIM:#}", escape(&object.failure.message));
        }
        remedy(text, &group[0].failure.remedy);
    }
    let more = total.saturating_sub(named.len() as u64);
    if more > 0 {
        let _ = writeln!(text, "\n  and {} more {label}: --json lists up to 1,000", number(more));
    }
}

pub(super) fn remedy(text: &mut String, remedy: &Remedy) {
    let _ = writeln!(text, "  {CARE}what to do:{CARE:#} {}", escape(&remedy.text));
    if let Some(statement) = &remedy.statement {
        for line in statement.to_string().lines() {
            let _ = writeln!(text, "    {}", escape_lines(line));
        }
    }
}

/// Groups in the order of their first objects.
fn by_remedy(objects: &[FailedObject]) -> Vec<Vec<&FailedObject>> {
    let mut groups: Vec<Vec<&FailedObject>> = Vec::new();
    for object in objects {
        match groups.iter_mut().find(|group| group[0].failure.remedy == object.failure.remedy) {
            Some(group) => group.push(object),
            None => groups.push(vec![object]),
        }
    }
    groups
}

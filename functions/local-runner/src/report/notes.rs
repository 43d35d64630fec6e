//! What was copied without something, and what is archived: some objects, and what to do.

use std::fmt::Write;

use bucket_copy::SourceReport;

use super::{CARE, DIM};
use crate::escape::{escape, escape_lines};
use crate::quantity::{count, number};

/// Objects named of each; the JSON report names a thousand.
const NAMED: usize = 3;

/// Writes a source's notes, if it has any.
pub(super) fn write(text: &mut String, source: &SourceReport) {
    for (property, objects) in &source.copied_without {
        let lacks = source.lacking.iter().filter_map(|object| {
            let lack = object.without.iter().find(|lack| lack.property == *property)?;
            Some((&object.key, &lack.because))
        });
        let _ = writeln!(text, "\n  {CARE}copied without {property}:{CARE:#} {}", count(*objects, "object"));
        let mut said = None;
        for (key, because) in lacks.take(NAMED) {
            let _ = writeln!(text, "    {}", escape(key));
            // One right is missing for all of them, as a rule.
            if said.replace(because) != Some(because) {
                let _ = writeln!(text, "      {DIM}{}{DIM:#}", escape(because));
            }
        }
        let more = objects.saturating_sub(NAMED as u64);
        if more > 0 {
            let _ = writeln!(text, "    and {} more: --json lists up to 1,000", number(more));
        }
    }
    let archived = &source.archived_objects[..source.archived_objects.len().min(NAMED)];
    if !archived.is_empty() {
        text.push('\n');
    }
    for object in archived {
        let state = if object.archive.restoring { " (being restored)" } else { "" };
        let _ = writeln!(text, "  {CARE}archived:{CARE:#} {}{state}", escape(&object.key));
        if !object.archive.restoring {
            let _ = writeln!(text, "    {DIM}{}{DIM:#}", escape_lines(&object.archive.restore));
        }
    }
    let more = source.archived.objects.saturating_sub(archived.len() as u64);
    if more > 0 {
        let _ = writeln!(text, "  and {} more archived: --json lists up to 1,000", number(more));
    }
    if source.archived.objects > 0 {
        let _ = writeln!(
            text,
            "  {CARE}what to do:{CARE:#} have the owner of {} restore them, or allow you s3:RestoreObject",
            escape(&source.bucket)
        );
    }
}

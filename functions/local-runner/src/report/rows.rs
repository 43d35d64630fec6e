//! A source's block: a line for each thing that became of its objects.

use std::fmt::Write;

use anstyle::Style;
use bucket_copy::{Amount, Reason, Route, SourceReport, VerifiedBy};

use super::{BAD, CARE, DIM, PLAIN};
use crate::escape::escape;
use crate::quantity::{bytes, count, number};

/// A line of a source's block.
pub(crate) struct Row {
    pub(crate) style: Style,
    pub(crate) label: &'static str,
    pub(crate) amount: Option<Amount>,
    pub(crate) note: String,
}

#[derive(Clone, Copy)]
pub(crate) struct Widths {
    label: usize,
    objects: usize,
    bytes: usize,
}

impl Widths {
    pub(crate) fn of<'a>(rows: impl Iterator<Item = &'a Row> + Clone) -> Self {
        let amounts = rows.clone().filter_map(|row| row.amount);
        Self {
            label: rows.map(|row| row.label.len()).max().unwrap_or(0),
            objects: amounts.clone().map(|amount| number(amount.objects).len()).max().unwrap_or(0),
            bytes: amounts.map(|amount| bytes(amount.bytes).len()).max().unwrap_or(0),
        }
    }
}

impl Row {
    pub(crate) fn write(&self, text: &mut String, widths: Widths) {
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

pub(super) fn rows(source: &SourceReport, dry_run: bool) -> Vec<Row> {
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
        for (reason, amount) in &source.copied_because {
            rows.push(some(DIM, because(*reason), *amount, ""));
        }
    } else {
        rows.push(always("copied", source.copied, copied(source)));
    }
    rows.push((source.verified_by.len() > 1).then(|| word("verified", verified(source))));
    rows.push((source.transfer == Route::Stream).then(|| word("streamed", source.transfer_because.clone())));
    rows.push((!source.copied_without.is_empty()).then(|| {
        let counted = source.copied_without.iter();
        let parts: Vec<_> = counted
            .map(|(property, objects)| format!("{property} ({})", count(*objects, "object")))
            .collect();
        Row { style: CARE, ..word("without", format!("{}; see below", parts.join(", "))) }
    }));
    rows.push((source.overwritten > 0).then(|| {
        let times = count(source.overwritten, "time");
        word("changed meanwhile", format!("{times} while being copied; copied as it is now"))
    }));
    rows.push(some(BAD, "failed", source.failed, "see below"));
    rows.push(some(CARE, "archived", source.archived, "to be restored at the source first; see below"));
    rows.push(some(PLAIN, "gone", source.gone, "deleted at the source after they were listed"));
    rows.push(some(CARE, "interrupted", source.interrupted, "being copied when the run was stopped"));
    rows.push(some(PLAIN, "only at destination", source.only_at_destination, "kept; not at the source"));
    rows.push(source.resumed.as_ref().map(|runs| {
        let since = runs.since.strftime("%Y-%m-%d %H:%M UTC");
        word("resumed", format!("what runs since {since} did not look at; the next run looks at everything"))
    }));
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
        Reason::InDoubt => "  in doubt",
    }
}

/// `12 new, 3 changed; verified by ETag`.
fn copied(source: &SourceReport) -> String {
    let new = source.copied_because.get(&Reason::New).map_or(0, |amount| amount.objects);
    let changed = source.copied.objects - new;
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

pub(super) fn proof(by: VerifiedBy) -> &'static str {
    match by {
        VerifiedBy::Etag => "ETag",
        VerifiedBy::Checksum => "checksum",
        VerifiedBy::Size => "size alone",
        VerifiedBy::Bytes => "reading",
    }
}

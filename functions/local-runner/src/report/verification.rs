//! A verification as text: a block for each source, the first objects of each kind with what
//! to do, a verdict.

use std::collections::BTreeMap;
use std::fmt::Write;

use anstyle::Style;
use bucket_copy::{
    Amount, Comparison, Failure, Finding, SourceVerification, Status, Verification, VerifiedBy,
};

use super::failures::remedy;
use super::rows::{Row, Widths, proof};
use super::verdict::{took, wrap};
use super::{BAD, CARE, DIM, GOOD, PLAIN, header};
use crate::escape::escape;
use crate::quantity::{count, number};

/// Objects named of each kind and source; the JSON report names a thousand.
const NAMED: usize = 10;

/// The whole report.
pub(crate) fn render(found: &Verification) -> String {
    let mut text = String::new();
    let blocks: Vec<_> = found.sources.iter().map(rows).collect();
    let widths = Widths::of(blocks.iter().flatten());
    for (source, rows) in found.sources.iter().zip(&blocks) {
        header(
            &mut text,
            source.source,
            (&source.bucket, &source.destination_bucket, &source.destination_prefix),
        );
        for row in rows {
            row.write(&mut text, widths);
        }
        named(&mut text, source);
        text.push('\n');
    }
    text.push_str(&verdict(found));
    text.push_str(&took(&found.requests, found.cost_usd, found.seconds));
    text
}

fn rows(source: &SourceVerification) -> Vec<Row> {
    let always = |label, amount, note: String| Some(Row { style: PLAIN, label, amount: Some(amount), note });
    let some = |style: Style, label, amount: Amount, note: &str| {
        (amount.objects > 0).then(|| Row { style, label, amount: Some(amount), note: note.to_owned() })
    };
    let identical = match source.proven_by.is_empty() {
        true => String::new(),
        false => proofs(&source.proven_by),
    };
    let missing = match (source.missing_archived.objects, source.missing_since) {
        (0, Some(since)) => format!("the oldest is of {since}"),
        (archived, Some(since)) => {
            format!("{} of them archived; the oldest is of {since}", number(archived))
        }
        _ => String::new(),
    };
    let rows = [
        always("listed", source.listed, String::new()),
        some(PLAIN, "left out", source.left_out, "not modified after the time given"),
        always("identical", source.identical, identical),
        some(BAD, "missing", source.missing, &missing),
        some(BAD, "different", source.different, "see below"),
        some(CARE, "newer at source", source.newer_at_source, "written after they were copied"),
        some(CARE, "cannot tell", source.cannot_tell, "see below"),
        some(PLAIN, "changed meanwhile", source.changed, "written or deleted while being verified"),
        some(CARE, "interrupted", source.interrupted, "being compared when it was stopped"),
        some(PLAIN, "only at destination", source.only_at_destination, "kept; not at the source"),
        source.stopped_after.as_ref().map(|key| Row {
            style: CARE,
            label: "stopped",
            amount: None,
            note: match key.as_str() {
                "" => "before the first object".to_owned(),
                key => format!("after {}", escape(key)),
            },
        }),
    ];
    rows.into_iter().flatten().collect()
}

/// `proven by ETag`, or `20,003 proven by ETag, 2 by checksum`.
fn proofs(by: &BTreeMap<VerifiedBy, u64>) -> String {
    if let (1, Some((one, _))) = (by.len(), by.first_key_value()) {
        return format!("proven by {}", proof(*one));
    }
    let by = by.iter().map(|(by, objects)| format!("{} by {}", number(*objects), proof(*by)));
    by.collect::<Vec<_>>().join(", ").replacen(" by ", " proven by ", 1)
}

/// The first objects of each kind; those with one remedy stand together above it.
fn named(text: &mut String, source: &SourceVerification) {
    if let Some(error) = &source.error {
        let _ = writeln!(text, "\n  {BAD}given up before its end:{BAD:#} {}", escape(&error.message));
        remedy(text, &error.remedy);
    }
    let kinds = [
        (BAD, "missing", source.missing),
        (BAD, "different", source.different),
        (CARE, "newer at source", source.newer_at_source),
        (CARE, "cannot tell", source.cannot_tell),
    ];
    for (style, label, amount) in kinds {
        let of_kind = |object| fault(object).filter(|(kind, _)| *kind == label);
        let objects = source.findings.iter().filter_map(|object| Some((object, of_kind(object)?.1)));
        let mut groups: Vec<Vec<(&Comparison, &Failure)>> = Vec::new();
        let mut shown = 0;
        for (object, failure) in objects.take(NAMED) {
            shown += 1;
            match groups.iter_mut().find(|group| group[0].1.remedy == failure.remedy) {
                Some(group) => group.push((object, failure)),
                None => groups.push(vec![(object, failure)]),
            }
        }
        for group in groups {
            text.push('\n');
            for (object, failure) in &group {
                let _ = writeln!(text, "  {style}{label}:{style:#} {}", escape(&object.key));
                let _ = writeln!(text, "    {DIM}{}{DIM:#}", escape(&failure.message));
            }
            remedy(text, &group[0].1.remedy);
        }
        if amount.objects > shown {
            let more = number(amount.objects - shown);
            let _ = writeln!(text, "\n  and {more} more {label}: --json lists up to 1,000, --list all");
        }
    }
}

/// Its kind and why, if it is a fault.
fn fault(object: &Comparison) -> Option<(&'static str, &Failure)> {
    match &object.finding {
        Finding::Missing(failure) => Some(("missing", failure)),
        Finding::Different(failure) => Some(("different", failure)),
        Finding::NewerAtSource(failure) => Some(("newer at source", failure)),
        Finding::CannotTell(failure) => Some(("cannot tell", failure)),
        Finding::Identical { .. } | Finding::Changed | Finding::OnlyAtDestination | Finding::Interrupted => {
            None
        }
    }
}

/// How it ended, in a sentence for whoever owns the backups.
fn verdict(found: &Verification) -> String {
    let (style, word, rest) = match found.status {
        Status::Complete => (GOOD, "Complete", complete(found)),
        Status::ObjectsMissing => (BAD, "Not complete", faults(found)),
        Status::Stopped => (
            CARE,
            "Stopped",
            format!("{} so far; what was not looked at is not proven. Verify again.", so_far(found)),
        ),
        Status::Failed => {
            (BAD, "Failed", "a source was given up before its end, see above; the rest is not proven.".into())
        }
    };
    let text = wrap(&format!("{word}: {rest}"));
    format!("{style}{}{style:#}{}", &text[..=word.len()], &text[word.len() + 1..])
}

fn complete(found: &Verification) -> String {
    let proven = found.total(|source| source.identical).objects;
    let mut by = BTreeMap::new();
    for (proof, objects) in found.sources.iter().flat_map(|source| &source.proven_by) {
        *by.entry(*proof).or_insert(0) += objects;
    }
    let mut text = match proven {
        0 => "there was nothing to compare; the sources have no object that is asked for.".to_owned(),
        1 => format!("the one object is at the destination, {}.", proofs(&by)),
        _ => format!("every one of the {} is at the destination, {}.", count(proven, "object"), proofs(&by)),
    };
    let changed = found.total(|source| source.changed).objects;
    if changed > 0 {
        let _ = write!(text, " Not counted: {} written or deleted while this ran.", count(changed, "object"));
    }
    text
}

/// `2 objects are missing, 1 is different; 20,003 are proven.`
fn faults(found: &Verification) -> String {
    let total = |of: fn(&SourceVerification) -> Amount| found.total(of).objects;
    let kinds = [
        (total(|source| source.missing), "missing"),
        (total(|source| source.different), "different"),
        (total(|source| source.newer_at_source), "newer at the source"),
        (total(|source| source.cannot_tell), "neither proven nor refuted"),
    ];
    let named =
        kinds.into_iter().filter(|(objects, _)| *objects > 0).enumerate().map(|(index, (n, kind))| {
            let noun = if index == 0 { count(n, "object") } else { number(n) };
            format!("{noun} {} {kind}", if n == 1 { "is" } else { "are" })
        });
    format!("{}; {} proven.", named.collect::<Vec<_>>().join(", "), are(total(|source| source.identical)))
}

fn so_far(found: &Verification) -> String {
    format!("{} proven", count(found.total(|source| source.identical).objects, "object"))
}

fn are(objects: u64) -> String {
    format!("{} {}", number(objects), if objects == 1 { "is" } else { "are" })
}

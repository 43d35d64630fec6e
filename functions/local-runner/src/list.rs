//! `--list`: a line on stdout for each object as it is dealt with.

use std::io::{self, Write};

use bucket_copy::{Archive, Comparison, Fate, Finding, Outcome, SourceName};

use crate::escape::escape;
use crate::quantity::bytes;

/// Prints one object's line. Whoever reads stdout may have gone away; the run goes on.
pub(crate) fn print(outcome: &Outcome) {
    let _ = writeln!(io::stdout().lock(), "{}", line(outcome));
}

fn line(outcome: &Outcome) -> String {
    let (fate, why) = match &outcome.fate {
        Fate::Copied { reason, without, .. } => {
            let without = without.iter().map(|lack| format!("; without {}", lack.property));
            ("copied", format!("{reason}{}", without.collect::<String>()))
        }
        Fate::WouldCopy { reason } => ("would copy", reason.to_string()),
        Fate::Unchanged => ("unchanged", "its checksum is the same".to_owned()),
        Fate::Archived(Archive { restoring: true, .. }) => ("archived", "being restored".to_owned()),
        Fate::Archived(Archive { restore, .. }) => ("archived", format!("to be restored first: {restore}")),
        Fate::Gone => ("gone", "deleted at the source meanwhile".to_owned()),
        Fate::Interrupted => ("interrupted", "the run was stopped".to_owned()),
        Fate::Failed(failure) => ("failed", format!("{}; {}", failure.message, failure.remedy)),
    };
    row(fate, outcome.size, outcome.source, &outcome.key, &why)
}

/// Prints what was found of one object.
pub(crate) fn print_comparison(comparison: &Comparison) {
    let (found, why) = match &comparison.finding {
        Finding::Identical { .. } => ("identical", "proven"),
        Finding::Missing(failure) => ("missing", failure.message.as_str()),
        Finding::Different(failure) => ("different", failure.message.as_str()),
        Finding::NewerAtSource(failure) => ("newer", failure.message.as_str()),
        Finding::CannotTell(failure) => ("cannot tell", failure.message.as_str()),
        Finding::Changed => ("changed", "written or deleted while it was verified"),
        Finding::OnlyAtDestination => ("extra", "only at the destination, and kept"),
        Finding::Interrupted => ("interrupted", "the verification was stopped"),
    };
    let line = row(found, comparison.size, comparison.source, &comparison.key, why);
    let _ = writeln!(io::stdout().lock(), "{line}");
}

fn row(word: &str, size: u64, source: SourceName, key: &str, why: &str) -> String {
    format!("{word:<11} {:>9}  {:<10}  {}  ({})", bytes(size), source.to_string(), escape(key), escape(why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bucket_copy::{Reason, SourceName};

    #[test]
    fn a_line_names_the_fate_the_object_and_the_reason() {
        let outcome = Outcome {
            source: SourceName::Filesystem,
            key: "a\tb".into(),
            size: 2048,
            modified: jiff::Timestamp::UNIX_EPOCH,
            fate: Fate::WouldCopy { reason: Reason::SizeDiffers },
        };
        assert_eq!(line(&outcome), "would copy   2.00 KiB  filesystem  a\\tb  (size differs)");
    }
}

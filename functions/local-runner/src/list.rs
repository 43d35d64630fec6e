//! `--list`: a line on stdout for each object as it is dealt with.

use std::io::{self, Write};

use bucket_copy::{Fate, Outcome};

use crate::escape::escape;
use crate::quantity::bytes;

/// Prints one object's line. Whoever reads stdout may have gone away; the run goes on.
pub(crate) fn print(outcome: &Outcome) {
    let _ = writeln!(io::stdout().lock(), "{}", line(outcome));
}

fn line(outcome: &Outcome) -> String {
    let (fate, why) = match &outcome.fate {
        Fate::Copied { reason, .. } => ("copied", reason.to_string()),
        Fate::WouldCopy { reason } => ("would copy", reason.to_string()),
        Fate::Unchanged => ("unchanged", "its checksum is the same".to_owned()),
        Fate::Archived => ("archived", "restore it at the source first".to_owned()),
        Fate::Gone => ("gone", "deleted at the source meanwhile".to_owned()),
        Fate::Interrupted => ("interrupted", "the run was stopped".to_owned()),
        Fate::Failed(failure) => ("failed", format!("{}; {}", failure.message, failure.remedy)),
    };
    format!(
        "{fate:<11} {:>9}  {:<10}  {}  ({})",
        bytes(outcome.size),
        outcome.source.to_string(),
        escape(&outcome.key),
        escape(&why)
    )
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

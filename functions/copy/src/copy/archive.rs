//! Archived objects: what the report says of them, so that somebody can have them restored.

use super::Job;
use crate::list::{Archived, Entry};
use crate::report::{Archive, Fate};

/// Of GLACIER and DEEP_ARCHIVE a copy is restored for some days.
const FOR_DAYS: &str = r#"{"Days":7,"GlacierJobParameters":{"Tier":"Bulk"}}"#;
/// An object of INTELLIGENT_TIERING comes back for good; S3 takes no number of days.
const FOR_GOOD: &str = "{}";

impl Job {
    /// An object that the listing calls archived.
    pub(super) fn listed_as_archived(&self, entry: &Entry) -> Option<Fate> {
        let restoring = match entry.archived {
            Archived::No => return None,
            Archived::Yes => false,
            Archived::Restoring => true,
        };
        Some(Fate::Archived(Archive { restoring, restore: self.restore(&entry.key, FOR_DAYS) }))
    }

    /// An object whose archive shows only when it is read: in a tier of INTELLIGENT_TIERING.
    pub(super) async fn found_archived(&self, key: &str) -> Fate {
        let head = self.head_source(key, None, None).await.ok();
        let restoring = head
            .as_ref()
            .and_then(|head| head.restore())
            .is_some_and(|restore| restore.contains(r#"ongoing-request="true""#));
        let in_tier = head.is_none_or(|head| head.archive_status().is_some());
        let request = if in_tier { FOR_GOOD } else { FOR_DAYS };
        Fate::Archived(Archive { restoring, restore: self.restore(key, request) })
    }

    /// The command that asks for a restore.
    fn restore(&self, key: &str, request: &str) -> String {
        format!(
            "aws s3api restore-object --bucket {} --key {} --restore-request '{request}'",
            self.source.bucket,
            quoted(key)
        )
    }
}

/// For a shell.
fn quoted(key: &str) -> String {
    format!("'{}'", key.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_quoted_for_a_shell() {
        assert_eq!(quoted("it's $HOME"), r"'it'\''s $HOME'");
    }
}

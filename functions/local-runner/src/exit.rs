//! How a command ends: its exit code, and the sentence for an error.

use std::path::PathBuf;
use std::process::ExitCode;

use bucket_copy::doctor::Prognosis;
use bucket_copy::{PlanError, RunError, Status};

use crate::download::TargetError;
use crate::escape::escape_lines;

/// What the user said cannot be done, beside what [`PlanError`] finds.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Usage {
    #[error("--html is given, but the event asks to verify, which makes no page: leave --html out")]
    NoPage,
    #[error("the page {} cannot be written; nothing was copied", file.display())]
    Page {
        file: PathBuf,
        #[source]
        cause: std::io::Error,
    },
    #[error("the event file {} cannot be read; name a JSON file, or - for stdin", file.display())]
    EventFile {
        file: PathBuf,
        #[source]
        cause: std::io::Error,
    },
    #[error(
        "no bucket: say --bucket (-b), or set DESTINATION_BUCKET; at the vendor, set one of DATABASE_BUCKET and FILESYSTEM_BUCKET"
    )]
    WhichBucket,
    #[error(
        "nothing to list: set DESTINATION_BUCKET (--destination-bucket), or with --at vendor DATABASE_BUCKET or FILESYSTEM_BUCKET"
    )]
    NothingToList,
    #[error("an access key is given but no secret key to it: set AIDI_BACKUP_SECRET_KEY")]
    NoSecretKey,
    #[error("no bucket: set {0}")]
    NoBucket(&'static str),
    #[error("a secret key is given but no access key: say --access-key (-a)")]
    NoAccessKey,
    #[error("the password file {} cannot be read", file.display())]
    PasswordFile {
        file: PathBuf,
        #[source]
        cause: std::io::Error,
    },
    #[error("`{0}` is no pattern for keys: write it like '*/shop-*.sql.gz'")]
    Pattern(String),
    #[error(
        "it does not show whether {0} is of MariaDB, MySQL or PostgreSQL: say --engine mariadb or postgresql"
    )]
    Engine(String),
    #[error("`{0}` is no field: write it like ticket=4711")]
    Field(String),
    #[error("`{0}` cannot have a note: its key is empty, or longer than S3 leaves room for")]
    NoteKey(String),
}

const FAILED: u8 = 1;
/// clap's code for wrong arguments, too.
const WRONG_USAGE: u8 = 2;
const OBJECTS_MISSING: u8 = 3;

/// The exit code of a run that came to its report.
pub(crate) fn code(status: Status) -> ExitCode {
    match status {
        Status::Complete => ExitCode::SUCCESS,
        Status::ObjectsMissing => ExitCode::from(OBJECTS_MISSING),
        Status::Stopped | Status::Failed => ExitCode::from(FAILED),
    }
}

/// The exit code of an examination.
pub(crate) fn of(prognosis: Prognosis) -> ExitCode {
    match prognosis {
        Prognosis::Good => ExitCode::SUCCESS,
        Prognosis::Partial => ExitCode::from(OBJECTS_MISSING),
        Prognosis::Hopeless => ExitCode::from(FAILED),
    }
}

/// The exit code of a run that did not.
pub(crate) fn code_of(error: &anyhow::Error) -> ExitCode {
    let wrong_usage = error.is::<PlanError>()
        || error.is::<Usage>()
        || error.is::<TargetError>()
        || matches!(error.downcast_ref(), Some(RunError::Plan(_)));
    ExitCode::from(if wrong_usage { WRONG_USAGE } else { FAILED })
}

/// Says on stderr what the user should know.
pub(crate) fn warn(text: &str) {
    let style = anstyle::AnsiColor::Yellow.on_default().bold();
    anstream::eprintln!("{style}warning:{style:#} {}", escape_lines(text));
}

/// Says on stderr what went wrong: one sentence, and its causes below.
pub(crate) fn tell(error: &anyhow::Error) {
    anstream::eprint!("{}", sentence(error));
}

fn sentence(error: &anyhow::Error) -> String {
    let red = anstyle::AnsiColor::Red.on_default().bold();
    if is_stop(error) {
        return format!(
            "{red}error:{red:#} stopped before anything was looked at; nothing was written; run again\n"
        );
    }
    let mut text = format!("{red}error:{red:#} {}\n", escape_lines(&error.to_string()));
    for cause in error.chain().skip(1) {
        text.push_str(&format!("  because: {}\n", escape_lines(&cause.to_string())));
    }
    if let Some(statement) = error.downcast_ref::<RunError>().and_then(RunError::statement) {
        let statement = statement.to_string();
        text.push_str(&format!("\nThe statement to add:\n{}\n", escape_lines(&statement)));
    }
    text
}

fn is_stop(error: &anyhow::Error) -> bool {
    error.downcast_ref::<RunError>().is_some_and(|error| error.name() == "Stopped")
}

#[cfg(test)]
mod tests {
    use super::*;
    use bucket_copy::SourceName;

    fn shown(error: impl Into<anyhow::Error>) -> String {
        anstream::adapter::strip_str(&sentence(&error.into())).to_string()
    }

    #[test]
    fn an_error_is_a_sentence_and_its_causes() {
        let error =
            Usage::EventFile { file: "no\u{1b}.json".into(), cause: std::io::Error::other("is gone") };
        assert_eq!(
            shown(error),
            "error: the event file no\\u{1b}.json cannot be read; name a JSON file, or - for stdin\n  because: is gone\n"
        );
    }

    #[test]
    fn what_the_user_must_correct_has_a_code_of_its_own() {
        let plan = PlanError::SourceNotConfigured(SourceName::Database);
        assert_eq!(code_of(&plan.clone().into()), ExitCode::from(2));
        assert_eq!(code_of(&RunError::Plan(plan).into()), ExitCode::from(2));
        let denied = RunError::Denied { message: "no".into(), remedy: "ask".into() };
        assert_eq!(code_of(&denied.into()), ExitCode::from(1));
    }
}

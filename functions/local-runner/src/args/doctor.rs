//! The flags of `local-runner doctor`.

use bucket_copy::{Request, Settings};

use super::connection::{DestinationArgs, SourceArgs, settings};

const AFTER_DOCTOR: &str = "It only reads the source. At the destination it writes one small object,
.replicator/doctor, and overwrites it the next time; it opens an upload there and
aborts it. Nothing is deleted.

Example:
  local-runner doctor --database-bucket backup-my-environment-name \\
    --destination-bucket my-company-backups

Exit codes:
  0  a run will work
  1  a run cannot work
  2  an argument or a setting is wrong; nothing was sent
  3  a run will work in part";

/// Try what a run needs, and say which rights are missing and where to add them
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_DOCTOR)]
pub(crate) struct Doctor {
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    destination: DestinationArgs,
    /// Only source keys that begin with this
    #[arg(long, help_heading = "Request")]
    prefix: Option<String>,
    /// Print the findings as one JSON document
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,
}

impl Doctor {
    pub(crate) fn settings(&self) -> Settings {
        settings(&self.source, &self.destination)
    }

    pub(crate) fn request(&self) -> Request {
        Request { prefix: self.prefix.clone(), ..Request::default() }
    }
}

//! The flags of `local-runner ls`.

use bucket_copy::Settings;

use super::connection::{At, ReplicaArgs, VendorArgs, backups};

const AFTER_LS: &str = "Examples:
  local-runner ls --destination-bucket my-company-backups
  local-runner ls --at vendor --json

Dumps come with the newest first: by the date in their names, else by when they were
written. Files are summed up by their top folders. Both sides are compared where both can be
listed; if only one can, its backups are listed all the same, as `not compared`.

Exit codes:
  0  the backups are listed
  1  the bucket cannot be listed
  2  an argument or a setting is wrong";

/// List the backups, the newest first, and whether they are complete
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_LS)]
pub(crate) struct Ls {
    #[command(flatten)]
    vendor: VendorArgs,
    #[command(flatten)]
    replica: ReplicaArgs,
    /// Whose backups
    #[arg(long, value_name = "SIDE", default_value = "destination", help_heading = "Output")]
    pub(crate) at: At,
    /// Every dump, and every file [default: 20 dumps, 20 top folders]
    #[arg(long, help_heading = "Output")]
    pub(crate) all: bool,
    /// Print one JSON document
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,
}

impl Ls {
    pub(crate) fn settings(&self) -> Settings {
        backups(&self.vendor, &self.replica)
    }
}

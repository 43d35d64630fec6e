//! The flags of `local-runner replicate`.

use std::path::PathBuf;

use bucket_copy::{Request, Settings};

use super::connection::{DestinationArgs, SourceArgs, settings};

const AFTER_REPLICATE: &str = "Example, first without writing anything:
  local-runner replicate --dry-run \\
    --database-bucket backup-my-environment-name \\
    --filesystem-bucket backup-fs-my-environment-name \\
    --destination-bucket my-company-backups

Every flag of Source and Destination, and --max-in-flight, may be set in the
environment instead: --database-bucket is DATABASE_BUCKET.

Credentials are found as the AWS CLI finds them: AWS_ACCESS_KEY_ID and
AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or a role.

Exit codes:
  0  the destination has everything that was asked for
  1  the run failed or was stopped; run it again to go on
  2  an argument, a setting or the event is wrong; nothing was sent
  3  everything was looked at, but some objects failed or are archived";

/// Copy what is new or changed, and report on it
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_REPLICATE)]
pub(crate) struct Replicate {
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    destination: DestinationArgs,
    #[command(flatten)]
    pub(crate) request: RequestArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Request")]
pub(crate) struct RequestArgs {
    /// Only this source, `database` or `filesystem`; may be repeated [default: both]
    #[arg(long = "source", value_name = "NAME")]
    sources: Vec<String>,
    /// Only source keys that begin with this
    #[arg(long)]
    prefix: Option<String>,
    /// Only objects modified after this, such as 2026-11-01T00:00:00Z
    #[arg(long, value_name = "TIME")]
    modified_after: Option<String>,
    /// Say what would be copied and what it would cost; write nothing
    #[arg(long)]
    dry_run: bool,
    /// Read the request from the JSON that the Lambda takes; `-` is stdin
    #[arg(long, value_name = "FILE", conflicts_with_all = ["sources", "prefix", "modified_after", "dry_run"])]
    pub(crate) event: Option<PathBuf>,
    /// Requests at once, 1 to 10000 [default: 256]
    #[arg(
        long,
        env,
        hide_env = true,
        hide_env_values = true,
        value_name = "NUMBER",
        allow_negative_numbers = true
    )]
    max_in_flight: Option<String>,
}

#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArgs {
    /// Print each object as it is dealt with, with its reason or its error
    #[arg(long, conflicts_with = "json")]
    pub(crate) list: bool,
    /// Print the report as one JSON document
    #[arg(long)]
    pub(crate) json: bool,
    /// Write the report to this file, too, as a page for a browser
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Show no progress
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

impl Replicate {
    pub(crate) fn settings(&self) -> Settings {
        let both = settings(&self.source, &self.destination);
        Settings { max_in_flight: self.request.max_in_flight.clone(), ..both }
    }
}

impl RequestArgs {
    /// The request that the flags make; see [`crate::event`] for the one in a file.
    pub(crate) fn request(&self) -> Request {
        Request {
            sources: (!self.sources.is_empty()).then(|| self.sources.clone()),
            prefix: self.prefix.clone(),
            modified_after: self.modified_after.clone(),
            dry_run: self.dry_run,
            ..Request::default()
        }
    }
}

//! What a user can say. What it means is for [`Plan`](bucket_copy::Plan) to judge, so that
//! the command and the Lambda refuse the same things in the same words: values are strings.

use std::path::PathBuf;

use bucket_copy::{Request, Settings};
use clap::builder::styling::{AnsiColor, Styles};

/// Copies what is new or changed from a vendor's S3 buckets into your own bucket.
///
/// Nothing is ever deleted at the destination, and nothing is written to the source.
#[derive(Debug, clap::Parser)]
#[command(version, styles = STYLES, max_term_width = 100, arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Replicate(Box<Replicate>),
    Demo(Demo),
}

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default())
    .placeholder(AnsiColor::Cyan.on_default());

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
#[command(next_help_heading = "Source")]
struct SourceArgs {
    /// The vendor's bucket of database dumps
    #[arg(long, env, hide_env = true, hide_env_values = true, value_name = "BUCKET")]
    database_bucket: Option<String>,
    /// The vendor's bucket of the application's files
    #[arg(long, env, hide_env = true, hide_env_values = true, value_name = "BUCKET")]
    filesystem_bucket: Option<String>,
    /// The vendor's region [default: the AWS configuration's]
    #[arg(long, env, hide_env = true, hide_env_values = true, value_name = "REGION")]
    source_region: Option<String>,
    /// The vendor's S3-compatible server [default: AWS]
    #[arg(long, env, hide_env = true, hide_env_values = true, value_name = "URL")]
    source_endpoint_url: Option<String>,
    /// `server-side` (S3 copies), `stream` (the bytes pass here), or `auto`: server-side where
    /// the source allows it, else streamed with the vendor's keys, which are read from
    /// SOURCE_ACCESS_KEY_ID and SOURCE_SECRET_ACCESS_KEY only [default: auto]
    #[arg(long, env, hide_env = true, hide_env_values = true, value_name = "WAY")]
    transfer: Option<String>,
    /// Refuse source buckets of any other account
    #[arg(long, env, hide_env = true, hide_env_values = true, value_name = "ID")]
    source_bucket_owner: Option<String>,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Destination")]
struct DestinationArgs {
    /// Your bucket, which receives the copies
    #[arg(long, env, hide_env = true, hide_env_values = true, value_name = "BUCKET")]
    destination_bucket: Option<String>,
    /// Where the dumps land; "" is the bucket's root [default: database/]
    #[arg(long, env, hide_env = true, hide_env_values = true, value_name = "PREFIX")]
    database_prefix: Option<String>,
    /// Where the files land; "" is the bucket's root [default: filesystem/]
    #[arg(long, env, hide_env = true, hide_env_values = true, value_name = "PREFIX")]
    filesystem_prefix: Option<String>,
    /// Your region [default: the AWS configuration's]
    #[arg(long, env, hide_env = true, hide_env_values = true, value_name = "REGION")]
    destination_region: Option<String>,
    /// Your S3-compatible server [default: AWS]
    #[arg(long, env, hide_env = true, hide_env_values = true, value_name = "URL")]
    destination_endpoint_url: Option<String>,
    /// Refuse a destination bucket of any other account
    #[arg(long, env, hide_env = true, hide_env_values = true, value_name = "ID")]
    destination_bucket_owner: Option<String>,
    /// Storage class of the copies [default: STANDARD]
    #[arg(long, env, hide_env = true, hide_env_values = true, value_name = "CLASS")]
    storage_class: Option<String>,
    /// KMS key of the copies [default: the bucket's encryption]
    #[arg(long, env, hide_env = true, hide_env_values = true, value_name = "KEY")]
    kms_key_id: Option<String>,
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

#[derive(Clone, Copy, Debug, Default, clap::Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArgs {
    /// Print each object as it is dealt with, with its reason or its error
    #[arg(long, conflicts_with = "json")]
    pub(crate) list: bool,
    /// Print the report as one JSON document
    #[arg(long)]
    pub(crate) json: bool,
    /// Show no progress
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

/// Show it on an S3 inside this process: no account, no network
#[derive(Debug, clap::Args)]
pub(crate) struct Demo {}

impl Replicate {
    pub(crate) fn settings(&self) -> Settings {
        let Self { source, destination, request, .. } = self;
        Settings {
            database_bucket: source.database_bucket.clone(),
            filesystem_bucket: source.filesystem_bucket.clone(),
            transfer: source.transfer.clone(),
            // Never a flag: everybody on a machine sees its processes' arguments.
            source_credentials: Settings::read(|name| std::env::var(name).ok()).source_credentials,
            database_prefix: destination.database_prefix.clone(),
            filesystem_prefix: destination.filesystem_prefix.clone(),
            destination_bucket: destination.destination_bucket.clone(),
            source_region: source.source_region.clone(),
            destination_region: destination.destination_region.clone(),
            source_endpoint_url: source.source_endpoint_url.clone(),
            destination_endpoint_url: destination.destination_endpoint_url.clone(),
            source_bucket_owner: source.source_bucket_owner.clone(),
            destination_bucket_owner: destination.destination_bucket_owner.clone(),
            storage_class: destination.storage_class.clone(),
            kms_key_id: destination.kms_key_id.clone(),
            max_in_flight: request.max_in_flight.clone(),
        }
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
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn clap_finds_no_contradiction() {
        super::Args::command().debug_assert();
    }
}

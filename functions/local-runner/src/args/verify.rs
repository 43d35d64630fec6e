//! The flags of `local-runner verify`.

use bucket_copy::{Request, Settings};

use super::connection::{DestinationArgs, SourceArgs, settings};

const AFTER_VERIFY: &str = "Example:
  local-runner verify \\
    --database-bucket backup-my-environment-name \\
    --filesystem-bucket backup-fs-my-environment-name \\
    --destination-bucket my-company-backups

Equal sizes and ETags prove an object by the listings alone, one request per
1,000 keys and side. Where ETags cannot be compared (SSE-KMS, other parts),
both sides are asked for a checksum: two requests an object. With --read every
object is read on both sides: expect the time, the transfer and its price.

Every flag of Source and Destination, and --max-in-flight, may be set in the
environment instead: --database-bucket is DATABASE_BUCKET.

Exit codes:
  0  every object that was asked for is proven to be at the destination
  1  the verification failed or was stopped; it proves nothing of the rest
  2  an argument or a setting is wrong; nothing was sent
  3  everything was looked at, but objects are missing, different, newer at the
     source, or not proven";

/// Prove that the destination has what the sources have; write nothing
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_VERIFY)]
pub(crate) struct Verify {
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    destination: DestinationArgs,
    #[command(flatten)]
    request: RequestArgs,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Clone, Copy, Debug, clap::Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct Output {
    /// Print each object that is not proven, or only at the destination
    #[arg(long, conflicts_with = "json")]
    pub(crate) list: bool,
    /// Print the report as one JSON document
    #[arg(long)]
    pub(crate) json: bool,
    /// Show no progress
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Request")]
struct RequestArgs {
    /// Read every object on both sides, and compare bytes, headers and metadata
    #[arg(long)]
    read: bool,
    /// Only this source, `database` or `filesystem`; may be repeated [default: both]
    #[arg(long = "source", value_name = "NAME")]
    sources: Vec<String>,
    /// Only source keys that begin with this
    #[arg(long)]
    prefix: Option<String>,
    /// Only objects modified after this, such as 2026-11-01T00:00:00Z
    #[arg(long, value_name = "TIME")]
    modified_after: Option<String>,
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

impl Verify {
    pub(crate) fn settings(&self) -> Settings {
        let both = settings(&self.source, &self.destination);
        Settings { max_in_flight: self.request.max_in_flight.clone(), ..both }
    }

    pub(crate) fn request(&self) -> Request {
        let RequestArgs { read, sources, prefix, modified_after, .. } = &self.request;
        Request {
            sources: (!sources.is_empty()).then(|| sources.clone()),
            prefix: prefix.clone(),
            modified_after: modified_after.clone(),
            verify: true,
            read: *read,
            ..Request::default()
        }
    }
}

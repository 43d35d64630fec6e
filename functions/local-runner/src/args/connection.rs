//! Which buckets, where and how: what the commands that reach a side have in common.

use bucket_copy::Settings;
use jiff::Timestamp;

/// A side, for what is read of one alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum At {
    /// The vendor's buckets
    Vendor,
    /// Your own bucket
    Destination,
}

/// The vendor's buckets.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Source")]
pub(crate) struct VendorArgs {
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
    /// Refuse source buckets of any other account
    #[arg(long, env, hide_env = true, hide_env_values = true, value_name = "ID")]
    source_bucket_owner: Option<String>,
}

/// The vendor's buckets, to copy from.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Source")]
pub(crate) struct SourceArgs {
    #[command(flatten)]
    vendor: VendorArgs,
    /// `server-side` (S3 copies), `stream` (the bytes pass here), or `auto`: server-side where
    /// the source allows it, else streamed with the vendor's keys, which are read from
    /// SOURCE_ACCESS_KEY_ID and SOURCE_SECRET_ACCESS_KEY, or from the secret that
    /// SOURCE_CREDENTIALS_SECRET names in Secrets Manager [default: auto]
    #[arg(long, env, hide_env = true, hide_env_values = true, value_name = "WAY")]
    transfer: Option<String>,
    /// Memory that streamed copies may take, in MiB, 128 to 65536 [default: 256]
    #[arg(
        long,
        env,
        hide_env = true,
        hide_env_values = true,
        value_name = "MIB",
        allow_negative_numbers = true
    )]
    memory_limit_mib: Option<String>,
    /// `copy`, `skip`, or `auto`: copied, and left behind where the right to them is missing,
    /// which the report then says [default: auto]
    #[arg(long, env, hide_env = true, hide_env_values = true, value_name = "HOW")]
    tags: Option<String>,
    /// Likewise [default: auto]
    #[arg(long, env, hide_env = true, hide_env_values = true, value_name = "HOW")]
    annotations: Option<String>,
}

/// The customer's bucket.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Destination")]
pub(crate) struct ReplicaArgs {
    /// Your bucket, which holds the copies
    #[arg(long, env, hide_env = true, hide_env_values = true, value_name = "BUCKET")]
    destination_bucket: Option<String>,
    /// Where the dumps are in it; "" is the bucket's root [default: database/]
    #[arg(long, env, hide_env = true, hide_env_values = true, value_name = "PREFIX")]
    database_prefix: Option<String>,
    /// Where the files are in it; "" is the bucket's root [default: filesystem/]
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
}

/// The customer's bucket, to copy to.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Destination")]
pub(crate) struct DestinationArgs {
    #[command(flatten)]
    replica: ReplicaArgs,
    /// Storage class of the copies [default: STANDARD]
    #[arg(long, env, hide_env = true, hide_env_values = true, value_name = "CLASS")]
    storage_class: Option<String>,
    /// KMS key of the copies [default: the bucket's encryption]
    #[arg(long, env, hide_env = true, hide_env_values = true, value_name = "KEY")]
    kms_key_id: Option<String>,
}

/// A time as it is said.
pub(crate) fn time(text: &str) -> Result<Timestamp, &'static str> {
    text.parse().map_err(|_| "write a time like 2026-11-20T03:00:00Z")
}

impl ReplicaArgs {
    pub(crate) fn settings(&self) -> Settings {
        Settings {
            destination_bucket: self.destination_bucket.clone(),
            database_prefix: self.database_prefix.clone(),
            filesystem_prefix: self.filesystem_prefix.clone(),
            destination_region: self.destination_region.clone(),
            destination_endpoint_url: self.destination_endpoint_url.clone(),
            destination_bucket_owner: self.destination_bucket_owner.clone(),
            ..Settings::default()
        }
    }
}

/// Where backups are, for what reads them.
pub(crate) fn backups(vendor: &VendorArgs, replica: &ReplicaArgs) -> Settings {
    let environment = Settings::read(|name| std::env::var(name).ok());
    Settings {
        database_bucket: vendor.database_bucket.clone(),
        filesystem_bucket: vendor.filesystem_bucket.clone(),
        source_region: vendor.source_region.clone(),
        source_endpoint_url: vendor.source_endpoint_url.clone(),
        source_bucket_owner: vendor.source_bucket_owner.clone(),
        // Never a flag: everybody on a machine sees its processes' arguments.
        source_credentials: environment.source_credentials,
        source_credentials_secret: environment.source_credentials_secret,
        ..replica.settings()
    }
}

/// Both sides, as the flags and the environment say them. `max_in_flight` is left to the
/// commands that have it.
pub(crate) fn settings(source: &SourceArgs, destination: &DestinationArgs) -> Settings {
    Settings {
        transfer: source.transfer.clone(),
        tags: source.tags.clone(),
        annotations: source.annotations.clone(),
        memory_limit_mib: source.memory_limit_mib.clone(),
        storage_class: destination.storage_class.clone(),
        kms_key_id: destination.kms_key_id.clone(),
        ..backups(&source.vendor, &destination.replica)
    }
}

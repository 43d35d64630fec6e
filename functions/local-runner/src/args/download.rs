//! The flags of `local-runner download`. Each has a plain name; those that the vendor's own
//! script has, too, are taken as the script spells them.

use std::fmt;
use std::path::PathBuf;

use aws_sdk_s3::config::Credentials;
use bucket_copy::fetch::Location;
use bucket_copy::{RunError, S3ErrorKind, Settings};
use jiff::Timestamp;

use super::connection::{At, time};
use crate::backups::Sides;
use crate::exit::{self, Usage};

const AFTER_DOWNLOAD: &str = "Examples:
  local-runner download --bucket my-company-backups --prefix database/2026/ --to restored
  AIDI_BACKUP_SECRET_KEY=… local-runner download -b backup-my-environment-name -a ACCESSKEY -t .

An object's path is its key without the prefix, as far as the prefix's last slash. A file
that is here with the object's size and time is left as it is, and so is one of another
time but the same content; what differs is kept and reported unless --overwrite is said. A
download that was cut is continued by the same command.

Credentials are found as the AWS CLI finds them, unless an access key is given here or,
at the vendor, in SOURCE_ACCESS_KEY_ID and SOURCE_SECRET_ACCESS_KEY.

Exit codes:
  0  the directory has everything that was asked for
  1  the download failed or was stopped; run it again to go on
  2  an argument or a setting is wrong; nothing was downloaded
  3  some objects failed, are archived, or differ from files that were kept";

/// Download a bucket, or what is below a prefix of it, to a directory
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_DOWNLOAD)]
pub(crate) struct Download {
    /// The bucket [default: DESTINATION_BUCKET, or at the vendor the one that is set]
    #[arg(long, short, visible_alias = "aidi-backup-bucket", value_name = "BUCKET", help_heading = "Bucket")]
    bucket: Option<String>,
    /// Only keys that begin with this
    #[arg(long, default_value = "", hide_default_value = true, help_heading = "Bucket")]
    pub(crate) prefix: String,
    /// As it was at this time, such as 2026-11-20T03:00:00Z, from the versions that the bucket
    /// keeps; needs s3:ListBucketVersions and s3:GetObjectVersion
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = "Bucket")]
    pub(crate) as_of: Option<Timestamp>,
    /// Whose settings reach it: SOURCE_REGION and SOURCE_ENDPOINT_URL at the vendor,
    /// DESTINATION_… at the destination [default: destination; with an access key, vendor]
    #[arg(long, value_name = "SIDE", help_heading = "Bucket")]
    at: Option<At>,
    /// Its region
    #[arg(long, value_name = "REGION", help_heading = "Bucket")]
    region: Option<String>,
    /// Its S3-compatible server
    #[arg(long, value_name = "URL", help_heading = "Bucket")]
    endpoint_url: Option<String>,
    /// The access key that may read it
    #[arg(
        long,
        short = 'a',
        visible_alias = "aidi-backup-access-key",
        value_name = "KEY",
        help_heading = "Bucket"
    )]
    access_key: Option<String>,
    /// The secret key to it. Better say it in AIDI_BACKUP_SECRET_KEY: everybody on this machine
    /// can read a process's arguments
    #[arg(
        long,
        short = 's',
        visible_alias = "aidi-backup-secret-key",
        value_name = "KEY",
        help_heading = "Bucket"
    )]
    secret_key: Option<Secret>,

    /// The directory
    #[arg(
        long,
        short = 't',
        visible_alias = "target-directory",
        value_name = "DIR",
        help_heading = "Directory"
    )]
    pub(crate) to: PathBuf,
    /// Make the directory if it is not there
    #[arg(
        long, short = 'f', visible_alias = "force-create-directory", value_name = "BOOL", num_args = 0..=1,
        default_value_t = false, default_missing_value = "true", hide_default_value = true,
        action = clap::ArgAction::Set, help_heading = "Directory"
    )]
    pub(crate) create: bool,
    /// Replace files that differ from their objects
    #[arg(
        long, short = 'o', visible_alias = "overwrite-existing-files", value_name = "BOOL", num_args = 0..=1,
        default_value_t = false, default_missing_value = "true", hide_default_value = true,
        action = clap::ArgAction::Set, help_heading = "Directory"
    )]
    pub(crate) overwrite: bool,
    /// Read the files that are here and compare their content, not only size and time
    #[arg(long, help_heading = "Directory")]
    pub(crate) checksum: bool,

    /// Requests at once, 1 to 10000
    #[arg(
        long, value_name = "NUMBER", default_value_t = crate::download::IN_FLIGHT,
        value_parser = clap::value_parser!(u16).range(1..=10_000), help_heading = "Output"
    )]
    max_in_flight: u16,
    #[command(flatten)]
    pub(crate) output: DownloadOutput,
}

#[derive(Clone, Copy, Debug, Default, clap::Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct DownloadOutput {
    /// Print the report as one JSON document
    #[arg(long)]
    pub(crate) json: bool,
    /// Show no progress
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

/// What no `Debug` shows.
#[derive(Clone)]
struct Secret(String);

impl From<String> for Secret {
    fn from(secret: String) -> Self {
        Self(secret)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

const SECRET: &str = "AIDI_BACKUP_SECRET_KEY";

impl Download {
    /// Says on stderr what the user should know before anything is done.
    pub(crate) fn warn(&self) {
        if self.secret_key.is_some() {
            exit::warn(&format!(
                "everybody on this machine can read the secret key in the list of processes; set {SECRET} instead"
            ));
        }
    }

    pub(crate) fn max_in_flight(&self) -> usize {
        usize::from(self.max_in_flight)
    }

    /// The bucket, and a client that reaches it.
    pub(crate) async fn location(&self) -> anyhow::Result<Location> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
        let mut settings = Settings::read(variable);
        if let Some(keys) = self.keys(variable)? {
            settings.source_credentials = Some(keys);
        }
        let at = self.at.unwrap_or(if self.access_key.is_some() { At::Vendor } else { At::Destination });
        let (region, endpoint) = match at {
            At::Vendor => (&mut settings.source_region, &mut settings.source_endpoint_url),
            At::Destination => (&mut settings.destination_region, &mut settings.destination_endpoint_url),
        };
        for (said, setting) in [(&self.region, region), (&self.endpoint_url, endpoint)] {
            if let Some(said) = said {
                *setting = Some(said.clone());
            }
        }
        let set = match (at, &settings.database_bucket, &settings.filesystem_bucket) {
            (At::Destination, ..) => settings.destination_bucket.clone(),
            (At::Vendor, Some(_), Some(_)) => None,
            (At::Vendor, one, other) => one.clone().or_else(|| other.clone()),
        };
        let bucket = self.bucket.clone().or(set).ok_or(Usage::WhichBucket)?;
        Ok(Sides::connect(settings).await?.location(at, "--bucket", bucket))
    }

    /// The vendor's keys that are given here.
    fn keys(&self, variable: impl Fn(&str) -> Option<String>) -> Result<Option<Credentials>, Usage> {
        let Some(access_key) = &self.access_key else {
            return if self.secret_key.is_some() { Err(Usage::NoAccessKey) } else { Ok(None) };
        };
        let secret = self.secret_key.as_ref().map(|secret| secret.0.clone()).or_else(|| variable(SECRET));
        let secret = secret.ok_or(Usage::NoSecretKey)?;
        Ok(Some(Credentials::new(access_key, secret, None, None, "--access-key")))
    }

    /// An error, with the keys' own names where they are given here.
    pub(crate) fn explain(&self, error: RunError) -> RunError {
        match error {
            RunError::List { side, bucket, source, .. }
                if self.access_key.is_some() && source.kind == S3ErrorKind::BadCredentials =>
            {
                let remedy = format!("check --access-key (-a) and {SECRET}").into();
                RunError::List { side, bucket, remedy, source }
            }
            error => error,
        }
    }
}

//! The flags of `local-runner rotate`.

use bucket_copy::Settings;

use super::connection::{ReplicaArgs, VendorArgs, backups};

const AFTER_ROTATE: &str = "Example, which only shows the plan:
  local-runner rotate --destination-bucket my-company-backups \\
    --database-bucket backup-my-environment-name \\
    --keep-last 7 --keep-daily 14 --keep-weekly 8 --keep-monthly 12 --keep-yearly 3

A rule keeps the newest dump of each of the last so many days, weeks, months or years
that have one. Dumps whose keys differ in their dates alone are one series, and each
series is judged by itself.

Never deleted: the newest dump of a series, a series whose newest dump is older than
--stale-after (its vendor may have stopped), what is under a legal hold or retention,
what the vendor's bucket still has (the next run would copy it again), and whatever
does not match --pattern.

It needs s3:ListBucket, s3:GetBucketVersioning, s3:GetBucketObjectLockConfiguration,
s3:GetObject and s3:DeleteObject, and with Object Lock s3:GetObjectLegalHold and
s3:GetObjectRetention: what it cannot see the protection of, it does not delete.

Exit codes:
  0  the plan was shown, or carried out
  1  it was not carried out, or not to its end; the error says why
  2  an argument or a setting is wrong; nothing was sent";

/// Delete old database dumps from your bucket, by a plan that it shows first
#[derive(Debug, clap::Args)]
// The files are not rotated.
#[command(after_help = AFTER_ROTATE, mut_arg("filesystem_bucket", |arg| arg.hide(true)))]
pub(crate) struct Rotate {
    #[command(flatten)]
    vendor: VendorArgs,
    #[command(flatten)]
    replica: ReplicaArgs,
    #[command(flatten)]
    pub(crate) keep: KeepArgs,
    /// What dumps are called; may be repeated [default: *.sql, *.sql.*, *.dump, *.zip and the like]
    #[arg(long, value_name = "GLOB", help_heading = "Deleting")]
    pub(crate) pattern: Vec<String>,
    /// Delete what the plan says
    #[arg(long, help_heading = "Deleting")]
    pub(crate) apply: bool,
    /// Delete nothing if the plan would delete more than this share of the dumps, in per cent
    #[arg(long, value_name = "PERCENT", default_value_t = 50, value_parser = clap::value_parser!(u8).range(1..=99), help_heading = "Deleting")]
    pub(crate) at_most: u8,
    /// Keep all of a series whose newest dump is older than this many days
    #[arg(long, value_name = "DAYS", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=3650), help_heading = "Deleting")]
    pub(crate) stale_after: u16,
}

#[derive(Clone, Copy, Debug, clap::Args)]
#[command(next_help_heading = "What is kept")]
#[group(required = true, multiple = true)]
pub(crate) struct KeepArgs {
    /// The newest so many dumps
    #[arg(long, value_name = "NUMBER")]
    pub(crate) keep_last: Option<usize>,
    /// One a day, for so many days that have one
    #[arg(long, value_name = "NUMBER")]
    pub(crate) keep_daily: Option<usize>,
    /// One a week (from Monday)
    #[arg(long, value_name = "NUMBER")]
    pub(crate) keep_weekly: Option<usize>,
    /// One a month
    #[arg(long, value_name = "NUMBER")]
    pub(crate) keep_monthly: Option<usize>,
    /// One a year
    #[arg(long, value_name = "NUMBER")]
    pub(crate) keep_yearly: Option<usize>,
}

impl Rotate {
    pub(crate) fn settings(&self) -> Settings {
        backups(&self.vendor, &self.replica)
    }
}

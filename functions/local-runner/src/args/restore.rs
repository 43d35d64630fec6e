//! The flags of `local-runner restore`.

use std::path::PathBuf;

use bucket_copy::Settings;
use jiff::Timestamp;

use super::connection::{At, ReplicaArgs, VendorArgs, backups, time};

const AFTER_RESTORE: &str = "Examples:
  local-runner restore --destination-bucket my-company-backups --drill --user root
  local-runner restore --destination-bucket my-company-backups \\
    --key database/2026/11/20/app.sql.gz --database app --host db.internal --user app
  local-runner restore --at vendor --database-bucket backup-my-environment-name --drill
  local-runner restore --destination-bucket my-company-backups --files restored --create \\
    --as-of 2026-11-20T03:00:00Z

The password is read from RESTORE_PASSWORD or --password-file only, and goes to the
client in a file that you alone can read. Without one, the client's own configuration
counts (~/.my.cnf, ~/.pgpass).

The dump is streamed into mariadb (or mysql), or psql, which must be installed. It may
be SQL or PostgreSQL's custom format, plain or in gzip, Zstandard, bzip2 or zip: its
content tells, not its name. PostgreSQL gets it in one transaction: all or nothing.
MariaDB and MySQL cannot take table definitions back: what came before an error stays.

A dump is code that the server runs. Restore as a user that may write to that one
database only.

--as-of takes what the bucket had at that time, from the versions that it keeps. In your
own bucket that is what had been copied by then. Files go where download puts them, with
the same care; download has more ways to say which. It needs s3:ListBucketVersions and
s3:GetBucketVersioning on the bucket, and s3:GetObjectVersion on its objects.

Exit codes:
  0  the dump, or all of the files, were restored
  1  it was not; the error says what state the database is in
  2  an argument or a setting is wrong; nothing was sent
  3  some files failed, are archived, or differ from files that were kept";

/// Restore a database dump into MariaDB, MySQL or PostgreSQL, or the files to a directory
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_RESTORE)]
pub(crate) struct Restore {
    #[command(flatten)]
    vendor: VendorArgs,
    #[command(flatten)]
    replica: ReplicaArgs,
    /// Whose backups
    #[arg(long, value_name = "SIDE", default_value = "destination", help_heading = "Backups")]
    pub(crate) at: At,
    /// As they were at this time, such as 2026-11-20T03:00:00Z, from the versions that the
    /// bucket keeps [default: now]
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = "Backups")]
    pub(crate) as_of: Option<Timestamp>,
    #[command(flatten)]
    pub(crate) files: FilesArgs,
    #[command(flatten)]
    pub(crate) dump: DumpArgs,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// Restore into a scratch database, count its tables and rows, and drop it
    #[arg(long, help_heading = "Restoring")]
    pub(crate) drill: bool,
    /// Restore even if the database holds tables, views or routines already
    #[arg(long, conflicts_with = "drill", help_heading = "Restoring")]
    pub(crate) into_non_empty: bool,
    /// Show no progress
    #[arg(long, short, help_heading = "Output")]
    pub(crate) quiet: bool,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Files")]
#[group(conflicts_with_all = ["DumpArgs", "ServerArgs", "drill", "into_non_empty"])]
pub(crate) struct FilesArgs {
    /// Restore the files, not a dump, to this directory
    #[arg(long = "files", value_name = "DIR")]
    pub(crate) to: Option<PathBuf>,
    /// Only files whose keys, without the files' own prefix, begin with this
    #[arg(long, requires = "to", default_value = "", hide_default_value = true)]
    pub(crate) prefix: String,
    /// Make the directory if it is not there
    #[arg(long, short = 'f', requires = "to")]
    pub(crate) create: bool,
    /// Replace files that differ
    #[arg(long, short = 'o', requires = "to")]
    pub(crate) overwrite: bool,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Dump")]
pub(crate) struct DumpArgs {
    /// The dump's key, with its prefix [default: the newest dump]
    #[arg(long, conflicts_with = "pattern")]
    pub(crate) key: Option<String>,
    /// Only keys that match this, such as '*/shop-*.sql.gz'; may be repeated
    #[arg(long, value_name = "GLOB")]
    pub(crate) pattern: Vec<String>,
    /// The file to take from a zip archive that holds several
    #[arg(long, value_name = "NAME")]
    pub(crate) entry: Option<String>,
}

/// The kind of database server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Engine {
    /// MariaDB or MySQL
    #[value(alias = "mysql")]
    Mariadb,
    /// PostgreSQL
    #[value(alias = "postgres")]
    Postgresql,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Server")]
pub(crate) struct ServerArgs {
    /// The kind of server [default: what the dump was made of]
    #[arg(long, value_enum)]
    pub(crate) engine: Option<Engine>,
    /// The server's name or address, or the path of its socket (for PostgreSQL, of the
    /// socket's folder) [default: the client's]
    #[arg(long)]
    pub(crate) host: Option<String>,
    /// The server's port [default: the client's]
    #[arg(long)]
    pub(crate) port: Option<u16>,
    /// Whom to connect as [default: the client's]
    #[arg(long)]
    pub(crate) user: Option<String>,
    /// The database to restore into, which must exist and be empty
    #[arg(long, required_unless_present_any = ["drill", "to"], conflicts_with = "drill")]
    pub(crate) database: Option<String>,
    /// A file whose first line is the password [default: RESTORE_PASSWORD]
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// One more argument for mariadb or psql, such as --ssl-ca=ca.pem; may be repeated
    #[arg(long, value_name = "ARGUMENT", allow_hyphen_values = true)]
    pub(crate) client_option: Vec<String>,
    /// Leave out who owns what and who may do what, as pg_restore does; for PostgreSQL's custom
    /// format only
    #[arg(long)]
    pub(crate) no_owner: bool,
}

impl Restore {
    pub(crate) fn settings(&self) -> Settings {
        backups(&self.vendor, &self.replica)
    }
}

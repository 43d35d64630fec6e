//! The flags of `local-runner restore`.

use std::path::PathBuf;

use super::replica::ReplicaArgs;

const AFTER_RESTORE: &str = "Examples:
  local-runner restore --destination-bucket my-company-backups --drill --user root
  local-runner restore --destination-bucket my-company-backups \\
    --key database/2026/11/20/app.sql.gz --database app --host db.internal --user app

The password is read from RESTORE_PASSWORD or --password-file only, and goes to the
client in a file that you alone can read. Without one, the client's own configuration
counts (~/.my.cnf, ~/.pgpass).

The dump is streamed into mariadb (or mysql), or psql, which must be installed. It may
be SQL or PostgreSQL's custom format, plain or in gzip, Zstandard, bzip2 or zip: its
content tells, not its name. PostgreSQL gets it in one transaction: all or nothing.
MariaDB and MySQL cannot take table definitions back: what came before an error stays.

A dump is code that the server runs. Restore as a user that may write to that one
database only.

Exit codes:
  0  the dump was restored
  1  it was not; the error says what state the database is in
  2  an argument or a setting is wrong; nothing was sent";

/// Restore a database dump into MariaDB, MySQL or PostgreSQL
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_RESTORE)]
pub(crate) struct Restore {
    #[command(flatten)]
    pub(crate) replica: ReplicaArgs,
    #[command(flatten)]
    pub(crate) dump: DumpArgs,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// Restore into a scratch database, count its tables and rows, and drop it
    #[arg(long)]
    pub(crate) drill: bool,
    /// Restore even if the database holds tables, views or routines already
    #[arg(long, conflicts_with = "drill")]
    pub(crate) into_non_empty: bool,
    /// Show no progress
    #[arg(long, short)]
    pub(crate) quiet: bool,
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
    #[arg(long, required_unless_present = "drill", conflicts_with = "drill")]
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

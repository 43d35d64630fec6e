//! The flags of `local-runner note`.

use super::connection::ReplicaArgs;

const AFTER_NOTE: &str = "Examples:
  local-runner note add database/2026/11/20/app.sql.gz --label 'before the move' --set ticket=4711
  local-runner note show
  local-runner note remove database/2026/11/20/app.sql.gz

A note is an object of its own below .replicator/notes/ in your bucket: the backup is not
touched, need not be there, and a note outlives it. A removed note is left empty, for
nothing is deleted.";

/// Label a backup, or show what is noted of it
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_NOTE)]
pub(crate) struct Note {
    #[command(subcommand)]
    pub(crate) what: What,
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum What {
    /// Note a label and any metadata of a backup; what was noted before stays beside it
    Add {
        /// The backup's key, with its prefix
        key: String,
        /// A few words
        #[arg(long, required_unless_present = "set")]
        label: Option<String>,
        /// One more field; may be repeated
        #[arg(long, value_name = "NAME=VALUE")]
        set: Vec<String>,
        #[command(flatten)]
        replica: ReplicaArgs,
    },
    /// Show a backup's note, or all notes
    Show {
        /// The backup's key, with its prefix [default: all]
        key: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        replica: ReplicaArgs,
    },
    /// Take back a backup's note, or single fields of it
    Remove {
        /// The backup's key, with its prefix
        key: String,
        /// Only this field; may be repeated
        #[arg(long, value_name = "NAME")]
        field: Vec<String>,
        #[command(flatten)]
        replica: ReplicaArgs,
    },
}

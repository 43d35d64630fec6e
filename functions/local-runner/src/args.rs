//! What a user can say. What it means is for [`Plan`](bucket_copy::Plan) to judge, so that
//! the command and the Lambda refuse the same things in the same words: values are strings.

mod connection;
mod doctor;
mod download;
mod ls;
mod note;
mod replicate;
mod restore;
mod rotate;
mod verify;

use clap::builder::styling::{AnsiColor, Styles};
pub(crate) use connection::{At, ReplicaArgs};
pub(crate) use doctor::Doctor;
pub(crate) use download::{Download, DownloadOutput};
pub(crate) use ls::Ls;
pub(crate) use note::{Note, What};
pub(crate) use replicate::{OutputArgs, Replicate};
pub(crate) use restore::{Engine, Restore, ServerArgs};
pub(crate) use rotate::{KeepArgs, Rotate};
pub(crate) use verify::{Output, Verify};

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
    Ls(Box<Ls>),
    Download(Box<Download>),
    Verify(Box<Verify>),
    Doctor(Box<Doctor>),
    Restore(Box<Restore>),
    Rotate(Box<Rotate>),
    Note(Box<Note>),
    Demo(Demo),
}

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default())
    .placeholder(AnsiColor::Cyan.on_default());

/// Show it on an S3 inside this process: no account, no network
#[derive(Debug, clap::Args)]
pub(crate) struct Demo {}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn clap_finds_no_contradiction() {
        super::Args::command().debug_assert();
    }
}

//! The replicator as a command: arguments in, progress and a report out.
//!
//! stdout carries the report alone, stderr everything else. How a command ended is its exit
//! code, see [`exit`].

mod args;
mod backups;
mod demo;
mod doctor;
mod download;
mod dumps;
mod escape;
mod event;
mod exit;
mod list;
mod logs;
mod ls;
mod meter;
mod note;
mod progress;
mod quantity;
mod replicate;
mod report;
mod restore;
mod rotate;
mod stop;
mod verify;

use std::num::NonZero;
use std::process::ExitCode;

use anyhow::Context;
use args::{Args, Command};
use clap::Parser;

fn main() -> ExitCode {
    let args = Args::parse();
    match run(args.command) {
        Ok(code) => code,
        Err(error) => {
            exit::tell(&error);
            exit::code_of(&error)
        }
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    // A download writes where it reads: on a machine with few cores, one that waits for its
    // disk must not keep the network waiting, too.
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get).max(4);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .context("the system gives no threads to run on")?;
    let code = runtime.block_on(async {
        match command {
            Command::Replicate(args) => replicate::command(&args).await,
            Command::Verify(args) => verify::command(&args).await,
            Command::Doctor(args) => doctor::command(&args).await,
            Command::Restore(args) => restore::command(&args).await,
            Command::Rotate(args) => rotate::command(&args).await,
            Command::Note(args) => note::command(&args).await,
            Command::Demo(args) => demo::command(&args).await,
            Command::Ls(args) => ls::command(&args).await,
            Command::Download(args) => download::command(&args).await,
        }
    });
    // A lookup of a name that hangs must not keep a stopped run from ending.
    runtime.shutdown_background();
    code
}

//! `local-runner ls`: which backups there are, and in what state.
//!
//! Works with any objects: nothing but their keys, times and ETags is asked for. With `--all`
//! every dump is held in memory to be sorted; else 20, and files are never held.

mod compare;
mod report;

use std::process::ExitCode;

use anyhow::Context;
use bucket_copy::{Halt, RunError, SourceName};

use self::compare::Pairs;
use self::report::{Kind, Listed};
use crate::args::{At, Ls};
use crate::backups::{Backups, Sides};
use crate::progress::{Manner, Progress};
use crate::{logs, replicate, stop};

pub(crate) async fn command(args: &Ls) -> anyhow::Result<ExitCode> {
    let progress = Progress::new(Manner::Quiet);
    logs::init(progress.bar());
    let halt = Halt::never();
    stop::on_signals(&halt, progress.bar());
    let sides = Sides::connect(args.settings()).await?;

    let mut listed = Listed::new(args.at);
    for name in [SourceName::Database, SourceName::Filesystem] {
        let other = if args.at == At::Vendor { At::Destination } else { At::Vendor };
        let Some(here) = sides.find(args.at, name, &halt)? else { continue };
        listed.push(backups(here, sides.find(other, name, &halt)?, name, args).await?);
    }
    if listed.is_empty() {
        return Err(crate::exit::Usage::NothingToList.into());
    }
    let text = match args.json {
        true => serde_json::to_string_pretty(&listed).context("the list cannot be written as JSON")?,
        false => listed.render(),
    };
    replicate::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Lists one kind of backup, beside the other side if that can be listed.
async fn backups(
    mut here: Backups,
    mut there: Option<Backups>,
    name: SourceName,
    args: &Ls,
) -> Result<Kind, RunError> {
    let objects = here.bucket.list(&here.prefix).await?;
    let mut not_compared = None;
    let other = match &mut there {
        None => None,
        Some(place) => match place.bucket.list(&place.prefix).await {
            Ok(objects) => Some((objects, place.prefix.len())),
            Err(error) if error.name() == "Stopped" => return Err(error),
            Err(error) => {
                not_compared = Some(error.to_string());
                None
            }
        },
    };
    let mut backups = Kind::new(name, &here.name, &here.prefix, args);
    let mut pairs = Pairs::new((objects, here.prefix.len()), other, args.at == At::Destination);
    while let Some(pair) = pairs.next().await? {
        backups.add(pair);
    }
    backups.close(pairs.is_compared(), not_compared.or(pairs.into_error()));
    Ok(backups)
}

//! `local-runner ls`: which backups there are, and in what state.
//!
//! Works with any objects: nothing but their keys, times and ETags is asked for. With `--all`
//! every dump is held in memory to be sorted; else 20, and files are never held.

mod compare;
mod moment;
mod report;

use std::process::ExitCode;

use anyhow::Context;
use bucket_copy::fetch::{self, Bucket, Location};
use bucket_copy::{Clients, Halt, RunError, Settings, SourceName};

use self::compare::Pairs;
use self::report::{Backups, Listed};
use crate::args::{At, Ls};
use crate::progress::{Manner, Progress};
use crate::{logs, replicate, stop};

pub(crate) async fn command(args: &Ls) -> anyhow::Result<ExitCode> {
    let settings = args.settings();
    let progress = Progress::new(Manner::Quiet);
    logs::init(progress.bar());
    let halt = Halt::never();
    stop::on_signals(&halt, progress.bar());
    let (clients, _) = replicator::secret::connect(&settings).await?;

    let mut listed = Listed::new(args.at);
    for name in [SourceName::Database, SourceName::Filesystem] {
        let at_vendor = vendor(&settings, &clients, name, &halt)?;
        let at_destination = destination(&settings, &clients, name, &halt)?;
        let (here, there) = match args.at {
            At::Vendor => (at_vendor, at_destination),
            At::Destination => (at_destination, at_vendor),
        };
        let Some(here) = here else { continue };
        listed.push(backups(here, there, name, args).await?);
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

/// A bucket, and where the backups of one kind are in it.
struct Place {
    bucket: Bucket,
    name: String,
    prefix: String,
}

/// Requests at once: a listing sends one, and one ahead.
const IN_FLIGHT: usize = 8;

fn vendor(
    settings: &Settings,
    clients: &Clients,
    name: SourceName,
    halt: &Halt,
) -> anyhow::Result<Option<Place>> {
    let (setting, bucket) = match name {
        SourceName::Database => ("DATABASE_BUCKET", &settings.database_bucket),
        SourceName::Filesystem => ("FILESYSTEM_BUCKET", &settings.filesystem_bucket),
    };
    let (at, client) = match &clients.vendor {
        Some(vendor) => (fetch::At::SourceWithVendorsKeys, vendor.clone()),
        None => (fetch::At::Source, clients.source.clone()),
    };
    place(Location { at, setting, client, bucket: given(bucket) }, String::new(), halt)
}

fn destination(
    settings: &Settings,
    clients: &Clients,
    name: SourceName,
    halt: &Halt,
) -> anyhow::Result<Option<Place>> {
    let client = clients.destination.clone();
    let bucket = given(&settings.destination_bucket);
    let prefix = settings.prefix(name).to_owned();
    place(
        Location { at: fetch::At::Destination, setting: "DESTINATION_BUCKET", client, bucket },
        prefix,
        halt,
    )
}

fn given(bucket: &Option<String>) -> String {
    bucket.as_deref().unwrap_or_default().trim().to_owned()
}

fn place(location: Location, prefix: String, halt: &Halt) -> anyhow::Result<Option<Place>> {
    if location.bucket.is_empty() {
        return Ok(None);
    }
    let name = location.bucket.clone();
    Ok(Some(Place { bucket: Bucket::new(location, IN_FLIGHT, halt)?, name, prefix }))
}

/// Lists one kind of backup, beside the other side if that can be listed.
async fn backups(
    mut here: Place,
    mut there: Option<Place>,
    name: SourceName,
    args: &Ls,
) -> Result<Backups, RunError> {
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
    let mut backups = Backups::new(name, &here.name, &here.prefix, args.all);
    let mut pairs = Pairs::new((objects, here.prefix.len()), other, args.at == At::Destination);
    while let Some(pair) = pairs.next().await? {
        backups.add(pair);
    }
    backups.close(pairs.is_compared(), not_compared.or(pairs.into_error()));
    Ok(backups)
}

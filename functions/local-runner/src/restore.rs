//! `local-runner restore`: a dump into a database, through the server's own client.

mod client;
mod contents;
mod format;
mod object;
mod pour;
mod statements;

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;
use bucket_copy::fetch::{FetchError, Object};
use bucket_copy::{Halt, S3ErrorKind, SourceName};
use jiff::Timestamp;
use tokio::runtime::Handle;

use crate::args::{DownloadOutput, Engine, Restore};
use crate::backups::{self, Backups, Sides, missing, of_object};
use crate::download::Wanted;
use crate::dumps::{self, Made, Patterns};
use crate::escape::escape;
use crate::exit::Usage;
use crate::progress::{Manner, Progress};
use crate::quantity::{bytes, count, duration, number};
use crate::replicate::print;
use crate::{download, logs, stop};
use client::Server;
use contents::Contents;
use format::Dump;
use object::ObjectReader;
use pour::Poured;
use statements::Origin;

pub(crate) async fn command(args: &Restore) -> anyhow::Result<ExitCode> {
    if let Some(to) = &args.files.to {
        return files(args, to).await;
    }
    let patterns =
        Patterns::new(&args.dump.pattern).map_err(|_| Usage::Pattern(args.dump.pattern.join("', '")))?;
    let progress = Progress::new(Manner::fitting(true));
    logs::init(progress.bar());
    let halt = Halt::never();
    stop::on_signals(&halt, progress.bar());
    let mut backups = Sides::connect(args.settings()).await?.get(args.at, SourceName::Database, &halt)?;

    let (key, version) = chosen(&mut backups, args, &patterns).await?;
    let address = backups.address(&key);
    let (object, dump) = open(&backups, &key, version.as_deref(), args).await?;
    let origin = Origin::of(dump.content, &dump.head)
        .with_context(|| format!("cannot restore {address}; nothing was changed"))?;
    let engine = origin.engine.filter(|_| dump.content == format::Content::PostgresCustom);
    let engine =
        engine.or(args.server.engine).or(origin.engine).ok_or_else(|| Usage::Engine(address.clone()))?;
    let server = Server::new(&args.server, engine)?;
    let restoring = Restoring { args, server, address, object, halt };
    match &args.server.database {
        Some(database) if !args.drill => restoring.restore(dump, database).await,
        _ => restoring.drill(dump).await,
    }
}

/// The files, as `download` does it.
async fn files(args: &Restore, to: &Path) -> anyhow::Result<ExitCode> {
    let sides = Sides::connect(args.settings()).await?;
    let place = sides.place(args.at, SourceName::Filesystem);
    let (location, prefix) = place.ok_or_else(|| missing(args.at, SourceName::Filesystem))?;
    let wanted = Wanted {
        prefix: format!("{prefix}{}", args.files.prefix),
        left_out: prefix.len(),
        except: sides.others(args.at, SourceName::Filesystem),
        as_of: args.as_of,
        overwrite: args.files.overwrite,
        checksum: false,
        most: download::IN_FLIGHT.into(),
    };
    let output = DownloadOutput { json: false, quiet: args.quiet };
    download::run(location, wanted, to, args.files.create, output).await
}

/// The key that was asked for, or the newest dump's; and which version of it, if not the last.
async fn chosen(
    backups: &mut Backups,
    args: &Restore,
    patterns: &Patterns,
) -> anyhow::Result<(String, Option<String>)> {
    let prefix = &backups.prefix.clone();
    if let Some(key) = &args.dump.key {
        let Some(at) = args.as_of else { return Ok((key.clone(), None)) };
        let listed = backups::list(&mut backups.bucket, key, args.as_of).await?.next().await?;
        let Some(object) = listed.filter(|object| object.key == *key) else {
            anyhow::bail!("{} was not there at {at}, or no version from then is kept", backups.address(key))
        };
        return Ok((object.key, object.version));
    }
    let mut dumps: Vec<(Made, Object)> = backups
        .list(args.as_of)
        .await?
        .into_iter()
        .filter(|object| patterns.match_key(&object.key[prefix.len()..]) && object.size > 0)
        .map(|object| (Made::of(&object.key[prefix.len()..], &object), object))
        .collect();
    dumps.sort_by(|a, b| (a.0.at, &a.1.key).cmp(&(b.0.at, &b.1.key)));
    let Some((made, Object { key, version, .. })) = dumps.last() else {
        anyhow::bail!(
            "there is no dump below {}: name one with --key, or say what dumps are called with --pattern",
            backups.address(prefix)
        )
    };
    if !args.quiet {
        let by = if made.by_key { "by its key" } else { "by S3's time" };
        eprintln!("the newest dump, {by}: {} of {}", escape(key), made.at);
        let mut series: Vec<String> =
            dumps.iter().map(|(_, dump)| dumps::series(&dump.key[prefix.len()..])).collect();
        series.sort();
        series.dedup();
        if series.len() > 1 {
            eprintln!(
                "{} of dumps are there ({}): choose with --pattern or --key",
                count(series.len() as u64, "serie"),
                escape(&series.iter().take(5).map(String::as_str).collect::<Vec<_>>().join(", "))
            );
        }
    }
    Ok((key.clone(), version.clone()))
}

async fn open(
    backups: &Backups,
    key: &str,
    version: Option<&str>,
    args: &Restore,
) -> anyhow::Result<(Object, Dump)> {
    let address = backups.address(key);
    let looked = backups.bucket.look_up(key, version).await;
    if args.dump.key.is_some() && matches!(looked, Err(FetchError::Refused(S3ErrorKind::NotFound, _))) {
        anyhow::bail!(
            "there is no {address}: --key takes the whole key, with what `local-runner ls` shows above the list ({})",
            escape(&backups.prefix)
        )
    }
    let (object, evidence) = of_object(looked, &address)?;
    let reader = ObjectReader::new(&backups.bucket, object.clone(), &evidence, Handle::current());
    let entry = args.dump.entry.clone();
    let dump = tokio::task::spawn_blocking(move || format::open(reader, entry.as_deref())).await?;
    Ok((object, dump.with_context(|| format!("cannot restore {address}"))?))
}

struct Restoring<'a> {
    args: &'a Restore,
    server: Server,
    address: String,
    object: Object,
    halt: Halt,
}

impl Restoring<'_> {
    async fn restore(&self, dump: Dump, database: &str) -> anyhow::Result<ExitCode> {
        let before = Contents::of(&self.server, database).await.with_context(|| {
            format!("cannot look at the database `{}`; nothing was changed", escape(database))
        })?;
        if !before.is_empty() && !self.args.into_non_empty {
            anyhow::bail!(
                "the database `{}` is not empty ({before}); nothing was changed: restore into an empty one, or add \
                 --into-non-empty",
                escape(database)
            );
        }
        let began = Instant::now();
        let poured = match self.pour(dump, database).await {
            Ok(poured) => poured,
            Err(error) => {
                let state = match self.server.engine {
                    Engine::Postgresql => "it was not committed: the database is as it was before".to_owned(),
                    Engine::Mariadb => format!(
                        "the database `{}` holds what came before the error: empty it before you restore again",
                        escape(database)
                    ),
                };
                return Err(error.context(format!("cannot restore {}; {state}", self.address)));
            }
        };
        let after = Contents::of(&self.server, database).await?;
        print(&format!("{}: {after} in `{}`", self.done("Restored", &poured, began), escape(database)))?;
        Ok(ExitCode::SUCCESS)
    }

    async fn drill(&self, dump: Dump) -> anyhow::Result<ExitCode> {
        let database = format!(
            "replicator_drill_{}_{:08x}",
            Timestamp::now().strftime("%Y%m%d_%H%M%S"),
            fastrand::u32(..)
        );
        let create = match self.server.engine {
            Engine::Mariadb => format!("CREATE DATABASE {database} CHARACTER SET utf8mb4;"),
            // Without what somebody may have added to the usual template.
            Engine::Postgresql => format!("CREATE DATABASE {database} TEMPLATE template0;"),
        };
        self.server
            .ask(None, &create)
            .await
            .context("cannot make a scratch database for the drill; nothing was changed")?;
        let began = Instant::now();
        let drilled = async {
            let poured = self.pour(dump, &database).await?;
            let contents = Contents::of(&self.server, &database).await?;
            anyhow::Ok((poured, contents, contents::rows(&self.server, &database).await?))
        }
        .await;
        let drop = match self.server.engine {
            Engine::Mariadb => format!("DROP DATABASE {database};"),
            Engine::Postgresql => format!("DROP DATABASE {database} WITH (FORCE);"),
        };
        let dropped = self
            .server
            .ask(None, &drop)
            .await
            .with_context(|| format!("the scratch database cannot be dropped: run {drop} by hand"));
        let state = if dropped.is_ok() {
            "the scratch database was dropped"
        } else {
            "and its scratch database is left"
        };
        let (poured, contents, tables) =
            drilled.with_context(|| format!("the drill of {} failed; {state}", self.address))?;
        dropped?;
        let rows = tables.iter().map(|(_, rows)| rows).sum::<u64>();
        let lines = contents::table_lines(tables);
        print(&format!(
            "{}: {contents}, {} {}; the scratch database was dropped\n{lines}",
            self.done("Drill passed", &poured, began),
            number(rows),
            if rows == 1 { "row" } else { "rows" },
        ))?;
        if contents.tables == 0 {
            anyhow::bail!("the dump made no table: is it a whole dump?");
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn pour(&self, dump: Dump, database: &str) -> anyhow::Result<Poured> {
        self.server.check_connection(database).await?;
        pour::pour(dump, &self.server, database, self.args.server.no_owner, &self.halt).await
    }

    fn done(&self, what: &str, poured: &Poured, began: Instant) -> String {
        let Poured { bytes: unpacked, named, proof, marked } = poured;
        let named = named.as_ref().map_or(String::new(), |name| format!(", a dump of `{}`", escape(name)));
        let whole =
            if *marked { "its last line is there" } else { "a dump like this has no mark at its end" };
        format!(
            "{what}: {} ({}, {} of SQL{named}) in {}; verified by its {proof}, {whole}\nIt holds",
            self.address,
            bytes(self.object.size),
            bytes(*unpacked),
            duration(began.elapsed()),
        )
    }
}

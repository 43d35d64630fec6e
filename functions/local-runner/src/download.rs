//! `local-runner download`: a bucket, or what is below a prefix of it, to a directory.

mod object;
mod partial;
mod place;
mod report;
mod run;
mod target;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use bucket_copy::fetch::{Bucket, Location};
use bucket_copy::{Halt, Status};

use self::object::Job;
pub(crate) use self::run::Wanted;
use self::target::Target;
pub(crate) use self::target::TargetError;
use crate::args::{Download, DownloadOutput};
use crate::progress::{Manner, Progress};
use crate::{backups, exit, logs, replicate, stop};

/// Requests at once, unless it is said.
pub(crate) const IN_FLIGHT: u16 = 64;

pub(crate) async fn command(args: &Download) -> anyhow::Result<ExitCode> {
    args.warn();
    let location = args.location().await?;
    let wanted = Wanted {
        prefix: args.prefix.clone(),
        left_out: args.prefix.rfind('/').map_or(0, |slash| slash + 1),
        except: Vec::new(),
        as_of: args.as_of,
        overwrite: args.overwrite,
        checksum: args.checksum,
        most: args.max_in_flight(),
    };
    let ran = run(location, wanted, &args.to, args.create, args.output).await;
    ran.map_err(|error| match error.downcast() {
        Ok(error) => args.explain(error).into(),
        Err(error) => error,
    })
}

/// Downloads what is `wanted` to the directory `to`, and reports.
pub(crate) async fn run(
    location: Location,
    wanted: Wanted,
    to: &Path,
    create: bool,
    output: DownloadOutput,
) -> anyhow::Result<ExitCode> {
    let name = location.bucket.clone();
    let mut progress = Progress::new(Manner::fitting(output.quiet));
    logs::init(progress.bar());
    let halt = Halt::never();
    stop::on_signals(&halt, progress.bar());
    let mut bucket = Bucket::new(location, wanted.most, &halt)?;
    // What cannot be listed is known while nothing is written yet.
    let objects = backups::list(&mut bucket, &wanted.prefix, wanted.as_of).await?;
    let target = Arc::new(Target::open(to, create)?);

    let counts = progress.begin(1);
    let job = Arc::new(Job { bucket, name, target: Arc::clone(&target), counts });
    let mut tally = run::run(&job, &wanted, objects, &halt).await;
    progress.finish();
    drop(job);
    let directory = to.display();
    let status = tally.close(directory.to_string());
    if let Some(target) = Arc::into_inner(target) {
        target
            .finish(status == Status::Complete)
            .with_context(|| format!("{directory} cannot be written to the disk"))?;
    }
    let text = match output.json {
        true => serde_json::to_string_pretty(&tally).context("the report cannot be written as JSON")?,
        false => tally.render(),
    };
    replicate::print(&text)?;
    Ok(exit::code(status))
}

//! `local-runner download`: a bucket, or what is below a prefix of it, to a directory.

mod object;
mod partial;
mod place;
mod report;
mod run;
mod target;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use bucket_copy::fetch::Bucket;
use bucket_copy::{Halt, Status};

use self::object::Job;
use self::run::Wanted;
use self::target::Target;
pub(crate) use self::target::TargetError;
use crate::args::Download;
use crate::progress::{Manner, Progress};
use crate::{exit, logs, replicate, stop};

pub(crate) async fn command(args: &Download) -> anyhow::Result<ExitCode> {
    args.warn();
    let location = args.location().await?;
    let name = location.bucket.clone();

    let mut progress = Progress::new(Manner::fitting(args.output.quiet));
    logs::init(progress.bar());
    let halt = Halt::never();
    stop::on_signals(&halt, progress.bar());
    let most = args.max_in_flight();
    let mut bucket = Bucket::new(location, most, &halt)?;
    // What cannot be listed is known while nothing is written yet.
    let objects = bucket.list(&args.prefix).await.map_err(|error| args.explain(error))?;
    let target = Arc::new(Target::open(&args.to, args.create)?);

    let counts = progress.begin(1);
    let job = Arc::new(Job { bucket, name, target: Arc::clone(&target), counts });
    let wanted =
        Wanted { prefix: args.prefix.clone(), overwrite: args.overwrite, checksum: args.checksum, most };
    let mut tally = run::run(&job, &wanted, objects, &halt).await;
    progress.finish();
    drop(job);
    let directory = args.to.display();
    let status = tally.close(directory.to_string());
    if let Some(target) = Arc::into_inner(target) {
        target
            .finish(status == Status::Complete)
            .with_context(|| format!("{directory} cannot be written to the disk"))?;
    }
    let text = match args.output.json {
        true => serde_json::to_string_pretty(&tally).context("the report cannot be written as JSON")?,
        false => tally.render(),
    };
    replicate::print(&text)?;
    Ok(exit::code(status))
}

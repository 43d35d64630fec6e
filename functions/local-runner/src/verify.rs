//! `local-runner verify`, and `replicate --event` with `"verify": true`: from a request to
//! what was found.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use bucket_copy::{Comparison, Finding, Halt, Observer, Plan, Request, Settings};

use crate::args::{Output, Verify};
use crate::meter::Counts;
use crate::progress::{Progress, Words};
use crate::replicate::{manner, print};
use crate::{exit, list, logs, report, stop};

pub(crate) async fn command(args: &Verify) -> anyhow::Result<ExitCode> {
    run(&args.settings(), &args.request(), args.output).await
}

/// Verifies as `request` says.
pub(crate) async fn run(settings: &Settings, request: &Request, output: Output) -> anyhow::Result<ExitCode> {
    let plan = Plan::new(settings, request)?;
    let mut progress = Progress::new(manner(output.quiet, output.list)).saying(Words::VERIFY);
    logs::init(progress.bar());
    let halt = Halt::never();
    stop::on_signals(&halt, progress.bar());
    let (clients, _) = replicator::secret::connect(settings).await?;

    let counts = progress.begin(plan.sources.len());
    let watch = Watch { counts, list: output.list };
    let found = bucket_copy::verify(&plan, &clients, &halt, Arc::new(watch)).await;
    progress.finish();
    let found = found?;
    let text = match output.json {
        true => serde_json::to_string_pretty(&found).context("the report cannot be written as JSON")?,
        false => report::render_verification(&found),
    };
    // The list and the report are on one stdout.
    let gap = if output.list { "\n" } else { "" };
    print(&format!("{gap}{text}"))?;
    Ok(exit::code(found.status))
}

/// Passes on what the engine tells.
struct Watch {
    counts: Arc<Counts>,
    list: bool,
}

impl Observer for Watch {
    fn listed(&self) {
        self.counts.listed();
    }

    fn found(&self, bytes: u64) {
        self.counts.found(bytes);
    }

    fn all_found(&self) {
        self.counts.all_found();
    }

    fn moved(&self, bytes: u64) {
        self.counts.moved(bytes);
    }

    fn compared(&self, comparison: &Comparison) {
        self.counts.compared(comparison);
        if self.list && !matches!(comparison.finding, Finding::Identical { .. }) {
            list::print_comparison(comparison);
        }
    }
}

//! `local-runner replicate`: from arguments to a report.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bucket_copy::reports::{self, History};
use bucket_copy::{Clients, Halt, Observer, Outcome, Plan, Report, RunError};

use crate::args::{Output, OutputArgs, Replicate};
use crate::escape::escape_json;
use crate::exit::Usage;
use crate::meter::Counts;
use crate::progress::{Manner, Progress};
use crate::{event, exit, list, logs, report, stop, verify};

pub(crate) async fn command(args: &Replicate) -> anyhow::Result<ExitCode> {
    let settings = args.settings();
    let request = match &args.request.event {
        Some(file) => event::read(file)?,
        None => args.request.request(),
    };
    if request.verify {
        let OutputArgs { list, json, quiet, html } = args.output.clone();
        if html.is_some() {
            return Err(Usage::NoPage.into());
        }
        return verify::run(&settings, &request, Output { list, json, quiet }).await;
    }
    let plan = Plan { holder: holder(), ..Plan::new(&settings, &request)? };
    if let Some(file) = &args.output.html {
        let page = OpenOptions::new().append(true).create(true).open(file);
        page.map_err(|cause| Usage::Page { file: file.clone(), cause })?;
    }

    let mut progress = Progress::new(manner(args.output.quiet, args.output.list));
    logs::init(progress.bar());
    let halt = Halt::never();
    stop::on_signals(&halt, progress.bar());
    let (clients, _) = replicator::secret::connect(&settings).await?;

    let report = run(&plan, &clients, &halt, &mut progress, args.output.list).await?;
    let history = keep(&plan, &clients, &report).await;
    let text = match args.output.json {
        true => escape_json(
            &serde_json::to_string_pretty(&report).context("the report cannot be written as JSON")?,
        ),
        false => report::render(&report),
    };
    // The list and the report are on one stdout.
    let gap = if args.output.list { "\n" } else { "" };
    print(&format!("{gap}{text}"))?;
    if let Some(file) = &args.output.html {
        std::fs::write(file, reports::page(&report, &history))
            .with_context(|| format!("the page {} cannot be written", file.display()))?;
    }
    Ok(exit::code(report.status))
}

/// What another run says of this one.
fn holder() -> String {
    #[cfg(target_os = "linux")]
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    #[cfg(not(target_os = "linux"))]
    let host = std::env::var("HOSTNAME").or(std::env::var("COMPUTERNAME")).unwrap_or("this host".into());
    format!("local-runner on {host}, process {}", std::process::id())
}

/// Keeps the report at the destination. A dry run writes nothing.
async fn keep(plan: &Plan, clients: &Clients, report: &Report) -> History {
    if report.dry_run {
        return History::default();
    }
    match reports::keep(plan, clients, report, Duration::from_secs(10)).await {
        Ok(history) => history,
        Err(error) => {
            tracing::warn!(%error, "the report could not be kept at the destination");
            History::default()
        }
    }
}

/// Runs `plan` while `progress` shows it.
pub(crate) async fn run(
    plan: &Plan,
    clients: &Clients,
    halt: &Halt,
    progress: &mut Progress,
    list: bool,
) -> Result<Report, RunError> {
    let counts = progress.begin(plan.sources.len());
    let report = bucket_copy::replicate(plan, clients, halt, Arc::new(Watch { counts, list })).await;
    progress.finish();
    report
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

    fn done(&self, outcome: &Outcome) {
        self.counts.done(outcome);
        if self.list {
            list::print(outcome);
        }
    }
}

/// A list on the terminal is its own progress.
pub(crate) fn manner(quiet: bool, list: bool) -> Manner {
    Manner::fitting(quiet || list && io::stdout().is_terminal())
}

/// Prints to stdout. A reader that has gone away has read what it wanted.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = anstream::stdout().lock();
    match writeln!(stdout, "{}", text.strip_suffix('\n').unwrap_or(text)).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error).context("the report cannot be written to stdout")
        }
        _ => Ok(()),
    }
}

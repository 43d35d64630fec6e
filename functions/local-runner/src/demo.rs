//! `local-runner demo`: three runs against an S3 inside this process, told in plain words.
//!
//! The S3 is real HTTP on the loopback interface; the runs are those of `replicate`.

mod vendor;

use std::process::ExitCode;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use anyhow::Context;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider};
use bucket_copy::{Clients, Halt, Plan, PlanError, Report, Request, RunError, Settings, Status};
use s3_sim::{Config, Latency, Sim};

use crate::args::Demo;
use crate::progress::{Manner, Progress};
use crate::replicate::{self, print};
use crate::{exit, logs, report, stop};

const CUSTOMER: &str = "my-company-backups";
const BOLD: Style = Style::new().bold();
const COMMAND: Style = AnsiColor::Cyan.on_default();

pub(crate) async fn command(_: &Demo) -> anyhow::Result<ExitCode> {
    let sim = start().await.context("the demonstration's S3 cannot be started")?;
    let settings = settings(&sim);
    let mut demo = Demonstration {
        plan: Plan::new(&settings, &Request::default())?,
        clients: connect(&settings)?,
        halt: Halt::never(),
        progress: Progress::new(manner()),
    };
    logs::init(demo.progress.bar());
    stop::on_signals(&demo.halt, demo.progress.bar());

    vendor::fill(sim.state());
    sim.state().create_bucket(CUSTOMER);
    print(&format!(
        "{BOLD}An S3 runs inside this process now: no account, no network, nothing stays.{BOLD:#}\n\
         In it, a vendor keeps your backups in two buckets: thirty nights of database\n\
         dumps, and your application's files. {CUSTOMER}, your bucket, is empty."
    ))?;

    print(&heading("1. The first run copies everything."))?;
    let first = demo.run().await?;
    print(&report::render(&first))?;
    if first.status != Status::Complete {
        return Ok(exit::code(first.status));
    }

    vendor::work_a_night(sim.state());
    print(&heading("2. A night later: the vendor wrote a dump, changed a file and deleted another."))?;
    let second = demo.run().await?;
    print(&report::render(&second))?;
    if second.status != Status::Complete {
        return Ok(exit::code(second.status));
    }
    print("Only what is new or changed travelled. What the vendor deleted, you keep.")?;

    print(&heading("3. Nothing has changed since: the run lists, and copies nothing."))?;
    let third = demo.run().await?;
    print(&report::verdict(&third))?;

    print(&format!(
        "\n{BOLD}Now with your own buckets.{BOLD:#} While --dry-run is there, nothing is written:\n\
         {COMMAND}  local-runner replicate --dry-run \\\n    \
         --database-bucket {} \\\n    \
         --filesystem-bucket {} \\\n    \
         --destination-bucket {CUSTOMER}{COMMAND:#}",
        vendor::DUMPS,
        vendor::FILES
    ))?;
    Ok(exit::code(third.status))
}

/// What the three runs share.
struct Demonstration {
    plan: Plan,
    clients: Clients,
    halt: Halt,
    progress: Progress,
}

impl Demonstration {
    async fn run(&mut self) -> Result<Report, RunError> {
        replicate::run(&self.plan, &self.clients, &self.halt, &mut self.progress, false).await
    }
}

/// A bar on a terminal, else nothing: the story is told on stdout.
fn manner() -> Manner {
    match Manner::fitting(false) {
        Manner::Bar => Manner::Bar,
        Manner::Lines | Manner::Quiet => Manner::Quiet,
    }
}

fn heading(text: &str) -> String {
    format!("\n{BOLD}{text}{BOLD:#}\n")
}

/// As slow as a region is to its neighbour, or about.
async fn start() -> std::io::Result<Sim> {
    let ms = Duration::from_millis;
    let latency = Latency {
        list: ms(60),
        copy: ms(50),
        head: ms(15),
        put: ms(30),
        get: ms(20),
        other: ms(25),
        part_copy_bytes_per_second: Some(150 << 20),
    };
    Sim::start(Config { latency, ..Config::default() }).await
}

fn settings(sim: &Sim) -> Settings {
    Settings {
        database_bucket: Some(vendor::DUMPS.into()),
        filesystem_bucket: Some(vendor::FILES.into()),
        destination_bucket: Some(CUSTOMER.into()),
        source_region: Some("us-east-1".into()),
        destination_region: Some("us-east-1".into()),
        source_endpoint_url: Some(sim.endpoint()),
        destination_endpoint_url: Some(sim.endpoint()),
        ..Settings::default()
    }
}

/// The engine's clients with the credentials of the S3 that was just started; nothing of
/// the user's own configuration is read.
fn connect(settings: &Settings) -> Result<Clients, PlanError> {
    let credentials = Credentials::new("sim-access-key", "sim-secret-key", None, None, "demo");
    let shared = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .build();
    Clients::new(&shared, settings)
}

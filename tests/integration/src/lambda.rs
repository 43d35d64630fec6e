//! The release binary `replicator`, invoked as Lambda invokes it.
//!
//! Two servers stand in for Lambda. [`RuntimeApi`] is ours, and keeps Lambda's promises about
//! time: each invocation has a deadline, at which the function is killed, and the next one
//! starts cold. [`LambdaEmulator`] is cargo-lambda's, which others wrote from Lambda's
//! documentation; it sends the same deadline with every invocation (600,000 ms after the epoch,
//! so one long past) and never stops a function.

mod environment;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Result, bail};
use hyper::Method;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::sync::Mutex;

use crate::http::{self, Answer};
use crate::process::{Output, POLL, Running, free_port};
use crate::{REGION, release_binary, tool};
use environment::Environment;

const FUNCTION: &str = "replicator";
const INVOCATIONS: &str = "/2015-03-31/functions/replicator/invocations";

/// The environment variables that a test gives the function.
type Variables = BTreeMap<String, String>;

fn variables<N: Into<String>, V: Into<String>>(given: impl IntoIterator<Item = (N, V)>) -> Variables {
    given.into_iter().map(|(name, value)| (name.into(), value.into())).collect()
}

/// Starts the function against a runtime API; its log is appended to `log`.
fn start_function(runtime_api: &str, variables: &Variables, log: &Output) -> Result<Running> {
    let mut command = Command::new(release_binary(FUNCTION)?);
    command
        .env_clear()
        .env("AWS_LAMBDA_RUNTIME_API", runtime_api)
        .env("AWS_LAMBDA_FUNCTION_NAME", FUNCTION)
        .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512")
        .env("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/replicator")
        .env("AWS_LAMBDA_LOG_STREAM_NAME", "test")
        .env("AWS_REGION", REGION)
        .envs(variables);
    Running::spawn_into(&mut command, log.clone(), log.clone())
}

/// The function behind a Lambda of our own: with deadlines, kills and cold starts.
///
/// It answers `invoke` as Lambda's Invoke API does: status 200, and the header
/// `x-amz-function-error` with an error object where the function failed, ran out of time
/// (`Sandbox.Timedout`) or died (`Runtime.ExitError`). Invocations run one after another.
pub struct RuntimeApi {
    variables: Variables,
    timeout: Duration,
    log: Output,
    environment: Mutex<Option<Environment>>,
}

impl RuntimeApi {
    /// A Lambda whose invocations may take `timeout`. The function starts with the first one.
    pub fn new<N: Into<String>, V: Into<String>>(
        environment: impl IntoIterator<Item = (N, V)>,
        timeout: Duration,
    ) -> RuntimeApi {
        RuntimeApi {
            variables: variables(environment),
            timeout,
            log: Output::default(),
            environment: Mutex::new(None),
        }
    }

    /// Invokes the function with `event`, starting it when it does not run, and waits.
    pub async fn invoke(&self, event: &serde_json::Value) -> Result<Answer> {
        let mut slot = self.environment.lock().await;
        let mut environment = match slot.take() {
            Some(warm) => warm,
            None => Environment::cold_start(&self.variables, &self.log).await?,
        };
        let answer = environment.invoke(event.to_string(), self.timeout).await?;
        // One that timed out or died is not used again: dropping it kills what is left of it.
        if !environment.is_spent() {
            *slot = Some(environment);
        }
        Ok(answer)
    }

    /// All that the function has logged so far, over all its starts.
    pub fn log(&self) -> String {
        self.log.text()
    }
}

/// The function behind `cargo lambda watch`.
pub struct LambdaEmulator {
    // In the order in which they have to be dropped.
    function: Mutex<Running>,
    _emulator: Running,
    _project: TempDir,
    port: u16,
    log: Output,
}

impl LambdaEmulator {
    /// Starts the emulator and the function, with these environment variables only (and those
    /// that Lambda itself sets).
    pub async fn start<N: Into<String>, V: Into<String>>(
        environment: impl IntoIterator<Item = (N, V)>,
    ) -> Result<LambdaEmulator> {
        let project = empty_project()?;
        let port = free_port()?;
        let mut emulator = Running::spawn(
            Command::new(tool("venv/bin/cargo-lambda")?)
                .args(["lambda", "watch", "--only-lambda-apis"])
                .args(["--invoke-address", "127.0.0.1"])
                .args(["--invoke-port", &port.to_string()])
                .current_dir(project.path()),
        )?;
        // Its paths all wait for a function, so that it listens is all that can be asked.
        emulator
            .until("listening", Duration::from_secs(30), async |_| {
                TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_ok()
            })
            .await?;
        let log = Output::default();
        // With its scheme: an address that has a path is no URI without one.
        let runtime_api = format!("http://127.0.0.1:{port}/.rt/{FUNCTION}");
        let function = start_function(&runtime_api, &variables(environment), &log)?;
        Ok(LambdaEmulator {
            function: Mutex::new(function),
            _emulator: emulator,
            _project: project,
            port,
            log,
        })
    }

    /// Invokes the function with `event` and waits, for a quarter of an hour at most; that the
    /// function ends is an error, for the emulator would wait for another one.
    pub async fn invoke(&self, event: &serde_json::Value) -> Result<Answer> {
        let limit = Duration::from_secs(900);
        let body = event.to_string();
        tokio::select! {
            answer = http::request(Method::POST, self.port, INVOCATIONS, body, limit) => answer,
            ended = self.end_of_function() => {
                bail!("the function ended ({}); its log:\n{}", ended?, self.log())
            }
        }
    }

    async fn end_of_function(&self) -> Result<ExitStatus> {
        loop {
            if let Some(status) = self.function.lock().await.try_wait()? {
                return Ok(status);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// All that the function has logged so far.
    pub fn log(&self) -> String {
        self.log.text()
    }
}

/// A package without dependencies: cargo-lambda asks cargo about the one it is started in, and
/// in this workspace that would wait for every other build.
fn empty_project() -> Result<TempDir> {
    let project = tempfile::Builder::new().prefix("lambda-").tempdir()?;
    std::fs::create_dir(project.path().join("src"))?;
    std::fs::write(project.path().join("src/main.rs"), "fn main() {}\n")?;
    std::fs::write(
        project.path().join("Cargo.toml"),
        "[package]\nname = \"replicator\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n",
    )?;
    Ok(project)
}

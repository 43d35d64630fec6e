//! The command `local-runner`, run as a user runs it.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::process::{Finished, Running};
use crate::release_binary;

/// Arguments and environment of a run of the release binary `local-runner`.
///
/// The environment of the tests does not reach it: only what is set here, so that nobody's
/// credentials or regions decide what a test shows.
#[derive(Clone, Debug, Default)]
pub struct LocalRunner {
    arguments: Vec<String>,
    environment: BTreeMap<String, String>,
    limit: Option<Duration>,
}

impl LocalRunner {
    /// A run with these arguments, and an empty environment.
    pub fn new<A: Into<String>>(arguments: impl IntoIterator<Item = A>) -> LocalRunner {
        LocalRunner { arguments: arguments.into_iter().map(Into::into).collect(), ..LocalRunner::default() }
    }

    /// Adds a variable to its environment.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> LocalRunner {
        self.environment.insert(name.into(), value.into());
        self
    }

    /// Adds variables to its environment.
    #[must_use]
    pub fn envs<N: Into<String>, V: Into<String>>(
        mut self,
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> LocalRunner {
        for (name, value) in variables {
            self = self.env(name, value);
        }
        self
    }

    /// How long [`run`](LocalRunner::run) waits for it; two minutes unless set.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> LocalRunner {
        self.limit = Some(limit);
        self
    }

    /// Starts it and does not wait: for tests that send it signals.
    pub fn spawn(&self) -> Result<Running> {
        let mut command = Command::new(release_binary("local-runner")?);
        command.args(&self.arguments).env_clear().envs(&self.environment);
        Running::spawn(&mut command)
    }

    /// Runs it to its end, whatever its exit code.
    pub async fn run(&self) -> Result<Finished> {
        let limit = self.limit.unwrap_or(Duration::from_secs(120));
        self.spawn()?.wait(limit).await
    }
}

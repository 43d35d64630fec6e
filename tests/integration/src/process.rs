//! Child processes: their output is kept, they are waited for with a deadline, and none of
//! them outlives its value.

use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// How often a condition is looked at again.
pub(crate) const POLL: Duration = Duration::from_millis(5);

/// What a child has written so far to one of its outputs; clones share it.
#[derive(Clone, Default)]
pub(crate) struct Output(Arc<Mutex<String>>);

impl Output {
    pub(crate) fn text(&self) -> String {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads `from` on a thread of its own, so that a child never waits on a full pipe.
    fn collect(&self, from: impl Read + Send + 'static) -> JoinHandle<()> {
        let output = self.clone();
        std::thread::spawn(move || {
            let mut reader = BufReader::new(from);
            let mut line = Vec::new();
            while matches!(reader.read_until(b'\n', &mut line), Ok(1..)) {
                output.lock().push_str(&String::from_utf8_lossy(&line));
                line.clear();
            }
        })
    }
}

/// A child process that runs; dropping it kills it.
pub struct Running {
    name: String,
    child: Child,
    stdout: Output,
    stderr: Output,
    readers: Vec<JoinHandle<()>>,
    peak_memory: Option<u64>,
}

/// A child process that has ended by itself or by a signal.
#[derive(Debug)]
pub struct Finished {
    /// How it ended; `status.code()` is `None` after a signal.
    pub status: ExitStatus,
    /// All that it wrote to its standard output.
    pub stdout: String,
    /// All that it wrote to its standard error.
    pub stderr: String,
    /// The most memory it was seen to hold, in bytes (Linux only; looked at every few
    /// milliseconds, and the kernel keeps the peak, so only the very last moment can be missed).
    pub peak_memory: Option<u64>,
}

impl Running {
    /// Starts `command` without standard input.
    pub(crate) fn spawn(command: &mut Command) -> Result<Running> {
        Running::spawn_into(command, Output::default(), Output::default())
    }

    /// Starts `command` and appends what it writes to outputs that others read as well.
    pub(crate) fn spawn_into(command: &mut Command, stdout: Output, stderr: Output) -> Result<Running> {
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("{name} could not be started"))?;
        let readers = [
            child.stdout.take().map(|pipe| stdout.collect(pipe)),
            child.stderr.take().map(|pipe| stderr.collect(pipe)),
        ];
        Ok(Running {
            name,
            child,
            stdout,
            stderr,
            readers: readers.into_iter().flatten().collect(),
            peak_memory: None,
        })
    }

    /// What it has written to its standard output so far.
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// What it has written to its standard error so far.
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Sends it a signal by its process id.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(Pid::from_child(&self.child), signal)
            .with_context(|| format!("{} could not be sent {signal:?}", self.name))
    }

    /// Its exit status, if it has ended.
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>> {
        self.peak_memory = peak_memory(self.child.id()).or(self.peak_memory);
        self.child.try_wait().with_context(|| format!("{} could not be waited for", self.name))
    }

    /// Waits until it ends, for `limit` at most; after that it is killed, and an error.
    pub async fn wait(mut self, limit: Duration) -> Result<Finished> {
        let deadline = Instant::now() + limit;
        let status = loop {
            if let Some(status) = self.try_wait()? {
                break status;
            }
            if Instant::now() >= deadline {
                bail!("{} still ran after {limit:?}\n{}", self.name, self.said());
            }
            tokio::time::sleep(POLL).await;
        };
        // The pipes are read to their ends before what came through them is handed out.
        for reader in self.readers.drain(..) {
            let _ = tokio::task::spawn_blocking(move || reader.join()).await;
        }
        Ok(Finished {
            status,
            stdout: self.stdout.text(),
            stderr: self.stderr.text(),
            peak_memory: self.peak_memory,
        })
    }

    /// Waits until `condition` holds for it, for `limit` at most. That it ends before is an
    /// error at once, with its output.
    pub async fn until(
        &mut self,
        what: &str,
        limit: Duration,
        mut condition: impl AsyncFnMut(&Running) -> bool,
    ) -> Result<()> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.try_wait()? {
                bail!("{} ended ({status}) before {what}\n{}", self.name, self.said());
            }
            if condition(self).await {
                return Ok(());
            }
            if Instant::now() >= deadline {
                bail!("{}: not {what} after {limit:?}\n{}", self.name, self.said());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn said(&self) -> String {
        format!("stdout:\n{}\nstderr:\n{}", self.stdout(), self.stderr())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // An error means that it has ended already. Waiting leaves no zombie, and lets the
        // owner of its data folder remove it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that was free a moment ago. Another process may take it meanwhile: whoever starts
/// a server on it tries again with another one.
pub(crate) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
    Ok(listener.local_addr()?.port())
}

/// The peak resident memory of a process in bytes, as Linux keeps it.
fn peak_memory(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

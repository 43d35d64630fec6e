//! Ctrl-C and SIGTERM in the middle of a multipart copy.
#![cfg(unix)]

use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use s3_sim::{Config, Fault, FaultKind, Latency, Object};

use crate::world::{CUSTOMER, DUMPS, World, assert_contains};

const LIMIT: Duration = Duration::from_secs(30);

/// A dump whose parts each take minutes.
fn slow_world() -> World {
    let latency = Latency { part_copy_bytes_per_second: Some(64 << 10), ..Latency::default() };
    let world = World::with(Config { latency, ..Config::default() });
    world.state().put(DUMPS, "zz-large.dump", Object::virtual_bytes(5, 160 << 20).with_part_size(16 << 20));
    world
}

/// Starts a run and waits until the parts of the large dump are being copied.
fn start(world: &World) -> Running {
    let run = Running::replicate(world);
    until("the parts are being copied", || {
        world.copies().len() == 3 && world.sim.counters().get("UploadPartCopy") == 10
    });
    assert_eq!(world.state().open_uploads(CUSTOMER).len(), 1);
    run
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < LIMIT, "not within {LIMIT:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A child that does not outlive its test.
struct Running(Child);

impl Running {
    fn replicate(world: &World) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_local-runner"));
        command.env_clear().envs(world.environment()).arg("replicate");
        command.args(["--database-bucket", DUMPS, "--destination-bucket", CUSTOMER]);
        Self(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started"))
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).expect("it still runs");
    }

    /// Waits for its end; the time that took.
    fn end(&mut self) -> (ExitStatus, Duration) {
        let began = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().expect("a child") {
                return (status, began.elapsed());
            }
            assert!(began.elapsed() < LIMIT, "it still runs after {LIMIT:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn stdout(&mut self) -> String {
        read(self.0.stdout.take().expect("piped"))
    }

    fn stderr(&mut self) -> String {
        read(self.0.stderr.take().expect("piped"))
    }
}

fn read(mut pipe: impl Read) -> String {
    let mut text = String::new();
    pipe.read_to_string(&mut text).expect("UTF-8");
    text
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_signal_ends_a_run_within_seconds_with_its_report_and_leaves_its_upload_to_the_next() {
    for signal in [Signal::TERM, Signal::INT] {
        let world = slow_world();
        let mut run = start(&world);
        run.signal(signal);
        let (status, took) = run.end();
        assert_eq!(status.code(), Some(1), "{signal:?}");
        assert!(took < Duration::from_secs(10), "{signal:?} took {took:?}");
        assert_eq!(world.state().open_uploads(CUSTOMER).len(), 1);
        assert_eq!(world.copies().len(), 3, "what was finished stays");
        assert_contains(&run.stdout(), &["interrupted  1", "3 new", "Stopped: run again to go on"]);
    }
}

#[test]
fn a_stopped_run_is_finished_by_the_next() {
    let world = slow_world();
    let mut run = start(&world);
    run.signal(Signal::INT);
    run.end();
    world.state().put(DUMPS, "zz-large.dump", Object::virtual_bytes(6, 1 << 20));
    let next = world.replicate(&["--source", "database"]).assert().code(0);
    assert_contains(&crate::world::stdout(&next), &["already there  3", "1 new"]);
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let world = slow_world();
    let mut run = start(&world);
    let written = world.sim.counters().get("PutObject");
    world.sim.add_fault(Fault::rate("PutObject", FaultKind::Hang, 1.0));
    run.signal(Signal::INT);
    until("what is left is being written", || world.sim.counters().get("PutObject") > written);
    run.signal(Signal::INT);
    let (status, took) = run.end();
    assert_eq!(status.code(), Some(1));
    assert!(took < Duration::from_secs(1), "took {took:?}");
    assert_eq!(run.stdout(), "", "it did not wait for its report");
}

#[test]
fn a_signal_before_the_first_page_says_that_nothing_was_written() {
    let latency = Latency { list: 2 * LIMIT, ..Latency::default() };
    let world = World::with(Config { latency, ..Config::default() });
    let mut run = Running::replicate(&world);
    until("a listing is under way", || world.sim.counters().get("ListObjectsV2") > 0);
    run.signal(Signal::INT);
    let (status, took) = run.end();
    assert_eq!(status.code(), Some(1));
    assert!(took < Duration::from_secs(10), "took {took:?}");
    assert_contains(&run.stderr(), &["error: stopped before anything was looked at; nothing was written"]);
    world.assert_nothing_written();
}

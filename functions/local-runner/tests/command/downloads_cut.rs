//! Downloads that are killed, and disks that are full.
#![cfg(target_os = "linux")]

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use s3_sim::{Fault, FaultKind};

use crate::downloads::{BUCKET, MIB, Shelf, noise};
use crate::world::{assert_contains, stderr, stdout};

const LIMIT: Duration = Duration::from_secs(30);

/// A child that does not outlive its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What an unfinished download keeps, of the given kind.
fn kept(shelf: &Shelf, ending: &str) -> Option<PathBuf> {
    let folder = fs::read_dir(shelf.to().join(".local-runner-download")).ok()?;
    folder.filter_map(|entry| Some(entry.ok()?.path())).find(|path| path.to_string_lossy().ends_with(ending))
}

/// Downloads an object of four pieces until two of them are there, then kills it.
fn killed() -> (Shelf, Vec<u8>) {
    let bytes = noise(5, 60 * MIB);
    let shelf = Shelf::new(&[("large", &bytes)]);
    shelf.world.sim.add_fault(Fault::kth("GetObject", 2, FaultKind::Hang));
    shelf.world.sim.add_fault(Fault::kth("GetObject", 4, FaultKind::Hang));
    let mut command = Command::new(env!("CARGO_BIN_EXE_local-runner"));
    command.env_clear().envs(shelf.world.environment()).args(["download", "--bucket", BUCKET, "--to"]);
    let child = command.arg(shelf.to()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("started");
    let mut running = Running(child);
    let began = Instant::now();
    let pieces = || {
        let state = kept(&shelf, ".state").and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default();
        state.matches("crc64nvme").count()
    };
    while pieces() < 2 {
        assert!(began.elapsed() < LIMIT, "not two pieces within {LIMIT:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
    running.0.kill().expect("SIGKILL");
    running.0.wait().expect("ended");
    assert!(!shelf.to().join("large").exists(), "half a file under its final name");
    shelf.world.sim.clear_faults();
    shelf.world.sim.reset_counters();
    (shelf, bytes)
}

#[test]
fn a_killed_download_is_continued_with_what_is_missing() {
    let (shelf, bytes) = killed();
    shelf.command(&[]).assert().code(0);
    assert_eq!(shelf.world.sim.counters().get("GetObject"), 2, "two of four pieces were here");
    assert_eq!(shelf.files().into_iter().collect::<Vec<_>>(), [("large".to_owned(), bytes)]);
}

#[test]
fn a_piece_that_rotted_on_the_disk_is_fetched_again() {
    let (shelf, bytes) = killed();
    let part = kept(&shelf, ".part").expect("kept");
    // All is nonsense, as after a crash that lost what was not yet on the disk.
    fs::write(&part, vec![0; bytes.len()]).expect("written");
    shelf.command(&[]).assert().code(0);
    assert_eq!(shelf.world.sim.counters().get("GetObject"), 4);
    assert_eq!(shelf.files()["large"], bytes);
}

#[test]
fn what_was_begun_of_another_object_is_not_continued() {
    let (shelf, _) = killed();
    let other = noise(6, 60 * MIB);
    shelf.put("large", &other);
    shelf.command(&[]).assert().code(0);
    assert_eq!(shelf.world.sim.counters().get("GetObject"), 4);
    assert_eq!(shelf.files()["large"], other);
}

#[test]
fn a_full_disk_ends_the_download_with_no_half_written_file() {
    let large = noise(9, 20 * MIB);
    let shelf = Shelf::new(&[("a-small", b"x"), ("large", &large), ("middle", &large[..6 * MIB])]);
    // A file system of 4 MiB that only this process sees, and what is in it at the end.
    let script = r#"mount -t tmpfs -o size=4m none "$0" && "$@"; code=$?; cd "$0" && find . -type f | sort; exit $code"#;
    let mut command = assert_cmd::Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c", script]).arg(shelf.to());
    command.arg(env!("CARGO_BIN_EXE_local-runner")).args(["download", "--quiet", "--bucket", BUCKET, "--to"]);
    command
        .arg(shelf.to())
        .env_clear()
        .envs(shelf.world.environment())
        .env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin");
    let run = command.assert().code(1);
    assert_contains(
        &stdout(&run),
        &["Failed: the directory cannot be written to: No space left on device", "make room, then run again"],
    );
    for name in ["./large\n", "./middle\n"] {
        assert!(!stdout(&run).contains(name), "{}", stdout(&run));
    }
}

#[test]
fn a_file_that_may_not_grow_fails_alone() {
    let shelf = Shelf::new(&[("large", &noise(9, MIB)), ("small", b"x")]);
    let mut command = assert_cmd::Command::new("sh");
    command.args(["-c", r#"trap '' XFSZ; ulimit -f 1000; exec "$0" "$@""#]);
    command.arg(env!("CARGO_BIN_EXE_local-runner")).args(["download", "--quiet", "--bucket", BUCKET, "--to"]);
    let run = command.arg(shelf.to()).env_clear().envs(shelf.world.environment()).assert().code(3);
    assert_contains(
        &stdout(&run),
        &["not downloaded: large", "larger than may be written here", "FAT holds 4 GiB"],
    );
    assert_eq!(stderr(&run), "");
    assert_eq!(shelf.files().into_keys().collect::<Vec<_>>(), ["small"]);
}

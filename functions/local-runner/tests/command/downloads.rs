//! `local-runner download`: what arrives is what is in the bucket, or it is said what did not.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use assert_cmd::Command;
use s3_sim::{ChecksumAlgorithm, Fault, FaultKind, Object, StorageClass};
use serde_json::Value;
use tempfile::TempDir;

use std::io::{Read, Write};
use std::net::TcpListener;

use crate::world::{World, assert_contains, stderr, stdout};

pub(crate) const BUCKET: &str = "backups";
pub(crate) const MIB: usize = 1 << 20;

/// A bucket with real bytes, and a directory to download into.
pub(crate) struct Shelf {
    pub(crate) world: World,
    folder: TempDir,
}

impl Shelf {
    pub(crate) fn new(keys: &[(&str, &[u8])]) -> Self {
        let world = World::new();
        world.state().create_bucket(BUCKET);
        let shelf = Self { world, folder: tempfile::tempdir().expect("a folder") };
        fs::create_dir(shelf.to()).expect("made");
        for (key, bytes) in keys {
            shelf.put(key, bytes);
        }
        shelf
    }

    pub(crate) fn put(&self, key: &str, bytes: &[u8]) {
        self.world.state().put(BUCKET, key, Object::bytes(bytes.to_vec()));
    }

    /// Below a folder that nothing may be written to.
    pub(crate) fn to(&self) -> PathBuf {
        self.folder.path().join("restored")
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = self.world.command("download", &["--bucket", BUCKET, "--quiet"]);
        command.arg("--to").arg(self.to()).args(args);
        command
    }

    /// Every file below the directory, by its path.
    pub(crate) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        files(&self.to())
    }

    #[track_caller]
    pub(crate) fn assert_has(&self, expected: &[(&str, &[u8])]) {
        let expected = expected.iter().map(|(path, bytes)| ((*path).to_owned(), bytes.to_vec())).collect();
        assert_eq!(self.files(), expected);
        let others: Vec<_> = entries(self.folder.path()).filter(|path| *path != self.to()).collect();
        assert_eq!(others, Vec::<PathBuf>::new(), "beside the directory");
    }
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path())
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for path in entries(folder) {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if path.is_dir() && !path.is_symlink() {
            found.extend(files(&path).into_iter().map(|(below, bytes)| (format!("{name}/{below}"), bytes)));
        } else {
            found.insert(name, fs::read(&path).unwrap_or_default());
        }
    }
    found
}

/// Bytes that do not repeat.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.flatten().take(length).collect()
}

#[test]
fn the_vendors_own_flags_work_as_they_are_spelled_there() {
    for (bucket, key, secret, to, create, overwrite) in [
        ("-b", "-a", "-s", "-t", "-f", "-o"),
        (
            "--aidi-backup-bucket",
            "--aidi-backup-access-key",
            "--aidi-backup-secret-key",
            "--target-directory",
            "--force-create-directory",
            "--overwrite-existing-files",
        ),
        ("--bucket", "--access-key", "--secret-key", "--to", "--create", "--overwrite"),
    ] {
        let shelf = Shelf::new(&[("2026/11/20.sql", b"dump"), ("plain", b"new")]);
        let target = shelf.to().join("made/here");
        let target = target.to_str().expect("UTF-8");
        let with_secret = [bucket, BUCKET, key, "sim-access-key", secret, "sim-secret-key", to, target];
        let run = |more: &[&str]| {
            let mut command = shelf.world.command("download", &with_secret);
            command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY").args(more);
            command.assert()
        };
        let missing = run(&[create, "false"]).code(2);
        assert_contains(&stderr(&missing), &["there is no directory", "-f true"]);
        shelf.assert_has(&[]);

        let made = run(&[create, "true", overwrite, "false"]).code(0);
        assert_contains(&stderr(&made), &["warning: ", "set AIDI_BACKUP_SECRET_KEY"]);
        assert!(!stderr(&made).contains("sim-secret-key"), "{}", stderr(&made));
        shelf.assert_has(&[("made/here/2026/11/20.sql", b"dump"), ("made/here/plain", b"new")]);

        fs::write(shelf.to().join("made/here/plain"), "longer than it was").expect("written");
        run(&[overwrite, "false"]).code(3);
        run(&[overwrite, "true"]).code(0);
        shelf.assert_has(&[("made/here/2026/11/20.sql", b"dump"), ("made/here/plain", b"new")]);
    }
}

#[test]
fn the_secret_key_is_better_read_from_the_environment() {
    let shelf = Shelf::new(&[("plain", b"x")]);
    let run = |secret: &str| {
        let mut command = shelf.command(&["-a", "sim-access-key"]);
        command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
        command.env("AIDI_BACKUP_SECRET_KEY", secret).assert()
    };
    let wrong = run("not-the-secret").code(1);
    assert_contains(&stderr(&wrong), &["check --access-key (-a) and AIDI_BACKUP_SECRET_KEY"]);
    assert!(!stderr(&wrong).contains("not-the-secret"), "{}", stderr(&wrong));
    shelf.assert_has(&[]);
    let right = run("sim-secret-key").code(0);
    assert_eq!(stderr(&right), "");
    shelf.assert_has(&[("plain", b"x")]);
    for (args, part) in [(["-a", "k"], "AIDI_BACKUP_SECRET_KEY"), (["-s", "k"], "--access-key")] {
        assert_contains(&stderr(&shelf.command(&args).assert().code(2)), &[part]);
    }
}

#[test]
fn a_bucket_arrives_with_its_times_and_is_not_fetched_twice() {
    let large = noise(7, 40 * MIB);
    let shelf = Shelf::new(&[
        ("2026/11/20.sql", b"dump"),
        ("empty", b""),
        ("folder/", b""),
        ("large", &large),
        ("middle", &large[..3 * MIB]),
        ("été/日本 + %2F.pdf", b"x"),
    ]);
    let first = shelf.command(&[]).assert().code(0);
    assert_contains(
        &stdout(&first),
        &[
            "downloaded  5",
            "folders     1",
            "verified by CRC64NVME",
            "Complete: the directory has everything",
        ],
    );
    shelf.assert_has(&[
        ("2026/11/20.sql", b"dump"),
        ("empty", b""),
        ("large", &large),
        ("middle", &large[..3 * MIB]),
        ("été/日本 + %2F.pdf", b"x"),
    ]);
    assert!(shelf.to().join("folder").is_dir());
    for key in ["large", "empty"] {
        let modified = fs::metadata(shelf.to().join(key)).and_then(|file| file.modified()).expect("a time");
        assert_eq!(seconds(modified), seconds(object(&shelf, key).last_modified), "{key}");
    }

    shelf.put("empty", b"not any more");
    shelf.world.sim.reset_counters();
    let second = shelf.command(&["--overwrite"]).assert().code(0);
    assert_contains(&stdout(&second), &["already here  4", "downloaded    1"]);
    let counters = shelf.world.sim.counters();
    assert_eq!((counters.get("ListObjectsV2"), counters.get("GetObject"), counters.total()), (1, 1, 2));

    shelf.world.sim.reset_counters();
    shelf.command(&[]).assert().code(0);
    assert_eq!(shelf.world.sim.counters().get("ListObjectsV2"), shelf.world.sim.counters().total());
}

fn object(shelf: &Shelf, key: &str) -> s3_sim::ObjectSnapshot {
    shelf.world.state().object(BUCKET, key).expect("in the bucket")
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs()
}

#[test]
fn a_prefix_is_left_out_of_the_paths_as_far_as_its_last_slash() {
    let shelf = Shelf::new(&[("db/2026/20.sql", b"20"), ("db/2026/21.sql", b"21"), ("dc", b"x")]);
    let nothing = shelf.command(&["--prefix", "bd/"]).assert().code(3);
    assert_contains(&stdout(&nothing), &["Not complete: there is no object below s3://backups/bd/; check"]);
    shelf.command(&["--prefix", "db/2026/2"]).assert().code(0);
    shelf.assert_has(&[("20.sql", b"20"), ("21.sql", b"21")]);
    shelf.command(&["--prefix", "db/"]).assert().code(0);
    assert!(shelf.to().join("2026/21.sql").is_file());
}

#[test]
fn what_differs_is_kept_unless_it_is_to_be_replaced() {
    let shelf = Shelf::new(&[("same", b"12345"), ("other", b"12345"), ("longer", b"12345")]);
    fs::write(shelf.to().join("same"), "12345").expect("written");
    fs::write(shelf.to().join("other"), "abcde").expect("written");
    fs::write(shelf.to().join("longer"), "1234567").expect("written");
    for name in ["same", "other"] {
        let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let file = fs::File::options().append(true).open(shelf.to().join(name)).expect("there");
        file.set_modified(long_ago).expect("set back");
    }
    let kept = shelf.command(&[]).assert().code(3);
    assert_contains(
        &stdout(&kept),
        &[
            "already here  1",
            "kept          2",
            "not downloaded: longer\n    the file that is here differs, and was kept",
            "what to do: say --overwrite (-o true)",
            "Not complete: 2 objects not replaced.",
        ],
    );
    shelf.assert_has(&[("same", b"12345"), ("other", b"abcde"), ("longer", b"1234567")]);
    assert_eq!(shelf.world.sim.counters().get("GetObject"), 0);
    shelf.command(&["--overwrite"]).assert().code(0);
    shelf.assert_has(&[("same", b"12345"), ("other", b"12345"), ("longer", b"12345")]);
}

#[test]
fn a_file_that_rotted_is_found_by_its_content() {
    let shelf = Shelf::new(&[("dump", b"12345")]);
    shelf.command(&[]).assert().code(0);
    let path = shelf.to().join("dump");
    let time = fs::metadata(&path).and_then(|file| file.modified()).expect("a time");
    fs::write(&path, "1234x").expect("written");
    fs::File::options().append(true).open(&path).and_then(|file| file.set_modified(time)).expect("set back");
    shelf.command(&[]).assert().code(0);
    shelf.assert_has(&[("dump", b"1234x")]);
    shelf.command(&["--checksum"]).assert().code(3);
    shelf.command(&["--checksum", "--overwrite"]).assert().code(0);
    shelf.assert_has(&[("dump", b"12345")]);
    shelf.command(&["--checksum"]).assert().code(0);
}

/// As a machine leaves it that crashed before all was on its disk.
#[test]
fn a_file_that_lacks_its_end_is_fetched_again() {
    let shelf = Shelf::new(&[("dump", b"12345")]);
    shelf.command(&[]).assert().code(0);
    let path = shelf.to().join("dump");
    let time = fs::metadata(&path).and_then(|file| file.modified()).expect("a time");
    for torn in ["", "123"] {
        fs::write(&path, torn).expect("written");
        fs::File::options()
            .append(true)
            .open(&path)
            .and_then(|file| file.set_modified(time))
            .expect("set back");
        shelf.command(&[]).assert().code(0);
        shelf.assert_has(&[("dump", b"12345")]);
    }
}

#[test]
fn keys_without_a_place_are_reported_and_nothing_leaves_the_directory() {
    let long = "x".repeat(256);
    let bad: [&str; 11] = [
        "../escaped",
        "/absolute",
        "a/../../escaped",
        "a//b",
        "./dot",
        "nul\0here",
        "file/below",
        "link/escaped",
        ".local-runner-download/lock",
        "pointer",
        &long,
    ];
    let shelf = Shelf::new(&[("file", b"kept"), ("good", b"x")]);
    for key in bad {
        shelf.put(key, b"escaped");
    }
    shelf.put("full/", b"escaped");
    let outside = tempfile::tempdir().expect("a folder");
    link(outside.path(), &shelf.to().join("link"));
    link(&outside.path().join("made"), &shelf.to().join("pointer"));
    // One after the other, so that of `file` and `file/below` the first gets its name.
    let run = shelf.command(&["--json", "--overwrite", "--max-in-flight", "1"]).assert().code(3);
    let report: Value = serde_json::from_str(&stdout(&run)).expect("JSON");
    let mut named: Vec<_> = report["problems"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| one["key"].as_str().expect("a key"))
        .collect();
    named.sort_unstable();
    let mut expected: Vec<_> = bad.into_iter().chain(["full/"]).collect();
    expected.sort_unstable();
    assert_eq!(named, expected);
    assert_eq!(report["status"], "objects_missing");
    assert_eq!(report["failed"]["objects"], 12);
    assert_eq!(fs::read(shelf.to().join("good")).expect("there"), b"x");
    assert_eq!(fs::read(shelf.to().join("file")).expect("there"), b"kept");
    assert_eq!(entries(outside.path()).count(), 0, "something was written through a link");
    assert_eq!(entries(shelf.folder.path()).count(), 1, "something was written beside the directory");
}

#[cfg(unix)]
fn link(to: &Path, at: &Path) {
    std::os::unix::fs::symlink(to, at).expect("linked");
}

#[cfg(windows)]
fn link(to: &Path, at: &Path) {
    std::os::windows::fs::symlink_dir(to, at).expect("linked");
}

#[test]
fn errors_and_broken_answers_are_tried_again() {
    let large = noise(3, 20 * MIB);
    let shelf = Shelf::new(&[("a", b"1"), ("b", b"2"), ("c", b"3"), ("large", &large)]);
    for (k, kind) in [
        (1, FaultKind::InternalError),
        (2, FaultKind::SlowDown),
        (3, FaultKind::CutBody),
        (4, FaultKind::CutBefore),
        (6, FaultKind::CutBody),
    ] {
        shelf.world.sim.add_fault(Fault::kth("GetObject", k, kind));
    }
    shelf.world.sim.add_fault(Fault::kth("HeadObject", 1, FaultKind::InternalError));
    shelf.command(&[]).assert().code(0);
    shelf.assert_has(&[("a", b"1"), ("b", b"2"), ("c", b"3"), ("large", &large)]);
}

#[test]
fn bytes_that_are_not_the_objects_get_no_name() {
    let shelf = Shelf::new(&[("good", b"x")]);
    // Their ETags are not those of the bytes that are served.
    let rotten =
        |seed, mib: u64| Object::virtual_bytes(seed, mib << 20).with_checksum(ChecksumAlgorithm::Sha1);
    for (key, object) in [
        ("rotten", rotten(1, 1)),
        ("rotten-crc", Object::virtual_bytes(2, 20 << 20)),
        ("rotten-large", rotten(3, 20)),
        ("rotten-parts", rotten(4, 20).with_part_size(8 << 20)),
    ] {
        shelf.world.state().put(BUCKET, key, object);
    }
    let run = shelf.command(&[]).assert().code(3);
    assert_contains(
        &stdout(&run),
        &[
            "not downloaded: rotten\n    what arrives is not the object, by its MD5 (5 times)",
            "not downloaded: rotten-crc\n    what arrives is not the object, by its CRC64NVME (5 times)",
            "not downloaded: rotten-large\n    what arrives is not the object, by its MD5 (5 times)",
            "not downloaded: rotten-parts\n    what arrives is not the object, by its MD5 of its parts (5 times)",
            "4 objects failed.",
        ],
    );
    shelf.assert_has(&[("good", b"x")]);
}

#[test]
fn an_object_that_is_overwritten_meanwhile_arrives_as_it_is_at_last() {
    let (before, after) = (noise(1, 50 * MIB), noise(2, 40 * MIB));
    let shelf = Shelf::new(&[("large", &before), ("small", b"before")]);
    let now = after.clone();
    shelf.world.sim.on_request(move |event, state| {
        if event.operation == "GetObject" && event.is_before() && event.nth == 2 {
            state.put(BUCKET, "large", Object::bytes(now.clone()));
            state.put(BUCKET, "small", Object::bytes("after"));
        }
    });
    shelf.command(&["--max-in-flight", "1"]).assert().code(0);
    shelf.assert_has(&[("large", &after), ("small", b"after")]);
}

#[test]
fn archived_objects_are_named_with_how_to_restore_them() {
    let shelf = Shelf::new(&[("cold", b"x"), ("warm", b"y")]);
    shelf.world.state().archive(BUCKET, "cold", StorageClass::DeepArchive);
    let run = shelf.command(&[]).assert().code(3);
    assert_contains(
        &stdout(&run),
        &["archived    1", "not downloaded: cold", "aws s3api restore-object", "1 object archived."],
    );
    shelf.assert_has(&[("warm", b"y")]);
}

#[test]
fn what_cannot_be_meant_or_reached_is_said_before_anything_is_written() {
    let shelf = Shelf::new(&[]);
    for (args, code, part) in [
        (&["--bucket", "no-such-bucket"][..], 1, "there is no such bucket"),
        (&["--bucket", "s3://backups"], 2, "without s3://"),
        (&["--endpoint-url", "minio:9000"], 2, "write it like http://"),
        (&["--max-in-flight", "0"], 2, "1..=10000"),
        (&["-o", "maybe"], 2, "true, false"),
    ] {
        let mut command = shelf.world.command("download", &["--quiet", "--to"]);
        command.arg(shelf.to()).args(args);
        if !args.contains(&"--bucket") {
            command.args(["--bucket", BUCKET]);
        }
        assert_contains(&stderr(&command.assert().code(code)), &[part]);
        shelf.assert_has(&[]);
    }
    let nowhere = shelf.world.command("download", &["--to", "."]).assert().code(2);
    assert_contains(&stderr(&nowhere), &["no bucket: say --bucket (-b)"]);
}

#[test]
fn a_server_that_goes_away_is_known_and_the_run_can_be_repeated() {
    let keys: Vec<String> = (0..100).map(|number| format!("{number:03}")).collect();
    let shelf = Shelf::new(&[]);
    keys.iter().for_each(|key| shelf.put(key, key.as_bytes()));
    shelf.world.sim.add_fault(Fault::rate("GetObject", FaultKind::CutBefore, 1.0));
    let run = shelf.command(&["--max-in-flight", "8"]).timeout(Duration::from_secs(120)).assert().code(1);
    assert_contains(&stdout(&run), &["Failed: GetObject answered", "the endpoint does not answer"]);
    shelf.assert_has(&[]);
    shelf.world.sim.clear_faults();
    shelf.command(&[]).assert().code(0);
    assert_eq!(shelf.files().len(), 100);
}

/// A bucket in eu-central-1 that holds `dump`, seen from anywhere.
fn abroad() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut request = Vec::new();
                let mut bytes = [0; 4096];
                while let Ok(read @ 1..) = stream.read(&mut bytes) {
                    request.extend_from_slice(&bytes[..read]);
                    if !request.ends_with(b"\r\n\r\n") {
                        continue;
                    }
                    let text = String::from_utf8_lossy(&request).into_owned();
                    request.clear();
                    let (status, body) = if !text.contains("/eu-central-1/s3/") {
                        ("301 Moved Permanently", "<Error><Code>PermanentRedirect</Code></Error>")
                    } else if text.contains("list-type=2") {
                        (
                            "200 OK",
                            "<ListBucketResult><Name>backups</Name><IsTruncated>false</IsTruncated><Contents>\
                             <Key>dump</Key><Size>1</Size><ETag>\"0cc175b9c0f1b6a831c399e269772661\"</ETag>\
                             <LastModified>2026-11-20T03:00:00.000Z</LastModified></Contents></ListBucketResult>",
                        )
                    } else {
                        ("200 OK", "a")
                    };
                    let head = format!(
                        "HTTP/1.1 {status}\r\nx-amz-bucket-region: eu-central-1\r\ncontent-length: {}\r\n\
                         etag: \"0cc175b9c0f1b6a831c399e269772661\"\r\n\r\n",
                        body.len()
                    );
                    let body = if text.starts_with("HEAD") { "" } else { body };
                    if stream.write_all(format!("{head}{body}").as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    url
}

#[test]
fn a_bucket_in_another_region_needs_no_flag_more_than_the_vendors_script() {
    let shelf = Shelf::new(&[]);
    shelf.command(&["--endpoint-url", &abroad()]).assert().code(0);
    shelf.assert_has(&[("dump", b"a")]);
}

#[test]
fn a_bit_that_flips_on_the_way_is_noticed_and_fetched_again() {
    let bytes = noise(11, 2 * MIB);
    let shelf = Shelf::new(&[("dump", &bytes)]);
    let flipped = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let url = flipping(&shelf.world.sim.endpoint(), &bytes[..16], std::sync::Arc::clone(&flipped));
    let run = shelf.command(&["--endpoint-url", &url]).assert().code(0);
    assert_contains(&stdout(&run), &["downloaded  1", "verified by CRC64NVME"]);
    assert_eq!(flipped.load(std::sync::atomic::Ordering::SeqCst), 2, "the test flips the first two");
    assert_eq!(shelf.world.sim.counters().get("GetObject"), 3);
    shelf.assert_has(&[("dump", &bytes)]);
}

/// A proxy that flips a bit of what begins with `start`, the first two times.
fn flipping(upstream: &str, start: &[u8], flipped: std::sync::Arc<std::sync::atomic::AtomicUsize>) -> String {
    use std::net::TcpStream;
    use std::sync::atomic::Ordering::SeqCst;
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let upstream = upstream.trim_start_matches("http://").to_owned();
    let start = start.to_vec();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let server = TcpStream::connect(&upstream).expect("the simulator");
            let (mut up, mut down) =
                (server.try_clone().expect("a socket"), client.try_clone().expect("a socket"));
            std::thread::spawn(move || std::io::copy(&mut &client, &mut up));
            let (start, flipped) = (start.clone(), std::sync::Arc::clone(&flipped));
            std::thread::spawn(move || {
                let mut server = server;
                let mut bytes = vec![0; 64 << 10];
                while let Ok(read @ 1..) = server.read(&mut bytes) {
                    let place = bytes[..read].windows(start.len()).position(|window| window == start);
                    if let Some(place) = place
                        && flipped
                            .fetch_update(SeqCst, SeqCst, |times| (times < 2).then_some(times + 1))
                            .is_ok()
                    {
                        bytes[place] ^= 1;
                    }
                    if down.write_all(&bytes[..read]).is_err() {
                        return;
                    }
                }
            });
        }
    });
    url
}

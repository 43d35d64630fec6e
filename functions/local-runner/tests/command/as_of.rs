//! `--as-of`: what a bucket had at a time comes back from its versions, or it is said why not.

use std::time::SystemTime;

use jiff::{Timestamp, ToSpan};
use s3_sim::{Object, User, Versioning};

use crate::downloads::{BUCKET, MIB, Shelf, noise};
use crate::world::{CUSTOMER, World, assert_contains, stderr, stdout};

/// Noon on a day of November 2025.
fn day(day: i8) -> Timestamp {
    format!("2025-11-{day:02}T12:00:00Z").parse().expect("a time")
}

fn put(shelf: &Shelf, key: &str, bytes: &[u8], at: Timestamp) {
    let object = Object::bytes(bytes.to_vec()).with_last_modified(SystemTime::from(at));
    shelf.world.state().put(BUCKET, key, object);
}

/// `changed` has a version of the 10th and of the 20th, `large` too; `deleted` is gone as of
/// now, `returned` is gone but comes back in an hour, and `new` is of the 20th.
fn shelf() -> Shelf {
    let shelf = Shelf::new(&[]);
    shelf.world.state().set_versioning(BUCKET, Versioning::Enabled);
    for (key, bytes) in [("changed", &b"10"[..]), ("deleted", b"10"), ("a/returned", b"10"), ("same", b"10")]
    {
        put(&shelf, key, bytes, day(10));
    }
    put(&shelf, "large", &noise(10, 20 * MIB), day(10));
    put(&shelf, "changed", b"20", day(20));
    put(&shelf, "new +é", b"20", day(20));
    put(&shelf, "large", &noise(20, 20 * MIB), day(20));
    shelf.world.state().delete(BUCKET, "deleted");
    shelf.world.state().delete(BUCKET, "a/returned");
    put(&shelf, "a/returned", b"back", in_an_hour());
    shelf
}

fn in_an_hour() -> Timestamp {
    Timestamp::now().checked_add(1.hour()).expect("a time")
}

#[test]
fn overwritten_deleted_and_re_created_objects_are_as_they_were() {
    let shelf = shelf();
    let (before, after) = (noise(10, 20 * MIB), noise(20, 20 * MIB));
    let (now, later) = (Timestamp::now(), in_an_hour().checked_add(1.hour()).expect("a time"));
    let of_10: &[(&str, &[u8])] =
        &[("a/returned", b"10"), ("changed", b"10"), ("deleted", b"10"), ("large", &before), ("same", b"10")];
    let of_now: &[(&str, &[u8])] =
        &[("changed", b"20"), ("large", &after), ("new +é", b"20"), ("same", b"10")];
    let of_later = [&[("a/returned", &b"back"[..])], of_now].concat();
    for (as_of, expected, yet) in
        [(day(9), &[][..], 6), (day(10), of_10, 1), (now, of_now, 0), (later, &of_later[..], 0)]
    {
        std::fs::remove_dir_all(shelf.to()).and_then(|()| std::fs::create_dir(shelf.to())).expect("anew");
        // To restore nothing is hardly what was meant.
        let code = if expected.is_empty() { 3 } else { 0 };
        let run = shelf.command(&["--as-of", &as_of.to_string()]).assert().code(code);
        shelf.assert_has(expected);
        assert_contains(&stdout(&run), &[&format!("s3://backups/ as of {as_of} → ")]);
        assert_eq!(stdout(&run).contains("not there yet"), yet > 0, "{}", stdout(&run));
        assert_eq!(stderr(&run), "");
    }
    // What is here is of another version, and is replaced by the one that is asked for.
    shelf.command(&["--as-of", &day(10).to_string()]).assert().code(3);
    shelf.command(&["--as-of", &day(10).to_string(), "--overwrite"]).assert().code(0);
    assert_eq!((&shelf.files()["changed"][..], &shelf.files()["large"]), (&b"10"[..], &before));
    shelf.world.sim.reset_counters();
    shelf.command(&["--as-of", &day(10).to_string()]).assert().code(0);
    let counters = shelf.world.sim.counters();
    assert_eq!((counters.get("ListObjectVersions"), counters.total()), (1, 2), "nothing is fetched twice");
}

#[test]
fn versions_over_many_pages_are_all_seen() {
    let shelf = Shelf::new(&[]);
    shelf.world.state().set_versioning(BUCKET, Versioning::Enabled);
    // 2,400 versions of three keys, then 1,200 keys: pages end within keys, and between them.
    for version in 0..800_u32 {
        for key in ["a", "a/b", "c"] {
            let at = Timestamp::from_second(1_700_000_000 + i64::from(version)).expect("a time");
            put(&shelf, key, format!("{version}").as_bytes(), at);
        }
    }
    for number in 0..1_200 {
        put(&shelf, &format!("d/{number:04}"), b"x", day(1));
    }
    shelf.world.state().delete(BUCKET, "d/0600");
    let as_of = Timestamp::from_second(1_700_000_123).expect("a time").to_string();
    shelf.world.state().delete(BUCKET, "a");
    // A file and a folder cannot have one name.
    shelf.command(&["--as-of", &as_of, "--prefix", "c"]).assert().code(0);
    shelf.assert_has(&[("c", b"123")]);
    let run = shelf.command(&["--as-of", &Timestamp::now().to_string(), "--prefix", "d/"]).assert().code(0);
    assert_contains(&stdout(&run), &["listed      1,199", "downloaded  1,199"]);
    assert!(shelf.to().join("0599").is_file() && !shelf.to().join("0600").exists());
}

#[test]
fn a_right_that_is_missing_is_named() {
    for (right, code, parts) in [
        ("s3:ListBucketVersions", 1, &["allow s3:ListBucketVersions on arn:aws:s3:::backups in"][..]),
        ("s3:GetObjectVersion", 3, &["allow s3:GetObjectVersion on arn:aws:s3:::backups/* in"]),
        ("s3:GetBucketVersioning", 0, &["warning: ", "allow s3:GetBucketVersioning"]),
    ] {
        let shelf = shelf();
        let user = User::new("sim-access-key", "sim-secret-key").deny(right, BUCKET);
        shelf.world.state().set_user(user);
        let run = shelf.command(&["--as-of", &day(10).to_string()]).assert().code(code);
        assert_contains(&format!("{}{}", stdout(&run), stderr(&run)), parts);
    }
}

#[test]
fn a_bucket_without_versions_is_no_source_of_them() {
    let shelf = Shelf::new(&[("plain", b"x")]);
    let run = shelf.command(&["--as-of", &Timestamp::now().to_string()]).assert().code(1);
    assert_contains(&stderr(&run), &["s3://backups keeps no versions", "leave --as-of out"]);
    shelf.world.state().set_versioning(BUCKET, Versioning::Suspended);
    let as_of = in_an_hour().to_string();
    let run = shelf.command(&["--as-of", &as_of]).assert().code(0);
    assert_contains(&stderr(&run), &["warning: s3://backups does not keep versions any more"]);
    shelf.assert_has(&[("plain", b"x")]);
    let run = shelf.command(&["--as-of", "yesterday"]).assert().code(2);
    assert_contains(&stderr(&run), &["yesterday", "--as-of", "write a time like 2026-"]);
}

#[test]
fn the_files_are_restored_and_nothing_beside_them() {
    let world = World::new();
    world.state().set_versioning(CUSTOMER, Versioning::Enabled);
    world.replicate(&[]).assert().code(0);
    let then = Timestamp::now();
    let later = SystemTime::from(in_an_hour());
    world.state().put(CUSTOMER, "filesystem/plain", Object::bytes("encrypted").with_last_modified(later));
    let folder = tempfile::tempdir().expect("a folder");
    let restore = |args: &[&str]| {
        let mut command = world.command("restore", &["--destination-bucket", CUSTOMER, "--files"]);
        command.arg(folder.path().join("restored")).args(args).assert()
    };
    let content = |path: &str| std::fs::read_to_string(folder.path().join("restored").join(path));
    assert_contains(&stderr(&restore(&[]).code(2)), &["there is no directory", "--create"]);
    let run = restore(&["--create", "--as-of", &then.to_string()]).code(0);
    assert_contains(&stdout(&run), &["s3://customer/filesystem/ as of", "downloaded  3"]);
    assert_eq!(content("plain").expect("restored"), "plain");
    restore(&["--prefix", "pl"]).code(3);
    restore(&["--prefix", "pl", "--overwrite"]).code(0);
    assert_eq!(content("plain").expect("restored"), "encrypted");

    // At the root, neither the dumps nor the replicator's own objects are among the files.
    std::fs::remove_dir_all(folder.path().join("restored")).expect("removed");
    world.state().put(CUSTOMER, "file", Object::bytes("at the root"));
    restore(&["--create", "--filesystem-prefix", ""]).code(0);
    let mut entries: Vec<_> = std::fs::read_dir(folder.path().join("restored"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .collect();
    entries.sort();
    assert_eq!(entries, ["file", "filesystem"]);
    for (args, named) in [(&["--drill"][..], "--drill"), (&["--user", "root"], "--user")] {
        assert_contains(&stderr(&restore(args).code(2)), &[named, "--files"]);
    }
    let run = world.command("restore", &["--drill", "--create"]).assert().code(2);
    assert_contains(&stderr(&run), &["--create", "--drill"]);
    assert_contains(&stderr(&restore(&["--at", "vendor"]).code(2)), &["FILESYSTEM_BUCKET"]);
}

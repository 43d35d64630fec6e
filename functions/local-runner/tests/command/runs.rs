//! Runs that do their job, and what they print.

use std::io::Write;
use std::process::Stdio;

use s3_sim::{Fault, FaultKind, Object, StorageClass};
use serde_json::Value;

use crate::world::{CUSTOMER, DUMPS, FILES, World, assert_contains, stderr, stdout};

const REFUSED: FaultKind = FaultKind::Error { status: 400, code: "InvalidRequest" };

#[test]
fn the_first_run_copies_everything_and_the_second_only_lists() {
    let world = World::new();
    let first = world.replicate(&[]).assert().code(0);
    assert_eq!(
        world.copies(),
        [
            "database/2026/11/19.dump",
            "database/2026/11/20.dump",
            "database/2026/11/21.dump",
            "filesystem/a b+c.pdf",
            "filesystem/plain",
            "filesystem/été.txt"
        ]
    );
    let report = stdout(&first);
    assert_contains(
        &report,
        &["database  s3://vendor-dumps → s3://customer/database/", "3 new; verified by ETag", "Complete:"],
    );
    assert!(!report.contains('\u{1b}'), "styles are for terminals: {report:?}");
    assert_contains(&stderr(&first), &["6 listed, 6 of 6 objects done"]);

    world.sim.reset_counters();
    let second = world.replicate(&[]).assert().code(0);
    assert_contains(&stdout(&second), &["already there  3", "copied         0", "4 ListObjectsV2"]);
    let counters = world.sim.counters();
    let asked = ["ListObjectsV2", "GetObject", "PutObject"].map(|operation| counters.get(operation));
    // A source's lease is looked at, taken and released; the report is kept.
    assert_eq!((asked, counters.total()), ([4, 2 + 1, 4 + 4], 15), "{counters}");
}

#[test]
fn what_changed_travels_and_what_was_deleted_stays() {
    let world = World::new();
    world.replicate(&[]).assert().code(0);
    world.state().put(FILES, "plain", Object::bytes("longer than it was"));
    world.state().delete(FILES, "été.txt");
    let run = world.replicate(&["--source", "filesystem"]).assert().code(0);
    assert_contains(&stdout(&run), &["1 changed; verified by ETag", "only at destination  1"]);
    assert!(!stdout(&run).contains("database"), "only the source asked for is looked at");
    assert_eq!(world.copies().len(), 6);
    assert_eq!(world.state().object(CUSTOMER, "filesystem/plain").expect("there").size, 18);
}

#[test]
fn json_is_one_document_and_nothing_else() {
    let world = World::new();
    let run = world.replicate(&["--json"]).assert().code(0);
    let report: Value = serde_json::from_str(&stdout(&run)).expect("one JSON document");
    assert_eq!(report["status"], "complete");
    assert_eq!(report["sources"][0]["copied"]["objects"], 3);
    assert_eq!(report["requests"]["CopyObject"], 6);
}

#[test]
fn quiet_says_nothing_on_stderr() {
    let world = World::new();
    let run = world.replicate(&["--quiet"]).assert().code(0);
    assert_eq!(stderr(&run), "");
}

#[test]
fn flags_override_the_environment() {
    let world = World::new();
    let flags = ["--source", "database", "--database-prefix", "", "--prefix", "2026/11/2"];
    world.replicate(&flags).env("DATABASE_PREFIX", "elsewhere/").assert().code(0);
    assert_eq!(world.copies(), ["2026/11/20.dump", "2026/11/21.dump"]);
}

#[test]
fn a_dry_run_tells_what_it_would_copy_and_writes_nothing() {
    let world = World::new();
    world.state().put(CUSTOMER, "filesystem/plain", Object::bytes("another size"));
    let run = world.replicate(&["--dry-run", "--list"]).assert().code(0);
    assert_contains(
        &stdout(&run),
        &[
            "would copy   3.00 MiB  database    2026/11/19.dump  (new)\n",
            "would copy        5 B  filesystem  plain  (size differs)\n",
            "\n\ndatabase  s3://",
            "  would copy      3",
            "    new           2",
            "    size differs  1",
            "Dry run: nothing was written.",
            "6 CopyObject",
        ],
    );
    assert_eq!(world.keys(), ["filesystem/plain"]);
    assert_eq!(world.sim.counters().total(), world.sim.counters().get("ListObjectsV2"));
}

#[test]
fn an_event_is_what_the_lambda_takes_from_a_file_or_stdin() {
    let event = r#"{"sources": ["database"], "prefix": "2026/11/21"}"#;
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(event.as_bytes()).expect("written");
    for (argument, stdin) in [(file.path().to_str().expect("UTF-8"), ""), ("-", event)] {
        let world = World::new();
        world.replicate(&["--event", argument]).write_stdin(stdin).assert().code(0);
        assert_eq!(world.copies(), ["database/2026/11/21.dump"], "--event {argument}");
    }
}

#[test]
fn objects_that_fail_are_named_with_what_to_do() {
    let world = World::new();
    world.state().put(FILES, "evil\u{1b}[2J", Object::bytes("x"));
    world.sim.add_fault(Fault::rate("CopyObject", REFUSED, 1.0).on_key("filesystem/evil\u{1b}[2J"));
    let run = world.replicate(&[]).assert().code(3);
    assert_contains(
        &stdout(&run),
        &[
            "failed: evil\\u{1b}[2J\n    CopyObject answered InvalidRequest",
            "what to do: ",
            "Not complete: 1 object failed.",
        ],
    );
    assert!(!stdout(&run).contains('\u{1b}') && !stderr(&run).contains('\u{1b}'));
    assert_eq!(world.copies().len(), 6, "one failure stops nothing");
}

#[test]
fn many_failures_share_their_remedy() {
    let world = World::new();
    for number in 0..25 {
        let key = format!("bad/{number:02}");
        world.state().put(DUMPS, &key, Object::bytes("x"));
        world.sim.add_fault(Fault::rate("CopyObject", REFUSED, 1.0).on_key(format!("database/{key}")));
    }
    let run = world.replicate(&[]).assert().code(3);
    let report = stdout(&run);
    assert_eq!(report.matches("failed: bad/").count(), 20);
    assert_eq!(report.matches("what to do:").count(), 1);
    assert_contains(&report, &["and 5 more failed: --json lists up to 1,000", "25 objects failed."]);
}

#[test]
fn an_archived_object_is_missing_and_said_to_be() {
    let world = World::new();
    world.state().archive(DUMPS, "2026/11/19.dump", StorageClass::Glacier);
    let run = world.replicate(&[]).assert().code(3);
    let restore = "aws s3api restore-object --bucket vendor-dumps --key '2026/11/19.dump'";
    assert_contains(&stdout(&run), &[restore, "1 object is archived at the source."]);
}

#[test]
fn a_reader_that_goes_away_does_not_stop_the_run() {
    let world = World::new();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_local-runner"));
    command.env_clear().envs(world.environment()).args(["replicate", "--list", "--quiet"]);
    command.args(["--database-bucket", DUMPS, "--destination-bucket", CUSTOMER]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started");
    drop(child.stdout.take());
    let ended = child.wait_with_output().expect("ended");
    assert_eq!(String::from_utf8_lossy(&ended.stderr), "");
    assert_eq!(ended.status.code(), Some(0));
    assert_eq!(world.copies().len(), 3);
}

#[test]
fn the_demonstration_tells_its_story() {
    let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_local-runner"));
    let run = command.env_clear().arg("demo").timeout(std::time::Duration::from_secs(120)).assert().code(0);
    assert_contains(
        &stdout(&run),
        &[
            "1. The first run copies everything.",
            "30 new; verified by ETag",
            "1 changed; verified by ETag",
            "only at destination      1",
            "3. Nothing has changed since",
            " ListObjectsV2, 4 PutObject,\n  3 GetObject\n",
            "local-runner replicate --dry-run",
        ],
    );
    assert_eq!(stdout(&run).matches("Complete:").count(), 3);
    assert_eq!(stderr(&run), "");
}

#[test]
fn a_page_that_cannot_be_written_is_known_before_anything_is_copied() {
    let world = World::new();
    let run = world.replicate(&["--html", "/no/such/folder/report.html"]).assert().code(2);
    assert_contains(
        &stderr(&run),
        &["the page /no/such/folder/report.html cannot be written", "nothing was copied"],
    );
    assert_eq!(world.keys(), Vec::<String>::new());
}

#[test]
fn the_report_is_kept_at_the_destination_and_as_a_page_in_a_file() {
    let world = World::new();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("report.html");
    world.replicate(&["--dry-run", "--html", file.to_str().expect("UTF-8")]).assert().code(0);
    assert_eq!(world.keys(), Vec::<String>::new(), "a dry run keeps nothing");
    let page = std::fs::read_to_string(&file).expect("a page");
    assert_contains(&page, &["\"dry_run\":true", "\"history\":[]"]);

    for runs in 1..=2 {
        world.replicate(&["--html", file.to_str().expect("UTF-8")]).assert().code(0);
        let page = std::fs::read_to_string(&file).expect("a page");
        assert_eq!(page.matches("\"copied\":{").count(), 2 + runs, "two sources, and the history");
    }
    let kept = world
        .keys()
        .into_iter()
        .filter(|key| key.starts_with(".replicator/") && !key.starts_with(".replicator/lease/"));
    let endings = [".json", ".html", "history.json", "latest.html"];
    for key in kept {
        assert!(
            key.starts_with(".replicator/reports/") && endings.iter().any(|end| key.ends_with(end)),
            "{key}"
        );
    }
}

#[test]
fn a_report_that_cannot_be_kept_is_said_and_the_run_stands() {
    let world = World::new();
    world.sim.add_fault(Fault::rate("PutObject", REFUSED, 1.0));
    let run = world.replicate(&[]).assert().code(0);
    assert_contains(&stderr(&run), &["the report could not be kept"]);
    assert_contains(&stdout(&run), &["Complete:"]);
}

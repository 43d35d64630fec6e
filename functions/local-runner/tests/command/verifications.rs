//! `local-runner verify`: what it says to whoever owns the backups, and its exit codes.

use std::time::{Duration, SystemTime};

use s3_sim::{Encryption, Fault, FaultKind, Object, User};
use serde_json::Value;

use crate::world::{CUSTOMER, DUMPS, FILES, World, assert_contains, stderr, stdout};

/// A world whose objects were written and copied before they are verified.
fn replicated() -> World {
    let world = World::new();
    let yesterday = SystemTime::now() - Duration::from_secs(86_400);
    for bucket in [DUMPS, FILES] {
        for key in world.state().keys(bucket) {
            world.state().set_last_modified(bucket, &key, yesterday);
        }
    }
    world.replicate(&["--quiet"]).assert().code(0);
    world.sim.reset_counters();
    world
}

#[test]
fn a_complete_destination_is_proven_in_a_sentence() {
    let world = replicated();
    let before = world.copies();
    let run = world.verify(&[]).assert().code(0);
    assert_contains(
        &stdout(&run),
        &[
            "database  s3://vendor-dumps → s3://customer/database/\n  listed     3  9.00 MiB\n  identical  3  9.00 MiB  proven by ETag\n",
            "Complete: every one of the 6 objects is at the destination, proven by ETag.\n4 requests, ",
            ": 4 ListObjectsV2\n",
        ],
    );
    assert_eq!(world.sim.counters().get("ListObjectsV2"), world.sim.counters().total());

    let read = world.verify(&["--read"]).assert().code(0);
    assert_contains(&stdout(&read), &["6 objects is at the destination, proven by reading.", "12 GetObject"]);
    assert_contains(&stderr(&read), &["6 listed, 6 of 6 objects done, 9.00 MiB of 9.00 MiB"]);
    assert_eq!(world.copies(), before);
}

#[test]
fn what_is_wrong_is_named_with_what_to_do_and_has_an_exit_code() {
    let world = replicated();
    world.state().delete(CUSTOMER, "database/2026/11/20.dump");
    world.state().put(CUSTOMER, "filesystem/plain", Object::bytes("PLAIN"));
    world.state().delete(FILES, "été.txt");
    world.state().put(FILES, "evil\u{1b}[2J", Object::bytes("x").with_last_modified(SystemTime::UNIX_EPOCH));
    let run = world.verify(&["--list"]).assert().code(3);
    let text = stdout(&run);
    assert_contains(
        &text,
        &[
            "missing      3.00 MiB  database    2026/11/20.dump  (not at the destination; written ",
            "different         5 B  filesystem  plain  (its CRC64NVME is ",
            "extra             9 B  filesystem  été.txt  (only at the destination, and kept)\n",
            "  missing: 2026/11/20.dump\n    not at the destination; written ",
            "  what to do: replicate: the next run copies it\n",
            "  missing: evil\\u{1b}[2J\n",
            "  different: plain\n    its CRC64NVME is ",
            "  only at destination  1  ",
            "Not complete: 2 objects are missing, 1 is different; 3 are proven.\n",
        ],
    );
    assert!(!text.contains('\u{1b}') && !stderr(&run).contains('\u{1b}'));
}

#[test]
fn json_is_one_document_with_every_number() {
    let world = replicated();
    world.state().delete(CUSTOMER, "filesystem/plain");
    let run = world.verify(&["--json", "--quiet"]).assert().code(3);
    let found: Value = serde_json::from_str(&stdout(&run)).expect("one JSON document");
    assert_eq!((found["status"].as_str(), found["read"].as_bool()), (Some("objects_missing"), Some(false)));
    let files = &found["sources"][1];
    assert_eq!((&files["identical"]["objects"], &files["missing"]["objects"]), (&2.into(), &1.into()));
    assert_eq!(files["proven_by"], serde_json::json!({ "etag": 2 }));
    let missing = &files["findings"][0];
    assert_eq!((missing["finding"].as_str(), missing["key"].as_str()), (Some("missing"), Some("plain")));
    assert_eq!(missing["error"], "NotCopied");
}

#[test]
fn what_cannot_be_told_is_no_proof_and_the_report_says_how_to_get_one() {
    let world = replicated();
    let kms = Object::bytes("PLAIN").with_encryption(Encryption::Kms("alias/backups".into()));
    let sha = s3_sim::ChecksumAlgorithm::Sha256;
    world.state().put(CUSTOMER, "filesystem/plain", kms.with_checksum(sha));
    let run = world.verify(&[]).assert().code(3);
    assert_contains(
        &stdout(&run),
        &[
            "  cannot tell: plain\n    both have 5 bytes, but under SSE-KMS ETags say nothing of the bytes",
            "  what to do: verify it by reading both sides: local-runner verify --read\n",
            "Not complete: 1 object is neither proven nor refuted; 5 are proven.\n",
        ],
    );
    let read = world.verify(&["--read"]).assert().code(3);
    assert_contains(
        &stdout(&read),
        &["  different: plain\n    read on both sides, its copy differs from byte 0 on"],
    );
}

#[test]
fn an_event_that_asks_to_verify_writes_nothing() {
    let world = World::new();
    let run = world.replicate(&["--event", "-"]).write_stdin(r#"{"verify": true}"#).assert().code(3);
    // They were written a moment ago, but before it began.
    assert_contains(&stdout(&run), &["Not complete: 6 objects are missing; 0 are proven.\n"]);
    world.assert_nothing_written();
    let page = ["--event", "-", "--html", "x.html"];
    let run = world.replicate(&page).write_stdin(r#"{"verify": true}"#).assert().code(2);
    assert_contains(&stderr(&run), &["leave --html out"]);
    for event in [r#"{"verify": true, "dry_run": true}"#, r#"{"read": true}"#] {
        let run = world.replicate(&["--event", "-"]).write_stdin(event).assert().code(2);
        assert_contains(&stderr(&run), &["`verify`"]);
    }
}

#[test]
fn a_verification_that_cannot_do_its_job_proves_nothing() {
    let world = replicated();
    world.state().set_user(User::new("sim-access-key", "sim-secret-key").deny("s3:ListBucket", CUSTOMER));
    let run = world.verify(&[]).assert().code(1);
    assert_contains(&stderr(&run), &["cannot list the destination", "s3:ListBucket"]);
    assert_eq!(stdout(&run), "");
    world.verify(&["--max-in-flight", "0"]).assert().code(2);

    let world = World::new();
    for index in 0..1_100 {
        world.state().put(DUMPS, &format!("z{index:04}"), Object::bytes("x"));
    }
    world.replicate(&["--quiet", "--source", "database"]).assert().code(0);
    let refused = FaultKind::Error { status: 400, code: "InvalidRequest" };
    world.sim.add_fault(Fault::kth("ListObjectsV2", 4, refused));
    let run = world.verify(&["--source", "database"]).assert().code(1);
    assert_contains(&stdout(&run), &["given up before its end:", "Failed: "]);
    assert!(!stdout(&run).contains("Complete"));
}

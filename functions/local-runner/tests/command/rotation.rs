//! Old dumps go by a plan that is shown first, and nothing else does.

use std::time::{Duration, SystemTime};

use assert_cmd::assert::Assert;
use s3_sim::{Fault, FaultKind, Object};

use crate::world::{CUSTOMER, DUMPS, World, assert_contains, stderr, stdout};

const DAY: u64 = 86_400;

/// A customer's bucket with a dump a day, the newest of today, and what is no dump.
fn with_dumps(days: u64) -> (World, Vec<String>) {
    let world = World::new();
    let today = jiff::Timestamp::now().as_second() as u64 / DAY;
    let mut keys = Vec::new();
    for ago in 0..days {
        let at = jiff::Timestamp::from_second(((today - ago) * DAY) as i64).expect("a time");
        let key = format!("database/app-{}.sql.gz", at.strftime("%Y-%m-%d"));
        // All of them copied today: only the keys tell.
        world.state().put(CUSTOMER, &key, Object::bytes(format!("{ago}")));
        keys.push(key);
    }
    world.state().put(CUSTOMER, "database/README.txt", Object::bytes("no dump"));
    world.state().put(CUSTOMER, "filesystem/old-2020-01-01.sql", Object::bytes("a file"));
    (world, keys)
}

fn rotate(world: &World, args: &[&str]) -> Assert {
    world.command("rotate", args).env("DESTINATION_BUCKET", CUSTOMER).assert()
}

#[test]
fn the_plan_is_shown_and_only_told_to_is_it_carried_out() {
    let (world, keys) = with_dumps(10);
    let before = world.copies();
    let run = rotate(&world, &["--keep-last", "6"]).code(0);
    let plan = stdout(&run);
    assert_contains(
        &plan,
        &[
            "10 dumps in 1 series; keeps 6, deletes 4",
            "40 %",
            "1 object there match no",
            "--apply",
            "keeps no versions",
        ],
    );
    assert_eq!(plan.matches("delete  20").count(), 4);
    assert_eq!(world.copies(), before, "a plan deletes nothing");
    assert_eq!(world.sim.counters().get("DeleteObject"), 0);

    let run = rotate(&world, &["--keep-last", "6", "--apply"]).code(0);
    assert_contains(&stdout(&run), &["Deleted 4 dumps."]);
    let mut left: Vec<String> = before.into_iter().filter(|key| !keys[6..].contains(key)).collect();
    left.sort();
    assert_eq!(world.copies(), left);
}

#[test]
fn more_than_the_share_is_refused_as_a_whole() {
    let (world, _) = with_dumps(10);
    let before = world.copies();
    let run = rotate(&world, &["--keep-last", "0", "--apply"]).code(1);
    assert_contains(&stderr(&run), &["more than 50 %", "nothing was deleted", "--at-most 91"]);
    assert_eq!(world.copies(), before);
    let run = rotate(&world, &["--keep-last", "0", "--at-most", "91", "--apply"]).code(0);
    assert_contains(&stdout(&run), &["newest", "Deleted 9 dumps."]);
}

/// As a vendor's broken job leaves them.
#[test]
fn what_is_empty_takes_no_dumps_place() {
    let (world, keys) = with_dumps(10);
    for key in &keys[..7] {
        world.state().put(CUSTOMER, key, Object::bytes(""));
    }
    let before = world.copies();
    let run = rotate(&world, &["--keep-last", "7", "--apply"]).code(0);
    assert_contains(&stdout(&run), &["3 dumps in 1 series; keeps 3, deletes 0", "(empty: no dump)"]);
    assert_eq!(world.copies(), before);
}

#[test]
fn a_vendor_that_stopped_loses_nothing() {
    let world = World::new();
    for day in 1..=9 {
        let key = format!("database/app-2020-01-0{day}.sql");
        world.state().put(CUSTOMER, &key, Object::bytes("x"));
        let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000);
        world.state().set_last_modified(CUSTOMER, &key, then);
    }
    let run = rotate(&world, &["--keep-last", "5", "--apply"]).code(0);
    assert_contains(&stdout(&run), &["no newer dumps come", "There is nothing to delete"]);
    assert_eq!(world.copies().len(), 9);
}

#[test]
fn each_database_keeps_its_own_and_what_the_vendor_has_stays() {
    let (world, keys) = with_dumps(4);
    for key in &keys {
        world.state().put(CUSTOMER, &key.replace("app", "shop"), Object::bytes("x"));
    }
    world.state().put(DUMPS, keys[3].strip_prefix("database/").expect("a dump"), Object::bytes("3"));
    let run = rotate(&world, &["--keep-daily", "2", "--apply", "--database-bucket", DUMPS]).code(0);
    assert_contains(&stdout(&run), &["in 2 series; keeps 5, deletes 3", "still at the vendor"]);
    let mut left = vec![keys[0].clone(), keys[1].clone(), keys[3].clone()];
    left.extend([keys[0].replace("app", "shop"), keys[1].replace("app", "shop")]);
    left.extend(["database/README.txt".into(), "filesystem/old-2020-01-01.sql".into()]);
    left.sort();
    assert_eq!(world.copies(), left);
}

#[test]
fn without_the_right_to_delete_it_says_so_and_goes_no_further() {
    let (world, _) = with_dumps(10);
    let denied = FaultKind::Error { status: 403, code: "AccessDenied" };
    world.sim.add_fault(Fault::kth("DeleteObject", 2, denied));
    let run = rotate(&world, &["--keep-last", "6", "--apply"]).code(1);
    assert_contains(
        &stderr(&run),
        &["cannot delete s3://customer/database/app-", "1 of 4 were deleted", "AccessDenied"],
    );
    assert_eq!(world.sim.counters().get("DeleteObject"), 2);
}

#[test]
fn a_dump_that_changed_since_is_left_alone() {
    let (world, keys) = with_dumps(3);
    let key = keys[2].clone();
    world.sim.on_request(move |event, state| {
        if event.operation == "GetBucketVersioning" {
            state.put(CUSTOMER, &key, Object::bytes("another dump"));
        }
    });
    let run = rotate(&world, &["--keep-last", "2", "--apply"]).code(0);
    assert_contains(&stdout(&run), &["overwritten meanwhile", "Deleted 0 dumps."]);
    assert!(world.copies().contains(&keys[2]));
}

#[test]
fn without_a_rule_nothing_is_sent() {
    let (world, _) = with_dumps(1);
    assert_contains(&stderr(&rotate(&world, &["--apply"]).code(2)), &["--keep-last"]);
    assert_eq!(world.sim.counters().total(), 0);
}

#[test]
fn a_note_is_kept_beside_its_backup_and_can_be_taken_back() {
    let (world, keys) = with_dumps(1);
    let note = |args: &[&str]| world.command("note", args).env("DESTINATION_BUCKET", CUSTOMER).assert();
    let key = &keys[0];
    assert_contains(&stdout(&note(&["show"]).code(0)), &["There are no notes"]);
    note(&["add", key, "--label", "before the move 😀", "--set", "ticket=47=11"]).code(0);
    note(&["add", key, "--set", "by=ops"]).code(0);
    note(&["add", "database/not there.sql", "--label", "gone"]).code(0);
    let shown = stdout(&note(&["show"]).code(0));
    assert_contains(&shown, &[key, "before the move 😀", "ticket: 47=11", "by: ops", "not there.sql: gone"]);
    note(&["remove", key, "--field", "ticket"]).code(0);
    let json: serde_json::Value =
        serde_json::from_str(&stdout(&note(&["show", key, "--json"]).code(0))).expect("JSON");
    assert_eq!(json[key], serde_json::json!({"label": "before the move 😀", "metadata": {"by": "ops"}}));
    note(&["remove", key]).code(0);
    assert_contains(&stdout(&note(&["show", key]).code(0)), &["nothing is noted"]);
    assert_eq!(world.sim.counters().get("DeleteObject"), 0);
    assert!(world.copies().contains(key), "the backup is as it was");
    assert_contains(&stderr(&note(&["add", key, "--set", "ticket"]).code(2)), &["ticket=4711"]);
}

//! `local-runner ls`: the newest first, with a state that is true.

use std::time::{Duration, SystemTime};

use s3_sim::{Object, StorageClass};
use serde_json::Value;

use crate::world::{CUSTOMER, DUMPS, FILES, World, assert_contains, stderr, stdout};

fn ls(world: &World, args: &[&str]) -> assert_cmd::Command {
    let mut command = world.command("ls", args);
    command.envs([
        ("DATABASE_BUCKET", DUMPS),
        ("FILESYSTEM_BUCKET", FILES),
        ("DESTINATION_BUCKET", CUSTOMER),
    ]);
    command
}

fn json(command: &mut assert_cmd::Command) -> Value {
    serde_json::from_str(&stdout(&command.arg("--json").assert().code(0))).expect("one JSON document")
}

fn dumps(list: &Value) -> Vec<(String, String)> {
    let dumps = list["backups"][0]["dumps"].as_array().expect("dumps");
    let text = |dump: &Value, field: &str| dump[field].as_str().expect("text").to_owned();
    dumps.iter().map(|dump| (text(dump, "name"), text(dump, "state"))).collect()
}

#[test]
fn every_dump_has_its_state_and_the_newest_comes_first() {
    let world = World::new();
    world.replicate(&[]).assert().code(0);
    // Deleted at the vendor; overwritten there; archived here; new there.
    world.state().delete(DUMPS, "2026/11/19.dump");
    world.state().put(DUMPS, "2026/11/20.dump", Object::bytes("another"));
    world.state().put(CUSTOMER, "database/2026/11/18.dump", Object::bytes("cold"));
    world.state().archive(CUSTOMER, "database/2026/11/18.dump", StorageClass::Glacier);
    world.state().put(DUMPS, "2026/11/22.dump", Object::bytes("new"));
    let expected = [
        ("2026/11/21.dump", "complete"),
        ("2026/11/20.dump", "changed_since"),
        ("2026/11/19.dump", "only_here"),
        ("2026/11/18.dump", "archived"),
    ];
    let list = json(&mut ls(&world, &[]));
    assert_eq!(dumps(&list), expected.map(|(name, state)| (name.to_owned(), state.to_owned())));
    assert_eq!(list["backups"][0]["only_at_other_side"]["objects"], 1);
    let text = stdout(&ls(&world, &[]).assert().code(0));
    assert_contains(
        &text,
        &[
            "database dumps  s3://customer/database/  4 objects, 9.00 MiB\n",
            "  2026-11-21 00:00   3.00 MiB  complete            2026/11/21.dump\n",
            "changed since       2026/11/20.dump\n",
            "not at the vendor   2026/11/19.dump\n",
            "archived            2026/11/18.dump\n",
            "1 object at the vendor not copied yet (3 B): local-runner replicate\n",
            "files  s3://customer/filesystem/  3 objects",
            "            3  (in no folder)  complete\n",
        ],
    );
    let vendor = json(&mut ls(&world, &["--at", "vendor"]));
    assert_eq!(
        dumps(&vendor),
        [("22", "only_here"), ("21", "complete"), ("20", "changed_since")]
            .map(|(day, state)| (format!("2026/11/{day}.dump"), state.to_owned()))
    );
}

#[test]
fn on_the_day_the_vendor_is_gone_the_backups_are_listed_all_the_same() {
    let world = World::new();
    world.replicate(&[]).assert().code(0);
    let mut alone = world.command("ls", &["--destination-bucket", CUSTOMER]);
    assert_contains(&stdout(&alone.assert().code(0)), &["not compared        2026/11/21.dump"]);
    let gone = ls(&world, &["--source-endpoint-url", "http://127.0.0.1:9"]).assert().code(0);
    assert_contains(
        &stdout(&gone),
        &["not compared        2026/11/21.dump", "not compared with the vendor: cannot list the source"],
    );
}

#[test]
fn dumps_without_a_date_in_their_names_go_by_when_they_were_written() {
    let world = World::new();
    let day = |day: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + day * 86_400);
    for (key, written) in [("zzz", 1), ("aaa", 3), ("mmm", 2)] {
        world.state().put(
            CUSTOMER,
            format!("database/{key}").as_str(),
            Object::bytes("x").with_last_modified(day(written)),
        );
    }
    let names: Vec<_> = dumps(&json(&mut ls(&world, &[]))).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["aaa", "mmm", "zzz"]);
}

#[test]
fn many_are_cut_short_unless_all_are_asked_for() {
    let world = World::new();
    for number in 0..30 {
        let (dump, file) = (format!("database/{number:02}"), format!("filesystem/folder-{number:02}/file"));
        world.state().put(CUSTOMER, dump.as_str(), Object::bytes("x"));
        world.state().put(CUSTOMER, file.as_str(), Object::bytes("xy"));
    }
    let short = stdout(&ls(&world, &[]).assert().code(0));
    assert_contains(
        &short,
        &["and 10 older: --all lists them", "more: --all lists them", "30 objects, 60 B"],
    );
    let all = json(&mut ls(&world, &["--all"]));
    assert_eq!(dumps(&all).len(), 30);
    // One more is at the vendor alone.
    assert_eq!(all["backups"][1]["folders"].as_array().expect("folders").len(), 31);
}

#[test]
fn a_folder_is_not_called_complete_while_files_of_it_are_not_copied() {
    let world = World::new();
    for key in ["invoices/1", "invoices/2", "new/3"] {
        world.state().put(FILES, key, Object::bytes("x"));
    }
    world.replicate(&[]).assert().code(0);
    for key in ["invoices/4", "later/5"] {
        world.state().put(FILES, key, Object::bytes("x"));
    }
    let list = stdout(&ls(&world, &[]).assert().code(0));
    assert_contains(
        &list,
        &["invoices/  2 complete, 1 not copied\n", "  new/  complete\n", "  later/  1 not copied\n"],
    );
    assert_contains(&list, &["2 objects at the vendor not copied yet"]);
}

#[test]
fn what_cannot_be_listed_is_said() {
    let world = World::new();
    let none = world.command("ls", &[]).assert().code(2);
    assert_contains(&stderr(&none), &["nothing to list", "DESTINATION_BUCKET"]);
    let missing = ls(&world, &["--destination-bucket", "no-such-bucket"]).assert().code(1);
    assert_contains(&stderr(&missing), &["cannot list the destination", "there is no such bucket"]);
}

#[test]
fn a_bucket_that_another_account_took_over_is_not_read() {
    let world = World::new();
    world.replicate(&[]).assert().code(0);
    world.state().set_bucket_owner(CUSTOMER, "999999999999");
    let folder = tempfile::tempdir().expect("a folder");
    for (command, args) in [
        ("ls", &[][..]),
        ("download", &["--prefix", "filesystem/", "--to", folder.path().to_str().expect("UTF-8")]),
    ] {
        let run = |owner: &str| {
            let mut command = world.command(command, args);
            command.env("DESTINATION_BUCKET", CUSTOMER).env("DESTINATION_BUCKET_OWNER", owner).assert()
        };
        run("999999999999").code(0);
        assert_contains(
            &stderr(&run("123456789012").code(1)),
            &[
                "cannot list the destination",
                "AccessDenied",
                "DESTINATION_BUCKET_OWNER, if the bucket is not",
            ],
        );
    }
}

//! What cannot be meant: exit code 2, a sentence that names it, and not one request.

use crate::world::{DUMPS, World, assert_contains, stderr};

/// Runs `replicate` with `args` and expects a refusal that says all of `parts`.
#[track_caller]
fn refused(args: &[&str], environment: &[(&str, &str)], parts: &[&str]) {
    let world = World::new();
    let run = world.replicate(args).envs(environment.iter().copied()).assert().code(2);
    assert_contains(&stderr(&run), &["error: "]);
    assert_contains(&stderr(&run), parts);
    assert_eq!(run.get_output().stdout, b"");
    assert_eq!(world.sim.counters().total(), 0, "nothing is sent");
    world.assert_nothing_written();
}

#[track_caller]
fn event_refused(event: &str, parts: &[&str]) {
    let world = World::new();
    let run = world.replicate(&["--event", "-"]).write_stdin(event).assert().code(2);
    assert_contains(&stderr(&run), parts);
    assert_eq!(world.sim.counters().total(), 0, "nothing is sent");
}

#[test]
fn without_a_destination_or_a_source_the_flags_are_named() {
    let world = World::new();
    let run = world.bare(&["--database-bucket", DUMPS]).assert().code(2);
    assert_contains(&stderr(&run), &["error: no destination", "--destination-bucket"]);
    let run = world.bare(&["--destination-bucket", "customer"]).assert().code(2);
    assert_contains(&stderr(&run), &["error: no source", "--database-bucket", "--filesystem-bucket"]);
    refused(&["--source", "database"], &[("DATABASE_BUCKET", "")], &["`database`", "DATABASE_BUCKET"]);
}

#[test]
fn buckets_that_cannot_work_are_named() {
    refused(&["--destination-bucket", DUMPS], &[("DATABASE_PREFIX", "")], &[DUMPS, "choose another"]);
    refused(&["--database-bucket", "dumps--use1-az4--x-s3"], &[], &["directory bucket", "general purpose"]);
    refused(&["--database-bucket", "s3://dumps/"], &[], &["`s3://dumps/`", "without s3://"]);
    refused(&["--source-bucket-owner", "me"], &[], &["SOURCE_BUCKET_OWNER is `me`", "12 digits"]);
    refused(&["--storage-class", "WARM"], &[], &["`WARM`", "STANDARD_IA"]);
    refused(
        &["--source-endpoint-url", "minio:9000"],
        &[],
        &["SOURCE_ENDPOINT_URL is `minio:9000`", "http://"],
    );
}

#[test]
fn the_replicators_own_prefix_is_refused() {
    refused(&["--database-prefix", ".replicator/x/"], &[], &[".replicator/", "choose another prefix"]);
    let root = [("DATABASE_PREFIX", ""), ("FILESYSTEM_BUCKET", "")];
    refused(&["--prefix", ".replicator/"], &root, &[".replicator/", "choose another prefix"]);
}

#[test]
fn numbers_out_of_range_are_refused_with_the_range() {
    for number in ["0", "-1", "10001", "many", "1.5"] {
        refused(&["--max-in-flight", number], &[], &[&format!("`{number}`"), "1 to 10000"]);
        refused(&[], &[("MAX_IN_FLIGHT", number)], &[&format!("`{number}`"), "1 to 10000"]);
    }
}

#[test]
fn requests_that_make_no_sense_are_refused() {
    refused(&["--source", "files"], &[], &["unknown source `files`", "`database`", "`filesystem`"]);
    refused(&["--modified-after", "yesterday"], &[], &["`yesterday`", "2026-11-01T00:00:00Z"]);
    refused(&["--event", "-", "--dry-run"], &[], &["--event", "--dry-run"]);
    refused(&["--list", "--json"], &[], &["--list", "--json"]);
    refused(&["--dryrun"], &[], &["--dryrun", "--dry-run"]);
}

#[test]
fn events_that_cannot_be_read_are_refused() {
    refused(&["--event", "/no/such.json"], &[], &["/no/such.json", "because: "]);
    event_refused("{not json", &["the event cannot be read", "line 1"]);
    event_refused("[]", &["the event cannot be read", "JSON object"]);
    event_refused(r#"{"dryrun": true}"#, &["`dryrun`", "`dry_run`", "`sources`"]);
    event_refused(r#"{"modified_after": "soon"}"#, &["`soon`", "2026-11-01T00:00:00Z"]);
    event_refused(r#"{"sources": ["files"]}"#, &["`files`", "`database`"]);
}

#[test]
fn values_from_outside_cannot_move_the_cursor() {
    refused(&["--storage-class", "\u{1b}[2J"], &[], &["\\u{1b}[2J"]);
}

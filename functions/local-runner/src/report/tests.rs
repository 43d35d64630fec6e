use std::collections::BTreeMap;

use bucket_copy::{
    Amount, Archive, ArchivedObject, FailedObject, Failure, Lack, LackingObject, Operation, Property, Reason,
    Resumed, Route, SourceName, SourceReport, Status, VerifiedBy,
};
use jiff::Timestamp;

use super::*;

fn amount(objects: u64, bytes: u64) -> Amount {
    Amount { objects, bytes }
}

fn source(name: SourceName, bucket: &str) -> SourceReport {
    SourceReport {
        source: name,
        bucket: bucket.into(),
        destination_bucket: "my-company-backups".into(),
        destination_prefix: format!("{name}/"),
        transfer: Route::ServerSide,
        transfer_because: String::new(),
        listed: amount(12_345, 5 << 30),
        unchanged: amount(12_340, 4 << 30),
        left_out: Amount::default(),
        copied: amount(5, 1 << 30),
        copied_because: [(Reason::New, amount(3, 1 << 20)), (Reason::EtagDiffers, amount(2, 1023 << 20))]
            .into(),
        verified_by: [(VerifiedBy::Etag, 5)].into(),
        copied_without: BTreeMap::new(),
        failed: Amount::default(),
        archived: Amount::default(),
        gone: Amount::default(),
        interrupted: Amount::default(),
        overwritten: 0,
        newest: None,
        newest_missing: None,
        only_at_destination: Amount::default(),
        resumed: None,
        stopped_after: None,
        error: None,
        handed_over: None,
        failures: Vec::new(),
        lacking: Vec::new(),
        archived_objects: Vec::new(),
    }
}

fn report(status: Status, sources: Vec<SourceReport>) -> Report {
    Report {
        status,
        dry_run: false,
        started: Timestamp::UNIX_EPOCH,
        seconds: 83.4,
        sources,
        requests: [(Operation::ListObjectsV2, 26), (Operation::CopyObject, 5)].into(),
        cost_usd: 0.000_155,
        forecast: BTreeMap::new(),
        forecast_usd: None,
        forecast_seconds: None,
    }
}

fn shown(report: &Report) -> String {
    let text = anstream::adapter::strip_str(&render(report)).to_string();
    assert!(text.lines().all(|line| !line.ends_with(' ')), "{text}");
    text
}

fn failure(key: &str, message: &str, remedy: &str) -> FailedObject {
    FailedObject {
        key: key.into(),
        failure: Failure {
            error: "Refused".into(),
            message: message.into(),
            remedy: remedy.into(),
            request_id: None,
        },
    }
}

#[test]
fn a_run_is_two_blocks_and_a_verdict() {
    let small = SourceReport {
        listed: amount(7, 700),
        unchanged: Amount::default(),
        copied: amount(7, 700),
        copied_because: [(Reason::New, amount(7, 700))].into(),
        newest: None,
        newest_missing: None,
        only_at_destination: amount(1, 1536),
        ..source(SourceName::Filesystem, "backup-fs-my-environment-name")
    };
    let large = source(SourceName::Database, "backup-my-environment-name");
    assert_eq!(
        shown(&report(Status::Complete, vec![large, small])),
        "\
database  s3://backup-my-environment-name → s3://my-company-backups/database/
  listed               12,345  5.00 GiB
  already there        12,340  4.00 GiB
  copied                    5  1.00 GiB  3 new, 2 changed; verified by ETag

filesystem  s3://backup-fs-my-environment-name
           → s3://my-company-backups/filesystem/
  listed                    7     700 B
  copied                    7     700 B  7 new; verified by ETag
  only at destination       1  1.50 KiB  kept; not at the source

Complete: the destination has everything that was asked for.
31 requests, about USD 0.0002, in 1 min 23 s: 26 ListObjectsV2, 5 CopyObject
"
    );
}

#[test]
fn failures_stand_together_under_one_remedy() {
    let failures = vec![
        failure("b\u{7}", "CopyObject answered A", "ask the vendor"),
        failure("c", "CopyObject answered B", "run again"),
        failure("d", "CopyObject answered C", "ask the vendor"),
    ];
    let source = SourceReport {
        failed: amount(23, 23),
        archived: amount(2, 9),
        failures,
        ..source(SourceName::Database, "b")
    };
    let text = shown(&report(Status::ObjectsMissing, vec![source]));
    let expected = "
  failed: b\\u{7}
    CopyObject answered A
  failed: d
    CopyObject answered C
  what to do: ask the vendor

  failed: c
    CopyObject answered B
  what to do: run again

  and 20 more failed: --json lists up to 1,000
";
    assert!(text.contains(expected), "{text}");
    let verdict = "\nNot complete: 23 objects failed, 2 objects are archived at the source.\n";
    assert!(text.contains(verdict), "{text}");
}

#[test]
fn a_stopped_run_says_where_and_how_to_go_on() {
    let source = SourceReport {
        interrupted: amount(2, 4096),
        stopped_after: Some("2026/11/\u{9b}".into()),
        verified_by: [(VerifiedBy::Etag, 4), (VerifiedBy::Size, 1)].into(),
        overwritten: 1,
        ..source(SourceName::Database, "b")
    };
    let text = shown(&report(Status::Stopped, vec![source.clone()]));
    for line in [
        "  verified           4 by ETag, 1 by size alone\n",
        "  changed meanwhile  1 time while being copied; copied as it is now\n",
        "  stopped            after 2026/11/\\u{9b}\n",
        "Stopped: run again to go on; what is there already is not copied twice.\n",
    ] {
        assert!(text.contains(line), "{line:?} is not in:\n{text}");
    }
    let early = SourceReport { stopped_after: Some(String::new()), ..source };
    assert!(shown(&report(Status::Stopped, vec![early])).contains("before the first object\n"));
}

#[test]
fn a_listing_that_broke_off_is_no_complete_run() {
    let error = failure("", "cannot list the source s3://b", "run again").failure;
    let source = SourceReport {
        error: Some(error),
        stopped_after: Some("m".into()),
        ..source(SourceName::Database, "b")
    };
    let text = shown(&report(Status::Failed, vec![source]));
    assert!(
        text.contains("  given up before its end: cannot list the source s3://b\n  what to do: run again\n")
    );
    assert!(text.contains("Failed: a source was given up before its end, see above.\n"), "{text}");
}

#[test]
fn a_streamed_source_says_why() {
    let streamed = SourceReport {
        transfer: Route::Stream,
        transfer_because: "only the vendor's keys may list the source".into(),
        ..source(SourceName::Database, "b")
    };
    let text = shown(&report(Status::Complete, vec![streamed]));
    assert!(
        text.contains("streamed") && text.contains("only the vendor's keys may list the source"),
        "{text}"
    );
}

#[test]
fn a_dry_run_does_not_hide_what_cannot_be_copied() {
    let source = SourceReport { archived: amount(2, 10), ..source(SourceName::Database, "b") };
    let dry = Report { dry_run: true, ..report(Status::ObjectsMissing, vec![source]) };
    let text = shown(&dry);
    assert!(text.contains("Dry run: nothing was written; 2 objects are archived at the source."), "{text}");
}

#[test]
fn a_dry_run_tells_the_reasons_and_the_price() {
    let source = SourceReport { verified_by: BTreeMap::new(), ..source(SourceName::Database, "b") };
    let dry = Report {
        dry_run: true,
        forecast: [(Operation::CopyObject, 5_000_000)].into(),
        forecast_usd: Some(25.0),
        forecast_seconds: Some(1_430.0),
        ..report(Status::Complete, vec![source])
    };
    let text = shown(&dry);
    let expected = "
  would copy           5  1.00 GiB
    new                3  1.00 MiB
    ETag differs       2  1023 MiB

Dry run: nothing was written.
To copy it takes 5,000,000 requests, about USD 25.00 (without transfer and
  storage), roughly 23 min 50 s: 5,000,000 CopyObject
31 requests, ";
    assert!(text.contains(expected), "{text}");
    let nothing = Report { forecast: BTreeMap::new(), forecast_usd: Some(0.0), ..dry };
    assert!(shown(&nothing).contains("There is nothing to copy.\n"));
}

#[test]
fn a_run_that_went_on_does_not_claim_everything() {
    let none = Amount::default();
    let resumed =
        Resumed { since: Timestamp::UNIX_EPOCH, runs: 1, after: None, archived: none, failed: none };
    let source = SourceReport { resumed: Some(resumed), ..source(SourceName::Database, "b") };
    let text = shown(&report(Status::Complete, vec![source]));
    assert!(
        text.contains("Complete: what was left is copied. Run again: it looks at everything.\n"),
        "{text}"
    );
}

#[test]
fn what_lacks_something_and_what_is_archived_is_named_with_what_to_do() {
    let lack = Lack { property: Property::Tags, because: "allow s3:GetObjectTagging".into() };
    let lacking = |key: &str| LackingObject { key: key.into(), without: vec![lack.clone()] };
    let archived = |key: &str, restoring| ArchivedObject {
        key: key.into(),
        archive: Archive { restoring, restore: format!(r"aws s3api restore-object --key 'it'\''s {key}'") },
    };
    let source = SourceReport {
        copied_without: [(Property::Tags, 5)].into(),
        lacking: ["a", "b", "c", "d", "e"].map(lacking).into(),
        archived: amount(4, 9),
        archived_objects: vec![archived("x", true), archived("y", false), archived("z", true)],
        ..source(SourceName::Database, "b")
    };
    let text = shown(&report(Status::ObjectsMissing, vec![source]));
    let expected = "
  copied without tags: 5 objects
    a
      allow s3:GetObjectTagging
    b
    c
    and 2 more: --json lists up to 1,000

  archived: x (being restored)
  archived: y
    aws s3api restore-object --key 'it'\\''s y'
  archived: z (being restored)
  and 1 more archived: --json lists up to 1,000
  what to do: have the owner of b restore them, or allow you s3:RestoreObject
";
    assert!(text.contains(expected), "{text}");
    assert!(text.contains("without        tags (5 objects); see below\n"), "{text}");
}

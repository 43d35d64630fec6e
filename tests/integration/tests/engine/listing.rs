//! A large bucket is listed in many key ranges at once: whatever its keys look like, whatever
//! fails and whoever writes meanwhile, every key is seen once, for few requests more.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bucket_copy::{Amount, Halt, Report, Request, Status};
use s3_sim::{Config, Fault, FaultKind, GeneratedKeys, Latency, Object, Pattern};

use crate::fixture::{CUSTOMER, Fixture, bytes};

const KEPT: &str = ".replicator/listing/filesystem.json";
const SOURCE: &str = "generated";
const COPIES: &str = "generated-copies";

/// A source of generated keys, with some latency so that ranges are listed side by side.
async fn fixture(keys: GeneratedKeys) -> Fixture {
    let latency = Latency { list: Duration::from_millis(100), ..Latency::default() };
    let mut fixture = Fixture::with(Config { latency, ..Config::default() }).await;
    fixture.sim.state().create_generated_bucket(SOURCE, keys);
    fixture.settings.filesystem_bucket = Some(SOURCE.into());
    fixture
}

/// The same with all of it at the destination.
async fn copied_before(pattern: Pattern, count: u64) -> Fixture {
    let mut fixture = fixture(GeneratedKeys::pattern(pattern, count, 10)).await;
    let copies = GeneratedKeys::pattern(pattern, count, 10).with_prefix("filesystem/");
    fixture.sim.state().create_generated_bucket(COPIES, copies);
    fixture.settings.destination_bucket = Some(COPIES.into());
    fixture
}

/// A new object after each hundredth of 9,000.
fn add_new_ones(fixture: &Fixture) -> Vec<String> {
    let new: Vec<_> = (0..90).map(|index| format!("files/{:09}-new", index * 100)).collect();
    for key in &new {
        fixture.sim.state().put(SOURCE, key, Object::bytes("new"));
    }
    new
}

/// As an earlier run would have kept them.
fn keep(fixture: &Fixture, boundaries: &[&str]) {
    let bucket = fixture.settings.destination_bucket.clone().expect("a destination");
    let kept = serde_json::json!({
        "version": 1, "bucket": SOURCE, "pages": 1_000, "boundaries": boundaries,
    });
    fixture.sim.state().put(&bucket, KEPT, Object::bytes(kept.to_string()));
}

fn is_kept(fixture: &Fixture) -> bool {
    let bucket = fixture.settings.destination_bucket.clone().expect("a destination");
    fixture.sim.state().object(&bucket, KEPT).is_some()
}

/// Counts the requests for a key from now on.
fn count_requests(fixture: &Fixture, key: &'static str) -> Arc<AtomicU64> {
    let requests = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&requests);
    fixture.sim.on_request(move |event, _| {
        if event.is_before() && event.key == key {
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    requests
}

#[track_caller]
fn assert_unchanged(report: &Report, objects: u64) {
    let source = &report.sources[0];
    assert_eq!(report.status, Status::Complete, "{report:#?}");
    assert_eq!((source.listed.objects, source.unchanged.objects), (objects, objects), "{report:#?}");
    assert_eq!(source.only_at_destination, Amount::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_of_any_shape_takes_a_tenth_more_requests_at_the_most() {
    for (name, pattern) in Pattern::ALL {
        let fixture = copied_before(pattern, 105_000).await;
        assert_unchanged(&fixture.run().await, 105_000);
        let first = fixture.sim.counters();
        assert!(first.get("ListObjectsV2") <= 231, "{name}: {first}");
        assert!(first.peak_in_flight >= 4, "{name}: {first}");

        fixture.sim.reset_counters();
        let asked = count_requests(&fixture, KEPT);
        assert_unchanged(&fixture.run().await, 105_000);
        let second = fixture.sim.counters();
        assert!(second.get("ListObjectsV2") <= 231, "{name}: {second}");
        assert!(second.peak_in_flight >= 12, "{name}: {second}");
        // Boundaries that are right are read, and not written again.
        assert_eq!(asked.load(Ordering::Relaxed), 1, "{name}: {second}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn boundaries_at_any_letters_lose_no_key_and_copy_none_twice() {
    let fixture = copied_before(Pattern::NonAscii, 5_000).await;
    let inside = Pattern::NonAscii.key(2_600, 5_000);
    let boundaries =
        ["\u{1}", "a b/\u{10ffff}", "über/", "клю", "ключ/名前-0000019\u{d7ff}", &inside, "\u{e000}", "😀/"];
    keep(&fixture, &boundaries);
    let (state, mut new) = (fixture.sim.state(), 0);
    for key in boundaries.iter().filter(|key| **key != inside) {
        for key in [(*key).to_owned(), format!("{key}\u{1}"), format!("{key}\u{10ffff}")] {
            state.put(SOURCE, &key, Object::bytes("new"));
            new += 1;
        }
    }
    let report = fixture.run().await;
    let (counters, source) = (fixture.sim.counters(), &report.sources[0]);
    assert_eq!(report.status, Status::Complete, "{report:#?}");
    assert_eq!((source.copied.objects, source.unchanged.objects), (new, 5_000), "{report:#?}");
    assert_eq!(counters.get("CopyObject"), new, "{counters}");
    assert!(counters.get("ListObjectsV2") > 11, "it was listed in ranges: {counters}");
    fixture.sim.reset_counters();
    assert_unchanged(&fixture.run().await, 5_000 + new);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_in_ranges_survives_faults() {
    let mut fixture = copied_before(Pattern::Hex, 40_000).await;
    fixture.patience = Duration::from_millis(500);
    for kind in [FaultKind::InternalError, FaultKind::SlowDown, FaultKind::CutBefore, FaultKind::CutBody] {
        fixture.sim.add_fault(Fault::rate("ListObjectsV2", kind, 0.05));
    }
    fixture.sim.add_fault(Fault::kth("ListObjectsV2", 20, FaultKind::Hang));
    fixture.sim.add_fault(Fault::first("GetObject", 1, FaultKind::CutBody));
    for _ in 0..2 {
        assert_unchanged(&fixture.run().await, 40_000);
    }
}

/// One range that cannot be listed is an error of the run; the others are copied.
#[tokio::test(flavor = "multi_thread")]
async fn a_range_that_cannot_be_listed_keeps_no_other_from_being_copied() {
    let fixture = copied_before(Pattern::Sequential, 9_000).await;
    keep(&fixture, &["files/000005000", "files/000006000", "files/000007000", "files/000008000"]);
    let new = add_new_ones(&fixture);
    // After four pages of the first range on either side, two of four pages that come next.
    let broken = FaultKind::Error { status: 400, code: "InvalidArgument" };
    fixture.sim.add_fault(Fault::kth("ListObjectsV2", 12, broken));
    let report = fixture.run().await;
    let source = &report.sources[0];
    assert_eq!(report.status, Status::Failed, "{report:#?}");
    assert_eq!(source.error.as_ref().map(|error| error.error.as_str()), Some("Refused"));
    assert!((60..90).contains(&source.copied.objects), "{report:#?}");
    let after = source.stopped_after.clone().expect("up to where all was looked at");
    for key in new.iter().filter(|key| **key <= after) {
        assert!(fixture.sim.state().object(COPIES, &format!("filesystem/{key}")).is_some(), "{key} {after}");
    }
    let copied = source.copied.objects;
    let report = fixture.run().await;
    assert_eq!((report.status, report.sources[0].copied.objects), (Status::Complete, 90 - copied));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_out_of_order_in_any_range_are_an_error() {
    let disordered = |index| match index {
        6_500 => "files/000006400".to_owned(),
        _ => format!("files/{index:09}"),
    };
    let fixture = fixture(GeneratedKeys::new(9_000, 10, disordered)).await;
    keep(&fixture, &["files/000006000"]);
    let report = fixture.run().await;
    let error = report.sources[0].error.as_ref().map(|error| error.error.as_str());
    assert_eq!((report.status, error), (Status::Failed, Some("ListingOutOfOrder")), "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_grows_and_shrinks_while_it_is_listed_is_copied() {
    let fixture = copied_before(Pattern::Sequential, 6_000).await;
    for index in 0..600 {
        fixture.sim.state().delete(COPIES, &format!("filesystem/files/{:09}", index * 10));
    }
    keep(&fixture, &["files/000001500", "files/0000025", "files/0000040", "files/000005"]);
    let listed = AtomicU64::new(0);
    fixture.sim.on_request(move |event, state| {
        if event.is_before() && event.operation == "ListObjectsV2" && event.bucket == SOURCE {
            let nth = listed.fetch_add(1, Ordering::Relaxed);
            state.put(SOURCE, &format!("files/{:09}-new", nth * 700), Object::bytes("new"));
            state.delete(SOURCE, &format!("files/{:09}", nth * 600 + 1));
        }
    });
    let report = fixture.run().await;
    assert_eq!(report.status, Status::Complete, "{report:#?}");
    assert_eq!(report.sources[0].failed.objects, 0);
    for index in 0..600 {
        let key = format!("filesystem/files/{:09}", index * 10);
        assert!(fixture.sim.state().object(COPIES, &key).is_some(), "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prefix_and_a_time_narrow_a_listing_in_ranges() {
    let mut fixture = copied_before(Pattern::Dates, 30_000).await;
    fixture.run().await;
    assert!(is_kept(&fixture), "it pays above 20 pages a side");
    let below =
        (0..30_000).filter(|index| Pattern::Dates.key(*index, 30_000).starts_with("logs/2024/0")).count();
    fixture.request = Request { prefix: Some("logs/2024/0".into()), ..Request::default() };
    fixture.sim.reset_counters();
    let asked = count_requests(&fixture, KEPT);
    assert_unchanged(&fixture.run().await, below as u64);
    let counters = fixture.sim.counters();
    assert!(counters.get("ListObjectsV2") > 2 * (below as u64).div_ceil(1_000), "in ranges: {counters}");
    assert_eq!(asked.load(Ordering::Relaxed), 1, "a part's boundaries are not the bucket's");

    // Nothing of it is that young.
    fixture.settings.destination_bucket = Some(CUSTOMER.into());
    fixture.request.modified_after = Some("2025-01-01T00:00:00Z".into());
    keep(&fixture, &["logs/2024/03", "logs/2024/05/17"]);
    let report = fixture.run().await;
    assert_eq!(report.sources[0].left_out.objects, below as u64, "{report:#?}");
    assert_eq!(report.sources[0].copied.objects, 0);
}

/// Boundaries save time and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn boundaries_that_are_rubbish_or_may_not_be_kept_are_no_error() {
    let fixture = copied_before(Pattern::Sequential, 5_000).await;
    for rubbish in [
        "",
        "\u{0}nonsense",
        "[]",
        r#"{"version": 2, "bucket": "generated", "pages": 1, "boundaries": ["a"]}"#,
        r#"{"version": 1, "bucket": "another", "pages": 1, "boundaries": ["a"]}"#,
        r#"{"version": 1, "bucket": "generated", "pages": 1, "boundaries": ["b", "a"]}"#,
        r#"{"version": 1, "bucket": "generated", "pages": 18446744073709551615, "boundaries": [""]}"#,
    ] {
        fixture.sim.state().put(COPIES, KEPT, Object::bytes(rubbish));
        assert_unchanged(&fixture.run().await, 5_000);
    }
    let fixture = copied_before(Pattern::Sequential, 30_000).await;
    let denied = FaultKind::Error { status: 403, code: "AccessDenied" };
    for operation in ["GetObject", "PutObject"] {
        fixture.sim.clear_faults();
        fixture.sim.add_fault(Fault::first(operation, 9, denied));
        assert_unchanged(&fixture.run().await, 30_000);
        assert_eq!(is_kept(&fixture), operation == "GetObject");
        fixture.sim.state().delete(COPIES, KEPT);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn boundaries_are_not_kept_by_a_dry_run_nor_for_a_small_bucket() {
    let mut fixture = copied_before(Pattern::Sequential, 30_000).await;
    fixture.request.dry_run = true;
    assert_unchanged(&fixture.run().await, 30_000);
    assert!(!is_kept(&fixture));
    let fixture = copied_before(Pattern::Sequential, 3_000).await;
    assert_unchanged(&fixture.run().await, 3_000);
    assert!(!is_kept(&fixture));
    assert_eq!(fixture.sim.counters().total(), 6 + 3, "{}", fixture.sim.counters());
}

/// Up to the key that it names, a stopped run has looked at everything, in all ranges.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_in_ranges_that_is_stopped_says_up_to_where_everything_is_done() {
    let fixture = copied_before(Pattern::Sequential, 9_000).await;
    keep(&fixture, &["files/000004500", "files/000006000", "files/000007500"]);
    let new = add_new_ones(&fixture);
    let halt = Halt::never();
    let cancel = halt.clone();
    fixture.sim.on_request(move |event, _| {
        if event.operation == "ListObjectsV2" && event.nth == 16 {
            cancel.cancel();
        }
    });
    let report = fixture.try_run(&halt, Arc::new(())).await.expect("a report");
    let source = &report.sources[0];
    assert_eq!(report.status, Status::Stopped, "{report:#?}");
    let after = source.stopped_after.clone().expect("it says up to where");
    assert!(after.as_str() > "files/", "{after}");
    let copy = |key: &String| fixture.sim.state().object(COPIES, &format!("filesystem/{key}"));
    let missing = new.iter().filter(|key| **key <= after && copy(key).is_none()).count() as u64;
    assert!(missing <= source.interrupted.objects, "{missing} up to {after}: {source:#?}");
    assert_eq!(fixture.run().await.status, Status::Complete);
    assert!(new.iter().all(|key| copy(key).is_some()));
}

/// What a test puts into the source it generated is copied, too.
#[tokio::test(flavor = "multi_thread")]
async fn objects_between_the_keys_of_two_ranges_are_found() {
    let fixture = copied_before(Pattern::Sequential, 6_000).await;
    let boundaries = ["files/000001999", "files/000003999", "files/000004999"];
    keep(&fixture, &boundaries);
    for key in boundaries {
        fixture.sim.state().put(SOURCE, &format!("{key}\u{1}"), Object::new(bytes(1, 10)));
        fixture.sim.state().put(SOURCE, key, Object::new(bytes(2, 11)));
    }
    let report = fixture.run().await;
    assert_eq!((report.status, report.sources[0].copied.objects), (Status::Complete, 6), "{report:#?}");
}

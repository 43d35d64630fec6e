//! A run that was stopped is gone on with: what it looked at is not listed again, what it
//! copied, whole objects or parts, is not copied again, and in the end everything is as if
//! it had never been stopped.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bucket_copy::{Amount, Halt, Report, Request, Status};
use s3_sim::{Config, Encryption, Fault, FaultKind, GeneratedKeys, Latency, Object, Pattern, StorageClass};

use crate::fixture::{CUSTOMER, Fixture, LEASE, MIB, VENDOR, bytes};

/// A run of so many milliseconds.
pub(crate) async fn run_for(fixture: &Fixture, millis: u64) -> Report {
    let halt = Halt::at(Instant::now() + Duration::from_millis(millis));
    fixture.try_run(&halt, Arc::new(())).await.expect("a report")
}

/// Runs of so many milliseconds each until one is not stopped.
async fn rounds(fixture: &Fixture, millis: u64) -> Vec<Report> {
    let mut rounds = Vec::new();
    while rounds.len() < 100 {
        rounds.push(run_for(fixture, millis).await);
        if rounds.last().is_some_and(|report| report.status != Status::Stopped) {
            return rounds;
        }
    }
    panic!("no end in 100 rounds: {:#?}", rounds.last());
}

fn sum(rounds: &[Report], of: fn(&bucket_copy::SourceReport) -> Amount) -> u64 {
    rounds.iter().map(|report| report.total(of).objects).sum()
}

/// Two objects of 60 parts each, copied 4 parts at a time.
pub(crate) async fn large_objects(copy: Duration) -> Fixture {
    let latency = Latency { copy, ..Latency::default() };
    let mut fixture = Fixture::with(Config { latency, ..Config::default() }).await;
    fixture.settings.max_in_flight = Some("4".into());
    for (index, key) in ["a", "b"].into_iter().enumerate() {
        let object = Object::new(bytes(index as u64, 300 * MIB)).with_part_size(5 * MIB);
        fixture.sim.state().put(VENDOR, key, object);
    }
    fixture
}

/// Stops when so many parts are copied.
pub(crate) async fn run_until_parts(fixture: &Fixture, parts: u64) -> Report {
    let halt = Halt::never();
    let (cancel, from) = (halt.clone(), fixture.sim.counters().get("UploadPartCopy"));
    fixture.sim.on_request(move |event, _| {
        if event.operation == "UploadPartCopy" && event.nth == from + parts {
            cancel.cancel();
        }
    });
    let report = fixture.try_run(&halt, Arc::new(())).await.expect("a report");
    fixture.sim.clear_hooks();
    report
}

#[tokio::test]
async fn no_key_is_looked_at_twice_and_no_object_copied_twice_in_however_many_rounds() {
    const KEYS: u64 = 6_000;
    let mut fixture = Fixture::new().await;
    let keys = GeneratedKeys::pattern(Pattern::Sequential, KEYS, 10);
    fixture.sim.state().create_generated_bucket("generated", keys);
    fixture.settings.filesystem_bucket = Some("generated".into());
    fixture.settings.max_in_flight = Some("16".into());
    let mut rounds = Vec::new();
    loop {
        let halt = Halt::never();
        let (stop, from, nth) = (halt.clone(), fixture.sim.counters().get("CopyObject"), rounds.len());
        fixture.sim.on_request(move |event, _| {
            if event.is_before() && event.operation == "CopyObject" && event.nth == from + 900 {
                // Kindly, as a deadline does first, and not.
                if nth % 2 == 0 { stop.drain() } else { stop.cancel() }
            }
        });
        rounds.push(fixture.try_run(&halt, Arc::new(())).await.expect("a report"));
        fixture.sim.clear_hooks();
        if rounds.last().is_some_and(|report| report.status != Status::Stopped) {
            break;
        }
    }
    let last = rounds.last().expect("one at least");
    assert_eq!((last.status, rounds.len()), (Status::Complete, 7));
    assert_eq!(last.sources[0].resumed.as_ref().map(|resumed| resumed.runs), Some(6));

    assert_eq!(sum(&rounds, |source| source.listed), KEYS, "each key is looked at once");
    let interrupted = sum(&rounds, |source| source.interrupted);
    let copied = sum(&rounds, |source| source.copied);
    assert!((KEYS - interrupted..=KEYS).contains(&copied), "{copied}, {interrupted} interrupted");
    let counters = fixture.sim.counters();
    assert!(counters.get("CopyObject") <= KEYS + interrupted, "{counters}");
    assert_eq!(fixture.copies().len() as u64, KEYS);
    // The source's pages, and what a round had asked for when it was stopped: two a side.
    assert!(counters.get("ListObjectsV2") <= KEYS / 1_000 + 4 * rounds.len() as u64, "{counters}");
    assert_eq!(fixture.run().await.total(|source| source.unchanged).objects, KEYS);
}

#[tokio::test]
async fn an_upload_that_a_deadline_left_open_is_gone_on_with() {
    let fixture = large_objects(Duration::from_millis(20)).await;
    let rounds = rounds(&fixture, 500).await;
    assert_eq!(rounds.last().expect("one").status, Status::Complete);
    assert!(rounds.len() > 1, "one round tells nothing");
    for key in ["a", "b"] {
        fixture.assert_same(key);
    }
    let counters = fixture.sim.counters();
    // Those that were in flight when a round ended may have to be copied again.
    let again = 4 * (rounds.len() as u64 - 1);
    assert!(counters.get("UploadPartCopy") <= 120 + again, "{} rounds, {counters}", rounds.len());
    assert_eq!(counters.get("CreateMultipartUpload"), 2, "{counters}");
    fixture.assert_at_rest().await;
}

#[tokio::test]
async fn an_upload_whose_object_changed_meanwhile_is_aborted() {
    let fixture = large_objects(Duration::from_millis(5)).await;
    assert_eq!(run_until_parts(&fixture, 20).await.status, Status::Stopped);
    assert_ne!(fixture.sim.state().open_uploads(CUSTOMER), []);
    fixture.sim.state().put(VENDOR, "a", Object::new(bytes(7, 300 * MIB)).with_part_size(5 * MIB));
    fixture.sim.state().put(VENDOR, "b", Object::bytes("of one piece"));
    assert_eq!(fixture.run().await.status, Status::Complete);
    for key in ["a", "b"] {
        fixture.assert_same(key);
    }
    fixture.assert_at_rest().await;
}

#[tokio::test]
async fn an_upload_whose_object_is_gone_is_aborted() {
    let fixture = large_objects(Duration::from_millis(5)).await;
    assert_eq!(run_until_parts(&fixture, 20).await.status, Status::Stopped);
    for key in ["a", "b"] {
        fixture.sim.state().delete(VENDOR, key);
    }
    assert_eq!(fixture.run().await.status, Status::Complete);
    fixture.assert_at_rest().await;
}

/// Their ETags are no MD5s: nothing may be concluded from those of the parts that are there.
#[tokio::test]
async fn an_upload_under_kms_is_gone_on_with() {
    let fixture = large_objects(Duration::from_millis(5)).await;
    fixture.sim.state().set_default_encryption(CUSTOMER, Encryption::Kms("alias/backups".into()));
    assert_eq!(run_until_parts(&fixture, 40).await.status, Status::Stopped);
    assert_eq!(fixture.run().await.status, Status::Complete);
    let counters = fixture.sim.counters();
    assert!(counters.get("UploadPartCopy") <= 120 + 8, "{counters}");
    for key in ["a", "b"] {
        assert_eq!(fixture.customer(key).content, fixture.vendor(key).content);
    }
    assert_eq!(fixture.sim.state().open_uploads(CUSTOMER), []);
}

#[tokio::test]
async fn where_what_is_left_cannot_be_written_no_upload_is_left_open() {
    let fixture = large_objects(Duration::from_millis(5)).await;
    let halt = Halt::never();
    let cancel = halt.clone();
    let refused = FaultKind::Error { status: 403, code: "AccessDenied" };
    fixture.sim.on_request(move |event, _| {
        if event.operation == "UploadPartCopy" && event.nth == 20 {
            cancel.cancel();
        }
    });
    // Taken, but never renewed nor released.
    for nth in 2..100 {
        fixture.sim.add_fault(Fault::kth("PutObject", nth, refused));
    }
    let report = fixture.try_run(&halt, Arc::new(())).await.expect("a report");
    assert_eq!(report.status, Status::Stopped);
    assert_eq!(fixture.sim.state().open_uploads(CUSTOMER), []);
}

#[tokio::test]
async fn what_failed_before_a_stop_is_tried_again_and_what_is_archived_told_again() {
    let latency = Latency { copy: Duration::from_millis(10), ..Latency::default() };
    let mut fixture = Fixture::with(Config { latency, ..Config::default() }).await;
    fixture.settings.max_in_flight = Some("1".into());
    for index in 0..30 {
        fixture.sim.state().put(VENDOR, &format!("{index:02}"), Object::new(bytes(index, 10)));
    }
    fixture.sim.state().archive(VENDOR, "01", StorageClass::DeepArchive);
    let refused = FaultKind::Error { status: 400, code: "InvalidRequest" };
    fixture.sim.add_fault(Fault::kth("CopyObject", 3, refused));
    let halt = Halt::never();
    let cancel = halt.clone();
    fixture.sim.on_request(move |event, _| {
        if event.operation == "CopyObject" && event.nth == 10 {
            cancel.cancel();
        }
    });
    let report = fixture.try_run(&halt, Arc::new(())).await.expect("a report");
    assert_eq!((report.status, report.sources[0].failed.objects), (Status::Stopped, 1));
    fixture.sim.clear_hooks();

    let report = fixture.run().await;
    let source = &report.sources[0];
    assert_eq!(report.status, Status::ObjectsMissing, "one is archived still: {report:#?}");
    assert_eq!(
        (source.archived.objects, source.resumed.as_ref().map(|runs| runs.archived.objects)),
        (0, Some(1))
    );
    assert_eq!(fixture.copies().len(), 29);
    assert!(source.listed.objects < 30, "it does not look at everything again");
}

/// A large object in one piece, which no run has the time for.
#[tokio::test]
async fn what_no_run_has_the_time_for_does_not_keep_it_from_what_is_new() {
    let fixture = Fixture::new().await;
    fixture.sim.state().put(VENDOR, "slow", Object::bytes("slow"));
    fixture.sim.add_fault(Fault::first("CopyObject", 1_000, FaultKind::Hang).on_key("filesystem/slow"));
    for index in 0..4 {
        let new = format!("new-{index}");
        fixture.sim.state().put(VENDOR, &new, Object::bytes("new"));
        let halt = Halt::never();
        let stop = halt.clone();
        let key = format!("filesystem/{new}");
        fixture.sim.on_request(move |event, state| {
            // As soon as the new one is there.
            if event.operation == "CopyObject" && state.object(CUSTOMER, &key).is_some() {
                stop.cancel();
            }
        });
        let run = fixture.try_run(&halt, Arc::new(()));
        let report = tokio::time::timeout(Duration::from_secs(20), run).await.expect("the new one is seen");
        assert_eq!(report.expect("a report").status, Status::Stopped);
        fixture.sim.clear_hooks();
        fixture.assert_same(&new);
    }
}

#[tokio::test]
async fn a_narrower_run_leaves_alone_what_is_left_of_the_whole() {
    let mut fixture = large_objects(Duration::from_millis(5)).await;
    fixture.sim.state().put(VENDOR, "now/one", Object::bytes("one"));
    assert_eq!(run_until_parts(&fixture, 20).await.status, Status::Stopped);
    let open = fixture.sim.state().open_uploads(CUSTOMER).len();
    fixture.request = Request { prefix: Some("now/".into()), ..Request::default() };
    let report = fixture.run().await;
    assert_eq!((report.status, report.sources[0].resumed.as_ref()), (Status::Complete, None));
    assert_eq!((report.sources[0].listed.objects, fixture.copies().len()), (1, 1));
    assert_eq!(fixture.sim.state().open_uploads(CUSTOMER).len(), open);
    fixture.request = Request::default();
    assert_eq!(fixture.run().await.status, Status::Complete);
    assert_eq!(fixture.sim.counters().get("CreateMultipartUpload"), 2);
    fixture.assert_at_rest().await;
}

#[tokio::test]
async fn the_whole_goes_on_with_the_uploads_of_a_narrower_run() {
    let mut fixture = large_objects(Duration::from_millis(5)).await;
    fixture.request = Request { prefix: Some("a".into()), ..Request::default() };
    assert_eq!(run_until_parts(&fixture, 20).await.status, Status::Stopped);
    fixture.request = Request::default();
    let report = fixture.run().await;
    assert_eq!((report.status, report.sources[0].listed.objects), (Status::Complete, 2));
    assert_eq!(fixture.sim.counters().get("CreateMultipartUpload"), 2);
    fixture.assert_at_rest().await;
}

#[tokio::test]
async fn a_catch_up_of_another_kind_takes_the_place_of_the_one_before() {
    let mut fixture = large_objects(Duration::from_millis(5)).await;
    fixture.request = Request { prefix: Some("a".into()), ..Request::default() };
    assert_eq!(run_until_parts(&fixture, 20).await.status, Status::Stopped);
    fixture.request = Request { prefix: Some("b".into()), ..Request::default() };
    let report = fixture.run().await;
    assert_eq!((report.status, report.sources[0].listed.objects), (Status::Complete, 1));
    assert_eq!(fixture.sim.state().open_uploads(CUSTOMER), [], "nobody would go on with it");
}

/// Runs until `is_time`, and no further: as after a SIGKILL.
pub(crate) async fn die(fixture: &Fixture, is_time: impl AsyncFn() -> bool) {
    let halt = Halt::never();
    let until = async {
        while !is_time().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        report = fixture.try_run(&halt, Arc::new(())) => panic!("it came to its end: {report:#?}"),
        () = until => {}
    }
    assert_ne!(fixture.sim.state().open_uploads(CUSTOMER), []);
}

/// What the lease says is open.
async fn noted(fixture: &Fixture) -> usize {
    let lease = lease(fixture).await;
    lease["left"][0]["uploads"].as_array().map_or(0, Vec::len)
}

pub(crate) async fn lease(fixture: &Fixture) -> serde_json::Value {
    let get = fixture.clients().destination.get_object().bucket(CUSTOMER).key(LEASE).send().await;
    let body = get.expect("a lease").body.collect().await.expect("its body").to_vec();
    serde_json::from_slice(&body).expect("JSON")
}

/// As if nothing had been written since the lease was taken.
pub(crate) async fn unnote_uploads(fixture: &Fixture) {
    let mut lease = lease(fixture).await;
    lease["left"][0]["uploads"] = serde_json::json!([]);
    let put = fixture.clients().destination.put_object().bucket(CUSTOMER).key(LEASE);
    put.body(lease.to_string().into_bytes().into()).send().await.expect("put");
}

#[tokio::test]
async fn a_killed_run_is_gone_on_with_from_what_it_noted() {
    let fixture = large_objects(Duration::from_millis(400)).await;
    die(&fixture, async || fixture.sim.counters().get("UploadPartCopy") > 8 && noted(&fixture).await > 0)
        .await;
    assert_eq!(fixture.succeed().await.status, Status::Complete);
    for key in ["a", "b"] {
        fixture.assert_same(key);
    }
    assert_eq!(fixture.sim.counters().get("CreateMultipartUpload"), 2);
    fixture.assert_at_rest().await;
}

#[tokio::test]
async fn what_a_killed_run_had_no_time_to_note_is_found_by_its_key() {
    let fixture = large_objects(Duration::from_millis(60)).await;
    die(&fixture, async || fixture.sim.counters().get("UploadPartCopy") > 1).await;
    unnote_uploads(&fixture).await;
    assert_eq!(fixture.succeed().await.status, Status::Complete);
    for key in ["a", "b"] {
        fixture.assert_same(key);
    }
    fixture.assert_at_rest().await;
}

/// Somebody else's upload at another key, and one at a key of ours from before, stay.
#[tokio::test]
async fn a_strangers_upload_is_never_aborted() {
    let fixture = large_objects(Duration::from_millis(60)).await;
    let open = async |key: &str| {
        let create = fixture.clients().destination.create_multipart_upload().bucket(CUSTOMER).key(key);
        create.send().await.expect("an upload");
    };
    open("filesystem/not-at-the-source").await;
    open("elsewhere/a").await;
    die(&fixture, async || fixture.sim.counters().get("UploadPartCopy") > 1).await;
    assert_eq!(fixture.succeed().await.status, Status::Complete);
    let open = fixture.sim.state().open_uploads(CUSTOMER);
    let mut keys: Vec<_> = open.iter().map(|upload| upload.key.as_str()).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["elsewhere/a", "filesystem/not-at-the-source"]);
}

#[tokio::test]
async fn rubbish_for_what_is_left_is_as_good_as_nothing() {
    let fixture = large_objects(Duration::ZERO).await;
    assert_eq!(run_until_parts(&fixture, 20).await.status, Status::Stopped);
    let lease = lease(&fixture).await;
    for ranges in [r#"[{"after": "b", "up_to": "a"}]"#, r#"[{}, {}]"#, r#"{}"#, r#"[{"after": 7}]"#] {
        let mut lease = lease.clone();
        lease["left"][0]["ranges"] = serde_json::from_str(ranges).expect("JSON");
        let put = fixture.clients().destination.put_object().bucket(CUSTOMER).key(LEASE);
        put.body(lease.to_string().into_bytes().into()).send().await.expect("put");
        let report = fixture.run().await;
        assert_eq!((report.status, report.sources[0].listed.objects), (Status::Complete, 2), "{ranges}");
    }
}

/// Else each run would go on there, and none would ever look at what comes before.
#[tokio::test]
async fn a_run_that_may_not_note_that_it_went_on_is_no_complete_one() {
    let mut fixture = Fixture::new().await;
    let keys = GeneratedKeys::pattern(Pattern::Sequential, 6_000, 10);
    fixture.sim.state().create_generated_bucket("generated", keys);
    fixture.settings.filesystem_bucket = Some("generated".into());
    fixture.settings.max_in_flight = Some("16".into());
    let halt = Halt::never();
    let drain = halt.clone();
    fixture.sim.on_request(move |event, _| {
        if event.operation == "CopyObject" && event.nth == 500 {
            drain.drain();
        }
    });
    let report = fixture.try_run(&halt, Arc::new(())).await.expect("a report");
    assert_eq!(report.status, Status::Stopped, "{report:#?}");
    fixture.sim.clear_hooks();
    let denied = FaultKind::Error { status: 403, code: "AccessDenied" };
    fixture.sim.add_fault(Fault::rate("PutObject", denied, 1.0).on_key(".replicator/lease/filesystem.json"));
    let report = fixture.run().await;
    assert_eq!(report.status, Status::Failed, "{report:#?}");
    let error = report.sources[0].error.as_ref().expect("an error");
    assert!(error.remedy.text.contains("s3:PutObject"), "{error:?}");
}

/// They are written after their object is complete.
#[tokio::test]
async fn annotations_that_a_stop_kept_from_their_object_come_with_the_next_run() {
    let fixture = Fixture::new().await;
    let object = Object::new(bytes(1, 6 * MIB)).with_parts(vec![5 * MIB, MIB]);
    fixture.sim.state().put(VENDOR, "parts", object.with_annotation("origin", "{}"));
    let halt = Halt::never();
    let cancel = halt.clone();
    fixture.sim.on_request(move |event, _| {
        if !event.is_before() && event.operation == "CompleteMultipartUpload" {
            cancel.cancel();
        }
    });
    let report = fixture.try_run(&halt, Arc::new(())).await.expect("a report");
    assert_eq!(report.sources[0].interrupted.objects, 1, "{report:#?}");
    assert_eq!(fixture.customer("parts").annotations.len(), 0);
    fixture.sim.clear_hooks();
    assert_eq!(fixture.run().await.status, Status::Complete);
    fixture.assert_same("parts");
    assert_eq!(fixture.customer("parts").annotations.len(), 1);
    fixture.assert_at_rest().await;
}

/// By the listings, their object is there.
#[tokio::test]
async fn annotations_that_failed_come_with_the_run_that_can_write_them() {
    let mut fixture = Fixture::new().await;
    let object = Object::new(bytes(1, 6 * MIB)).with_parts(vec![5 * MIB, MIB]);
    fixture.sim.state().put(VENDOR, "parts", object.with_annotation("origin", "{}"));
    let refused = FaultKind::Error { status: 400, code: "InvalidRequest" };
    fixture.sim.add_fault(Fault::rate("PutObjectAnnotation", refused, 1.0));
    for _ in 0..2 {
        let report = fixture.run().await;
        assert_eq!(report.status, Status::ObjectsMissing, "{report:#?}");
    }
    // A stop before it is looked at, and a run over a part alone, forget nothing.
    let stopped = Halt::never();
    stopped.drain();
    assert_eq!(fixture.try_run(&stopped, Arc::new(())).await.expect("a report").status, Status::Stopped);
    fixture.request.prefix = Some("other/".into());
    assert_eq!(fixture.run().await.status, Status::Complete);
    fixture.request.prefix = None;
    assert_eq!(fixture.run().await.status, Status::ObjectsMissing);
    fixture.sim.clear_faults();
    assert_eq!(fixture.run().await.status, Status::Complete);
    assert_eq!(fixture.customer("parts").annotations.len(), 1);
    fixture.assert_at_rest().await;
}

//! What a run leaves is not forgotten because another kind of run comes next: over a part of
//! the source, over another route, one that goes on, or one that fails.

use std::sync::Arc;
use std::time::Duration;

use bucket_copy::{Halt, Report, Request, Status};
use s3_sim::{Config, Fault, FaultKind, GeneratedKeys, Latency, Object, Pattern};

use crate::fixture::{CUSTOMER, Fixture, MIB, VENDOR, bytes};
use crate::resumes::{die, large_objects, lease, run_for, run_until_parts, unnote_uploads};

const REFUSED: FaultKind = FaultKind::Error { status: 400, code: "InvalidRequest" };

/// Streamed objects: their annotations come after them.
async fn streamed(keys: &[&str]) -> Fixture {
    let mut fixture = Fixture::new().await;
    fixture.settings.transfer = Some("stream".into());
    for key in keys {
        fixture.sim.state().put(VENDOR, key, Object::bytes("x").with_annotation("origin", "{}"));
    }
    fixture
}

fn part(prefix: &str) -> Request {
    Request { prefix: Some(prefix.into()), ..Request::default() }
}

/// Stopped as soon as this object has arrived.
async fn run_until_arrived(fixture: &Fixture, key: &str) -> Report {
    let halt = Halt::never();
    let (cancel, key) = (halt.clone(), format!("filesystem/{key}"));
    fixture.sim.on_request(move |event, _| {
        if !event.is_before() && event.operation == "PutObject" && event.key == key {
            cancel.cancel();
        }
    });
    let report = fixture.try_run(&halt, Arc::new(())).await.expect("a report");
    fixture.sim.clear_hooks();
    assert_eq!(report.status, Status::Stopped, "{report:#?}");
    report
}

#[tokio::test]
async fn an_object_that_arrived_without_its_annotations_is_looked_at_by_the_whole() {
    for between in [None, Some("other/")] {
        let mut fixture = streamed(&["a/x"]).await;
        fixture.request = part("a/");
        run_until_arrived(&fixture, "a/x").await;
        assert_eq!(fixture.customer("a/x").annotations.len(), 0);
        if let Some(prefix) = between {
            fixture.request = part(prefix);
            assert_eq!(fixture.run().await.status, Status::Complete);
        }
        fixture.request = Request::default();
        assert_eq!(fixture.run().await.status, Status::Complete);
        assert_eq!(fixture.customer("a/x").annotations.len(), 1, "{between:?}");
        fixture.assert_at_rest().await;
    }
}

#[tokio::test]
async fn it_is_looked_at_by_a_run_that_copies_in_another_way() {
    let mut fixture = streamed(&["x"]).await;
    run_until_arrived(&fixture, "x").await;
    fixture.settings.transfer = None;
    assert_eq!(fixture.run().await.status, Status::Complete);
    assert_eq!(fixture.customer("x").annotations.len(), 1);
    fixture.assert_at_rest().await;
}

/// A run that goes on with the rest of the whole does not come by what was added before it.
#[tokio::test]
async fn what_a_run_that_goes_on_does_not_look_at_stays_in_doubt() {
    let mut fixture = streamed(&["k1", "k2", "k3"]).await;
    fixture.settings.max_in_flight = Some("1".into());
    run_until_arrived(&fixture, "k1").await;
    fixture.sim.state().put(VENDOR, "a/x", Object::bytes("x").with_annotation("origin", "{}"));
    fixture.request = part("a/");
    fixture.sim.add_fault(Fault::rate("PutObjectAnnotation", REFUSED, 1.0));
    assert_eq!(fixture.run().await.status, Status::ObjectsMissing);
    fixture.sim.clear_faults();
    fixture.request = Request::default();
    let rest = fixture.run().await;
    assert_eq!((rest.status, rest.sources[0].resumed.is_some()), (Status::Complete, true), "{rest:#?}");
    assert_eq!(fixture.run().await.status, Status::Complete);
    for key in ["a/x", "k1", "k2", "k3"] {
        assert_eq!(fixture.customer(key).annotations.len(), 1, "{key}");
    }
    fixture.assert_at_rest().await;
}

#[tokio::test]
async fn of_two_uploads_of_one_object_one_is_gone_on_with_and_the_other_aborted() {
    let mut fixture = large_objects(Duration::from_millis(5)).await;
    assert_eq!(run_until_parts(&fixture, 20).await.status, Status::Stopped);
    fixture.request = part("a");
    assert_eq!(run_until_parts(&fixture, 20).await.status, Status::Stopped);
    assert!(fixture.sim.state().open_uploads(CUSTOMER).len() > 1);
    fixture.request = Request::default();
    assert_eq!(fixture.run().await.status, Status::Complete);
    fixture.assert_at_rest().await;
}

/// It was overwritten while it was copied, and is copied again in the same run.
#[tokio::test]
async fn an_upload_that_cannot_be_aborted_before_the_next_of_its_key_is_aborted_at_the_end() {
    let fixture = Fixture::new().await;
    fixture.sim.state().put(VENDOR, "parts", Object::new(bytes(1, 11 * MIB)).with_part_size(5 * MIB));
    let overwritten = FaultKind::Error { status: 412, code: "PreconditionFailed" };
    fixture.sim.add_fault(Fault::kth("UploadPartCopy", 2, overwritten));
    fixture.sim.add_fault(Fault::first("AbortMultipartUpload", 3, REFUSED));
    assert_eq!(fixture.run().await.status, Status::Complete);
    assert_eq!(fixture.sim.counters().get("CreateMultipartUpload"), 2);
    fixture.assert_at_rest().await;
}

/// A run was killed before it could note its uploads, and the next one fails.
#[tokio::test]
async fn uploads_that_nobody_noted_are_found_by_the_run_that_comes_so_far() {
    let fixture = large_objects(Duration::from_millis(60)).await;
    die(&fixture, async || fixture.sim.counters().get("UploadPartCopy") > 1).await;
    unnote_uploads(&fixture).await;
    fixture.sim.add_fault(Fault::rate("HeadObject", REFUSED, 1.0));
    assert_eq!(fixture.succeed().await.status, Status::ObjectsMissing);
    assert_ne!(fixture.sim.state().open_uploads(CUSTOMER), []);
    fixture.sim.clear_faults();
    assert_eq!(fixture.run().await.status, Status::Complete);
    fixture.assert_at_rest().await;
}

/// However often it is stopped, a run leaves no more by name than the next can hold.
#[tokio::test]
async fn what_is_left_by_name_does_not_grow_from_stop_to_stop() {
    let latency = Latency { copy: Duration::from_millis(100), ..Latency::default() };
    let mut fixture = Fixture::with(Config { latency, ..Config::default() }).await;
    let keys = GeneratedKeys::pattern(Pattern::Sequential, 60_000, 10);
    fixture.sim.state().create_generated_bucket("generated", keys);
    fixture.settings.filesystem_bucket = Some("generated".into());
    fixture.settings.max_in_flight = Some("32".into());
    for _ in 0..5 {
        assert_eq!(run_for(&fixture, 2_000).await.status, Status::Stopped);
        let noted = lease(&fixture).await;
        let objects = noted["left"][0]["objects"].as_array().map_or(0, Vec::len);
        assert!((1..=21_000).contains(&objects), "{objects}");
    }
}

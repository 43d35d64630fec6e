//! A source that changes while it is copied: the copy is the object as it was at one
//! moment, never a mixture, and a deleted one is no failure.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bucket_copy::{Fate, Halt, Status};
use s3_sim::Object;

use crate::fixture::{CUSTOMER, Fixture, MIB, Outcomes, VENDOR, bytes};

fn parts(seed: u64, count: u64) -> Object {
    Object::new(bytes(seed, count * 5 * MIB)).with_part_size(5 * MIB)
}

#[tokio::test]
async fn an_object_overwritten_after_it_was_listed_is_copied_as_it_is_now() {
    let fixture = Fixture::new().await;
    fixture.sim.state().put(VENDOR, "single", Object::bytes("old"));
    fixture.sim.state().put(VENDOR, "parts", parts(1, 4));
    fixture.sim.on_request(|event, state| {
        if event.is_before() && event.nth == 1 && event.operation == "CopyObject" {
            state.put(VENDOR, "single", Object::bytes("new and longer"));
        }
        // The third of four parts: two of the old object are copied.
        if event.is_before() && event.nth == 3 && event.operation == "UploadPartCopy" {
            state.put(VENDOR, "parts", parts(2, 6));
        }
    });
    let report = fixture.run().await;
    assert_eq!((report.status, report.sources[0].overwritten), (Status::Complete, 2), "{report:#?}");
    fixture.assert_same("single");
    fixture.assert_same("parts");
    fixture.assert_at_rest().await;
}

#[tokio::test]
async fn an_object_of_parts_may_become_a_single_one_and_the_other_way_round() {
    let fixture = Fixture::new().await;
    fixture.sim.state().put(VENDOR, "shrinks", parts(1, 3));
    fixture.sim.state().put(VENDOR, "grows", Object::bytes("small"));
    fixture.sim.on_request(|event, state| {
        if event.is_before() && event.nth == 1 && event.operation == "UploadPartCopy" {
            state.put(VENDOR, "shrinks", Object::bytes("small"));
        }
        if event.is_before()
            && event.operation == "CopyObject"
            && event.key.ends_with("grows")
            && event.nth < 3
        {
            state.put(VENDOR, "grows", parts(2, 3));
        }
    });
    assert_eq!(fixture.run().await.status, Status::Complete);
    fixture.assert_same("shrinks");
    fixture.assert_same("grows");
    fixture.assert_at_rest().await;
}

#[tokio::test]
async fn an_object_deleted_after_it_was_listed_is_gone_and_no_failure() {
    let fixture = Fixture::new().await;
    for key in ["single", "single-too"] {
        fixture.sim.state().put(VENDOR, key, Object::bytes(key));
    }
    fixture.sim.state().put(VENDOR, "parts", parts(1, 3));
    fixture.sim.on_request(|event, state| {
        if event.is_before() && event.operation == "CopyObject" && event.key.ends_with("single") {
            state.delete(VENDOR, "single");
        }
        if event.is_before() && event.operation == "UploadPartCopy" && event.nth == 2 {
            state.delete(VENDOR, "parts");
        }
    });
    let report = fixture.run().await;
    assert_eq!((report.status, report.sources[0].gone.objects), (Status::Complete, 2), "{report:#?}");
    assert_eq!(fixture.copies(), ["filesystem/single-too"]);
    fixture.assert_at_rest().await;
}

#[tokio::test]
async fn an_object_that_never_rests_is_a_failure_not_a_torn_copy() {
    let fixture = Fixture::new().await;
    fixture.sim.state().put(VENDOR, "restless", parts(0, 3));
    fixture.sim.state().put(VENDOR, "calm", Object::bytes("calm"));
    let version = AtomicU64::new(1);
    fixture.sim.on_request(move |event, state| {
        if event.is_before() && event.operation == "UploadPartCopy" {
            state.put(VENDOR, "restless", parts(version.fetch_add(1, Ordering::Relaxed), 3));
        }
    });
    let outcomes = Arc::new(Outcomes::default());
    let report = fixture.try_run(&Halt::never(), outcomes.clone()).await.expect("a run");
    assert_eq!(report.status, Status::ObjectsMissing);
    assert!(
        matches!(&outcomes.of("restless")[..], [Fate::Failed(failure)] if failure.error == "KeepsChanging")
    );
    assert_eq!(fixture.copies(), ["filesystem/calm"]);
    assert_eq!(fixture.sim.state().open_uploads(CUSTOMER), []);
}

/// S3 dates an object of parts to the moment its upload was opened. The copy of the object
/// before it can be younger than that.
#[tokio::test]
async fn an_upload_that_was_open_while_its_predecessor_was_copied_is_not_missed() {
    let fixture = Fixture::new().await;
    fixture.sim.state().put(VENDOR, "image", parts(1, 3));
    fixture.run().await;
    fixture.sim.state().put(VENDOR, "image", parts(2, 3));
    let opened = SystemTime::now() - Duration::from_secs(3_600);
    fixture.sim.state().set_last_modified(VENDOR, "image", opened);
    fixture.run().await;
    fixture.assert_same("image");
    fixture.assert_at_rest().await;
}

//! A run that is stopped ends within seconds, and says what is left; run again, it ends where
//! an undisturbed one would, and no upload is open.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bucket_copy::{Halt, Status};
use s3_sim::{Config, Fault, FaultKind, Latency, Object};

use crate::fixture::{CUSTOMER, Fixture, MIB, VENDOR, bytes};

fn slow_copies(copy: Duration) -> Config {
    Config { latency: Latency { copy, ..Latency::default() }, ..Config::default() }
}

#[tokio::test]
async fn a_deadline_ends_a_run_in_time_and_the_next_one_goes_on() {
    let mut fixture = Fixture::with(slow_copies(Duration::from_millis(10))).await;
    fixture.settings.max_in_flight = Some("2".into());
    for index in 0..400 {
        fixture.sim.state().put(VENDOR, &format!("{index:04}"), Object::new(bytes(index, 10)));
    }
    // 400 copies, 2 at a time, 10 ms each: 2 s.
    let deadline = Instant::now() + Duration::from_millis(1_000);
    let report = fixture.try_run(&Halt::at(deadline), Arc::new(())).await.expect("a report");
    assert!(Instant::now() < deadline, "it answered too late");
    assert_eq!(report.status, Status::Stopped);
    let source = &report.sources[0];
    let after = source.stopped_after.clone().expect("it says where it stopped");
    assert!(source.copied.objects > 0 && source.copied.objects < 400, "{source:?}");
    let copied = fixture.copies();
    // What was in flight at the very end may have arrived unheard.
    let said = source.copied.objects..=source.copied.objects + source.interrupted.objects;
    assert!(said.contains(&(copied.len() as u64)), "{} copied, {source:?}", copied.len());
    assert!(copied.iter().all(|key| *key <= format!("filesystem/{after}")), "{after}");

    let interrupted = source.interrupted.objects;
    assert_eq!(fixture.run().await.status, Status::Complete);
    assert!(fixture.sim.counters().get("CopyObject") <= 400 + interrupted, "nothing is copied twice");
    assert_eq!(fixture.copies().len(), 400);
    fixture.assert_at_rest().await;
}

#[tokio::test]
async fn a_cancelled_run_reports_at_once_and_leaves_its_uploads_to_the_next() {
    let fixture = Fixture::with(slow_copies(Duration::from_secs(1))).await;
    for index in 0..4 {
        let object = Object::new(bytes(index, 50 * MIB)).with_part_size(5 * MIB);
        fixture.sim.state().put(VENDOR, &format!("parts-{index}"), object);
    }
    let halt = Halt::never();
    let cancel = halt.clone();
    fixture.sim.on_request(move |event, _| {
        // A second after parts of all four were sent.
        if event.operation == "UploadPartCopy" && event.nth == 1 {
            cancel.cancel();
        }
    });
    let began = Instant::now();
    let report = fixture.try_run(&halt, Arc::new(())).await.expect("a report");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!((report.status, report.sources[0].interrupted.objects), (Status::Stopped, 4));
    assert_eq!((fixture.sim.state().open_uploads(CUSTOMER).len(), fixture.copies().len()), (4, 0));
    fixture.sim.clear_hooks();
    assert_eq!(fixture.run().await.status, Status::Complete);
    assert_eq!(fixture.sim.counters().get("CreateMultipartUpload"), 4);
    fixture.assert_at_rest().await;
}

/// Dropped in the middle, as a killed process is: nothing half is under a final key, and the
/// next run completes.
#[tokio::test]
async fn a_run_that_is_dropped_at_any_moment_and_run_again_is_complete() {
    let fixture = Fixture::with(slow_copies(Duration::from_millis(5))).await;
    for index in 0..60 {
        fixture.sim.state().put(VENDOR, &format!("single-{index}"), Object::new(bytes(index, 10)));
    }
    for index in 0..6 {
        let object = Object::new(bytes(100 + index, 23 * MIB)).with_part_size(5 * MIB);
        fixture.sim.state().put(VENDOR, &format!("parts-{index}"), object);
    }
    for millis in [1, 3, 7, 12, 20, 30] {
        let halt = Halt::never();
        let run = fixture.try_run(&halt, Arc::new(()));
        // Whether it got to its end or not is the point of trying several times.
        drop(tokio::time::timeout(Duration::from_millis(millis), run).await);
        fixture.let_lease_lapse();
        for key in fixture.copies() {
            fixture.assert_same(key.strip_prefix("filesystem/").expect("below the prefix"));
        }
    }
    assert_eq!(fixture.succeed().await.status, Status::Complete);
    for key in fixture.sim.state().keys(VENDOR) {
        fixture.assert_same(&key);
    }
}

#[tokio::test]
async fn an_upload_that_is_being_aborted_when_the_run_is_stopped_is_not_left_open() {
    let fixture = Fixture::new().await;
    fixture.sim.state().put(VENDOR, "parts", Object::new(bytes(1, 11 * MIB)).with_part_size(5 * MIB));
    let refused = FaultKind::Error { status: 400, code: "InvalidRequest" };
    fixture.sim.add_fault(Fault::kth("UploadPartCopy", 2, refused));
    fixture.sim.add_fault(Fault::kth("AbortMultipartUpload", 1, FaultKind::Hang));
    let halt = Halt::never();
    let run = fixture.try_run(&halt, Arc::new(()));
    let stop = async {
        while fixture.sim.counters().get("AbortMultipartUpload") == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        halt.cancel();
    };
    let (report, ()) = tokio::join!(run, stop);
    assert_eq!(report.expect("a report").sources[0].copied.objects, 0);
    assert_eq!(fixture.sim.state().open_uploads(CUSTOMER), []);
}

#[tokio::test]
async fn an_upload_that_cannot_be_aborted_at_once_is_aborted_at_the_end() {
    let fixture = Fixture::new().await;
    fixture.sim.state().put(VENDOR, "parts", Object::new(bytes(1, 11 * MIB)).with_part_size(5 * MIB));
    let refused = FaultKind::Error { status: 400, code: "InvalidRequest" };
    fixture.sim.add_fault(Fault::kth("UploadPartCopy", 2, refused));
    fixture.sim.add_fault(Fault::first("AbortMultipartUpload", 3, refused));
    let report = fixture.run().await;
    assert_eq!(report.sources[0].failed.objects, 1, "{report:#?}");
    assert_eq!(fixture.sim.counters().get("AbortMultipartUpload"), 4);
    assert_eq!(fixture.sim.state().open_uploads(CUSTOMER), []);
}

/// Whatever the server does, the report comes before the deadline's last seconds are over.
#[tokio::test]
async fn an_upload_whose_opening_hangs_does_not_hold_up_a_stopped_run() {
    let fixture = Fixture::new().await;
    fixture.sim.state().put(VENDOR, "parts", Object::new(bytes(1, 11 * MIB)).with_part_size(5 * MIB));
    for operation in ["CreateMultipartUpload", "ListMultipartUploads", "AbortMultipartUpload", "ListParts"] {
        let kind = if operation == "CreateMultipartUpload" { FaultKind::CutAfter } else { FaultKind::Hang };
        let count = if operation == "ListMultipartUploads" { 1 } else { 100 };
        fixture.sim.add_fault(Fault::first(operation, count, kind));
    }
    let halt = Halt::never();
    let run = fixture.try_run(&halt, Arc::new(()));
    let stop = async {
        while fixture.sim.counters().get("CreateMultipartUpload") == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        halt.cancel();
        Instant::now()
    };
    let (report, stopped) = tokio::join!(run, stop);
    assert_eq!(report.expect("a report").status, Status::Stopped);
    assert!(stopped.elapsed() < Duration::from_secs(5), "{:?}", stopped.elapsed());
}

/// Many large objects and little time: were all of them begun at once, none would get done,
/// in this run or any other.
#[tokio::test]
async fn a_run_that_cannot_copy_all_large_objects_finishes_some() {
    let mut fixture = Fixture::with(slow_copies(Duration::from_millis(200))).await;
    fixture.settings.max_in_flight = Some("16".into());
    for index in 0..16 {
        let object = Object::new(bytes(index, 100 * MIB)).with_part_size(5 * MIB);
        fixture.sim.state().put(VENDOR, &format!("{index:02}"), object);
    }
    // 320 parts, 16 at a time, 200 ms each: 4 s.
    let deadline = Instant::now() + Duration::from_millis(3_000);
    let report = fixture.try_run(&Halt::at(deadline), Arc::new(())).await.expect("a report");
    assert_eq!(report.status, Status::Stopped);
    assert!(report.sources[0].copied.objects >= 2, "{report:#?}");
    assert_eq!(fixture.run().await.status, Status::Complete);
    assert_eq!(fixture.copies().len(), 16);
    fixture.assert_at_rest().await;
}

/// A copy that still waits for its place when the time is up would only be cut off.
#[tokio::test]
async fn nothing_is_begun_that_cannot_end_in_time() {
    let mut fixture = Fixture::with(slow_copies(Duration::from_millis(10_900))).await;
    fixture.settings.max_in_flight = Some("1".into());
    for key in ["first", "second"] {
        fixture.sim.state().put(VENDOR, key, Object::bytes(key));
    }
    // No object is begun after 10.8 s, and the first one's copy ends before 11.4 s.
    let halt = Halt::at(Instant::now() + Duration::from_secs(12));
    let report = fixture.try_run(&halt, Arc::new(())).await.expect("a report");
    let source = &report.sources[0];
    assert_eq!((report.status, source.copied.objects), (Status::Stopped, 1), "{source:#?}");
    assert_eq!(fixture.sim.counters().get("CopyObject"), 1);
}

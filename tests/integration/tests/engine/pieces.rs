//! A run that has no time for all is cut into pieces: many go on with them at once, one closes
//! it, and the end is that of an undisturbed run. What nobody goes on with, the next run does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bucket_copy::pieces::{self, HandedOver};
use bucket_copy::{Clients, Halt, Report, RunError, Status};
use futures_util::{StreamExt, stream};
use s3_sim::{Config, Fault, FaultKind, Latency, Object};

use crate::fixture::{CUSTOMER, Fixture, MIB, VENDOR, bytes};

const OBJECTS: u64 = 600;

fn soon(millis: u64) -> Halt {
    Halt::at(Instant::now() + Duration::from_millis(millis))
}

/// A run whose time is up when a part of it is done. 600 copies of 20 ms, 4 at a time: 3 s.
async fn handed_over() -> (Fixture, HandedOver) {
    let latency = Latency { copy: Duration::from_millis(20), ..Latency::default() };
    let mut fixture = Fixture::with(Config { latency, ..Config::default() }).await;
    fixture.settings.max_in_flight = Some("4".into());
    fixture.hands_over = true;
    for index in 0..OBJECTS {
        fixture.sim.state().put(VENDOR, &format!("{index:04}"), Object::new(bytes(index, 10)));
    }
    let large = Object::new(bytes(1, 23 * MIB)).with_part_size(5 * MIB);
    fixture.sim.state().put(VENDOR, "large", large.with_annotation("origin", "{}"));
    let report = fixture.try_run(&soon(1_200), Arc::new(())).await.expect("a report");
    assert_eq!(report.status, Status::Stopped);
    let over = report.sources[0].handed_over.clone().expect("handed over");
    assert!(over.pieces > 4, "{over:?}");
    (fixture, over)
}

async fn copy(
    fixture: &Fixture,
    clients: &Clients,
    piece: &str,
    halt: &Halt,
) -> Result<pieces::Step, RunError> {
    pieces::copy(&fixture.plan(), clients, halt, piece).await
}

async fn close(fixture: &Fixture, over: &HandedOver) -> Result<Report, RunError> {
    pieces::close(&fixture.plan(), &fixture.clients(), &over.run).await.map(|(_, report)| report)
}

/// Goes on with a piece until it is done; the first call may not get far.
async fn finish(fixture: &Fixture, clients: &Clients, piece: &str) {
    let first = copy(fixture, clients, piece, &soon(50)).await.expect("a step");
    assert!(first.complete || copy(fixture, clients, piece, &Halt::never()).await.expect("a step").complete);
}

/// But for the copies that were dropped at the first run's deadline.
fn assert_nothing_is_copied_twice(fixture: &Fixture) {
    let copies = fixture.sim.counters().get("CopyObject");
    assert!((OBJECTS..=OBJECTS + 4).contains(&copies), "{copies} copies of {OBJECTS}");
}

#[tokio::test]
async fn the_pieces_of_a_run_are_copied_by_many_at_once_and_closed_as_one_run() {
    let (fixture, over) = handed_over().await;
    let clients = fixture.clients();
    let held = fixture.try_run(&Halt::never(), Arc::new(())).await.expect_err("it goes on elsewhere");
    assert_eq!(held.name(), "HeldByAnother", "{held}");
    let names: Vec<_> = (0..over.pieces).map(|number| format!("{}/{number}", over.run)).collect();
    let calls = stream::iter(&names).map(|piece| finish(&fixture, &clients, piece)).buffer_unordered(4);
    calls.collect::<()>().await;
    let report = close(&fixture, &over).await.expect("a report");
    assert_eq!(report.status, Status::Complete, "{report:#?}");
    assert_eq!(report.sources[0].copied.objects, OBJECTS + 1);
    assert_eq!(fixture.copies().len() as u64, OBJECTS + 1);
    for key in fixture.sim.state().keys(VENDOR) {
        fixture.assert_same(&key);
    }
    assert_nothing_is_copied_twice(&fixture);
    fixture.assert_at_rest().await;
}

#[tokio::test]
async fn a_piece_that_is_not_done_is_named_and_the_next_run_copies_it() {
    let (mut fixture, over) = handed_over().await;
    let clients = fixture.clients();
    for number in (0..over.pieces).filter(|number| *number != 2) {
        finish(&fixture, &clients, &format!("{}/{number}", over.run)).await;
    }
    let report = close(&fixture, &over).await.expect("a report");
    assert_eq!(report.status, Status::Stopped);
    let [left] = &report.sources[0].handed_over.as_ref().expect("it was").left[..] else {
        panic!("{report:#?}")
    };
    assert_eq!(left.piece, format!("{}/2", over.run));
    assert_eq!(Some(&left.after), report.sources[0].stopped_after.as_ref());
    // As after a death between closing it and telling of it.
    assert_eq!(close(&fixture, &over).await.expect("a report"), report);
    fixture.hands_over = false;
    assert_eq!(fixture.run().await.status, Status::Complete);
    assert_nothing_is_copied_twice(&fixture);
    fixture.assert_at_rest().await;
    // It was closed: whoever is late with a piece is told so.
    let late = copy(&fixture, &clients, &left.piece, &Halt::never()).await.expect_err("closed");
    assert_eq!(late.name(), "LeaseLost", "{late}");
    let late = close(&fixture, &over).await.expect_err("another run had the source");
    assert_eq!(late.name(), "LeaseLost", "{late}");
}

#[tokio::test]
async fn a_run_that_nobody_goes_on_with_is_taken_over_once_its_lease_has_lapsed() {
    let (mut fixture, over) = handed_over().await;
    let clients = fixture.clients();
    fixture.hands_over = false;
    finish(&fixture, &clients, &format!("{}/1", over.run)).await;
    fixture.let_lease_lapse();
    assert_eq!(fixture.run().await.status, Status::Complete);
    for key in fixture.sim.state().keys(VENDOR) {
        fixture.assert_same(&key);
    }
    let late = close(&fixture, &over).await.expect_err("another run had the source");
    assert_eq!(late.name(), "LeaseLost", "{late}");
    fixture.assert_at_rest().await;
}

#[tokio::test]
async fn a_piece_that_stays_as_it_is_is_given_up_with_its_reason() {
    let (fixture, over) = handed_over().await;
    let clients = fixture.clients();
    let refused = FaultKind::Error { status: 403, code: "AccessDenied" };
    fixture.sim.add_fault(Fault::rate("ListObjectsV2", refused, 1.0));
    let piece = format!("{}/{}", over.run, over.pieces - 1);
    let mut last = String::new();
    for _ in 0..10 {
        match copy(&fixture, &clients, &piece, &Halt::never()).await {
            Ok(step) => assert!(!step.complete),
            Err(error) => last = error.name().to_owned(),
        }
    }
    assert_eq!(last, "NoHeadway");
    let report = close(&fixture, &over).await.expect("a report");
    let left = &report.sources[0].handed_over.as_ref().expect("it was").left;
    let because = &left.iter().find(|left| left.piece == piece).expect("it is left").because;
    assert!(because.contains("ListObjectsV2"), "{because}");
    assert!(fixture.sim.state().open_uploads(CUSTOMER).len() <= 1);
}

/// What is refused before anything is there is no reason not to go on with the rest.
#[tokio::test]
async fn a_run_that_is_handed_over_is_no_refused_run() {
    let mut fixture = Fixture::new().await;
    fixture.hands_over = true;
    for index in 0..4 {
        fixture.sim.state().put(VENDOR, &format!("{index}"), Object::new(bytes(index, 10)));
        if index > 0 {
            let hang = Fault::rate("CopyObject", FaultKind::Hang, 1.0);
            fixture.sim.add_fault(hang.on_key(format!("filesystem/{index}")));
        }
    }
    let refused = FaultKind::Error { status: 403, code: "AccessDenied" };
    fixture.sim.add_fault(Fault::rate("CopyObject", refused, 1.0).on_key("filesystem/0"));
    let report = fixture.try_run(&soon(1_000), Arc::new(())).await.expect("a report");
    assert_eq!(report.sources[0].failed.objects, 1, "{report:#?}");
    assert!(report.sources[0].handed_over.is_some(), "{report:#?}");
}

/// By the listings, their objects are there when the run is closed.
#[tokio::test]
async fn annotations_that_a_piece_could_not_write_come_with_the_next_run() {
    let (mut fixture, over) = handed_over().await;
    let clients = fixture.clients();
    let refused = FaultKind::Error { status: 400, code: "InvalidRequest" };
    fixture.sim.add_fault(Fault::rate("PutObjectAnnotation", refused, 1.0));
    for number in 0..over.pieces {
        finish(&fixture, &clients, &format!("{}/{number}", over.run)).await;
    }
    assert_eq!(close(&fixture, &over).await.expect("a report").status, Status::ObjectsMissing);
    fixture.hands_over = false;
    assert_eq!(fixture.run().await.status, Status::ObjectsMissing);
    fixture.sim.clear_faults();
    assert_eq!(fixture.run().await.status, Status::Complete);
    assert_eq!(fixture.customer("large").annotations.len(), 1);
    fixture.assert_at_rest().await;
}

/// Such as keys that expire: nobody but the next call looks at what is left of a piece.
#[tokio::test]
async fn a_piece_that_an_error_ends_early_is_gone_on_with() {
    let (fixture, over) = handed_over().await;
    let clients = fixture.clients();
    let expired = FaultKind::Error { status: 400, code: "ExpiredToken" };
    fixture.sim.add_fault(Fault::rate("CopyObject", expired, 1.0));
    let piece = format!("{}/1", over.run);
    let step = copy(&fixture, &clients, &piece, &Halt::never()).await.expect("a step");
    assert!(!step.complete, "its objects are not copied");
    fixture.sim.clear_faults();
    for number in 0..over.pieces {
        finish(&fixture, &clients, &format!("{}/{number}", over.run)).await;
    }
    let report = close(&fixture, &over).await.expect("a report");
    assert_eq!(report.status, Status::Complete, "{report:#?}");
    assert_eq!(fixture.copies().len() as u64, OBJECTS + 1);
    fixture.assert_at_rest().await;
}

#[tokio::test]
async fn a_piece_that_is_done_and_has_told_nothing_makes_no_complete_run() {
    let (fixture, over) = handed_over().await;
    let clients = fixture.clients();
    for number in 0..over.pieces {
        finish(&fixture, &clients, &format!("{}/{number}", over.run)).await;
    }
    // As if its call had died before it noted what it did.
    fixture.sim.state().delete(CUSTOMER, &format!(".replicator/runs/{}/3.report.json", over.run));
    let report = close(&fixture, &over).await.expect("a report");
    assert_eq!(report.status, Status::Failed, "{report:#?}");
    assert_eq!(report.sources[0].error.as_ref().map(|error| error.error.as_str()), Some("ReportLost"));
}

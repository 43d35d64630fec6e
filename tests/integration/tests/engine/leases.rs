//! One run at a time a source: whoever comes second says who is at work and ends. A run that
//! died is succeeded when its lease has lapsed; without a lease to be had, runs go on.

use std::sync::Arc;
use std::time::Duration;

use bucket_copy::{Halt, Report, Request, RunError, Status};
use s3_sim::{Config, Fault, FaultKind, Latency, Object};
use serde_json::Value;

use crate::fixture::{CUSTOMER, Fixture, LEASE, VENDOR, bytes};

const DUMPS: &str = "backup-my-environment-name";

/// Forty objects whose copies take so long each, two at a time.
async fn fixture(copy: Duration) -> Fixture {
    let latency = Latency { copy, ..Latency::default() };
    let mut fixture = Fixture::with(Config { latency, ..Config::default() }).await;
    fixture.settings.max_in_flight = Some("2".into());
    for index in 0..40 {
        fixture.sim.state().put(VENDOR, &format!("{index:02}"), Object::new(bytes(index, 10)));
    }
    fixture
}

async fn run(fixture: &Fixture) -> Result<Report, RunError> {
    fixture.try_run(&Halt::never(), Arc::new(())).await
}

/// Waits until a run copies.
async fn copying(fixture: &Fixture, copies: u64) {
    while fixture.sim.counters().get("CopyObject") < copies {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What is in the lease.
async fn lease(fixture: &Fixture) -> Value {
    let get = fixture.clients().destination.get_object().bucket(CUSTOMER).key(LEASE).send().await;
    let body = get.expect("a lease").body.collect().await.expect("its body");
    serde_json::from_slice(&body.into_bytes()).expect("JSON")
}

/// Somebody else's.
async fn write_lease(fixture: &Fixture, record: &Value) {
    let put = fixture.clients().destination.put_object().bucket(CUSTOMER).key(LEASE);
    put.body(record.to_string().into_bytes().into()).send().await.expect("put");
}

/// A run that dies while it has the lease.
async fn die(fixture: &mut Fixture) {
    fixture.holder = "the run that died";
    tokio::select! {
        _ = run(fixture) => panic!("it came to its end"),
        () = copying(fixture, 2) => {}
    }
    fixture.holder = "the tests";
}

#[tokio::test]
async fn a_second_run_ends_at_once_and_says_who_is_at_work_and_until_when() {
    // 20 rounds of 150 ms: the lease would lapse twice, were it not renewed.
    let mut fixture = fixture(Duration::from_millis(150)).await;
    fixture.lease = Duration::from_secs(1);
    fixture.holder = "the first run";
    let second = async {
        copying(&fixture, 38).await;
        run(&fixture).await.expect_err("another run is at work")
    };
    let (first, held) = tokio::join!(run(&fixture), second);
    assert_eq!(first.expect("the first run").status, Status::Complete);
    assert_eq!(held.name(), "HeldByAnother");
    let RunError::HeldByAnother { holder, lapses, .. } = &held else { panic!("{held:?}") };
    assert_eq!(holder, "the first run");
    let said = held.to_string();
    assert!(said.contains(holder) && said.contains(&lapses.to_string()), "{said}");
    assert_eq!(fixture.sim.counters().get("CopyObject"), 40, "nothing is copied twice");
    assert_eq!(lease(&fixture).await["state"], "released");
    fixture.assert_at_rest().await;
}

#[tokio::test]
async fn of_two_runs_that_begin_at_the_same_moment_one_works() {
    for _ in 0..10 {
        let fixture = fixture(Duration::ZERO).await;
        let (a, b) = tokio::join!(run(&fixture), run(&fixture));
        let (done, held): (Vec<_>, Vec<_>) = [a, b].into_iter().partition(Result::is_ok);
        assert_eq!((done.len(), held.len()), (1, 1), "{held:?}");
        assert_eq!(done.into_iter().flatten().next().expect("a report").status, Status::Complete);
        assert_eq!(fixture.sim.counters().get("CopyObject"), 40);
    }
}

#[tokio::test]
async fn a_dead_runs_lease_is_taken_over_once_it_has_lapsed() {
    let mut fixture = fixture(Duration::from_millis(20)).await;
    die(&mut fixture).await;
    let held = run(&fixture).await.expect_err("it may be alive");
    assert!(held.to_string().contains("the run that died"), "{held}");
    assert_eq!(fixture.succeed().await.status, Status::Complete);
    assert_eq!(fixture.copies().len(), 40);
    fixture.assert_at_rest().await;
}

#[tokio::test]
async fn a_run_that_lost_its_lease_leaves_the_source_to_the_one_that_has_it() {
    let mut fixture = fixture(Duration::from_millis(150)).await;
    fixture.lease = Duration::from_millis(900);
    let usurp = async {
        copying(&fixture, 2).await;
        let mut record = lease(&fixture).await;
        (record["run"], record["holder"]) = ("other".into(), "another run".into());
        write_lease(&fixture, &record).await;
        record
    };
    let (report, record) = tokio::join!(fixture.run(), usurp);
    let source = &report.sources[0];
    let error = source.error.as_ref().expect("it says why it stopped");
    assert_eq!((report.status, error.error.as_str()), (Status::Stopped, "HeldByAnother"), "{report:#?}");
    assert!(error.message.contains("another run"), "{error:?}");
    assert!(fixture.copies().len() < 40, "it went on");
    assert_eq!(lease(&fixture).await, record, "the other's lease is as it was");
}

#[tokio::test]
async fn a_run_that_cannot_renew_its_lease_stops_when_it_lapses() {
    let mut fixture = fixture(Duration::from_millis(150)).await;
    fixture.lease = Duration::from_millis(900);
    for kind in [FaultKind::InternalError, FaultKind::Hang] {
        let deaf = async {
            copying(&fixture, 2).await;
            fixture.sim.add_fault(Fault::first("PutObject", 1_000, kind));
        };
        let (report, ()) = tokio::join!(fixture.run(), deaf);
        let error = report.sources[0].error.as_ref().expect("it says why it stopped");
        assert_eq!((report.status, error.error.as_str()), (Status::Failed, "LeaseLapsed"), "{report:#?}");
        assert!(report.sources[0].copied.objects < 40, "{report:#?}");
        fixture.sim.clear_faults();
        fixture.sim.reset_counters();
        fixture.let_lease_lapse();
        fixture.copies().iter().for_each(|key| fixture.sim.state().delete(CUSTOMER, key));
    }
    assert_eq!(fixture.run().await.status, Status::Complete);
}

#[tokio::test]
async fn a_renewal_that_fails_once_is_tried_again() {
    let mut fixture = fixture(Duration::from_millis(150)).await;
    fixture.lease = Duration::from_secs(2);
    // Taken by the first. Of the second the answer is lost, so that the third is refused.
    fixture.sim.add_fault(Fault::kth("PutObject", 2, FaultKind::CutAfter));
    fixture.sim.add_fault(Fault::kth("PutObject", 5, FaultKind::InternalError));
    assert_eq!(fixture.run().await.status, Status::Complete);
    fixture.assert_at_rest().await;
}

#[tokio::test]
async fn what_only_looks_takes_no_lease_and_needs_none() {
    let mut fixture = fixture(Duration::from_millis(20)).await;
    die(&mut fixture).await;
    let before = lease(&fixture).await;
    fixture.request = Request { dry_run: true, ..Request::default() };
    assert_eq!(fixture.run().await.status, Status::Complete);
    assert_eq!(fixture.verify().await.status, Status::ObjectsMissing);
    assert_eq!(lease(&fixture).await, before);
}

#[tokio::test]
async fn the_source_that_is_free_is_copied_while_another_run_has_the_other() {
    let mut fixture = fixture(Duration::from_millis(20)).await;
    die(&mut fixture).await;
    fixture.sim.state().create_bucket(DUMPS);
    fixture.sim.state().put(DUMPS, "dump", Object::bytes("dump"));
    fixture.settings.database_bucket = Some(DUMPS.into());
    let copied = fixture.copies();
    let report = fixture.run().await;
    let [database, filesystem] = &report.sources[..] else { panic!("{report:#?}") };
    assert_eq!((database.copied.objects, &database.error), (1, &None), "{report:#?}");
    assert_eq!(filesystem.error.as_ref().map(|error| error.error.as_str()), Some("HeldByAnother"));
    assert_eq!((filesystem.listed.objects, filesystem.stopped_after.as_deref()), (0, Some("")));
    assert_eq!(report.status, Status::Stopped, "not all was looked at, and nothing failed");
    assert_eq!(fixture.copies().len(), copied.len() + 1);
}

#[tokio::test]
async fn where_there_can_be_no_lease_a_run_goes_on_without() {
    for (operation, status, code) in [
        ("PutObject", 501, "NotImplemented"),
        ("PutObject", 403, "AccessDenied"),
        ("GetObject", 403, "AccessDenied"),
    ] {
        let fixture = fixture(Duration::ZERO).await;
        let refused = Fault::first(operation, 1_000, FaultKind::Error { status, code });
        fixture.sim.add_fault(refused.on_key(LEASE));
        let report = fixture.run().await;
        assert_eq!((report.status, report.sources[0].copied.objects), (Status::Complete, 40), "{code}");
        assert!(fixture.sim.state().object(CUSTOMER, LEASE).is_none());
    }
}

#[tokio::test]
async fn rubbish_in_the_place_of_a_lease_keeps_nobody_out() {
    let fixture = fixture(Duration::ZERO).await;
    for rubbish in ["\"held\"", "{\"version\": 1, \"state\": \"held\"}", "null"] {
        write_lease(&fixture, &serde_json::from_str(rubbish).expect("JSON")).await;
        assert_eq!(fixture.run().await.status, Status::Complete, "{rubbish}");
    }
    fixture.assert_at_rest().await;
}

//! Reports at the destination.

use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use bucket_copy::{Plan, Report, Request, RunError, S3Error, reports};
use s3_sim::{Fault, FaultKind, Object};

use crate::fixture::{CUSTOMER, Fixture, VENDOR};

const HISTORY: &str = ".replicator/reports/history.json";

async fn keep(fixture: &Fixture, report: &Report) -> Result<reports::History, S3Error> {
    let plan = Plan::new(&fixture.settings, &Request::default()).expect("a valid plan");
    reports::keep(&plan, &fixture.clients(), report, Duration::from_secs(10)).await
}

#[tokio::test]
async fn every_run_adds_a_report_and_a_line_to_the_history() -> Result<(), RunError> {
    let fixture = Fixture::new().await;
    fixture.sim.state().put(VENDOR, "</script><b>", Object::bytes("x"));
    let report = fixture.run().await;
    let history = keep(&fixture, &report).await.expect("kept");
    assert_eq!((history.runs.len(), history.runs[0].copied.objects), (1, 1));
    let later = Report { started: report.started + Duration::from_secs(1), ..report };
    let history = keep(&fixture, &later).await.expect("kept");
    assert_eq!(history.runs.len(), 2);

    let keys = fixture.sim.state().keys(CUSTOMER);
    let kept: Vec<_> = keys.iter().filter_map(|key| key.strip_prefix(".replicator/reports/")).collect();
    assert_eq!(kept.len(), 6, "{kept:?}");
    for name in ["history.json", "latest.html"] {
        assert!(kept.contains(&name), "{kept:?}");
    }
    let json = kept.iter().filter(|name| name.ends_with("Z-filesystem.json")).count();
    assert_eq!(json, 2, "{kept:?}");
    let page = fixture.sim.state().object(CUSTOMER, ".replicator/reports/latest.html").expect("a page");
    assert_eq!(page.headers.content_type.as_deref(), Some("text/html; charset=utf-8"));
    Ok(())
}

#[tokio::test]
async fn runs_that_end_together_are_all_remembered() {
    let fixture = Fixture::new().await;
    let report = fixture.run().await;
    let (a, b, c) = tokio::join!(keep(&fixture, &report), keep(&fixture, &report), keep(&fixture, &report));
    for kept in [a, b, c] {
        kept.expect("kept");
    }
    assert_eq!(keep(&fixture, &report).await.expect("kept").runs.len(), 4);
}

#[tokio::test]
async fn a_history_that_cannot_be_read_is_begun_again() {
    let fixture = Fixture::new().await;
    let report = fixture.run().await;
    let put = fixture.clients().destination.put_object().bucket(CUSTOMER).key(HISTORY);
    put.body(ByteStream::from_static(b"{\"runs\": 7}")).send().await.expect("put");
    assert_eq!(keep(&fixture, &report).await.expect("kept").runs.len(), 1);
}

#[tokio::test]
async fn a_report_that_cannot_be_kept_is_an_error_soon() {
    let fixture = Fixture::new().await;
    let report = fixture.run().await;
    fixture.sim.add_fault(Fault::rate("PutObject", FaultKind::Hang, 1.0));
    let plan = Plan::new(&fixture.settings, &Request::default()).expect("a valid plan");
    let kept = reports::keep(&plan, &fixture.clients(), &report, Duration::from_millis(300)).await;
    assert_eq!(kept.expect_err("nothing is answered").kind.name(), "TimedOut");
}

//! Faults, limits, hooks, counters.

use std::time::{Duration, Instant};

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use futures_util::future::join_all;
use s3_sim::{Config, Fault, FaultKind, Latency, Object, Op};

use crate::{is_lost, refusal, start, start_with};

#[tokio::test]
async fn a_lost_answer_leaves_the_copy_done_a_cut_before_does_not() {
    let (sim, client) = start().await;
    sim.state().put("source", "k", Object::bytes("x"));
    let copy = |key: &str| client.copy_object().bucket("destination").key(key).copy_source("source/k").send();
    sim.add_fault(Fault::kth("CopyObject", 1, FaultKind::CutBefore));
    sim.add_fault(Fault::kth("CopyObject", 2, FaultKind::CutAfter));
    sim.add_fault(Fault::kth("CopyObject", 3, FaultKind::CutBody));
    assert!(is_lost(&copy("before").await));
    assert!(is_lost(&copy("after").await));
    assert!(is_lost(&copy("body").await));
    copy("well").await.unwrap();
    assert_eq!(sim.state().keys("destination"), ["after", "body", "well"]);
}

#[tokio::test]
async fn errors_come_with_their_status_and_nothing_is_done() {
    let (sim, client) = start().await;
    sim.state().put("source", "k", Object::bytes("x"));
    let copy = || client.copy_object().bucket("destination").key("k").copy_source("source/k").send();
    for (kind, expected) in [
        (FaultKind::InternalError, (500, "InternalError")),
        (FaultKind::SlowDown, (503, "SlowDown")),
        (FaultKind::ErrorWithin200, (200, "InternalError")),
        (
            FaultKind::Error { status: 409, code: "ConditionalRequestConflict" },
            (409, "ConditionalRequestConflict"),
        ),
    ] {
        sim.add_fault(Fault::first(Op::Any, 1, kind).on_key("k"));
        let (status, code) = refusal(copy().await);
        assert_eq!((status, code.as_str()), expected);
        sim.clear_faults();
    }
    assert!(sim.state().keys("destination").is_empty());
    sim.add_fault(Fault::first("PutObject", 1, FaultKind::SlowDown));
    let put =
        client.put_object().bucket("source").key("big").body(ByteStream::from(vec![0; 4 << 20])).send().await;
    assert_eq!(refusal(put), (503, "SlowDown".to_owned()));
}

#[tokio::test]
async fn a_lost_completion_has_made_the_object() {
    let (sim, client) = start().await;
    let upload_id = client
        .create_multipart_upload()
        .bucket("destination")
        .key("k")
        .send()
        .await
        .unwrap()
        .upload_id
        .unwrap();
    let part = client
        .upload_part()
        .bucket("destination")
        .key("k")
        .upload_id(&upload_id)
        .part_number(1)
        .body(ByteStream::from_static(b"x"))
        .send()
        .await
        .unwrap();
    sim.add_fault(Fault::kth("CompleteMultipartUpload", 1, FaultKind::CutAfter));
    let part = CompletedPart::builder().part_number(1).e_tag(part.e_tag.unwrap()).build();
    let answer = client
        .complete_multipart_upload()
        .bucket("destination")
        .key("k")
        .upload_id(upload_id)
        .multipart_upload(CompletedMultipartUpload::builder().parts(part).build())
        .send()
        .await;
    assert!(is_lost(&answer));
    assert!(sim.state().object("destination", "k").is_some());
}

#[tokio::test]
async fn a_hang_never_answers_but_ends_with_its_client() {
    let (sim, client) = start().await;
    sim.add_fault(Fault::kth("HeadObject", 1, FaultKind::Hang));
    let head = client.head_object().bucket("source").key("k").send();
    assert!(tokio::time::timeout(Duration::from_millis(100), head).await.is_err());
    let refused = client.head_object().bucket("source").key("k").send().await;
    assert_eq!(refusal(refused).0, 404);
    assert_eq!(sim.counters().get("HeadObject"), 2);
}

#[tokio::test]
async fn a_hook_can_overwrite_a_source_between_parts() {
    let (sim, client) = start().await;
    let old = sim.state().put("source", "k", Object::virtual_bytes(1, 16 << 20));
    sim.on_request(|event, state| {
        if event.is_before() && event.operation == "UploadPartCopy" && event.nth == 2 {
            assert_eq!((event.bucket.as_str(), event.key.as_str()), ("destination", "k"));
            state.put("source", "k", Object::virtual_bytes(2, 16 << 20));
        }
    });
    let upload_id = client
        .create_multipart_upload()
        .bucket("destination")
        .key("k")
        .send()
        .await
        .unwrap()
        .upload_id
        .unwrap();
    let copy = |number| {
        client
            .upload_part_copy()
            .bucket("destination")
            .key("k")
            .upload_id(&upload_id)
            .part_number(number)
            .copy_source("source/k")
            .copy_source_if_match(&old.etag)
            .send()
    };
    copy(1).await.unwrap();
    assert_eq!(refusal(copy(2).await), (412, "PreconditionFailed".to_owned()));
}

#[tokio::test]
async fn writes_above_the_limit_are_refused_reads_are_not() {
    let (sim, client) = start_with(Config { write_limit: Some(50), ..Config::default() }).await;
    sim.state().put("source", "k", Object::bytes("x"));
    let copies = join_all((0..100).map(|i| {
        client.copy_object().bucket("destination").key(i.to_string()).copy_source("source/k").send()
    }));
    let started = Instant::now();
    let answers = copies.await;
    let done = answers.iter().filter(|answer| answer.is_ok()).count() as f64;
    assert!(done >= 5.0 && done <= 6.0 + 50.0 * started.elapsed().as_secs_f64(), "{done}");
    for answer in answers.into_iter().filter(Result::is_err) {
        assert_eq!(refusal(answer), (503, "SlowDown".to_owned()));
    }
    assert_eq!(sim.state().keys("destination").len(), done as usize);
    assert_eq!(sim.counters().get("CopyObject"), 100);
    for _ in 0..20 {
        client.head_object().bucket("source").key("k").send().await.unwrap();
    }
}

#[tokio::test]
async fn latency_is_kept_by_operation_and_counters_see_the_overlap() {
    let (sim, client) = start_with(Config {
        latency: Latency {
            copy: Duration::from_millis(40),
            part_copy_bytes_per_second: Some(100_000_000),
            ..Latency::default()
        },
        ..Config::default()
    })
    .await;
    sim.state().put("source", "k", Object::virtual_bytes(1, 10_000_000));
    let started = Instant::now();
    let copies = join_all((0..8).map(|i| {
        client.copy_object().bucket("destination").key(i.to_string()).copy_source("source/k").send()
    }));
    assert!(copies.await.iter().all(Result::is_ok));
    assert!(started.elapsed() >= Duration::from_millis(40));
    assert_eq!(sim.counters().peak_in_flight, 8);
    sim.reset_counters();
    assert_eq!(sim.counters().total(), 0);
    let upload_id = client
        .create_multipart_upload()
        .bucket("destination")
        .key("k")
        .send()
        .await
        .unwrap()
        .upload_id
        .unwrap();
    let started = Instant::now();
    client
        .upload_part_copy()
        .bucket("destination")
        .key("k")
        .upload_id(upload_id)
        .part_number(1)
        .copy_source("source/k")
        .send()
        .await
        .unwrap();
    assert!(started.elapsed() >= Duration::from_millis(140));
    assert_eq!(
        sim.counters().to_string(),
        "CreateMultipartUpload 1, UploadPartCopy 1, total 2, peak in flight 1"
    );
}

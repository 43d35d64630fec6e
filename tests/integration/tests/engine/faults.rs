//! Requests fail in every way S3 and networks know; everything still arrives, once.

use std::time::Duration;

use bucket_copy::{Fate, Halt, Status};
use s3_sim::{Fault, FaultKind, GeneratedKeys, Object, Op, Pattern};

use crate::fixture::{CUSTOMER, Fixture, MIB, Outcomes, VENDOR, bytes};

const EVERY_KIND: [FaultKind; 8] = [
    FaultKind::InternalError,
    FaultKind::SlowDown,
    FaultKind::ErrorWithin200,
    FaultKind::CutBefore,
    FaultKind::CutAfter,
    FaultKind::CutBody,
    FaultKind::Hang,
    REQUEST_TIMEOUT,
];
const REQUEST_TIMEOUT: FaultKind = FaultKind::Error { status: 400, code: "RequestTimeout" };

/// Every operation of a run, hit once by every kind of fault.
#[tokio::test]
async fn every_request_survives_every_fault() {
    for kind in EVERY_KIND {
        let mut fixture = Fixture::new().await;
        fixture.patience = Duration::from_millis(300);
        let state = fixture.sim.state();
        state.put(VENDOR, "single", Object::bytes("dump"));
        let parts = vec![6 * MIB, 5 * MIB, 9 * MIB];
        let object = Object::new(bytes(1, 20 * MIB)).with_parts(parts).with_tag("kind", "nightly");
        state.put(VENDOR, "parts", object);
        for operation in [
            "ListObjectsV2",
            "HeadObject",
            "GetObjectTagging",
            "CopyObject",
            "CreateMultipartUpload",
            "UploadPartCopy",
            "CompleteMultipartUpload",
        ] {
            // The answer to a HEAD has no body to tell this 400 from a final one.
            if (operation, kind) != ("HeadObject", REQUEST_TIMEOUT) {
                fixture.sim.add_fault(Fault::kth(operation, 1, kind));
            }
        }
        let report = fixture.run().await;
        assert_eq!(report.status, Status::Complete, "{kind:?}: {report:#?}");
        assert_eq!(report.total(|source| source.copied).objects, 2, "{kind:?}");
        fixture.assert_same("single");
        fixture.assert_same("parts");
        fixture.assert_at_rest().await;
    }
}

/// One object's failure stops nothing, names the object, and leaves no upload behind.
#[tokio::test]
async fn what_fails_for_good_is_reported_and_the_rest_is_copied() {
    let fixture = Fixture::new().await;
    let state = fixture.sim.state();
    for index in 0..20 {
        state.put(VENDOR, &format!("single-{index}"), Object::new(bytes(index, 10)));
    }
    state.put(VENDOR, "parts", Object::new(bytes(30, 11 * MIB)).with_part_size(5 * MIB));
    let refused = FaultKind::Error { status: 400, code: "InvalidRequest" };
    fixture.sim.add_fault(Fault::first("CopyObject", 100, refused).on_key("filesystem/single-7"));
    fixture.sim.add_fault(Fault::kth("UploadPartCopy", 2, refused));
    let report = fixture.run().await;
    let source = &report.sources[0];
    assert_eq!((report.status, source.copied.objects), (Status::ObjectsMissing, 19));
    let mut failed: Vec<_> = source.failures.iter().map(|object| object.key.as_str()).collect();
    failed.sort_unstable();
    assert_eq!(failed, ["parts", "single-7"]);
    assert!(source.failures.iter().all(|object| object.failure.message.contains("InvalidRequest")));
    assert_eq!(state.open_uploads(CUSTOMER), []);
    assert!(state.object(CUSTOMER, "filesystem/parts").is_none());
    assert_eq!(fixture.sim.counters().get("CopyObject"), 20, "what is final is not tried again");

    fixture.sim.clear_faults();
    fixture.run().await;
    fixture.assert_same("parts");
    fixture.assert_same("single-7");
    fixture.assert_at_rest().await;
}

#[tokio::test]
async fn an_archived_object_is_not_tried_and_a_restored_one_is_copied() {
    let fixture = Fixture::new().await;
    let state = fixture.sim.state();
    for key in ["archived", "restored"] {
        state.put(VENDOR, key, Object::bytes(key));
        state.archive(VENDOR, key, s3_sim::StorageClass::DeepArchive);
    }
    let later = std::time::SystemTime::now() + Duration::from_secs(3_600);
    state.restore(VENDOR, "restored", s3_sim::Restore::Until(later));
    let report = fixture.run().await;
    assert_eq!(report.status, Status::ObjectsMissing);
    assert_eq!((report.sources[0].archived.objects, report.sources[0].copied.objects), (1, 1));
    assert_eq!(fixture.sim.counters().get("CopyObject"), 1);
    assert_eq!(fixture.customer("restored").content, fixture.vendor("restored").content);
}

/// A server that lists a key it does not serve must not make the object look deleted.
#[tokio::test]
async fn an_object_that_is_listed_but_not_served_is_a_failure() {
    let fixture = Fixture::new().await;
    fixture.sim.state().put(VENDOR, "ghost", Object::bytes("x"));
    fixture.sim.state().put(VENDOR, "real", Object::bytes("x"));
    let not_found = FaultKind::Error { status: 404, code: "NoSuchKey" };
    fixture.sim.add_fault(Fault::first("CopyObject", 100, not_found).on_key("filesystem/ghost"));
    let outcomes = std::sync::Arc::new(Outcomes::default());
    let report = fixture.try_run(&Halt::never(), outcomes.clone()).await.expect("a run");
    assert_eq!(report.status, Status::ObjectsMissing);
    assert!(matches!(outcomes.of("ghost")[..], [Fate::Failed(_)]), "{report:#?}");
    assert!(matches!(outcomes.of("real")[..], [Fate::Copied { .. }]));
}

/// Many refusals at once slow a run down and fail nothing.
#[tokio::test]
async fn a_limit_of_writes_a_second_fails_nothing() {
    let config = s3_sim::Config { write_limit: Some(100), ..s3_sim::Config::default() };
    let fixture = Fixture::with(config).await;
    for index in 0..400 {
        fixture.sim.state().put(VENDOR, &format!("{index}"), Object::new(bytes(index, 10)));
    }
    let report = fixture.run().await;
    assert_eq!(report.status, Status::Complete, "{report:#?}");
    assert_eq!(report.total(|source| source.copied).objects, 400);
    assert!(fixture.sim.counters().get("CopyObject") > 400, "the limit was never met");
}

#[tokio::test]
async fn two_in_a_hundred_requests_fail_and_everything_arrives() {
    let fixture = Fixture::new().await;
    for index in 0..2_000 {
        fixture.sim.state().put(VENDOR, &format!("{index:04}"), Object::new(bytes(index, 10)));
    }
    for kind in
        [FaultKind::InternalError, FaultKind::SlowDown, FaultKind::CutAfter, FaultKind::ErrorWithin200]
    {
        fixture.sim.add_fault(Fault::rate(Op::Any, kind, 0.005));
    }
    let report = fixture.run().await;
    assert_eq!(report.status, Status::Complete, "{report:#?}");
    for index in 0..2_000 {
        fixture.assert_same(&format!("{index:04}"));
    }
    fixture.assert_at_rest().await;
}

/// The answer to the completion is lost and the upload is gone: that alone proves no copy
/// where an older object of the same size is at the destination.
#[tokio::test]
async fn an_upload_that_vanishes_is_not_taken_for_completed() {
    let fixture = Fixture::new().await;
    let parts = |seed| {
        let object = Object::new(bytes(seed, 11 * MIB)).with_part_size(5 * MIB);
        object.with_checksum(s3_sim::ChecksumAlgorithm::Sha256)
    };
    fixture.sim.state().put(CUSTOMER, "filesystem/dump", parts(1));
    fixture.sim.state().put(VENDOR, "dump", parts(2));
    let vanished = FaultKind::Error { status: 404, code: "NoSuchUpload" };
    fixture.sim.add_fault(Fault::kth("CompleteMultipartUpload", 1, FaultKind::InternalError));
    fixture.sim.add_fault(Fault::kth("CompleteMultipartUpload", 2, vanished));
    let report = fixture.run().await;
    assert_eq!((report.status, report.sources[0].copied.objects), (Status::ObjectsMissing, 0), "{report:#?}");
    fixture.run().await;
    fixture.assert_same("dump");
    fixture.assert_at_rest().await;
}

/// S3's reference has a second code for an object that only an archive tier holds.
#[tokio::test]
async fn an_object_whose_archive_shows_only_when_it_is_copied_is_archived_not_forbidden() {
    let fixture = Fixture::new().await;
    for index in 0..40 {
        fixture.sim.state().put(VENDOR, &format!("{index:02}"), Object::new(bytes(index, 10)));
    }
    for code in ["InvalidObjectState", "ObjectNotInActiveTierError"] {
        fixture.sim.clear_faults();
        fixture.sim.add_fault(Fault::first("CopyObject", 100, FaultKind::Error { status: 403, code }));
        let report = fixture.run().await;
        assert_eq!(
            (report.status, report.sources[0].archived.objects),
            (Status::ObjectsMissing, 40),
            "{code}"
        );
    }
}

/// A right that is missing on one of two sources is an error of the run, not a stop that the
/// next run makes up for.
#[tokio::test]
async fn a_source_that_is_refused_as_a_whole_fails_the_run_and_not_the_other_source() {
    let mut fixture = Fixture::new().await;
    fixture.settings.database_bucket = Some("backup-my-environment-name".into());
    fixture.settings.max_in_flight = Some("8".into());
    fixture.sim.state().create_bucket("backup-my-environment-name");
    for index in 0..100 {
        let key = format!("{index:02}");
        fixture.sim.state().put("backup-my-environment-name", &key, Object::new(bytes(index, 10)));
        fixture.sim.state().put(VENDOR, &key, Object::new(bytes(index, 10)));
        let denied = FaultKind::Error { status: 403, code: "AccessDenied" };
        fixture.sim.add_fault(Fault::first("CopyObject", 9, denied).on_key(format!("database/{key}")));
    }
    let report = fixture.run().await;
    assert_eq!(report.status, Status::Failed, "{report:#?}");
    let error = report.sources[0].error.as_ref().expect("why it was given up");
    assert_eq!(error.error, "AccessDenied");
    assert_eq!((report.sources[1].copied.objects, &report.sources[1].error), (100, &None));
}

/// What was found before a listing broke off is copied: the next run may get no further.
#[tokio::test]
async fn a_listing_that_breaks_off_loses_nothing_that_it_found() {
    let mut fixture = Fixture::new().await;
    let keys = GeneratedKeys::pattern(Pattern::Sequential, 2_500, 100);
    fixture.sim.state().create_generated_bucket("generated", keys);
    fixture.settings.filesystem_bucket = Some("generated".into());
    fixture.settings.max_in_flight = Some("4".into());
    // After the first page of either side comes the second of the source.
    let broken = FaultKind::Error { status: 400, code: "InvalidArgument" };
    fixture.sim.add_fault(Fault::kth("ListObjectsV2", 4, broken));
    let report = fixture.run().await;
    assert_eq!((report.status, report.sources[0].copied.objects), (Status::Failed, 2_000), "{report:#?}");
}

/// Objects that come first and are refused, such as old ones under a key that is not shared,
/// keep no later ones from being copied.
#[tokio::test]
async fn refused_objects_that_come_first_do_not_keep_the_others_from_being_copied() {
    let mut fixture = Fixture::new().await;
    fixture.settings.max_in_flight = Some("8".into());
    let denied = FaultKind::Error { status: 403, code: "AccessDenied" };
    for index in 0..2_000 {
        let key = format!("{index:04}");
        fixture.sim.state().put(VENDOR, &key, Object::new(bytes(index, 10)));
        if index < 200 {
            fixture.sim.add_fault(Fault::first("CopyObject", 9, denied).on_key(format!("filesystem/{key}")));
        }
    }
    let report = fixture.try_run(&Halt::never(), std::sync::Arc::new(())).await.expect("a run");
    let source = &report.sources[0];
    assert_eq!((report.status, source.copied.objects), (Status::ObjectsMissing, 1_800), "{source:#?}");
    assert_eq!(source.failed.objects, 200);
}

/// Where all are refused, a few tell.
#[tokio::test]
async fn a_right_that_is_missing_for_all_objects_is_known_after_a_few() {
    let mut fixture = Fixture::new().await;
    fixture.settings.max_in_flight = Some("8".into());
    for index in 0..2_000 {
        fixture.sim.state().put(VENDOR, &format!("{index:04}"), Object::new(bytes(index, 10)));
    }
    let denied = FaultKind::Error { status: 403, code: "AccessDenied" };
    fixture.sim.add_fault(Fault::first("CopyObject", 2_000, denied));
    let error = fixture.try_run(&Halt::never(), std::sync::Arc::new(())).await.expect_err("no run");
    assert_eq!(error.name(), "AccessDenied");
    // Also of the first ones, which are tried in other ways that policies can demand.
    assert!(fixture.sim.counters().get("CopyObject") < 200, "{}", fixture.sim.counters());
}

/// S3 answers a copy that it began, and could not finish, with a 200 and an error in it.
#[tokio::test]
async fn an_error_inside_a_200_is_tried_again_whatever_its_code() {
    for code in ["ServiceUnavailable", "SlowDown", "InternalError", "RequestTimeout"] {
        let fixture = Fixture::new().await;
        fixture.sim.state().put(VENDOR, "single", Object::bytes("dump"));
        let parts = Object::new(bytes(1, 11 * MIB)).with_part_size(5 * MIB);
        fixture.sim.state().put(VENDOR, "parts", parts);
        for operation in ["CopyObject", "UploadPartCopy", "CompleteMultipartUpload"] {
            fixture.sim.add_fault(Fault::kth(operation, 1, FaultKind::Error { status: 200, code }));
        }
        let report = fixture.run().await;
        assert_eq!(report.status, Status::Complete, "{code}: {report:#?}");
        fixture.assert_same("single");
        fixture.assert_same("parts");
        fixture.assert_at_rest().await;
    }
}

#[tokio::test]
async fn archived_objects_are_named_with_how_to_have_them_restored() {
    let fixture = Fixture::new().await;
    let state = fixture.sim.state();
    for key in ["it's deep", "on its way", "in a tier", "tier on its way"] {
        state.put(VENDOR, key, Object::bytes(key));
        state.archive(VENDOR, key, s3_sim::StorageClass::DeepArchive);
    }
    state.archive_in_tier(VENDOR, "in a tier");
    state.archive_in_tier(VENDOR, "tier on its way");
    for key in ["on its way", "tier on its way"] {
        state.restore(VENDOR, key, s3_sim::Restore::InProgress);
    }
    let report = fixture.run().await;
    let source = &report.sources[0];
    assert_eq!((report.status, source.archived.objects), (Status::ObjectsMissing, 4), "{report:#?}");
    let archive = |key: &str| {
        let object = source.archived_objects.iter().find(|object| object.key == key);
        object.unwrap_or_else(|| panic!("{key} is not named")).archive.clone()
    };
    let command = "aws s3api restore-object --bucket backup-fs-my-environment-name --key";
    let days = r#"'{"Days":7,"GlacierJobParameters":{"Tier":"Bulk"}}'"#;
    let deep = archive("it's deep");
    assert_eq!(deep.restore, format!(r"{command} 'it'\''s deep' --restore-request {days}"));
    assert_eq!(archive("in a tier").restore, format!("{command} 'in a tier' --restore-request '{{}}'"));
    assert_eq!((deep.restoring, archive("in a tier").restoring), (false, false));
    assert_eq!((archive("on its way").restoring, archive("tier on its way").restoring), (true, true));
}

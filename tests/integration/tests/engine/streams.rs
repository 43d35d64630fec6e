//! Vendors that gave only keys: the bytes pass through the run, and every object arrives as
//! exact as S3 itself copies it.

use std::time::Duration;

use bucket_copy::{Reason, Route, Status, VerifiedBy};
use s3_sim::{Config, ContentHeaders, Encryption, Fault, FaultKind, Object, Op, Sim, User};

use crate::fixture::{CUSTOMER, Fixture, MIB, VENDOR, keys};

const VENDORS_KEYS: (&str, &str) = ("vendor-key", "vendor-secret");
const OWN_KEYS: (&str, &str) = ("own-key", "own-secret");

/// A vendor's user that may only read its bucket, a customer's that may do all but
/// `denied` on it.
async fn fixture(denied: &[&str]) -> Fixture {
    let mut own = User::new(OWN_KEYS.0, OWN_KEYS.1);
    for action in denied {
        own = own.deny(*action, VENDOR);
    }
    let vendor = User::new(VENDORS_KEYS.0, VENDORS_KEYS.1)
        .deny("s3:*", CUSTOMER)
        .deny("s3:Put*", VENDOR)
        .deny("s3:Delete*", VENDOR);
    let mut fixture = Fixture::with(Config { users: vec![own, vendor], ..Config::default() }).await;
    fixture.keys = OWN_KEYS;
    fixture.settings.source_credentials = Some(keys(VENDORS_KEYS));
    fixture
}

/// Bytes that no two seeds share.
fn bytes(seed: u8, len: u64) -> Vec<u8> {
    (0..len).map(|index| (index as u8).wrapping_mul(31) ^ (index >> 8) as u8 ^ seed).collect()
}

fn fill(fixture: &Fixture) -> Vec<&'static str> {
    let state = fixture.sim.state();
    let headers = ContentHeaders {
        content_type: Some("application/sql".into()),
        cache_control: Some("no-cache".into()),
        content_disposition: Some("attachment".into()),
        content_encoding: Some("gzip".into()),
        content_language: Some("fr".into()),
        expires: Some("Wed, 21 Oct 2026 07:28:00 GMT".into()),
    };
    let dressed = |object: Object| {
        object.with_headers(headers.clone()).with_metadata("backup-id", "4711").with_tag("kind", "a b+c=é&f")
    };
    state.put(VENDOR, "empty", Object::bytes(Vec::new()));
    state.put(VENDOR, "single", dressed(Object::bytes(bytes(1, 100_000))));
    let uneven = Object::bytes(bytes(2, 25 * MIB)).with_parts(vec![10 * MIB, 6 * MIB, 9 * MIB]);
    state.put(VENDOR, "parts/uneven", dressed(uneven));
    state.put(VENDOR, "parts/even", Object::bytes(bytes(3, 11 * MIB)).with_part_size(5 * MIB));
    state.put(VENDOR, "parts/one", Object::bytes(bytes(4, 10)).with_part_size(5 * MIB));
    state.put(VENDOR, "parts/empty", Object::bytes(Vec::new()).with_parts(vec![0]));
    vec!["empty", "single", "parts/uneven", "parts/even", "parts/one", "parts/empty"]
}

#[tokio::test]
async fn objects_stream_exact_with_keys_that_may_only_read() {
    let fixture = fixture(&["s3:*"]).await;
    let objects = fill(&fixture);
    let report = fixture.run().await;
    let source = &report.sources[0];
    assert_eq!((report.status, source.transfer), (Status::Complete, Route::Stream), "{report:#?}");
    assert!(source.transfer_because.contains("s3:GetObject"), "{}", source.transfer_because);
    assert_eq!(source.verified_by, [(VerifiedBy::Etag, 6)].into());
    for key in objects {
        fixture.assert_same(key);
    }
    let counters = fixture.sim.counters();
    assert_eq!((counters.get("CopyObject"), counters.get("UploadPartCopy")), (0, 0), "{counters}");
    fixture.assert_at_rest().await;
}

#[tokio::test]
async fn a_source_that_refuses_server_side_copies_is_streamed_from_then_on() {
    for denied in [&["s3:GetObject"][..], &["s3:GetObjectTagging"]] {
        let mut fixture = fixture(denied).await;
        fixture.settings.max_in_flight = Some("2".into());
        let objects = fill(&fixture);
        for index in 0..100 {
            let object = Object::bytes(bytes(index, 10)).with_tag("kind", "small");
            fixture.sim.state().put(VENDOR, &format!("small/{index}"), object);
        }
        let report = fixture.run().await;
        let source = &report.sources[0];
        assert_eq!(
            (report.status, source.transfer),
            (Status::Complete, Route::Stream),
            "{denied:?} {report:#?}"
        );
        assert!(source.transfer_because.contains(denied[0]), "{}", source.transfer_because);
        for key in objects {
            fixture.assert_same(key);
        }
        let counters = fixture.sim.counters();
        assert!(counters.get("CopyObject") < 10, "it asks again for every object: {counters}");
    }
}

#[tokio::test]
async fn a_source_that_allows_it_is_copied_server_side_though_keys_are_given() {
    let fixture = fixture(&[]).await;
    fill(&fixture);
    let report = fixture.run().await;
    assert_eq!((report.status, report.sources[0].transfer), (Status::Complete, Route::ServerSide));
    // The lease's.
    assert_eq!(fixture.sim.counters().get("GetObject"), 1);
}

/// Whoever may not list, but read, needs the vendor's keys for listing alone.
#[tokio::test]
async fn a_source_that_only_the_vendors_keys_may_list_is_still_copied_server_side() {
    let fixture = fixture(&["s3:ListBucket"]).await;
    let objects = fill(&fixture);
    let report = fixture.run().await;
    let source = &report.sources[0];
    assert_eq!((report.status, source.transfer), (Status::Complete, Route::ServerSide), "{report:#?}");
    assert!(source.transfer_because.contains("s3:ListBucket"), "{}", source.transfer_because);
    for key in objects {
        fixture.assert_same(key);
    }
    // The lease's.
    assert_eq!(fixture.sim.counters().get("GetObject"), 1);
    fixture.assert_at_rest().await;
}

/// What the customer may not list answers 403 when it is gone.
#[tokio::test]
async fn an_object_that_is_gone_from_a_source_that_may_not_be_listed_is_gone() {
    let fixture = fixture(&["s3:ListBucket"]).await;
    fill(&fixture);
    fixture.sim.on_request(|event, state| {
        if event.is_before() && event.operation == "CopyObject" && event.nth == 1 {
            state.delete(VENDOR, "single");
        }
    });
    let report = fixture.run().await;
    assert_eq!((report.status, report.sources[0].gone.objects), (Status::Complete, 1), "{report:#?}");
    assert_eq!(report.sources[0].transfer, Route::ServerSide, "the others are no reason to stream");
}

#[tokio::test]
async fn a_source_that_refuses_its_first_object_is_asked_once() {
    let fixture = fixture(&["s3:GetObject"]).await;
    for index in 0..200 {
        fixture.sim.state().put(VENDOR, &format!("{index:03}"), Object::bytes(bytes(index, 10)));
    }
    let report = fixture.run().await;
    assert_eq!((report.status, report.sources[0].transfer), (Status::Complete, Route::Stream), "{report:#?}");
    let counters = fixture.sim.counters();
    assert_eq!((counters.get("CopyObject"), counters.get("HeadObject")), (0, 1), "{counters}");
}

#[tokio::test]
async fn two_servers_stream_from_the_start() {
    let mut fixture = fixture(&[]).await;
    let customers = Sim::start(Config::default()).await.expect("a free port");
    customers.state().create_bucket(CUSTOMER);
    fixture.settings.destination_endpoint_url = Some(customers.endpoint());
    fixture.keys = ("sim-access-key", "sim-secret-key");
    let objects = fill(&fixture);
    let report = fixture.run().await;
    assert_eq!((report.status, report.sources[0].transfer), (Status::Complete, Route::Stream), "{report:#?}");
    for key in objects {
        let copy = customers.state().object(CUSTOMER, &format!("filesystem/{key}")).expect("a copy");
        assert_eq!(copy.etag, fixture.vendor(key).etag, "{key}");
        assert_eq!(copy.content, fixture.vendor(key).content, "{key}");
    }
}

#[tokio::test]
async fn a_slash_behind_an_endpoint_makes_no_other_server_and_no_other_key() {
    for (transfer, route) in [("auto", Route::ServerSide), ("stream", Route::Stream)] {
        let mut fixture = fixture(&[]).await;
        fixture.settings.source_endpoint_url = Some(format!("{}/", fixture.sim.endpoint()));
        fixture.settings.transfer = Some(transfer.into());
        let objects = fill(&fixture);
        let report = fixture.run().await;
        assert_eq!((report.status, report.sources[0].transfer), (Status::Complete, route), "{report:#?}");
        for key in objects {
            fixture.assert_same(key);
        }
        fixture.assert_at_rest().await;
    }
}

#[tokio::test]
async fn streams_survive_faults_on_either_side() {
    for kind in [
        FaultKind::InternalError,
        FaultKind::SlowDown,
        FaultKind::CutBefore,
        FaultKind::CutAfter,
        FaultKind::CutBody,
        FaultKind::Hang,
    ] {
        let mut fixture = fixture(&["s3:*"]).await;
        fixture.patience = std::time::Duration::from_secs(2);
        let objects = fill(&fixture);
        for operation in ["GetObject", "PutObject", "UploadPart", "GetObjectTagging", "CreateMultipartUpload"]
        {
            for kth in [1, 3] {
                fixture.sim.add_fault(Fault::kth(Op::named(operation), kth, kind));
            }
        }
        let report = fixture.run().await;
        assert_eq!(report.status, Status::Complete, "{kind:?}: {report:#?}");
        for key in objects {
            fixture.assert_same(key);
        }
        fixture.assert_at_rest().await;
    }
}

#[tokio::test]
async fn a_streamed_object_that_changes_meanwhile_is_never_torn() {
    let fixture = fixture(&["s3:*"]).await;
    let state = fixture.sim.state();
    state.put(VENDOR, "parts", Object::bytes(bytes(1, 15 * MIB)).with_part_size(5 * MIB));
    state.put(VENDOR, "single", Object::bytes(bytes(1, 100)));
    fixture.sim.on_request(|event, state| {
        if event.is_before() && event.operation == "GetObject" && event.nth == 3 {
            state.put(VENDOR, "parts", Object::bytes(bytes(2, 21 * MIB)).with_part_size(6 * MIB));
            state.put(VENDOR, "single", Object::bytes(bytes(2, 200)));
        }
    });
    let report = fixture.run().await;
    assert_eq!(report.status, Status::Complete, "{report:#?}");
    // An object whose copy was done before it changed is the next run's.
    fixture.run().await;
    fixture.assert_same("parts");
    fixture.assert_same("single");
    fixture.assert_at_rest().await;
}

#[tokio::test]
async fn streams_into_sse_kms_are_verified_by_checksum() {
    let fixture = fixture(&["s3:*"]).await;
    fixture.sim.state().set_default_encryption(CUSTOMER, Encryption::Kms("alias/backups".into()));
    fill(&fixture);
    let report = fixture.run().await;
    let source = &report.sources[0];
    assert_eq!(
        (report.status, source.verified_by.clone()),
        (Status::Complete, [(VerifiedBy::Checksum, 6)].into())
    );
    assert_eq!(source.copied_because.keys().copied().collect::<Vec<_>>(), [Reason::New]);
}

#[tokio::test]
async fn tags_are_asked_for_though_every_place_in_flight_is_taken() {
    for in_flight in ["1", "3"] {
        let mut fixture = fixture(&["s3:*"]).await;
        fixture.settings.max_in_flight = Some(in_flight.into());
        // Whoever waits for a place that nobody gives back is told so in time.
        fixture.patience = Duration::from_secs(20);
        for index in 0..20 {
            let object = Object::bytes(bytes(index, 10)).with_tag("kind", "small");
            fixture.sim.state().put(VENDOR, &format!("small/{index:02}"), object);
        }
        let report = fixture.run().await;
        assert_eq!(report.status, Status::Complete, "{report:#?}");
        // Each once: none was given up and tried again. And the lease's.
        let counters = fixture.sim.counters();
        assert_eq!((counters.get("GetObject"), counters.get("PutObject")), (20 + 1, 20 + 2), "{counters}");
        fixture.assert_same("small/19");
    }
}

/// One object in one piece, and one of three parts.
async fn two_objects() -> Fixture {
    let mut fixture = fixture(&["s3:*"]).await;
    fixture.patience = Duration::from_secs(2);
    let state = fixture.sim.state();
    state.put(VENDOR, "single", Object::bytes(bytes(1, 300_000)));
    state.put(VENDOR, "parts", Object::bytes(bytes(2, 11 * MIB)).with_part_size(5 * MIB));
    fixture
}

#[tokio::test]
async fn a_body_that_breaks_off_at_any_byte_is_read_again() {
    for at in [0, 1, 8_191, 299_999, 300_000 - 1, 5 * MIB as usize - 1] {
        let fixture = two_objects().await;
        for key in ["single", "parts"] {
            fixture.sim.add_fault(Fault::first("GetObject", 2, FaultKind::CutBodyAt(at)).on_key(key));
        }
        let report = fixture.run().await;
        assert_eq!(report.status, Status::Complete, "{at}: {report:#?}");
        fixture.assert_same("single");
        fixture.assert_same("parts");
        fixture.assert_at_rest().await;
    }
}

#[tokio::test]
async fn a_body_that_rests_is_given_up_and_read_again() {
    let fixture = two_objects().await;
    // The time that its bytes may take is hours; what is waited for is the next byte.
    fixture.sim.state().put(VENDOR, "single", Object::bytes(bytes(1, 40 * MIB)));
    for key in ["single", "parts"] {
        fixture.sim.add_fault(Fault::first("GetObject", 1, FaultKind::StallBody).on_key(key));
    }
    let began = std::time::Instant::now();
    let report = fixture.run().await;
    assert_eq!(report.status, Status::Complete, "{report:#?}");
    assert!(began.elapsed() < Duration::from_secs(40), "it waited for the whole body's time");
    fixture.assert_same("single");
    fixture.assert_same("parts");
}

#[tokio::test]
async fn bytes_damaged_on_their_way_are_never_called_copied() {
    // By what S3 computes of itself, and without any checksum at the source.
    let fixture = two_objects().await;
    let before = Object::bytes(bytes(9, 10));
    for key in ["single", "parts"] {
        // What was copied before is not replaced by what is damaged.
        fixture.sim.state().put(CUSTOMER, &format!("filesystem/{key}"), before.clone());
    }
    fixture.sim.add_fault(Fault::rate(Op::named("GetObject"), FaultKind::DamageBody, 1.0));
    let report = fixture.run().await;
    let source = &report.sources[0];
    assert_eq!((source.copied.objects, source.failed.objects), (0, 2), "{report:#?}");
    for key in ["single", "parts"] {
        assert_eq!(fixture.customer(key).size, 10, "{key}: something damaged was published");
    }
    assert_eq!(fixture.sim.state().open_uploads(CUSTOMER), []);

    fixture.sim.clear_faults();
    fixture.run().await;
    fixture.assert_same("single");
    fixture.assert_same("parts");
    fixture.assert_at_rest().await;
}

#[tokio::test]
async fn a_body_of_another_length_than_was_asked_for_is_never_called_copied() {
    for kind in [FaultKind::ShortBody, FaultKind::LongBody] {
        let fixture = two_objects().await;
        fixture.sim.add_fault(Fault::rate(Op::named("GetObject"), kind, 1.0));
        let report = fixture.run().await;
        let source = &report.sources[0];
        assert_eq!((source.copied.objects, source.failed.objects), (0, 2), "{kind:?}: {report:#?}");
        assert_eq!(fixture.copies(), Vec::<String>::new(), "{kind:?}");
        assert_eq!(fixture.sim.state().open_uploads(CUSTOMER), []);
    }
}

//! Verifying: what is missing or different is found, whatever hides it, nothing else is called
//! so, and nothing is written.

use std::time::{Duration, SystemTime};

use bucket_copy::{Finding, Halt, Request, SourceVerification, Status, Verification, VerifiedBy};
use s3_sim::{
    ChecksumAlgorithm, Config, ContentHeaders, Encryption, Fault, FaultKind, Object, Op, StorageClass, User,
};

use crate::fixture::{CUSTOMER, Fixture, MIB, VENDOR, keys};

fn kms() -> Encryption {
    Encryption::Kms("alias/backups".into())
}

fn hours_ago(hours: u64) -> SystemTime {
    SystemTime::now() - Duration::from_secs(hours * 3_600)
}

/// Bytes that no two seeds share.
fn bytes(seed: u8, len: u64) -> Vec<u8> {
    (0..len).map(|index| (index as u8).wrapping_mul(31) ^ (index >> 8) as u8 ^ seed).collect()
}

fn lands(key: &str) -> String {
    format!("filesystem/{key}")
}

/// Puts an object that was written before it was ever verified.
fn put(fixture: &Fixture, key: &str, object: Object) {
    fixture.sim.state().put(VENDOR, key, object.with_last_modified(hours_ago(29)));
}

/// A vendor's bucket of all kinds of objects, and its copies.
async fn replicated(fixture: &Fixture) {
    put(fixture, "empty", Object::bytes(Vec::new()));
    put(fixture, "single", Object::bytes(bytes(1, 100_000)).with_metadata("backup-id", "4711"));
    put(
        fixture,
        "parts/uneven",
        Object::bytes(bytes(2, 25 * MIB)).with_parts(vec![10 * MIB, 6 * MIB, 9 * MIB]),
    );
    put(fixture, "parts/one", Object::bytes(bytes(3, 10)).with_part_size(5 * MIB));
    put(fixture, "a b+c%2F?é😀\n", Object::bytes("odd"));
    assert_eq!(fixture.run().await.status, Status::Complete);
    fixture.sim.reset_counters();
}

/// The findings of one object, by key.
fn of<'a>(found: &'a Verification, key: &str) -> &'a Finding {
    let all = &found.sources[0].findings;
    &all.iter().find(|object| object.key == key).unwrap_or_else(|| panic!("no {key:?} in {all:#?}")).finding
}

/// Missing, different, newer, cannot tell, changed.
fn counts(source: &SourceVerification) -> [u64; 5] {
    [source.missing, source.different, source.newer_at_source, source.cannot_tell, source.changed]
        .map(|amount| amount.objects)
}

/// Fails unless only these were asked for.
fn assert_only(fixture: &Fixture, operations: &[&str]) {
    let counters = fixture.sim.counters();
    let sum: u64 = operations.iter().map(|operation| counters.get(operation)).sum();
    assert_eq!(sum, counters.total(), "{counters}");
}

#[tokio::test]
async fn what_was_copied_is_proven_by_the_listings_alone() {
    let fixture = Fixture::new().await;
    replicated(&fixture).await;
    let found = fixture.verify().await;
    let source = &found.sources[0];
    assert_eq!(found.status, Status::Complete, "{found:#?}");
    assert_eq!((source.listed, source.proven_by.clone()), (source.identical, [(VerifiedBy::Etag, 5)].into()));
    assert_eq!((source.findings.len(), source.stopped_after.clone()), (0, None));
    assert_eq!(fixture.sim.counters().get("ListObjectsV2"), 2);
    assert_only(&fixture, &["ListObjectsV2"]);
}

#[tokio::test]
async fn reading_compares_every_byte_on_both_sides_and_writes_nothing() {
    let fixture = Fixture::new().await;
    replicated(&fixture).await;
    // Its ETag stands for other parts.
    put(&fixture, "ranges", Object::virtual_bytes(9, 200 * MIB).with_part_size(50 * MIB));
    fixture.sim.state().put(CUSTOMER, &lands("ranges"), Object::virtual_bytes(9, 200 * MIB));
    let found = fixture.verify_reading().await;
    assert_eq!(found.status, Status::Complete, "{found:#?}");
    assert!(found.read);
    assert_eq!(found.sources[0].proven_by, [(VerifiedBy::Bytes, 6)].into());
    // 200 MiB in ranges of 64 MiB.
    assert_eq!(fixture.sim.counters().get("GetObject"), (5 + 4) * 2);
    assert_only(&fixture, &["ListObjectsV2", "GetObject"]);
}

#[tokio::test]
async fn each_kind_of_damage_is_found_counted_and_named_with_what_to_do() {
    let mut fixture = Fixture::new().await;
    fixture.settings.filesystem_prefix = Some("filesystem/".into());
    for key in ["lost", "cut", "flipped", "outdated", "good", "deleted"] {
        put(&fixture, key, Object::bytes(key));
    }
    fixture.run().await;
    let state = fixture.sim.state();
    state.delete(CUSTOMER, &lands("lost"));
    state.put(CUSTOMER, &lands("cut"), Object::bytes("cu"));
    state.put(CUSTOMER, &lands("flipped"), Object::bytes("flippeD"));
    state.set_last_modified(CUSTOMER, &lands("outdated"), hours_ago(4));
    state.put(VENDOR, "outdated", Object::bytes("of today").with_last_modified(hours_ago(3)));
    state.delete(VENDOR, "deleted");
    put(&fixture, "frozen", Object::bytes("cold"));
    state.archive(VENDOR, "frozen", StorageClass::DeepArchive);
    let long = "k".repeat(1_020);
    put(&fixture, &long, Object::bytes("no place"));

    for reading in [false, true] {
        let found = match reading {
            false => fixture.verify().await,
            true => fixture.verify_reading().await,
        };
        let source = &found.sources[0];
        assert_eq!(found.status, Status::ObjectsMissing, "{found:#?}");
        assert_eq!(counts(source), [3, 2, 1, 0, 0], "{found:#?}");
        assert_eq!((source.identical.objects, source.only_at_destination.objects), (1, 1));
        assert_eq!(source.missing_archived.objects, 1);
        let remedies = [
            ("lost", "replicate: the next run copies it"),
            ("cut", "the next run copies it anew"),
            ("flipped", "the next run copies it anew"),
            ("outdated", "the next run copies it"),
            ("frozen", "restore it at the source"),
            (&long, "set another FILESYSTEM_PREFIX"),
        ];
        for (key, remedy) in remedies {
            let (Finding::Missing(failure) | Finding::Different(failure) | Finding::NewerAtSource(failure)) =
                of(&found, key)
            else {
                panic!("{key:?}: {found:#?}")
            };
            assert!(failure.remedy.to_string().contains(remedy), "{key:?}: {failure:?}");
        }
        assert!(matches!(of(&found, "outdated"), Finding::NewerAtSource(_)));
        assert!(matches!(of(&found, "flipped"), Finding::Different(_)));
    }
    // The remedies are true.
    state.delete(VENDOR, "frozen");
    state.delete(VENDOR, &long);
    fixture.run().await;
    assert_eq!(fixture.verify().await.status, Status::Complete);
}

#[tokio::test]
async fn copies_under_sse_kms_are_proven_by_checksum_and_a_flipped_bit_is_found() {
    let fixture = Fixture::new().await;
    fixture.sim.state().set_default_encryption(CUSTOMER, kms());
    replicated(&fixture).await;
    let found = fixture.verify().await;
    assert_eq!(found.status, Status::Complete, "{found:#?}");
    let proofs = [(VerifiedBy::Checksum, 4), (VerifiedBy::Bytes, 1)];
    assert_eq!(found.sources[0].proven_by, proofs.into(), "an empty object has no bytes to differ");
    assert_eq!(fixture.sim.counters().get("HeadObject"), 5 * 2);
    assert_only(&fixture, &["ListObjectsV2", "HeadObject"]);

    let mut flipped = bytes(1, 100_000);
    flipped[70_000] ^= 1;
    let object = Object::bytes(flipped).with_encryption(kms()).with_metadata("backup-id", "4711");
    fixture.sim.state().put(CUSTOMER, &lands("single"), object);
    for (found, error, named) in [
        (fixture.verify().await, "ChecksumDiffers", "CRC64NVME"),
        (fixture.verify_reading().await, "BytesDiffer", "byte 70000 on"),
    ] {
        assert_eq!(counts(&found.sources[0]), [0, 1, 0, 0, 0], "{found:#?}");
        let Finding::Different(failure) = of(&found, "single") else { panic!("{found:#?}") };
        assert_eq!(failure.error, error);
        assert!(failure.message.contains(named), "{failure:?}");
        assert!(failure.remedy.to_string().contains("move the copy away"), "{failure:?}");
    }
    // As the remedy says: no run sees it by the listings.
    fixture.run().await;
    assert_eq!(fixture.verify().await.status, Status::ObjectsMissing);
    fixture.sim.state().delete(CUSTOMER, &lands("single"));
    fixture.run().await;
    assert_eq!(fixture.verify().await.status, Status::Complete);
}

#[tokio::test]
async fn what_nothing_proves_is_not_called_identical_until_it_is_read() {
    let fixture = Fixture::new().await;
    let state = fixture.sim.state();
    let sha = |object: Object| object.with_checksum(ChecksumAlgorithm::Sha256);
    let long = bytes(1, 10 * MIB);
    let mut other = long.clone();
    other[9 * MIB as usize] ^= 1;
    for key in ["same", "other"] {
        put(&fixture, key, sha(Object::bytes(long.clone()).with_parts(vec![5 * MIB, 5 * MIB])));
    }
    state.put(CUSTOMER, &lands("same"), sha(Object::bytes(long).with_parts(vec![6 * MIB, 4 * MIB])));
    state.put(CUSTOMER, &lands("other"), sha(Object::bytes(other).with_parts(vec![6 * MIB, 4 * MIB])));

    let found = fixture.verify().await;
    assert_eq!((found.status, counts(&found.sources[0])), (Status::ObjectsMissing, [0, 0, 0, 2, 0]));
    let Finding::CannotTell(failure) = of(&found, "same") else { panic!("{found:#?}") };
    assert!(failure.remedy.to_string().contains("--read"), "{failure:?}");

    let found = fixture.verify_reading().await;
    assert_eq!(counts(&found.sources[0]), [0, 1, 0, 0, 0], "{found:#?}");
    let Finding::Different(failure) = of(&found, "other") else { panic!("{found:#?}") };
    assert!(failure.message.contains(&format!("byte {} on", 9 * MIB)), "{failure:?}");
}

#[tokio::test]
async fn reading_finds_the_first_byte_that_differs_in_any_range() {
    let fixture = Fixture::new().await;
    let object = bytes(1, 70 * MIB);
    let mut copy = object.clone();
    for at in [66 * MIB, 69 * MIB] {
        copy[at as usize] ^= 1;
    }
    put(&fixture, "large", Object::bytes(object));
    fixture.sim.state().put(CUSTOMER, &lands("large"), Object::bytes(copy));
    let found = fixture.verify_reading().await;
    let Finding::Different(failure) = of(&found, "large") else { panic!("{found:#?}") };
    assert!(failure.message.contains(&format!("byte {} on", 66 * MIB)), "{failure:?}");
}

#[tokio::test]
async fn reading_finds_other_headers_and_metadata() {
    let fixture = Fixture::new().await;
    let html = ContentHeaders { content_type: Some("text/html".into()), ..ContentHeaders::default() };
    let state = fixture.sim.state();
    put(&fixture, "header", Object::bytes("x").with_headers(html));
    put(&fixture, "metadata", Object::bytes("x").with_metadata("backup-id", "4711"));
    state.put(CUSTOMER, &lands("header"), Object::bytes("x"));
    state.put(CUSTOMER, &lands("metadata"), Object::bytes("x").with_metadata("backup-id", "4712"));
    assert_eq!(fixture.verify().await.status, Status::Complete, "no listing shows them");
    let found = fixture.verify_reading().await;
    assert_eq!(counts(&found.sources[0]), [0, 2, 0, 0, 0], "{found:#?}");
    for (key, named) in [
        ("header", "Content-Type is \"text/html\" at the source"),
        ("metadata", "x-amz-meta-backup-id is \"4711\" at the source, its copy's \"4712\""),
    ] {
        let Finding::Different(failure) = of(&found, key) else { panic!("{found:#?}") };
        assert!(failure.message.contains(named), "{failure:?}");
        assert_eq!(failure.error, "PropertiesDiffer");
    }
}

#[tokio::test]
async fn an_archived_object_that_is_at_the_destination_is_proven_without_reading_it() {
    let fixture = Fixture::new().await;
    replicated(&fixture).await;
    fixture.sim.state().archive(VENDOR, "single", StorageClass::Glacier);
    fixture.sim.state().archive(CUSTOMER, &lands("parts/uneven"), StorageClass::Glacier);
    let found = fixture.verify_reading().await;
    assert_eq!(found.status, Status::Complete, "{found:#?}");
    let proofs = [(VerifiedBy::Etag, 2), (VerifiedBy::Bytes, 3)];
    assert_eq!(found.sources[0].proven_by, proofs.into());
}

#[tokio::test]
async fn a_right_that_is_missing_leaves_the_object_unproven_and_is_named() {
    let own = User::new("own-key", "own-secret").deny("s3:GetObject", CUSTOMER);
    let all = User::new("sim-access-key", "sim-secret-key");
    let mut fixture = Fixture::with(Config { users: vec![own, all], ..Config::default() }).await;
    fixture.sim.state().set_default_encryption(CUSTOMER, kms());
    replicated(&fixture).await;
    fixture.keys = ("own-key", "own-secret");
    for found in [fixture.verify().await, fixture.verify_reading().await] {
        assert_eq!(found.status, Status::ObjectsMissing);
        assert_eq!(counts(&found.sources[0]), [0, 0, 0, 5, 0], "{found:#?}");
        let Finding::CannotTell(failure) = of(&found, "single") else { panic!("{found:#?}") };
        assert_eq!(failure.error, "AccessDenied");
        for named in ["s3:GetObject", "arn:aws:s3:::customer-backups/*"] {
            assert!(format!("{:?}", failure.remedy).contains(named), "{failure:?}");
        }
    }
}

#[tokio::test]
async fn the_vendors_keys_read_what_the_customers_own_may_not() {
    for denied in ["s3:*", "s3:GetObject"] {
        let own = User::new("own-key", "own-secret").deny(denied, VENDOR);
        let vendor = User::new("vendor-key", "vendor-secret").deny("s3:*", CUSTOMER);
        let mut fixture = Fixture::with(Config { users: vec![own, vendor], ..Config::default() }).await;
        fixture.keys = ("own-key", "own-secret");
        fixture.settings.source_credentials = Some(keys(("vendor-key", "vendor-secret")));
        fixture.sim.state().set_default_encryption(CUSTOMER, kms());
        replicated(&fixture).await;
        for found in [fixture.verify().await, fixture.verify_reading().await] {
            assert_eq!(found.status, Status::Complete, "{denied}: {found:#?}");
        }
    }
}

#[tokio::test]
async fn what_changes_at_the_source_meanwhile_is_never_called_different_or_identical() {
    for operation in ["HeadObject", "GetObject"] {
        let fixture = Fixture::new().await;
        fixture.sim.state().set_default_encryption(CUSTOMER, kms());
        for key in ["overwritten", "deleted", "resized"] {
            put(&fixture, key, Object::bytes(key));
        }
        put(&fixture, "large", Object::bytes(bytes(1, 70 * MIB)));
        fixture.run().await;
        fixture.sim.reset_counters();
        fixture.sim.on_request(move |event, state| {
            if event.is_before() && event.operation == operation && event.nth == 1 {
                // Old times, as of a server whose clock is late.
                let old = |object: Object| object.with_last_modified(hours_ago(9));
                state.put(VENDOR, "overwritten", old(Object::bytes("OVERWRITTEN")));
                state.put(VENDOR, "resized", old(Object::bytes("of another size")));
                state.delete(VENDOR, "deleted");
            }
            // In the middle of its ranges.
            if event.is_before() && event.operation == "GetObject" && event.key == "large" {
                state.put(VENDOR, "large", Object::bytes(bytes(1, 69 * MIB)));
            }
        });
        let found = match operation {
            "HeadObject" => fixture.verify().await,
            _ => fixture.verify_reading().await,
        };
        let changed = if operation == "HeadObject" { 3 } else { 4 };
        assert_eq!(counts(&found.sources[0]), [0, 0, 0, 0, changed], "{operation}: {found:#?}");
        assert_eq!(found.status, Status::Complete);
    }
}

#[tokio::test]
async fn a_copy_that_is_lost_or_replaced_meanwhile_is_judged_as_it_is_now() {
    for reading in [false, true] {
        let fixture = Fixture::new().await;
        fixture.sim.state().set_default_encryption(CUSTOMER, kms());
        for key in ["lost", "renewed", "damaged"] {
            put(&fixture, key, Object::bytes(key));
        }
        fixture.run().await;
        fixture.sim.reset_counters();
        fixture.sim.on_request(|event, state| {
            if event.is_before() && event.nth == 1 && ["HeadObject", "GetObject"].contains(&event.operation) {
                state.delete(CUSTOMER, &lands("lost"));
                state.put(CUSTOMER, &lands("renewed"), Object::bytes("renewed").with_encryption(kms()));
                state.put(CUSTOMER, &lands("damaged"), Object::bytes("dAmaged").with_encryption(kms()));
            }
        });
        let found = match reading {
            false => fixture.verify().await,
            true => fixture.verify_reading().await,
        };
        assert_eq!(counts(&found.sources[0]), [1, 1, 0, 0, 0], "{found:#?}");
        assert!(matches!(of(&found, "lost"), Finding::Missing(_)));
        assert!(matches!(of(&found, "damaged"), Finding::Different(_)));
    }
}

#[tokio::test]
async fn an_object_that_is_listed_but_not_served_is_not_called_gone() {
    let fixture = Fixture::new().await;
    fixture.sim.state().set_default_encryption(CUSTOMER, kms());
    replicated(&fixture).await;
    let not_found = FaultKind::Error { status: 404, code: "NoSuchKey" };
    for operation in ["HeadObject", "GetObject"] {
        fixture.sim.add_fault(Fault::rate(operation, not_found, 1.0).on_key("single"));
    }
    for found in [fixture.verify().await, fixture.verify_reading().await] {
        assert_eq!((found.status, counts(&found.sources[0])), (Status::ObjectsMissing, [0, 0, 0, 1, 0]));
    }
}

#[tokio::test]
async fn faults_neither_hide_a_difference_nor_make_one() {
    let kinds = [
        FaultKind::InternalError,
        FaultKind::SlowDown,
        FaultKind::CutBefore,
        FaultKind::CutAfter,
        FaultKind::CutBody,
        FaultKind::Hang,
    ];
    for kind in kinds {
        let mut fixture = Fixture::new().await;
        fixture.patience = Duration::from_secs(2);
        fixture.sim.state().set_default_encryption(CUSTOMER, kms());
        replicated(&fixture).await;
        fixture.sim.state().put(CUSTOMER, &lands("single"), Object::bytes(bytes(7, 100_000)));
        for reading in [false, true] {
            for operation in ["ListObjectsV2", "HeadObject", "GetObject"] {
                for kth in [1, 2, 5] {
                    fixture.sim.add_fault(Fault::kth(Op::named(operation), kth, kind));
                }
            }
            let found = match reading {
                false => fixture.verify().await,
                true => fixture.verify_reading().await,
            };
            let source = &found.sources[0];
            assert_eq!(counts(source), [0, 1, 0, 0, 0], "{kind:?} {reading}: {found:#?}");
            assert_eq!(source.identical.objects, 4, "{kind:?} {reading}");
            fixture.sim.clear_faults();
        }
    }
}

#[tokio::test]
async fn a_verification_that_is_stopped_claims_nothing_of_the_rest() {
    let mut fixture = Fixture::new().await;
    fixture.settings.max_in_flight = Some("2".into());
    for index in 0..50 {
        put(&fixture, &format!("{index:02}"), Object::bytes("x"));
    }
    fixture.run().await;
    fixture.sim.add_fault(Fault::rate("GetObject", FaultKind::Hang, 1.0).on_key("20"));
    let halt = Halt::never();
    let request = Request { read: true, ..Request::default() };
    let verification = fixture.try_verify(request, &halt);
    let stop = async {
        while fixture.sim.counters().get("GetObject") < 40 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        halt.cancel();
    };
    let (found, ()) = tokio::join!(verification, stop);
    let found = found.expect("a report");
    let source = &found.sources[0];
    assert_eq!(found.status, Status::Stopped, "{found:#?}");
    assert!(source.stopped_after.is_some() || source.interrupted.objects > 0, "{found:#?}");
    assert!((18..50).contains(&source.identical.objects), "{found:#?}");
    assert_eq!(counts(source), [0, 0, 0, 0, 0]);
}

#[tokio::test]
async fn a_listing_that_breaks_off_fails_the_verification() {
    let fixture = Fixture::new().await;
    for index in 0..1_100 {
        put(&fixture, &format!("{index:04}"), Object::bytes("x"));
    }
    fixture.run().await;
    let refused = FaultKind::Error { status: 400, code: "InvalidRequest" };
    fixture.sim.add_fault(Fault::kth("ListObjectsV2", 4, refused));
    let found = fixture.verify().await;
    assert_eq!(found.status, Status::Failed, "{found:#?}");
    assert!(found.sources[0].error.is_some());
}

#[tokio::test]
async fn only_what_was_asked_for_is_compared() {
    let fixture = Fixture::new().await;
    let in_2025 = SystemTime::UNIX_EPOCH + Duration::from_secs(1_760_000_000);
    for key in ["2025/old", "2026/old"] {
        fixture.sim.state().put(VENDOR, key, Object::bytes("x").with_last_modified(in_2025));
    }
    fixture.sim.state().put(VENDOR, "2026/new", Object::bytes("x").with_last_modified(hours_ago(1)));
    fixture.sim.state().put(CUSTOMER, &lands("2026/new"), Object::bytes("x"));
    fixture.sim.state().put(CUSTOMER, &lands("2024/extra"), Object::bytes("x"));
    let request = Request {
        prefix: Some("2026/".into()),
        modified_after: Some("2026-01-01T00:00:00Z".into()),
        ..Request::default()
    };
    let found = fixture.try_verify(request, &Halt::never()).await.expect("a verification");
    let source = &found.sources[0];
    assert_eq!(found.status, Status::Complete, "{found:#?}");
    assert_eq!((source.listed.objects, source.left_out.objects, source.identical.objects), (2, 1, 1));
    assert_eq!(source.only_at_destination.objects, 0);
}

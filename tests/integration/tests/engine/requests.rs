//! The requests that a run may send: the floor is one LIST a 1,000 keys and side, and one
//! COPY a single-part object.

use std::time::{Duration, SystemTime};

use bucket_copy::{Amount, Reason, Status};
use s3_sim::{Encryption, GeneratedKeys, Object, Pattern};

use crate::fixture::{CUSTOMER, Fixture, MIB, VENDOR, bytes};

#[tokio::test]
async fn small_objects_take_one_copy_each_and_listings_one_request_a_thousand_keys() {
    let mut fixture = Fixture::new().await;
    let keys = GeneratedKeys::pattern(Pattern::Sequential, 2_500, 100);
    fixture.sim.state().create_generated_bucket("generated", keys);
    fixture.settings.filesystem_bucket = Some("generated".into());
    let report = fixture.run().await;
    let counters = fixture.sim.counters();
    assert_eq!((counters.get("CopyObject"), counters.get("ListObjectsV2")), (2_500, 3 + 1), "{counters}");
    // A new lease, taken and released.
    assert_eq!((counters.get("PutObject"), counters.total()), (2, 2_504 + 3));
    assert_eq!(report.requests.values().sum::<u64>(), counters.total(), "the report counts what was sent");
    assert!(counters.peak_in_flight <= 256, "{counters}");
    fixture.assert_at_rest().await;
}

#[tokio::test]
async fn what_is_there_already_is_not_copied_and_what_is_extra_is_kept() {
    let fixture = Fixture::new().await;
    let state = fixture.sim.state();
    for key in ["same", "grown", "rewritten"] {
        state.put(VENDOR, key, Object::bytes("old!"));
    }
    fixture.run().await;
    state.put(VENDOR, "grown", Object::bytes("grown!"));
    state.put(VENDOR, "rewritten", Object::bytes("new!"));
    state.put(VENDOR, "new", Object::bytes("new!"));
    state.put(CUSTOMER, "filesystem/extra", Object::bytes("the vendor's no more"));
    state.put(CUSTOMER, "elsewhere", Object::bytes("the customer's own"));

    let report = fixture.run().await;
    let source = &report.sources[0];
    assert_eq!((report.status, source.copied.objects, source.unchanged.objects), (Status::Complete, 3, 1));
    let because: Vec<_> =
        source.copied_because.iter().map(|(reason, amount)| (*reason, amount.objects)).collect();
    assert_eq!(because, [(Reason::New, 1), (Reason::SizeDiffers, 1), (Reason::EtagDiffers, 1)]);
    assert_eq!(source.only_at_destination.objects, 1);
    for key in ["same", "grown", "rewritten", "new"] {
        fixture.assert_same(key);
    }
    assert_eq!(fixture.copies().len(), 6);
    fixture.assert_at_rest().await;
}

#[tokio::test]
async fn etags_that_cannot_be_compared_leave_the_decision_to_the_times() {
    let fixture = Fixture::new().await;
    let state = fixture.sim.state();
    state.set_default_encryption(CUSTOMER, Encryption::Kms("alias/backups".into()));
    let long_ago = SystemTime::now() - Duration::from_secs(30 * 3_600);
    for index in 0..10 {
        state.put(VENDOR, &format!("single-{index}"), Object::new(bytes(index, 10)));
    }
    state.put(VENDOR, "parts", Object::new(bytes(11, 6 * MIB)).with_part_size(5 * MIB));
    for key in state.keys(VENDOR) {
        state.set_last_modified(VENDOR, &key, long_ago);
    }
    let report = fixture.run().await;
    assert_eq!(report.sources[0].verified_by, [(bucket_copy::VerifiedBy::Checksum, 11)].into());

    fixture.sim.reset_counters();
    let report = fixture.run().await;
    assert_eq!(report.total(|source| source.copied).objects, 0);
    let counters = fixture.sim.counters();
    // What LIST does not tell, whether plain ETags are MD5s, is asked once on each side.
    assert_eq!((counters.get("HeadObject"), counters.total()), (2, 4 + 3), "{counters}");

    state.put(VENDOR, "single-3", Object::new(bytes(100, 10)));
    state.set_last_modified(VENDOR, "single-3", SystemTime::now() + Duration::from_secs(2));
    let report = fixture.run().await;
    assert_eq!(
        report.sources[0].copied_because,
        [(Reason::ModifiedSince, Amount { objects: 1, bytes: 10 })].into()
    );
    assert_eq!(fixture.customer("single-3").content, fixture.vendor("single-3").content);
}

/// Copies made within minutes of their sources, with ETags that cannot be compared.
async fn copied_in_doubt() -> Fixture {
    let fixture = Fixture::new().await;
    let state = fixture.sim.state();
    state.set_default_encryption(CUSTOMER, Encryption::Kms("alias/backups".into()));
    state.put(VENDOR, "single", Object::new(bytes(1, 10)));
    state.put(VENDOR, "parts", Object::new(bytes(2, 6 * MIB)).with_part_size(5 * MIB));
    fixture.run().await;
    fixture.sim.reset_counters();
    fixture
}

#[tokio::test]
async fn what_the_times_leave_in_doubt_is_settled_by_checksums() {
    let fixture = copied_in_doubt().await;
    for _ in 0..2 {
        let report = fixture.run().await;
        assert_eq!(report.total(|source| source.copied).objects, 0, "{report:#?}");
        assert_eq!(report.sources[0].unchanged.objects, 2);
    }
    let counters = fixture.sim.counters();
    // Twice, one on each side for each object, and for whether ETags can be compared.
    assert_eq!((counters.get("HeadObject"), counters.total()), (12, 16 + 6), "{counters}");
}

#[tokio::test]
async fn a_copy_that_missed_a_change_of_its_source_is_made_again() {
    let fixture = copied_in_doubt().await;
    let state = fixture.sim.state();
    for (seed, key) in [(3, "single"), (4, "parts")] {
        let copied = fixture.customer(key);
        // As large as before, and older than the copy: the writer was quicker than the copier.
        let object = Object::new(bytes(seed, copied.size)).with_last_modified(copied.last_modified);
        let object = if key == "parts" { object.with_part_size(5 * MIB) } else { object };
        state.put(VENDOR, key, object);
    }
    let report = fixture.run().await;
    assert_eq!(
        report.sources[0].copied_because,
        [(Reason::InDoubt, Amount { objects: 2, bytes: 6 * MIB + 10 })].into()
    );
    for key in ["single", "parts"] {
        assert_eq!(fixture.customer(key).content, fixture.vendor(key).content);
    }
}

#[tokio::test]
async fn without_a_common_checksum_what_is_in_doubt_is_copied() {
    let fixture = copied_in_doubt().await;
    let copied = fixture.customer("single");
    let other = Object::new(copied.content).with_checksum(s3_sim::ChecksumAlgorithm::Sha256);
    fixture.sim.state().put(VENDOR, "single", other.with_last_modified(copied.last_modified));
    let report = fixture.run().await;
    assert_eq!(
        report.sources[0].copied_because,
        [(Reason::InDoubt, Amount { objects: 1, bytes: 10 })].into()
    );
}

//! Rights that are missing to what hangs on an object: with TAGS and ANNOTATIONS at `auto` it
//! arrives without, and the report says so; at `copy` it fails; at `skip` nobody asks.

use bucket_copy::{Property, Report, Status};
use s3_sim::{Config, Object, User};

use crate::fixture::{CUSTOMER, Fixture, MIB, VENDOR};

const KEYS: (&str, &str) = ("own-key", "own-secret");

/// A user that may do all but this, and two objects that have all: one in a piece, one of parts.
async fn without(action: &str, bucket: &str) -> Fixture {
    let user = User::new(KEYS.0, KEYS.1).deny(action, bucket);
    let mut fixture = Fixture::with(Config { users: vec![user], ..Config::default() }).await;
    fixture.keys = KEYS;
    for (key, parts) in [("single", false), ("parts", true)] {
        let bytes: Vec<u8> = (0..6 * MIB).map(|index| (index * 31 % 251) as u8).collect();
        let object = Object::bytes(bytes).with_tag("kind", "nightly").with_annotation("origin", "{}");
        let object = if parts { object.with_parts(vec![5 * MIB, MIB]) } else { object };
        fixture.sim.state().put(VENDOR, key, object);
    }
    fixture.sim.state().put(VENDOR, "bare", Object::bytes("neither tags nor annotations"));
    fixture
}

fn lacks(report: &Report, property: Property) -> u64 {
    let source = &report.sources[0];
    assert!(source.lacking.iter().all(|object| !object.without.is_empty()), "{report:#?}");
    source.copied_without.get(&property).copied().unwrap_or(0)
}

/// The copies have the bytes and the ETags, and of tags and annotations what is expected.
fn assert_copied(fixture: &Fixture, tags: bool, annotations: bool) {
    for key in ["single", "parts"] {
        let (source, copy) = (fixture.vendor(key), fixture.customer(key));
        assert_eq!((&copy.etag, &copy.content), (&source.etag, &source.content), "{key}");
        assert_eq!((!copy.tags.is_empty(), !copy.annotations.is_empty()), (tags, annotations), "{key}");
    }
    fixture.assert_same("bare");
}

const TAG_RIGHTS: [(&str, &str); 2] = [("s3:GetObjectTagging", VENDOR), ("s3:PutObjectTagging", CUSTOMER)];

#[tokio::test]
async fn an_object_whose_tags_may_not_be_copied_arrives_without_and_the_report_says_so() {
    for stream in [false, true] {
        for (action, bucket) in TAG_RIGHTS {
            let mut fixture = without(action, bucket).await;
            fixture.settings.transfer = stream.then(|| "stream".into());
            let report = fixture.run().await;
            assert_eq!(report.status, Status::Complete, "{action}: {report:#?}");
            assert_copied(&fixture, false, true);
            assert!(lacks(&report, Property::Tags) >= 2, "{action}: {report:#?}");
            assert!(report.sources[0].lacking[0].without[0].because.contains(action), "{report:#?}");
            fixture.assert_at_rest().await;
        }
    }
}

#[tokio::test]
async fn a_right_that_is_missing_is_learned_once() {
    for (action, bucket) in TAG_RIGHTS {
        let mut fixture = without(action, bucket).await;
        fixture.settings.max_in_flight = Some("1".into());
        for index in 0..50 {
            let object = Object::bytes(format!("{index}")).with_tag("kind", "small");
            fixture.sim.state().put(VENDOR, &format!("small/{index}"), object);
        }
        let report = fixture.run().await;
        assert_eq!(report.status, Status::Complete, "{report:#?}");
        let counters = fixture.sim.counters();
        assert!(counters.get("CopyObject") < 10, "a refused copy for every object: {counters}");
        if bucket == VENDOR {
            assert!(counters.get("GetObjectTagging") < 10, "{counters}");
        }
    }
}

#[tokio::test]
async fn tags_that_must_be_copied_fail_their_objects_where_a_right_is_missing() {
    for (action, bucket) in TAG_RIGHTS {
        let mut fixture = without(action, bucket).await;
        fixture.settings.tags = Some("copy".into());
        let report = fixture.run().await;
        assert_eq!(report.total(|source| source.failed).objects, 2, "{report:#?}");
        for object in &report.sources[0].failures {
            assert!(object.failure.remedy.text.contains(action), "{action}: {object:?}");
        }
        fixture.assert_same("bare");
    }
}

#[tokio::test]
async fn tags_that_are_skipped_are_not_asked_for() {
    for stream in [false, true] {
        for (action, bucket) in TAG_RIGHTS {
            let mut fixture = without(action, bucket).await;
            fixture.settings.tags = Some("skip".into());
            fixture.settings.transfer = stream.then(|| "stream".into());
            let report = fixture.run().await;
            assert_eq!(report.status, Status::Complete, "{report:#?}");
            assert_copied(&fixture, false, true);
            assert_eq!(report.sources[0].lacking, [], "nothing is missing that was asked for");
            assert_eq!(fixture.sim.counters().get("GetObjectTagging"), 0);
        }
    }
}

#[tokio::test]
async fn annotations_that_may_not_be_copied_are_left_behind_and_the_report_says_so() {
    for (action, bucket) in [("s3:GetObjectAnnotation", VENDOR), ("s3:PutObjectAnnotation", CUSTOMER)] {
        for stream in [false, true] {
            let mut fixture = without(action, bucket).await;
            fixture.settings.transfer = stream.then(|| "stream".into());
            let report = fixture.run().await;
            assert_eq!(report.status, Status::Complete, "{action}: {report:#?}");
            assert_copied(&fixture, true, false);
            assert!(lacks(&report, Property::Annotations) >= 2, "{action}: {report:#?}");
            fixture.assert_at_rest().await;
        }
        let mut fixture = without(action, bucket).await;
        fixture.settings.annotations = Some("copy".into());
        let report = fixture.run().await;
        assert_eq!(report.status, Status::ObjectsMissing, "{report:#?}");
        let mut fixture = without(action, bucket).await;
        fixture.settings.annotations = Some("skip".into());
        let report = fixture.run().await;
        assert_eq!((report.status, &report.sources[0].lacking[..]), (Status::Complete, &[][..]));
        assert_copied(&fixture, true, false);
        assert_eq!(fixture.sim.counters().get("ListObjectAnnotations"), 0);
    }
}

#[tokio::test]
async fn metadata_that_no_header_can_carry_is_never_lost_silently() {
    for stream in [false, true] {
        let mut fixture = Fixture::new().await;
        fixture.settings.transfer = stream.then(|| "stream".into());
        let object = Object::bytes(vec![7; 100]).with_missing_meta(2);
        fixture.sim.state().put(VENDOR, "single", object.clone());
        fixture.sim.state().put(VENDOR, "parts", object.with_parts(vec![100]));
        let report = fixture.run().await;
        assert_eq!(report.status, Status::Complete);
        // CopyObject keeps it.
        assert_eq!(lacks(&report, Property::Metadata), if stream { 2 } else { 1 }, "{report:#?}");
        assert_eq!(fixture.customer("single").missing_meta, if stream { 0 } else { 2 });
    }
}

/// A bucket policy that denies writes without If-None-Match or If-Match.
#[tokio::test]
async fn a_destination_that_demands_conditional_writes_gets_them() {
    for stream in [false, true] {
        let mut fixture = Fixture::new().await;
        fixture.settings.transfer = stream.then(|| "stream".into());
        fixture.sim.state().demand_conditions(CUSTOMER);
        let put = |text: &str| {
            fixture.sim.state().put(VENDOR, "single", Object::bytes(text.repeat(10)));
            fixture.sim.state().put(VENDOR, "parts", Object::bytes(text.repeat(20)).with_parts(vec![20 * 3]));
        };
        // New, then changed.
        for text in ["old", "new"] {
            put(text);
            let report = fixture.run().await;
            assert_eq!(report.status, Status::Complete, "{report:#?}");
            fixture.assert_same("single");
            fixture.assert_same("parts");
            fixture.assert_at_rest().await;
        }
    }
}

/// Object Lock's default retention: nothing is overwritten, and no body goes unchecked.
#[tokio::test]
async fn a_destination_under_retention_gets_new_versions_and_keeps_the_old_ones() {
    for stream in [false, true] {
        let mut fixture = Fixture::new().await;
        fixture.settings.transfer = stream.then(|| "stream".into());
        fixture.sim.state().set_retention(CUSTOMER);
        for seed in [1, 2] {
            fixture.sim.state().put(VENDOR, "single", Object::bytes(vec![seed; 100]));
            let parts = Object::bytes(vec![seed; 6 << 20]).with_parts(vec![5 * MIB, MIB]);
            fixture.sim.state().put(VENDOR, "parts", parts);
            let report = fixture.run().await;
            assert_eq!(report.status, Status::Complete, "{report:#?}");
            fixture.assert_same("single");
            fixture.assert_same("parts");
        }
        assert!(fixture.customer("single").retained);
        // Two of each object, and four of the lease.
        assert_eq!(fixture.sim.state().versions(CUSTOMER), 2 * 2 + 4);
        fixture.assert_at_rest().await;
    }
}

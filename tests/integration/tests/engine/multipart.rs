//! Objects of parts keep their boundaries, so their ETag, and all that CopyObject would
//! have kept.

use s3_sim::{ChecksumAlgorithm, ContentHeaders, Object};

use crate::fixture::{CUSTOMER, Fixture, MIB, VENDOR, bytes};

fn object(seed: u64, parts: &[u64]) -> Object {
    Object::new(bytes(seed, parts.iter().sum())).with_parts(parts.to_vec())
}

#[tokio::test]
async fn parts_of_any_sizes_keep_the_etag() {
    let fixture = Fixture::new().await;
    let layouts: &[&[u64]] = &[
        &[1],
        &[0],
        &[5 * MIB, 1],
        &[8 * MIB, 8 * MIB, 8 * MIB, 3 * MIB],
        &[8 * MIB, 8 * MIB],
        // The first part and their number give these away as unequal.
        &[5 * MIB, 20 * MIB, 5 * MIB],
        // These look equal by the first part and their number, and are not.
        &[10 * MIB, 6 * MIB, 9 * MIB],
        &[10 * MIB, 12 * MIB, 8 * MIB, 10 * MIB],
        &[10 * MIB, 10 * MIB, 9 * MIB, 10 * MIB + 1],
    ];
    for (index, layout) in layouts.iter().enumerate() {
        fixture.sim.state().put(VENDOR, &format!("dump-{index}"), object(index as u64, layout));
    }
    let report = fixture.run().await;
    assert_eq!(report.sources[0].verified_by.values().sum::<u64>(), layouts.len() as u64, "{report:#?}");
    for index in 0..layouts.len() {
        fixture.assert_same(&format!("dump-{index}"));
    }
    fixture.assert_at_rest().await;
}

#[tokio::test]
async fn everything_that_a_copy_object_keeps_is_told_again() {
    let fixture = Fixture::new().await;
    let headers = ContentHeaders {
        content_type: Some("application/sql".into()),
        cache_control: Some("max-age=60".into()),
        content_disposition: Some("attachment; filename=\"dump.sql\"".into()),
        content_encoding: Some("gzip".into()),
        content_language: Some("fr".into()),
        expires: Some("Wed, 21 Oct 2026 07:28:00 GMT".into()),
    };
    for (key, parts) in [("parts", vec![5 * MIB, MIB]), ("single", vec![])] {
        let size = 6 * MIB;
        let object =
            Object::new(bytes(1, size)).with_headers(headers.clone()).with_metadata("Backup-Id", "4711");
        let object = object.with_tag("kind", "a b+c/d=é&f").with_tag("empty", "");
        let object = if parts.is_empty() { object } else { object.with_parts(parts) };
        fixture.sim.state().put(VENDOR, key, object);
    }
    fixture.run().await;
    fixture.assert_same("parts");
    fixture.assert_same("single");
}

#[tokio::test]
async fn checksums_are_made_again_as_they_were() {
    let fixture = Fixture::new().await;
    for algorithm in [ChecksumAlgorithm::Crc32, ChecksumAlgorithm::Crc32c, ChecksumAlgorithm::Crc64Nvme] {
        let key = format!("{algorithm:?}");
        fixture.sim.state().put(VENDOR, &key, object(1, &[5 * MIB, MIB]).with_checksum(algorithm));
    }
    fixture.run().await;
    for key in ["Crc32", "Crc32c", "Crc64Nvme"] {
        fixture.assert_same(key);
        assert_eq!(fixture.customer(key).checksum, fixture.vendor(key).checksum, "{key}");
    }
}

#[tokio::test]
async fn a_plain_object_above_5_gib_is_copied_in_parts_and_verified_by_its_checksum() {
    let fixture = Fixture::new().await;
    fixture.sim.state().put(VENDOR, "huge", Object::new(bytes(1, (5 << 30) + 1)));
    let report = fixture.run().await;
    assert_eq!(report.total(|source| source.copied).objects, 1, "{report:#?}");
    assert_eq!(fixture.customer("huge").content, fixture.vendor("huge").content);
    assert_eq!(fixture.customer("huge").checksum.value, fixture.vendor("huge").checksum.value);
}

#[tokio::test]
async fn ten_thousand_parts_are_copied() {
    let fixture = Fixture::new().await;
    let object = Object::new(bytes(1, 9_999 * 5 * MIB + 1)).with_part_size(5 * MIB);
    fixture.sim.state().put(VENDOR, "parts", object);
    fixture.run().await;
    fixture.assert_same("parts");
    assert_eq!(fixture.sim.counters().get("UploadPartCopy"), 10_000);
    assert_eq!(fixture.sim.state().open_uploads(CUSTOMER), []);
}

/// An upload's last part may be empty, and no range of bytes says so.
#[tokio::test]
async fn an_empty_last_part_is_no_obstacle() {
    let fixture = Fixture::new().await;
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(3_600);
    for (key, layout) in [("two", &[5 * MIB, 0][..]), ("three", &[5 * MIB, 10 * MIB, 0])] {
        fixture.sim.state().put(VENDOR, key, object(1, layout).with_last_modified(long_ago));
    }
    let report = fixture.run().await;
    assert_eq!(report.total(|source| source.copied).objects, 2, "{report:#?}");
    for key in ["two", "three"] {
        assert_eq!(fixture.customer(key).content, fixture.vendor(key).content, "{key}");
    }
}

/// S3 makes the SHAs of an upload from its parts' only, whatever the source's are of.
#[tokio::test]
async fn a_plain_object_above_5_gib_may_have_any_checksum() {
    let fixture = Fixture::new().await;
    for algorithm in ChecksumAlgorithm::ALL {
        let object = Object::new(bytes(1, (5 << 30) + 1)).with_checksum(algorithm);
        fixture.sim.state().put(VENDOR, algorithm.name(), object);
    }
    let report = fixture.run().await;
    assert_eq!(report.total(|source| source.copied).objects, 5, "{report:#?}");
}

//! Single objects: what is kept, what is given back, odd keys, versions.

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumMode};
use s3_sim::{Encryption, Object, Restore, StorageClass, Versioning};
use std::time::{Duration, UNIX_EPOCH};

use crate::{copy_source, refusal, start};

#[tokio::test]
async fn everything_put_is_given_back() {
    let (sim, client) = start().await;
    client
        .put_object()
        .bucket("source")
        .key("k")
        .body(ByteStream::from_static(b"hello"))
        .content_type("text/plain; charset=utf-8")
        .content_encoding("gzip")
        .content_language("de, en")
        .content_disposition("attachment; filename=\"a b.txt\"")
        .cache_control("max-age=3")
        .expires(aws_sdk_s3::primitives::DateTime::from_secs(1_900_000_000))
        .metadata("plain", "value")
        .metadata("odd", "Grüße, 世界")
        .tagging("a=1&b%20c=d%2Be+f")
        .storage_class(aws_sdk_s3::types::StorageClass::StandardIa)
        .website_redirect_location("/elsewhere")
        .send()
        .await
        .unwrap();
    let head = client.head_object().bucket("source").key("k").send().await.unwrap();
    assert_eq!(head.content_type(), Some("text/plain; charset=utf-8"));
    assert_eq!(head.content_encoding(), Some("gzip"));
    assert_eq!(head.content_language(), Some("de, en"));
    assert_eq!(head.content_disposition(), Some("attachment; filename=\"a b.txt\""));
    assert_eq!(head.cache_control(), Some("max-age=3"));
    assert_eq!(head.expires_string(), Some("Sun, 17 Mar 2030 17:46:40 GMT"));
    assert_eq!(head.metadata().unwrap()["plain"], "value");
    assert_eq!(head.storage_class().unwrap().as_str(), "STANDARD_IA");
    assert_eq!(head.website_redirect_location(), Some("/elsewhere"));
    assert_eq!(head.e_tag(), Some("\"5d41402abc4b2a76b9719d911017c592\""));
    assert_eq!(head.server_side_encryption().unwrap().as_str(), "AES256");
    assert_eq!(head.content_length(), Some(5));
    assert!(head.checksum_crc32().is_none());

    let snapshot = sim.state().object("source", "k").unwrap();
    assert_eq!(snapshot.user_metadata["odd"], "Grüße, 世界");
    assert_eq!(snapshot.tags["b c"], "d+e f");
    assert_eq!(snapshot.headers.expires.as_deref(), Some("Sun, 17 Mar 2030 17:46:40 GMT"));

    let get = client.get_object().bucket("source").key("k").send().await.unwrap();
    assert_eq!(get.tag_count(), Some(2));
    assert_eq!(get.body.collect().await.unwrap().to_vec(), b"hello");
}

#[tokio::test]
async fn odd_keys_arrive_as_they_are() {
    let (sim, client) = start().await;
    let long = "é".repeat(512);
    let keys = [
        "/",
        "//",
        "/a",
        "a//b",
        "a/",
        ".",
        "..",
        "./a",
        "../../a",
        "a/../b",
        "a b",
        "a+b",
        "a%2Fb",
        "?versionId=x",
        "#",
        "\u{1}\u{1f}\u{7f}",
        "line\nbreak\r\n",
        "\\",
        "<&>\"'",
        "arn:aws:s3",
        "日本/😀",
        "a&b=c;d:e@f,g$h",
        "~",
        "[x]{y}|^`",
        long.as_str(),
    ];
    for key in keys {
        client
            .put_object()
            .bucket("source")
            .key(key)
            .body(ByteStream::from_static(b"x"))
            .send()
            .await
            .unwrap_or_else(|error| panic!("put {key:?}: {error:?}"));
        client
            .copy_object()
            .bucket("destination")
            .key(key)
            .copy_source(copy_source("source", key))
            .send()
            .await
            .unwrap_or_else(|error| panic!("copy {key:?}: {error:?}"));
        let get = client.get_object().bucket("destination").key(key).send().await.unwrap();
        assert_eq!(get.content_length(), Some(1), "{key:?}");
    }
    let mut expected: Vec<_> = keys.map(str::to_owned).to_vec();
    expected.sort();
    assert_eq!(sim.state().keys("source"), expected);
    assert_eq!(sim.state().keys("destination"), expected);

    let too_long = client.head_object().bucket("source").key("x".repeat(1025)).send().await;
    assert_eq!(refusal(too_long).0, 400);
    let too_long = client.get_object().bucket("source").key("x".repeat(1025)).send().await;
    assert_eq!(refusal(too_long), (400, "KeyTooLongError".to_owned()));
}

#[tokio::test]
async fn ranges_are_cut_out() {
    let (sim, client) = start().await;
    sim.state().put("source", "k", Object::bytes("0123456789"));
    let get = |range: &str| client.get_object().bucket("source").key("k").range(range).send();
    for (range, expected, header) in [
        ("bytes=0-0", "0", "bytes 0-0/10"),
        ("bytes=7-", "789", "bytes 7-9/10"),
        ("bytes=-2", "89", "bytes 8-9/10"),
        ("bytes=5-100", "56789", "bytes 5-9/10"),
    ] {
        let answer = get(range).await.unwrap();
        assert_eq!(answer.content_range(), Some(header));
        assert_eq!(answer.body.collect().await.unwrap().to_vec(), expected.as_bytes());
    }
    assert_eq!(refusal(get("bytes=10-").await), (416, "InvalidRange".to_owned()));
}

#[tokio::test]
async fn checksums_are_kept_and_crc64nvme_is_there_unasked() {
    let (sim, client) = start().await;
    sim.state().put("source", "plain", Object::bytes("123456789"));
    let head = |key: &str| {
        client.head_object().bucket("source").key(key).checksum_mode(ChecksumMode::Enabled).send()
    };
    let plain = head("plain").await.unwrap();
    assert_eq!(plain.checksum_crc64_nvme(), Some("rosUhgp5mIg="));
    client
        .put_object()
        .bucket("source")
        .key("sha")
        .body(ByteStream::from_static(b"123456789"))
        .checksum_algorithm(ChecksumAlgorithm::Sha256)
        .send()
        .await
        .unwrap();
    let sha = head("sha").await.unwrap();
    assert_eq!(sha.checksum_sha256(), Some("FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU="));
    assert!(sha.checksum_crc64_nvme().is_none());
    client.copy_object().bucket("destination").key("sha").copy_source("source/sha").send().await.unwrap();
    let copied = sim.state().object("destination", "sha").unwrap();
    assert_eq!(copied.checksum, sim.state().object("source", "sha").unwrap().checksum);

    let wrong = client
        .put_object()
        .bucket("source")
        .key("wrong")
        .body(ByteStream::from_static(b"123456789"))
        .checksum_sha256("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
        .send()
        .await;
    assert_eq!(refusal(wrong), (400, "BadDigest".to_owned()));
    let wrong = client
        .put_object()
        .bucket("source")
        .key("wrong")
        .body(ByteStream::from_static(b"x"))
        .content_md5("AAAAAAAAAAAAAAAAAAAAAA==")
        .send()
        .await;
    assert_eq!(refusal(wrong), (400, "BadDigest".to_owned()));
}

#[tokio::test]
async fn archived_objects_must_be_restored_first() {
    let (sim, client) = start().await;
    sim.state().put("source", "k", Object::bytes("x"));
    assert!(sim.state().archive("source", "k", StorageClass::DeepArchive));
    let get = || client.get_object().bucket("source").key("k").send();
    let copy = || client.copy_object().bucket("destination").key("k").copy_source("source/k").send();
    let head = || client.head_object().bucket("source").key("k").send();
    assert_eq!(refusal(get().await), (403, "InvalidObjectState".to_owned()));
    assert_eq!(refusal(copy().await), (403, "InvalidObjectState".to_owned()));
    assert_eq!(head().await.unwrap().storage_class().unwrap().as_str(), "DEEP_ARCHIVE");
    sim.state().restore("source", "k", Restore::InProgress);
    assert_eq!(refusal(copy().await), (403, "InvalidObjectState".to_owned()));
    let until = UNIX_EPOCH + Duration::from_secs(2_000_000_000);
    sim.state().restore("source", "k", Restore::Until(until));
    copy().await.unwrap();
    assert_eq!(
        head().await.unwrap().restore(),
        Some("ongoing-request=\"false\", expiry-date=\"Wed, 18 May 2033 03:33:20 GMT\"")
    );
    let copied = sim.state().object("destination", "k").unwrap();
    assert_eq!(copied.storage_class, StorageClass::Standard);
}

#[tokio::test]
async fn versions_can_be_read_copied_and_deleted() {
    let (sim, client) = start().await;
    sim.state().put("source", "k", Object::bytes("zero"));
    sim.state().set_versioning("source", Versioning::Enabled);
    let put = |body: &'static [u8]| {
        client.put_object().bucket("source").key("k").body(ByteStream::from_static(body)).send()
    };
    let first = put(b"one").await.unwrap().version_id().unwrap().to_owned();
    put(b"two").await.unwrap();
    let marker = client.delete_object().bucket("source").key("k").send().await.unwrap();
    assert_eq!(marker.delete_marker(), Some(true));
    let gone = client.get_object().bucket("source").key("k").send().await;
    assert_eq!(refusal(gone), (404, "NoSuchKey".to_owned()));
    for (version, body) in [(first.as_str(), "one"), ("null", "zero")] {
        let get = client.get_object().bucket("source").key("k").version_id(version);
        let body_is = get.send().await.unwrap().body.collect().await.unwrap().to_vec();
        assert_eq!(body_is, body.as_bytes());
    }
    let copied = client
        .copy_object()
        .bucket("destination")
        .key("k")
        .copy_source(format!("source/k?versionId={first}"))
        .send()
        .await
        .unwrap();
    assert_eq!(copied.copy_source_version_id(), Some(first.as_str()));
    assert_eq!(sim.state().object("destination", "k").unwrap().content.to_bytes(), "one");

    let listed = client.list_object_versions().bucket("source").send().await.unwrap();
    assert_eq!(listed.versions().len(), 3);
    assert_eq!(listed.delete_markers().len(), 1);
    assert_eq!(listed.delete_markers()[0].is_latest(), Some(true));
    assert!(sim.state().keys("source").is_empty());
    client
        .delete_object()
        .bucket("source")
        .key("k")
        .version_id(marker.version_id().unwrap())
        .send()
        .await
        .unwrap();
    assert_eq!(sim.state().object("source", "k").unwrap().content.to_bytes(), "two");
}

#[tokio::test]
async fn etags_under_sse_kms_are_not_md5s() {
    let (sim, client) = start().await;
    sim.state().set_default_encryption("destination", Encryption::Kms("arn:key".into()));
    sim.state().put("source", "k", Object::bytes("hello"));
    for key in ["1", "2"] {
        let copied =
            client.copy_object().bucket("destination").key(key).copy_source("source/k").send().await.unwrap();
        assert_eq!(copied.server_side_encryption().unwrap().as_str(), "aws:kms");
        assert_eq!(copied.ssekms_key_id(), Some("arn:key"));
    }
    let etag = |bucket, key| sim.state().object(bucket, key).unwrap().etag;
    assert_ne!(etag("destination", "1"), etag("source", "k"));
    assert_ne!(etag("destination", "1"), etag("destination", "2"));
    client.copy_object().bucket("source").key("back").copy_source("destination/1").send().await.unwrap();
    assert_eq!(etag("source", "back"), etag("source", "k"));
}

//! One object at a time.

use anyhow::Result;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumMode};

use crate::server::{Server, plain_etag, refusal, refused};

/// Keys that tools stumble over, and that both servers take. (MinIO refuses `//`, path parts
/// `.` and `..`, and parts above 255 bytes; it drops a leading `/`.)
pub(crate) const ODD_KEYS: &[&str] = &[
    "a b",
    "a  b",
    "a&b<c>'d\"",
    "a+b",
    "a=b?c#d",
    "a%20b",
    "a\\b",
    "a\nb\tc",
    "a\u{1}b",
    "crlf\r\n",
    "folder/",
    "~!@$^*()_-.,:;|{}[]`",
    "é/ü/日本/😀",
    "e\u{301}",
    "\u{fffd}\u{10ffff}",
];

pub(crate) async fn an_object_comes_back_with_its_headers_metadata_and_tags(server: &Server) -> Result<()> {
    let bucket = &server.bucket().await?;
    let put = server.client.put_object().bucket(bucket).key("key");
    put.body(ByteStream::from_static(b"hello"))
        .content_type("text/x-dump; charset=utf-8")
        .content_encoding("zstd")
        .content_language("fr-CA")
        .content_disposition("attachment; filename=\"a b\"")
        .cache_control("max-age=60")
        .expires(DateTime::from_secs(1_900_000_000))
        .metadata("origin", "the vendor")
        .metadata("empty", "")
        .tagging("kind=dump&who=a%20b")
        .send()
        .await?;

    let head = server.client.head_object().bucket(bucket).key("key").send().await?;
    assert_eq!(head.content_length, Some(5));
    assert_eq!(head.content_type(), Some("text/x-dump; charset=utf-8"));
    assert_eq!(head.content_encoding(), Some("zstd"));
    assert_eq!(head.content_language(), Some("fr-CA"));
    assert_eq!(head.content_disposition(), Some("attachment; filename=\"a b\""));
    assert_eq!(head.cache_control(), Some("max-age=60"));
    assert_eq!(head.expires_string(), Some("Sun, 17 Mar 2030 17:46:40 GMT"));
    let metadata = head.metadata().cloned().unwrap_or_default();
    assert_eq!(metadata.get("origin").map(String::as_str), Some("the vendor"));
    assert_eq!(metadata.get("empty").map(String::as_str), Some(""));
    assert_eq!(metadata.len(), 2);
    assert!(head.last_modified.is_some());
    assert_eq!(head.parts_count, None);
    assert_eq!(server.tags(bucket, "key").await?, ["kind=dump", "who=a b"]);
    assert_eq!(server.get(bucket, "key").await?, b"hello");
    Ok(())
}

pub(crate) async fn a_plain_etag_is_the_md5_of_the_bytes(server: &Server) -> Result<()> {
    let bucket = &server.bucket().await?;
    for content in [&b""[..], b"hello"] {
        let etag = server.put(bucket, "key", content).await?;
        assert_eq!(etag, plain_etag(content));
        let head = server.client.head_object().bucket(bucket).key("key").send().await?;
        assert_eq!(head.e_tag(), Some(plain_etag(content).as_str()));
    }
    Ok(())
}

pub(crate) async fn a_key_with_odd_characters_names_one_object(server: &Server) -> Result<()> {
    let bucket = &server.bucket().await?;
    let long = format!("{}/{}", "a".repeat(250), "é".repeat(100));
    for key in ODD_KEYS.iter().copied().chain([long.as_str()]) {
        server.put(bucket, key, key.as_bytes()).await?;
    }
    for key in ODD_KEYS.iter().copied().chain([long.as_str()]) {
        assert_eq!(server.get(bucket, key).await?, key.as_bytes(), "{key:?}");
    }
    Ok(())
}

pub(crate) async fn a_range_of_an_object_is_read(server: &Server) -> Result<()> {
    let bucket = &server.bucket().await?;
    server.put(bucket, "key", b"0123456789").await?;
    let get = server.client.get_object().bucket(bucket).key("key");
    let answer = get.range("bytes=2-4").send().await?;
    assert_eq!(answer.content_range(), Some("bytes 2-4/10"));
    assert_eq!(answer.body.collect().await?.to_vec(), b"234");
    Ok(())
}

pub(crate) async fn a_read_pinned_to_an_etag_fails_once_it_differs(server: &Server) -> Result<()> {
    let bucket = &server.bucket().await?;
    let etag = server.put(bucket, "key", b"one").await?;
    let get = || server.client.get_object().bucket(bucket).key("key").if_match(&etag);
    get().send().await?;
    server.put(bucket, "key", b"two").await?;
    let answer = refused(get().send().await)?;
    assert_eq!(answer, refusal(412, "PreconditionFailed"));
    Ok(())
}

pub(crate) async fn an_object_is_created_only_once_with_if_none_match(server: &Server) -> Result<()> {
    let bucket = &server.bucket().await?;
    let put = |content: &'static [u8]| {
        let put = server.client.put_object().bucket(bucket).key("lease");
        put.if_none_match("*").body(ByteStream::from_static(content)).send()
    };
    put(b"first").await?;
    assert_eq!(refused(put(b"second").await)?, refusal(412, "PreconditionFailed"));
    assert_eq!(server.get(bucket, "lease").await?, b"first");
    Ok(())
}

pub(crate) async fn an_object_is_replaced_only_at_its_etag_with_if_match(server: &Server) -> Result<()> {
    let bucket = &server.bucket().await?;
    let etag = server.put(bucket, "lease", b"first").await?;
    let put = |content: &'static [u8]| {
        let put = server.client.put_object().bucket(bucket).key("lease");
        put.if_match(&etag).body(ByteStream::from_static(content)).send()
    };
    put(b"second").await?;
    assert_eq!(refused(put(b"third").await)?, refusal(412, "PreconditionFailed"));
    assert_eq!(server.get(bucket, "lease").await?, b"second");
    Ok(())
}

pub(crate) async fn a_crc64nvme_is_kept_and_shown_when_asked_for(server: &Server) -> Result<()> {
    let bucket = &server.bucket().await?;
    let put = server.client.put_object().bucket(bucket).key("key");
    put.body(ByteStream::from_static(b"123456789"))
        .checksum_algorithm(ChecksumAlgorithm::Crc64Nvme)
        .send()
        .await?;
    let head = || server.client.head_object().bucket(bucket).key("key");
    let shown = head().checksum_mode(ChecksumMode::Enabled).send().await?;
    // The algorithm's published check value, 0xae8b14860a799888, in Base64.
    assert_eq!(shown.checksum_crc64_nvme(), Some("rosUhgp5mIg="));
    assert_eq!(head().send().await?.checksum_crc64_nvme(), None);
    Ok(())
}

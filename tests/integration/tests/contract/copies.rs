//! CopyObject.

use anyhow::Result;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{MetadataDirective, TaggingDirective};

use crate::objects::ODD_KEYS;
use crate::server::{MIN_PART, Server, bytes, copy_source, plain_etag, refusal, refused};

/// Puts an object with a header, metadata and a tag.
async fn put_described(server: &Server, bucket: &str, key: &str) -> Result<()> {
    let put = server.client.put_object().bucket(bucket).key(key);
    put.body(ByteStream::from_static(b"hello"))
        .content_type("text/x-dump")
        .content_encoding("zstd")
        .cache_control("max-age=60")
        .metadata("origin", "vendor")
        .tagging("kind=dump")
        .send()
        .await?;
    Ok(())
}

pub(crate) async fn a_copy_keeps_bytes_etag_headers_metadata_and_tags(server: &Server) -> Result<()> {
    let (from, to) = (&server.bucket().await?, &server.bucket().await?);
    put_described(server, from, "source").await?;
    let copy = server.client.copy_object().bucket(to).key("database/copy");
    let answer = copy.copy_source(copy_source(from, "source")).send().await?;
    let result = answer.copy_object_result();
    assert_eq!(result.and_then(|result| result.e_tag()), Some(plain_etag(b"hello").as_str()));
    assert!(result.and_then(|result| result.last_modified()).is_some());

    let head = server.client.head_object().bucket(to).key("database/copy").send().await?;
    assert_eq!(head.e_tag(), Some(plain_etag(b"hello").as_str()));
    assert_eq!(head.content_type(), Some("text/x-dump"));
    assert_eq!(head.content_encoding(), Some("zstd"));
    assert_eq!(head.cache_control(), Some("max-age=60"));
    let metadata = head.metadata().cloned().unwrap_or_default();
    assert_eq!(metadata.get("origin").map(String::as_str), Some("vendor"));
    assert_eq!(metadata.len(), 1);
    assert_eq!(server.tags(to, "database/copy").await?, ["kind=dump"]);
    assert_eq!(server.get(to, "database/copy").await?, b"hello");
    Ok(())
}

pub(crate) async fn a_copy_finds_a_source_with_odd_characters(server: &Server) -> Result<()> {
    let (from, to) = (&server.bucket().await?, &server.bucket().await?);
    for key in ODD_KEYS {
        server.put(from, key, key.as_bytes()).await?;
        let copy = server.client.copy_object().bucket(to).key(*key);
        copy.copy_source(copy_source(from, key)).send().await?;
        assert_eq!(server.get(to, key).await?, key.as_bytes(), "{key:?}");
    }
    Ok(())
}

pub(crate) async fn a_copy_of_another_version_of_the_source_is_refused(server: &Server) -> Result<()> {
    let (from, to) = (&server.bucket().await?, &server.bucket().await?);
    let etag = server.put(from, "key", b"one").await?;
    let copy = || {
        let copy = server.client.copy_object().bucket(to).key("key");
        copy.copy_source(copy_source(from, "key")).copy_source_if_match(&etag).send()
    };
    copy().await?;
    server.put(from, "key", b"two").await?;
    assert_eq!(refused(copy().await)?, refusal(412, "PreconditionFailed"));
    assert_eq!(server.get(to, "key").await?, b"one");
    Ok(())
}

pub(crate) async fn a_copy_takes_new_metadata_when_told_to(server: &Server) -> Result<()> {
    let bucket = &server.bucket().await?;
    put_described(server, bucket, "source").await?;
    let copy = server.client.copy_object().bucket(bucket).key("copy");
    copy.copy_source(copy_source(bucket, "source"))
        .metadata_directive(MetadataDirective::Replace)
        .content_type("text/plain")
        .metadata("new", "yes")
        .send()
        .await?;
    let head = server.client.head_object().bucket(bucket).key("copy").send().await?;
    assert_eq!(head.content_type(), Some("text/plain"));
    assert_eq!(head.content_encoding(), None);
    assert_eq!(head.cache_control(), None);
    let metadata = head.metadata().cloned().unwrap_or_default();
    assert_eq!(metadata.get("new").map(String::as_str), Some("yes"));
    assert_eq!(metadata.len(), 1);
    assert_eq!(server.tags(bucket, "copy").await?, ["kind=dump"]);
    Ok(())
}

pub(crate) async fn a_copy_takes_new_tags_when_told_to(server: &Server) -> Result<()> {
    let bucket = &server.bucket().await?;
    put_described(server, bucket, "source").await?;
    let copy = server.client.copy_object().bucket(bucket).key("copy");
    copy.copy_source(copy_source(bucket, "source"))
        .tagging_directive(TaggingDirective::Replace)
        .tagging("new=yes")
        .send()
        .await?;
    assert_eq!(server.tags(bucket, "copy").await?, ["new=yes"]);
    let head = server.client.head_object().bucket(bucket).key("copy").send().await?;
    assert_eq!(head.content_type(), Some("text/x-dump"));
    Ok(())
}

pub(crate) async fn a_copy_onto_itself_must_change_something(server: &Server) -> Result<()> {
    let bucket = &server.bucket().await?;
    server.put(bucket, "key", b"hello").await?;
    let copy = server.client.copy_object().bucket(bucket).key("key");
    let answer = copy.copy_source(copy_source(bucket, "key")).send().await;
    assert_eq!(refused(answer)?, refusal(400, "InvalidRequest"));
    Ok(())
}

pub(crate) async fn a_copy_of_nothing_names_what_is_missing(server: &Server) -> Result<()> {
    let bucket = &server.bucket().await?;
    for (from, to, code) in
        [(bucket.as_str(), bucket.as_str(), "NoSuchKey"), ("no-such-bucket", bucket, "NoSuchBucket")]
    {
        let copy = server.client.copy_object().bucket(to).key("copy");
        let answer = copy.copy_source(copy_source(from, "none")).send().await;
        assert_eq!(refused(answer)?, refusal(404, code));
    }
    server.put(bucket, "key", b"hello").await?;
    let copy = server.client.copy_object().bucket("no-such-bucket").key("copy");
    let answer = copy.copy_source(copy_source(bucket, "key")).send().await;
    assert_eq!(refused(answer)?, refusal(404, "NoSuchBucket"));
    Ok(())
}

pub(crate) async fn a_copy_of_an_empty_object_is_empty(server: &Server) -> Result<()> {
    let bucket = &server.bucket().await?;
    server.put(bucket, "folder/", b"").await?;
    let copy = server.client.copy_object().bucket(bucket).key("copy/");
    copy.copy_source(copy_source(bucket, "folder/")).send().await?;
    let head = server.client.head_object().bucket(bucket).key("copy/").send().await?;
    assert_eq!(head.content_length, Some(0));
    assert_eq!(head.e_tag(), Some(plain_etag(b"").as_str()));
    Ok(())
}

pub(crate) async fn a_single_copy_of_a_multipart_object_loses_its_etag(server: &Server) -> Result<()> {
    let bucket = &server.bucket().await?;
    let parts = [bytes(MIN_PART), bytes(1000)];
    let etag = server.put_parts(bucket, "source", &parts).await?;
    let copy = server.client.copy_object().bucket(bucket).key("copy");
    copy.copy_source(copy_source(bucket, "source")).copy_source_if_match(&etag).send().await?;
    let head = server.client.head_object().bucket(bucket).key("copy").send().await?;
    assert_eq!(head.e_tag(), Some(plain_etag(&parts.concat()).as_str()));
    Ok(())
}

//! Objects in parts.

use anyhow::{Context, Result};
use aws_sdk_s3::types::CompletedPart;

use crate::server::{MIN_PART, Server, all, bytes, completed, copy_source, multipart_etag, refusal, refused};

/// Parts that no single part size explains.
fn unequal_parts() -> Vec<Vec<u8>> {
    vec![bytes(MIN_PART + 1), bytes(MIN_PART), bytes(7)]
}

/// The ranges of the parts in the object, as `x-amz-copy-source-range` takes them.
fn ranges(parts: &[Vec<u8>]) -> Vec<String> {
    let mut start = 0;
    parts
        .iter()
        .map(|part| {
            let first = start;
            start += part.len();
            format!("bytes={first}-{}", start - 1)
        })
        .collect()
}

pub(crate) async fn an_etag_tells_the_parts_apart(server: &Server) -> Result<()> {
    let bucket = &server.bucket().await?;
    let parts = unequal_parts();
    let etag = server.put_parts(bucket, "key", &parts).await?;
    assert_eq!(etag, multipart_etag(&parts));
    let head = server.client.head_object().bucket(bucket).key("key").send().await?;
    assert_eq!(head.e_tag(), Some(etag.as_str()));
    let page = server.client.list_objects_v2().bucket(bucket).send().await?;
    let listed = page.contents().first().and_then(|entry| entry.e_tag());
    assert_eq!(listed, Some(etag.as_str()));
    assert!(server.get(bucket, "key").await? == parts.concat());
    Ok(())
}

pub(crate) async fn head_by_part_tells_its_size_and_their_number(server: &Server) -> Result<()> {
    let bucket = &server.bucket().await?;
    let parts = unequal_parts();
    server.put_parts(bucket, "key", &parts).await?;
    for (number, part) in (1..).zip(&parts) {
        let head = server.client.head_object().bucket(bucket).key("key");
        let head = head.part_number(number).send().await?;
        assert_eq!(head.content_length, Some(i64::try_from(part.len())?));
        assert_eq!(head.parts_count, Some(3));
        assert_eq!(head.e_tag(), Some(multipart_etag(&parts).as_str()));
    }
    Ok(())
}

pub(crate) async fn a_copy_by_the_same_parts_has_the_same_etag(server: &Server) -> Result<()> {
    let (from, to) = (&server.bucket().await?, &server.bucket().await?);
    let parts = unequal_parts();
    let etag = server.put_parts(from, "a b/é", &parts).await?;
    let upload = server.open(to, "copy").await?;
    let mut done: Vec<CompletedPart> = Vec::new();
    for (number, range) in (1..).zip(ranges(&parts)) {
        let copy = server.client.upload_part_copy().bucket(to).key("copy");
        let answer = copy
            .upload_id(&upload)
            .part_number(number)
            .copy_source(copy_source(from, "a b/é"))
            .copy_source_if_match(&etag)
            .copy_source_range(range)
            .send()
            .await?;
        let result = answer.copy_part_result().context("no result")?;
        done.push(completed(number, result.e_tag().unwrap_or_default()));
    }
    let complete = server.client.complete_multipart_upload().bucket(to).key("copy");
    let answer = complete.upload_id(upload).multipart_upload(all(done)).send().await?;
    assert_eq!(answer.e_tag(), Some(etag.as_str()));
    assert!(server.get(to, "copy").await? == parts.concat());
    Ok(())
}

pub(crate) async fn a_part_copied_from_another_version_is_refused(server: &Server) -> Result<()> {
    let bucket = &server.bucket().await?;
    let etag = server.put(bucket, "source", &bytes(MIN_PART + 1)).await?;
    server.put(bucket, "source", &bytes(MIN_PART + 2)).await?;
    let upload = server.open(bucket, "copy").await?;
    let copy = server.client.upload_part_copy().bucket(bucket).key("copy");
    let answer = copy
        .upload_id(upload)
        .part_number(1)
        .copy_source(copy_source(bucket, "source"))
        .copy_source_if_match(etag)
        .copy_source_range(format!("bytes=0-{}", MIN_PART - 1))
        .send()
        .await;
    assert_eq!(refused(answer)?, refusal(412, "PreconditionFailed"));
    Ok(())
}

pub(crate) async fn an_upload_keeps_what_it_was_created_with(server: &Server) -> Result<()> {
    let bucket = &server.bucket().await?;
    let create = server.client.create_multipart_upload().bucket(bucket).key("key");
    let created = create
        .content_type("text/x-dump")
        .content_encoding("zstd")
        .content_language("fr")
        .content_disposition("inline")
        .cache_control("no-store")
        .metadata("origin", "vendor")
        .tagging("kind=dump&who=a%20b")
        .send()
        .await?;
    let upload = created.upload_id().context("no upload id")?;
    let part = server.part((bucket, "key", upload), 1, b"hello").await?;
    let complete = server.client.complete_multipart_upload().bucket(bucket).key("key");
    complete.upload_id(upload).multipart_upload(all(vec![part])).send().await?;

    let head = server.client.head_object().bucket(bucket).key("key").send().await?;
    assert_eq!(head.content_type(), Some("text/x-dump"));
    assert_eq!(head.content_encoding(), Some("zstd"));
    assert_eq!(head.content_language(), Some("fr"));
    assert_eq!(head.content_disposition(), Some("inline"));
    assert_eq!(head.cache_control(), Some("no-store"));
    let metadata = head.metadata().cloned().unwrap_or_default();
    assert_eq!(metadata.get("origin").map(String::as_str), Some("vendor"));
    assert_eq!(metadata.len(), 1);
    assert_eq!(server.tags(bucket, "key").await?, ["kind=dump", "who=a b"]);
    Ok(())
}

pub(crate) async fn parts_are_listed_in_pages(server: &Server) -> Result<()> {
    let bucket = &server.bucket().await?;
    let upload = server.open(bucket, "key").await?;
    // Uploaded out of order, with a gap: a resumed copy finds them so.
    for number in [5, 1, 3] {
        let size = usize::try_from(number)?;
        server.part((bucket, "key", &upload), number, &bytes(size)).await?;
    }
    let mut found = Vec::new();
    let mut marker = None;
    loop {
        let list = server.client.list_parts().bucket(bucket).key("key");
        let page = list.upload_id(&upload).max_parts(2).set_part_number_marker(marker).send().await?;
        for part in page.parts() {
            assert!(part.e_tag().is_some());
            found.push((part.part_number, part.size));
        }
        if page.is_truncated != Some(true) {
            break;
        }
        marker = page.next_part_number_marker;
    }
    let expected = [1, 3, 5].map(|number| (Some(number), Some(i64::from(number))));
    assert_eq!(found, expected);
    Ok(())
}

pub(crate) async fn an_open_upload_is_listed_until_it_is_aborted(server: &Server) -> Result<()> {
    let bucket = &server.bucket().await?;
    let upload = server.open(bucket, "some/key").await?;
    // MinIO lists the uploads of one key only, so the prefix is the key.
    let open = async || {
        let list = server.client.list_multipart_uploads().bucket(bucket);
        let page = list.prefix("some/key").send().await?;
        let ids = page.uploads().iter().map(|upload| {
            assert_eq!(upload.key(), Some("some/key"));
            assert!(upload.initiated().is_some());
            upload.upload_id().unwrap_or_default().to_owned()
        });
        anyhow::Ok(ids.collect::<Vec<_>>())
    };
    assert_eq!(open().await?, [upload.as_str()]);
    let abort = server.client.abort_multipart_upload().bucket(bucket).key("some/key");
    abort.upload_id(&upload).send().await?;
    assert!(open().await?.is_empty());
    let list = server.client.list_parts().bucket(bucket).key("some/key");
    let answer = list.upload_id(upload).send().await;
    assert_eq!(refused(answer)?, refusal(404, "NoSuchUpload"));
    Ok(())
}

pub(crate) async fn a_completed_upload_is_gone(server: &Server) -> Result<()> {
    let bucket = &server.bucket().await?;
    let upload = server.open(bucket, "key").await?;
    let part = server.part((bucket, "key", &upload), 1, b"hello").await?;
    let complete = server.client.complete_multipart_upload().bucket(bucket).key("key");
    complete.upload_id(&upload).multipart_upload(all(vec![part])).send().await?;
    let list = server.client.list_parts().bucket(bucket).key("key");
    let answer = list.upload_id(upload).send().await;
    assert_eq!(refused(answer)?, refusal(404, "NoSuchUpload"));
    Ok(())
}

pub(crate) async fn a_part_that_is_uploaded_again_replaces_the_first(server: &Server) -> Result<()> {
    let bucket = &server.bucket().await?;
    let upload = server.open(bucket, "key").await?;
    server.part((bucket, "key", &upload), 1, b"first").await?;
    let part = server.part((bucket, "key", &upload), 1, b"again").await?;
    let complete = server.client.complete_multipart_upload().bucket(bucket).key("key");
    complete.upload_id(upload).multipart_upload(all(vec![part])).send().await?;
    assert_eq!(server.get(bucket, "key").await?, b"again");
    Ok(())
}

pub(crate) async fn a_small_part_in_the_middle_is_refused(server: &Server) -> Result<()> {
    let bucket = &server.bucket().await?;
    let upload = server.open(bucket, "key").await?;
    let first = server.part((bucket, "key", &upload), 1, b"small").await?;
    let last = server.part((bucket, "key", &upload), 2, b"last").await?;
    let complete = server.client.complete_multipart_upload().bucket(bucket).key("key");
    let parts = all(vec![first, last]);
    let answer = complete.upload_id(upload).multipart_upload(parts).send().await;
    assert_eq!(refused(answer)?, refusal(400, "EntityTooSmall"));
    Ok(())
}

pub(crate) async fn a_part_with_another_etag_is_refused(server: &Server) -> Result<()> {
    let bucket = &server.bucket().await?;
    let upload = server.open(bucket, "key").await?;
    server.part((bucket, "key", &upload), 1, b"hello").await?;
    let complete = server.client.complete_multipart_upload().bucket(bucket).key("key");
    let parts = all(vec![completed(1, "\"00000000000000000000000000000000\"")]);
    let answer = complete.upload_id(upload).multipart_upload(parts).send().await;
    assert_eq!(refused(answer)?, refusal(400, "InvalidPart"));
    Ok(())
}

pub(crate) async fn parts_out_of_order_are_refused(server: &Server) -> Result<()> {
    let bucket = &server.bucket().await?;
    let upload = server.open(bucket, "key").await?;
    let first = server.part((bucket, "key", &upload), 1, &bytes(MIN_PART)).await?;
    let second = server.part((bucket, "key", &upload), 2, b"last").await?;
    let complete = server.client.complete_multipart_upload().bucket(bucket).key("key");
    let parts = all(vec![second, first]);
    let answer = complete.upload_id(upload).multipart_upload(parts).send().await;
    assert_eq!(refused(answer)?, refusal(400, "InvalidPartOrder"));
    Ok(())
}

pub(crate) async fn an_upload_is_completed_only_once_with_if_none_match(server: &Server) -> Result<()> {
    let bucket = &server.bucket().await?;
    server.put(bucket, "key", b"there already").await?;
    let upload = server.open(bucket, "key").await?;
    let part = server.part((bucket, "key", &upload), 1, b"hello").await?;
    let complete = server.client.complete_multipart_upload().bucket(bucket).key("key");
    let complete = complete.upload_id(upload).if_none_match("*");
    let answer = complete.multipart_upload(all(vec![part])).send().await;
    assert_eq!(refused(answer)?, refusal(412, "PreconditionFailed"));
    assert_eq!(server.get(bucket, "key").await?, b"there already");
    Ok(())
}

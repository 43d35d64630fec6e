//! ListObjectsV2.

use anyhow::Result;
use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::types::{EncodingType, ObjectStorageClass, OptionalObjectAttributes};
use percent_encoding::percent_decode_str;

use crate::objects::ODD_KEYS;
use crate::server::{Server, plain_etag};

fn keys(page: &ListObjectsV2Output) -> Vec<&str> {
    page.contents().iter().filter_map(|object| object.key()).collect()
}

/// The keys of a page that was asked for with `encoding-type=url`, where `+` is a space.
fn decoded_keys(page: &ListObjectsV2Output) -> Result<Vec<String>> {
    let mut decoded = Vec::new();
    for key in keys(page) {
        assert!(key.is_ascii(), "not encoded: {key:?}");
        let key = key.replace('+', " ");
        decoded.push(percent_decode_str(&key).decode_utf8()?.into_owned());
    }
    Ok(decoded)
}

pub(crate) async fn keys_come_in_the_order_of_their_utf8_bytes(server: &Server) -> Result<()> {
    let bucket = &server.bucket().await?;
    // `-` < `/` < letters < `é`; and a character outside the BMP comes after U+FFFD in UTF-8,
    // before it in UTF-16. (No key is a folder of another: MinIO lists nothing below an object.)
    let ordered = ["a-", "a-b/c", "a.b", "a/b", "a/c/d", "a/c0", "a0", "aa", "aé", "a\u{fffd}", "a\u{10000}"];
    let mut shuffled = ordered;
    shuffled.reverse();
    server.put_all(bucket, &shuffled).await?;
    let page = server.client.list_objects_v2().bucket(bucket).send().await?;
    assert_eq!(keys(&page), ordered);
    Ok(())
}

pub(crate) async fn pages_hold_every_key_once(server: &Server) -> Result<()> {
    let bucket = &server.bucket().await?;
    let expected: Vec<String> = (0..25).map(|number| format!("d/{number:02}")).collect();
    for key in &expected {
        server.put(bucket, key, b"").await?;
    }
    let mut found = Vec::new();
    let mut sizes = Vec::new();
    let mut token = None;
    loop {
        let list = server.client.list_objects_v2().bucket(bucket).max_keys(10);
        let page = list.set_continuation_token(token).send().await?;
        found.extend(keys(&page).into_iter().map(str::to_owned));
        sizes.push(page.key_count);
        token = page.next_continuation_token.clone();
        assert_eq!(page.is_truncated, Some(token.is_some()));
        if token.is_none() {
            break;
        }
    }
    assert_eq!(found, expected);
    assert_eq!(sizes, [Some(10), Some(10), Some(5)]);
    Ok(())
}

pub(crate) async fn start_after_takes_any_string(server: &Server) -> Result<()> {
    let bucket = &server.bucket().await?;
    server.put_all(bucket, &["a", "b/1", "b/2", "b0", "é", "😀"]).await?;
    for (after, expected) in [
        ("a", &["b/1", "b/2", "b0", "é", "😀"][..]),
        ("a\u{1}", &["b/1", "b/2", "b0", "é", "😀"]),
        ("b", &["b/1", "b/2", "b0", "é", "😀"]),
        ("b/", &["b/1", "b/2", "b0", "é", "😀"]),
        ("b/1", &["b/2", "b0", "é", "😀"]),
        ("b/1/any/thing", &["b/2", "b0", "é", "😀"]),
        ("b/2", &["b0", "é", "😀"]),
        ("b0 +%", &["é", "😀"]),
        ("\u{ffff}", &["😀"]),
        ("\u{10ffff}", &[]),
    ] {
        let list = server.client.list_objects_v2().bucket(bucket);
        // Encoded, for the answer repeats what was sent, and XML cannot carry all of it.
        let list = list.start_after(after).encoding_type(EncodingType::Url);
        assert_eq!(decoded_keys(&list.send().await?)?, expected, "after {after:?}");
    }
    Ok(())
}

pub(crate) async fn a_prefix_selects_keys(server: &Server) -> Result<()> {
    let bucket = &server.bucket().await?;
    server.put_all(bucket, &["a", "dump/1", "dump/2", "dump/é", "dumps"]).await?;
    for (prefix, after, expected) in [
        ("dump/", "", &["dump/1", "dump/2", "dump/é"][..]),
        ("dump", "", &["dump/1", "dump/2", "dump/é", "dumps"]),
        ("dump/", "dump/1", &["dump/2", "dump/é"]),
        ("dump/", "a", &["dump/1", "dump/2", "dump/é"]),
        ("dump/", "z", &[]),
        ("none", "", &[]),
    ] {
        let list = server.client.list_objects_v2().bucket(bucket).prefix(prefix);
        let after = Some(after.to_owned()).filter(|after| !after.is_empty());
        let page = list.set_start_after(after.clone()).send().await?;
        assert_eq!(keys(&page), expected, "{prefix:?} after {after:?}");
    }
    Ok(())
}

pub(crate) async fn a_delimiter_rolls_keys_up(server: &Server) -> Result<()> {
    let bucket = &server.bucket().await?;
    server.put_all(bucket, &["a", "b/1", "b/2", "c", "d/e/1"]).await?;
    let list = server.client.list_objects_v2().bucket(bucket);
    let page = list.delimiter("/").send().await?;
    let prefixes: Vec<&str> = page.common_prefixes().iter().filter_map(|p| p.prefix()).collect();
    assert_eq!(keys(&page), ["a", "c"]);
    assert_eq!(prefixes, ["b/", "d/"]);
    assert_eq!(page.key_count, Some(4));
    Ok(())
}

pub(crate) async fn a_folder_marker_is_a_key_like_any_other(server: &Server) -> Result<()> {
    let bucket = &server.bucket().await?;
    server.put_all(bucket, &["folder/", "folder/file"]).await?;
    let page = server.client.list_objects_v2().bucket(bucket).send().await?;
    assert_eq!(keys(&page), ["folder/", "folder/file"]);
    assert_eq!(page.contents().first().and_then(|marker| marker.size), Some(0));
    Ok(())
}

pub(crate) async fn an_entry_tells_size_etag_time_and_storage_class(server: &Server) -> Result<()> {
    let bucket = &server.bucket().await?;
    server.put(bucket, "key", b"hello").await?;
    let head = server.client.head_object().bucket(bucket).key("key").send().await?;
    let page = server.client.list_objects_v2().bucket(bucket).send().await?;
    let [entry] = page.contents() else {
        anyhow::bail!("one entry expected: {page:?}");
    };
    assert_eq!(entry.size, Some(5));
    assert_eq!(entry.e_tag(), Some(plain_etag(b"hello").as_str()));
    assert_eq!(entry.storage_class(), Some(&ObjectStorageClass::Standard));
    // HEAD tells whole seconds.
    let seconds = |time: Option<&aws_sdk_s3::primitives::DateTime>| time.map(|time| time.secs());
    assert_eq!(seconds(entry.last_modified()), seconds(head.last_modified()));
    Ok(())
}

pub(crate) async fn url_encoding_carries_every_key(server: &Server) -> Result<()> {
    let bucket = &server.bucket().await?;
    server.put_all(bucket, ODD_KEYS).await?;
    let list = server.client.list_objects_v2().bucket(bucket);
    let page = list.encoding_type(EncodingType::Url).send().await?;
    assert_eq!(page.encoding_type(), Some(&EncodingType::Url));
    let decoded = decoded_keys(&page)?;
    let mut expected = ODD_KEYS.to_vec();
    expected.sort();
    assert_eq!(decoded, expected);
    Ok(())
}

pub(crate) async fn an_empty_bucket_lists_nothing(server: &Server) -> Result<()> {
    let bucket = &server.bucket().await?;
    let page = server.client.list_objects_v2().bucket(bucket).send().await?;
    assert_eq!(page.key_count, Some(0));
    assert_eq!(page.is_truncated, Some(false));
    assert!(page.contents().is_empty());
    Ok(())
}

pub(crate) async fn an_attribute_that_no_object_has_is_no_error(server: &Server) -> Result<()> {
    let bucket = &server.bucket().await?;
    server.put(bucket, "key", b"").await?;
    let list = server.client.list_objects_v2().bucket(bucket);
    let page = list.optional_object_attributes(OptionalObjectAttributes::RestoreStatus).send().await?;
    let [entry] = page.contents() else {
        anyhow::bail!("one entry expected: {page:?}");
    };
    assert_eq!(entry.restore_status(), None);
    Ok(())
}

//! Listings: pages, where they start, delimiters, encoding.

use percent_encoding::percent_decode_str;
use s3_sim::{Object, Restore, StorageClass};
use std::time::{Duration, UNIX_EPOCH};

use crate::{refusal, start};

const KEYS: &[&str] =
    &["a", "a-", "a/", "a/a", "a/b", "a//", "a0", "b/é", "b/é/x", "c d+e", "é", "日", "\u{10ffff}"];

fn decode(key: &str) -> String {
    percent_decode_str(&key.replace('+', " ")).decode_utf8().unwrap().into_owned()
}

#[tokio::test]
async fn pages_of_any_size_hold_the_same_keys_as_one() {
    let (sim, client) = start().await;
    for key in KEYS {
        sim.state().put("source", key, Object::bytes("x"));
    }
    let mut sorted: Vec<_> = KEYS.iter().map(|key| key.to_string()).collect();
    sorted.sort();
    for max_keys in [1, 2, 3, 5, 100] {
        let mut listed = Vec::new();
        let mut token = None;
        loop {
            let page = client
                .list_objects_v2()
                .bucket("source")
                .max_keys(max_keys)
                .set_continuation_token(token)
                .send()
                .await
                .unwrap();
            listed.extend(page.contents().iter().map(|o| o.key().unwrap().to_owned()));
            assert_eq!(page.key_count(), Some(page.contents().len() as i32));
            token = page.next_continuation_token().map(str::to_owned);
            assert_eq!(page.is_truncated(), Some(token.is_some()));
            if token.is_none() {
                break;
            }
        }
        assert_eq!(listed, sorted, "pages of {max_keys}");
    }
}

#[tokio::test]
async fn start_after_takes_any_string() {
    let (sim, client) = start().await;
    for key in KEYS {
        sim.state().put("source", key, Object::bytes("x"));
    }
    for after in KEYS.iter().chain(&["", "a.", "a/a\u{1}", "zzz", "ê"]) {
        for prefix in ["", "a", "a/", "b/é"] {
            let page = client
                .list_objects_v2()
                .bucket("source")
                .prefix(prefix)
                .start_after(*after)
                .send()
                .await
                .unwrap();
            let listed: Vec<_> = page.contents().iter().map(|o| o.key().unwrap()).collect();
            let mut expected: Vec<_> =
                KEYS.iter().copied().filter(|key| key > after && key.starts_with(prefix)).collect();
            expected.sort();
            assert_eq!(listed, expected, "{prefix:?} after {after:?}");
        }
    }
}

#[tokio::test]
async fn common_prefixes_count_as_keys_and_pages_go_on_behind_them() {
    let (sim, client) = start().await;
    for key in ["a/1", "a/2", "b", "c/1", "c/2", "d/1"] {
        sim.state().put("source", key, Object::bytes("x"));
    }
    let mut seen = Vec::new();
    let mut token = None;
    loop {
        let page = client
            .list_objects_v2()
            .bucket("source")
            .delimiter("/")
            .max_keys(1)
            .set_continuation_token(token)
            .send()
            .await
            .unwrap();
        seen.extend(page.contents().iter().map(|o| o.key().unwrap().to_owned()));
        seen.extend(page.common_prefixes().iter().map(|p| p.prefix().unwrap().to_owned()));
        token = page.next_continuation_token().map(str::to_owned);
        if token.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["a/", "b", "c/", "d/"]);

    let mut seen = Vec::new();
    let mut marker: Option<String> = None;
    loop {
        let page = client
            .list_objects()
            .bucket("source")
            .delimiter("/")
            .max_keys(1)
            .set_marker(marker)
            .send()
            .await
            .unwrap();
        seen.extend(page.contents().iter().map(|o| o.key().unwrap().to_owned()));
        seen.extend(page.common_prefixes().iter().map(|p| p.prefix().unwrap().to_owned()));
        marker = page.next_marker().map(str::to_owned);
        if marker.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["a/", "b", "c/", "d/"]);
}

#[tokio::test]
async fn url_encoding_carries_every_key() {
    let (sim, client) = start().await;
    let keys = ["\u{1}\u{2}", "a\nb\r\tc", "a b+c%2B", "<&>\"'", "~*-._/", "//", "/x", "."];
    for key in keys {
        sim.state().put("source", key, Object::bytes("x"));
    }
    let page = client
        .list_objects_v2()
        .bucket("source")
        .encoding_type(aws_sdk_s3::types::EncodingType::Url)
        .start_after("\u{0}+ ")
        .send()
        .await
        .unwrap();
    assert_eq!(page.encoding_type().unwrap().as_str(), "url");
    assert_eq!(page.start_after(), Some("%00%2B+"));
    let raw: Vec<_> = page.contents().iter().map(|o| o.key().unwrap()).collect();
    assert!(raw.contains(&"a+b%2Bc%252B"), "{raw:?}");
    assert!(raw.contains(&"%7E*-._/"), "{raw:?}");
    let mut listed: Vec<_> = raw.iter().map(|key| decode(key)).collect();
    let mut expected: Vec<_> = keys.map(str::to_owned).to_vec();
    listed.sort();
    expected.sort();
    assert_eq!(listed, expected);
}

#[tokio::test]
async fn restore_status_is_told_when_asked_for() {
    let (sim, client) = start().await;
    sim.state().put("source", "k", Object::bytes("x").with_storage_class(StorageClass::Glacier));
    let until = UNIX_EPOCH + Duration::from_secs(2_000_000_000);
    assert!(sim.state().restore("source", "k", Restore::Until(until)));
    let listing = client.list_objects_v2().bucket("source");
    let plain = listing.clone().send().await.unwrap();
    assert!(plain.contents()[0].restore_status().is_none());
    let asked = listing
        .optional_object_attributes(aws_sdk_s3::types::OptionalObjectAttributes::RestoreStatus)
        .send()
        .await
        .unwrap();
    let status = asked.contents()[0].restore_status().unwrap();
    assert_eq!(status.is_restore_in_progress(), Some(false));
    assert_eq!(status.restore_expiry_date().unwrap().secs(), 2_000_000_000);
}

#[tokio::test]
async fn nonsense_is_refused() {
    let (_sim, client) = start().await;
    let listing = client.list_objects_v2().bucket("source");
    let token = listing.clone().continuation_token("nonsense!").send().await;
    assert_eq!(refusal(token), (400, "InvalidArgument".to_owned()));
    let negative = listing.clone().max_keys(-1).send().await;
    assert_eq!(refusal(negative), (400, "InvalidArgument".to_owned()));
    let nowhere = client.list_objects_v2().bucket("nowhere").send().await;
    assert_eq!(refusal(nowhere), (404, "NoSuchBucket".to_owned()));
    let none = listing.max_keys(0).send().await.unwrap();
    assert_eq!((none.is_truncated(), none.key_count()), (Some(false), Some(0)));
}

//! Conditions on what is read, copied and written.

use aws_sdk_s3::primitives::{ByteStream, DateTime};
use s3_sim::Object;

use crate::{refusal, start};

const ETAG_OF_HELLO: &str = "\"5d41402abc4b2a76b9719d911017c592\"";

#[tokio::test]
async fn a_put_holds_to_if_none_match_and_if_match() {
    let (sim, client) = start().await;
    let put = || client.put_object().bucket("source").key("k").body(ByteStream::from_static(b"hello"));
    let missing = put().if_match(ETAG_OF_HELLO).send().await;
    assert_eq!(refusal(missing), (404, "NoSuchKey".to_owned()));
    put().if_none_match("*").send().await.unwrap();
    let again = put().if_none_match("*").send().await;
    assert_eq!(refusal(again), (412, "PreconditionFailed".to_owned()));
    put().if_match(ETAG_OF_HELLO).send().await.unwrap();
    sim.state().put("source", "k", Object::bytes("other"));
    let changed = put().if_match(ETAG_OF_HELLO).send().await;
    assert_eq!(refusal(changed), (412, "PreconditionFailed".to_owned()));
    let listed = put().if_none_match(ETAG_OF_HELLO).send().await;
    assert_eq!(refusal(listed), (501, "NotImplemented".to_owned()));
}

#[tokio::test]
async fn a_copy_holds_to_conditions_on_both_sides() {
    let (sim, client) = start().await;
    sim.state().put("source", "k", Object::bytes("hello"));
    let copy = || client.copy_object().bucket("destination").key("k").copy_source("source/k");
    let failed = (412, "PreconditionFailed".to_owned());
    let hour = 3600;
    let modified = sim.state().object("source", "k").unwrap().last_modified;
    let seconds = modified.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
    let (before, after) = (DateTime::from_secs(seconds - hour), DateTime::from_secs(seconds + hour));

    assert_eq!(refusal(copy().copy_source_if_match("\"x\"").send().await), failed);
    assert_eq!(refusal(copy().copy_source_if_none_match(ETAG_OF_HELLO).send().await), failed);
    assert_eq!(refusal(copy().copy_source_if_unmodified_since(before).send().await), failed);
    assert_eq!(refusal(copy().copy_source_if_modified_since(after).send().await), failed);
    assert!(sim.state().keys("destination").is_empty());

    copy()
        .copy_source_if_match(ETAG_OF_HELLO)
        .copy_source_if_unmodified_since(before)
        .if_none_match("*")
        .send()
        .await
        .unwrap();
    assert_eq!(refusal(copy().if_none_match("*").send().await), failed);
    assert_eq!(refusal(copy().if_match("\"x\"").send().await), failed);
    copy().if_match(ETAG_OF_HELLO).send().await.unwrap();
}

#[tokio::test]
async fn reading_answers_304_or_412() {
    let (sim, client) = start().await;
    sim.state().put("source", "k", Object::bytes("hello"));
    let get = || client.get_object().bucket("source").key("k");
    assert_eq!(refusal(get().if_match("\"x\"").send().await).0, 412);
    assert_eq!(refusal(get().if_none_match(ETAG_OF_HELLO).send().await).0, 304);
    let head = client.head_object().bucket("source").key("k");
    assert_eq!(refusal(head.if_none_match(ETAG_OF_HELLO).send().await).0, 304);
    get().if_match(ETAG_OF_HELLO).send().await.unwrap();
}

//! Who may do what.

use aws_sdk_s3::error::ProvideErrorMetadata;
use s3_sim::{Config, Object, User};

use crate::{client, refusal, start, start_with};

#[tokio::test]
async fn wrong_keys_are_told_apart() {
    let (sim, _client) = start().await;
    let unknown = client(&sim, "nobody", "x").list_buckets().send().await;
    assert_eq!(refusal(unknown), (403, "InvalidAccessKeyId".to_owned()));
    let wrong = client(&sim, "sim-access-key", "x").list_buckets().send().await;
    assert_eq!(refusal(wrong), (403, "SignatureDoesNotMatch".to_owned()));
    assert_eq!(sim.counters().get("ListBuckets"), 2);
}

#[tokio::test]
async fn a_copy_needs_its_rights_on_both_sides() {
    let denials = [
        ("s3:GetObject", "source", true),
        ("s3:PutObject", "destination", true),
        ("s3:GetObjectTagging", "source", false),
        ("s3:PutObjectTagging", "destination", false),
    ];
    for (action, bucket, untagged_too) in denials {
        let (sim, client) = start_with(Config {
            users: vec![User::new("sim-access-key", "sim-secret-key").deny(action, bucket)],
            ..Config::default()
        })
        .await;
        sim.state().put("source", "plain", Object::bytes("x"));
        sim.state().put("source", "tagged", Object::bytes("x").with_tag("a", "b"));
        for (key, refused) in [("plain", untagged_too), ("tagged", true)] {
            let answer = client
                .copy_object()
                .bucket("destination")
                .key(key)
                .copy_source(format!("source/{key}"))
                .send()
                .await;
            assert_eq!(answer.is_err(), refused, "{action} {key}");
            if let Err(error) = &answer {
                assert!(error.message().unwrap().contains(action), "{error:?}");
                assert_eq!(refusal(answer), (403, "AccessDenied".to_owned()));
            }
        }
    }
}

#[tokio::test]
async fn who_may_not_list_is_not_told_what_is_missing() {
    let (sim, _client) = start().await;
    sim.state().set_user(User::new("blind", "secret").deny("s3:ListBucket", "source"));
    let blind = client(&sim, "blind", "secret");
    let missing = blind.get_object().bucket("source").key("none").send().await;
    assert_eq!(refusal(missing), (403, "AccessDenied".to_owned()));
    let listing = blind.list_objects_v2().bucket("source").send().await;
    assert_eq!(refusal(listing), (403, "AccessDenied".to_owned()));
    let elsewhere = blind.get_object().bucket("destination").key("none").send().await;
    assert_eq!(refusal(elsewhere), (404, "NoSuchKey".to_owned()));
}

#[tokio::test]
async fn another_owner_is_refused_when_expected() {
    let (sim, client) = start().await;
    sim.state().put("source", "k", Object::bytes("x"));
    let copy = || {
        client
            .copy_object()
            .bucket("destination")
            .key("k")
            .copy_source("source/k")
            .expected_bucket_owner("123456789012")
            .expected_source_bucket_owner("123456789012")
            .send()
    };
    copy().await.unwrap();
    sim.state().set_bucket_owner("source", "999999999999");
    assert_eq!(refusal(copy().await), (403, "AccessDenied".to_owned()));
}

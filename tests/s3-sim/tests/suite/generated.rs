//! Generated buckets over HTTP.

use s3_sim::{Config, GeneratedKeys, Object, Pattern};

use crate::{copy_source, start_with};

async fn list_all(client: &aws_sdk_s3::Client, bucket: &str, prefix: &str) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let mut pages = client.list_objects_v2().bucket(bucket).prefix(prefix).into_paginator().send();
    while let Some(page) = pages.next().await {
        for object in page.unwrap().contents() {
            all.push((object.key().unwrap().to_owned(), object.e_tag().unwrap().to_owned()));
        }
    }
    all
}

#[tokio::test]
async fn writes_lie_above_the_generated_keys() {
    let (sim, client) = start_with(Config::default()).await;
    let state = sim.state();
    let keys = GeneratedKeys::pattern(Pattern::Sequential, 2500, 10);
    state.create_generated_bucket("generated", keys);
    state.put("generated", "files/000000001", Object::bytes("changed"));
    state.put("generated", "files/000000001-", Object::bytes("new"));
    state.delete("generated", "files/000000002");
    client.delete_object().bucket("generated").key("files/000000003").send().await.unwrap();
    let listed = list_all(&client, "generated", "").await;
    assert_eq!(listed.len(), 2499);
    let keys: Vec<_> = listed.iter().map(|(key, _)| key.clone()).collect();
    assert_eq!(keys[..4], ["files/000000000", "files/000000001", "files/000000001-", "files/000000004"]);
    assert_eq!(keys, state.keys("generated"));
    let folders = client.list_objects_v2().bucket("generated").delimiter("/").send().await.unwrap();
    assert_eq!(folders.common_prefixes().len(), 1);
}

#[tokio::test]
async fn a_destination_below_a_prefix_equals_its_source() {
    let (sim, client) = start_with(Config::default()).await;
    for (name, pattern) in Pattern::ALL {
        let keys = || GeneratedKeys::pattern(pattern, 1500, 4096);
        sim.state().create_generated_bucket("one", keys());
        sim.state().create_generated_bucket("two", keys().with_prefix("filesystem/"));
        let one = list_all(&client, "one", "").await;
        let two = list_all(&client, "two", "filesystem/").await;
        let stripped: Vec<_> = two
            .into_iter()
            .map(|(key, etag)| (key.strip_prefix("filesystem/").unwrap().to_owned(), etag))
            .collect();
        assert_eq!(one, stripped, "{name}");
        let (key, etag) = &one[777];
        let copied = client
            .copy_object()
            .bucket("destination")
            .key(key)
            .copy_source(copy_source("one", key))
            .send()
            .await
            .unwrap();
        assert_eq!(copied.copy_object_result().unwrap().e_tag(), Some(etag.as_str()));
        let head = client.head_object().bucket("two").key(format!("filesystem/{key}"));
        assert_eq!(head.send().await.unwrap().e_tag(), Some(etag.as_str()));
    }
}

#[tokio::test]
async fn a_million_keys_are_there_at_once() {
    let (sim, client) = start_with(Config::default()).await;
    let keys = GeneratedKeys::pattern(Pattern::Hex, 10_000_000, 1);
    let middle = keys.key(5_000_000);
    sim.state().create_generated_bucket("huge", keys);
    let page = client.list_objects_v2().bucket("huge").start_after(&middle).max_keys(1).send().await.unwrap();
    assert!(page.contents()[0].key().unwrap() > middle.as_str());
    let get = client.get_object().bucket("huge").key(&middle).send().await.unwrap();
    assert_eq!(get.body.collect().await.unwrap().to_vec().len(), 1);
}

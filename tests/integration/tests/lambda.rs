//! The Lambda as AWS runs it: the release binary, over the Runtime API, by the events that a
//! person, EventBridge Scheduler and an EventBridge rule send.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use integration_tests::{LambdaEmulator, Minio, RuntimeApi, eventually};
use s3_sim::{Config, Latency, Object, Sim, User};
use serde_json::{Value, json};

type Environment = BTreeMap<&'static str, String>;

const DATABASE: &str = "backup-my-environment-name";
const FILESYSTEM: &str = "backup-fs-my-environment-name";

fn environment(endpoint: &str, access_key: &str, secret_key: &str) -> Environment {
    [
        ("AWS_ACCESS_KEY_ID", access_key),
        ("AWS_SECRET_ACCESS_KEY", secret_key),
        ("AWS_LAMBDA_LOG_FORMAT", "JSON"),
        ("DATABASE_BUCKET", DATABASE),
        ("FILESYSTEM_BUCKET", FILESYSTEM),
        ("DESTINATION_BUCKET", "customer"),
        ("SOURCE_ENDPOINT_URL", endpoint),
        ("DESTINATION_ENDPOINT_URL", endpoint),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .into()
}

/// What an EventBridge rule sends.
fn scheduled_event() -> Value {
    json!({
        "version": "0",
        "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa",
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": "123456789012",
        "time": "2026-11-21T03:00:00Z",
        "region": "us-east-1",
        "resources": ["arn:aws:events:us-east-1:123456789012:rule/nightly"],
        "detail": {}
    })
}

/// Everything a bucket holds, as an independent client sees it.
async fn contents(client: &Client, bucket: &str, prefix: &str) -> Result<BTreeMap<String, String>> {
    let mut contents = BTreeMap::new();
    let mut pages = client.list_objects_v2().bucket(bucket).prefix(prefix).into_paginator().send();
    while let Some(page) = pages.next().await {
        for object in page?.contents() {
            let key = object.key().unwrap_or_default();
            let head = client.head_object().bucket(bucket).key(key).send().await?;
            let tags = client.get_object_tagging().bucket(bucket).key(key).send().await?;
            let mut metadata: Vec<_> = head.metadata().into_iter().flatten().collect();
            metadata.sort();
            let seen = format!(
                "{:?} {:?} {metadata:?} {:?} {:?} {:?}",
                head.content_length(),
                head.e_tag(),
                head.content_type(),
                head.cache_control(),
                tags.tag_set()
            );
            contents.insert(key.strip_prefix(prefix).unwrap_or(key).to_owned(), seen);
        }
    }
    Ok(contents)
}

async fn put(client: &Client, bucket: &str, key: &str, body: Vec<u8>) -> Result<()> {
    client
        .put_object()
        .bucket(bucket)
        .key(key)
        .body(ByteStream::from(body))
        .content_type("application/sql")
        .cache_control("no-cache")
        .metadata("backup-id", "4711")
        .tagging("kind=nightly&of=shop")
        .send()
        .await?;
    Ok(())
}

/// An object of parts of unequal sizes that look equal by the first and their number.
async fn put_parts(client: &Client, bucket: &str, key: &str) -> Result<()> {
    let upload = client.create_multipart_upload().bucket(bucket).key(key);
    let upload = upload.content_type("application/gzip").metadata("parts", "uneven").tagging("kind=weekly");
    let upload = upload.send().await?;
    let id = upload.upload_id().unwrap_or_default();
    let mut parts = Vec::new();
    for (number, mib) in (1..).zip([10, 6, 9]) {
        let part = client.upload_part().bucket(bucket).key(key).upload_id(id).part_number(number);
        let part = part.body(ByteStream::from(vec![number as u8; mib << 20])).send().await?;
        parts.push(CompletedPart::builder().part_number(number).set_e_tag(part.e_tag).build());
    }
    let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
    let complete = client.complete_multipart_upload().bucket(bucket).key(key).upload_id(id);
    complete.multipart_upload(parts).send().await?;
    Ok(())
}

#[tokio::test]
async fn both_vendor_buckets_arrive_exact_on_minio_and_a_second_run_only_lists() -> Result<()> {
    let minio = Minio::start().await?;
    let client = minio.client();
    for bucket in [DATABASE, FILESYSTEM, "customer"] {
        client.create_bucket().bucket(bucket).send().await?;
    }
    for night in 1..=30 {
        put(&client, DATABASE, &format!("2026/11/{night:02}/shop.sql"), vec![night; 1_000]).await?;
    }
    put_parts(&client, DATABASE, "2026/11/all.sql.gz").await?;
    for index in 0..1_100 {
        put(&client, FILESYSTEM, &format!("var/www/{index}/index.php"), vec![0; 10]).await?;
    }
    for key in ["a b+c%2F?#&é😀.txt", "folder/", "quotes\"'<>\\", "new\nline\u{1}"] {
        put(&client, FILESYSTEM, key, key.as_bytes().to_vec()).await?;
    }

    let environment = environment(&minio.endpoint(), minio.access_key(), minio.secret_key());
    let lambda = LambdaEmulator::start(environment).await?;
    let report = lambda.invoke(&scheduled_event()).await?.json()?;
    assert_eq!(report["status"], "complete", "{report}");
    let copied: Vec<_> = (0..2).map(|index| report["sources"][index]["copied"]["objects"].as_u64()).collect();
    assert_eq!(copied, [Some(31), Some(1_104)], "{report}");
    for (source, prefix) in [(DATABASE, "database/"), (FILESYSTEM, "filesystem/")] {
        assert_eq!(contents(&client, "customer", prefix).await?, contents(&client, source, "").await?);
    }

    let report = lambda.invoke(&json!({})).await?.json()?;
    // Besides the listings, a lease a source.
    let requests = json!({ "ListObjectsV2": 6, "GetObject": 2, "PutObject": 4 });
    assert_eq!(report["requests"], requests, "{report}");
    assert!(eventually(|| lambda.log().contains("complete: 1135 objects")).await, "{}", lambda.log());

    // The same is proven without a copy; then something is lost.
    let report = lambda.invoke(&json!({ "verify": true })).await?.json()?;
    assert_eq!(report["requests"], json!({ "ListObjectsV2": 6 }), "{report}");
    let identical: Vec<_> =
        (0..2).map(|index| report["sources"][index]["identical"]["objects"].as_u64()).collect();
    assert_eq!(identical, [Some(31), Some(1_104)], "{report}");
    client.delete_object().bucket("customer").key("database/2026/11/all.sql.gz").send().await?;
    let report = lambda.invoke(&json!({ "verify": true, "sources": ["database"] })).await?.json()?;
    assert_eq!(report["sources"][0]["missing"]["objects"], 1, "{report}");
    Ok(())
}

#[tokio::test]
async fn a_function_that_runs_out_of_time_answers_before_it_does_and_goes_on_next_time() -> Result<()> {
    let latency = Latency { copy: Duration::from_millis(15), ..Latency::default() };
    let sim = Sim::start(Config { latency, ..Config::default() }).await?;
    for bucket in [DATABASE, FILESYSTEM, "customer"] {
        sim.state().create_bucket(bucket);
    }
    for index in 0..500 {
        sim.state().put(FILESYSTEM, &format!("{index:03}"), Object::bytes("x"));
    }
    let mut environment = environment(&sim.endpoint(), "sim-access-key", "sim-secret-key");
    // 500 copies, one after the other, 15 ms each: more than 7 s.
    environment.insert("MAX_IN_FLIGHT", "1".into());
    let lambda = RuntimeApi::new(environment, Duration::from_secs(4));
    let mut invocations = 0;
    loop {
        invocations += 1;
        let report = lambda.invoke(&json!({ "sources": ["filesystem"] })).await?.json()?;
        match report["status"].as_str() {
            Some("complete") => break,
            Some("stopped") => assert!(report["sources"][0]["stopped_after"].is_string(), "{report}"),
            _ => panic!("{report}"),
        }
        assert!(invocations < 20, "it makes no headway: {report}");
    }
    assert!(invocations > 1, "it was to run out of time");
    let copied = sim.state().keys("customer").iter().filter(|key| key.starts_with("filesystem/")).count();
    assert_eq!(copied, 500);
    assert_eq!(sim.counters().get("CopyObject"), 500, "nothing was copied twice");
    Ok(())
}

/// Changes to a working environment, an event, and the error they end in.
type Case = (&'static [(&'static str, &'static str)], Value, &'static str, &'static str);

#[tokio::test]
async fn bad_input_ends_in_a_stable_error_type_and_writes_nothing() -> Result<()> {
    let no_list = User::new("no-list", "no-list-secret").deny("s3:ListBucket", DATABASE);
    let no_get = User::new("no-get", "no-get-secret").deny("s3:GetObject", DATABASE);
    let no_put = User::new("no-put", "no-put-secret").deny("s3:PutObject", "customer");
    let known = User::new("sim-access-key", "sim-secret-key");
    let sim = Sim::start(Config { users: vec![known, no_list, no_get, no_put], ..Config::default() }).await?;
    for bucket in [DATABASE, FILESYSTEM, "customer"] {
        sim.state().create_bucket(bucket);
    }
    sim.state().put(DATABASE, "dump.sql", Object::bytes("x"));
    let database = json!({ "sources": ["database"] });
    let cases: &[Case] = &[
        (&[("DESTINATION_BUCKET", "")], json!({}), "InvalidConfiguration", "DESTINATION_BUCKET"),
        (
            &[("DATABASE_BUCKET", ""), ("FILESYSTEM_BUCKET", "")],
            json!({}),
            "InvalidConfiguration",
            "no source",
        ),
        (&[("MAX_IN_FLIGHT", "0")], json!({}), "InvalidConfiguration", "MAX_IN_FLIGHT"),
        (&[("MAX_IN_FLIGHT", "-3")], json!({}), "InvalidConfiguration", "MAX_IN_FLIGHT"),
        (&[("DESTINATION_BUCKET", DATABASE)], json!({}), "InvalidConfiguration", DATABASE),
        (&[("DATABASE_BUCKET", "x--use1-az4--x-s3")], json!({}), "InvalidConfiguration", "directory bucket"),
        (&[("DATABASE_PREFIX", ".replicator/")], json!({}), "InvalidConfiguration", ".replicator/"),
        (&[("SOURCE_ENDPOINT_URL", "nowhere")], json!({}), "InvalidConfiguration", "SOURCE_ENDPOINT_URL"),
        (&[], json!({ "dryrun": true }), "InvalidEvent", "dry_run"),
        (&[], json!({ "sources": ["files"] }), "InvalidEvent", "files"),
        (&[], json!({ "modified_after": "yesterday" }), "InvalidEvent", "yesterday"),
        (&[], json!([]), "InvalidEvent", "JSON object"),
        (&[("DATABASE_BUCKET", "no-such-bucket")], json!({}), "NoSuchBucket", "no-such-bucket"),
        (&[("DESTINATION_BUCKET", "no-such-bucket")], json!({}), "NoSuchBucket", "DESTINATION_BUCKET"),
        (&[("AWS_ACCESS_KEY_ID", "nobody")], json!({}), "InvalidCredentials", "AWS_ACCESS_KEY_ID"),
        (&[("AWS_SECRET_ACCESS_KEY", "wrong-secret")], json!({}), "InvalidCredentials", "AWS_ACCESS_KEY_ID"),
        // Port 9 of this machine, "discard", which nobody serves.
        (
            &[("SOURCE_ENDPOINT_URL", "http://127.0.0.1:9")],
            json!({}),
            "EndpointUnreachable",
            "SOURCE_ENDPOINT_URL",
        ),
        (
            &[("AWS_ACCESS_KEY_ID", "no-list"), ("AWS_SECRET_ACCESS_KEY", "no-list-secret")],
            database.clone(),
            "AccessDenied",
            "allow s3:ListBucket on arn:aws:s3:::backup-my-environment-name",
        ),
        (
            &[("AWS_ACCESS_KEY_ID", "no-get"), ("AWS_SECRET_ACCESS_KEY", "no-get-secret")],
            database.clone(),
            "AccessDenied",
            "allow s3:GetObject on arn:aws:s3:::backup-my-environment-name/*",
        ),
        (
            &[("AWS_ACCESS_KEY_ID", "no-put"), ("AWS_SECRET_ACCESS_KEY", "no-put-secret")],
            database,
            "AccessDenied",
            "allow s3:PutObject on arn:aws:s3:::customer/*",
        ),
    ];
    for (changes, event, error_type, named) in cases {
        let mut environment = environment(&sim.endpoint(), "sim-access-key", "sim-secret-key");
        environment.extend(changes.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let lambda = RuntimeApi::new(environment.clone(), Duration::from_secs(60));
        let error = lambda.invoke(event).await?.json()?;
        assert_eq!(error["errorType"], *error_type, "{changes:?} {event}: {error}");
        let message = error["errorMessage"].as_str().unwrap_or_default();
        assert!(message.contains(named), "{changes:?} {event}: {message}");
        let logged = eventually(|| lambda.log().contains(error_type)).await;
        let log = lambda.log();
        assert!(logged, "an alarm on the log would miss it: {log}");
        assert!(!log.contains(&environment["AWS_SECRET_ACCESS_KEY"]), "a secret is in the log");
        let written = sim.state().keys("customer");
        assert!(
            written.iter().all(|key| key == ".replicator/lease/database.json"),
            "{changes:?} {written:?}"
        );
    }
    Ok(())
}

//! What the Lambda tells of a run to those who watch over it: metrics in its log, a notice
//! when something is missing, a report at the destination.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use integration_tests::{Recorder, RuntimeApi, eventually};
use s3_sim::{Config, Object, Sim, StorageClass, User};
use serde_json::{Value, json};

const DATABASE: &str = "backup-my-environment-name";
const FILESYSTEM: &str = "backup-fs-my-environment-name";
const PUBLISHED: &str = "<PublishResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\">\
    <PublishResult><MessageId>1</MessageId></PublishResult></PublishResponse>";

struct World {
    sim: Sim,
    sns: Recorder,
    lambda: RuntimeApi,
}

async fn world(changes: &[(&'static str, &str)]) -> Result<World> {
    let no_put = User::new("no-put", "no-put-secret").deny("s3:PutObject", "customer");
    let known = User::new("sim-access-key", "sim-secret-key");
    let sim = Sim::start(Config { users: vec![known, no_put], ..Config::default() }).await?;
    for bucket in [DATABASE, FILESYSTEM, "customer"] {
        sim.state().create_bucket(bucket);
    }
    sim.state().put(DATABASE, "dump.sql", Object::bytes("dump"));
    sim.state().put(FILESYSTEM, "index.php", Object::bytes("file"));
    let sns = Recorder::start(PUBLISHED).await?;
    let mut environment: BTreeMap<&str, String> = [
        ("AWS_ACCESS_KEY_ID", "sim-access-key".into()),
        ("AWS_SECRET_ACCESS_KEY", "sim-secret-key".into()),
        ("AWS_ENDPOINT_URL_SNS", sns.endpoint()),
        ("TOPIC_ARN", "arn:aws:sns:us-east-1:123456789012:backups".into()),
        ("DATABASE_BUCKET", DATABASE.into()),
        ("FILESYSTEM_BUCKET", FILESYSTEM.into()),
        ("DESTINATION_BUCKET", "customer".into()),
        ("SOURCE_ENDPOINT_URL", sim.endpoint()),
        ("DESTINATION_ENDPOINT_URL", sim.endpoint()),
    ]
    .into();
    environment.extend(changes.iter().map(|(name, value)| (*name, (*value).to_owned())));
    let lambda = RuntimeApi::new(environment, Duration::from_secs(60));
    Ok(World { sim, sns, lambda })
}

impl World {
    /// The lines of the log in CloudWatch's embedded metric format.
    fn metrics(&self) -> Vec<Value> {
        let log = self.lambda.log();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line.get("_aws").is_some()).collect()
    }
}

#[tokio::test]
async fn every_run_is_measured_for_each_source_and_as_a_whole() -> Result<()> {
    let world = world(&[]).await?;
    let old = Object::bytes("old").with_storage_class(StorageClass::Glacier);
    world.sim.state().put(FILESYSTEM, "old.php", old);
    world.lambda.invoke(&json!({})).await?;
    assert!(eventually(|| world.metrics().len() == 3).await, "{}", world.lambda.log());
    let metrics = world.metrics();
    for (line, source, archived) in [(&metrics[0], "database", 0), (&metrics[1], "filesystem", 1)] {
        assert_eq!(line["Source"], source);
        assert_eq!(line["FunctionName"], "replicator");
        assert_eq!((&line["RunsSucceeded"], &line["ObjectsCopied"]), (&json!(1), &json!(1)), "{line}");
        assert_eq!((&line["BytesCopied"], &line["ObjectsArchived"]), (&json!(4), &json!(archived)), "{line}");
        // Each metric that is declared has a value, and the other way round.
        let declared = &line["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(declared["Dimensions"], json!([["FunctionName", "Source"]]));
        let names = declared["Metrics"].as_array().into_iter().flatten();
        let names: Vec<_> = names.filter_map(|metric| metric["Name"].as_str()).collect();
        let beside = ["_aws", "FunctionName", "Source"];
        let valued = line.as_object().into_iter().flat_map(|line| line.keys()).map(String::as_str);
        let mut valued: Vec<_> = valued.filter(|name| !beside.contains(name)).collect();
        let mut sorted = names.clone();
        sorted.sort_unstable();
        valued.sort_unstable();
        assert_eq!(sorted, valued);
    }
    assert!(metrics[0]["NewestDumpAge"].as_i64().is_some_and(|age| age >= 0), "{}", metrics[0]);
    assert!(metrics[2]["Requests"].as_u64().is_some_and(|requests| requests >= 6), "{}", metrics[2]);

    world.lambda.invoke(&json!({ "dry_run": true })).await?;
    world.lambda.invoke(&json!({ "sources": ["database"] })).await?;
    assert!(eventually(|| world.metrics().len() == 5).await, "a dry run is not measured");

    world.lambda.invoke(&json!({ "sources": ["database"], "prefix": "2026/" })).await?;
    assert!(eventually(|| world.metrics().len() == 7).await);
    let partial = &world.metrics()[5];
    assert_eq!(partial["RunsSucceeded"], 0, "a part is no proof of the whole: {partial}");
    Ok(())
}

#[tokio::test]
async fn a_notice_is_sent_when_something_is_missing_and_only_then() -> Result<()> {
    let complete = world(&[]).await?;
    complete.lambda.invoke(&json!({})).await?;
    assert_eq!(complete.sns.bodies(), Vec::<String>::new());

    let archived = Object::bytes("old").with_storage_class(StorageClass::Glacier);
    complete.sim.state().put(DATABASE, "old.sql", archived);
    complete.lambda.invoke(&json!({})).await?;
    let notices = complete.sns.bodies();
    assert_eq!(notices.len(), 1, "{notices:?}");
    for named in ["not+complete", "backup-my-environment-name", "restored"] {
        assert!(
            notices[0].contains(named) || notices[0].contains(&named.replace('+', "%20")),
            "{named}: {}",
            notices[0]
        );
    }

    let denied =
        world(&[("AWS_ACCESS_KEY_ID", "no-put"), ("AWS_SECRET_ACCESS_KEY", "no-put-secret")]).await?;
    let error = denied.lambda.invoke(&json!({})).await?.json()?;
    assert_eq!(error["errorType"], "AccessDenied");
    let notices = denied.sns.bodies();
    assert_eq!(notices.len(), 1, "{notices:?}");
    assert!(notices[0].contains("AccessDenied") && notices[0].contains("PutObject"), "{}", notices[0]);
    Ok(())
}

#[tokio::test]
async fn a_notice_that_cannot_be_sent_is_logged_and_the_run_stands() -> Result<()> {
    // Port 9 of this machine, "discard", which nobody serves.
    let world = world(&[("AWS_ENDPOINT_URL_SNS", "http://127.0.0.1:9")]).await?;
    world.sim.state().put(
        DATABASE,
        "old.sql",
        Object::bytes("old").with_storage_class(StorageClass::Glacier),
    );
    let report = world.lambda.invoke(&json!({})).await?.json()?;
    assert_eq!(report["status"], "objects_missing", "{report}");
    assert!(eventually(|| world.lambda.log().contains("notice could not be sent")).await);
    Ok(())
}

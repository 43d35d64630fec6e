//! The harness itself: that what the other tests stand on does what it says.

use std::time::Duration;

use anyhow::{Context, Result};
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::ServerSideEncryption;
use integration_tests::{LambdaEmulator, LocalRunner, Minio, MinioOptions, RuntimeApi, eventually};
use serde_json::json;

#[tokio::test]
async fn a_user_of_minio_has_the_rights_of_its_policy_only() -> Result<()> {
    let minio = Minio::shared().await?;
    let root = minio.client();
    root.create_bucket().bucket("rights").send().await?;
    let policy = json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Action": ["s3:ListBucket"],
            "Resource": ["arn:aws:s3:::rights"]
        }]
    });
    let user = minio.user("lister", "lister-secret", &policy).await?;
    user.list_objects_v2().bucket("rights").send().await?;
    let put = user.put_object().bucket("rights").key("key").send().await;
    assert_eq!(put.err().as_ref().and_then(|error| error.code()), Some("AccessDenied"));
    Ok(())
}

#[tokio::test]
async fn minio_encrypts_with_a_kms_key_when_it_has_one() -> Result<()> {
    let options =
        MinioOptions { kms_secret_key: Some("test-key:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=".into()) };
    let minio = Minio::start_with(&options).await?;
    let client = minio.client();
    client.create_bucket().bucket("encrypted").send().await?;
    let put = client.put_object().bucket("encrypted").key("key");
    let put = put
        .body(ByteStream::from_static(b"hello"))
        .server_side_encryption(ServerSideEncryption::AwsKms)
        .ssekms_key_id("test-key")
        .send()
        .await?;
    assert_eq!(put.server_side_encryption(), Some(&ServerSideEncryption::AwsKms));
    // Not the MD5 of the bytes: what the engine must not compare.
    assert_ne!(put.e_tag(), Some("\"5d41402abc4b2a76b9719d911017c592\""));
    Ok(())
}

/// An event that the function refuses before it sends anything.
fn refused_event() -> serde_json::Value {
    json!({ "no-such-field": true })
}

#[tokio::test]
async fn both_lambdas_hand_over_events_and_errors() -> Result<()> {
    let none: [(&str, &str); 0] = [];
    let ours = RuntimeApi::new(none, Duration::from_secs(60));
    let theirs = LambdaEmulator::start(none).await?;
    // Twice: the second finds the function warm.
    for _ in 0..2 {
        let answer = ours.invoke(&refused_event()).await?;
        assert_eq!(answer.status, 200);
        assert!(answer.headers.contains_key("x-amz-function-error"));
        let error = answer.json()?;
        assert_eq!(theirs.invoke(&refused_event()).await?.json()?, error);
        let message = error["errorMessage"].as_str().context("no message")?;
        assert!(eventually(|| ours.log().contains("no-such-field")).await, "{}", ours.log());
        assert!(eventually(|| theirs.log().contains("no-such-field")).await, "{}", theirs.log());
        assert!(message.contains("no-such-field"), "{message}");
    }
    Ok(())
}

#[tokio::test]
async fn an_invocation_that_runs_out_of_time_is_told_as_lambda_tells_it() -> Result<()> {
    let none: [(&str, &str); 0] = [];
    // Shorter than the start of a process.
    let lambda = RuntimeApi::new(none, Duration::from_millis(1));
    for _ in 0..2 {
        let answer = lambda.invoke(&json!({})).await?;
        assert_eq!(answer.json()?["errorType"], "Sandbox.Timedout");
        assert!(answer.headers.contains_key("x-amz-function-error"));
    }
    Ok(())
}

#[tokio::test]
async fn local_runner_is_run_with_its_own_environment_only() -> Result<()> {
    let help = LocalRunner::new(["--help"]).run().await?;
    assert!(help.status.success());
    assert!(help.stdout.contains("replicate"));
    // Nothing says what to copy, whatever the environment of the tests holds.
    let run = LocalRunner::new(["replicate"]).run().await?;
    assert_eq!(run.status.code(), Some(2), "{}", run.stderr);
    Ok(())
}

//! Destinations under Object Lock on MinIO: a default retention and a legal hold keep every
//! version that was copied, and keep no new one from being copied.

use anyhow::{Context, Result};
use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    CompletedMultipartUpload, CompletedPart, DefaultRetention, ObjectLockConfiguration, ObjectLockEnabled,
    ObjectLockLegalHold, ObjectLockLegalHoldStatus, ObjectLockRetentionMode, ObjectLockRule, ObjectVersion,
};
use integration_tests::{Finished, LocalRunner, Minio, MinioOptions};
use serde_json::{Value, json};

const SOURCE: &str = "backup-my-environment-name";
const KEYS: [&str; 2] = ["parts", "single"];
const MIB: usize = 1 << 20;

/// A bucket whose objects are retained for a day.
async fn locked(client: &Client, name: &str) -> Result<()> {
    client.create_bucket().bucket(name).object_lock_enabled_for_bucket(true).send().await?;
    let retention = DefaultRetention::builder().mode(ObjectLockRetentionMode::Compliance).days(1).build();
    let rule = ObjectLockRule::builder().default_retention(retention).build();
    let lock =
        ObjectLockConfiguration::builder().object_lock_enabled(ObjectLockEnabled::Enabled).rule(rule).build();
    client.put_object_lock_configuration().bucket(name).object_lock_configuration(lock).send().await?;
    Ok(())
}

/// An object in one piece and one of two parts.
async fn fill(client: &Client, byte: u8) -> Result<()> {
    let put = client.put_object().bucket(SOURCE).key("single");
    put.body(ByteStream::from(vec![byte; 100_000])).send().await?;
    let upload = client.create_multipart_upload().bucket(SOURCE).key("parts").send().await?;
    let id = upload.upload_id().context("no upload id")?;
    let mut parts = Vec::new();
    for (number, size) in (1..).zip([5 * MIB, MIB]) {
        let part = client.upload_part().bucket(SOURCE).key("parts").upload_id(id).part_number(number);
        let part = part.body(ByteStream::from(vec![byte; size])).send().await?;
        parts.push(CompletedPart::builder().part_number(number).set_e_tag(part.e_tag).build());
    }
    let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
    let complete = client.complete_multipart_upload().bucket(SOURCE).key("parts").upload_id(id);
    complete.multipart_upload(parts).send().await?;
    Ok(())
}

async fn run(
    minio: &Minio,
    command: &[&str],
    destination: &str,
    transfer: &str,
) -> Result<(Finished, Value)> {
    let output = LocalRunner::new(command.iter().copied())
        .env("DATABASE_BUCKET", SOURCE)
        .env("DATABASE_PREFIX", "database/")
        .env("DESTINATION_BUCKET", destination)
        .env("SOURCE_ENDPOINT_URL", minio.endpoint())
        .env("DESTINATION_ENDPOINT_URL", minio.endpoint())
        .env("AWS_ACCESS_KEY_ID", minio.access_key())
        .env("AWS_SECRET_ACCESS_KEY", minio.secret_key())
        .env("TRANSFER", transfer)
        .run()
        .await?;
    let report = serde_json::from_str(&output.stdout)
        .with_context(|| format!("{transfer}: {}{}", output.stdout, output.stderr))?;
    Ok((output, report))
}

/// The versions of a copy, newest first.
async fn versions(client: &Client, bucket: &str, key: &str) -> Result<Vec<ObjectVersion>> {
    let listed =
        client.list_object_versions().bucket(bucket).prefix(format!("database/{key}")).send().await?;
    Ok(listed.versions.unwrap_or_default())
}

#[tokio::test]
async fn a_destination_under_retention_and_hold_gets_each_version_and_loses_none() -> Result<()> {
    let minio = Minio::start_with(&MinioOptions::default()).await?;
    let client = minio.client();
    client.create_bucket().bucket(SOURCE).send().await?;
    for transfer in ["server-side", "stream"] {
        let destination = format!("locked-{transfer}");
        locked(&client, &destination).await?;
        for byte in [1, 2] {
            fill(&client, byte).await?;
            let replicate = ["replicate", "--quiet", "--json"];
            let (output, report) = run(&minio, &replicate, &destination, transfer).await?;
            assert_eq!(output.status.code(), Some(0), "{transfer}: {report:#}");
            assert_eq!(report["sources"][0]["copied"]["objects"], 2, "{transfer}: {report:#}");
            if byte == 1 {
                for key in KEYS {
                    let on = ObjectLockLegalHold::builder().status(ObjectLockLegalHoldStatus::On).build();
                    let hold = client.put_object_legal_hold().bucket(&destination);
                    hold.key(format!("database/{key}")).legal_hold(on).send().await?;
                }
            }
        }
        for key in KEYS {
            let versions = versions(&client, &destination, key).await?;
            assert_eq!(versions.len(), 2, "{transfer}: {key}");
            for (version, byte) in versions.iter().zip([2_u8, 1]) {
                let get = client.get_object().bucket(&destination).key(format!("database/{key}"));
                let got = get.set_version_id(version.version_id.clone()).send().await?;
                let held = got.object_lock_legal_hold_status == Some(ObjectLockLegalHoldStatus::On);
                assert!(got.object_lock_retain_until_date.is_some(), "{transfer}: {key} is not retained");
                assert_eq!(held, byte == 1, "{transfer}: {key}");
                let bytes = got.body.collect().await?.to_vec();
                assert!(!bytes.is_empty() && bytes.iter().all(|found| *found == byte), "{transfer}: {key}");
            }
        }
        let open =
            client.list_multipart_uploads().bucket(&destination).prefix("database/parts").send().await?;
        assert_eq!(open.uploads().len(), 0, "{transfer}: an upload is left open");

        // Both sides are then the same, and are told so, by what is listed and by every byte.
        for command in [&["verify", "--quiet", "--json"][..], &["verify", "--quiet", "--json", "--read"]] {
            let (output, report) = run(&minio, command, &destination, transfer).await?;
            assert_eq!(output.status.code(), Some(0), "{report:#}");
            assert_eq!(report["sources"][0]["identical"]["objects"], 2, "{report:#}");
        }
        let delete = client.delete_object().bucket(&destination).key("database/single");
        delete.send().await?;
        let (output, report) = run(&minio, &["verify", "--quiet", "--json"], &destination, transfer).await?;
        assert_eq!(output.status.code(), Some(3), "{report:#}");
        assert_eq!(report["sources"][0]["missing"]["objects"], 1, "{report:#}");
    }
    Ok(())
}

/// What a customer does first: the doctor finds nothing missing, and what the bucket is like.
#[tokio::test]
async fn the_doctor_finds_a_locked_destination_in_order() -> Result<()> {
    let minio = Minio::start_with(&MinioOptions::default()).await?;
    let client = minio.client();
    client.create_bucket().bucket(SOURCE).send().await?;
    fill(&client, 1).await?;
    locked(&client, "locked").await?;
    let (output, diagnosis) = run(&minio, &["doctor", "--json"], "locked", "auto").await?;
    assert_eq!(output.status.code(), Some(0), "{diagnosis:#}");
    assert_eq!(diagnosis["prognosis"], "good", "{diagnosis:#}");
    let checks = diagnosis["sections"][0]["checks"].as_array().context("checks")?;
    let found = |what: &str| checks.iter().find(|check| check["what"] == what).map(|check| &check["detail"]);
    assert_eq!(found("object lock"), Some(&json!("COMPLIANCE for 1 day")), "{diagnosis:#}");
    assert_eq!(found("write annotations"), Some(&json!("the server has no annotations")), "{diagnosis:#}");
    Ok(())
}

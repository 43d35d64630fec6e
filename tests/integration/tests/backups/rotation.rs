//! `rotate` on a bucket with Object Lock: what is protected stays, also where the right to see
//! the protection is missing.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::{
    ObjectLockLegalHold, ObjectLockLegalHoldStatus, ObjectLockRetention, ObjectLockRetentionMode,
};
use integration_tests::{Finished, LocalRunner, Minio};
use jiff::{Timestamp, ToSpan};
use serde_json::json;

const BUCKET: &str = "my-company-backups";

/// A dump a day, the newest of today.
async fn fill(client: &Client, days: i64) -> Result<Vec<String>> {
    let mut keys = Vec::new();
    for ago in 0..days {
        let at = Timestamp::now().checked_sub((ago * 24).hours())?;
        let key = format!("database/app-{}.sql.gz", at.strftime("%Y-%m-%d"));
        let put = client.put_object().bucket(BUCKET).key(&key);
        put.body(ByteStream::from(key.clone().into_bytes())).send().await?;
        keys.push(key);
    }
    Ok(keys)
}

/// Protects the 4th, 5th and 6th of the dumps, each in its own way.
async fn protect(client: &Client, keys: &[String]) -> Result<()> {
    let hold = ObjectLockLegalHold::builder().status(ObjectLockLegalHoldStatus::On).build();
    client.put_object_legal_hold().bucket(BUCKET).key(&keys[3]).legal_hold(hold).send().await?;
    let tomorrow = DateTime::from_secs(Timestamp::now().checked_add(24.hours())?.as_second());
    for (key, mode) in
        [(&keys[4], ObjectLockRetentionMode::Governance), (&keys[5], ObjectLockRetentionMode::Compliance)]
    {
        let retention = ObjectLockRetention::builder().mode(mode).retain_until_date(tomorrow).build();
        client.put_object_retention().bucket(BUCKET).key(key).retention(retention).send().await?;
    }
    Ok(())
}

async fn left(client: &Client) -> Result<BTreeSet<String>> {
    let listed = client.list_objects_v2().bucket(BUCKET).send().await?;
    listed.contents().iter().map(|object| object.key().map(str::to_owned).context("a key")).collect()
}

async fn rotate(minio: &Minio, user: (&str, &str), args: &[&str]) -> Result<Finished> {
    LocalRunner::new([&["rotate", "--apply"], args].concat())
        .env("DESTINATION_BUCKET", BUCKET)
        .env("AWS_ENDPOINT_URL", minio.endpoint())
        .env("AWS_ACCESS_KEY_ID", user.0)
        .env("AWS_SECRET_ACCESS_KEY", user.1)
        .run()
        .await
}

#[tokio::test]
async fn what_a_hold_or_a_retention_protects_stays_and_so_does_the_newest() -> Result<()> {
    let minio = Minio::start().await?;
    let root = minio.client();
    root.create_bucket().bucket(BUCKET).object_lock_enabled_for_bucket(true).send().await?;
    let keys = fill(&root, 8).await?;
    protect(&root, &keys).await?;
    let all: BTreeSet<String> = keys.iter().cloned().collect();
    let user = (minio.access_key(), minio.secret_key());

    let run = rotate(&minio, user, &["--keep-last", "0", "--at-most", "30"]).await?;
    assert_eq!(run.status.code(), Some(1), "{run:?}");
    assert!(run.stderr.contains("more than 30 %"), "{run:?}");
    assert_eq!(left(&root).await?, all, "4 of 8 are more than the share");

    // Without the right to see it, S3 shows no protection, and would take the deletion.
    let bucket = format!("arn:aws:s3:::{BUCKET}");
    let actions = ["s3:ListBucket", "s3:GetObject", "s3:DeleteObject", "s3:GetBucketVersioning"];
    let policy = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": actions, "Resource": [&bucket, format!("{bucket}/*")]}
    ]});
    minio.user("rotator", "rotator-secret", &policy).await?;
    let run = rotate(&minio, ("rotator", "rotator-secret"), &["--keep-last", "0", "--at-most", "99"]).await?;
    assert_eq!(run.status.code(), Some(1), "{run:?}");
    assert!(run.stderr.contains("allow s3:GetObjectLegalHold and s3:GetObjectRetention"), "{run:?}");
    assert_eq!(left(&root).await?, all);

    let run = rotate(&minio, user, &["--keep-last", "0", "--at-most", "50"]).await?;
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    for part in ["under a legal hold", "retained until", "keeps versions", "Deleted 4 dumps."] {
        assert!(run.stdout.contains(part), "{part:?} is not in:\n{}", run.stdout);
    }
    let stay = [0, 3, 4, 5].map(|number: usize| keys[number].clone());
    assert_eq!(left(&root).await?, stay.into_iter().collect());

    // A hold that is lifted is one no more.
    let lifted = ObjectLockLegalHold::builder().status(ObjectLockLegalHoldStatus::Off).build();
    root.put_object_legal_hold().bucket(BUCKET).key(&keys[3]).legal_hold(lifted).send().await?;
    let run = rotate(&minio, user, &["--keep-last", "0"]).await?;
    assert!(run.stdout.contains("Deleted 1 dump."), "{run:?}");
    Ok(())
}

#[tokio::test]
async fn a_bucket_without_object_lock_is_rotated_without_asking_for_holds() -> Result<()> {
    let minio = Minio::start().await?;
    let root = minio.client();
    root.create_bucket().bucket(BUCKET).send().await?;
    let keys = fill(&root, 2).await?;
    let user = (minio.access_key(), minio.secret_key());
    let run = rotate(&minio, user, &["--keep-last", "1", "--at-most", "50"]).await?;
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    assert!(run.stdout.contains("keeps no versions") && run.stdout.contains("Deleted 1 dump."), "{run:?}");
    assert_eq!(left(&root).await?, [keys[0].clone()].into());
    Ok(())
}

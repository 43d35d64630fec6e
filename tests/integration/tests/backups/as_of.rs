//! The files as of a time, from a versioned bucket, with the rights that it takes and no more.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::{ByteStream, DateTimeFormat};
use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use integration_tests::{Finished, LocalRunner, Minio};
use serde_json::json;

const BUCKET: &str = "my-company-backups";

async fn put(client: &Client, key: &str, body: &str) -> Result<()> {
    let put = client.put_object().bucket(BUCKET).key(key);
    put.body(ByteStream::from(body.as_bytes().to_vec())).send().await?;
    Ok(())
}

async fn delete(client: &Client, key: &str) -> Result<()> {
    client.delete_object().bucket(BUCKET).key(key).send().await?;
    Ok(())
}

/// A moment of the server's clock after all that was written, and before all that will be.
async fn moment(client: &Client) -> Result<String> {
    let listed = async || {
        let listed = client.list_object_versions().bucket(BUCKET).send().await?;
        let objects = listed.versions().iter().filter_map(|version| version.last_modified().copied());
        let all = objects
            .chain(listed.delete_markers().iter().filter_map(|marker| marker.last_modified().copied()));
        all.max_by(|a, b| a.as_secs_f64().total_cmp(&b.as_secs_f64())).context("no version")
    };
    let last = listed().await?;
    loop {
        put(client, "clock", "").await?;
        let now = listed().await?;
        if now.as_secs_f64() > last.as_secs_f64() {
            let moment = now.fmt(DateTimeFormat::DateTimeWithOffset)?;
            // What is written next is later than the clock's last tick.
            while listed().await?.as_secs_f64() <= now.as_secs_f64() {
                put(client, "clock", "").await?;
            }
            return Ok(moment);
        }
    }
}

fn files(folder: &Path) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().context("a name")?.to_string_lossy().into_owned();
        if path.is_dir() {
            found.extend(files(&path)?.into_iter().map(|(below, text)| (format!("{name}/{below}"), text)));
        } else {
            found.insert(name, fs::read_to_string(&path)?);
        }
    }
    Ok(found)
}

#[tokio::test]
async fn the_files_come_back_as_they_were_with_rights_to_read_versions_and_no_more() -> Result<()> {
    let minio = Minio::start().await?;
    let root = minio.client();
    root.create_bucket().bucket(BUCKET).send().await?;
    let enabled = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    root.put_bucket_versioning().bucket(BUCKET).versioning_configuration(enabled).send().await?;

    put(&root, "filesystem/été/a b+c.txt", "1").await?;
    put(&root, "filesystem/deleted", "1").await?;
    put(&root, "filesystem/returned", "1").await?;
    put(&root, "database/dump.sql", "no file").await?;
    let first = moment(&root).await?;
    put(&root, "filesystem/été/a b+c.txt", "2").await?;
    put(&root, "filesystem/new", "2").await?;
    delete(&root, "filesystem/deleted").await?;
    delete(&root, "filesystem/returned").await?;
    let second = moment(&root).await?;
    put(&root, "filesystem/returned", "3").await?;
    put(&root, "filesystem/été/a b+c.txt", "3").await?;
    let third = moment(&root).await?;

    let bucket = format!("arn:aws:s3:::{BUCKET}");
    let allow = |actions: &[&str]| {
        json!({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": actions, "Resource": [&bucket, format!("{bucket}/*")]}
        ]})
    };
    let rights = ["s3:ListBucketVersions", "s3:GetBucketVersioning", "s3:GetObjectVersion"];
    minio.user("restorer", "restorer-secret", &allow(&rights)).await?;
    let folder = tempfile::tempdir()?;
    let restore = async |as_of: &str, name: &str| -> Result<Finished> {
        let to = folder.path().join(name);
        let to = to.to_str().context("UTF-8")?;
        LocalRunner::new(["restore", "--files", to, "--create", "--as-of", as_of])
            .env("DESTINATION_BUCKET", BUCKET)
            .env("AWS_ENDPOINT_URL", minio.endpoint())
            .env("AWS_ACCESS_KEY_ID", "restorer")
            .env("AWS_SECRET_ACCESS_KEY", "restorer-secret")
            .run()
            .await
    };
    for (as_of, expected) in [
        (&first, &[("deleted", "1"), ("returned", "1"), ("été/a b+c.txt", "1")][..]),
        (&second, &[("new", "2"), ("été/a b+c.txt", "2")]),
        (&third, &[("new", "2"), ("returned", "3"), ("été/a b+c.txt", "3")]),
    ] {
        let run = restore(as_of, as_of).await?;
        assert_eq!(run.status.code(), Some(0), "{run:?}");
        let expected = expected.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        assert_eq!(files(&folder.path().join(as_of))?, expected, "{as_of}");
    }

    for (missing, code) in [("s3:ListBucketVersions", 1), ("s3:GetObjectVersion", 3)] {
        let others: Vec<_> = rights.iter().copied().filter(|right| *right != missing).collect();
        minio.set_policy("restorer", &allow(&others)).await?;
        let run = restore(&first, missing).await?;
        assert_eq!(run.status.code(), Some(code), "{run:?}");
        let said = format!("{}{}", run.stdout, run.stderr);
        assert!(said.contains(&format!("allow {missing} on {bucket}")), "{said}");
    }
    Ok(())
}

//! `local-runner ls` and `download` on MinIO, of what clients really leave there: objects in
//! parts, with and without checksums.

use std::fs;

use anyhow::{Context, Result};
use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use integration_tests::{LocalRunner, Minio};
use serde_json::Value;

const BUCKET: &str = "backup-my-environment-name";

fn bytes(seed: u8, mib: usize) -> Vec<u8> {
    (0..mib << 20).map(|place| (place / 7 % 251) as u8 ^ seed).collect()
}

async fn put_parts(client: &Client, key: &str, parts: &[Vec<u8>]) -> Result<()> {
    let upload = client.create_multipart_upload().bucket(BUCKET).key(key);
    let upload = upload.checksum_algorithm(ChecksumAlgorithm::Crc32).send().await?;
    let id = upload.upload_id().context("an upload id")?;
    let mut completed = Vec::new();
    for (number, body) in (1..).zip(parts) {
        let part = client.upload_part().bucket(BUCKET).key(key).upload_id(id).part_number(number);
        let part = part.checksum_algorithm(ChecksumAlgorithm::Crc32).body(ByteStream::from(body.clone()));
        let part = part.send().await?;
        let one = CompletedPart::builder().part_number(number).set_e_tag(part.e_tag);
        completed.push(one.set_checksum_crc32(part.checksum_crc32).build());
    }
    let parts = CompletedMultipartUpload::builder().set_parts(Some(completed)).build();
    let complete = client.complete_multipart_upload().bucket(BUCKET).key(key).upload_id(id);
    complete.multipart_upload(parts).send().await?;
    Ok(())
}

#[tokio::test]
async fn backups_come_back_byte_by_byte_and_are_proven_by_the_best_there_is() -> Result<()> {
    let minio = Minio::start().await?;
    let client = minio.client();
    client.create_bucket().bucket(BUCKET).send().await?;
    let (small, large) = (bytes(1, 1), bytes(2, 40));
    for (key, body, algorithm) in [
        ("2026-11-19.sql", &small, ChecksumAlgorithm::Crc64Nvme),
        ("2026-11-20 shop+é.sql", &small, ChecksumAlgorithm::Crc32),
        ("2026-11-21.sql", &large, ChecksumAlgorithm::Sha256),
    ] {
        let put = client.put_object().bucket(BUCKET).key(key).checksum_algorithm(algorithm);
        put.body(ByteStream::from(body.clone())).send().await?;
    }
    let even = [bytes(3, 16), bytes(4, 16), bytes(5, 3)];
    // As many parts as if all were as large as the first.
    let uneven = [bytes(6, 9), bytes(7, 6), bytes(8, 5)];
    put_parts(&client, "even", &even).await?;
    put_parts(&client, "uneven", &uneven).await?;

    let folder = tempfile::tempdir()?;
    let to = folder.path().to_str().context("UTF-8")?;
    let runner = |args: &[&str]| {
        LocalRunner::new(args.iter().copied())
            .env("SOURCE_ENDPOINT_URL", minio.endpoint())
            .env("DATABASE_BUCKET", BUCKET)
            .env("AIDI_BACKUP_SECRET_KEY", minio.secret_key())
            .env("AWS_ACCESS_KEY_ID", minio.access_key())
            .env("AWS_SECRET_ACCESS_KEY", minio.secret_key())
    };
    let listed = runner(&["ls", "--at", "vendor"]).run().await?;
    assert!(
        listed.stdout.contains("2026-11-21 00:00   40.0 MiB  not compared        2026-11-21.sql\n"),
        "{listed:?}"
    );

    let args = ["download", "--json", "-q", "-b", BUCKET, "-a", minio.access_key(), "-t", to];
    let first = runner(&args).run().await?;
    assert_eq!(first.status.code(), Some(0), "{first:?}");
    let report: Value = serde_json::from_str(&first.stdout)?;
    assert_eq!(
        report["verified_by"],
        serde_json::json!({"crc64_nvme": 1, "md5": 2, "parts_md5": 1, "size": 1}),
        "{report}"
    );
    for (key, body) in [
        ("2026-11-19.sql", &small),
        ("2026-11-20 shop+é.sql", &small),
        ("2026-11-21.sql", &large),
        ("even", &even.concat()),
        ("uneven", &uneven.concat()),
    ] {
        assert!(fs::read(folder.path().join(key))? == *body, "{key}");
    }
    let second: Value = serde_json::from_str(&runner(&args).run().await?.stdout)?;
    assert_eq!((&second["unchanged"]["objects"], &second["downloaded"]["objects"]), (&5.into(), &0.into()));
    Ok(())
}

//! Encrypted buckets on MinIO, where ETags under SSE-KMS tell nothing: what proves a copy, and
//! that the next run copies nothing of what a checksum proves.

use anyhow::{Context, Result};
use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart, ServerSideEncryption,
    ServerSideEncryptionByDefault, ServerSideEncryptionConfiguration, ServerSideEncryptionRule,
};
use integration_tests::{LocalRunner, Minio, MinioOptions};
use serde_json::{Value, json};

const KEY: &str = "backups";
const MIB: usize = 1 << 20;

async fn bucket(client: &Client, name: &str, kms: bool) -> Result<()> {
    client.create_bucket().bucket(name).send().await?;
    let (algorithm, key) = match kms {
        true => (ServerSideEncryption::AwsKms, Some(KEY.to_owned())),
        false => (ServerSideEncryption::Aes256, None),
    };
    let default = ServerSideEncryptionByDefault::builder()
        .sse_algorithm(algorithm)
        .set_kms_master_key_id(key)
        .build()?;
    let rule = ServerSideEncryptionRule::builder().apply_server_side_encryption_by_default(default).build();
    let rules = ServerSideEncryptionConfiguration::builder().rules(rule).build()?;
    client.put_bucket_encryption().bucket(name).server_side_encryption_configuration(rules).send().await?;
    Ok(())
}

/// An object in one piece, with a CRC64NVME, as S3 gives every object, and one of two parts.
async fn fill(client: &Client, bucket: &str) -> Result<()> {
    let crc = ChecksumAlgorithm::Crc64Nvme;
    let put = client.put_object().bucket(bucket).key("single").checksum_algorithm(crc);
    put.body(ByteStream::from(vec![7; 100_000])).send().await?;

    // MinIO copies no part of an object that has a checksum.
    let upload = client.create_multipart_upload().bucket(bucket).key("parts").send().await?;
    let id = upload.upload_id().context("no upload id")?;
    let mut parts = Vec::new();
    for (number, size) in (1..).zip([5 * MIB, MIB]) {
        let part = client.upload_part().bucket(bucket).key("parts").upload_id(id).part_number(number);
        let part = part.body(ByteStream::from(vec![number as u8; size])).send().await?;
        parts.push(CompletedPart::builder().part_number(number).set_e_tag(part.e_tag).build());
    }
    let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
    let complete = client.complete_multipart_upload().bucket(bucket).key("parts").upload_id(id);
    complete.multipart_upload(parts).send().await?;
    Ok(())
}

async fn read(client: &Client, bucket: &str, key: &str) -> Result<(Option<ServerSideEncryption>, Vec<u8>)> {
    let got = client.get_object().bucket(bucket).key(key).send().await?;
    let encryption = got.server_side_encryption().cloned();
    Ok((encryption, got.body.collect().await?.to_vec()))
}

async fn minio() -> Result<Minio> {
    // Of 32 bytes, in Base64.
    let kms_secret_key = Some(format!("{KEY}:bWluaW8tdGVzdC1zZWNyZXQta2V5LTMyLWJ5dGVzISE="));
    Minio::start_with(&MinioOptions { kms_secret_key }).await
}

#[tokio::test]
async fn the_next_run_copies_nothing_that_a_checksum_proves_whichever_side_is_encrypted() -> Result<()> {
    let minio = minio().await?;
    let client = minio.client();
    for (index, (source_kms, destination_kms)) in
        [(false, false), (false, true), (true, false), (true, true)].into_iter().enumerate()
    {
        let source = format!("source-{index}");
        bucket(&client, &source, source_kms).await?;
        fill(&client, &source).await?;
        for transfer in ["server-side", "stream"] {
            let case = format!("{transfer}, KMS: {source_kms} to {destination_kms}");
            let destination = format!("{transfer}-{index}");
            bucket(&client, &destination, destination_kms).await?;
            let runner = LocalRunner::new(["replicate", "--quiet", "--json"])
                .env("DATABASE_BUCKET", &source)
                .env("DATABASE_PREFIX", "")
                .env("DESTINATION_BUCKET", &destination)
                .env("SOURCE_ENDPOINT_URL", minio.endpoint())
                .env("DESTINATION_ENDPOINT_URL", minio.endpoint())
                .env("AWS_ACCESS_KEY_ID", minio.access_key())
                .env("AWS_SECRET_ACCESS_KEY", minio.secret_key())
                .env("TRANSFER", transfer);
            let first = runner.run().await?;
            assert_eq!(first.status.code(), Some(0), "{case}: {}{}", first.stdout, first.stderr);
            let first: Value = serde_json::from_str(&first.stdout)?;
            let kms = source_kms || destination_kms;
            let proof = if kms { json!({"checksum": 1, "size": 1}) } else { json!({"etag": 2}) };
            assert_eq!(first["sources"][0]["verified_by"], proof, "{case}");

            let second = runner.run().await?;
            assert_eq!(second.status.code(), Some(0), "{case}: {}", second.stderr);
            let second: Value = serde_json::from_str(&second.stdout)?;
            if kms {
                // MinIO computes no checksum of an upload of its own accord, as S3 does: what
                // was modified minutes before its copy stays in doubt.
                let in_doubt = json!({"in_doubt": {"objects": 1, "bytes": 6 * MIB}});
                assert_eq!(second["sources"][0]["copied_because"], in_doubt, "{case}");
                assert_eq!(second["sources"][0]["unchanged"]["objects"], 1, "{case}");
            } else {
                assert_eq!(second["sources"][0]["copied_because"], json!({}), "{case}");
                // Besides the listings, the lease alone.
                let requests = json!({"ListObjectsV2": 2, "GetObject": 1, "PutObject": 2});
                assert_eq!(second["requests"], requests, "{case}");
            }
            for key in ["single", "parts"] {
                let (encryption, bytes) = read(&client, &destination, key).await?;
                let expected =
                    if destination_kms { ServerSideEncryption::AwsKms } else { ServerSideEncryption::Aes256 };
                assert_eq!(encryption, Some(expected), "{case}");
                assert!(bytes == read(&client, &source, key).await?.1, "{case}: {key}");
            }
        }
    }
    Ok(())
}

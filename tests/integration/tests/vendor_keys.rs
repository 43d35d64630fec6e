//! A vendor that gave only an access key and a secret key, on MinIO with real users and
//! policies: one may only read the vendor's bucket, one may only write the customer's.

use anyhow::Result;
use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use integration_tests::{LocalRunner, Minio};
use serde_json::{Value, json};

const VENDOR: &str = "backup-my-environment-name";
const CUSTOMER: &str = "my-company-backups";

fn policy(bucket: &str, actions: &[&str]) -> Value {
    json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Action": actions,
            "Resource": [format!("arn:aws:s3:::{bucket}"), format!("arn:aws:s3:::{bucket}/*")]
        }]
    })
}

async fn put_dumps(client: &Client) -> Result<Vec<String>> {
    let mut keys = Vec::new();
    for night in 1..=20 {
        let key = format!("2026/11/{night:02} shop+é.sql");
        let put = client
            .put_object()
            .bucket(VENDOR)
            .key(&key)
            .tagging("kind=nightly")
            .metadata("night", night.to_string());
        put.content_type("application/sql").body(ByteStream::from(vec![night; 50_000])).send().await?;
        keys.push(key);
    }
    let key = "2026/11/all.sql.gz".to_owned();
    let upload = client.create_multipart_upload().bucket(VENDOR).key(&key).content_type("application/gzip");
    let upload = upload.send().await?;
    let id = upload.upload_id().unwrap_or_default();
    let mut parts = Vec::new();
    for (number, mib) in (1..).zip([10, 6, 9]) {
        let part = client.upload_part().bucket(VENDOR).key(&key).upload_id(id).part_number(number);
        let part = part.body(ByteStream::from(vec![number as u8; mib << 20])).send().await?;
        parts.push(CompletedPart::builder().part_number(number).set_e_tag(part.e_tag).build());
    }
    let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
    let complete = client.complete_multipart_upload().bucket(VENDOR).key(&key).upload_id(id);
    complete.multipart_upload(parts).send().await?;
    keys.push(key);
    Ok(keys)
}

async fn seen(client: &Client, bucket: &str, key: &str) -> Result<String> {
    let head = client.head_object().bucket(bucket).key(key).send().await?;
    let tags = client.get_object_tagging().bucket(bucket).key(key).send().await?;
    let (size, etag, kind) = (head.content_length(), head.e_tag(), head.content_type());
    Ok(format!("{size:?} {etag:?} {kind:?} {:?} {:?}", head.metadata(), tags.tag_set()))
}

#[tokio::test]
async fn backups_arrive_exact_with_two_users_that_share_no_right() -> Result<()> {
    let minio = Minio::start().await?;
    let root = minio.client();
    for bucket in [VENDOR, CUSTOMER] {
        root.create_bucket().bucket(bucket).send().await?;
    }
    let keys = put_dumps(&root).await?;
    let reads = ["s3:ListBucket", "s3:GetObject", "s3:GetObjectTagging"];
    let writes =
        ["s3:ListBucket", "s3:GetObject", "s3:PutObject", "s3:PutObjectTagging", "s3:AbortMultipartUpload"];
    minio.user("vendor-reader", "vendor-reader-secret", &policy(VENDOR, &reads)).await?;
    minio.user("customer-writer", "customer-writer-secret", &policy(CUSTOMER, &writes)).await?;

    let runner = LocalRunner::new(["replicate", "--quiet"])
        .env("DATABASE_BUCKET", VENDOR)
        .env("DESTINATION_BUCKET", CUSTOMER)
        .env("SOURCE_ENDPOINT_URL", minio.endpoint())
        .env("DESTINATION_ENDPOINT_URL", minio.endpoint())
        .env("AWS_ACCESS_KEY_ID", "customer-writer")
        .env("AWS_SECRET_ACCESS_KEY", "customer-writer-secret");
    let refused = runner.run().await?;
    assert_eq!(refused.status.code(), Some(1), "{}", refused.stderr);
    assert!(refused.stderr.contains("allow s3:ListBucket on arn:aws:s3:::backup-my-environment-name"));

    let runner = runner
        .env("SOURCE_ACCESS_KEY_ID", "vendor-reader")
        .env("SOURCE_SECRET_ACCESS_KEY", "vendor-reader-secret");
    let first = runner.run().await?;
    assert_eq!(first.status.code(), Some(0), "{}{}", first.stdout, first.stderr);
    assert!(first.stdout.contains("streamed"), "{}", first.stdout);
    for key in &keys {
        let copy = seen(&root, CUSTOMER, &format!("database/{key}")).await?;
        assert_eq!(copy, seen(&root, VENDOR, key).await?, "{key}");
    }
    let second = runner.run().await?;
    assert_eq!(second.status.code(), Some(0));
    assert!(second.stdout.contains("copied          0\n"), "{}", second.stdout);
    for secret in ["vendor-reader-secret", "customer-writer-secret"] {
        assert!(!format!("{}{}{}", first.stdout, first.stderr, refused.stderr).contains(secret));
    }
    Ok(())
}

//! On MinIO with real users and policies: each right that is missing is named, and the
//! statement that the run prints, added to the user's policy, makes the next run succeed.

use anyhow::{Context, Result, ensure};
use aws_sdk_s3::primitives::ByteStream;
use integration_tests::{LocalRunner, Minio};
use serde_json::{Value, json};

const VENDOR: &str = "backup-my-environment-name";
const CUSTOMER: &str = "my-company-backups";

/// What a run needs of each bucket.
const READS: &[&str] = &["s3:ListBucket", "s3:GetObject", "s3:GetObjectTagging"];
const WRITES: &[&str] = &["s3:ListBucket", "s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"];

fn statement(bucket: &str, actions: &[&str], but: &str) -> Value {
    let actions: Vec<_> = actions.iter().filter(|action| **action != but).collect();
    let resources = [format!("arn:aws:s3:::{bucket}"), format!("arn:aws:s3:::{bucket}/*")];
    json!({"Effect": "Allow", "Action": actions, "Resource": resources})
}

fn policy(statements: &[Value]) -> Value {
    json!({"Version": "2012-10-17", "Statement": statements})
}

/// The statement that a run printed, as a user's policy takes it.
fn offered(stderr: &str) -> Result<Value> {
    let (_, statement) = stderr.split_once("The statement to add:\n").context(stderr.to_owned())?;
    let mut statement: Value = serde_json::from_str(statement).context(stderr.to_owned())?;
    statement.as_object_mut().context("no object")?.remove("Principal");
    Ok(statement)
}

async fn minio() -> Result<Minio> {
    let minio = Minio::start().await?;
    let root = minio.client();
    for bucket in [VENDOR, CUSTOMER] {
        root.create_bucket().bucket(bucket).send().await?;
    }
    let put = root.put_object().bucket(VENDOR).key("2026-11-20.dump").tagging("kind=nightly");
    put.body(ByteStream::from_static(b"dump")).send().await?;
    Ok(minio)
}

fn runner(minio: &Minio, user: &str) -> LocalRunner {
    LocalRunner::new(["replicate", "--quiet"])
        .env("DATABASE_BUCKET", VENDOR)
        // Else a missing right to tags is gone around, and said.
        .env("TAGS", "copy")
        .env("DESTINATION_BUCKET", CUSTOMER)
        .env("SOURCE_ENDPOINT_URL", minio.endpoint())
        .env("DESTINATION_ENDPOINT_URL", minio.endpoint())
        .env("AWS_ACCESS_KEY_ID", user)
        .env("AWS_SECRET_ACCESS_KEY", format!("{user}-secret"))
}

/// A run is refused, names what is missing, and succeeds once that is added.
async fn assert_mended(
    minio: &Minio,
    runner: &LocalRunner,
    user: &str,
    has: &[Value],
    missing: (&str, &str),
) -> Result<()> {
    let (action, bucket) = missing;
    let refused = runner.run().await?;
    ensure!(refused.status.code() == Some(1), "{missing:?}: {}{}", refused.stdout, refused.stderr);
    let statement = offered(&refused.stderr)?;
    let on = if action == "s3:ListBucket" { "" } else { "/*" };
    let exactly =
        json!({"Effect": "Allow", "Action": [action], "Resource": [format!("arn:aws:s3:::{bucket}{on}")]});
    assert_eq!(statement, exactly, "{}", refused.stderr);
    let mut statements = has.to_vec();
    statements.push(statement);
    minio.set_policy(user, &policy(&statements)).await?;
    let mended = runner.run().await?;
    ensure!(mended.status.code() == Some(0), "{missing:?}: {}{}", mended.stdout, mended.stderr);
    Ok(())
}

#[tokio::test]
async fn server_side_each_missing_right_is_mended_by_the_statement_that_is_printed() -> Result<()> {
    // For the tags of what it copies by itself, MinIO asks for no right.
    let of_source = ["s3:ListBucket", "s3:GetObject"].map(|action| (action, VENDOR));
    let of_destination = ["s3:ListBucket", "s3:PutObject"].map(|action| (action, CUSTOMER));
    let minio = minio().await?;
    for (number, missing) in of_source.into_iter().chain(of_destination).enumerate() {
        let user = &format!("customer-{number}");
        let but = |bucket| if bucket == missing.1 { missing.0 } else { "" };
        let has = [statement(VENDOR, READS, but(VENDOR)), statement(CUSTOMER, WRITES, but(CUSTOMER))];
        minio.user(user, &format!("{user}-secret"), &policy(&has)).await?;
        // A destination of its own, so that there is something to copy.
        let runner = runner(&minio, user).env("DATABASE_PREFIX", format!("{user}/"));
        assert_mended(&minio, &runner, user, &has, missing).await?;
    }
    Ok(())
}

#[tokio::test]
async fn streaming_each_missing_right_is_mended_by_the_statement_that_is_printed() -> Result<()> {
    let of_source = READS.iter().map(|action| (*action, VENDOR));
    let of_destination = ["s3:ListBucket", "s3:PutObject"].map(|action| (action, CUSTOMER));
    let minio = minio().await?;
    for (number, missing) in of_source.chain(of_destination).enumerate() {
        let (own, vendor) = (&format!("customer-{number}"), &format!("vendor-{number}"));
        let but = |bucket| if bucket == missing.1 { missing.0 } else { "" };
        let reads = [statement(VENDOR, READS, but(VENDOR))];
        let writes = [statement(CUSTOMER, WRITES, but(CUSTOMER))];
        minio.user(vendor, &format!("{vendor}-secret"), &policy(&reads)).await?;
        minio.user(own, &format!("{own}-secret"), &policy(&writes)).await?;
        let runner = runner(&minio, own)
            .env("DATABASE_PREFIX", format!("{own}/"))
            .env("TRANSFER", "stream")
            .env("SOURCE_ACCESS_KEY_ID", vendor)
            .env("SOURCE_SECRET_ACCESS_KEY", format!("{vendor}-secret"));
        let (user, has) = if missing.1 == VENDOR { (vendor, &reads) } else { (own, &writes) };
        assert_mended(&minio, &runner, user, has, missing).await?;
    }
    Ok(())
}

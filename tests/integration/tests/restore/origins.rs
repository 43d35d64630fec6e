//! Where a dump comes from (the vendor's bucket, an old version), and through which client.

use std::os::unix::fs::symlink;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use aws_sdk_s3::primitives::ByteStream;
use integration_tests::{LocalRunner, MariaDb, Minio, PASSWORD, PostgreSql};
use s3_sim::{Object, Versioning};
use serde_json::json;

use crate::packing::Packing;
use crate::world::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_comes_straight_from_the_vendors_bucket_with_the_vendors_keys() -> Result<()> {
    let server = MariaDb::shared().await?;
    fill_mariadb(&server, "direct")?;
    server.sql("", "CREATE DATABASE directly CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci")?;
    let minio = Minio::start().await?;
    let root = minio.client();
    root.create_bucket().bucket(VENDOR).send().await?;
    let dump = Packing::Gzip.pack(&server.dump(&["--routines", "--events", "direct"])?)?;
    for (key, body) in
        [("2026/11/19/app.sql.gz", Vec::from("no dump, and older")), ("2026/11/20/app.sql.gz", dump)]
    {
        root.put_object().bucket(VENDOR).key(key).body(ByteStream::from(body)).send().await?;
    }
    let policy = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Action": ["s3:ListBucket", "s3:GetObject"],
        "Resource": [format!("arn:aws:s3:::{VENDOR}"), format!("arn:aws:s3:::{VENDOR}/*")],
    }]});
    minio.user("from-the-vendor", "vendor-secret", &policy).await?;
    let port = server.port().to_string();
    // No credentials of the customer's, and no bucket of the customer's either.
    let restore = |args: &[&str], secret: &str| {
        let login = ["restore", "--at", "vendor", "--host", "127.0.0.1", "--port", &port, "--user", "admin"];
        LocalRunner::new([&login, args].concat()).envs([
            ("DATABASE_BUCKET", VENDOR.to_owned()),
            ("SOURCE_ENDPOINT_URL", minio.endpoint()),
            ("SOURCE_REGION", "us-east-1".to_owned()),
            ("SOURCE_ACCESS_KEY_ID", "from-the-vendor".to_owned()),
            ("SOURCE_SECRET_ACCESS_KEY", secret.to_owned()),
            ("RESTORE_PASSWORD", PASSWORD.to_owned()),
            ("PATH", std::env::var("PATH").unwrap_or_default()),
        ])
    };
    let run = restore(&["--database", "directly"], "vendor-secret").run().await?;
    succeeded(&run)?;
    assert!(run.stdout.contains(&format!("Restored: s3://{VENDOR}/2026/11/20/app.sql.gz")), "{run:?}");
    assert_eq!(seen_mariadb(&server, "directly")?, seen_mariadb(&server, "direct")?);
    succeeded(&restore(&["--drill", "--key", "2026/11/20/app.sql.gz"], "vendor-secret").run().await?)?;

    let run = restore(&["--drill"], "wr0ng-secret").run().await?;
    assert_failed(&run, &["cannot list the source", "the vendor's keys are wrong"]);
    assert!(!run.stderr.contains("wr0ng-secret"), "{}", run.stderr);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_that_was_overwritten_comes_back_as_of_a_time() -> Result<()> {
    let server = PostgreSql::shared().await?;
    let world = World::new().await?;
    let state = world.sim.state();
    state.set_versioning(CUSTOMER, Versioning::Enabled);
    let day = |day: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(1_762_000_000 + day * 86_400);
    for (table, written) in [("good", 1), ("broken", 3)] {
        let dump = format!("CREATE TABLE {table} (a int);\n");
        state.put(CUSTOMER, "database/app.sql", Object::bytes(dump).with_last_modified(day(written)));
    }
    let as_of = "2025-11-03T12:00:00Z";
    for (database, args) in [("as_of", &[][..]), ("as_of_by_key", &["--key", "database/app.sql"])] {
        server.sql("postgres", &format!("CREATE DATABASE {database}"))?;
        let common = ["--database", database, "--engine", "postgresql", "--as-of", as_of];
        succeeded(&world.restore(&*server, &[&common, args].concat()).run().await?)?;
        assert_eq!(
            server.sql(database, "SELECT relname FROM pg_class WHERE relname IN ('good', 'broken')")?,
            "good\n"
        );
    }
    let args =
        ["--drill", "--engine", "postgresql", "--as-of", "2025-10-01T00:00:00Z", "--key", "database/app.sql"];
    assert_failed(
        &world.restore(&*server, &args).run().await?,
        &["database/app.sql was not there at 2025-10-01"],
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_is_found_by_its_older_name_mysql() -> Result<()> {
    let server = MariaDb::shared().await?;
    let path = std::env::var_os("PATH").context("no PATH")?;
    let client =
        std::env::split_paths(&path).map(|folder| folder.join("mariadb")).find(|file| file.is_file());
    let folder = tempfile::tempdir()?;
    symlink(client.context("no mariadb")?, folder.path().join("mysql"))?;
    let world = World::with("database/a.sql", "CREATE TABLE t (a INT);\nSELECT FAIL;\n").await?;
    let runner = world.restore(&*server, &["--drill", "--engine", "mysql"]);
    let run = runner.env("PATH", folder.path().to_string_lossy()).run().await?;
    assert_failed(&run, &["mysql failed", "Unknown column 'FAIL'", "the scratch database was dropped"]);
    world.put("database/a.sql", "CREATE TABLE t (a INT);\n");
    let runner = world.restore(&*server, &["--drill", "--engine", "mysql"]);
    let run = runner.env("PATH", folder.path().to_string_lossy()).run().await?;
    succeeded(&run)?;
    assert!(run.stdout.contains("Drill passed") && run.stdout.contains("1 table"), "{}", run.stdout);
    Ok(())
}

//! What goes wrong in a restore ends as a failure that says what state the database is in.

use std::time::Duration;

use anyhow::{Context, Result};
use integration_tests::{MariaDb, PASSWORD, PostgreSql, Running, eventually};
use rustix::process::Signal;
use s3_sim::{Fault, FaultKind};

use crate::packing::Packing;
use crate::world::*;

const NOT_COMMITTED: &str = "the database is as it was before";

/// Statements enough for several requests, that do not pack away.
fn large_dump() -> String {
    let mut dump = String::from("CREATE TABLE t (id int, body text);\n");
    let mut random: u64 = 1;
    for id in 0..12_000 {
        let mut body = String::with_capacity(1600);
        while body.len() < 1600 {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            body.push_str(&format!("{:016x}", random ^ (random >> 31)));
        }
        dump.push_str(&format!("INSERT INTO t VALUES ({id}, '{body}');\n"));
    }
    dump
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_cut_is_taken_up_again() -> Result<()> {
    let server = PostgreSql::shared().await?;
    server.sql("postgres", "CREATE DATABASE cut")?;
    let world = World::with("database/a.sql", large_dump()).await?;
    for request in [1, 3, 4] {
        world.sim.add_fault(Fault::kth("GetObject", request, FaultKind::CutBody));
    }
    let args = ["--database", "cut", "--engine", "postgres"];
    succeeded(&world.restore(&*server, &args).run().await?)?;
    assert_eq!(server.sql("cut", "SELECT count(*), max(id) FROM t")?, "12000\t11999\n");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_cannot_be_read_to_its_end_changes_no_postgresql_database() -> Result<()> {
    let server = PostgreSql::shared().await?;
    server.sql("postgres", "CREATE DATABASE unread")?;
    let world = World::with("database/a.sql", large_dump()).await?;
    let denied = FaultKind::Error { status: 403, code: "AccessDenied" };
    world.sim.add_fault(Fault::kth("GetObject", 3, denied));
    let args = ["--database", "unread", "--engine", "postgres"];
    let run = world.restore(&*server, &args).run().await?;
    assert_failed(&run, &["database/a.sql", NOT_COMMITTED, "AccessDenied", "allow s3:GetObject"]);
    assert!(server.sql("unread", "SELECT 1 FROM t").is_err(), "the table is there");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_archive_is_a_failure_in_every_packing() -> Result<()> {
    let server = PostgreSql::shared().await?;
    server.sql("postgres", "CREATE DATABASE damaged")?;
    let dump = large_dump();
    for packing in Packing::ALL.into_iter().filter(|packing| *packing != Packing::None) {
        let whole = packing.pack(dump.as_bytes())?;
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 1;
        for (what, damaged) in [("cut", whole[..whole.len() / 2].to_vec()), ("flipped", flipped)] {
            let world = World::with("database/a.bin", damaged).await?;
            let args = ["--key", "database/a.bin", "--database", "damaged", "--engine", "postgres"];
            let run = world.restore(&*server, &args).run().await?;
            assert_failed(&run, &["cannot restore s3://my-company-backups/database/a.bin"]);
            assert!(run.stderr.contains("unpacked") || run.stderr.contains("psql"), "{}", run.stderr);
            let state = server.sql("damaged", "SELECT count(*) FROM pg_class WHERE relname = 't'")?;
            assert_eq!(state, "0\n", "{packing:?} {what}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_cut_short_at_the_vendor_is_no_restore() -> Result<()> {
    let mariadb = MariaDb::shared().await?;
    let postgresql = PostgreSql::shared().await?;
    fill_mariadb(&mariadb, "whole")?;
    mariadb.sql("", "CREATE DATABASE halves")?;
    fill_postgresql(&postgresql, "whole")?;
    postgresql.sql("postgres", "CREATE DATABASE halves")?;
    let cut = |dump: Vec<u8>, mark: &[u8]| -> Result<Vec<u8>> {
        let place = dump.windows(mark.len()).position(|bytes| bytes == mark).context("no mark")?;
        Ok(dump[..place].to_vec())
    };
    // After whole statements: no client sees anything wrong. PostgreSQL's is cut behind its large
    // objects, which a dump puts into a transaction of their own.
    let world =
        World::with("database/m.sql", cut(mariadb.dump(&["whole"])?, b"\n-- Dumping events")?).await?;
    let plain = postgresql.dump(&["--dbname=whole"])?;
    world.put("database/p.sql", cut(plain, b"--\n-- Name: posts posts_pkey; Type: CONSTRAINT")?);
    let archive = postgresql.dump(&["--format=custom", "--dbname=whole"])?;
    world.put("database/p.dump", archive[..archive.len() - archive.len() / 4].to_vec());

    let run = world.restore(&*mariadb, &["--key", "database/m.sql", "--database", "halves"]).run().await?;
    assert_failed(&run, &["-- Dump completed", "cut short", "`halves` holds what came before the error"]);
    for key in ["database/p.sql", "database/p.dump"] {
        let run = world.restore(&*postgresql, &["--key", key, "--database", "halves"]).run().await?;
        assert_failed(&run, &[key, NOT_COMMITTED]);
        assert!(postgresql.sql("halves", "SELECT 1 FROM posts").is_err(), "{key}");
    }
    let run = world.restore(&*mariadb, &["--key", "database/m.sql", "--drill"]).run().await?;
    assert_failed(&run, &["the drill of", "the scratch database was dropped", "cut short"]);
    assert_eq!(mariadb.scratches()?, "");
    Ok(())
}

/// Waits until a session of the server sleeps, as the dump told it.
async fn asleep(server: &impl Login, sql: &str, run: &mut Running) -> Result<()> {
    let sleeps = async |_: &Running| server.sql("", sql).is_ok_and(|answer| answer.starts_with('1'));
    run.until("asleep", Duration::from_secs(30), sleeps).await
}

const MARIADB_SLEEPS: &str =
    "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'SELECT SLEEP(%' AND user = 'admin'";
const POSTGRESQL_SLEEPS: &str = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(%'";
const MARIADB_SLEEP: &str =
    "-- MariaDB dump 10\nCREATE TABLE t (a INT);\nSELECT SLEEP(600);\n-- Dump completed\n";
const POSTGRESQL_SLEEP: &str = "-- PostgreSQL database dump\nCREATE TABLE t (a INT);\nSELECT pg_sleep(600);\n-- PostgreSQL database dump complete\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_goes_away_is_named_and_no_password_is_in_sight() -> Result<()> {
    let mariadb = MariaDb::start_with(&[]).await?;
    mariadb.sql("", "CREATE DATABASE gone")?;
    let world = World::with("database/a.sql", MARIADB_SLEEP).await?;
    let mut run = world.restore(&mariadb, &["--database", "gone"]).spawn()?;
    asleep(&mariadb, MARIADB_SLEEPS, &mut run).await?;
    assert_eq!(arguments_with(PASSWORD)?, Vec::<String>::new(), "in the process list");
    assert!(!arguments_with("--defaults-file=")?.is_empty(), "the client was looked at");
    mariadb.kill()?;
    let run = run.wait(Duration::from_secs(30)).await?;
    assert_failed(&run, &["the server went away", "`gone` holds what came before the error"]);

    let postgresql = PostgreSql::start().await?;
    postgresql.sql("postgres", "CREATE DATABASE gone")?;
    world.put("database/a.sql", POSTGRESQL_SLEEP);
    let mut run = world.restore(&postgresql, &["--database", "gone"]).spawn()?;
    asleep(&postgresql, POSTGRESQL_SLEEPS, &mut run).await?;
    assert_eq!(arguments_with(PASSWORD)?, Vec::<String>::new(), "in the process list");
    postgresql.kill()?;
    let run = run.wait(Duration::from_secs(30)).await?;
    assert_failed(&run, &["the server went away", NOT_COMMITTED]);
    Ok(())
}

/// The command lines of this machine's processes that hold `text`.
fn arguments_with(text: &str) -> Result<Vec<String>> {
    let processes = std::fs::read_dir("/proc")?.flatten();
    let lines = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).into_owned());
    Ok(lines.filter(|line| line.contains(text)).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_that_is_stopped_drops_its_database() -> Result<()> {
    let mariadb = MariaDb::shared().await?;
    let postgresql = PostgreSql::shared().await?;
    let world = World::with("database/a.sql", MARIADB_SLEEP).await?;
    let mut run = world.restore(&*mariadb, &["--drill"]).spawn()?;
    asleep(&*mariadb, MARIADB_SLEEPS, &mut run).await?;
    run.signal(Signal::TERM)?;
    assert_failed(
        &run.wait(Duration::from_secs(30)).await?,
        &["stopped", "the scratch database was dropped"],
    );
    assert_eq!(mariadb.scratches()?, "");

    world.put("database/a.sql", POSTGRESQL_SLEEP);
    let mut run = world.restore(&*postgresql, &["--drill"]).spawn()?;
    asleep(&*postgresql, POSTGRESQL_SLEEPS, &mut run).await?;
    run.signal(Signal::TERM)?;
    assert_failed(
        &run.wait(Duration::from_secs(30)).await?,
        &["stopped", "the scratch database was dropped"],
    );
    assert_eq!(postgresql.scratches()?, "");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_is_killed_leaves_no_half_of_a_postgresql_dump() -> Result<()> {
    let server = PostgreSql::shared().await?;
    server.sql("postgres", "CREATE DATABASE killed")?;
    // More than pipes hold: what comes last is not read yet.
    let dump = POSTGRESQL_SLEEP.replace("(600);\n", &format!("(1);\n{}", "-- and so on\n".repeat(100_000)));
    let world = World::with("database/a.sql", dump).await?;
    let mut run = world.restore(&*server, &["--database", "killed"]).spawn()?;
    asleep(&*server, POSTGRESQL_SLEEPS, &mut run).await?;
    drop(run);
    let over = || server.sql("", POSTGRESQL_SLEEPS).is_ok_and(|answer| answer.starts_with('0'));
    assert!(eventually(over).await, "the session goes on");
    assert!(server.sql("killed", "SELECT 1 FROM t").is_err(), "what psql had was committed");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_named_and_not_shown() -> Result<()> {
    let mariadb = MariaDb::shared().await?;
    let postgresql = PostgreSql::shared().await?;
    let world = World::with("database/a.sql", "SELECT 1;\n").await?;
    let args = |engine| ["--database", "x", "--engine", engine];
    for runner in
        [world.restore(&*mariadb, &args("mariadb")), world.restore(&*postgresql, &args("postgresql"))]
    {
        let run = runner.env("RESTORE_PASSWORD", "wr0ng-secret").run().await?;
        assert_failed(&run, &["nothing was changed", "RESTORE_PASSWORD or --password-file"]);
        assert!(!run.stderr.contains("wr0ng-secret"), "{}", run.stderr);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_space_is_named() -> Result<()> {
    let limits = ["--innodb-file-per-table=0", "--innodb-data-file-path=ibdata1:12M:autoextend:max:16M"];
    let server = MariaDb::start_with(&limits).await?;
    server.sql("", "CREATE DATABASE small")?;
    let world = World::with("database/a.sql", large_dump()).await?;
    let args = ["--database", "small", "--engine", "mariadb"];
    let run = world.restore(&server, &args).run().await?;
    assert_failed(&run, &["is full", "no space left", "`small` holds what came before the error"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_missing_is_named_with_its_package() -> Result<()> {
    let server = MariaDb::shared().await?;
    let world = World::with("database/a.sql", "SELECT 1;\n").await?;
    for (engine, package) in [("mariadb", "mariadb-client"), ("postgresql", "postgresql-client")] {
        let runner = world.restore(&*server, &["--drill", "--engine", engine]).env("PATH", "/nowhere");
        assert_failed(&runner.run().await?, &["install", package]);
    }
    Ok(())
}

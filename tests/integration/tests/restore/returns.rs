//! What was dumped comes back: every packing, both servers.

use std::io::Write;

use anyhow::{Context, Result};
use integration_tests::{MariaDb, PostgreSql};
use s3_sim::Object;

use crate::packing::{Packing, zip};
use crate::world::*;

/// Replicates dumps in every packing; answers their keys at the destination. The names tell
/// nothing of what is in them.
async fn replicated(world: &World, dumps: &[(Packing, &[u8])]) -> Result<Vec<String>> {
    let mut keys = Vec::new();
    for (number, (packing, dump)) in dumps.iter().enumerate() {
        let key = format!("2026/11/20/dump {number} é+.bin");
        world.sim.state().put(VENDOR, &key, Object::bytes(packing.pack(dump)?));
        keys.push(format!("database/{key}"));
    }
    succeeded(&world.runner(&["replicate", "--quiet"]).run().await?)?;
    Ok(keys)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mariadb_dump_comes_back_exactly_from_every_packing() -> Result<()> {
    let server = MariaDb::shared().await?;
    fill_mariadb(&server, "returns")?;
    let before = seen_mariadb(&server, "returns")?;
    // Binary as it is, so that the way has to keep every byte.
    let dump = server.dump(&["returns"])?;
    let world = World::new().await?;
    let dumps = Packing::ALL.map(|packing| (packing, dump.as_slice()));
    for (number, key) in replicated(&world, &dumps).await?.iter().enumerate() {
        let database = format!("returned{number}");
        server.sql(
            "",
            &format!("CREATE DATABASE {database} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci"),
        )?;
        let run = world.restore(&*server, &["--key", key, "--database", &database]).run().await?;
        succeeded(&run)?;
        assert_eq!(seen_mariadb(&server, &database)?, before, "{:?}", Packing::ALL[number]);
        assert!(run.stdout.contains("4 tables, 1 view, 2 routines, 1 trigger, 1 event"), "{}", run.stdout);
        assert!(run.stdout.contains("its last line is there"), "{}", run.stdout);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgresql_dump_comes_back_exactly_from_every_packing() -> Result<()> {
    let server = PostgreSql::shared().await?;
    fill_postgresql(&server, "returns")?;
    let before = seen_postgresql(&server, "returns")?;
    let plain = server.dump(&["--dbname=returns"])?;
    let custom = server.dump(&["--format=custom", "--dbname=returns"])?;
    let flat = server.dump(&["--format=custom", "--compress=0", "--dbname=returns"])?;
    let world = World::new().await?;
    let mut dumps: Vec<(Packing, &[u8])> = Packing::ALL.map(|packing| (packing, plain.as_slice())).to_vec();
    dumps.extend([
        (Packing::None, custom.as_slice()),
        (Packing::Zstd, flat.as_slice()),
        (Packing::Zip, &custom),
    ]);
    for (number, key) in replicated(&world, &dumps).await?.iter().enumerate() {
        let database = format!("returned{number}");
        server.sql("postgres", &format!("CREATE DATABASE {database} TEMPLATE template0"))?;
        let run = world.restore(&*server, &["--key", key, "--database", &database]).run().await?;
        succeeded(&run)?;
        assert_eq!(seen_postgresql(&server, &database)?, before, "{number}: {:?}", dumps[number].0);
        assert!(run.stdout.contains("5 tables, 2 views, 2 routines, 1 trigger"), "{}", run.stdout);
        assert!(run.stdout.contains("its last line is there"), "{}", run.stdout);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_counts_and_leaves_nothing_not_even_where_the_dump_names_its_database() -> Result<()> {
    let server = MariaDb::shared().await?;
    fill_mariadb(&server, "drilled")?;
    let dump = server.dump(&["--add-drop-database", "--databases", "drilled"])?;
    server.sql("drilled", "INSERT INTO old VALUES ('written since')")?;
    let before = seen_mariadb(&server, "drilled")?;
    let world = World::with("database/2026-11-19/app.sql", "no dump, and older").await?;
    world.put("database/2026-11-20/app.sql.gz", Packing::Gzip.pack(&dump)?);
    let run = world.restore(&*server, &["--drill"]).run().await?;
    succeeded(&run)?;
    for part in
        ["Drill passed", "2026-11-20/app.sql.gz", "a dump of `drilled`", "4 tables", "510 rows", "504  posts"]
    {
        assert!(run.stdout.contains(part), "{part:?} is not in:\n{}", run.stdout);
    }
    assert_eq!(server.scratches()?, "");
    assert_eq!(seen_mariadb(&server, "drilled")?, before, "what the dump was made of is as it was");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgresql_drill_counts_and_leaves_nothing() -> Result<()> {
    let server = PostgreSql::shared().await?;
    fill_postgresql(&server, "drilled")?;
    let world =
        World::with("database/2026/11/20/app.dump", server.dump(&["-Fc", "--dbname=drilled"])?).await?;
    let run = world.restore(&*server, &["--drill"]).run().await?;
    succeeded(&run)?;
    for part in ["Drill passed", "5 tables", "529 rows", "505  posts", "shop.odd \"name", "20  parts_2026"] {
        assert!(run.stdout.contains(part), "{part:?} is not in:\n{}", run.stdout);
    }
    assert_eq!(server.scratches()?, "");

    world.put("database/2026/11/21/app.sql", server.dump(&["--create", "--dbname=drilled"])?);
    let run = world.restore(&*server, &["--drill"]).run().await?;
    assert_failed(&run, &["2026/11/21/app.sql failed", "the scratch database was dropped"]);
    assert_eq!(server.scratches()?, "");

    // psql takes a service's database rather than the one it is told.
    let mut service = tempfile::NamedTempFile::new()?;
    service.write_all(b"[production]\ndbname=drilled\n")?;
    let clean = server.dump(&["--clean", "--if-exists", "--dbname=drilled"])?;
    world.put("database/2026/11/22/app.sql", clean);
    server.sql("drilled", "DELETE FROM log")?;
    let run = world.restore(&*server, &["--drill"]).env("PGSERVICE", "production");
    let run = run.env("PGSERVICEFILE", service.path().to_str().context("UTF-8")?).run().await?;
    assert_failed(
        &run,
        &["connects to the database `drilled`", "PGSERVICE", "the scratch database was dropped"],
    );
    assert_eq!(server.sql("drilled", "SELECT count(*) FROM log")?.trim(), "0", "it was restored");
    assert_eq!(server.scratches()?, "");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_not_empty_is_left_alone_unless_told() -> Result<()> {
    let mariadb = MariaDb::shared().await?;
    let postgresql = PostgreSql::shared().await?;
    mariadb.sql("", "CREATE DATABASE full; CREATE FUNCTION full.f() RETURNS INT RETURN 1")?;
    postgresql.sql("postgres", "CREATE DATABASE filled")?;
    postgresql.sql("filled", "CREATE VIEW v AS SELECT 1")?;
    let world = World::with("database/a.sql", "CREATE TABLE restored (a int);\n").await?;
    let args = |database, engine| ["--key", "database/a.sql", "--database", database, "--engine", engine];
    let into = [
        world.restore(&*mariadb, &args("full", "mysql")),
        world.restore(&*postgresql, &args("filled", "postgres")),
    ];
    for (runner, holds) in into.iter().zip(["0 tables, 1 routine", "0 tables, 1 view"]) {
        let refused = runner.run().await?;
        assert_failed(&refused, &["is not empty", holds, "nothing was changed", "--into-non-empty"]);
    }
    assert!(mariadb.sql("full", "SELECT * FROM restored").is_err());
    let told = |database, engine| [&args(database, engine)[..], &["--into-non-empty"]].concat();
    succeeded(&world.restore(&*mariadb, &told("full", "mysql")).run().await?)?;
    succeeded(&world.restore(&*postgresql, &told("filled", "postgres")).run().await?)?;
    mariadb.sql("full", "SELECT * FROM restored")?;
    postgresql.sql("filled", "SELECT * FROM restored")?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_several_files_in_an_archive_is_chosen_by_name() -> Result<()> {
    let server = PostgreSql::shared().await?;
    server.sql("postgres", "CREATE DATABASE entries")?;
    let files: [(&str, &[u8]); 2] = [("a.sql", b"CREATE TABLE a ();"), ("b.sql", b"CREATE TABLE b ();")];
    let world = World::with("database/two.zip", zip(&files)?).await?;
    let args = ["--database", "entries", "--engine", "postgresql"];
    assert_failed(&world.restore(&*server, &args).run().await?, &["`a.sql`, `b.sql`", "--entry"]);
    let none = world.restore(&*server, &[&args[..], &["--entry", "c.sql"]].concat()).run().await?;
    assert_failed(&none, &["no file `c.sql`", "`a.sql`, `b.sql`"]);
    succeeded(&world.restore(&*server, &[&args[..], &["--entry", "b.sql"]].concat()).run().await?)?;
    assert_eq!(server.sql("entries", "SELECT relname FROM pg_class WHERE relname IN ('a', 'b')")?, "b\n");
    Ok(())
}

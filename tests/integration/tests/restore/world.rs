//! A vendor's bucket of dumps, a customer's bucket, and the servers that dumps come from and
//! go to.

use anyhow::{Result, ensure};
use integration_tests::{Finished, LocalRunner, MariaDb, PASSWORD, PostgreSql};
use s3_sim::{Config, Object, Sim};

pub(crate) const VENDOR: &str = "backup-my-environment-name";
pub(crate) const CUSTOMER: &str = "my-company-backups";

pub(crate) struct World {
    pub(crate) sim: Sim,
}

impl World {
    pub(crate) async fn new() -> Result<World> {
        let sim = Sim::start(Config::default()).await?;
        for bucket in [VENDOR, CUSTOMER] {
            sim.state().create_bucket(bucket);
        }
        Ok(World { sim })
    }

    /// A dump as the customer's bucket has it.
    pub(crate) async fn with(key: &str, dump: impl Into<Vec<u8>>) -> Result<World> {
        let world = World::new().await?;
        world.put(key, dump);
        Ok(world)
    }

    pub(crate) fn put(&self, key: &str, dump: impl Into<Vec<u8>>) {
        self.sim.state().put(CUSTOMER, key, Object::bytes(dump.into()));
    }

    /// `local-runner` with access to the buckets, and the clients in its path.
    pub(crate) fn runner(&self, args: &[&str]) -> LocalRunner {
        LocalRunner::new(args.iter().copied()).envs([
            ("AWS_ACCESS_KEY_ID", "sim-access-key".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "sim-secret-key".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ENDPOINT_URL", self.sim.endpoint()),
            ("DATABASE_BUCKET", VENDOR.to_owned()),
            ("DESTINATION_BUCKET", CUSTOMER.to_owned()),
            ("PATH", std::env::var("PATH").unwrap_or_default()),
        ])
    }

    pub(crate) fn restore(&self, server: &impl Login, args: &[&str]) -> LocalRunner {
        let port = server.port().to_string();
        let login = ["restore", "--host", "127.0.0.1", "--port", &port, "--user", "admin"];
        self.runner(&[&login, args].concat()).env("RESTORE_PASSWORD", PASSWORD)
    }
}

pub(crate) trait Login {
    fn port(&self) -> u16;
    fn sql(&self, database: &str, statements: &str) -> Result<String>;

    /// Databases that a drill left.
    fn scratches(&self) -> Result<String>;
}

impl Login for MariaDb {
    fn port(&self) -> u16 {
        self.port()
    }

    fn sql(&self, database: &str, statements: &str) -> Result<String> {
        self.sql(database, statements)
    }

    fn scratches(&self) -> Result<String> {
        self.sql("", r"SHOW DATABASES LIKE 'replicator\_drill%'")
    }
}

impl Login for PostgreSql {
    fn port(&self) -> u16 {
        self.port()
    }

    fn sql(&self, database: &str, statements: &str) -> Result<String> {
        self.sql(database, statements)
    }

    fn scratches(&self) -> Result<String> {
        self.sql("postgres", "SELECT datname FROM pg_database WHERE datname LIKE 'replicator_drill%'")
    }
}

pub(crate) fn succeeded(run: &Finished) -> Result<()> {
    ensure!(run.status.code() == Some(0), "{}\n{}\n{}", run.status, run.stdout, run.stderr);
    Ok(())
}

/// Fails unless the command failed and its error says all of `parts`.
#[track_caller]
pub(crate) fn assert_failed(run: &Finished, parts: &[&str]) {
    assert_eq!(run.status.code(), Some(1), "{}\n{}", run.stdout, run.stderr);
    for part in parts {
        assert!(run.stderr.contains(part), "{part:?} is not in:\n{}", run.stderr);
    }
    assert!(!format!("{}{}", run.stdout, run.stderr).contains(PASSWORD), "the password is shown");
}

/// Everything that a MariaDB dump has to carry.
pub(crate) fn fill_mariadb(server: &MariaDb, database: &str) -> Result<()> {
    server
        .sql("", &format!("CREATE DATABASE {database} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci"))?;
    server.sql(
        database,
        r#"
        CREATE TABLE posts (id INT PRIMARY KEY AUTO_INCREMENT, title VARCHAR(200) NOT NULL, body MEDIUMBLOB,
          made DATETIME(6) NULL, price DECIMAL(20, 6), likes DOUBLE, tags SET('a', 'b'), about JSON);
        CREATE TABLE log (post INT NOT NULL, what TEXT, FOREIGN KEY (post) REFERENCES posts (id) ON DELETE CASCADE);
        CREATE TABLE `odd ``name` (`a ``column` INT, UNIQUE (`a ``column`));
        CREATE TABLE old (a VARCHAR(20)) ENGINE=MyISAM CHARACTER SET latin1;
        INSERT INTO posts (title, body, made, price, likes, tags, about)
          SELECT CONCAT('été 😀🗄️ 日本 𝒳 ', seq, ' \\ '' " \r\n\t'),
            CONCAT(CHAR(0), UNHEX(SHA2(seq, 512)), UNHEX('000A0D1A225C27FF')),
            '2026-11-20 03:00:00.123456', seq / 7, SQRT(seq), 'a,b', JSON_OBJECT('😀', seq) FROM seq_1_to_500;
        INSERT INTO posts (title) VALUES ('-- Dump completed'), ('USE `mysql`;'), ('');
        INSERT INTO `odd ``name` VALUES (NULL), (-1), (2147483647);
        INSERT INTO old VALUES ('d\'été'), (NULL);
        CREATE VIEW titles AS SELECT id, UPPER(title) AS title FROM posts WHERE id > (SELECT MIN(post) FROM log);
        DELIMITER //
        CREATE FUNCTION twice(n INT) RETURNS INT DETERMINISTIC
        BEGIN
          /* a comment with
        use the index;
          in it */
          RETURN n * 2;
        END //
        CREATE PROCEDURE post_count(OUT n INT) BEGIN SELECT COUNT(*) INTO n FROM posts; END //
        CREATE TRIGGER post_logged AFTER INSERT ON posts FOR EACH ROW
          BEGIN INSERT INTO log VALUES (NEW.id, CONCAT('😀 ', NEW.title)); END //
        CREATE EVENT nightly ON SCHEDULE EVERY 1 DAY STARTS '2036-01-01 03:00:00' DO DELETE FROM log WHERE post < 0 //
        DELIMITER ;
        INSERT INTO posts (title) VALUES ('logged');
        "#,
    )?;
    Ok(())
}

/// What a database holds, so that two of them can be compared: the rows of every table by
/// checksum, and every definition as its own dump writes it.
pub(crate) fn seen_mariadb(server: &MariaDb, database: &str) -> Result<(String, String)> {
    let sums = "CHECKSUM TABLE posts, log, `odd ``name`, old EXTENDED; SELECT COUNT(*) FROM titles; SELECT twice(21);";
    let sums = server.sql(database, sums)?.replace(&format!("{database}."), "");
    let dump = server.dump(&["--skip-comments", "--hex-blob", "--skip-dump-date", database])?;
    Ok((sums, String::from_utf8(dump)?))
}

/// Everything that a PostgreSQL dump has to carry.
pub(crate) fn fill_postgresql(server: &PostgreSql, database: &str) -> Result<()> {
    server.sql("postgres", &format!("CREATE DATABASE {database} TEMPLATE template0"))?;
    server.sql(
        database,
        r#"
        CREATE SCHEMA shop;
        CREATE TYPE shop.state AS ENUM ('new', 'payé 😀');
        CREATE TABLE posts (id serial PRIMARY KEY, title text NOT NULL, body bytea, made timestamptz,
          price numeric(20, 6), likes float8, about jsonb, tags text[]);
        CREATE TABLE log (post int NOT NULL REFERENCES posts (id) ON DELETE CASCADE, what text);
        CREATE TABLE shop."odd ""name" ("a \ column" int UNIQUE, state shop.state DEFAULT 'payé 😀');
        CREATE TABLE parts (id int, day date NOT NULL) PARTITION BY RANGE (day);
        CREATE TABLE parts_2026 PARTITION OF parts FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
        INSERT INTO posts (title, body, made, price, likes, about, tags)
          SELECT 'été 😀🗄️ 日本 𝒳 ' || n || E' \\ '' " \r\n\t', '\x00'::bytea || sha512(n::text::bytea) || '\x000a0d1a5c27ff',
            '2026-11-20 03:00:00.123456+02', n / 7.0, sqrt(n), jsonb_build_object('😀', n), ARRAY['a', NULL, E'\\.']
          FROM generate_series(1, 500) n;
        INSERT INTO posts (title) VALUES ('-- PostgreSQL database dump complete'), (E'\\connect postgres'), (E'\\.'), ('');
        INSERT INTO shop."odd ""name" VALUES (NULL, DEFAULT), (-1, NULL), (2147483647, 'new');
        INSERT INTO parts SELECT n, '2026-02-03' FROM generate_series(1, 20) n;
        CREATE VIEW titles AS SELECT id, upper(title) AS title FROM posts WHERE id > 3;
        CREATE MATERIALIZED VIEW counts AS SELECT count(*) AS n FROM posts;
        CREATE FUNCTION twice(n int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $body$
        BEGIN
          /* COMMIT; */ RETURN n * 2;
        END $body$;
        CREATE FUNCTION logged() RETURNS trigger LANGUAGE plpgsql AS
          $$ BEGIN INSERT INTO log VALUES (NEW.id, '😀 ' || NEW.title); RETURN NEW; END $$;
        CREATE TRIGGER post_logged AFTER INSERT ON posts FOR EACH ROW EXECUTE FUNCTION logged();
        INSERT INTO posts (title) VALUES ('logged');
        REFRESH MATERIALIZED VIEW counts;
        SELECT lo_from_bytea(4711, '\x00ff00ff');
        "#,
    )?;
    Ok(())
}

pub(crate) fn seen_postgresql(server: &PostgreSql, database: &str) -> Result<(String, String)> {
    let tables = ["posts", "log", r#"shop."odd ""name""#, "parts", "titles", "counts"];
    let sums: Vec<String> = tables
        .iter()
        .map(|table| {
            format!("SELECT md5(string_agg(t::text, '|' ORDER BY t::text)), count(*) FROM {table} t;")
        })
        .collect();
    let sums =
        server.sql(database, &format!("{} SELECT twice(21); SELECT md5(lo_get(4711));", sums.join("\n")))?;
    let dump = String::from_utf8(server.dump(&[&format!("--dbname={database}")])?)?;
    // Each dump has a token of its own.
    let lines =
        dump.lines().filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict"));
    Ok((sums, lines.collect::<Vec<_>>().join("\n")))
}

//! Database servers of one's own, from the distribution's packages.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Weak};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::sync::Mutex;

use crate::process::{Running, free_port};

/// What both servers' administrator logs in with: signs that every way of quoting trips over.
pub const PASSWORD: &str = r#"sw0rd# fish"é'\:;="#;
const READY_WITHIN: Duration = Duration::from_secs(60);

/// A MariaDB server with an empty data folder; both go when it is dropped. Its administrator
/// is `admin`, with [`PASSWORD`].
pub struct MariaDb {
    server: Running,
    folder: TempDir,
    port: u16,
}

impl MariaDb {
    /// Starts a server with more arguments, such as limits.
    pub async fn start_with(arguments: &[&str]) -> Result<MariaDb> {
        let folder = tempfile::Builder::new().prefix("mariadb-").tempdir()?;
        let data = folder.path().join("data");
        let mut install = Command::new("mariadb-install-db");
        install.args(["--no-defaults", "--skip-test-db", "--auth-root-authentication-method=normal"]);
        install.arg(format!("--datadir={}", data.display())).args(as_root("--user=root"));
        finish(install, b"")?;
        let port = free_port()?;
        let socket = folder.path().join("sock");
        let mut command = Command::new("mariadbd");
        command
            .arg("--no-defaults")
            .arg(format!("--datadir={}", data.display()))
            .arg(format!("--socket={}", socket.display()))
            .arg(format!("--port={port}"))
            .args(["--bind-address=127.0.0.1", "--skip-log-bin", "--character-set-server=utf8mb4"])
            .args(["--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=64M"])
            .args(as_root("--user=root"))
            .args(arguments);
        let mut server = Running::spawn(&mut command)?;
        let ping = format!("--socket={}", socket.display());
        let ready = async |_: &Running| {
            let mut command = Command::new("mariadb-admin");
            finish(command.args(["--no-defaults", &ping, "--user=root", "ping"]), b"").is_ok()
        };
        server.until("ready", READY_WITHIN, ready).await?;
        let mariadb = MariaDb { server, folder, port };
        let password = PASSWORD.replace('\\', r"\\").replace('\'', r"\'");
        mariadb.sql(
            "",
            &format!(
                "CREATE USER admin IDENTIFIED BY '{password}'; GRANT ALL ON *.* TO admin WITH GRANT OPTION;"
            ),
        )?;
        Ok(mariadb)
    }

    /// A server that the tests of one process share while any of them holds it.
    pub async fn shared() -> Result<Arc<MariaDb>> {
        static SHARED: Mutex<Weak<MariaDb>> = Mutex::const_new(Weak::new());
        let mut shared = SHARED.lock().await;
        if let Some(server) = shared.upgrade() {
            return Ok(server);
        }
        let server = Arc::new(MariaDb::start_with(&[]).await?);
        *shared = Arc::downgrade(&server);
        Ok(server)
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What statements answer, as the root user: lines of columns between tabs.
    pub fn sql(&self, database: &str, statements: &str) -> Result<String> {
        let mut command = Command::new("mariadb");
        command.args(self.login()).args([
            "--batch",
            "--skip-column-names",
            "--default-character-set=utf8mb4",
            database,
        ]);
        text(finish(&mut command, statements.as_bytes())?)
    }

    /// What `mariadb-dump` writes.
    pub fn dump(&self, arguments: &[&str]) -> Result<Vec<u8>> {
        let mut command = Command::new("mariadb-dump");
        command.args(self.login());
        command.args([
            "--single-transaction",
            "--routines",
            "--triggers",
            "--events",
            "--default-character-set=utf8mb4",
        ]);
        finish(command.args(arguments), b"")
    }

    fn login(&self) -> [String; 3] {
        let socket = self.folder.path().join("sock");
        ["--no-defaults".into(), format!("--socket={}", socket.display()), "--user=root".into()]
    }

    /// Ends it as a crash would.
    pub fn kill(&self) -> Result<()> {
        self.server.signal(Signal::KILL)
    }
}

/// A PostgreSQL server with an empty data folder; both go when it is dropped. Its
/// administrator is `admin`, with [`PASSWORD`].
pub struct PostgreSql {
    server: Running,
    folder: TempDir,
    programs: PathBuf,
    port: u16,
}

impl PostgreSql {
    /// Starts a server.
    pub async fn start() -> Result<PostgreSql> {
        let programs = programs()?;
        let folder = tempfile::Builder::new().prefix("postgresql-").tempdir()?;
        let data = folder.path().join("data");
        let password = folder.path().join("password");
        std::fs::write(&password, PASSWORD)?;
        let unprivileged = unprivileged()?;
        if let Some((user, group)) = unprivileged {
            for path in [folder.path(), &password] {
                std::os::unix::fs::chown(path, Some(user), Some(group))?;
            }
        }
        let mut install = as_user(unprivileged, &programs.join("initdb"));
        install.args([
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--auth=scram-sha-256",
            "--username=admin",
            "--no-sync",
        ]);
        install.arg(format!("--pwfile={}", password.display())).arg("-D").arg(&data);
        finish(&mut install, b"")?;
        let port = free_port()?;
        let mut command = as_user(unprivileged, &programs.join("postgres"));
        command.arg("-D").arg(&data).args(["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]);
        command.args(["-c", &format!("port={port}"), "-c", "unix_socket_directories="]);
        command.args(["-c", "shared_buffers=32MB"]).current_dir(folder.path());
        let server = Running::spawn(&mut command)?;
        let mut postgresql = PostgreSql { server, folder, programs, port };
        let probe = postgresql.command("psql");
        let probe = std::sync::Mutex::new(probe);
        let ready = async |_: &Running| {
            let mut probe = probe.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            finish(probe.args(["--quiet"]), b"SELECT 1;").is_ok()
        };
        postgresql.server.until("ready", READY_WITHIN, ready).await?;
        Ok(postgresql)
    }

    /// A server that the tests of one process share while any of them holds it.
    pub async fn shared() -> Result<Arc<PostgreSql>> {
        static SHARED: Mutex<Weak<PostgreSql>> = Mutex::const_new(Weak::new());
        let mut shared = SHARED.lock().await;
        if let Some(server) = shared.upgrade() {
            return Ok(server);
        }
        let server = Arc::new(PostgreSql::start().await?);
        *shared = Arc::downgrade(&server);
        Ok(server)
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What statements answer, as the administrator: lines of columns between tabs.
    pub fn sql(&self, database: &str, statements: &str) -> Result<String> {
        let mut command = self.command("psql");
        command.args(["--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--set=ON_ERROR_STOP=1"]);
        command.args(["--field-separator=\t", &format!("--dbname={database}")]);
        text(finish(&mut command, statements.as_bytes())?)
    }

    /// What `pg_dump` writes.
    pub fn dump(&self, arguments: &[&str]) -> Result<Vec<u8>> {
        finish(self.command("pg_dump").args(arguments), b"")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.env("PGPASSWORD", PASSWORD).env("PGDATABASE", "postgres");
        command.args(["--host=127.0.0.1", "--username=admin"]).arg(format!("--port={}", self.port));
        command
    }

    /// Ends it at once, as a crash would, its processes included.
    pub fn kill(&self) -> Result<()> {
        self.server.signal(Signal::QUIT)
    }
}

impl Drop for PostgreSql {
    fn drop(&mut self) {
        // Killed alone, the server would leave its shared memory and its processes behind.
        let _ = self.server.signal(Signal::QUIT);
        for _ in 0..400 {
            if !matches!(self.server.try_wait(), Ok(None)) {
                break;
            }
            std::thread::sleep(crate::process::POLL);
        }
        let _ = self.folder.path();
    }
}

/// The newest PostgreSQL's programs; Debian keeps them out of the path.
fn programs() -> Result<PathBuf> {
    let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    versions.sort_by_key(|path| path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok()));
    let programs = versions
        .pop()
        .context("no PostgreSQL in /usr/lib/postgresql: install Debian's postgresql")?
        .join("bin");
    ensure!(programs.join("initdb").is_file(), "{} has no initdb", programs.display());
    Ok(programs)
}

/// PostgreSQL refuses to run as root: whom to run it as.
fn unprivileged() -> Result<Option<(u32, u32)>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let users = std::fs::read_to_string("/etc/passwd")?;
    let line = users.lines().find(|line| line.starts_with("nobody:")).context("there is no user `nobody`")?;
    let mut ids = line.split(':').skip(2).map(str::parse);
    match (ids.next(), ids.next()) {
        (Some(Ok(user)), Some(Ok(group))) => Ok(Some((user, group))),
        _ => anyhow::bail!("/etc/passwd has no ids for `nobody`"),
    }
}

fn as_user(ids: Option<(u32, u32)>, program: &Path) -> Command {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new(program);
    if let Some((user, group)) = ids {
        command.uid(user).gid(group);
    }
    command
}

fn as_root(argument: &str) -> Option<&str> {
    rustix::process::geteuid().is_root().then_some(argument)
}

/// Runs a command to its end, on these bytes; that it fails is an error.
fn finish<'a>(command: impl std::borrow::BorrowMut<Command> + 'a, input: &[u8]) -> Result<Vec<u8>> {
    let mut command = command;
    let command = command.borrow_mut();
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{name} could not be started: run .ci/run, which installs it"))?;
    let stdin = child.stdin.take();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(input)));
        child.wait_with_output()
    })?;
    ensure!(
        output.status.success(),
        "{name}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output.stdout)
}

fn text(bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).context("the answer is not UTF-8")
}

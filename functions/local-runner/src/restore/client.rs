//! The servers' own clients, as child processes: `mariadb` or `mysql`, `psql`, `pg_restore`.
//! A password reaches them in a file that its owner alone can read, never in an argument.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::{ExitStatus, Stdio};

use anyhow::Context;
use tempfile::NamedTempFile;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;

use crate::args::{Engine, ServerArgs};
use crate::escape::{escape, escape_lines};
use crate::exit::Usage;

/// The variable that holds the password.
const PASSWORD: &str = "RESTORE_PASSWORD";
/// What no client needs, and nothing that it runs should see.
const SECRETS: [&str; 5] = [
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "SOURCE_SECRET_ACCESS_KEY",
    "AIDI_BACKUP_SECRET_KEY",
    PASSWORD,
];
/// Bytes of a client's stderr that are shown.
const SAID: usize = 4096;

/// A database server, and how to log in.
pub(crate) struct Server {
    pub(crate) engine: Engine,
    host: Option<String>,
    port: Option<u16>,
    user: Option<String>,
    options: Vec<String>,
    password: Option<NamedTempFile>,
}

impl Server {
    pub(crate) fn new(args: &ServerArgs, engine: Engine) -> anyhow::Result<Self> {
        let password = match &args.password_file {
            Some(file) => {
                let text = std::fs::read_to_string(file)
                    .map_err(|cause| Usage::PasswordFile { file: file.clone(), cause })?;
                Some(text.lines().next().unwrap_or_default().to_owned())
            }
            None => std::env::var(PASSWORD).ok().filter(|password| !password.is_empty()),
        };
        Ok(Self {
            engine,
            host: args.host.clone(),
            port: args.port,
            user: args.user.clone(),
            options: args.client_option.clone(),
            password: password.map(|password| hide(engine, &password)).transpose()?,
        })
    }

    /// The client that reads statements from its stdin and ends at the first error.
    fn sql(&self, database: Option<&str>) -> Vec<Command> {
        programs(self.engine)
            .iter()
            .map(|program| {
                let mut command = command(program);
                match self.engine {
                    Engine::Mariadb => self.mariadb(&mut command, database),
                    Engine::Postgresql => self.psql(&mut command, database),
                }
                command
            })
            .collect()
    }

    fn mariadb(&self, command: &mut Command, database: Option<&str>) {
        if let Some(password) = &self.password {
            // Alone, for ~/.my.cnf would go before it. It has to be the first argument.
            let mut option = OsString::from("--defaults-file=");
            option.push(password.path());
            command.arg(option);
        }
        // Binary mode takes bytes as they are, and no commands (`system`, `source`) from a dump.
        // A client that reconnects would go on without the session's settings.
        command.args(["--binary-mode", "--skip-reconnect", "--batch", "--raw", "--skip-column-names"]);
        command.args(["--default-character-set=utf8mb4", "--max-allowed-packet=1G"]);
        match &self.host {
            Some(socket) if socket.starts_with('/') => command.arg(format!("--socket={socket}")),
            Some(host) => command.arg(format!("--host={host}")),
            None => command,
        };
        if let Some(port) = self.port {
            command.args([format!("--port={port}"), "--protocol=tcp".to_owned()]);
        }
        if let Some(user) = &self.user {
            command.arg(format!("--user={user}"));
        }
        command.args(&self.options);
        if let Some(database) = database {
            command.arg(format!("--database={database}"));
        }
    }

    fn psql(&self, command: &mut Command, database: Option<&str>) {
        command.args(["--no-psqlrc", "--quiet", "--no-password", "--set=ON_ERROR_STOP=1"]);
        command.args(["--no-align", "--tuples-only", "--field-separator=\t", "--file=-"]);
        if let Some(host) = &self.host {
            command.arg(format!("--host={host}"));
        }
        if let Some(port) = self.port {
            command.arg(format!("--port={port}"));
        }
        if let Some(user) = &self.user {
            command.arg(format!("--username={user}"));
        }
        command.args(&self.options);
        if let Some(password) = &self.password {
            command.env("PGPASSFILE", password.path()).env_remove("PGPASSWORD");
        }
        // As an argument, a name with `=` in it would be taken for a whole address.
        command.env("PGDATABASE", database.unwrap_or("postgres"));
        let options = std::env::var("PGOPTIONS").unwrap_or_default();
        command.env("PGOPTIONS", format!("{options} -c client_min_messages=warning"));
    }

    /// Starts the client on `database`; what it prints is left unread.
    pub(crate) fn start(&self, database: &str) -> anyhow::Result<Client> {
        let commands = self.sql(Some(database)).into_iter().map(|mut command| {
            command.stdout(Stdio::null());
            command
        });
        Client::start(commands.collect(), self.engine)
    }

    /// Makes sure that `database` is where statements go.
    pub(crate) async fn check_connection(&self, database: &str) -> anyhow::Result<()> {
        // MariaDB's client takes the argument's for what it is told last.
        if self.engine == Engine::Mariadb {
            return Ok(());
        }
        // A service's file (PGSERVICE, or an option) goes before the environment.
        let answer = self.ask(Some(database), "SELECT current_database();").await?;
        let connected = answer.first().and_then(|row| row.first()).map_or("", String::as_str);
        if connected != database {
            anyhow::bail!(
                "psql connects to the database `{}`, and not to `{}`, as a service (PGSERVICE) or a \
                 --client-option says: leave that out; nothing was changed there",
                escape(connected),
                escape(database)
            );
        }
        Ok(())
    }

    /// What the statements answer: rows of columns.
    pub(crate) async fn ask(&self, database: Option<&str>, sql: &str) -> anyhow::Result<Vec<Vec<String>>> {
        let mut client = Client::start(self.sql(database), self.engine)?;
        let sql = sql.to_owned();
        let (stdin, stdout) = (client.stdin.take(), client.stdout.take());
        let write = tokio::spawn(async move {
            let Some(mut stdin) = stdin else { return };
            // A client that ended says why on stderr.
            let _ = stdin.write_all(sql.as_bytes()).await;
        });
        let mut answer = Vec::new();
        if let Some(mut stdout) = stdout {
            stdout.read_to_end(&mut answer).await.context("the client's answer broke off")?;
        }
        let _ = write.await;
        client.end().await?;
        let text = String::from_utf8_lossy(&answer);
        Ok(text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect())
    }
}

/// `pg_restore`, which turns an archive on its stdin into statements on its stdout.
pub(crate) fn pg_restore(no_owner: bool) -> anyhow::Result<Client> {
    let mut command = command("pg_restore");
    command.args(["--file=-", "--format=custom", "--exit-on-error"]);
    if no_owner {
        command.args(["--no-owner", "--no-privileges"]);
    }
    Client::start(vec![command], Engine::Postgresql)
}

fn programs(engine: Engine) -> &'static [&'static str] {
    match engine {
        Engine::Mariadb => &["mariadb", "mysql"],
        Engine::Postgresql => &["psql"],
    }
}

fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    for secret in SECRETS {
        command.env_remove(secret);
    }
    // The advice below is found by English words.
    command.env("LC_MESSAGES", "C");
    command
}

/// Writes a password as the client reads it, for its owner's eyes only.
fn hide(engine: Engine, password: &str) -> anyhow::Result<NamedTempFile> {
    let escaped = |special: &[char]| {
        let mut text = String::new();
        for c in password.chars() {
            if special.contains(&c) {
                text.push('\\');
            }
            text.push(c);
        }
        text
    };
    let line = match engine {
        Engine::Mariadb => format!("[client]\npassword=\"{}\"\n", escaped(&['\\', '"'])),
        Engine::Postgresql => format!("*:*:*:*:{}\n", escaped(&['\\', ':'])),
    };
    let mut file = tempfile::Builder::new().prefix("local-runner-").tempfile()?;
    file.write_all(line.as_bytes())?;
    file.flush().context("the password cannot be written to a temporary file for the client")?;
    Ok(file)
}

/// A client that runs; dropped, it is killed.
pub(crate) struct Client {
    program: String,
    // Before its stdin: a client that sees the end of its stdin takes that for the dump's.
    child: Child,
    pub(crate) stdin: Option<ChildStdin>,
    pub(crate) stdout: Option<ChildStdout>,
    said: JoinHandle<String>,
}

impl Client {
    /// Starts the first of `commands` whose program there is.
    fn start(commands: Vec<Command>, engine: Engine) -> anyhow::Result<Self> {
        for mut command in commands {
            let program = command.as_std().get_program().to_string_lossy().into_owned();
            match command.spawn() {
                Ok(mut child) => {
                    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
                    let said = tokio::spawn(listen(child.stderr.take()));
                    return Ok(Self { program, child, stdin, stdout, said });
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error).with_context(|| format!("{program} cannot be started")),
            }
        }
        Err(ClientError::Missing(engine).into())
    }

    /// Ends its stdin, and waits until it ends by itself.
    pub(crate) async fn end(mut self) -> anyhow::Result<()> {
        drop(self.stdin.take());
        self.ended().await
    }

    /// Waits until it ends by itself, its stdin left as it is.
    pub(crate) async fn ended(mut self) -> anyhow::Result<()> {
        let stdin = self.stdin.take();
        let status =
            self.child.wait().await.with_context(|| format!("{} cannot be waited for", self.program))?;
        drop(stdin);
        let said = (&mut self.said).await.unwrap_or_default();
        if status.success() {
            return Ok(());
        }
        Err(ClientError::Failed { program: self.program.clone(), status, said }.into())
    }

    /// Ends it before its stdin does.
    pub(crate) async fn kill(mut self) {
        let stdin = self.stdin.take();
        let _ = self.child.kill().await;
        drop(stdin);
    }
}

async fn listen(stderr: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut stderr) = stderr else { return String::new() };
    let mut said = Vec::new();
    let mut buffer = [0; 4096];
    let mut more = 0;
    while let Ok(count @ 1..) = stderr.read(&mut buffer).await {
        let kept = count.min(SAID - said.len());
        said.extend_from_slice(&buffer[..kept]);
        more += count - kept;
    }
    let mut text = String::from_utf8_lossy(&said).trim().to_owned();
    if more > 0 {
        text.push_str(&format!("\n(and {more} bytes more)"));
    }
    text
}

/// Why a client did not do its work.
#[derive(Debug)]
pub(crate) enum ClientError {
    Missing(Engine),
    Failed { program: String, status: ExitStatus, said: String },
}

impl std::fmt::Display for ClientError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing(Engine::Mariadb) => f.write_str(
                "neither `mariadb` nor `mysql` is on this machine: install MariaDB's client (Debian and Ubuntu: \
                 mariadb-client; Fedora: mariadb; Homebrew: mariadb)",
            ),
            Self::Missing(Engine::Postgresql) => f.write_str(
                "`psql` and `pg_restore` are not both on this machine: install PostgreSQL's client (Debian and \
                 Ubuntu: postgresql-client; Fedora: postgresql; Homebrew: libpq)",
            ),
            Self::Failed { program, status, said } => {
                write!(f, "{program} failed ({status})")?;
                if !said.is_empty() {
                    write!(f, ": {}", escape_lines(said))?;
                }
                match advice(said) {
                    Some(advice) => write!(f, "\nwhat to do: {advice}"),
                    None => Ok(()),
                }
            }
        }
    }
}

impl std::error::Error for ClientError {}

fn advice(said: &str) -> Option<&'static str> {
    const ADVICE: [(&[&str], &str); 9] = [
        (
            &["ERROR 1045", "password authentication failed", "no password supplied", "FATAL:  role \""],
            "check --user, and the password in RESTORE_PASSWORD or --password-file",
        ),
        (
            &["ERROR 1049", "FATAL:  database \""],
            "create the database first, empty; or say another --database",
        ),
        (&["ERROR 1044", "permission denied"], "let the user do it, or restore as another --user"),
        (
            &["ERROR 1227"],
            "the dump makes something in another user's name (DEFINER): restore as a user with the right SET USER \
             or SUPER",
        ),
        (
            &["role \""],
            "the dump gives objects to a role that is not on this server: create it (CREATE ROLE), or add \
             --no-owner for a dump in the custom format",
        ),
        (
            &[
                "ERROR 2002",
                "ERROR 2003",
                "ERROR 2005",
                "could not connect",
                "Connection refused",
                "could not translate",
            ],
            "the server does not answer: check --host and --port, and that it runs",
        ),
        (
            &[
                "ERROR 2006",
                "ERROR 2013",
                "server closed the connection",
                "terminating connection",
                "connection to server was lost",
            ],
            "the server went away: see its log; for MariaDB and MySQL, whether its max_allowed_packet is large enough",
        ),
        (
            &["ERROR 1114", "ERROR 1021", "No space left", "could not extend file", "errno: 28"],
            "the server has no space left: give it more, and restore again",
        ),
        (&["unsupported version"], "the dump was made by a newer PostgreSQL: install its client"),
    ];
    ADVICE.iter().find(|(words, _)| words.iter().any(|word| said.contains(word))).map(|(_, advice)| *advice)
}

//! A MinIO server of one's own.

use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::{Arc, Weak};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hyper::{Method, StatusCode};
use tempfile::TempDir;
use tokio::sync::Mutex;

use crate::process::{Running, free_port};
use crate::{client, http, tool};

const ROOT_USER: &str = "minio-root";
const ROOT_PASSWORD: &str = "minio-root-secret";
const READY_WITHIN: Duration = Duration::from_secs(60);

/// What a MinIO server is started with.
#[derive(Clone, Debug, Default)]
pub struct MinioOptions {
    /// `MINIO_KMS_SECRET_KEY`, as `NAME:BASE64-OF-32-BYTES`: turns SSE-KMS on.
    pub kms_secret_key: Option<String>,
}

/// A MinIO server with an empty data folder of its own; both go when it is dropped.
pub struct Minio {
    // In the order in which they have to be dropped: the server before its folder.
    _server: Running,
    folder: TempDir,
    port: u16,
}

impl Minio {
    /// Starts a server without options.
    pub async fn start() -> Result<Minio> {
        Minio::start_with(&MinioOptions::default()).await
    }

    /// Starts a server and waits until it answers.
    pub async fn start_with(options: &MinioOptions) -> Result<Minio> {
        // Another process can take the port between its choice and the server's start.
        let mut tries = 3;
        loop {
            tries -= 1;
            match Minio::start_once(options).await {
                Err(_) if tries > 0 => {}
                started_or_not => return started_or_not,
            }
        }
    }

    /// A server that the tests of one process share while any of them holds it: for tests
    /// that keep to buckets of their own.
    pub async fn shared() -> Result<Arc<Minio>> {
        // Weak, for a static is never dropped, and the server must not outlive the tests.
        static SHARED: Mutex<Weak<Minio>> = Mutex::const_new(Weak::new());
        let mut shared = SHARED.lock().await;
        if let Some(minio) = shared.upgrade() {
            return Ok(minio);
        }
        let minio = Arc::new(Minio::start().await?);
        *shared = Arc::downgrade(&minio);
        Ok(minio)
    }

    async fn start_once(options: &MinioOptions) -> Result<Minio> {
        let folder = tempfile::Builder::new().prefix("minio-").tempdir()?;
        let port = free_port()?;
        let mut command = Command::new(tool("bin/minio")?);
        command
            .args(["server", "--quiet", "--address"])
            .arg(format!("{}:{port}", Ipv4Addr::LOCALHOST))
            .arg(folder.path().join("data"))
            .env_clear()
            .env("HOME", folder.path())
            .env("MINIO_ROOT_USER", ROOT_USER)
            .env("MINIO_ROOT_PASSWORD", ROOT_PASSWORD)
            .env("MINIO_BROWSER", "off")
            .env("MINIO_UPDATE", "off");
        if let Some(key) = &options.kms_secret_key {
            command.env("MINIO_KMS_SECRET_KEY", key);
        }
        let mut server = Running::spawn(&mut command)?;
        server.until("ready", READY_WITHIN, async |_| ready(port).await).await?;
        Ok(Minio { _server: server, folder, port })
    }

    /// Its address, such as `http://127.0.0.1:41234`.
    pub fn endpoint(&self) -> String {
        format!("http://{}:{}", Ipv4Addr::LOCALHOST, self.port)
    }

    /// The access key of its root user.
    pub fn access_key(&self) -> &'static str {
        ROOT_USER
    }

    /// The secret key of its root user.
    pub fn secret_key(&self) -> &'static str {
        ROOT_PASSWORD
    }

    /// A client with the rights of the root user.
    pub fn client(&self) -> aws_sdk_s3::Client {
        client(&self.endpoint(), ROOT_USER, ROOT_PASSWORD)
    }

    /// Creates a user with one policy (IAM's JSON) and answers a client with its rights.
    pub async fn user(
        &self,
        name: &str,
        secret_key: &str,
        policy: &serde_json::Value,
    ) -> Result<aws_sdk_s3::Client> {
        self.mc(&["admin", "user", "add", "minio", name, secret_key]).await?;
        self.set_policy(name, policy).await?;
        self.mc(&["admin", "policy", "attach", "minio", name, "--user", name]).await?;
        Ok(client(&self.endpoint(), name, secret_key))
    }

    /// Gives a user another policy.
    pub async fn set_policy(&self, user: &str, policy: &serde_json::Value) -> Result<()> {
        let file = self.folder.path().join(format!("{user}.json"));
        std::fs::write(&file, policy.to_string())?;
        let file = file.to_str().context("a folder that is not UTF-8")?;
        self.mc(&["admin", "policy", "create", "minio", user, file]).await.map(drop)
    }

    /// Runs `mc` as the root user; the server's alias is `minio`. Answers its standard output.
    pub async fn mc(&self, arguments: &[&str]) -> Result<String> {
        let address = format!("http://{ROOT_USER}:{ROOT_PASSWORD}@{}:{}", Ipv4Addr::LOCALHOST, self.port);
        let mut command = Command::new(tool("bin/mc")?);
        command
            .arg("--config-dir")
            .arg(self.folder.path().join("mc"))
            .args(arguments)
            .env_clear()
            .env("HOME", self.folder.path())
            .env("MC_HOST_minio", address);
        let finished = Running::spawn(&mut command)?.wait(Duration::from_secs(60)).await?;
        ensure!(
            finished.status.success(),
            "mc {}: {}\n{}{}",
            arguments.join(" "),
            finished.status,
            finished.stdout,
            finished.stderr
        );
        Ok(finished.stdout)
    }
}

/// Whether the server takes requests: its process is up, and so are its storage and users.
async fn ready(port: u16) -> bool {
    let limit = Duration::from_secs(2);
    let health = http::request(Method::GET, port, "/minio/health/cluster", "", limit).await;
    health.is_ok_and(|answer| answer.status == StatusCode::OK)
}

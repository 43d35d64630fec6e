//! What the integration tests share: real servers and the real binaries, each started on
//! this machine, bound to the loopback interface, and ended when its value is dropped.
//!
//! - [`Minio`]: an S3 server that is not ours.
//! - [`RuntimeApi`] and [`LambdaEmulator`]: the release binary `replicator`, behind a Lambda
//!   runtime API of our own (real deadlines, cold starts) or behind cargo-lambda's.
//! - [`MariaDb`], [`PostgreSql`]: database servers to dump and to restore into.
//! - [`LocalRunner`]: the release binary `local-runner`, run as a user runs it.
//! - [`Recorder`]: what a program tells a service, such as SNS.
//! - [`client`]: an S3 client for any of the servers, `s3_sim::Sim` included.
//!
//! Nothing here is built on the fly or falls back to something else: what is missing is an
//! error that says to run `tests/run`, which sets it up.

mod database;
mod http;
mod lambda;
mod local_runner;
mod minio;
mod process;
mod recorder;
mod secrets_manager;
mod setup;

pub use database::{MariaDb, PASSWORD, PostgreSql};
pub use http::Answer;
pub use lambda::{LambdaEmulator, RuntimeApi};
pub use local_runner::LocalRunner;
pub use minio::{Minio, MinioOptions};
pub use process::{Finished, Running};
pub use recorder::Recorder;
pub use secrets_manager::SecretsManager;
pub use setup::{release_binary, tool};

use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};

/// The region that every server here answers in.
pub const REGION: &str = "us-east-1";

/// Waits until `holds`, 10 s at the most, and answers whether it does: a log comes by another
/// way than the answer that it is about.
pub async fn eventually(holds: impl Fn() -> bool) -> bool {
    let until = async {
        while !holds() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), until).await.is_ok()
}

/// An S3 client (path-style addresses) for the server at `endpoint`, such as
/// `http://127.0.0.1:9000`.
pub fn client(endpoint: &str, access_key: &str, secret_key: &str) -> aws_sdk_s3::Client {
    let credentials = Credentials::new(access_key, secret_key, None, None, "test");
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .endpoint_url(endpoint)
        .credentials_provider(credentials)
        .force_path_style(true)
        .build();
    aws_sdk_s3::Client::from_conf(config)
}

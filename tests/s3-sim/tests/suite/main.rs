//! The simulator over HTTP, asked by the AWS SDK as users ask it.

#![allow(clippy::unwrap_used)]

mod conditions;
mod copying;
mod faults;
mod generated;
mod listing;
mod multipart;
mod objects;
mod rights;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3_sim::{Config, Sim};

/// A simulator with the buckets `source` and `destination`, and a client that never retries.
async fn start() -> (Sim, Client) {
    start_with(Config::default()).await
}

async fn start_with(config: Config) -> (Sim, Client) {
    let sim = Sim::start(config).await.unwrap();
    sim.state().create_bucket("source");
    sim.state().create_bucket("destination");
    let client = client(&sim, "sim-access-key", "sim-secret-key");
    (sim, client)
}

fn client(sim: &Sim, access_key: &str, secret_key: &str) -> Client {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(sim.endpoint())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new(access_key, secret_key, None, None, "test"))
        .force_path_style(true)
        .retry_config(RetryConfig::disabled())
        .build();
    Client::from_conf(config)
}

/// A copy source as it must be encoded.
fn copy_source(bucket: &str, key: &str) -> String {
    const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_');
    format!("{bucket}/{}", utf8_percent_encode(key, KEPT))
}

/// The status and the code of a refusal; panics if there was none.
fn refusal<T: std::fmt::Debug, E: ProvideErrorMetadata + std::fmt::Debug>(
    result: Result<T, SdkError<E>>,
) -> (u16, String) {
    match result {
        Err(SdkError::ServiceError(error)) => {
            (error.raw().status().as_u16(), error.err().code().unwrap_or_default().to_owned())
        }
        other => panic!("not a refusal: {other:?}"),
    }
}

/// True if the answer never came, whole or at all.
fn is_lost<T, E>(result: &Result<T, SdkError<E>>) -> bool {
    matches!(
        result,
        Err(SdkError::DispatchFailure(_) | SdkError::ResponseError(_) | SdkError::TimeoutError(_))
    )
}

//! What a simulator is started with.

use std::time::Duration;

/// How a simulator is started. The default has one user, `sim-access-key` with the secret
/// `sim-secret-key`, no latency and no limits, and takes any free port.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who may sign requests.
    pub users: Vec<User>,
    /// How long answers take.
    pub latency: Latency,
    /// Writes a second (PUT, COPY, POST and DELETE of objects); 503 SlowDown above.
    pub write_limit: Option<u32>,
    /// The port on 127.0.0.1; any free one if `None`.
    pub port: Option<u16>,
    /// What faults by rate are drawn from.
    pub seed: u64,
    /// The account that buckets belong to (`x-amz-expected-bucket-owner`).
    pub account_id: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            users: vec![User::new("sim-access-key", "sim-secret-key")],
            latency: Latency::default(),
            write_limit: None,
            port: None,
            seed: 1,
            account_id: "123456789012".to_owned(),
        }
    }
}

/// How long operations take from the arrival of a request to its answer, at least.
#[derive(Clone, Copy, Debug, Default)]
pub struct Latency {
    /// ListObjectsV2, ListObjects, ListObjectVersions.
    pub list: Duration,
    /// CopyObject and UploadPartCopy.
    pub copy: Duration,
    /// HeadObject.
    pub head: Duration,
    /// PutObject and UploadPart.
    pub put: Duration,
    /// GetObject.
    pub get: Duration,
    /// Everything else.
    pub other: Duration,
    /// The bandwidth of one UploadPartCopy, which takes that much longer; endless if `None`.
    pub part_copy_bytes_per_second: Option<u64>,
}

/// Someone who signs requests. May do everything that is not denied.
#[derive(Clone, Debug)]
pub struct User {
    pub(crate) access_key: String,
    pub(crate) secret_key: String,
    denied: Vec<(String, String)>,
}

impl User {
    /// A user who may do everything.
    pub fn new(access_key: impl Into<String>, secret_key: impl Into<String>) -> Self {
        Self { access_key: access_key.into(), secret_key: secret_key.into(), denied: Vec::new() }
    }

    /// Denies an action such as "s3:GetObject" on a bucket, or "kms:Decrypt" on a key. Both may
    /// end in `*`.
    #[must_use]
    pub fn deny(mut self, action: impl Into<String>, bucket: impl Into<String>) -> Self {
        self.denied.push((action.into(), bucket.into()));
        self
    }

    /// True if the action on the bucket is not denied.
    #[must_use]
    pub fn may(&self, action: &str, bucket: &str) -> bool {
        !self
            .denied
            .iter()
            .any(|(of_action, of_bucket)| covers(of_action, action) && covers(of_bucket, bucket))
    }
}

fn covers(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => pattern == name,
    }
}

//! An S3 in memory, for tests, benchmarks and demonstrations of programs that copy between
//! buckets.
//!
//! [`Sim::start`] serves S3's HTTP API on 127.0.0.1, path-style, with signatures checked.
//! Answers, errors, ETags and conditions are S3's. Beside that it can be told to be slow
//! ([`Latency`]), to go wrong ([`Fault`]), to refuse ([`User::deny`]), to hold millions of keys
//! or terabytes of content that cost nothing ([`GeneratedKeys`], [`Content::virtual_bytes`]),
//! and it counts what it was asked for ([`Counters`]). Tests read and change what it holds
//! through [`State`].
//!
//! How a request runs: `server` names its operation, counts it, waits for its latency and
//! decides over faults; `s3s` checks the signature and parses; `api` has one file for each
//! group of operations; `state` keeps buckets, objects and uploads.
//!
//! Deliberately absent: ACLs, bucket policies, Object Lock but for what it demands of writes,
//! lifecycle rules, SSE-C, virtual-hosted addressing.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod api;
mod auth;
mod checksum;
mod conditions;
mod config;
mod content;
mod counters;
mod encoding;
mod errors;
mod etag;
mod faults;
mod generated;
mod hooks;
mod operation;
mod random;
mod server;
mod sim;
mod state;
mod sync;
mod throttle;
mod time;

pub use checksum::ChecksumAlgorithm;
pub use config::{Config, Latency, User};
pub use content::Content;
pub use counters::Counters;
pub use etag::ETag;
pub use faults::{Fault, FaultKind, Op};
pub use generated::{GeneratedKeys, Pattern};
pub use hooks::{Event, Phase};
pub use operation::Operation;
pub use sim::Sim;
pub use state::{
    ChecksumSnapshot, ContentHeaders, Encryption, Object, ObjectSnapshot, Restore, State, StorageClass, Tags,
    UploadSnapshot, Versioning,
};

//! What a caller said, as it was said: [`Settings`] (a deployment's, from an environment or
//! flags) and [`Request`] (one run's, from an event). [`Plan`](crate::Plan) is what it means.

use aws_sdk_s3::config::Credentials;
use serde::Deserialize;

use crate::{PlanError, SourceName};

/// The part of the destination that is the replicator's own. No object is copied into it.
pub const RESERVED_PREFIX: &str = ".replicator/";

/// A deployment's settings, unvalidated: `None` is "not given".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// `DATABASE_BUCKET`: the vendor's bucket of database dumps.
    pub database_bucket: Option<String>,
    /// `FILESYSTEM_BUCKET`: the vendor's bucket of the application's files.
    pub filesystem_bucket: Option<String>,
    /// `DATABASE_PREFIX`: where the dumps land; `database/` unless given, `""` for the root.
    pub database_prefix: Option<String>,
    /// `FILESYSTEM_PREFIX`: where the files land; `filesystem/` unless given.
    pub filesystem_prefix: Option<String>,
    /// `DESTINATION_BUCKET`: the customer's bucket.
    pub destination_bucket: Option<String>,
    /// `TRANSFER`: `auto` (unless given), `server-side` or `stream`.
    pub transfer: Option<String>,
    /// `SOURCE_ACCESS_KEY_ID` and `SOURCE_SECRET_ACCESS_KEY`: the vendor's keys, where the
    /// customer's own credentials may not read the source. Their `Debug` shows no secret.
    pub source_credentials: Option<Credentials>,
    /// `SOURCE_CREDENTIALS_SECRET`: the id or ARN of the secret that holds them instead. The
    /// engine does not read it; whoever does sets [`Clients::vendor`](crate::Clients).
    pub source_credentials_secret: Option<String>,
    /// `SOURCE_REGION`: the SDK's unless given.
    pub source_region: Option<String>,
    /// `DESTINATION_REGION`: the SDK's unless given.
    pub destination_region: Option<String>,
    /// `SOURCE_ENDPOINT_URL`: an S3-compatible server, addressed path-style.
    pub source_endpoint_url: Option<String>,
    /// `DESTINATION_ENDPOINT_URL`: likewise.
    pub destination_endpoint_url: Option<String>,
    /// `SOURCE_BUCKET_OWNER`: the account id that must own the vendor's buckets.
    pub source_bucket_owner: Option<String>,
    /// `DESTINATION_BUCKET_OWNER`: the account id that must own the destination.
    pub destination_bucket_owner: Option<String>,
    /// `STORAGE_CLASS` of the copies, as S3 spells it.
    pub storage_class: Option<String>,
    /// `KMS_KEY_ID` under which the copies are encrypted.
    pub kms_key_id: Option<String>,
    /// `TAGS`: `copy`, `skip`, or `auto` (unless given): copied where the rights are there.
    pub tags: Option<String>,
    /// `ANNOTATIONS`: likewise.
    pub annotations: Option<String>,
    /// `MAX_IN_FLIGHT`: requests at once, 1 to 10,000; 256 unless given.
    pub max_in_flight: Option<String>,
    /// `MEMORY_LIMIT_MIB`: what streamed copies may hold, 128 to 65,536 MiB; 256 unless given.
    pub memory_limit_mib: Option<String>,
}

impl Settings {
    /// Where a source lands in the destination.
    #[must_use]
    pub fn prefix(&self, source: SourceName) -> &str {
        match source {
            SourceName::Database => self.database_prefix.as_deref().unwrap_or("database/"),
            SourceName::Filesystem => self.filesystem_prefix.as_deref().unwrap_or("filesystem/"),
        }
    }

    /// Asks `lookup` for every setting by its environment name.
    #[must_use]
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Self {
        Self {
            database_bucket: lookup("DATABASE_BUCKET"),
            filesystem_bucket: lookup("FILESYSTEM_BUCKET"),
            database_prefix: lookup("DATABASE_PREFIX"),
            filesystem_prefix: lookup("FILESYSTEM_PREFIX"),
            destination_bucket: lookup("DESTINATION_BUCKET"),
            transfer: lookup("TRANSFER"),
            source_credentials: credentials(
                lookup("SOURCE_ACCESS_KEY_ID"),
                lookup("SOURCE_SECRET_ACCESS_KEY"),
            ),
            source_credentials_secret: lookup("SOURCE_CREDENTIALS_SECRET"),
            source_region: lookup("SOURCE_REGION"),
            destination_region: lookup("DESTINATION_REGION"),
            source_endpoint_url: lookup("SOURCE_ENDPOINT_URL"),
            destination_endpoint_url: lookup("DESTINATION_ENDPOINT_URL"),
            source_bucket_owner: lookup("SOURCE_BUCKET_OWNER"),
            destination_bucket_owner: lookup("DESTINATION_BUCKET_OWNER"),
            storage_class: lookup("STORAGE_CLASS"),
            kms_key_id: lookup("KMS_KEY_ID"),
            tags: lookup("TAGS"),
            annotations: lookup("ANNOTATIONS"),
            max_in_flight: lookup("MAX_IN_FLIGHT"),
            memory_limit_mib: lookup("MEMORY_LIMIT_MIB"),
        }
    }
}

/// The vendor's keys, if there are any. One alone is kept, for [`Plan`](crate::Plan) to refuse.
fn credentials(id: Option<String>, secret: Option<String>) -> Option<Credentials> {
    let (id, secret) = (id.unwrap_or_default(), secret.unwrap_or_default());
    let given = !id.is_empty() || !secret.is_empty();
    given.then(|| Credentials::new(id, secret, None, None, "SOURCE_ACCESS_KEY_ID"))
}

/// What one run is asked to do. Everything is optional: `{}` copies all that is new or
/// changed from every configured source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Request {
    /// `database`, `filesystem` or both; every configured one unless given.
    pub sources: Option<Vec<String>>,
    /// Only source keys that begin with this.
    pub prefix: Option<String>,
    /// Only objects modified after this time (RFC 3339, such as `2026-11-01T00:00:00Z`).
    pub modified_after: Option<String>,
    /// Say what would be copied; write nothing.
    pub dry_run: bool,
    /// Compare both sides and copy nothing.
    pub verify: bool,
    /// Verify by reading every object on both sides.
    pub read: bool,
}

impl Request {
    /// Reads a request's JSON; `null` is the empty request.
    ///
    /// # Errors
    /// [`PlanError::Event`] for what is no object, or has an unknown field (the sentence
    /// lists the known ones).
    pub fn from_value(event: serde_json::Value) -> Result<Self, PlanError> {
        match event {
            serde_json::Value::Null => Ok(Self::default()),
            serde_json::Value::Object(_) => {
                serde_json::from_value(event).map_err(|error| PlanError::Event(error.to_string()))
            }
            _ => Err(PlanError::Event("it is no JSON object".into())),
        }
    }
}

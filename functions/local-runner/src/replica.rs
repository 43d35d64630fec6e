//! The customer's bucket, as the commands that give backups back see it.

use std::fmt;

use anyhow::Context;
use aws_sdk_s3::Client;
use bucket_copy::fetch::{At, Bucket, FetchError, Location, Object};
use bucket_copy::{Clients, Halt, PlanError, Settings};

use crate::escape::escape;

/// Requests at once: these commands read one object after another.
const IN_FLIGHT: usize = 8;

/// The bucket that holds the backups, and where the dumps are in it.
pub(crate) struct Replica {
    /// Reads it.
    pub(crate) bucket: Bucket,
    /// For what is to be written.
    pub(crate) client: Client,
    pub(crate) name: String,
    pub(crate) database_prefix: String,
}

impl Replica {
    pub(crate) async fn connect(settings: &Settings, halt: &Halt) -> anyhow::Result<Self> {
        let name = settings.destination_bucket.clone().unwrap_or_default().trim().to_owned();
        if name.is_empty() {
            return Err(PlanError::NoDestination.into());
        }
        let client = Clients::connect(settings).await?.destination;
        let location = Location {
            at: At::Destination,
            setting: "DESTINATION_BUCKET",
            client: client.clone(),
            bucket: name.clone(),
        };
        Ok(Self {
            bucket: Bucket::new(location, IN_FLIGHT, halt)?,
            client,
            name,
            database_prefix: settings.database_prefix.clone().unwrap_or_else(|| "database/".to_owned()),
        })
    }

    /// All objects whose keys begin with `prefix`, but for the replicator's own.
    pub(crate) async fn list(&mut self, prefix: &str) -> anyhow::Result<Vec<Object>> {
        let mut listing = self.bucket.list(prefix).await?;
        let mut objects = Vec::new();
        while let Some(object) = listing.next().await? {
            if !object.key.starts_with(bucket_copy::RESERVED_PREFIX) {
                objects.push(object);
            }
        }
        Ok(objects)
    }

    /// `s3://bucket/key`, fit for a terminal.
    pub(crate) fn address(&self, key: &str) -> String {
        format!("s3://{}/{}", self.name, escape(key))
    }
}

/// Why an object could not be read.
#[derive(Debug)]
pub(crate) struct Unread(pub(crate) FetchError);

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            FetchError::Overwritten => {
                f.write_str("it was overwritten while it was read: run again, which takes what is there now")
            }
            FetchError::Archived => {
                f.write_str("it is archived: restore it first (aws s3api restore-object), which takes hours")
            }
            FetchError::Stopped => f.write_str("the run was stopped"),
            FetchError::Refused(_, failure) => write!(f, "{}; {}", failure.message, failure.remedy),
            FetchError::Sink(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for Unread {}

/// For an error of the object called `address`.
pub(crate) fn of_object<T>(result: Result<T, FetchError>, address: &str) -> anyhow::Result<T> {
    result.map_err(Unread).with_context(|| format!("cannot read {address}"))
}

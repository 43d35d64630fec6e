//! Where backups are: the vendor's buckets, and the customer's, as the commands that give them
//! back see them.

use std::{fmt, iter};

use anyhow::Context;
use aws_sdk_s3::Client;
use bucket_copy::fetch::{self, Bucket, FetchError, Location, Object, Objects, Versioning};
use bucket_copy::{Clients, Halt, PlanError, Settings, SourceName};
use jiff::Timestamp;

use crate::args::At;
use crate::escape::escape;
use crate::exit::{self, Usage};

/// Requests at once: these commands read one object after another.
const IN_FLIGHT: usize = 8;

/// Both sides, and who reads them.
pub(crate) struct Sides {
    settings: Settings,
    clients: Clients,
}

/// A bucket, and where the backups of one kind are in it.
pub(crate) struct Backups {
    /// Reads it.
    pub(crate) bucket: Bucket,
    /// For what is to be written.
    pub(crate) client: Client,
    pub(crate) name: String,
    pub(crate) prefix: String,
    /// Prefixes of what is none of them.
    others: Vec<String>,
}

impl Sides {
    pub(crate) async fn connect(settings: Settings) -> Result<Self, PlanError> {
        let (clients, _) = replicator::secret::connect(&settings).await?;
        Ok(Self { settings, clients })
    }

    /// How a bucket of a side is reached. `setting` names it.
    pub(crate) fn location(&self, at: At, setting: &'static str, bucket: String) -> Location {
        let Self { settings, clients } = self;
        let (at, client, owner) = match (at, &clients.vendor) {
            (At::Destination, _) => {
                (fetch::At::Destination, &clients.destination, &settings.destination_bucket_owner)
            }
            (At::Vendor, Some(vendor)) => {
                (fetch::At::SourceWithVendorsKeys, vendor, &settings.source_bucket_owner)
            }
            (At::Vendor, None) => (fetch::At::Source, &clients.source, &settings.source_bucket_owner),
        };
        let owner = owner.clone().filter(|owner| !owner.trim().is_empty());
        Location { at, setting, client: client.clone(), bucket, owner }
    }

    /// The bucket that has the backups of one kind, if it is set.
    pub(crate) fn place(&self, at: At, kind: SourceName) -> Option<(Location, String)> {
        let settings = &self.settings;
        let (setting, bucket, prefix) = match (at, kind) {
            (At::Destination, _) => {
                ("DESTINATION_BUCKET", &settings.destination_bucket, settings.prefix(kind))
            }
            (At::Vendor, SourceName::Database) => ("DATABASE_BUCKET", &settings.database_bucket, ""),
            (At::Vendor, SourceName::Filesystem) => ("FILESYSTEM_BUCKET", &settings.filesystem_bucket, ""),
        };
        let bucket = bucket.as_deref().map(str::trim).filter(|bucket| !bucket.is_empty())?;
        Some((self.location(at, setting, bucket.to_owned()), prefix.to_owned()))
    }

    /// The backups of one kind, if their bucket is set.
    pub(crate) fn find(&self, at: At, kind: SourceName, halt: &Halt) -> Result<Option<Backups>, PlanError> {
        let Some((location, prefix)) = self.place(at, kind) else { return Ok(None) };
        let (client, name) = (location.client.clone(), location.bucket.clone());
        let bucket = Bucket::new(location, IN_FLIGHT, halt)?;
        Ok(Some(Backups { bucket, client, name, prefix, others: self.others(at, kind) }))
    }

    /// Prefixes of what is no backup of this kind, though it is where those are.
    pub(crate) fn others(&self, at: At, kind: SourceName) -> Vec<String> {
        if at == At::Vendor {
            return Vec::new();
        }
        let other = match kind {
            SourceName::Database => SourceName::Filesystem,
            SourceName::Filesystem => SourceName::Database,
        };
        let (own, other) = (self.settings.prefix(kind), self.settings.prefix(other));
        let inside = other.len() > own.len() && other.starts_with(own);
        let reserved = iter::once(bucket_copy::RESERVED_PREFIX);
        reserved.chain(inside.then_some(other)).map(str::to_owned).collect()
    }

    /// The backups of one kind, which must be there.
    pub(crate) fn get(&self, at: At, kind: SourceName, halt: &Halt) -> anyhow::Result<Backups> {
        Ok(self.find(at, kind, halt)?.ok_or_else(|| missing(at, kind))?)
    }
}

/// What to say where a bucket is not set.
pub(crate) fn missing(at: At, kind: SourceName) -> Usage {
    match (at, kind) {
        (At::Destination, _) => Usage::NoBucket("DESTINATION_BUCKET (--destination-bucket)"),
        (At::Vendor, SourceName::Database) => Usage::NoBucket("DATABASE_BUCKET (--database-bucket)"),
        (At::Vendor, SourceName::Filesystem) => Usage::NoBucket("FILESYSTEM_BUCKET (--filesystem-bucket)"),
    }
}

/// Lists a bucket, as it was at a time if one is given. One that keeps no versions is refused:
/// what was overwritten since would be left out without a word.
pub(crate) async fn list(
    bucket: &mut Bucket,
    prefix: &str,
    as_of: Option<Timestamp>,
) -> anyhow::Result<Objects> {
    let Some(at) = as_of else { return Ok(bucket.list(prefix).await?) };
    let objects = bucket.list_as_of(prefix, at).await?;
    let name = bucket.name();
    match bucket.versioning().await {
        Ok(Versioning::Enabled) => {}
        Ok(Versioning::Never) => anyhow::bail!(
            "s3://{name} keeps no versions, so that nobody knows what it had at {at}: leave --as-of out, which \
             takes what is there now"
        ),
        Ok(Versioning::Suspended) => exit::warn(&format!(
            "s3://{name} does not keep versions any more: what was overwritten since it stopped is not found"
        )),
        Err(error) => exit::warn(&format!(
            "whether s3://{name} keeps versions is not known (allow s3:GetBucketVersioning): what it has overwritten \
             without is not found; {error}"
        )),
    }
    Ok(objects)
}

impl Backups {
    /// All objects of them.
    pub(crate) async fn list(&mut self, as_of: Option<Timestamp>) -> anyhow::Result<Vec<Object>> {
        let mut listing = list(&mut self.bucket, &self.prefix, as_of).await?;
        let mut objects = Vec::new();
        while let Some(object) = listing.next().await? {
            if !self.others.iter().any(|other| object.key.starts_with(other)) {
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

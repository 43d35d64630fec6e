//! A [`Plan`] is what one run will do. It holds validated values only: whoever has one need
//! not check again.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use aws_sdk_s3::types::StorageClass;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::settings::RESERVED_PREFIX;
use crate::{PlanError, Request, Settings};

/// What one run will do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The vendor's buckets to copy from: one or two, their landing prefixes disjoint.
    pub sources: Vec<Source>,
    /// Where the copies go.
    pub destination: Destination,
    /// Only source keys that begin with this are looked at.
    pub prefix: String,
    /// Only objects modified after this are copied.
    pub modified_after: Option<Timestamp>,
    /// Decide and report, but write nothing.
    pub dry_run: bool,
    /// Made for [`verify()`](crate::verify()); a dry run for [`replicate()`](crate::replicate()).
    pub verify: bool,
    /// Verify by reading every object on both sides.
    pub read: bool,
    /// Which way the bytes go.
    pub transfer: Transfer,
    /// What becomes of tags.
    pub tags: Carry,
    /// What becomes of annotations.
    pub annotations: Carry,
    /// Requests at once, over all sources: 1 to 10,000.
    pub max_in_flight: usize,
    /// Bodies that pass through this process at once: as many as the memory limit has room for.
    pub max_streams: usize,
    /// How long one try of a request may take, besides the time its bytes need: 30 s.
    pub attempt_timeout: Duration,
    /// Who runs it, for people: said to whoever finds this run at work.
    pub holder: String,
    /// Whether somebody goes on with the [pieces](crate::pieces) of what it has no time for.
    pub hands_over: bool,
    /// The key of the lease to take instead of the source's: of a piece of a run.
    pub piece: Option<String>,
    /// How long a run that is not heard of keeps others from its sources: 60 s. It is heard of
    /// three times as often.
    pub lease: Duration,
}

/// Which way the bytes are to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transfer {
    /// Server-side where S3 can and the source allows it; else streamed, with the vendor's
    /// keys if there are any.
    Auto,
    /// Server-side, or not at all.
    ServerSide,
    /// Streamed.
    Stream,
}

/// What becomes of something that hangs on an object, and takes rights of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carry {
    /// Copied; where a right is missing, the object is copied without, and the report says so.
    Auto,
    /// Copied; where a right is missing, the object fails.
    Copy,
    /// Neither read nor written.
    Skip,
}

/// One of the vendor's buckets.
#[derive(Clone, Debug)]
pub struct Source {
    /// Which of the two it is.
    pub name: SourceName,
    /// The bucket's name.
    pub bucket: String,
    /// What stands before a source key to make its destination key; may be empty.
    pub lands_in: String,
    /// The account id that must own the bucket.
    pub owner: Option<String>,
}

/// The customer's bucket.
#[derive(Clone, Debug)]
pub struct Destination {
    /// The bucket's name.
    pub bucket: String,
    /// The account id that must own the bucket.
    pub owner: Option<String>,
    /// Storage class of the copies; S3's default, STANDARD, where `None`.
    pub storage_class: Option<StorageClass>,
    /// KMS key of the copies; the bucket's default encryption where `None`.
    pub kms_key_id: Option<String>,
}

/// The two kinds of backup that a vendor keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceName {
    /// Database dumps.
    Database,
    /// The application's files.
    Filesystem,
}

impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Database => "database",
            Self::Filesystem => "filesystem",
        })
    }
}

impl FromStr for SourceName {
    type Err = PlanError;

    fn from_str(name: &str) -> Result<Self, PlanError> {
        match name {
            "database" => Ok(Self::Database),
            "filesystem" => Ok(Self::Filesystem),
            _ => Err(PlanError::UnknownSource(name.to_owned())),
        }
    }
}

impl Plan {
    /// What `settings` and `request` together mean.
    ///
    /// # Errors
    /// A [`PlanError`] names the setting or field that is missing or wrong, and the remedy.
    pub fn new(settings: &Settings, request: &Request) -> Result<Self, PlanError> {
        match request {
            Request { verify: true, dry_run: true, .. } => return Err(PlanError::DryVerify),
            Request { verify: false, read: true, .. } => return Err(PlanError::ReadsNothing),
            _ => {}
        }
        let destination = Destination {
            bucket: bucket("DESTINATION_BUCKET", settings.destination_bucket.as_deref())?
                .ok_or(PlanError::NoDestination)?,
            owner: owner("DESTINATION_BUCKET_OWNER", settings.destination_bucket_owner.as_deref())?,
            storage_class: storage_class(settings.storage_class.as_deref())?,
            kms_key_id: given(settings.kms_key_id.as_deref()).map(str::to_owned),
        };
        let prefix = request.prefix.clone().unwrap_or_default();
        let plan = Self {
            sources: sources(settings, request)?,
            destination,
            prefix,
            modified_after: request.modified_after.as_deref().map(time).transpose()?,
            dry_run: request.dry_run || request.verify,
            verify: request.verify,
            read: request.read,
            transfer: transfer(settings)?,
            tags: carry("TAGS", settings.tags.as_deref())?,
            annotations: carry("ANNOTATIONS", settings.annotations.as_deref())?,
            max_in_flight: max_in_flight(settings.max_in_flight.as_deref())?,
            max_streams: max_streams(settings.memory_limit_mib.as_deref())?,
            attempt_timeout: Duration::from_secs(30),
            holder: format!("process {}", std::process::id()),
            hands_over: false,
            piece: None,
            lease: Duration::from_secs(60),
        };
        for source in &plan.sources {
            plan.check_landing(source)?;
            if is_one_server(settings) {
                plan.check_loop(source)?;
            }
        }
        plan.check_collision(&configured(settings)?)?;
        Ok(plan)
    }

    fn check_landing(&self, source: &Source) -> Result<(), PlanError> {
        let lands = format!("{}{}", source.lands_in, self.prefix);
        if lands.starts_with(RESERVED_PREFIX) {
            return Err(PlanError::ReservedPrefix { source_name: source.name, prefix: lands });
        }
        Ok(())
    }

    /// A run whose copies are among its own source objects would never come to an end.
    fn check_loop(&self, source: &Source) -> Result<(), PlanError> {
        let lands = format!("{}{}", source.lands_in, self.prefix);
        if source.bucket == self.destination.bucket && overlap(&lands, &self.prefix) {
            return Err(PlanError::SameBucket { bucket: source.bucket.clone(), source_name: source.name });
        }
        Ok(())
    }

    /// Two sources that may land on one key would overwrite each other in turn, be it in two
    /// runs of one source each.
    fn check_collision(&self, configured: &[Configured<'_>]) -> Result<(), PlanError> {
        for source in &self.sources {
            let lands = format!("{}{}", source.lands_in, self.prefix);
            for (name, bucket, other) in configured {
                if *name != source.name && bucket.is_some() && overlap(&lands, other) {
                    return Err(PlanError::Collision(source.lands_in.clone(), (*other).to_owned()));
                }
            }
        }
        Ok(())
    }
}

/// Whether some key begins with both.
fn overlap(a: &str, b: &str) -> bool {
    a.starts_with(b) || b.starts_with(a)
}

/// Environments cannot unset a name, so an empty value is "not given".
fn given(value: Option<&str>) -> Option<&str> {
    value.map(str::trim).filter(|value| !value.is_empty())
}

/// Whether both sides are on one server, however its address is written.
fn is_one_server(settings: &Settings) -> bool {
    let endpoint =
        |url: &Option<String>| given(url.as_deref()).map(|url| url.trim_end_matches('/').to_owned());
    endpoint(&settings.source_endpoint_url) == endpoint(&settings.destination_endpoint_url)
}

fn sources(settings: &Settings, request: &Request) -> Result<Vec<Source>, PlanError> {
    let owner = owner("SOURCE_BUCKET_OWNER", settings.source_bucket_owner.as_deref())?;
    let configured = configured(settings)?;
    let mut wanted = match &request.sources {
        None => configured.iter().filter(|source| source.1.is_some()).map(|source| source.0).collect(),
        Some(names) => names.iter().map(|name| name.parse()).collect::<Result<Vec<SourceName>, _>>()?,
    };
    wanted.sort();
    wanted.dedup();
    if wanted.is_empty() {
        return Err(PlanError::NoSource);
    }
    configured
        .into_iter()
        .filter(|(name, ..)| wanted.contains(name))
        .map(|(name, bucket, lands_in)| {
            Ok(Source {
                name,
                bucket: bucket.ok_or(PlanError::SourceNotConfigured(name))?,
                lands_in: lands_in.to_owned(),
                owner: owner.clone(),
            })
        })
        .collect()
}

/// A source's name, its bucket if it is given, and where it lands.
type Configured<'a> = (SourceName, Option<String>, &'a str);

fn configured(settings: &Settings) -> Result<[Configured<'_>; 2], PlanError> {
    Ok([
        (
            SourceName::Database,
            bucket("DATABASE_BUCKET", settings.database_bucket.as_deref())?,
            settings.prefix(SourceName::Database),
        ),
        (
            SourceName::Filesystem,
            bucket("FILESYSTEM_BUCKET", settings.filesystem_bucket.as_deref())?,
            settings.prefix(SourceName::Filesystem),
        ),
    ])
}

/// Bucket names, access point aliases and ARNs; S3 itself judges the finer rules.
pub(crate) fn bucket(setting: &'static str, value: Option<&str>) -> Result<Option<String>, PlanError> {
    let Some(name) = given(value) else { return Ok(None) };
    // A directory bucket lists in no order, and a merge needs one.
    if name.ends_with("--x-s3") {
        return Err(PlanError::DirectoryBucket { setting, bucket: name.to_owned() });
    }
    let plain = name.len() >= 3 && name.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
    if plain || name.starts_with("arn:") {
        Ok(Some(name.to_owned()))
    } else {
        Err(PlanError::BucketName { setting, bucket: name.to_owned() })
    }
}

fn carry(setting: &'static str, value: Option<&str>) -> Result<Carry, PlanError> {
    match given(value) {
        None | Some("auto") => Ok(Carry::Auto),
        Some("copy") => Ok(Carry::Copy),
        Some("skip") => Ok(Carry::Skip),
        Some(value) => Err(PlanError::Carry { setting, value: value.to_owned() }),
    }
}

fn owner(setting: &'static str, value: Option<&str>) -> Result<Option<String>, PlanError> {
    match given(value) {
        None => Ok(None),
        Some(id) if id.len() == 12 && id.bytes().all(|b| b.is_ascii_digit()) => Ok(Some(id.to_owned())),
        Some(id) => Err(PlanError::AccountId { setting, value: id.to_owned() }),
    }
}

fn storage_class(value: Option<&str>) -> Result<Option<StorageClass>, PlanError> {
    let Some(class) = given(value) else { return Ok(None) };
    StorageClass::try_parse(class).map(Some).map_err(|_| PlanError::StorageClass(class.to_owned()))
}

/// S3 copies between buckets of its own only: with two endpoints the bytes must pass here.
fn transfer(settings: &Settings) -> Result<Transfer, PlanError> {
    let one_server = is_one_server(settings);
    if let Some(keys) = &settings.source_credentials
        && (keys.access_key_id().is_empty() || keys.secret_access_key().is_empty())
    {
        return Err(PlanError::HalfCredentials);
    }
    if settings.source_credentials.is_some() && given(settings.source_credentials_secret.as_deref()).is_some()
    {
        return Err(PlanError::TwoCredentials);
    }
    match given(settings.transfer.as_deref()) {
        None | Some("auto") if one_server => Ok(Transfer::Auto),
        Some("server-side") if one_server => Ok(Transfer::ServerSide),
        Some("server-side") => Err(PlanError::TwoServers),
        None | Some("auto" | "stream") => Ok(Transfer::Stream),
        Some(other) => Err(PlanError::Transfer(other.to_owned())),
    }
}

fn max_in_flight(value: Option<&str>) -> Result<usize, PlanError> {
    let Some(text) = given(value) else { return Ok(256) };
    match text.parse() {
        Ok(number) if (1..=10_000).contains(&number) => Ok(number),
        _ => Err(PlanError::MaxInFlight(text.to_owned())),
    }
}

/// What a run holds besides the bodies: the program, its listings, the objects found ahead.
const BESIDES_MIB: usize = 64;
/// What one body holds on its way, in KiB: the HTTP client reads up to 400 KiB ahead on the one
/// side and writes as much behind on the other; the rest is the allocator's.
const STREAM_KIB: usize = 1_536;

fn max_streams(value: Option<&str>) -> Result<usize, PlanError> {
    let text = given(value).unwrap_or("256");
    match text.parse::<usize>() {
        Ok(mib) if (128..=65_536).contains(&mib) => Ok((mib - BESIDES_MIB) * 1_024 / STREAM_KIB),
        _ => Err(PlanError::MemoryLimit(text.to_owned())),
    }
}

fn time(text: &str) -> Result<Timestamp, PlanError> {
    text.parse().map_err(|_| PlanError::Time(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings {
            database_bucket: Some("vendor-database".into()),
            filesystem_bucket: Some("vendor-files".into()),
            destination_bucket: Some("customer".into()),
            ..Settings::default()
        }
    }

    fn refused(settings: &Settings, request: &str) -> PlanError {
        let request = Request::from_value(serde_json::from_str(request).expect("JSON")).expect("a request");
        Plan::new(settings, &request).expect_err("the plan is refused")
    }

    #[test]
    fn an_empty_request_takes_every_configured_source() {
        let plan = Plan::new(&settings(), &Request::default()).expect("valid");
        let sources: Vec<_> = plan
            .sources
            .iter()
            .map(|source| (source.name, source.bucket.as_str(), source.lands_in.as_str()))
            .collect();
        assert_eq!(
            sources,
            [
                (SourceName::Database, "vendor-database", "database/"),
                (SourceName::Filesystem, "vendor-files", "filesystem/")
            ]
        );
        assert_eq!(plan.max_in_flight, 256);
    }

    #[test]
    fn the_memory_limit_bounds_the_bodies_at_once() {
        for (mib, streams) in [(None, 128), (Some("128"), 42), (Some("1024"), 640)] {
            let settings = Settings { memory_limit_mib: mib.map(str::to_owned), ..settings() };
            let plan = Plan::new(&settings, &Request::default()).expect("valid");
            assert_eq!(plan.max_streams, streams, "{mib:?}");
        }
    }

    #[test]
    fn a_prefix_that_is_set_but_empty_is_the_root() {
        let settings =
            Settings { database_prefix: Some(String::new()), filesystem_bucket: None, ..settings() };
        assert_eq!(Plan::new(&settings, &Request::default()).expect("valid").sources[0].lands_in, "");
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let no_destination = Settings { destination_bucket: Some(" ".into()), ..settings() };
        assert_eq!(refused(&no_destination, "{}"), PlanError::NoDestination);
        let no_source =
            Settings { database_bucket: None, filesystem_bucket: Some(String::new()), ..settings() };
        assert_eq!(refused(&no_source, "{}"), PlanError::NoSource);
        assert_eq!(
            refused(&no_source, r#"{"sources": ["database"]}"#),
            PlanError::SourceNotConfigured(SourceName::Database)
        );
        assert_eq!(refused(&settings(), r#"{"sources": []}"#), PlanError::NoSource);
        assert_eq!(
            refused(&settings(), r#"{"sources": ["files"]}"#),
            PlanError::UnknownSource("files".into())
        );
        assert_eq!(refused(&settings(), r#"{"modified_after": "soon"}"#), PlanError::Time("soon".into()));
        for number in ["0", "-1", "many", "10001"] {
            let settings = Settings { max_in_flight: Some(number.into()), ..settings() };
            assert_eq!(refused(&settings, "{}"), PlanError::MaxInFlight(number.into()));
        }
        for mib in ["0", "127", "65537", "1GiB"] {
            let settings = Settings { memory_limit_mib: Some(mib.into()), ..settings() };
            assert_eq!(refused(&settings, "{}"), PlanError::MemoryLimit(mib.into()));
        }
        let class = Settings { storage_class: Some("WARM".into()), ..settings() };
        assert_eq!(refused(&class, "{}"), PlanError::StorageClass("WARM".into()));
        let owner = Settings { source_bucket_owner: Some("me".into()), ..settings() };
        assert!(matches!(refused(&owner, "{}"), PlanError::AccountId { .. }));
        let tags = Settings { tags: Some("yes".into()), ..settings() };
        assert_eq!(refused(&tags, "{}"), PlanError::Carry { setting: "TAGS", value: "yes".into() });
        let directory = Settings { database_bucket: Some("dumps--use1-az4--x-s3".into()), ..settings() };
        assert!(matches!(refused(&directory, "{}"), PlanError::DirectoryBucket { .. }));
        let url = Settings { destination_bucket: Some("s3://customer/".into()), ..settings() };
        assert!(matches!(refused(&url, "{}"), PlanError::BucketName { .. }));
    }

    #[test]
    fn two_servers_stream_unless_that_is_forbidden() {
        let transfer = |transfer: Option<&str>, endpoint: Option<&str>| {
            let settings = Settings {
                transfer: transfer.map(Into::into),
                source_endpoint_url: endpoint.map(Into::into),
                ..settings()
            };
            Plan::new(&settings, &Request::default()).map(|plan| plan.transfer)
        };
        let elsewhere = Some("http://127.0.0.1:9000");
        assert_eq!(transfer(None, None), Ok(Transfer::Auto));
        assert_eq!(transfer(None, Some("")), Ok(Transfer::Auto), "an empty setting is none");
        assert_eq!(transfer(None, elsewhere), Ok(Transfer::Stream));
        assert_eq!(transfer(Some("stream"), None), Ok(Transfer::Stream));
        assert_eq!(transfer(Some("server-side"), None), Ok(Transfer::ServerSide));
        assert_eq!(transfer(Some("server-side"), elsewhere), Err(PlanError::TwoServers));
        assert_eq!(transfer(Some("fast"), None), Err(PlanError::Transfer("fast".into())));
        let half = |name: &str| (name == "SOURCE_ACCESS_KEY_ID").then(|| "AKIA".to_owned());
        let half = Settings { source_credentials: Settings::read(half).source_credentials, ..settings() };
        assert_eq!(refused(&half, "{}"), PlanError::HalfCredentials);
        let both = |name: &str| name.starts_with("SOURCE_").then(|| "vendor-keys".to_owned());
        let both = Settings::read(both);
        let both = Settings {
            source_credentials: both.source_credentials,
            source_credentials_secret: both.source_credentials_secret,
            ..settings()
        };
        assert_eq!(refused(&both, "{}"), PlanError::TwoCredentials);
    }

    #[test]
    fn copies_never_land_in_the_reserved_prefix_or_among_their_sources() {
        let reserved = Settings { database_prefix: Some(".replicator/x/".into()), ..settings() };
        assert!(matches!(refused(&reserved, "{}"), PlanError::ReservedPrefix { .. }));
        let root = Settings { database_prefix: Some(String::new()), filesystem_bucket: None, ..settings() };
        assert!(matches!(refused(&root, r#"{"prefix": ".replicator/"}"#), PlanError::ReservedPrefix { .. }));

        let same = Settings { destination_bucket: Some("vendor-database".into()), ..settings() };
        assert!(matches!(refused(&same, "{}"), PlanError::SameBucket { .. }));
        // Environments cannot unset a name, and URLs may end in a slash.
        for (source, destination) in [("", None), ("http://s3:9000", Some("http://s3:9000/".to_owned()))] {
            let one_server = Settings {
                source_endpoint_url: Some(source.into()),
                destination_endpoint_url: destination,
                ..same.clone()
            };
            assert!(matches!(refused(&one_server, "{}"), PlanError::SameBucket { .. }));
        }
        let elsewhere =
            Settings { destination_endpoint_url: Some("http://127.0.0.1:9000".into()), ..same.clone() };
        assert!(Plan::new(&elsewhere, &Request::default()).is_ok(), "one name on two servers is two buckets");
        let disjoint = Request { prefix: Some("2026/".into()), ..Request::default() };
        assert!(Plan::new(&same, &disjoint).is_ok(), "database/2026/ is not below 2026/");

        let collision = Settings { database_prefix: Some("filesystem/db/".into()), ..settings() };
        assert!(matches!(refused(&collision, "{}"), PlanError::Collision(..)));
        // A schedule for each source must not let in what one for both would not.
        assert!(matches!(refused(&collision, r#"{"sources": ["database"]}"#), PlanError::Collision(..)));
    }

    #[test]
    fn an_unknown_field_lists_the_known_ones() {
        let event = serde_json::json!({"dryrun": true});
        let error = Request::from_value(event).expect_err("unknown field").to_string();
        for known in ["dryrun", "sources", "prefix", "modified_after", "dry_run"] {
            assert!(error.contains(known), "{error}");
        }
    }
}

//! What can go wrong, an enum a stage.
//!
//! Rules: a variant states its own fact and what to do about it; the cause is `source()`,
//! never repeated in the text. Each names the setting, bucket or key it is about. One
//! object's failure is no error here but an [`Outcome`](crate::Outcome). The names that
//! [`PlanError::name`] and [`RunError::name`] answer are stable: alarms may match on them.

use std::fmt;

use jiff::Timestamp;

use crate::operation::Operation;
use crate::{Failure, Remedy, SourceName, Statement};

/// A setting or an event that no run can be made of. Nothing was sent yet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// No bucket to copy into.
    #[error(
        "no destination: set DESTINATION_BUCKET (--destination-bucket) to the bucket that receives the copies"
    )]
    NoDestination,
    /// No bucket to copy from.
    #[error(
        "no source: set DATABASE_BUCKET (--database-bucket) or FILESYSTEM_BUCKET (--filesystem-bucket), \
         and leave `sources` out of the event or name one of them"
    )]
    NoSource,
    /// The event asks for a source whose bucket is not set.
    #[error("the source `{0}` is asked for but has no bucket: set {upper}_BUCKET", upper = .0.to_string().to_uppercase())]
    SourceNotConfigured(SourceName),
    /// The event asks for a source that does not exist.
    #[error("unknown source `{0}`: the sources are `database` and `filesystem`")]
    UnknownSource(String),
    /// A bucket's name that S3 could not have given.
    #[error(
        "{setting} is `{bucket}`, which is no bucket name: give the name alone, such as backup-my-environment-name, without s3:// or a path"
    )]
    BucketName {
        /// The setting that holds it.
        setting: &'static str,
        /// Its value.
        bucket: String,
    },
    /// Directory buckets list their keys in no order.
    #[error(
        "{setting} is `{bucket}`, a directory bucket (S3 Express One Zone), which lists its keys in no order: use a general purpose bucket"
    )]
    DirectoryBucket {
        /// The setting that holds it.
        setting: &'static str,
        /// Its value.
        bucket: String,
    },
    /// The destination is the source, and the copies would be among the objects to copy.
    #[error(
        "`{bucket}` is the {source_name} source and also the destination, and their prefixes overlap: choose another DESTINATION_BUCKET"
    )]
    SameBucket {
        /// The bucket that is both.
        bucket: String,
        /// The source it is.
        source_name: SourceName,
    },
    /// Two sources could write one key.
    #[error(
        "the sources would land on each other: `{0}` and `{1}` overlap; set DATABASE_PREFIX and FILESYSTEM_PREFIX so that neither begins with the other"
    )]
    Collision(String, String),
    /// A prefix in the replicator's own part of the destination.
    #[error(
        "the {source_name} source would land in `{prefix}`, but .replicator/ is the replicator's own: choose another prefix"
    )]
    ReservedPrefix {
        /// The source that would land there.
        source_name: SourceName,
        /// Where it would land.
        prefix: String,
    },
    /// Not an account id.
    #[error("{setting} is `{value}`, which is no AWS account id: give its 12 digits")]
    AccountId {
        /// The setting that holds it.
        setting: &'static str,
        /// Its value.
        value: String,
    },
    /// Not a storage class.
    #[error(
        "STORAGE_CLASS is `{0}`, which S3 does not know: use STANDARD, STANDARD_IA, ONEZONE_IA, INTELLIGENT_TIERING, GLACIER_IR, GLACIER or DEEP_ARCHIVE"
    )]
    StorageClass(String),
    /// Not a way to go.
    #[error("TRANSFER is `{0}`: use auto, server-side or stream")]
    Transfer(String),
    /// Not a way to treat tags or annotations.
    #[error("{setting} is `{value}`: use auto, copy or skip")]
    Carry {
        /// `TAGS` or `ANNOTATIONS`.
        setting: &'static str,
        /// Its value.
        value: String,
    },
    /// Server-side copies between two servers.
    #[error(
        "TRANSFER is server-side, but SOURCE_ENDPOINT_URL and DESTINATION_ENDPOINT_URL differ, and S3 copies between buckets of its own only: use auto or stream"
    )]
    TwoServers,
    /// One of the vendor's two keys.
    #[error("only one of SOURCE_ACCESS_KEY_ID and SOURCE_SECRET_ACCESS_KEY is given: give both, or neither")]
    HalfCredentials,
    /// The vendor's keys from two places.
    #[error(
        "the vendor's keys are given twice: set SOURCE_CREDENTIALS_SECRET, or SOURCE_ACCESS_KEY_ID and SOURCE_SECRET_ACCESS_KEY"
    )]
    TwoCredentials,
    /// Not a number of requests.
    #[error("MAX_IN_FLIGHT is `{0}`: give a whole number from 1 to 10000")]
    MaxInFlight(String),
    /// Not an amount of memory.
    #[error("MEMORY_LIMIT_MIB is `{0}`: give a whole number of MiB from 128 to 65536")]
    MemoryLimit(String),
    /// Not a time.
    #[error("`modified_after` is `{0}`, which is no RFC 3339 time: write it like 2026-11-01T00:00:00Z")]
    Time(String),
    /// Not a usable endpoint.
    #[error("{setting} is `{value}`, which is no endpoint: write it like http://127.0.0.1:9000")]
    Endpoint {
        /// The setting that holds it.
        setting: &'static str,
        /// Its value.
        value: String,
    },
    /// A verification that is asked to write nothing.
    #[error("`verify` and `dry_run` are both asked for: a verification never writes; leave `dry_run` out")]
    DryVerify,
    /// Something to read for nobody.
    #[error("`read` is asked for without `verify`: only a verification reads; give both, or neither")]
    ReadsNothing,
    /// An event that cannot be read.
    #[error(
        "the event cannot be read: {0}; an event is a JSON object such as {{\"sources\": [\"database\"], \"dry_run\": true}}"
    )]
    Event(String),
}

impl PlanError {
    /// The stable name of this kind of error.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Event(_)
            | Self::Time(_)
            | Self::UnknownSource(_)
            | Self::DryVerify
            | Self::ReadsNothing => "InvalidEvent",
            _ => "InvalidConfiguration",
        }
    }
}

/// The name of an error that only says that another run is at work.
pub(crate) const HELD: &str = "HeldByAnother";

/// Why a run could not do its job. What it copied before is at the destination.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The plan was refused.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A bucket could not be listed.
    #[error("cannot list the {side} s3://{bucket}: {remedy}")]
    List {
        /// `source` or `destination`.
        side: &'static str,
        /// The bucket.
        bucket: String,
        /// What to do.
        remedy: Remedy,
        /// What the server said.
        source: Box<S3Error>,
    },
    /// The keys of a bucket came in an order that no merge can trust.
    #[error(
        "s3://{bucket} lists its keys out of order (`{after}` after `{before}`): nothing can be compared safely; general purpose buckets list in the order of the keys' UTF-8 bytes"
    )]
    Disorder {
        /// The bucket.
        bucket: String,
        /// The key listed before.
        before: String,
        /// The key listed after, though it sorts before or equals it.
        after: String,
    },
    /// Every object tried was refused for want of a right.
    #[error("every copy was refused, and nothing was copied: {message}; {remedy}")]
    Denied {
        /// The first refusal.
        message: String,
        /// What to do.
        remedy: Remedy,
    },
    /// Another run has the source. Nothing is lost: that run does the work.
    #[error(
        "the {source_name} source is being replicated by another run: {holder}, since {started:.0}; let that run work, or, if it is dead, run again after {lapses} (in {seconds} s), when its lease lapses"
    )]
    HeldByAnother {
        /// The source.
        source_name: SourceName,
        /// Who runs it.
        holder: String,
        /// When that run began.
        started: Timestamp,
        /// When its lease lapses if that run does not renew it, by the server's clock.
        lapses: Timestamp,
        /// Until then, in seconds.
        seconds: u64,
    },
    /// An object of the replicator's own could not be read or written.
    #[error("cannot read or write s3://{bucket}/{key}, which says what is left of a run: {remedy}")]
    Document {
        /// The destination.
        bucket: String,
        /// Its key.
        key: String,
        /// What to do.
        remedy: Remedy,
        /// What the server said.
        source: Box<S3Error>,
    },
    /// There is no such piece, or run, to go on with.
    #[error(
        "`{0}` in the destination is no piece of a run that was handed over, or of another version of this program; the next run copies what it was about"
    )]
    NoPiece(String),
    /// A piece of a run is called for again and again, and stays as it is.
    #[error("the piece {piece} is given up: {because}; the next run goes on with it")]
    NoHeadway {
        /// Which.
        piece: String,
        /// What is known of it.
        because: String,
    },
    /// A run that was handed over is no longer the one that has its source.
    #[error("the run {run} no longer has the {source_name} source: its lease lapsed, or it was closed")]
    LeaseLost {
        /// The run.
        run: String,
        /// Its source.
        source_name: SourceName,
    },
    /// A run was handed over under other settings.
    #[error(
        "the run of s3://{0} was handed over under other settings than there are now; the next run begins anew"
    )]
    OtherSettings(String),
}

impl RunError {
    /// The stable name of this kind of error.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Plan(error) => error.name(),
            Self::List { source, .. } => source.kind.name(),
            Self::Denied { .. } => S3ErrorKind::AccessDenied.name(),
            Self::Disorder { .. } => "ListingOutOfOrder",
            Self::HeldByAnother { .. } => HELD,
            Self::Document { source, .. } => source.kind.name(),
            Self::NoPiece(_) => "NoPiece",
            Self::NoHeadway { .. } => "NoHeadway",
            Self::LeaseLost { .. } => "LeaseLost",
            Self::OtherSettings(_) => "OtherSettings",
        }
    }

    /// What a report says of it, with its cause.
    pub(crate) fn failure(&self, remedy: &str) -> Failure {
        Failure {
            error: self.name().into(),
            message: match std::error::Error::source(self) {
                Some(cause) => format!("{self}: {cause}"),
                None => self.to_string(),
            },
            remedy: remedy.into(),
            request_id: None,
        }
    }

    /// The policy statement that lets the next run do its job, where a right is missing.
    #[must_use]
    pub fn statement(&self) -> Option<&Statement> {
        match self {
            Self::List { remedy, .. } | Self::Denied { remedy, .. } | Self::Document { remedy, .. } => {
                remedy.statement.as_deref()
            }
            _ => None,
        }
    }
}

/// An answer of S3, or the lack of one, that ended a request for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Error {
    /// What was asked.
    pub operation: Operation,
    /// What it means for a run.
    pub kind: S3ErrorKind,
    /// S3's error code, or the HTTP status or transport failure where there is none.
    pub code: String,
    /// S3's message.
    pub message: String,
    /// S3's request id, which its support asks for.
    pub request_id: Option<String>,
    /// How many times it was tried.
    pub tries: u32,
}

impl S3Error {
    /// A body that broke off, which S3 itself says nothing of.
    pub(crate) fn cut_short(operation: Operation, what: &str, error: &dyn fmt::Display) -> Self {
        Self {
            operation,
            kind: S3ErrorKind::Unreachable,
            code: what.into(),
            message: error.to_string(),
            request_id: None,
            tries: 1,
        }
    }
}

impl fmt::Display for S3Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} answered {}", self.operation, self.code)?;
        if !self.message.is_empty() {
            write!(f, ": {}", self.message.trim_end_matches('.'))?;
        }
        if let Some(id) = &self.request_id {
            write!(f, " (request id {id})")?;
        }
        if self.tries > 1 {
            write!(f, ", tried {} times", self.tries)?;
        }
        Ok(())
    }
}

impl std::error::Error for S3Error {}

/// What an answer means for a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum S3ErrorKind {
    /// 404: the object is not there.
    NotFound,
    /// 404: the multipart upload is not there.
    NoSuchUpload,
    /// 404: the bucket is not there.
    NoSuchBucket,
    /// 412: the object is no longer the one that was listed.
    PreconditionFailed,
    /// 403: a right is missing.
    AccessDenied,
    /// 403, 400: the credentials are wrong, expired, or there are none.
    BadCredentials,
    /// 403: the object is in an archive tier.
    Archived,
    /// 400: the KMS key is there for nobody: disabled, deleted, or of another kind.
    KeyUnusable,
    /// 301, 400: the bucket is in another region.
    WrongRegion,
    /// 503, 429: too many requests a second.
    SlowDown,
    /// 500 and other answers that may differ next time.
    Server,
    /// No connection, or one that broke.
    Unreachable,
    /// No answer in time.
    TimedOut,
    /// An answer that no S3 gives.
    NotS3,
    /// The run was stopped while it waited.
    Stopped,
    /// Anything else; final.
    Refused,
}

impl S3ErrorKind {
    /// Whether the same request may succeed a moment later.
    #[must_use]
    pub fn is_transient(self) -> bool {
        // An answer cut short is unreadable, too.
        matches!(self, Self::SlowDown | Self::Server | Self::Unreachable | Self::TimedOut | Self::NotS3)
    }

    /// Whether other credentials may be let in.
    #[must_use]
    pub fn is_refusal(self) -> bool {
        matches!(self, Self::AccessDenied | Self::BadCredentials)
    }

    /// The stable name of this kind of error.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NotFound => "NotFound",
            Self::NoSuchUpload => "NoSuchUpload",
            Self::NoSuchBucket => "NoSuchBucket",
            Self::PreconditionFailed => "PreconditionFailed",
            Self::AccessDenied => "AccessDenied",
            Self::BadCredentials => "InvalidCredentials",
            Self::Archived => "ObjectArchived",
            Self::KeyUnusable => "KeyUnusable",
            Self::WrongRegion => "WrongRegion",
            Self::SlowDown => "SlowDown",
            Self::Server => "ServerError",
            Self::Unreachable => "EndpointUnreachable",
            Self::TimedOut => "TimedOut",
            Self::NotS3 => "NotS3",
            Self::Stopped => "Stopped",
            Self::Refused => "Refused",
        }
    }
}

//! Copies what is new or changed from a vendor's S3 buckets into a customer's bucket,
//! and reports for every object what became of it.
//!
//! One way through, each stage knowing only the types before it:
//!
//! ```text
//! Settings + Request -> Plan -> list source and destination -> diff
//!     -> copy (CopyObject | UploadPartCopy | stream) -> verify -> Report
//! ```
//!
//! [`replicate()`] is the flow. It takes a validated [`Plan`], the [`Clients`] that reach
//! both sides, a [`Halt`] that says when to stop, and an [`Observer`] that is told of every
//! object; it answers a [`Report`]. [`verify()`] takes the same, only compares, and answers
//! a [`Verification`].
//!
//! # What never happens
//!
//! 1. The source is only ever read.
//! 2. Nothing at the destination is deleted, and nothing outside the configured prefixes and
//!    `.replicator/` is written. `AbortMultipartUpload`, for this run's own uploads, is all that is undone;
//!    the crate calls no `DeleteObject`.
//! 3. An object is reported as copied only after the destination's own answer matched it.
//! 4. A run stopped anywhere and run again ends where an undisturbed one would.
//! 5. A second run over unchanged buckets writes no object but its lease below `.replicator/`,
//!    and sends `ListObjectsV2` only, and three requests for the lease; of a large bucket it also
//!    reads, and may replace, what it keeps there of its listing.
//! 6. No secret is in a log, a report or an error: credentials live in the SDK's own types.
//!
//! The crate reads no environment, no arguments and no events: its callers do.

mod alphabet;
mod audit;
mod checkpoint;
mod clients;
mod copy;
mod diff;
pub mod doctor;
mod documents;
mod error;
mod etag;
pub mod fetch;
mod forecast;
mod halt;
mod join;
mod kept;
mod keyspace;
mod lease;
mod ledger;
mod list;
mod merge;
mod operation;
mod pace;
pub mod pieces;
mod plan;
mod replicate;
mod report;
pub mod reports;
mod rights;
mod s3;
mod settings;
mod tally;
mod verify;

pub use audit::{Comparison, Finding, SourceVerification, Verification, verify};
pub use clients::Clients;
pub use error::{PlanError, RunError, S3Error, S3ErrorKind};
pub use etag::ETag;
pub use halt::Halt;
pub use operation::Operation;
pub use plan::{Carry, Destination, Plan, Source, SourceName, Transfer};
pub use replicate::{Observer, replicate};
pub use report::{
    Amount, Archive, ArchivedObject, FailedObject, Failure, Fate, Lack, LackingObject, Outcome, Property,
    Reason, Report, Resumed, Route, SourceReport, Status, VerifiedBy,
};
pub use rights::{Remedy, Statement};
pub use settings::{RESERVED_PREFIX, Request, Settings};

//! S3's operations: what each costs, the right it needs, and how many were sent.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

/// Requests a run sends, by their names in S3's API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "S3's own names")]
pub enum Operation {
    ListObjectsV2,
    HeadObject,
    GetObjectTagging,
    GetObject,
    CopyObject,
    PutObject,
    CreateMultipartUpload,
    UploadPartCopy,
    UploadPart,
    CompleteMultipartUpload,
    AbortMultipartUpload,
    ListMultipartUploads,
    ListParts,
    ListObjectVersions,
    GetBucketVersioning,
    ListObjectAnnotations,
    GetObjectAnnotation,
    PutObjectAnnotation,
}

impl Operation {
    const ALL: [Self; 18] = [
        Self::ListObjectsV2,
        Self::HeadObject,
        Self::GetObjectTagging,
        Self::GetObject,
        Self::CopyObject,
        Self::PutObject,
        Self::CreateMultipartUpload,
        Self::UploadPartCopy,
        Self::UploadPart,
        Self::CompleteMultipartUpload,
        Self::AbortMultipartUpload,
        Self::ListMultipartUploads,
        Self::ListParts,
        Self::ListObjectVersions,
        Self::GetBucketVersioning,
        Self::ListObjectAnnotations,
        Self::GetObjectAnnotation,
        Self::PutObjectAnnotation,
    ];

    /// USD a request, in us-east-1 for STANDARD. Source: Amazon S3 pricing.
    #[must_use]
    pub fn price(self) -> f64 {
        match self {
            Self::HeadObject
            | Self::GetObject
            | Self::GetObjectTagging
            | Self::GetBucketVersioning
            | Self::GetObjectAnnotation => 0.0004 / 1_000.0,
            Self::AbortMultipartUpload => 0.0,
            _ => 0.005 / 1_000.0,
        }
    }

    /// Whether an object's copy begins with it, but for reading what the object is.
    pub(crate) fn begins_an_object(self) -> bool {
        matches!(self, Self::CopyObject | Self::PutObject | Self::CreateMultipartUpload)
    }

    /// The right that S3 asks for. A copy needs those to read its source besides.
    #[must_use]
    pub fn right(self) -> &'static str {
        match self {
            Self::ListObjectsV2 => "s3:ListBucket",
            Self::HeadObject | Self::GetObject => "s3:GetObject",
            Self::GetObjectTagging => "s3:GetObjectTagging",
            Self::CopyObject
            | Self::PutObject
            | Self::CreateMultipartUpload
            | Self::UploadPartCopy
            | Self::UploadPart
            | Self::CompleteMultipartUpload => "s3:PutObject",
            Self::AbortMultipartUpload => "s3:AbortMultipartUpload",
            Self::ListMultipartUploads => "s3:ListBucketMultipartUploads",
            Self::ListParts => "s3:ListMultipartUploadParts",
            Self::ListObjectVersions => "s3:ListBucketVersions",
            Self::GetBucketVersioning => "s3:GetBucketVersioning",
            Self::ListObjectAnnotations => "s3:ListObjectAnnotations",
            Self::GetObjectAnnotation => "s3:GetObjectAnnotation",
            Self::PutObjectAnnotation => "s3:PutObjectAnnotation",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Requests sent, by operation; every try counts.
#[derive(Debug, Default)]
pub(crate) struct Requests([AtomicU64; Operation::ALL.len()]);

impl Requests {
    pub(crate) fn count(&self, operation: Operation) {
        self.0[operation as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn snapshot(&self) -> BTreeMap<Operation, u64> {
        Operation::ALL
            .into_iter()
            .map(|operation| (operation, self.0[operation as usize].load(Ordering::Relaxed)))
            .filter(|(_, count)| *count > 0)
            .collect()
    }
}

/// The cost of requests in USD.
pub(crate) fn price(requests: &BTreeMap<Operation, u64>) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a price needs no 53 bits")]
    requests
        .iter()
        .map(|(operation, count)| operation.price() * *count as f64)
        .fold(0.0, |sum, cost| sum + cost)
}

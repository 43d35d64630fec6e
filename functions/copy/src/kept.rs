//! The boundaries that a run found, kept in the destination for the next one: below
//! `.replicator/`, one small object a source. They save time and nothing else. What cannot be
//! read, or is not what was written, is as good as none; what cannot be written is no error.

use aws_sdk_s3::primitives::ByteStream;
use serde::{Deserialize, Serialize};

use crate::keyspace::Boundaries;
use crate::operation::Operation;
use crate::s3::{Caller, Side};
use crate::settings::RESERVED_PREFIX;
use crate::{S3Error, SourceName};

/// More than any run writes, of either.
const MOST_BOUNDARIES: usize = 1_000;
const MOST_BYTES: usize = 2 << 20;

/// What is in the object.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    version: u32,
    bucket: String,
    pages: u64,
    boundaries: Vec<String>,
}

const VERSION: u32 = 1;

/// Where a source's boundaries are.
#[derive(Clone)]
pub(crate) struct Shelf {
    caller: Caller,
    destination: Side,
    source: SourceName,
    /// The bucket that they are of.
    bucket: String,
}

impl Shelf {
    pub(crate) fn new(caller: &Caller, destination: &Side, source: SourceName, bucket: &str) -> Self {
        Self { caller: caller.hurried(), destination: destination.clone(), source, bucket: bucket.to_owned() }
    }

    fn key(&self) -> String {
        format!("{RESERVED_PREFIX}listing/{}.json", self.source)
    }

    pub(crate) async fn read(self) -> Boundaries {
        let body = match self.get().await {
            Ok(body) => body,
            Err(error) => {
                tracing::debug!(source = %self.source, %error, "no boundaries of an earlier run");
                return Boundaries::default();
            }
        };
        self.parse(&body).unwrap_or_else(|| {
            tracing::debug!(source = %self.source, key = self.key(), "not the boundaries of this source: ignored");
            Boundaries::default()
        })
    }

    fn parse(&self, body: &[u8]) -> Option<Boundaries> {
        let kept: Kept = serde_json::from_slice(body).ok()?;
        let is_sound = kept.version == VERSION
            && kept.bucket == self.bucket
            && kept.boundaries.len() <= MOST_BOUNDARIES
            && kept.boundaries.is_sorted_by(|a, b| a < b);
        is_sound.then_some(Boundaries { pages: kept.pages, keys: kept.boundaries })
    }

    pub(crate) async fn write(&self, boundaries: Boundaries) {
        let Boundaries { pages, keys: boundaries } = boundaries;
        let kept = Kept { version: VERSION, bucket: self.bucket.clone(), pages, boundaries };
        let Ok(body) = serde_json::to_vec(&kept) else { return };
        if let Err(error) = self.put(body).await {
            tracing::debug!(source = %self.source, %error, "boundaries not kept");
        }
    }

    async fn get(&self) -> Result<Vec<u8>, S3Error> {
        let Side { client, bucket, owner, .. } = &self.destination;
        let get = || async {
            let request = client
                .get_object()
                .bucket(bucket)
                .key(self.key())
                .set_expected_bucket_owner(owner.clone())
                .range(format!("bytes=0-{MOST_BYTES}"))
                .send();
            let answer = self.caller.once(Operation::GetObject, request).await?;
            // A body cut short is no JSON, and as good as none.
            Ok(answer.body.collect().await.map(|body| body.to_vec()).unwrap_or_default())
        };
        self.caller.persist(Operation::GetObject, 0, get).await
    }

    async fn put(&self, body: Vec<u8>) -> Result<(), S3Error> {
        let Side { client, bucket, owner, .. } = &self.destination;
        let put = || {
            client
                .put_object()
                .bucket(bucket)
                .key(self.key())
                .set_expected_bucket_owner(owner.clone())
                .content_type("application/json")
                .body(ByteStream::from(body.clone()))
                .send()
        };
        self.caller.send(Operation::PutObject, put).await.map(drop)
    }
}

//! A server under test, and what the tests say about its answers.

use std::fmt::Debug;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail};
use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use integration_tests::Minio;
use md5::{Digest, Md5};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// The smallest part that is not the last one.
pub(crate) const MIN_PART: usize = 5 * 1024 * 1024;

/// One of the servers that are held to the contract.
pub(crate) struct Server {
    pub(crate) endpoint: String,
    pub(crate) access_key: String,
    pub(crate) secret_key: String,
    pub(crate) client: Client,
}

impl Server {
    pub(crate) fn minio(minio: &Minio) -> Server {
        Server::at(&minio.endpoint(), minio.access_key(), minio.secret_key())
    }

    pub(crate) fn sim(sim: &s3_sim::Sim) -> Server {
        Server::at(&sim.endpoint(), "sim-access-key", "sim-secret-key")
    }

    fn at(endpoint: &str, access_key: &str, secret_key: &str) -> Server {
        Server {
            endpoint: endpoint.to_owned(),
            access_key: access_key.to_owned(),
            secret_key: secret_key.to_owned(),
            client: integration_tests::client(endpoint, access_key, secret_key),
        }
    }

    /// Creates a bucket that no other test uses, and answers its name.
    pub(crate) async fn bucket(&self) -> Result<String> {
        static BUCKETS: AtomicU32 = AtomicU32::new(0);
        let name = format!("bucket-{}", BUCKETS.fetch_add(1, Ordering::Relaxed));
        self.client.create_bucket().bucket(&name).send().await?;
        Ok(name)
    }

    /// Puts an object without headers, and answers its ETag.
    pub(crate) async fn put(&self, bucket: &str, key: &str, bytes: &[u8]) -> Result<String> {
        let put = self.client.put_object().bucket(bucket).key(key);
        let answer = put
            .body(ByteStream::from(bytes.to_vec()))
            .send()
            .await
            .with_context(|| format!("PutObject {key:?}"))?;
        Ok(answer.e_tag.unwrap_or_default())
    }

    /// Puts an empty object under each key.
    pub(crate) async fn put_all(&self, bucket: &str, keys: &[&str]) -> Result<()> {
        for key in keys {
            self.put(bucket, key, b"").await?;
        }
        Ok(())
    }

    /// Reads an object.
    pub(crate) async fn get(&self, bucket: &str, key: &str) -> Result<Vec<u8>> {
        let get = self.client.get_object().bucket(bucket).key(key);
        let answer = get.send().await.with_context(|| format!("GetObject {key:?}"))?;
        Ok(answer.body.collect().await?.to_vec())
    }

    /// The tags of an object as `key=value`, in order.
    pub(crate) async fn tags(&self, bucket: &str, key: &str) -> Result<Vec<String>> {
        let tagging = self.client.get_object_tagging().bucket(bucket).key(key);
        let mut tags: Vec<String> =
            tagging.send().await?.tag_set.iter().map(|tag| format!("{}={}", tag.key, tag.value)).collect();
        tags.sort();
        Ok(tags)
    }

    /// Opens a multipart upload without headers, and answers its id.
    pub(crate) async fn open(&self, bucket: &str, key: &str) -> Result<String> {
        let create = self.client.create_multipart_upload();
        let created = create.bucket(bucket).key(key).send().await?;
        created.upload_id.context("no upload id")
    }

    /// Uploads one part, and answers how to name it on completion.
    pub(crate) async fn part(
        &self,
        (bucket, key, upload): (&str, &str, &str),
        number: i32,
        bytes: &[u8],
    ) -> Result<CompletedPart> {
        let part = self.client.upload_part().bucket(bucket).key(key);
        let answer =
            part.upload_id(upload).part_number(number).body(ByteStream::from(bytes.to_vec())).send().await?;
        Ok(completed(number, answer.e_tag.unwrap_or_default()))
    }

    /// Uploads an object in these parts, and answers its ETag.
    pub(crate) async fn put_parts(&self, bucket: &str, key: &str, parts: &[Vec<u8>]) -> Result<String> {
        let upload = self.open(bucket, key).await?;
        let mut done = Vec::new();
        for (number, bytes) in (1..).zip(parts) {
            done.push(self.part((bucket, key, &upload), number, bytes).await?);
        }
        let complete = self.client.complete_multipart_upload();
        let completed =
            complete.bucket(bucket).key(key).upload_id(upload).multipart_upload(all(done)).send().await?;
        Ok(completed.e_tag.unwrap_or_default())
    }
}

pub(crate) fn completed(number: i32, etag: impl Into<String>) -> CompletedPart {
    CompletedPart::builder().part_number(number).e_tag(etag).build()
}

pub(crate) fn all(parts: Vec<CompletedPart>) -> CompletedMultipartUpload {
    CompletedMultipartUpload::builder().set_parts(Some(parts)).build()
}

/// Bytes of this length that no other length starts with.
pub(crate) fn bytes(length: usize) -> Vec<u8> {
    let seed = length as u64;
    (0..length as u64).map(|at| (at.wrapping_mul(seed | 1) >> 3) as u8).collect()
}

/// The plain ETag of these bytes, quotes included.
pub(crate) fn plain_etag(bytes: &[u8]) -> String {
    format!("\"{}\"", hex(&Md5::digest(bytes)))
}

/// The ETag of an object that was uploaded in these parts, quotes included.
pub(crate) fn multipart_etag(parts: &[Vec<u8>]) -> String {
    let digests: Vec<u8> = parts.iter().flat_map(Md5::digest).collect();
    format!("\"{}-{}\"", hex(&Md5::digest(&digests)), parts.len())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A copy source, percent-encoded as S3 wants it.
pub(crate) fn copy_source(bucket: &str, key: &str) -> String {
    const ESCAPED: &AsciiSet =
        &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    format!("{bucket}/{}", utf8_percent_encode(key, ESCAPED))
}

/// The status and the code of an answer that has to be an error.
pub(crate) fn refused<T: Debug, E>(result: Result<T, SdkError<E>>) -> Result<(u16, Option<String>)>
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    match result {
        Ok(answer) => bail!("this should have been refused: {answer:?}"),
        Err(SdkError::ServiceError(error)) => {
            Ok((error.raw().status().as_u16(), error.err().code().map(str::to_owned)))
        }
        Err(error) => Err(error.into()),
    }
}

/// What [`refused`] answers for an error that has a body.
pub(crate) fn refusal(status: u16, code: &str) -> (u16, Option<String>) {
    (status, Some(code.to_owned()))
}

//! A server as the tests fill and read it, without the engine.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};
use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart, EncodingType};
use integration_tests::Minio;
use percent_encoding::percent_decode_str;
use s3_sim::Sim;

pub(crate) struct Server {
    pub(crate) endpoint: String,
    pub(crate) access_key: String,
    pub(crate) secret_key: String,
    client: Client,
}

impl Server {
    pub(crate) fn minio(minio: &Minio) -> Server {
        Server::at(minio.endpoint(), minio.access_key(), minio.secret_key())
    }

    pub(crate) fn sim(sim: &Sim) -> Server {
        Server::at(sim.endpoint(), "sim-access-key", "sim-secret-key")
    }

    fn at(endpoint: String, access_key: &str, secret_key: &str) -> Server {
        let client = integration_tests::client(&endpoint, access_key, secret_key);
        Server { endpoint, access_key: access_key.into(), secret_key: secret_key.into(), client }
    }

    /// Creates a bucket that no other test uses, and answers its name.
    pub(crate) async fn bucket(&self) -> Result<String> {
        static BUCKETS: AtomicU32 = AtomicU32::new(0);
        let name = format!("keys-{}", BUCKETS.fetch_add(1, Ordering::Relaxed));
        self.client.create_bucket().bucket(&name).send().await?;
        Ok(name)
    }

    /// Puts an object, in one piece or as an upload of one part; answers the code of the
    /// refusal, if there is one.
    pub(crate) async fn try_put(
        &self,
        bucket: &str,
        key: &str,
        body: Vec<u8>,
        parts: bool,
    ) -> Result<Result<(), String>> {
        let body = ByteStream::from(body);
        if !parts {
            let put = self.client.put_object().bucket(bucket).key(key).body(body);
            return refused(put.send().await.map(drop), key);
        }
        let upload = match self.client.create_multipart_upload().bucket(bucket).key(key).send().await {
            Ok(upload) => upload,
            Err(error) => return refused(Err(error), key),
        };
        let id = upload.upload_id().context("no upload id")?;
        let part = self.client.upload_part().bucket(bucket).key(key).upload_id(id).part_number(1);
        let part = match part.body(body).send().await {
            Ok(part) => part,
            Err(error) => return refused(Err(error), key),
        };
        let part = CompletedPart::builder().part_number(1).set_e_tag(part.e_tag).build();
        let parts = CompletedMultipartUpload::builder().parts(part).build();
        let complete = self.client.complete_multipart_upload().bucket(bucket).key(key).upload_id(id);
        refused(complete.multipart_upload(parts).send().await.map(drop), key)
    }

    /// Puts an object that has to be taken.
    pub(crate) async fn put(&self, bucket: &str, key: &str, body: Vec<u8>, parts: bool) -> Result<()> {
        let put = self.try_put(bucket, key, body, parts).await?;
        put.map_err(|code| anyhow::anyhow!("{key:?}: {code}"))
    }

    pub(crate) async fn get(&self, bucket: &str, key: &str) -> Result<Vec<u8>> {
        let get = self.client.get_object().bucket(bucket).key(key).send().await;
        let got = get.with_context(|| format!("GetObject {key:?}"))?;
        Ok(got.body.collect().await?.to_vec())
    }

    /// All keys of a bucket with fewer than a page of them.
    pub(crate) async fn keys(&self, bucket: &str) -> Result<BTreeSet<String>> {
        let list = self.client.list_objects_v2().bucket(bucket).encoding_type(EncodingType::Url);
        let page = list.send().await?;
        assert_ne!(page.is_truncated(), Some(true), "more than a page");
        let decode = |key: &str| Ok(percent_decode_str(&key.replace('+', " ")).decode_utf8()?.into_owned());
        // Every run keeps its report beside the copies.
        let keys = page.contents().iter().filter_map(|object| object.key());
        let own = [".replicator/reports/", ".replicator/lease/", ".replicator/checkpoint/"];
        keys.filter(|key| !own.iter().any(|own| key.starts_with(own))).map(decode).collect()
    }
}

/// The code of a refusal; any other error is one.
fn refused<E>(answer: Result<(), SdkError<E>>, key: &str) -> Result<Result<(), String>>
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    match answer {
        Ok(()) => Ok(Ok(())),
        Err(SdkError::ServiceError(error)) => Ok(Err(error.err().code().unwrap_or_default().to_owned())),
        Err(error) => Err(error).with_context(|| format!("{key:?}")),
    }
}

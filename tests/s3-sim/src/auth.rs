//! Who asks, and whether they may: secrets for s3s's signature check, the rights each
//! operation needs, and what buckets demand (owner, requester pays).

use std::sync::Arc;

use async_trait::async_trait;
use http::HeaderMap;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{Credentials, S3Auth, SecretKey};
use s3s::{S3Error, S3ErrorCode, S3Result};

use crate::conditions::text_header;
use crate::config::User;
use crate::errors::error;
use crate::state::{Bucket, Encryption, State};
use crate::sync::ReadWrite;

/// Gives s3s the secrets and checks what can be told from an operation's name.
#[derive(Clone)]
pub(crate) struct Gate(pub(crate) Arc<State>);

#[async_trait]
impl S3Auth for Gate {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        match self.0.user(access_key) {
            Some(user) => Ok(SecretKey::from(user.secret_key.as_str())),
            None => Err(error(
                S3ErrorCode::InvalidAccessKeyId,
                "The AWS Access Key Id you provided does not exist in our records.",
            )),
        }
    }
}

#[async_trait]
impl S3Access for Gate {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        let caller = Caller::of(&self.0, context.credentials())?;
        let Some(bucket) = context.s3_path().get_bucket_name() else {
            return caller.need("s3:ListAllMyBuckets", "", None);
        };
        let key = context.s3_path().get_object_key();
        if let Some(action) = action_of(context.s3_op().name()) {
            let of_version = context.uri().query().is_some_and(|query| query.contains("versionId="));
            let action = if of_version && action == "s3:GetObject" { "s3:GetObjectVersion" } else { action };
            caller.need(action, bucket, key)?;
        }
        if let Some(bucket) = self.0.bucket(bucket) {
            check_demands(&self.0, &bucket, context.headers(), "x-amz-expected-bucket-owner")?;
        }
        Ok(())
    }
}

/// The right an operation needs on the bucket in its path. Of copies that is the
/// destination; the operation itself checks the source.
fn action_of(operation: &str) -> Option<&'static str> {
    Some(match operation {
        "CreateBucket" => "s3:CreateBucket",
        "DeleteBucket" => "s3:DeleteBucket",
        "HeadBucket" | "ListObjects" | "ListObjectsV2" => "s3:ListBucket",
        "ListObjectVersions" => "s3:ListBucketVersions",
        "GetBucketLocation" => "s3:GetBucketLocation",
        "GetBucketVersioning" => "s3:GetBucketVersioning",
        "PutBucketVersioning" => "s3:PutBucketVersioning",
        "GetBucketEncryption" => "s3:GetEncryptionConfiguration",
        "PutBucketEncryption" => "s3:PutEncryptionConfiguration",
        "ListMultipartUploads" => "s3:ListBucketMultipartUploads",
        "ListParts" => "s3:ListMultipartUploadParts",
        "AbortMultipartUpload" => "s3:AbortMultipartUpload",
        "HeadObject" | "GetObject" | "GetObjectAttributes" => "s3:GetObject",
        "GetObjectTagging" => "s3:GetObjectTagging",
        "PutObjectTagging" => "s3:PutObjectTagging",
        "DeleteObjectTagging" => "s3:DeleteObjectTagging",
        "DeleteObject" | "DeleteObjects" => "s3:DeleteObject",
        "PutObject"
        | "CopyObject"
        | "CreateMultipartUpload"
        | "UploadPart"
        | "UploadPartCopy"
        | "CompleteMultipartUpload" => "s3:PutObject",
        _ => return None,
    })
}

/// Refuses a request that expects another owner, or does not agree to pay.
pub(crate) fn check_demands(
    state: &State,
    bucket: &Bucket,
    headers: &HeaderMap,
    owner_header: &str,
) -> S3Result<()> {
    let settings = bucket.settings.reading();
    let owner = settings.owner.as_deref().unwrap_or(state.account_id());
    let expects_another = text_header(headers, owner_header).is_some_and(|expected| expected != owner);
    let must_pay = settings.requester_pays && !headers.contains_key("x-amz-request-payer");
    if expects_another || must_pay {
        return Err(error(S3ErrorCode::AccessDenied, "Access Denied"));
    }
    Ok(())
}

/// The user a request was signed by.
pub(crate) struct Caller<'a> {
    state: &'a State,
    user: Arc<User>,
}

impl<'a> Caller<'a> {
    /// # Errors
    ///
    /// AccessDenied for unsigned requests.
    pub(crate) fn of(state: &'a State, credentials: Option<&Credentials>) -> S3Result<Self> {
        let user = credentials
            .and_then(|credentials| state.user(&credentials.access_key))
            .ok_or_else(|| error(S3ErrorCode::AccessDenied, "Access Denied"))?;
        Ok(Self { state, user })
    }

    pub(crate) fn may(&self, action: &str, bucket: &str) -> bool {
        self.user.may(action, bucket)
    }

    /// # Errors
    ///
    /// AccessDenied if the user may not do `action`.
    pub(crate) fn need(&self, action: &str, bucket: &str, key: Option<&str>) -> S3Result<()> {
        if self.may(action, bucket) {
            return Ok(());
        }
        // S3 explains itself within one account only.
        let owner = self.state.bucket(bucket).and_then(|bucket| bucket.settings.reading().owner.clone());
        if owner.is_some_and(|owner| owner != self.state.account_id()) {
            return Err(error(S3ErrorCode::AccessDenied, "Access Denied"));
        }
        let slash = if key.is_some() { "/" } else { "" };
        let key = key.unwrap_or_default();
        Err(self.refusal(action, &format!("\"arn:aws:s3:::{bucket}{slash}{key}\"")))
    }

    /// # Errors
    ///
    /// AccessDenied if the user may not do `action` with the key of SSE-KMS.
    pub(crate) fn need_key(&self, action: &str, encryption: &Encryption) -> S3Result<()> {
        match encryption {
            Encryption::Kms(key) if !self.may(action, key) => Err(self.refusal(action, key)),
            _ => Ok(()),
        }
    }

    fn refusal(&self, action: &str, resource: &str) -> S3Error {
        S3Error::with_message(
            S3ErrorCode::AccessDenied,
            format!(
                "User: arn:aws:iam::{account}:user/{user} is not authorized to perform: {action} \
                 on resource: {resource} because no identity-based policy allows the {action} action",
                account = self.state.account_id(),
                user = self.user.access_key,
            ),
        )
    }
}

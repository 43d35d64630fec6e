//! Buckets themselves: ListBuckets, CreateBucket, DeleteBucket, HeadBucket, and their
//! location, versioning and encryption.

use s3s::dto::*;
use s3s::path::check_bucket_name;
use s3s::{S3ErrorCode, S3Request, S3Response};

use super::{Answer, Api, timestamp};
use crate::errors;
use crate::state::{Encryption, Versioning};
use crate::sync::ReadWrite;

const REGION: &str = "us-east-1";

pub(super) async fn list_buckets(
    api: &Api,
    _request: S3Request<ListBucketsInput>,
) -> Answer<ListBucketsOutput> {
    let buckets = api
        .state
        .buckets()
        .iter()
        .map(|bucket| Bucket {
            name: Some(bucket.name.clone()),
            creation_date: Some(timestamp(bucket.created)),
            ..Bucket::default()
        })
        .collect();
    Ok(S3Response::new(ListBucketsOutput {
        buckets: Some(buckets),
        owner: Some(Owner { display_name: None, id: Some(api.state.account_id().to_owned()) }),
        ..ListBucketsOutput::default()
    }))
}

pub(super) async fn create_bucket(
    api: &Api,
    request: S3Request<CreateBucketInput>,
) -> Answer<CreateBucketOutput> {
    let name = request.input.bucket;
    if !check_bucket_name(&name) {
        return Err(errors::error(S3ErrorCode::InvalidBucketName, "The specified bucket is not valid."));
    }
    if api.state.bucket(&name).is_some() {
        return Err(errors::error(
            S3ErrorCode::BucketAlreadyOwnedByYou,
            "Your previous request to create the named bucket succeeded and you already own it.",
        ));
    }
    api.state.create_bucket(&name);
    Ok(S3Response::new(CreateBucketOutput { location: Some(format!("/{name}")) }))
}

pub(super) async fn delete_bucket(
    api: &Api,
    request: S3Request<DeleteBucketInput>,
) -> Answer<DeleteBucketOutput> {
    if !api.bucket(&request.input.bucket)?.is_empty() {
        return Err(errors::error(
            S3ErrorCode::BucketNotEmpty,
            "The bucket you tried to delete is not empty",
        ));
    }
    api.state.delete_bucket(&request.input.bucket);
    Ok(S3Response::new(DeleteBucketOutput::default()))
}

pub(super) async fn head_bucket(api: &Api, request: S3Request<HeadBucketInput>) -> Answer<HeadBucketOutput> {
    api.bucket(&request.input.bucket)?;
    Ok(S3Response::new(HeadBucketOutput {
        bucket_region: Some(REGION.to_owned()),
        ..HeadBucketOutput::default()
    }))
}

/// us-east-1 is spelled by an empty constraint.
pub(super) async fn get_bucket_location(
    api: &Api,
    request: S3Request<GetBucketLocationInput>,
) -> Answer<GetBucketLocationOutput> {
    api.bucket(&request.input.bucket)?;
    Ok(S3Response::new(GetBucketLocationOutput::default()))
}

pub(super) async fn get_bucket_versioning(
    api: &Api,
    request: S3Request<GetBucketVersioningInput>,
) -> Answer<GetBucketVersioningOutput> {
    let bucket = api.bucket(&request.input.bucket)?;
    let status = match bucket.settings.reading().versioning {
        Versioning::Off => None,
        Versioning::Enabled => Some(BucketVersioningStatus::ENABLED),
        Versioning::Suspended => Some(BucketVersioningStatus::SUSPENDED),
    };
    Ok(S3Response::new(GetBucketVersioningOutput {
        status: status.map(BucketVersioningStatus::from_static),
        ..GetBucketVersioningOutput::default()
    }))
}

pub(super) async fn put_bucket_versioning(
    api: &Api,
    request: S3Request<PutBucketVersioningInput>,
) -> Answer<PutBucketVersioningOutput> {
    let bucket = api.bucket(&request.input.bucket)?;
    let status = request.input.versioning_configuration.status;
    bucket.settings.writing().versioning = match status.as_ref().map(|status| status.as_str()) {
        Some(BucketVersioningStatus::ENABLED) => Versioning::Enabled,
        Some(BucketVersioningStatus::SUSPENDED) => Versioning::Suspended,
        _ => {
            return Err(errors::error(
                S3ErrorCode::IllegalVersioningConfigurationException,
                "The Versioning element must be specified",
            ));
        }
    };
    Ok(S3Response::new(PutBucketVersioningOutput::default()))
}

/// Every bucket has a default encryption since 2023: SSE-S3 if nothing else was set.
pub(super) async fn get_bucket_encryption(
    api: &Api,
    request: S3Request<GetBucketEncryptionInput>,
) -> Answer<GetBucketEncryptionOutput> {
    let bucket = api.bucket(&request.input.bucket)?;
    let default = bucket.settings.reading().encryption.clone();
    let (algorithm, key) = match default.unwrap_or_default() {
        Encryption::S3 => (ServerSideEncryption::AES256, None),
        Encryption::Kms(key) => (ServerSideEncryption::AWS_KMS, Some(key.to_string())),
    };
    Ok(S3Response::new(GetBucketEncryptionOutput {
        server_side_encryption_configuration: Some(ServerSideEncryptionConfiguration {
            rules: vec![ServerSideEncryptionRule {
                apply_server_side_encryption_by_default: Some(ServerSideEncryptionByDefault {
                    kms_master_key_id: key,
                    sse_algorithm: ServerSideEncryption::from_static(algorithm),
                }),
                bucket_key_enabled: Some(false),
            }],
        }),
    }))
}

pub(super) async fn put_bucket_encryption(
    api: &Api,
    request: S3Request<PutBucketEncryptionInput>,
) -> Answer<PutBucketEncryptionOutput> {
    let bucket = api.bucket(&request.input.bucket)?;
    let rules = request.input.server_side_encryption_configuration.rules;
    let default =
        rules.into_iter().find_map(|rule| rule.apply_server_side_encryption_by_default).ok_or_else(|| {
            errors::error(S3ErrorCode::MalformedXML, "The XML you provided was not well-formed")
        })?;
    bucket.settings.writing().encryption = Some(match default.sse_algorithm.as_str() {
        ServerSideEncryption::AES256 => Encryption::S3,
        _ => super::headers::kms(&api.state, default.kms_master_key_id.as_deref()),
    });
    Ok(S3Response::new(PutBucketEncryptionOutput::default()))
}

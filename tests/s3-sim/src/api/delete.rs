//! DeleteObject and DeleteObjects.

use s3s::dto::*;
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};

use super::{Answer, Api};
use crate::errors;
use crate::state::{Bucket, VersionId};

pub(super) async fn delete_object(
    api: &Api,
    request: S3Request<DeleteObjectInput>,
) -> Answer<DeleteObjectOutput> {
    let input = request.input;
    let bucket = api.bucket(&input.bucket)?;
    let deleted = delete(&bucket, &input.key, input.version_id.as_deref())?;
    Ok(S3Response::new(DeleteObjectOutput {
        delete_marker: deleted.is_marker.then_some(true),
        version_id: deleted.version_id.map(VersionId::text),
        ..DeleteObjectOutput::default()
    }))
}

pub(super) async fn delete_objects(
    api: &Api,
    request: S3Request<DeleteObjectsInput>,
) -> Answer<DeleteObjectsOutput> {
    let input = request.input;
    let bucket = api.bucket(&input.bucket)?;
    if input.delete.objects.len() > 1000 || input.delete.objects.is_empty() {
        return Err(errors::error(
            S3ErrorCode::MalformedXML,
            "The XML you provided was not well-formed or did not validate against our published \
             schema",
        ));
    }
    let mut deleted = Vec::new();
    let mut failed = Vec::new();
    for named in input.delete.objects {
        match delete(&bucket, &named.key, named.version_id.as_deref()) {
            Ok(done) => deleted.push(DeletedObject {
                delete_marker: done.is_marker.then_some(true),
                delete_marker_version_id: done.version_id.filter(|_| done.is_marker).map(VersionId::text),
                key: Some(named.key),
                version_id: named.version_id,
            }),
            Err(error) => failed.push(Error {
                code: Some(error.code().as_str().to_owned()),
                key: Some(named.key),
                message: error.message().map(str::to_owned),
                version_id: named.version_id,
            }),
        }
    }
    let quiet = input.delete.quiet.unwrap_or(false);
    Ok(S3Response::new(DeleteObjectsOutput {
        deleted: (!quiet).then_some(deleted),
        errors: (!failed.is_empty()).then_some(failed),
        ..DeleteObjectsOutput::default()
    }))
}

fn delete(bucket: &Bucket, key: &str, version_id: Option<&str>) -> S3Result<crate::state::Deleted> {
    let Some(version_id) = version_id else {
        return Ok(bucket.delete(key));
    };
    let id = VersionId::parse(version_id)
        .ok_or_else(|| errors::invalid_argument("Invalid version id specified"))?;
    Ok(bucket.delete_version(key, id))
}

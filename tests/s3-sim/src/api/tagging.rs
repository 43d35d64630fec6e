//! GetObjectTagging, PutObjectTagging, DeleteObjectTagging.

use std::sync::Arc;

use http::HeaderMap;
use s3s::dto::*;
use s3s::{S3Request, S3Result};

use super::{Answer, Api, headers, with_headers};
use crate::state::{NO_TAGS, StoredObject};

pub(super) async fn get_object_tagging(
    api: &Api,
    request: S3Request<GetObjectTaggingInput>,
) -> Answer<GetObjectTaggingOutput> {
    let input = &request.input;
    let caller = api.caller(request.credentials.as_ref())?;
    let bucket = api.bucket(&input.bucket)?;
    let object = api.find(&caller, &bucket, &input.key, input.version_id.as_deref())?;
    let tag_set = object
        .tags
        .iter()
        .map(|(key, value)| Tag { key: Some(key.clone()), value: Some(value.clone()) })
        .collect();
    let output = GetObjectTaggingOutput { tag_set, ..GetObjectTaggingOutput::default() };
    with_headers(output, version_header(&object))
}

pub(super) async fn put_object_tagging(
    api: &Api,
    request: S3Request<PutObjectTaggingInput>,
) -> Answer<PutObjectTaggingOutput> {
    let input = request.input;
    let pairs = input
        .tagging
        .tag_set
        .into_iter()
        .map(|tag| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default()));
    let tags = Arc::new(headers::checked_tags(pairs)?);
    let version_id = input.version_id.as_deref();
    let credentials = request.credentials.as_ref();
    let object = change(api, credentials, &input.bucket, &input.key, version_id, tags)?;
    with_headers(PutObjectTaggingOutput::default(), version_header(&object))
}

pub(super) async fn delete_object_tagging(
    api: &Api,
    request: S3Request<DeleteObjectTaggingInput>,
) -> Answer<DeleteObjectTaggingOutput> {
    let input = request.input;
    let tags = NO_TAGS.clone();
    let version_id = input.version_id.as_deref();
    let credentials = request.credentials.as_ref();
    let object = change(api, credentials, &input.bucket, &input.key, version_id, tags)?;
    with_headers(DeleteObjectTaggingOutput::default(), version_header(&object))
}

fn change(
    api: &Api,
    credentials: Option<&s3s::auth::Credentials>,
    bucket: &str,
    key: &str,
    version_id: Option<&str>,
    tags: Arc<crate::state::Tags>,
) -> S3Result<Arc<StoredObject>> {
    let caller = api.caller(credentials)?;
    let bucket = api.bucket(bucket)?;
    let object = api.find(&caller, &bucket, key, version_id)?;
    bucket.update(key, Some(object.version_id), |object| object.tags = tags);
    Ok(object)
}

fn version_header(object: &StoredObject) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers::add_version(&mut headers, object.version_id);
    headers
}

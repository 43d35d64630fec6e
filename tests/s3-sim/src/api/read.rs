//! HeadObject and GetObject.

use std::ops::Range;

use futures_util::stream;
use http::{HeaderMap, StatusCode};
use s3s::dto::{GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput, StreamingBlob};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};

use super::{Answer, Api, headers};
use crate::auth::Caller;
use crate::conditions::ReadConditions;
use crate::content::Content;
use crate::errors;
use crate::state::StoredObject;

/// What is asked of an object: all of it, a range, or a part.
struct Selection {
    range: Range<u64>,
    /// The part asked for, from 0.
    part: Option<usize>,
    partial: bool,
}

pub(super) async fn head_object(api: &Api, request: S3Request<HeadObjectInput>) -> Answer<HeadObjectOutput> {
    let input = &request.input;
    let caller = api.caller(request.credentials.as_ref())?;
    let bucket = api.bucket(&input.bucket)?;
    let object = api.find(&caller, &bucket, &input.key, input.version_id.as_deref())?;
    ReadConditions::of_object(&request.headers).check_read(&object)?;
    let selection = select(&object, input.range, input.part_number)?;
    let with_checksum = input.checksum_mode.is_some();
    let output = HeadObjectOutput {
        content_length: Some(length(&selection)),
        metadata: user_metadata(&object),
        ..HeadObjectOutput::default()
    };
    let headers = answer_headers(&caller, &bucket.name, &object, &selection, with_checksum);
    Ok(partial(output, headers, &selection))
}

pub(super) async fn get_object(api: &Api, request: S3Request<GetObjectInput>) -> Answer<GetObjectOutput> {
    let input = &request.input;
    let caller = api.caller(request.credentials.as_ref())?;
    let bucket = api.bucket(&input.bucket)?;
    let object = api.find(&caller, &bucket, &input.key, input.version_id.as_deref())?;
    ReadConditions::of_object(&request.headers).check_read(&object)?;
    if object.is_archived() {
        return Err(errors::archived());
    }
    caller.need_key("kms:Decrypt", &object.encryption)?;
    let selection = select(&object, input.range, input.part_number)?;
    // Clients compare what they receive; a description's checksum is not that of its bytes.
    let with_checksum = input.checksum_mode.is_some() && !object.content.is_virtual();
    let mut headers = answer_headers(&caller, &bucket.name, &object, &selection, with_checksum);
    for (name, value) in [
        ("content-type", &input.response_content_type),
        ("cache-control", &input.response_cache_control),
        ("content-disposition", &input.response_content_disposition),
        ("content-encoding", &input.response_content_encoding),
        ("content-language", &input.response_content_language),
    ] {
        if let Some(value) = value {
            headers::add(&mut headers, name, value);
        }
    }
    let output = GetObjectOutput {
        body: Some(body(&object.content.slice(selection.range.clone()))),
        content_length: Some(length(&selection)),
        metadata: user_metadata(&object),
        ..GetObjectOutput::default()
    };
    Ok(partial(output, headers, &selection))
}

fn partial<T>(output: T, headers: HeaderMap, selection: &Selection) -> S3Response<T> {
    let mut response = S3Response::with_headers(output, headers);
    if selection.partial {
        response.status = Some(StatusCode::PARTIAL_CONTENT);
    }
    response
}

fn length(selection: &Selection) -> i64 {
    (selection.range.end - selection.range.start) as i64
}

fn user_metadata(object: &StoredObject) -> Option<s3s::dto::Metadata> {
    let metadata = &object.properties.user_metadata;
    (!metadata.is_empty())
        .then(|| metadata.iter().map(|(name, value)| (name.clone(), value.clone())).collect())
}

/// Which bytes a request wants.
fn select(
    object: &StoredObject,
    range: Option<s3s::dto::Range>,
    part_number: Option<i32>,
) -> S3Result<Selection> {
    let size = object.content.len();
    match (range, part_number) {
        (None, None) => Ok(Selection { range: 0..size, part: None, partial: false }),
        (Some(_), Some(_)) => {
            Err(errors::invalid_request("Cannot specify both Range header and partNumber query parameter"))
        }
        (Some(range), None) => {
            let range = range.check(size).map_err(|_| {
                errors::error(S3ErrorCode::InvalidRange, "The requested range is not satisfiable")
            })?;
            Ok(Selection { range, part: None, partial: true })
        }
        (None, Some(number)) => select_part(object, number),
    }
}

/// An object written in one piece is its own part 1.
fn select_part(object: &StoredObject, number: i32) -> S3Result<Selection> {
    let size = object.content.len();
    let sizes = object.part_sizes.as_deref().unwrap_or(&[]);
    let index =
        usize::try_from(number - 1).ok().filter(|index| *index < sizes.len().max(1)).ok_or_else(|| {
            errors::custom(
                StatusCode::RANGE_NOT_SATISFIABLE,
                "InvalidPartNumber",
                "The requested partnumber is not satisfiable",
            )
        })?;
    let start: u64 = sizes[..index].iter().sum();
    let end = start + sizes.get(index).copied().unwrap_or(size);
    Ok(Selection { range: start..end, part: Some(index), partial: size > 0 })
}

fn answer_headers(
    caller: &Caller<'_>,
    bucket: &str,
    object: &StoredObject,
    selection: &Selection,
    with_checksum: bool,
) -> HeaderMap {
    let mut all = headers::of_object(object);
    if selection.partial {
        let Range { start, end } = selection.range;
        let size = object.content.len();
        headers::add(&mut all, "content-range", format!("bytes {start}-{}/{size}", end - 1));
    }
    if let (Some(_), Some(sizes)) = (selection.part, object.part_sizes.as_deref()) {
        headers::add(&mut all, "x-amz-mp-parts-count", sizes.len().to_string());
    }
    // Who may not read tags is not told how many there are.
    if !object.tags.is_empty() && caller.may("s3:GetObjectTagging", bucket) {
        headers::add(&mut all, "x-amz-tagging-count", object.tags.len().to_string());
    }
    if with_checksum {
        let part_value = selection.part.and_then(|part| object.checksum.parts.get(part));
        match part_value {
            Some(value) => {
                headers::add(&mut all, object.checksum.algorithm.header(), value.base64());
                headers::add(&mut all, "x-amz-checksum-type", object.checksum.type_name());
            }
            // A checksum of all of it says nothing about a range.
            None if selection.partial && selection.part.is_none() => {}
            None => headers::add_checksum(&mut all, &object.checksum),
        }
    }
    all
}

/// Sends bytes as they are; virtual ones are made while they are sent.
fn body(content: &Content) -> StreamingBlob {
    if content.is_virtual() {
        return StreamingBlob::wrap(stream::iter(content.chunks().map(Ok::<_, std::convert::Infallible>)));
    }
    StreamingBlob::from(s3s::Body::from(content.to_bytes()))
}

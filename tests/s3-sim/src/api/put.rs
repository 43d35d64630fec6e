//! PutObject, and how bodies are received and checked.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use http::HeaderMap;
use s3s::dto::{PutObjectInput, PutObjectOutput, StreamingBlob};
use s3s::{S3ErrorCode, S3Request, S3Result, TrailingHeaders};

use super::{Answer, Api, headers, with_headers};
use crate::checksum::{ChecksumAlgorithm, ObjectChecksum};
use crate::conditions::{WriteConditions, text_header};
use crate::content::Content;
use crate::errors;
use crate::etag::ETag;
use crate::state::{Bucket, Encryption, Extras, State, StoredObject, VersionId};
use crate::sync::ReadWrite;
use crate::time;

/// The most a single PUT or part may have.
pub(super) const MAX_PUT: u64 = 5 * 1024 * 1024 * 1024;

pub(super) async fn put_object(api: &Api, request: S3Request<PutObjectInput>) -> Answer<PutObjectOutput> {
    let input = request.input;
    let caller = api.caller(request.credentials.as_ref())?;
    let bucket = api.bucket(&input.bucket)?;
    let tags = headers::tags(&request.headers)?;
    if !tags.is_empty() {
        caller.need("s3:PutObjectTagging", &bucket.name, Some(&input.key))?;
    }
    let encryption = headers::encryption(&api.state, &bucket, &request.headers);
    caller.need_key("kms:GenerateDataKey", &encryption)?;
    let conditions = WriteConditions::of(&request.headers)?;
    let received = receive(input.body, &request.headers, request.trailing_headers.as_ref()).await?;
    demand_integrity(&bucket, &request.headers, &received)?;
    demand_condition(&bucket, &conditions)?;
    let algorithm = received.algorithm.unwrap_or(ChecksumAlgorithm::Crc64Nvme);
    let checksum = ObjectChecksum::whole(algorithm, &received.content, received.algorithm.is_some());
    let object = StoredObject {
        etag: etag_of(&api.state, received.md5, &encryption),
        part_sizes: None,
        checksum: checksum.into(),
        content: received.content,
        properties: headers::properties(&request.headers, input.metadata)?,
        tags,
        website_redirect: headers::website_redirect(&request.headers),
        storage_class: headers::storage_class(&request.headers)?,
        restore: None,
        extras: Extras::default(),
        encryption,
        last_modified: time::now(),
        version_id: VersionId::NULL,
    };
    let id = bucket.write(&input.key, object.clone(), &conditions)?;
    let mut answer = headers::of_written(&object, id);
    headers::add_checksum(&mut answer, &object.checksum);
    let output = PutObjectOutput { e_tag: Some(object.etag.to_dto()), ..PutObjectOutput::default() };
    with_headers(output, answer)
}

/// Refuses a body without a checksum where Object Lock retains what is written.
pub(super) fn demand_integrity(bucket: &Bucket, headers: &HeaderMap, received: &Received) -> S3Result<()> {
    let checked = received.algorithm.is_some() || headers.contains_key("content-md5");
    if checked || !bucket.settings.reading().retains {
        return Ok(());
    }
    Err(errors::invalid_request(
        "Content-MD5 OR x-amz-checksum- HTTP header is required for Put requests with Object Lock parameters",
    ))
}

/// Refuses an unconditional write where the bucket's policy does.
pub(super) fn demand_condition(bucket: &Bucket, conditions: &WriteConditions) -> S3Result<()> {
    if conditions.is_empty() && bucket.settings.reading().demands_conditions {
        return Err(errors::error(S3ErrorCode::AccessDenied, "Access Denied"));
    }
    Ok(())
}

/// Refuses bytes that are not those that Content-MD5 says.
pub(super) fn check_md5(headers: &HeaderMap, md5: [u8; 16]) -> S3Result<()> {
    let Some(expected) = text_header(headers, "content-md5") else { return Ok(()) };
    let expected = BASE64_STANDARD.decode(&expected).unwrap_or_default();
    if expected.len() != md5.len() {
        return Err(errors::error(S3ErrorCode::InvalidDigest, "The Content-MD5 you specified was invalid."));
    }
    if expected != md5 {
        return Err(errors::error(
            S3ErrorCode::BadDigest,
            "The Content-MD5 you specified did not match what we received.",
        ));
    }
    Ok(())
}

/// The ETag of one piece: its MD5, but under SSE-KMS something else.
pub(super) fn etag_of(state: &State, md5: [u8; 16], encryption: &Encryption) -> ETag {
    let etag = ETag::single(md5);
    match encryption {
        Encryption::S3 => etag,
        Encryption::Kms(_) => etag.obscured(state.nonce()),
    }
}

/// A body that arrived whole and is what its sender says.
pub(super) struct Received {
    pub(super) content: Content,
    pub(super) md5: [u8; 16],
    /// The algorithm of the checksum that came along.
    pub(super) algorithm: Option<ChecksumAlgorithm>,
}

/// Reads a body and checks its length, Content-MD5 and checksums, in headers or trailers.
pub(super) async fn receive(
    body: Option<StreamingBlob>,
    headers: &HeaderMap,
    trailers: Option<&TrailingHeaders>,
) -> S3Result<Received> {
    let bytes = match body {
        Some(body) => collect(body).await?,
        None => Bytes::new(),
    };
    if bytes.len() as u64 > MAX_PUT {
        return Err(errors::error(
            S3ErrorCode::EntityTooLarge,
            "Your proposed upload exceeds the maximum allowed size",
        ));
    }
    let content = Content::bytes(bytes);
    let md5 = content.md5();
    check_md5(headers, md5)?;
    // Trailers are complete once the body is.
    let trailers = trailers.and_then(TrailingHeaders::take);
    let mut algorithm = None;
    for candidate in ChecksumAlgorithm::ALL {
        let name = candidate.header();
        let sent = text_header(headers, name)
            .or_else(|| trailers.as_ref().and_then(|trailers| text_header(trailers, name)));
        if let Some(sent) = sent {
            check_value(candidate, &sent, &content)?;
            algorithm = Some(candidate);
        }
    }
    Ok(Received { content, md5, algorithm })
}

fn check_value(algorithm: ChecksumAlgorithm, sent: &str, content: &Content) -> S3Result<()> {
    if algorithm.of(content).base64() == sent.trim() {
        return Ok(());
    }
    Err(errors::error(
        S3ErrorCode::BadDigest,
        format!("The {} you specified did not match the calculated checksum.", algorithm.name()),
    ))
}

/// One allocation at most; none if the body came in one piece.
async fn collect(mut body: StreamingBlob) -> S3Result<Bytes> {
    let incomplete = |_| {
        errors::error(
            S3ErrorCode::IncompleteBody,
            "You did not provide the number of bytes specified by the Content-Length HTTP header",
        )
    };
    let Some(first) = body.next().await.transpose().map_err(incomplete)? else {
        return Ok(Bytes::new());
    };
    let mut all = BytesMut::new();
    while let Some(next) = body.next().await.transpose().map_err(incomplete)? {
        if all.is_empty() {
            all.extend_from_slice(&first);
        }
        all.extend_from_slice(&next);
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

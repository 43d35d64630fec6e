//! ListObjectAnnotations, GetObjectAnnotation, PutObjectAnnotation, which s3s does not have, and
//! the uploads with an Expires that is no date, which it refuses.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::EXPIRES;
use http::{HeaderMap, Method, Uri};
use s3s::dto::CreateMultipartUploadInput;
use s3s::route::S3Route;
use s3s::{Body, S3ErrorCode, S3Request, S3Response, S3Result};

use super::xml::Xml;
use super::{Api, multipart};
use crate::conditions::text_header;
use crate::errors;
use crate::operation::target;
use crate::state::State;
use crate::time::{iso8601, parse_http_date};

/// S3's limit of an annotation.
const LARGEST: usize = 1 << 20;

pub(crate) struct Annotations(pub(crate) Arc<State>);

#[async_trait]
impl S3Route for Annotations {
    fn is_match(&self, method: &Method, uri: &Uri, headers: &HeaderMap, _: &mut http::Extensions) -> bool {
        let opens = method == Method::POST && parameter(uri, "uploads").is_some();
        parameter(uri, "annotation").is_some() || opens && !has_a_date(headers)
    }

    async fn call(&self, request: S3Request<Body>) -> S3Result<S3Response<Body>> {
        let api = Api { state: self.0.clone() };
        if parameter(&request.uri, "annotation").is_none() {
            return open_upload(&api, request).await;
        }
        let name = parameter(&request.uri, "annotationName");
        match (request.method.clone(), name) {
            (Method::GET, None) => list(&api, &request),
            (Method::GET, Some(name)) => get(&api, &request, &name),
            (Method::PUT, Some(name)) => put(&api, request, name).await,
            _ => Err(errors::error(S3ErrorCode::NotImplemented, "Not implemented")),
        }
    }
}

fn has_a_date(headers: &HeaderMap) -> bool {
    text_header(headers, EXPIRES.as_str()).is_none_or(|expires| parse_http_date(&expires).is_some())
}

/// A parameter's value, decoded; empty where it has none.
fn parameter(uri: &Uri, name: &str) -> Option<String> {
    let pairs = uri.query()?.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let (_, value) = pairs.into_iter().find(|(key, _)| *key == name)?;
    Some(percent_encoding::percent_decode_str(value).decode_utf8_lossy().into_owned())
}

fn list(api: &Api, request: &S3Request<Body>) -> S3Result<S3Response<Body>> {
    let (bucket, key) = target(&request.uri);
    let caller = api.caller(request.credentials.as_ref())?;
    caller.need("s3:ListObjectAnnotations", &bucket, Some(&key))?;
    let object = api.find(&caller, &*api.bucket(&bucket)?, &key, None)?;
    let mut xml = Xml::document("ListObjectAnnotationsOutput", false, 1_024);
    xml.element("Bucket", &bucket);
    xml.element("Key", &key);
    xml.start("Annotations");
    for (name, text) in object.extras.annotations.iter() {
        xml.start("AnnotationEntry");
        xml.element("AnnotationName", name);
        xml.element("LastModified", &iso8601(object.last_modified));
        xml.element("Size", &text.len().to_string());
        xml.end("AnnotationEntry");
    }
    xml.end("Annotations");
    Ok(S3Response::new(xml.close("ListObjectAnnotationsOutput").into()))
}

fn get(api: &Api, request: &S3Request<Body>, name: &str) -> S3Result<S3Response<Body>> {
    let (bucket, key) = target(&request.uri);
    let caller = api.caller(request.credentials.as_ref())?;
    caller.need("s3:GetObjectAnnotation", &bucket, Some(&key))?;
    let object = api.find(&caller, &*api.bucket(&bucket)?, &key, None)?;
    let text = object.extras.annotations.get(name).ok_or_else(errors::no_such_key)?;
    Ok(S3Response::new(Bytes::from(text.clone()).into()))
}

async fn put(api: &Api, mut request: S3Request<Body>, name: String) -> S3Result<S3Response<Body>> {
    let (bucket, key) = target(&request.uri);
    let payload = request.input.store_all_limited(LARGEST).await;
    let payload = payload.map_err(|_| errors::invalid_request("The annotation is too large."))?;
    let text = String::from_utf8(payload.into()).map_err(|_| errors::invalid_request("Not UTF-8."))?;
    let caller = api.caller(request.credentials.as_ref())?;
    caller.need("s3:PutObjectAnnotation", &bucket, Some(&key))?;
    let bucket = api.bucket(&bucket)?;
    let object = api.find(&caller, &bucket, &key, None)?;
    let expected = text_header(&request.headers, "x-amz-object-if-match");
    if expected.is_some_and(|expected| expected.trim_matches('"') != object.etag.to_string()) {
        return Err(errors::precondition_failed());
    }
    bucket.update(&key, Some(object.version_id), |object| {
        Arc::make_mut(&mut object.extras.annotations).insert(name, text);
    });
    Ok(S3Response::new(Body::empty()))
}

async fn open_upload(api: &Api, request: S3Request<Body>) -> S3Result<S3Response<Body>> {
    let (bucket, key) = target(&request.uri);
    api.caller(request.credentials.as_ref())?.need("s3:PutObject", &bucket, Some(&key))?;
    let metadata = request.headers.iter().filter_map(|(name, value)| {
        let name = name.as_str().strip_prefix("x-amz-meta-")?;
        Some((name.to_owned(), value.to_str().ok()?.to_owned()))
    });
    let mut input = CreateMultipartUploadInput::builder();
    input.set_bucket(bucket.clone());
    input.set_key(key.clone());
    input.set_metadata(Some(metadata.collect()));
    let input = input.build().map_err(|_| errors::invalid_request("No upload."))?;
    let opened = multipart::create_multipart_upload(api, request.map_input(|_| input)).await?;
    let mut xml = Xml::document("InitiateMultipartUploadResult", false, 256);
    xml.element("Bucket", &bucket);
    xml.element("Key", &key);
    xml.element("UploadId", &opened.output.upload_id.unwrap_or_default());
    let body = xml.close("InitiateMultipartUploadResult").into();
    Ok(S3Response::with_headers(body, opened.headers))
}

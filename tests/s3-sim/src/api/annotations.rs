//! ListObjectAnnotations, GetObjectAnnotation, PutObjectAnnotation, which s3s does not have.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, Method, Uri};
use s3s::route::S3Route;
use s3s::{Body, S3ErrorCode, S3Request, S3Response, S3Result};

use super::xml::Xml;
use super::{Api, put};
use crate::conditions::text_header;
use crate::content::Content;
use crate::errors;
use crate::operation::target;
use crate::state::State;
use crate::time::iso8601;

/// S3's limit of an annotation.
const LARGEST: usize = 1 << 20;

pub(crate) struct Annotations(pub(crate) Arc<State>);

#[async_trait]
impl S3Route for Annotations {
    fn is_match(&self, _: &Method, uri: &Uri, _: &HeaderMap, _: &mut http::Extensions) -> bool {
        parameter(uri, "annotation").is_some()
    }

    async fn call(&self, request: S3Request<Body>) -> S3Result<S3Response<Body>> {
        let api = Api { state: self.0.clone() };
        let name = parameter(&request.uri, "annotationName");
        match (request.method.clone(), name) {
            (Method::GET, None) => list(&api, &request),
            (Method::GET, Some(name)) => get(&api, &request, &name),
            (Method::PUT, Some(name)) => annotate(&api, request, name).await,
            _ => Err(errors::error(S3ErrorCode::NotImplemented, "Not implemented")),
        }
    }
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

async fn annotate(api: &Api, mut request: S3Request<Body>, name: String) -> S3Result<S3Response<Body>> {
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
    put::check_md5(&request.headers, Content::bytes(text.clone()).md5())?;
    let mut xml = Xml::document("PutObjectAnnotationOutput", false, 256);
    xml.element("AnnotationName", &name);
    bucket.update(&key, Some(object.version_id), |object| {
        Arc::make_mut(&mut object.extras.annotations).insert(name, text);
    });
    Ok(S3Response::new(xml.close("PutObjectAnnotationOutput").into()))
}

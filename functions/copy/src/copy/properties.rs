//! What an object is besides its bytes, and what CreateMultipartUpload and PutObject must
//! be told, where CopyObject would have kept it by itself.

use std::collections::HashMap;

use aws_sdk_s3::config::http::HttpRequest;
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::types::Tag;

use super::Job;
use crate::S3Error;
use crate::operation::Operation;
use crate::plan::Carry;
use crate::s3::{Caller, Side};

/// User metadata and content headers.
#[derive(Clone, Debug, Default)]
pub(super) struct Properties {
    pub(super) metadata: Option<HashMap<String, String>>,
    pub(super) cache_control: Option<String>,
    pub(super) content_disposition: Option<String>,
    pub(super) content_encoding: Option<String>,
    pub(super) content_language: Option<String>,
    pub(super) content_type: Option<String>,
    /// Any text, which S3 keeps as it is.
    pub(super) expires: Option<String>,
    pub(super) website_redirect_location: Option<String>,
}

/// GET and HEAD answer the same headers in two types.
macro_rules! properties_from {
    ($output:ty) => {
        impl From<&$output> for Properties {
            fn from(output: &$output) -> Self {
                Self {
                    metadata: output.metadata.clone(),
                    cache_control: output.cache_control.clone(),
                    content_disposition: output.content_disposition.clone(),
                    content_encoding: output.content_encoding.clone(),
                    content_language: output.content_language.clone(),
                    content_type: output.content_type.clone(),
                    expires: output.expires_string.clone(),
                    website_redirect_location: output.website_redirect_location.clone(),
                }
            }
        }
    };
}

properties_from!(HeadObjectOutput);
properties_from!(GetObjectOutput);

/// Says Expires as the source does. The SDK takes dates only.
pub(super) fn expires(properties: &Properties) -> impl Fn(&mut HttpRequest) + Send + Sync + 'static {
    let expires = properties.expires.clone();
    move |request| {
        if let Some(expires) = expires.clone() {
            request.headers_mut().insert("expires", expires);
        }
    }
}

impl Job {
    /// The source's tags as `x-amz-tagging` carries them. HEAD and GET count them, but not
    /// for those who may not read them: only a count of 0 is an answer.
    pub(super) async fn tags(
        &self,
        caller: &Caller,
        source: &Side,
        key: &str,
        count: Option<i32>,
    ) -> Result<Option<String>, S3Error> {
        if count == Some(0) || self.tags == Carry::Skip {
            return Ok(None);
        }
        let tagging = caller
            .send(Operation::GetObjectTagging, || {
                source
                    .client
                    .get_object_tagging()
                    .bucket(&source.bucket)
                    .key(key)
                    .set_expected_bucket_owner(source.owner.clone())
                    .send()
            })
            .await?;
        let tags = tagging.tag_set().iter().map(pair).collect::<Vec<_>>().join("&");
        Ok((!tags.is_empty()).then_some(tags))
    }
}

fn pair(tag: &Tag) -> String {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    let encode = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
    format!("{}={}", encode(tag.key()), encode(tag.value()))
}

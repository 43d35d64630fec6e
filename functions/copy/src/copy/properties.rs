//! What an object is besides its bytes, and what CreateMultipartUpload and PutObject must
//! be told, where CopyObject would have kept it by itself.

use std::collections::HashMap;

use aws_sdk_s3::config::http::HttpRequest;
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;

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

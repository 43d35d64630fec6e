//! What an object is besides its bytes, and what CreateMultipartUpload and PutObject must
//! be told, where CopyObject would have kept it by itself.

use std::collections::HashMap;

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};

/// User metadata and content headers.
#[derive(Clone, Debug, Default)]
pub(super) struct Properties {
    pub(super) metadata: Option<HashMap<String, String>>,
    pub(super) cache_control: Option<String>,
    pub(super) content_disposition: Option<String>,
    pub(super) content_encoding: Option<String>,
    pub(super) content_language: Option<String>,
    pub(super) content_type: Option<String>,
    pub(super) expires: Option<DateTime>,
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
                    // S3 keeps any text here; the SDK takes dates only.
                    expires: output
                        .expires_string
                        .as_deref()
                        .and_then(|text| DateTime::from_str(text, DateTimeFormat::HttpDate).ok()),
                    website_redirect_location: output.website_redirect_location.clone(),
                }
            }
        }
    };
}

properties_from!(HeadObjectOutput);
properties_from!(GetObjectOutput);

//! S3's errors with the messages S3 gives them.

use std::borrow::Cow;

use http::StatusCode;
use s3s::{S3Error, S3ErrorCode};

/// An error with a message.
pub(crate) fn error(code: S3ErrorCode, message: impl Into<Cow<'static, str>>) -> S3Error {
    S3Error::with_message(code, message)
}

/// An error whose code s3s has no name for.
pub(crate) fn custom(status: StatusCode, code: &str, message: impl Into<Cow<'static, str>>) -> S3Error {
    let mut error = error(S3ErrorCode::Custom(code.into()), message);
    error.set_status_code(status);
    error
}

pub(crate) fn no_such_bucket() -> S3Error {
    error(S3ErrorCode::NoSuchBucket, "The specified bucket does not exist")
}

pub(crate) fn no_such_key() -> S3Error {
    error(S3ErrorCode::NoSuchKey, "The specified key does not exist.")
}

pub(crate) fn no_such_version() -> S3Error {
    error(S3ErrorCode::NoSuchVersion, "The specified version does not exist.")
}

pub(crate) fn no_such_upload() -> S3Error {
    error(
        S3ErrorCode::NoSuchUpload,
        "The specified upload does not exist. The upload ID may be invalid, or the upload may \
         have been aborted or completed.",
    )
}

pub(crate) fn precondition_failed() -> S3Error {
    error(S3ErrorCode::PreconditionFailed, "At least one of the pre-conditions you specified did not hold")
}

pub(crate) fn not_modified() -> S3Error {
    let mut error = S3Error::new(S3ErrorCode::NotModified);
    error.set_status_code(StatusCode::NOT_MODIFIED);
    error
}

pub(crate) fn invalid_argument(message: impl Into<Cow<'static, str>>) -> S3Error {
    error(S3ErrorCode::InvalidArgument, message)
}

pub(crate) fn invalid_request(message: impl Into<Cow<'static, str>>) -> S3Error {
    error(S3ErrorCode::InvalidRequest, message)
}

pub(crate) fn archived() -> S3Error {
    error(S3ErrorCode::InvalidObjectState, "The operation is not valid for the object's storage class")
}

pub(crate) fn source_too_large() -> S3Error {
    invalid_request(
        "The specified copy source is larger than the maximum allowable size for a copy \
         source: 5368709120",
    )
}

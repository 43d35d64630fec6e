//! Conditional requests: If-Match and its like, for reading, for copy sources, for writing.
//!
//! Taken from the request's headers as they came, because s3s 0.14 does not hand over the
//! destination's conditions of CopyObject.

use std::time::SystemTime;

use http::HeaderMap;
use s3s::{S3ErrorCode, S3Result};

use crate::errors;
use crate::etag::ETag;
use crate::state::StoredObject;
use crate::time::parse_http_date;

/// The four conditions on an object that is read.
#[derive(Debug, Default)]
pub(crate) struct ReadConditions {
    if_match: Option<String>,
    if_none_match: Option<String>,
    if_modified_since: Option<SystemTime>,
    if_unmodified_since: Option<SystemTime>,
}

enum Verdict {
    Holds,
    NotModified,
    Failed,
}

impl ReadConditions {
    /// Those of GET and HEAD.
    pub(crate) fn of_object(headers: &HeaderMap) -> Self {
        Self::with_prefix(headers, "")
    }

    /// Those on the source of a copy.
    pub(crate) fn of_copy_source(headers: &HeaderMap) -> Self {
        Self::with_prefix(headers, "x-amz-copy-source-")
    }

    fn with_prefix(headers: &HeaderMap, prefix: &str) -> Self {
        let text = |name: &str| text_header(headers, &format!("{prefix}{name}"));
        let date = |name: &str| text(name).and_then(|date| parse_http_date(&date));
        Self {
            if_match: text("if-match"),
            if_none_match: text("if-none-match"),
            if_modified_since: date("if-modified-since"),
            if_unmodified_since: date("if-unmodified-since"),
        }
    }

    /// As GET and HEAD answer: 412 or 304.
    pub(crate) fn check_read(&self, object: &StoredObject) -> S3Result<()> {
        match self.verdict(object.etag, object.last_modified) {
            Verdict::Holds => Ok(()),
            Verdict::NotModified => Err(errors::not_modified()),
            Verdict::Failed => Err(errors::precondition_failed()),
        }
    }

    /// As copies answer: always 412.
    pub(crate) fn check_source(&self, object: &StoredObject) -> S3Result<()> {
        match self.verdict(object.etag, object.last_modified) {
            Verdict::Holds => Ok(()),
            Verdict::NotModified | Verdict::Failed => Err(errors::precondition_failed()),
        }
    }

    /// An ETag condition that is there decides over the date condition beside it.
    fn verdict(&self, etag: ETag, last_modified: SystemTime) -> Verdict {
        match (&self.if_match, self.if_unmodified_since) {
            (Some(tags), _) if !etag_matches(tags, etag) => return Verdict::Failed,
            (None, Some(moment)) if last_modified > moment => return Verdict::Failed,
            _ => {}
        }
        match (&self.if_none_match, self.if_modified_since) {
            (Some(tags), _) if etag_matches(tags, etag) => Verdict::NotModified,
            (None, Some(moment)) if last_modified <= moment => Verdict::NotModified,
            _ => Verdict::Holds,
        }
    }
}

/// The two conditions on an object that is written.
#[derive(Debug, Default)]
pub(crate) struct WriteConditions {
    if_match: Option<String>,
    if_none_match: bool,
}

impl WriteConditions {
    /// # Errors
    ///
    /// 501 for an If-None-Match other than `*`, which S3 does not implement.
    pub(crate) fn of(headers: &HeaderMap) -> S3Result<Self> {
        let if_none_match = match text_header(headers, "if-none-match").as_deref() {
            None => false,
            Some("*") => true,
            Some(_) => {
                return Err(errors::error(
                    S3ErrorCode::NotImplemented,
                    "A header you provided implies functionality that is not implemented",
                ));
            }
        };
        Ok(Self { if_match: text_header(headers, "if-match"), if_none_match })
    }

    /// True if there is nothing to check.
    pub(crate) fn is_empty(&self) -> bool {
        self.if_match.is_none() && !self.if_none_match
    }

    /// Checks them against what is at the key now: 412, or 404 for an If-Match on nothing.
    pub(crate) fn check(&self, present: Option<ETag>) -> S3Result<()> {
        if self.if_none_match && present.is_some() {
            return Err(errors::precondition_failed());
        }
        match (&self.if_match, present) {
            (None, _) => Ok(()),
            (Some(_), None) => Err(errors::no_such_key()),
            (Some(tags), Some(etag)) if etag_matches(tags, etag) => Ok(()),
            (Some(_), Some(_)) => Err(errors::precondition_failed()),
        }
    }
}

/// True if a header's list of ETags names `etag`, quoted or not, or is `*`.
fn etag_matches(header: &str, etag: ETag) -> bool {
    let etag = etag.to_string();
    header
        .split(',')
        .map(str::trim)
        .any(|candidate| candidate == "*" || candidate.trim_start_matches("W/").trim_matches('"') == etag)
}

/// A header's value as text.
pub(crate) fn text_header(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?;
    Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn verdict(conditions: &[(&'static str, &str)]) -> u16 {
        let mut headers = HeaderMap::new();
        for (name, value) in conditions {
            headers.insert(*name, value.parse().unwrap());
        }
        let modified = UNIX_EPOCH + Duration::from_secs(1_704_067_200);
        let etag = ETag::single([0xab; 16]);
        match ReadConditions::of_object(&headers).verdict(etag, modified) {
            Verdict::Holds => 200,
            Verdict::NotModified => 304,
            Verdict::Failed => 412,
        }
    }

    #[test]
    fn etags_decide_before_dates() {
        const ETAG: &str = "\"abababababababababababababababab\"";
        const BEFORE: &str = "Sun, 31 Dec 2023 00:00:00 GMT";
        const SAME: &str = "Mon, 01 Jan 2024 00:00:00 GMT";
        assert_eq!(verdict(&[("if-match", ETAG), ("if-unmodified-since", BEFORE)]), 200);
        assert_eq!(verdict(&[("if-match", "\"other\"")]), 412);
        assert_eq!(verdict(&[("if-unmodified-since", BEFORE)]), 412);
        assert_eq!(verdict(&[("if-unmodified-since", SAME)]), 200);
        assert_eq!(verdict(&[("if-none-match", ETAG), ("if-modified-since", BEFORE)]), 304);
        assert_eq!(verdict(&[("if-modified-since", SAME)]), 304);
        assert_eq!(verdict(&[("if-modified-since", BEFORE)]), 200);
        assert_eq!(verdict(&[("if-match", "\"x\", *")]), 200);
    }
}

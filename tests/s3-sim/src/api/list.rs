//! ListObjectsV2 and ListObjects.
//!
//! A page of 1,000 keys is written straight into its XML: s3s's own answer would allocate five
//! strings a key first.

use std::ops::Bound;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::HeaderMap;
use s3s::dto::{ListObjectsInput, ListObjectsOutput, ListObjectsV2Input, ListObjectsV2Output};
use s3s::{S3Request, S3Response, S3Result};

use super::xml::{Listed, Xml};
use super::{Answer, Api, RawXml};
use crate::conditions::text_header;
use crate::errors;
use crate::state::{Bucket, Row, Step};

const MAX_KEYS: i32 = 1000;

/// Where a page starts.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Start {
    Beginning,
    /// After this key.
    After(String),
    /// After all keys with this common prefix.
    AfterPrefix(String),
}

impl Start {
    /// An opaque token that says the same.
    fn token(&self) -> String {
        let (kind, text) = match self {
            Start::Beginning => ('b', ""),
            Start::After(key) => ('k', key.as_str()),
            Start::AfterPrefix(prefix) => ('p', prefix.as_str()),
        };
        BASE64_URL_SAFE_NO_PAD.encode(format!("{kind}{text}"))
    }

    fn from_token(token: &str) -> Option<Self> {
        let decoded = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
        let mut rest = decoded.chars();
        let kind = rest.next()?;
        let text = rest.as_str().to_owned();
        match kind {
            'b' => Some(Start::Beginning),
            'k' => Some(Start::After(text)),
            'p' => Some(Start::AfterPrefix(text)),
            _ => None,
        }
    }
}

struct Page {
    contents: Xml,
    prefixes: Xml,
    count: usize,
    /// Where the next page starts, if there is one.
    next: Option<Start>,
}

struct Query {
    prefix: String,
    delimiter: String,
    max_keys: i32,
    encodes: bool,
    with_owner: Option<String>,
    with_restore_status: bool,
}

impl Query {
    fn new(
        prefix: Option<&str>,
        delimiter: Option<&str>,
        max_keys: Option<i32>,
        encoding_type: Option<&str>,
        headers: &HeaderMap,
    ) -> S3Result<Self> {
        let max_keys = max_keys.unwrap_or(MAX_KEYS);
        if max_keys < 0 {
            return Err(errors::invalid_argument(
                "Argument maxKeys must be an integer between 0 and 2147483647",
            ));
        }
        let encodes = match encoding_type {
            None => false,
            Some("url") => true,
            Some(_) => {
                return Err(errors::invalid_argument("Invalid Encoding Method specified in Request"));
            }
        };
        Ok(Self {
            prefix: prefix.unwrap_or_default().to_owned(),
            delimiter: delimiter.unwrap_or_default().to_owned(),
            max_keys: max_keys.min(MAX_KEYS),
            encodes,
            with_owner: None,
            with_restore_status: text_header(headers, "x-amz-optional-object-attributes")
                .is_some_and(|attributes| attributes.contains("RestoreStatus")),
        })
    }

    fn page(&self, bucket: &Bucket, start: &Start) -> Page {
        let mut page = Page {
            contents: Xml::new(self.encodes, 400 * self.max_keys as usize),
            prefixes: Xml::new(self.encodes, 0),
            count: 0,
            next: None,
        };
        let from = match start {
            Start::After(key) if *key >= self.prefix => Bound::Excluded(key.clone()),
            Start::AfterPrefix(prefix) if *prefix >= self.prefix => match successor(prefix) {
                Some(key) => Bound::Included(key),
                None => return page,
            },
            _ => Bound::Included(self.prefix.clone()),
        };
        if self.max_keys == 0 {
            return page;
        }
        let mut last = Start::Beginning;
        let mut last_key = String::new();
        bucket.scan(from, |key, row| {
            let Some(rest) = key.strip_prefix(self.prefix.as_str()) else {
                return Step::Stop;
            };
            let listed = match row {
                Row::Written(entry) => match entry.latest() {
                    Some(object) => Listed::of(object),
                    None => return Step::Next,
                },
                Row::Generated(keys) => Listed::generated(keys, key),
            };
            let common = self.common_prefix(key, rest);
            // ListObjects resumes with the common prefix itself as its marker.
            let resumed = matches!(start, Start::After(marker) if Some(marker.as_str()) == common);
            let seek = |common: &str| successor(common).map_or(Step::Stop, Step::SeekTo);
            if let Some(common) = common.filter(|_| resumed) {
                return seek(common);
            }
            if page.count == self.max_keys as usize {
                if let Start::Beginning = last {
                    last = Start::After(std::mem::take(&mut last_key));
                }
                page.next = Some(last.clone());
                return Step::Stop;
            }
            page.count += 1;
            if let Some(common) = common {
                page.prefixes.common_prefix(common);
                last = Start::AfterPrefix(common.to_owned());
                return seek(common);
            }
            page.contents.contents(key, &listed, self.with_owner.as_deref(), self.with_restore_status);
            last_key.clear();
            last_key.push_str(key);
            last = Start::Beginning;
            Step::Next
        });
        page
    }

    fn common_prefix<'k>(&self, key: &'k str, rest: &str) -> Option<&'k str> {
        if self.delimiter.is_empty() {
            return None;
        }
        let at = rest.find(&self.delimiter)?;
        Some(&key[..self.prefix.len() + at + self.delimiter.len()])
    }
}

/// The first string behind all strings that start with `prefix`; UTF-8 orders as code points
/// do.
fn successor(prefix: &str) -> Option<String> {
    let mut start = prefix.to_owned();
    while let Some(last) = start.pop() {
        let next = match last {
            '\u{d7ff}' => Some('\u{e000}'),
            _ => char::from_u32(u32::from(last) + 1),
        };
        if let Some(next) = next {
            start.push(next);
            return Some(start);
        }
    }
    None
}

pub(super) async fn list_objects_v2(
    api: &Api,
    request: S3Request<ListObjectsV2Input>,
) -> Answer<ListObjectsV2Output> {
    let input = request.input;
    let bucket = api.bucket(&input.bucket)?;
    let encoding_type = input.encoding_type.as_ref().map(|kind| kind.as_str());
    let mut query = Query::new(
        input.prefix.as_deref(),
        input.delimiter.as_deref(),
        input.max_keys,
        encoding_type,
        &request.headers,
    )?;
    if input.fetch_owner == Some(true) {
        query.with_owner = Some(api.state.account_id().to_owned());
    }
    let start = match (&input.continuation_token, &input.start_after) {
        (Some(token), _) => Start::from_token(token)
            .ok_or_else(|| errors::invalid_argument("The continuation token provided is incorrect"))?,
        (None, Some(key)) => Start::After(key.clone()),
        (None, None) => Start::Beginning,
    };
    let page = query.page(&bucket, &start);

    let mut xml = Xml::document("ListBucketResult", query.encodes, page.contents.len() + 1024);
    xml.element("Name", &input.bucket);
    xml.encoded("Prefix", &query.prefix);
    if let Some(start_after) = &input.start_after {
        xml.encoded("StartAfter", start_after);
    }
    if let Some(token) = &input.continuation_token {
        xml.element("ContinuationToken", token);
    }
    if let Some(next) = &page.next {
        xml.element("NextContinuationToken", &next.token());
    }
    xml.element("KeyCount", &page.count.to_string());
    finish(xml, &query, encoding_type, page, ListObjectsV2Output::default())
}

pub(super) async fn list_objects(
    api: &Api,
    request: S3Request<ListObjectsInput>,
) -> Answer<ListObjectsOutput> {
    let input = request.input;
    let bucket = api.bucket(&input.bucket)?;
    let encoding_type = input.encoding_type.as_ref().map(|kind| kind.as_str());
    let mut query = Query::new(
        input.prefix.as_deref(),
        input.delimiter.as_deref(),
        input.max_keys,
        encoding_type,
        &request.headers,
    )?;
    query.with_owner = Some(api.state.account_id().to_owned());
    let start = match &input.marker {
        Some(marker) => Start::After(marker.clone()),
        None => Start::Beginning,
    };
    let page = query.page(&bucket, &start);

    let mut xml = Xml::document("ListBucketResult", query.encodes, page.contents.len() + 1024);
    xml.element("Name", &input.bucket);
    xml.encoded("Prefix", &query.prefix);
    xml.encoded("Marker", input.marker.as_deref().unwrap_or_default());
    // Without a delimiter clients go on from the last key they got.
    if let Some(Start::After(next) | Start::AfterPrefix(next)) = &page.next
        && !query.delimiter.is_empty()
    {
        xml.encoded("NextMarker", next);
    }
    finish(xml, &query, encoding_type, page, ListObjectsOutput::default())
}

/// Writes what both listings end with.
fn finish<T>(mut xml: Xml, query: &Query, encoding_type: Option<&str>, page: Page, output: T) -> Answer<T> {
    xml.element("MaxKeys", &query.max_keys.to_string());
    if !query.delimiter.is_empty() {
        xml.encoded("Delimiter", &query.delimiter);
    }
    if let Some(encoding_type) = encoding_type {
        xml.element("EncodingType", encoding_type);
    }
    xml.element("IsTruncated", if page.next.is_some() { "true" } else { "false" });
    xml.append(page.contents);
    xml.append(page.prefixes);
    let mut response = S3Response::new(output);
    response.extensions.insert(RawXml(Bytes::from(xml.close("ListBucketResult"))));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_successor_is_behind_all_that_start_so_and_nothing_else() {
        assert_eq!(successor("a/").as_deref(), Some("a0"));
        assert_eq!(successor("a\u{d7ff}").as_deref(), Some("a\u{e000}"));
        assert_eq!(successor("a\u{10ffff}").as_deref(), Some("b"));
        assert_eq!(successor("\u{10ffff}"), None);
    }

    #[test]
    fn a_token_says_where_to_go_on() {
        for start in
            [Start::Beginning, Start::After("a\u{1}é".to_owned()), Start::AfterPrefix("p/".to_owned())]
        {
            assert_eq!(Start::from_token(&start.token()), Some(start));
        }
        assert_eq!(Start::from_token("nonsense!"), None);
    }
}

//! GetObjectAttributes. Writes its own XML: s3s puts the ETag into quotes, S3 does not here.

use bytes::Bytes;
use http::HeaderMap;
use s3s::dto::{GetObjectAttributesInput, GetObjectAttributesOutput};
use s3s::{S3Request, S3Response};

use super::xml::Xml;
use super::{Answer, Api, RawXml, headers};
use crate::checksum::{ChecksumAlgorithm, ObjectChecksum};
use crate::state::StoredObject;
use crate::time::http_date;

pub(super) async fn get_object_attributes(
    api: &Api,
    request: S3Request<GetObjectAttributesInput>,
) -> Answer<GetObjectAttributesOutput> {
    let input = &request.input;
    let caller = api.caller(request.credentials.as_ref())?;
    let bucket = api.bucket(&input.bucket)?;
    let object = api.find(&caller, &bucket, &input.key, input.version_id.as_deref())?;
    let asked = asked_for(&request.headers);
    let wants = |name: &str| asked.iter().any(|attribute| attribute == name);

    let mut xml = Xml::document("GetObjectAttributesResponse", false, 1024);
    if wants("ETag") {
        xml.element("ETag", &object.etag.to_string());
    }
    if wants("Checksum") {
        write_checksum(&mut xml, &object.checksum);
    }
    if wants("ObjectParts") {
        write_parts(&mut xml, &object, input.max_parts, input.part_number_marker);
    }
    if wants("StorageClass") {
        xml.element("StorageClass", object.storage_class.name());
    }
    if wants("ObjectSize") {
        xml.element("ObjectSize", &object.content.len().to_string());
    }

    let mut response = S3Response::new(GetObjectAttributesOutput::default());
    headers::add_version(&mut response.headers, object.version_id);
    headers::add(&mut response.headers, "last-modified", http_date(object.last_modified));
    response.extensions.insert(RawXml(Bytes::from(xml.close("GetObjectAttributesResponse"))));
    Ok(response)
}

/// Some clients send one header for each attribute, others one list for all.
fn asked_for(headers: &HeaderMap) -> Vec<String> {
    headers
        .get_all("x-amz-object-attributes")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|attribute| attribute.trim().to_owned())
        .collect()
}

fn element_of(algorithm: ChecksumAlgorithm) -> &'static str {
    match algorithm {
        ChecksumAlgorithm::Crc32 => "ChecksumCRC32",
        ChecksumAlgorithm::Crc32c => "ChecksumCRC32C",
        ChecksumAlgorithm::Crc64Nvme => "ChecksumCRC64NVME",
        ChecksumAlgorithm::Sha1 => "ChecksumSHA1",
        ChecksumAlgorithm::Sha256 => "ChecksumSHA256",
    }
}

/// Without the number of parts behind a composite value, which other operations have.
fn write_checksum(xml: &mut Xml, checksum: &ObjectChecksum) {
    xml.start("Checksum");
    xml.element(element_of(checksum.algorithm), &checksum.value.base64());
    xml.element("ChecksumType", checksum.type_name());
    xml.end("Checksum");
}

/// S3 tells the number of parts of every multipart object, yet lists them only for objects
/// with an additional checksum.
fn write_parts(xml: &mut Xml, object: &StoredObject, max_parts: Option<i32>, marker: Option<i32>) {
    let Some(sizes) = object.part_sizes.as_deref() else {
        return;
    };
    xml.start("ObjectParts");
    // This is how S3 spells TotalPartsCount on the wire.
    xml.element("PartsCount", &sizes.len().to_string());
    if object.checksum.asked_for {
        let max = max_parts.unwrap_or(1000).clamp(0, 1000) as usize;
        let start = (marker.unwrap_or(0).max(0) as usize).min(sizes.len());
        let end = (start + max).min(sizes.len());
        xml.element("PartNumberMarker", &start.to_string());
        xml.element("NextPartNumberMarker", &end.to_string());
        xml.element("MaxParts", &max.to_string());
        xml.element("IsTruncated", if end < sizes.len() { "true" } else { "false" });
        for (index, size) in sizes.iter().enumerate().take(end).skip(start) {
            xml.start("Part");
            xml.element("PartNumber", &(index + 1).to_string());
            xml.element("Size", &size.to_string());
            if let Some(value) = object.checksum.parts.get(index) {
                xml.element(element_of(object.checksum.algorithm), &value.base64());
            }
            xml.end("Part");
        }
    }
    xml.end("ObjectParts");
}

//! Multipart uploads: layouts, ETags, checksums, limits.

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart, ObjectAttributes,
};
use s3_sim::{Object, Sim};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::{refusal, start};

const MIB: u64 = 1 << 20;

fn completed(parts: Vec<CompletedPart>) -> CompletedMultipartUpload {
    CompletedMultipartUpload::builder().set_parts(Some(parts)).build()
}

async fn create(client: &Client, key: &str) -> String {
    client.create_multipart_upload().bucket("destination").key(key).send().await.unwrap().upload_id.unwrap()
}

/// Copies `source/k` to `destination/k` in parts of the given sizes.
async fn copy_in_parts(client: &Client, sizes: &[u64]) {
    let upload_id = create(client, "k").await;
    let mut start = 0;
    let mut parts = Vec::new();
    for (size, number) in sizes.iter().zip(1..) {
        let copied = client
            .upload_part_copy()
            .bucket("destination")
            .key("k")
            .upload_id(&upload_id)
            .part_number(number)
            .copy_source("source/k")
            .copy_source_range(format!("bytes={start}-{}", start + size - 1))
            .send()
            .await
            .unwrap();
        start += size;
        let etag = copied.copy_part_result.unwrap().e_tag.unwrap();
        parts.push(CompletedPart::builder().part_number(number).e_tag(etag).build());
    }
    client
        .complete_multipart_upload()
        .bucket("destination")
        .key("k")
        .upload_id(upload_id)
        .multipart_upload(completed(parts))
        .send()
        .await
        .unwrap();
}

fn etags(sim: &Sim) -> (String, String) {
    let etag = |bucket| sim.state().object(bucket, "k").unwrap().etag;
    (etag("source"), etag("destination"))
}

#[tokio::test]
async fn the_same_part_boundaries_give_the_same_etag_others_another() {
    let (sim, client) = start().await;
    let sizes = [8 * MIB, 5 * MIB, 3 * MIB];
    sim.state().put("source", "k", Object::virtual_bytes(7, 16 * MIB).with_parts(sizes.to_vec()));
    copy_in_parts(&client, &sizes).await;
    let (source, destination) = etags(&sim);
    assert_eq!(source, destination);
    let snapshot = sim.state().object("destination", "k").unwrap();
    assert_eq!(snapshot.part_sizes, sizes);
    assert_eq!(snapshot.checksum.value, sim.state().object("source", "k").unwrap().checksum.value);
    copy_in_parts(&client, &[8 * MIB, 8 * MIB]).await;
    let (source, destination) = etags(&sim);
    assert_ne!(source, destination);
    assert!(destination.ends_with("-2"));
    assert!(sim.state().open_uploads("destination").is_empty());
}

#[tokio::test]
async fn real_bytes_have_the_etag_and_checksum_of_real_bytes() {
    let (sim, client) = start().await;
    let bytes: Vec<u8> = (0..11 * MIB as usize).map(|i| (i / 7 % 251) as u8).collect();
    let whole = sim.state().put("source", "whole", Object::bytes(bytes.clone()));
    let laid_out =
        sim.state().put("source", "laid-out", Object::bytes(bytes.clone()).with_part_size(6 * MIB));
    let upload_id = create(&client, "k").await;
    let mut parts = Vec::new();
    for (chunk, number) in bytes.chunks(6 * MIB as usize).zip(1..) {
        let uploaded = client
            .upload_part()
            .bucket("destination")
            .key("k")
            .upload_id(&upload_id)
            .part_number(number)
            .body(ByteStream::from(chunk.to_vec()))
            .send()
            .await
            .unwrap();
        let etag = uploaded.e_tag.unwrap();
        parts.push(CompletedPart::builder().part_number(number).e_tag(etag).build());
    }
    client
        .complete_multipart_upload()
        .bucket("destination")
        .key("k")
        .upload_id(upload_id)
        .multipart_upload(completed(parts))
        .send()
        .await
        .unwrap();
    let uploaded = sim.state().object("destination", "k").unwrap();
    assert_eq!(uploaded.etag, laid_out.etag);
    assert_eq!(uploaded.content, whole.content);
    let algorithms = (uploaded.checksum.algorithm, uploaded.checksum.value == whole.checksum.value);
    assert_eq!(algorithms, ("CRC64NVME", true));
}

#[tokio::test]
async fn head_by_part_number_tells_the_layout() {
    let (sim, client) = start().await;
    let sizes = [8 * MIB, 5 * MIB, 3 * MIB];
    sim.state().put("source", "k", Object::virtual_bytes(7, 16 * MIB).with_parts(sizes.to_vec()));
    sim.state().put("source", "single", Object::bytes("x"));
    let head = |key: &str, number| client.head_object().bucket("source").key(key).part_number(number).send();
    for (size, number) in sizes.iter().zip(1..) {
        let part = head("k", number).await.unwrap();
        assert_eq!(part.content_length(), Some(*size as i64));
        assert_eq!(part.parts_count(), Some(3));
    }
    assert_eq!(refusal(head("k", 4).await).0, 416);
    let single = head("single", 1).await.unwrap();
    assert_eq!((single.content_length(), single.parts_count()), (Some(1), None));
}

#[tokio::test]
async fn parts_are_listed_only_with_an_additional_checksum() {
    let (sim, client) = start().await;
    let object = || Object::virtual_bytes(7, 16 * MIB).with_part_size(6 * MIB);
    sim.state().put("source", "plain", object());
    sim.state().put("source", "sha", object().with_checksum(s3_sim::ChecksumAlgorithm::Sha256));
    let attributes = |key: &str| {
        client
            .get_object_attributes()
            .bucket("source")
            .key(key)
            .object_attributes(ObjectAttributes::ObjectParts)
            .object_attributes(ObjectAttributes::Etag)
            .send()
    };
    let plain = attributes("plain").await.unwrap();
    let parts = plain.object_parts().unwrap();
    assert_eq!((parts.total_parts_count(), parts.parts().len()), (Some(3), 0));
    assert!(plain.e_tag().unwrap().ends_with("-3"));
    let sha = attributes("sha").await.unwrap();
    let sizes: Vec<_> =
        sha.object_parts().unwrap().parts().iter().map(|part| part.size().unwrap() as u64).collect();
    assert_eq!(sizes, [6 * MIB, 6 * MIB, 4 * MIB]);
}

#[tokio::test]
async fn last_modified_is_the_moment_of_initiation() {
    let (sim, client) = start().await;
    sim.state().put("source", "k", Object::virtual_bytes(1, 6 * MIB));
    let upload_id = create(&client, "k").await;
    let initiated = sim.state().open_uploads("destination")[0].initiated;
    // Moments are whole seconds: the next one must begin for them to differ.
    let next = initiated + Duration::from_secs(1);
    while let Ok(left) = next.duration_since(SystemTime::now()) {
        tokio::time::sleep(left).await;
    }
    let copied = client
        .upload_part_copy()
        .bucket("destination")
        .key("k")
        .upload_id(&upload_id)
        .part_number(1)
        .copy_source("source/k")
        .send()
        .await
        .unwrap();
    let part = CompletedPart::builder()
        .part_number(1)
        .e_tag(copied.copy_part_result.unwrap().e_tag.unwrap())
        .build();
    client
        .complete_multipart_upload()
        .bucket("destination")
        .key("k")
        .upload_id(&upload_id)
        .multipart_upload(completed(vec![part]))
        .send()
        .await
        .unwrap();
    let object = sim.state().object("destination", "k").unwrap();
    assert_eq!(object.last_modified, initiated);
    assert!(object.last_modified > UNIX_EPOCH);
}

#[tokio::test]
async fn wrong_parts_are_refused() {
    let (sim, client) = start().await;
    sim.state().put("source", "k", Object::virtual_bytes(1, 16 * MIB));
    sim.state().put("source", "small", Object::virtual_bytes(1, MIB));
    let upload_id = create(&client, "k").await;
    let copy = |number, key: &str, range: Option<&str>| {
        client
            .upload_part_copy()
            .bucket("destination")
            .key("k")
            .upload_id(&upload_id)
            .part_number(number)
            .copy_source(format!("source/{key}"))
            .set_copy_source_range(range.map(str::to_owned))
            .send()
    };
    let argument = (400, "InvalidArgument".to_owned());
    let request = (400, "InvalidRequest".to_owned());
    assert_eq!(refusal(copy(0, "k", None).await), argument);
    assert_eq!(refusal(copy(10_001, "k", None).await), argument);
    assert_eq!(refusal(copy(1, "k", Some("bytes=0-16777216")).await), argument);
    assert_eq!(refusal(copy(1, "k", Some("bytes=5-")).await), argument);
    assert_eq!(refusal(copy(1, "small", Some("bytes=0-9")).await), request);

    let etag = |answer: aws_sdk_s3::operation::upload_part_copy::UploadPartCopyOutput| {
        answer.copy_part_result.unwrap().e_tag.unwrap()
    };
    let small = etag(copy(1, "small", None).await.unwrap());
    let large = etag(copy(2, "k", None).await.unwrap());
    let part = |number, etag: &str| CompletedPart::builder().part_number(number).e_tag(etag).build();
    let complete = |parts: Vec<CompletedPart>| {
        client
            .complete_multipart_upload()
            .bucket("destination")
            .key("k")
            .upload_id(&upload_id)
            .multipart_upload(completed(parts))
    };
    let order = complete(vec![part(2, &large), part(1, &small)]).send().await;
    assert_eq!(refusal(order), (400, "InvalidPartOrder".to_owned()));
    let tooth = complete(vec![part(1, &small), part(2, &large)]).send().await;
    assert_eq!(refusal(tooth), (400, "EntityTooSmall".to_owned()));
    let swapped = complete(vec![part(1, &large)]).send().await;
    assert_eq!(refusal(swapped), (400, "InvalidPart".to_owned()));
    sim.state().put("destination", "k", Object::bytes("x"));
    let exists = complete(vec![part(2, &large)]).if_none_match("*").send().await;
    assert_eq!(refusal(exists), (412, "PreconditionFailed".to_owned()));
    // None of that ended the upload.
    complete(vec![part(2, &large)]).send().await.unwrap();
    let again = complete(vec![part(2, &large)]).send().await;
    assert_eq!(refusal(again), (404, "NoSuchUpload".to_owned()));
}

#[tokio::test]
async fn composite_checksums_are_made_of_the_parts_and_wanted_on_completion() {
    let (sim, client) = start().await;
    let source = sim.state().put(
        "source",
        "k",
        Object::virtual_bytes(7, 16 * MIB)
            .with_part_size(8 * MIB)
            .with_checksum(s3_sim::ChecksumAlgorithm::Sha256),
    );
    let upload_id = client
        .create_multipart_upload()
        .bucket("destination")
        .key("k")
        .checksum_algorithm(ChecksumAlgorithm::Sha256)
        .checksum_type(ChecksumType::Composite)
        .send()
        .await
        .unwrap()
        .upload_id
        .unwrap();
    let mut parts = Vec::new();
    for number in 1..=2 {
        let start = (number as u64 - 1) * 8 * MIB;
        let result = client
            .upload_part_copy()
            .bucket("destination")
            .key("k")
            .upload_id(&upload_id)
            .part_number(number)
            .copy_source("source/k")
            .copy_source_range(format!("bytes={start}-{}", start + 8 * MIB - 1))
            .send()
            .await
            .unwrap()
            .copy_part_result
            .unwrap();
        let part = CompletedPart::builder().part_number(number).e_tag(result.e_tag.unwrap());
        parts.push((part, result.checksum_sha256.unwrap()));
    }
    let complete = |parts| {
        client
            .complete_multipart_upload()
            .bucket("destination")
            .key("k")
            .upload_id(&upload_id)
            .multipart_upload(completed(parts))
            .send()
    };
    let without = parts.iter().map(|(part, _)| part.clone().build()).collect();
    assert_eq!(refusal(complete(without).await), (400, "InvalidRequest".to_owned()));
    let with = parts.into_iter().map(|(part, value)| part.checksum_sha256(value).build()).collect();
    complete(with).await.unwrap();
    let copied = sim.state().object("destination", "k").unwrap();
    assert_eq!(copied.checksum, source.checksum);
    assert!(copied.checksum.value.ends_with("-2"));
}

#[tokio::test]
async fn open_uploads_are_listed_and_aborted() {
    let (sim, client) = start().await;
    sim.state().put("source", "k", Object::virtual_bytes(1, 6 * MIB));
    let mut ids = Vec::new();
    for key in ["a", "a", "b c"] {
        ids.push((key, create(&client, key).await));
    }
    client
        .upload_part_copy()
        .bucket("destination")
        .key("a")
        .upload_id(&ids[0].1)
        .part_number(3)
        .copy_source("source/k")
        .send()
        .await
        .unwrap();
    let parts = client.list_parts().bucket("destination").key("a").upload_id(&ids[0].1).send().await.unwrap();
    assert_eq!(parts.parts()[0].part_number(), Some(3));
    assert_eq!(parts.parts()[0].size(), Some(6 * MIB as i64));

    let mut seen = Vec::new();
    let mut markers = (None, None);
    loop {
        let page = client
            .list_multipart_uploads()
            .bucket("destination")
            .max_uploads(1)
            .set_key_marker(markers.0)
            .set_upload_id_marker(markers.1)
            .send()
            .await
            .unwrap();
        for upload in page.uploads() {
            seen.push(upload.upload_id().unwrap().to_owned());
        }
        if page.is_truncated() != Some(true) {
            break;
        }
        markers =
            (page.next_key_marker().map(str::to_owned), page.next_upload_id_marker().map(str::to_owned));
    }
    seen.sort();
    let mut expected: Vec<_> = ids.iter().map(|(_, id)| id.clone()).collect();
    expected.sort();
    assert_eq!(seen, expected);
    for (key, id) in ids {
        client.abort_multipart_upload().bucket("destination").key(key).upload_id(id).send().await.unwrap();
    }
    assert!(sim.state().open_uploads("destination").is_empty());
}

//! CopyObject: directives and limits.

use aws_sdk_s3::types::{MetadataDirective, TaggingDirective};
use s3_sim::{Object, StorageClass};

use crate::{copy_source, refusal, start};

const GIB: u64 = 1 << 30;

#[tokio::test]
async fn a_copy_keeps_metadata_and_tags_but_not_class_and_redirect() {
    let (sim, client) = start().await;
    sim.state().put(
        "source",
        "k",
        Object::bytes("x")
            .with_content_type("text/plain")
            .with_metadata("name", "value")
            .with_tag("t", "1")
            .with_website_redirect("/elsewhere")
            .with_storage_class(StorageClass::StandardIa),
    );
    let copy = |key: &str| {
        client.copy_object().bucket("destination").key(key).copy_source(copy_source("source", "k"))
    };
    copy("kept").send().await.unwrap();
    let source = sim.state().object("source", "k").unwrap();
    let kept = sim.state().object("destination", "kept").unwrap();
    assert_eq!(kept.headers, source.headers);
    assert_eq!(kept.user_metadata, source.user_metadata);
    assert_eq!(kept.tags, source.tags);
    assert_eq!(kept.etag, source.etag);
    assert_eq!(kept.storage_class, StorageClass::Standard);
    assert_eq!(kept.website_redirect, None);

    copy("replaced")
        .metadata_directive(MetadataDirective::Replace)
        .metadata("other", "thing")
        .tagging_directive(TaggingDirective::Replace)
        .tagging("u=2")
        .storage_class(aws_sdk_s3::types::StorageClass::GlacierIr)
        .send()
        .await
        .unwrap();
    let replaced = sim.state().object("destination", "replaced").unwrap();
    assert_eq!(replaced.headers.content_type, None);
    assert_eq!(replaced.user_metadata["other"], "thing");
    assert_eq!(replaced.tags.into_iter().collect::<Vec<_>>(), [("u".to_owned(), "2".to_owned())]);
    assert_eq!(replaced.storage_class, StorageClass::GlacierIr);
}

#[tokio::test]
async fn a_copy_of_more_than_5_gib_or_onto_itself_is_refused() {
    let (sim, client) = start().await;
    sim.state().put("source", "most", Object::virtual_bytes(1, 5 * GIB));
    sim.state().put("source", "more", Object::virtual_bytes(1, 5 * GIB + 1));
    let copy = |key: &str| {
        client.copy_object().bucket("destination").key("k").copy_source(copy_source("source", key)).send()
    };
    copy("most").await.unwrap();
    assert_eq!(refusal(copy("more").await), (400, "InvalidRequest".to_owned()));
    assert_eq!(refusal(copy("none").await), (404, "NoSuchKey".to_owned()));
    let itself = client.copy_object().bucket("source").key("most").copy_source("source/most").send().await;
    assert_eq!(refusal(itself), (400, "InvalidRequest".to_owned()));
}

#[tokio::test]
async fn a_copy_of_a_multipart_object_is_one_piece() {
    let (sim, client) = start().await;
    let source = sim.state().put("source", "k", Object::virtual_bytes(1, GIB).with_part_size(GIB / 4));
    assert!(source.etag.ends_with("-4"));
    client.copy_object().bucket("destination").key("k").copy_source("source/k").send().await.unwrap();
    let copied = sim.state().object("destination", "k").unwrap();
    assert!(!copied.etag.contains('-'));
    assert!(copied.part_sizes.is_empty());
    assert_eq!(copied.checksum.value, source.checksum.value);
}

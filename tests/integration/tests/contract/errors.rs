//! What is wrong, told by codes that the engine decides by.

use anyhow::{Context, Result, bail};
use aws_sdk_s3::operation::RequestId;
use aws_sdk_s3::primitives::ByteStream;

use crate::server::{Server, refusal, refused};

pub(crate) async fn a_missing_bucket_is_named_so(server: &Server) -> Result<()> {
    let expected = refusal(404, "NoSuchBucket");
    let list = server.client.list_objects_v2().bucket("no-such-bucket");
    assert_eq!(refused(list.send().await)?, expected);
    let put = server.client.put_object().bucket("no-such-bucket").key("key");
    let put = put.body(ByteStream::from_static(b"hello"));
    assert_eq!(refused(put.send().await)?, expected);
    let create = server.client.create_multipart_upload();
    let create = create.bucket("no-such-bucket").key("key");
    assert_eq!(refused(create.send().await)?, expected);
    // HEAD has no body, so no code.
    let head = server.client.head_bucket().bucket("no-such-bucket");
    assert_eq!(refused(head.send().await)?.0, 404);
    Ok(())
}

pub(crate) async fn a_missing_key_is_named_so(server: &Server) -> Result<()> {
    let bucket = &server.bucket().await?;
    let get = server.client.get_object().bucket(bucket).key("none");
    assert_eq!(refused(get.send().await)?, refusal(404, "NoSuchKey"));
    let tagging = server.client.get_object_tagging().bucket(bucket).key("none");
    assert_eq!(refused(tagging.send().await)?, refusal(404, "NoSuchKey"));
    // HEAD has no body, so no code.
    let head = server.client.head_object().bucket(bucket).key("none");
    assert_eq!(refused(head.send().await)?.0, 404);
    Ok(())
}

pub(crate) async fn a_missing_upload_is_named_so(server: &Server) -> Result<()> {
    let bucket = &server.bucket().await?;
    let expected = refusal(404, "NoSuchUpload");
    // An id that was real: servers may refuse one that is not formed like theirs otherwise.
    let upload = server.open(bucket, "key").await?;
    let abort = server.client.abort_multipart_upload().bucket(bucket).key("key");
    abort.upload_id(&upload).send().await?;
    let part = server.client.upload_part().bucket(bucket).key("key");
    let part = part.upload_id(&upload).part_number(1).body(ByteStream::from_static(b"hello"));
    assert_eq!(refused(part.send().await)?, expected);
    let list = server.client.list_parts().bucket(bucket).key("key").upload_id(&upload);
    assert_eq!(refused(list.send().await)?, expected);
    Ok(())
}

pub(crate) async fn an_unknown_access_key_is_named_so(server: &Server) -> Result<()> {
    let bucket = &server.bucket().await?;
    let stranger = integration_tests::client(&server.endpoint, "nobody-knows-me", "some-secret");
    let answer = stranger.list_objects_v2().bucket(bucket).send().await;
    assert_eq!(refused(answer)?, refusal(403, "InvalidAccessKeyId"));
    Ok(())
}

pub(crate) async fn a_wrong_secret_key_is_named_so(server: &Server) -> Result<()> {
    let bucket = &server.bucket().await?;
    let wrong = format!("{}-not", server.secret_key);
    let forger = integration_tests::client(&server.endpoint, &server.access_key, &wrong);
    let answer = forger.list_objects_v2().bucket(bucket).send().await;
    assert_eq!(refused(answer)?, refusal(403, "SignatureDoesNotMatch"));
    Ok(())
}

pub(crate) async fn an_error_carries_a_request_id(server: &Server) -> Result<()> {
    let bucket = &server.bucket().await?;
    let get = server.client.get_object().bucket(bucket).key("none");
    let Err(error) = get.send().await else {
        bail!("an object that was never put");
    };
    let id = error.request_id().context("no request id")?;
    assert!(!id.is_empty());
    Ok(())
}

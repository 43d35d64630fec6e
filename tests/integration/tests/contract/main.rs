//! What S3 promises and this project relies on, asked of MinIO and of s3-sim alike: so that
//! the simulator, which most tests run on, is held to a server that is not ours.
//!
//! A test is one function over a [`Server`]; `contract!` runs it against both.

mod copies;
mod errors;
mod listings;
mod multipart;
mod objects;
mod server;

use server::Server;

/// Makes each function a test on both servers: `on_minio::NAME` and `on_s3_sim::NAME`.
macro_rules! contract {
    ($($module:ident :: { $($name:ident),* $(,)? })*) => {
        mod on_minio {$($(
            #[tokio::test]
            async fn $name() -> anyhow::Result<()> {
                let minio = integration_tests::Minio::shared().await?;
                super::$module::$name(&super::Server::minio(&minio)).await
            }
        )*)*}

        mod on_s3_sim {$($(
            #[tokio::test]
            async fn $name() -> anyhow::Result<()> {
                let sim = s3_sim::Sim::start(s3_sim::Config::default()).await?;
                super::$module::$name(&super::Server::sim(&sim)).await
            }
        )*)*}
    };
}

contract! {
    objects::{
        an_object_comes_back_with_its_headers_metadata_and_tags,
        a_plain_etag_is_the_md5_of_the_bytes,
        a_key_with_odd_characters_names_one_object,
        a_range_of_an_object_is_read,
        a_read_pinned_to_an_etag_fails_once_it_differs,
        an_object_is_created_only_once_with_if_none_match,
        an_object_is_replaced_only_at_its_etag_with_if_match,
        a_crc64nvme_is_kept_and_shown_when_asked_for,
    }
    listings::{
        keys_come_in_the_order_of_their_utf8_bytes,
        pages_hold_every_key_once,
        start_after_takes_any_string,
        a_prefix_selects_keys,
        a_delimiter_rolls_keys_up,
        a_folder_marker_is_a_key_like_any_other,
        an_entry_tells_size_etag_time_and_storage_class,
        url_encoding_carries_every_key,
        an_empty_bucket_lists_nothing,
        an_attribute_that_no_object_has_is_no_error,
    }
    copies::{
        a_copy_keeps_bytes_etag_headers_metadata_and_tags,
        a_copy_finds_a_source_with_odd_characters,
        a_copy_of_another_version_of_the_source_is_refused,
        a_copy_takes_new_metadata_when_told_to,
        a_copy_takes_new_tags_when_told_to,
        a_copy_onto_itself_must_change_something,
        a_copy_of_nothing_names_what_is_missing,
        a_copy_of_an_empty_object_is_empty,
        a_single_copy_of_a_multipart_object_loses_its_etag,
    }
    multipart::{
        an_etag_tells_the_parts_apart,
        head_by_part_tells_its_size_and_their_number,
        a_copy_by_the_same_parts_has_the_same_etag,
        a_part_copied_from_another_version_is_refused,
        an_upload_keeps_what_it_was_created_with,
        parts_are_listed_in_pages,
        an_open_upload_is_listed_until_it_is_aborted,
        a_completed_upload_is_gone,
        a_part_that_is_uploaded_again_replaces_the_first,
        a_small_part_in_the_middle_is_refused,
        a_part_with_another_etag_is_refused,
        parts_out_of_order_are_refused,
        an_upload_is_completed_only_once_with_if_none_match,
    }
    errors::{
        a_missing_bucket_is_named_so,
        a_missing_key_is_named_so,
        a_missing_upload_is_named_so,
        an_unknown_access_key_is_named_so,
        a_wrong_secret_key_is_named_so,
        an_error_carries_a_request_id,
    }
}

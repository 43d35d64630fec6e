//! Checksums on the way: the source's, which the destination is told to check what it receives
//! by, and those of parts, made again by the algorithm that the source was given.

use aws_sdk_s3::config::RequestChecksumCalculation;
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumType};

/// The checksum of the whole object that a GET answers, if there is one. Of several, one: S3
/// takes no more with a PUT.
pub(super) fn of_whole(got: &GetObjectOutput) -> Option<(ChecksumAlgorithm, String)> {
    use ChecksumAlgorithm::{
        Crc32, Crc32C, Crc64Nvme, Md5, Sha1, Sha256, Sha512, Xxhash3, Xxhash64, Xxhash128,
    };
    let values = [
        (Sha512, &got.checksum_sha512),
        (Sha256, &got.checksum_sha256),
        (Sha1, &got.checksum_sha1),
        (Md5, &got.checksum_md5),
        (Crc64Nvme, &got.checksum_crc64_nvme),
        (Crc32C, &got.checksum_crc32_c),
        (Crc32, &got.checksum_crc32),
        (Xxhash128, &got.checksum_xxhash128),
        (Xxhash3, &got.checksum_xxhash3),
        (Xxhash64, &got.checksum_xxhash64),
    ];
    let whole = got.checksum_type() != Some(&ChecksumType::Composite);
    values
        .into_iter()
        .filter_map(|(algorithm, value)| Some((algorithm, value.clone()?)))
        // Behind a composite one stands the number of parts.
        .find(|(_, value)| whole && !value.contains('-'))
}

/// Sends the checksum along: the destination refuses other bytes, and keeps it.
pub(super) fn send(
    put: PutObjectFluentBuilder,
    checksum: Option<(ChecksumAlgorithm, String)>,
) -> PutObjectFluentBuilder {
    let Some((algorithm, value)) = checksum else { return put };
    match algorithm {
        ChecksumAlgorithm::Crc32 => put.checksum_crc32(value),
        ChecksumAlgorithm::Crc32C => put.checksum_crc32_c(value),
        ChecksumAlgorithm::Crc64Nvme => put.checksum_crc64_nvme(value),
        ChecksumAlgorithm::Md5 => put.checksum_md5(value),
        ChecksumAlgorithm::Sha1 => put.checksum_sha1(value),
        ChecksumAlgorithm::Sha256 => put.checksum_sha256(value),
        ChecksumAlgorithm::Sha512 => put.checksum_sha512(value),
        ChecksumAlgorithm::Xxhash128 => put.checksum_xxhash128(value),
        ChecksumAlgorithm::Xxhash3 => put.checksum_xxhash3(value),
        ChecksumAlgorithm::Xxhash64 => put.checksum_xxhash64(value),
        _ => put,
    }
}

/// The checksum that the source was given, to be made again, of the type that S3 takes for an
/// upload: the SHAs are always of the parts.
pub(super) fn of_upload(head: &HeadObjectOutput) -> (Option<ChecksumAlgorithm>, Option<ChecksumType>) {
    let algorithm = if head.checksum_crc32().is_some() {
        ChecksumAlgorithm::Crc32
    } else if head.checksum_crc32_c().is_some() {
        ChecksumAlgorithm::Crc32C
    } else if head.checksum_sha1().is_some() {
        ChecksumAlgorithm::Sha1
    } else if head.checksum_sha256().is_some() {
        ChecksumAlgorithm::Sha256
    } else if head.checksum_crc64_nvme().is_some() {
        ChecksumAlgorithm::Crc64Nvme
    } else {
        return (None, None);
    };
    let checksum_type = match algorithm {
        ChecksumAlgorithm::Sha1 | ChecksumAlgorithm::Sha256 => Some(ChecksumType::Composite),
        _ => head.checksum_type().cloned(),
    };
    (Some(algorithm), checksum_type)
}

/// How the SDK is to send a body whose checksum is not known yet: computed as the bytes pass,
/// and sent behind them.
pub(super) fn computed(is_wanted: bool) -> RequestChecksumCalculation {
    match is_wanted {
        true => RequestChecksumCalculation::WhenSupported,
        false => RequestChecksumCalculation::WhenRequired,
    }
}

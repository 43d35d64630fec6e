//! The table of functions/copy/FIDELITY.md, cell by cell: an object for each row is copied on
//! each route, and what became of it is compared with what the table says.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bucket_copy::{RESERVED_PREFIX, Status};
use s3_sim::{
    ChecksumAlgorithm, Content, ContentHeaders, Encryption, Object, ObjectSnapshot, StorageClass, Versioning,
};

use crate::fixture::{CUSTOMER, Fixture, MIB, VENDOR};

const TABLE: &str = include_str!("../../../../functions/copy/FIDELITY.md");

/// The columns, and whether their objects have parts and are streamed.
const ROUTES: [(&str, bool, bool); 4] = [
    ("CopyObject", false, false),
    ("multipart copy", true, false),
    ("streamed PutObject", false, true),
    ("streamed parts", true, true),
];

/// One property: an object that has it, and whether a copy has it, too.
struct Row {
    name: &'static str,
    /// `None` where there is no such object of parts, or in one piece.
    object: fn(Object, bool) -> Option<Object>,
    is_same: fn(&ObjectSnapshot, &ObjectSnapshot) -> bool,
}

const fn row(
    name: &'static str,
    object: fn(Object, bool) -> Option<Object>,
    is_same: fn(&ObjectSnapshot, &ObjectSnapshot) -> bool,
) -> Row {
    Row { name, object, is_same }
}

macro_rules! header {
    ($name:literal, $field:ident, $value:expr) => {
        row(
            $name,
            |object, _| {
                let headers = ContentHeaders { $field: Some($value.into()), ..ContentHeaders::default() };
                Some(object.with_headers(headers))
            },
            |source, copy| source.headers.$field.is_some() && source.headers.$field == copy.headers.$field,
        )
    };
}

macro_rules! checksum {
    ($name:literal, $algorithm:ident) => {
        row($name, |object, _| Some(object.with_checksum(ChecksumAlgorithm::$algorithm)), same_checksum)
    };
    ($name:literal, $algorithm:ident, composite) => {
        row(
            $name,
            |object, parts| parts.then(|| object.with_composite_checksum(ChecksumAlgorithm::$algorithm)),
            same_checksum,
        )
    };
}

/// Asked for or not does not show: S3 computes CRC64NVME for all.
fn same_checksum(source: &ObjectSnapshot, copy: &ObjectSnapshot) -> bool {
    let told = |object: &ObjectSnapshot| {
        let checksum = object.checksum.clone();
        (checksum.algorithm, checksum.value, checksum.kind)
    };
    told(source) == told(copy)
}

const ROWS: &[Row] = &[
    row("bytes", |object, _| Some(object), |source, copy| source.content == copy.content),
    row("ETag", |object, _| Some(object), |source, copy| source.etag == copy.etag),
    row(
        "part boundaries",
        |object, parts| parts.then_some(object),
        |source, copy| source.part_sizes.len() == 2 && source.part_sizes == copy.part_sizes,
    ),
    row(
        "user metadata",
        |object, _| Some(object.with_metadata("Backup-Id", "4711")),
        |source, copy| source.user_metadata.len() == 1 && source.user_metadata == copy.user_metadata,
    ),
    row(
        "user metadata, not ASCII",
        |object, _| Some(object.with_metadata("author", "Zoë")),
        |source, copy| source.user_metadata.len() == 1 && source.user_metadata == copy.user_metadata,
    ),
    header!("Content-Type", content_type, "application/sql"),
    header!("Content-Encoding", content_encoding, "gzip"),
    header!("Content-Language", content_language, "fr"),
    header!("Content-Disposition", content_disposition, "attachment; filename=\"d ump.sql\""),
    header!("Cache-Control", cache_control, "max-age=60"),
    header!("Expires", expires, "Wed, 21 Oct 2026 07:28:00 GMT"),
    row(
        "tags",
        |object, _| Some(object.with_tag("kind", "a b+c/d=é&f").with_tag("empty", "")),
        |source, copy| source.tags.len() == 2 && source.tags == copy.tags,
    ),
    row(
        "user metadata that no header carries",
        |object, _| Some(object.with_missing_meta(2)),
        |source, copy| source.missing_meta == 2 && source.missing_meta == copy.missing_meta,
    ),
    row(
        "annotations",
        |object, _| Some(object.with_annotation("origin", "{\"host\": \"é\"}").with_annotation("a b", "")),
        |source, copy| source.annotations.len() == 2 && source.annotations == copy.annotations,
    ),
    row(
        "Object Lock retention",
        |object, _| Some(object.with_retention()),
        |source, copy| source.retained && copy.retained,
    ),
    checksum!("checksum CRC32", Crc32),
    checksum!("checksum CRC32C", Crc32c),
    checksum!("checksum CRC64NVME", Crc64Nvme),
    checksum!("checksum SHA1", Sha1),
    checksum!("checksum SHA256", Sha256),
    checksum!("checksum CRC32 of parts", Crc32, composite),
    checksum!("checksum CRC32C of parts", Crc32c, composite),
    row(
        "website redirect",
        |object, _| Some(object.with_website_redirect("/elsewhere")),
        |source, copy| source.website_redirect.is_some() && source.website_redirect == copy.website_redirect,
    ),
    row(
        "empty folder marker",
        |_, parts| (!parts).then(|| Object::bytes(Vec::new())),
        |source, copy| source.size == 0 && copy.key.ends_with('/') && source.etag == copy.etag,
    ),
    row(
        "storage class",
        |object, _| Some(object.with_storage_class(StorageClass::StandardIa)),
        |source, copy| source.storage_class == copy.storage_class,
    ),
    row(
        "encryption",
        |object, _| Some(object.with_encryption(Encryption::Kms("alias/vendor".into()))),
        |source, copy| source.encryption == copy.encryption,
    ),
    row("older versions", |object, _| Some(object), |_, _| false),
    row(
        "Last-Modified",
        |object, _| Some(object.with_last_modified(SystemTime::now() - Duration::from_secs(86_400))),
        |source, copy| source.last_modified == copy.last_modified,
    ),
];

/// The key of a row's object; some properties are about the key.
fn key(row: &Row) -> String {
    if row.name == "empty folder marker" { "folder/".into() } else { row.name.replace(' ', "-") }
}

fn plain(parts: bool) -> Object {
    let size = if parts { 6 * MIB } else { 1_000 };
    let bytes: Vec<u8> = (0..size).map(|index| (index * 31 % 251) as u8).collect();
    let object = Object::new(Content::bytes(bytes));
    if parts { object.with_parts(vec![5 * MIB, MIB]) } else { object }
}

/// Whether each row's property is kept on a route; rows without an object are left out.
async fn kept(parts: bool, streamed: bool, set: bool) -> BTreeMap<&'static str, bool> {
    let mut fixture = Fixture::new().await;
    if streamed {
        fixture.settings.transfer = Some("stream".into());
    }
    if set {
        fixture.settings.storage_class = Some("GLACIER_IR".into());
        fixture.settings.kms_key_id = Some("alias/customer".into());
    }
    fixture.sim.state().set_versioning(VENDOR, Versioning::Enabled);
    fixture.sim.state().set_versioning(CUSTOMER, Versioning::Enabled);
    let exists = |row: &&Row| (row.object)(plain(parts), parts).is_some();
    let settable = |row: &&Row| !set || ["storage class", "encryption"].contains(&row.name);
    let rows: Vec<_> = ROWS.iter().filter(exists).filter(settable).collect();
    for row in &rows {
        // The version before it.
        fixture.sim.state().put(VENDOR, &key(row), Object::bytes("older"));
        let object = (row.object)(plain(parts), parts).expect("an object");
        fixture.sim.state().put(VENDOR, &key(row), object);
    }
    let own = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&own);
    fixture.sim.on_request(move |event, _| {
        if event.is_before() && event.operation == "PutObject" && event.key.starts_with(RESERVED_PREFIX) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    let report = fixture.run().await;
    assert_eq!(report.status, Status::Complete, "{report:#?}");
    let (counters, own) = (fixture.sim.counters(), own.load(Ordering::Relaxed));
    let writes = ["CopyObject", "UploadPartCopy", "PutObject", "UploadPart"];
    // The lease is written, too.
    let is_used = |write: &&str| counters.get(write) > if *write == "PutObject" { own } else { 0 };
    let by: Vec<_> = writes.into_iter().filter(is_used).collect();
    assert_eq!(by, [writes[usize::from(parts) + 2 * usize::from(streamed)]], "another route");
    let copies = rows.iter().map(|row| (row, fixture.vendor(&key(row)), fixture.customer(&key(row))));
    if set {
        let expected = Encryption::Kms("arn:aws:kms:us-east-1:123456789012:key/alias/customer".into());
        return copies
            .map(|(row, _, copy)| {
                let is_set = match row.name {
                    "storage class" => copy.storage_class == StorageClass::GlacierIr,
                    _ => copy.encryption == expected,
                };
                (row.name, is_set)
            })
            .collect();
    }
    let written = fixture.sim.state().versions(CUSTOMER) - usize::try_from(own).expect("few");
    assert_eq!(written, rows.len(), "one version of each object");
    copies.map(|(row, source, copy)| (row.name, (row.is_same)(&source, &copy))).collect()
}

#[tokio::test]
async fn every_cell_of_the_table_is_true() {
    let rows = TABLE.lines().filter_map(|line| line.strip_prefix("| ")).map(|line| {
        let cells: Vec<_> = line.trim_end_matches('|').split(" | ").map(str::trim).collect();
        (cells[0], cells[1..].to_vec())
    });
    let mut table: BTreeMap<_, _> = rows.filter(|(name, _)| !name.starts_with("---")).collect();
    let head = table.remove("property").expect("a head");
    assert_eq!(head[..4], ROUTES.map(|(name, ..)| name));
    let tested: Vec<_> = ROWS.iter().map(|row| row.name).collect();
    assert!(tested.iter().all(|name| table.contains_key(name)), "rows that the table lacks");
    assert_eq!(table.len(), tested.len(), "rows that no test proves: {:?}", table.keys());

    for (column, (route, parts, streamed)) in ROUTES.into_iter().enumerate() {
        let kept_by_itself = kept(parts, streamed, false).await;
        let set = kept(parts, streamed, true).await;
        for (name, cells) in &table {
            let is = match (cells[column], kept_by_itself.get(name)) {
                ("set", Some(false)) if set.get(name) == Some(&true) => "set",
                (_, Some(true)) => "kept",
                (_, Some(false)) => "not kept",
                (_, None) => "–",
            };
            assert_eq!(cells[column], is, "{name}, {route}");
        }
    }
}

//! A right that is missing is named, with a statement that mends it: each is taken away in
//! turn, the statement that the run offers is applied, and the next run succeeds.

use std::sync::Arc;

use bucket_copy::{Halt, Status, VerifiedBy};
use s3_sim::{Config, Encryption, Object, User};
use serde_json::{Value, json};

use crate::fixture::{CUSTOMER, Fixture, MIB, VENDOR, keys};

const OWN: (&str, &str) = ("own-key", "own-secret");
const VENDORS: (&str, &str) = ("vendor-key", "vendor-secret");
const SOURCE_KEY: &str = "arn:aws:kms:us-east-1:999999999999:key/of-the-vendor";
const OWN_KEY: &str = "arn:aws:kms:us-east-1:123456789012:key/own";

const AT_SOURCE: &[(&str, &str)] = &[
    ("s3:ListBucket", VENDOR),
    ("s3:GetObject", VENDOR),
    ("s3:GetObjectTagging", VENDOR),
    ("s3:GetObjectAnnotation", VENDOR),
    ("kms:Decrypt", SOURCE_KEY),
];
const AT_DESTINATION: &[(&str, &str)] = &[
    ("s3:ListBucket", CUSTOMER),
    ("s3:PutObject", CUSTOMER),
    ("s3:PutObjectTagging", CUSTOMER),
    ("s3:PutObjectAnnotation", CUSTOMER),
    ("kms:GenerateDataKey", OWN_KEY),
];

/// Tagged and annotated objects of one piece and of parts, under a key of the vendor's, to be copied under
/// one of the customer's.
async fn fixture(parts: bool, explains: bool) -> Fixture {
    let users = vec![User::new(OWN.0, OWN.1), User::new(VENDORS.0, VENDORS.1)];
    let mut fixture = Fixture::with(Config { users, ..Config::default() }).await;
    fixture.keys = OWN;
    // Where they may be left behind, a right that is missing to them fails nothing.
    fixture.settings.tags = Some("copy".into());
    fixture.settings.annotations = Some("copy".into());
    let state = fixture.sim.state();
    state.set_default_encryption(CUSTOMER, Encryption::Kms(OWN_KEY.into()));
    if !explains {
        // Across accounts S3 says "Access Denied" alone.
        state.set_bucket_owner(VENDOR, "999999999999");
        state.set_bucket_owner(CUSTOMER, "888888888888");
    }
    let object = match parts {
        true => Object::bytes(vec![7; 11 * MIB as usize]).with_part_size(5 * MIB),
        false => Object::bytes("x"),
    };
    let object = object.with_tag("kind", "nightly").with_annotation("origin", "{}");
    let object = object.with_encryption(Encryption::Kms(SOURCE_KEY.into()));
    state.put(VENDOR, "dump", object);
    fixture
}

/// The statement that a run offers whose only object cannot be copied.
async fn offered(fixture: &Fixture) -> Value {
    let run = fixture.try_run(&Halt::never(), Arc::new(())).await;
    let error = run.map(|report| format!("{report:#?}")).expect_err("a refusal");
    let statement = error.statement().unwrap_or_else(|| panic!("no statement: {error}"));
    serde_json::to_value(statement).expect("JSON")
}

/// Takes `right` from a user, runs, and lets the user do what the statement says.
async fn assert_mended(
    fixture: &Fixture,
    (user, secret): (&str, &str),
    right: (&str, &str),
    denied: &[(&str, &str)],
) {
    let without = |also: Option<(&str, &str)>| {
        let user = User::new(user, secret);
        denied.iter().copied().chain(also).fold(user, |user, (action, on)| user.deny(action, on))
    };
    let (action, on) = right;
    fixture.sim.state().set_user(without(Some(right)));
    let statement = offered(fixture).await;
    let resource = match action {
        "s3:ListBucket" => format!("arn:aws:s3:::{on}"),
        action if action.starts_with("kms:") => on.to_owned(),
        _ => format!("arn:aws:s3:::{on}/*"),
    };
    assert_eq!(
        (&statement["Action"], &statement["Resource"]),
        (&json!([action]), &json!([resource])),
        "{right:?}"
    );
    fixture.sim.state().set_user(without(None));
    let report = fixture.run().await;
    assert_eq!(report.status, Status::Complete, "{right:?} {report:#?}");
}

#[tokio::test]
async fn each_right_that_a_server_side_copy_lacks_is_named_and_mended_by_its_statement() {
    for (parts, explains) in [(false, true), (false, false), (true, true), (true, false)] {
        for right in AT_SOURCE.iter().chain(AT_DESTINATION) {
            let fixture = fixture(parts, explains).await;
            assert_mended(&fixture, OWN, *right, &[]).await;
        }
    }
}

#[tokio::test]
async fn each_right_that_a_stream_lacks_is_named_and_mended_by_its_statement() {
    for (parts, explains) in [(false, true), (false, false), (true, true), (true, false)] {
        for (who, denied, rights) in
            [(VENDORS, &[("s3:*", CUSTOMER)], AT_SOURCE), (OWN, &[("s3:*", VENDOR)], AT_DESTINATION)]
        {
            for right in rights {
                let mut fixture = fixture(parts, explains).await;
                fixture.settings.source_credentials = Some(keys(VENDORS));
                fixture.settings.transfer = Some("stream".into());
                assert_mended(&fixture, who, *right, denied).await;
            }
        }
    }
}

#[tokio::test]
async fn asking_what_is_missing_leaves_nothing_behind() {
    let fixture = fixture(true, false).await;
    fixture.sim.state().put(VENDOR, "small", Object::bytes("x").with_tag("a", "b"));
    fixture.sim.state().set_user(User::new(OWN.0, OWN.1).deny("s3:PutObjectTagging", CUSTOMER));
    offered(&fixture).await;
    assert_eq!(fixture.copies(), Vec::<String>::new());
    assert_eq!(fixture.sim.state().open_uploads(CUSTOMER), []);
}

#[tokio::test]
async fn a_bucket_that_is_gone_is_named_with_its_side() {
    for (bucket, setting) in [(VENDOR, "FILESYSTEM_BUCKET"), (CUSTOMER, "DESTINATION_BUCKET")] {
        let fixture = fixture(false, true).await;
        fixture.sim.on_request(move |event, state| {
            if event.is_before() && event.operation == "CopyObject" {
                state.delete(VENDOR, "dump");
                state.delete_bucket(bucket);
            }
        });
        let report = fixture.run().await;
        let failure = &report.sources[0].failures[0].failure;
        assert_eq!(failure.error, "NoSuchBucket", "{report:#?}");
        assert!(failure.remedy.text.contains(setting), "{bucket}: {}", failure.remedy);
    }
}

/// A key that is disabled is no right that is missing.
#[tokio::test]
async fn an_unusable_key_is_told_from_a_missing_right() {
    for (code, error) in [
        ("KMS.DisabledException", "KeyUnusable"),
        ("KMS.KMSInvalidStateException", "KeyUnusable"),
        ("KMS.NotFoundException", "KeyUnusable"),
        ("KMS.AccessDeniedException", "AccessDenied"),
    ] {
        let fixture = fixture(false, true).await;
        fixture.sim.state().put(VENDOR, "other", Object::bytes("x"));
        let kind = s3_sim::FaultKind::Error { status: 400, code };
        fixture.sim.add_fault(s3_sim::Fault::first("CopyObject", 9, kind).on_key("filesystem/dump"));
        let report = fixture.run().await;
        let failure = &report.sources[0].failures[0].failure;
        assert_eq!(failure.error, error, "{code}: {report:#?}");
        assert!(failure.remedy.text.contains("KMS key"), "{code}: {}", failure.remedy);
        assert_eq!(fixture.sim.counters().get("CopyObject"), 2, "{code} is final");
    }
}

/// Under SSE-KMS ETags cannot be compared; whoever may not look at the copies is not told so.
#[tokio::test]
async fn copies_under_kms_that_may_not_be_looked_at_are_not_made_again() {
    let fixture = fixture(false, true).await;
    for index in 0..20 {
        fixture.sim.state().put(VENDOR, &format!("{index}"), Object::bytes(vec![index; 9]));
    }
    let first = fixture.run().await;
    assert_eq!(first.sources[0].verified_by, [(VerifiedBy::Checksum, 21)].into());
    fixture.sim.state().set_user(User::new(OWN.0, OWN.1).deny("s3:GetObject", CUSTOMER));
    for key in fixture.copies() {
        // Longer ago than the margin for objects that change while they are copied.
        let source = key.strip_prefix("filesystem/").expect("where they land");
        let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(3_600);
        assert!(fixture.sim.state().set_last_modified(VENDOR, source, long_ago));
    }
    fixture.sim.reset_counters();
    let second = fixture.run().await;
    let counters = fixture.sim.counters();
    assert_eq!((second.status, counters.get("CopyObject")), (Status::Complete, 0), "{counters}");
    assert!(counters.get("HeadObject") <= 2, "{counters}");
}

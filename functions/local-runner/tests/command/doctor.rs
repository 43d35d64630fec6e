//! `local-runner doctor`: what it finds, what it leaves behind, how it ends.

use s3_sim::{Config, Encryption, User};

use crate::world::{CUSTOMER, DUMPS, World, assert_contains, stderr, stdout};

const OWN: (&str, &str) = ("sim-access-key", "sim-secret-key");

/// A world whose own user may not do this.
fn without(denied: &[(&str, &str)]) -> World {
    let own = denied.iter().fold(User::new(OWN.0, OWN.1), |user, (action, on)| user.deny(*action, *on));
    let vendor = User::new("vendor-key", "vendor-secret").deny("s3:*", CUSTOMER);
    World::with(Config { users: vec![own, vendor], ..Config::default() })
}

#[test]
fn all_is_well_and_nothing_is_left_but_one_object() {
    let world = World::new();
    for _ in 0..2 {
        let report = stdout(&world.doctor(&[]).assert().code(0));
        assert_contains(
            &report,
            &[
                "destination  s3://customer\n",
                "  ok           write tags\n",
                "  ok           abort an upload\n",
                "database  s3://vendor-dumps\n",
                "list                3 objects, 0 in parts\n",
                "  ok           copy server-side    its smallest object, to .replicator/doctor\n",
                "  server-side: one identity reads the source and writes the destination\n",
                "Good: a run will work.\n",
            ],
        );
        assert!(!report.contains("missing"), "{report}");
        assert!(report.lines().all(|line| line.chars().count() <= 80), "{report}");
    }
    assert_eq!(world.state().keys(CUSTOMER), [".replicator/doctor"]);
    assert!(world.state().open_uploads(CUSTOMER).is_empty());
    assert_eq!(world.state().keys(DUMPS).len(), 3);
    assert_eq!(world.sim.counters().get("DeleteObject"), 0);
    // It is no object of a run, neither copied nor counted.
    let run = stdout(&world.replicate(&[]).assert().code(0));
    assert!(!run.contains("only at destination"), "{run}");
}

#[test]
fn what_is_missing_is_one_statement_for_each_policy() {
    let world = without(&[
        ("s3:GetObjectTagging", DUMPS),
        ("s3:PutObjectTagging", CUSTOMER),
        ("s3:AbortMultipartUpload", CUSTOMER),
        ("s3:GetBucketVersioning", CUSTOMER),
    ]);
    let report = stdout(&world.doctor(&[]).assert().code(3));
    assert_contains(
        &report,
        &[
            "  missing      read tags",
            "  missing      write tags",
            "  missing      abort an upload     s3:AbortMultipartUpload; the upload",
            "is left open",
            "  cannot tell  versioning",
            "In part: a run will work, but not for everything; see above.\n",
            "{\"Effect\": \"Allow\",\n   \"Action\": [\"s3:PutObjectTagging\", \"s3:AbortMultipartUpload\"],\n   \"Resource\": [\"arn:aws:s3:::customer/*\"]}",
            "\"Action\": [\"s3:GetObjectTagging\"],\n   \"Resource\": [\"arn:aws:s3:::vendor-dumps/*\"]}",
        ],
    );
    assert_eq!(report.matches("add to your role's policy").count(), 1, "{report}");
}

#[test]
fn across_accounts_the_statement_is_for_the_vendors_bucket_policy() {
    let world = without(&[("s3:GetObject", DUMPS)]);
    world.state().set_bucket_owner(DUMPS, "999999999999");
    let report = stdout(&world.doctor(&[]).assert().code(1));
    assert_contains(
        &report,
        &[
            "add to the vendor's bucket policy, and without Principal in your role's policy",
            "\"Principal\": {\"AWS\": \"PUT THE ARN OF YOUR ROLE HERE",
            "Not yet: a run cannot work; see above.\n",
        ],
    );
}

#[test]
fn a_key_that_may_not_be_used_is_named() {
    let world = without(&[("kms:Decrypt", "arn:aws:kms:*"), ("kms:GenerateDataKey", "arn:aws:kms:*")]);
    let key = "arn:aws:kms:us-east-1:123456789012:key/backups";
    world.state().set_default_encryption(CUSTOMER, Encryption::Kms(key.into()));
    let report = stdout(&world.doctor(&[]).assert().code(1));
    assert_contains(&report, &["  missing      write ", "\"kms:GenerateDataKey\"", key]);
}

#[test]
fn the_vendors_keys_stand_in_where_the_own_credentials_are_refused() {
    let world = without(&[("s3:*", DUMPS)]);
    let mut doctor = world.doctor(&[]);
    doctor.env("SOURCE_ACCESS_KEY_ID", "vendor-key").env("SOURCE_SECRET_ACCESS_KEY", "vendor-secret");
    let run = doctor.assert().code(0);
    let report = stdout(&run);
    assert_contains(
        &report,
        &[
            "  ok           read, vendor's keys",
            "  streamed: the source refuses server-side copies (allow s3:ListBucket on",
            "Good: a run will work.\n",
        ],
    );
    assert!(!report.contains("missing") && !report.contains("\"Effect\""), "{report}");
    assert!(!format!("{report}{}", stderr(&run)).contains("vendor-secret"));
}

#[test]
fn machines_get_json() {
    let world = without(&[("s3:PutObject", CUSTOMER)]);
    let report = stdout(&world.doctor(&["--json"]).assert().code(1));
    let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
    assert_eq!(report["prognosis"], "hopeless");
    let checks = report["sections"][0]["checks"].as_array().expect("checks");
    let write = checks.iter().find(|check| check["what"] == "write").expect("the trial");
    assert_eq!(
        (&write["finding"], &write["statement"]["Action"]),
        (&"missing".into(), &serde_json::json!(["s3:PutObject"]))
    );
}

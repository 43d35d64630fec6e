//! A run that is killed at any moment, again and again, and then runs to its end: as if it had
//! never been killed. The command on the simulator, and the engine on MinIO.

use std::sync::Arc;
use std::time::Duration;

use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_s3::config::{Credentials, Region, SharedCredentialsProvider};
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bucket_copy::{Clients, Halt, Observer, Plan, Request, RunError, Settings, Status, replicate};
use integration_tests::{LocalRunner, Minio};
use s3_sim::{Config, Latency, Object};
use tokio::sync::Notify;

use crate::fixture::{CUSTOMER, Fixture, MIB, VENDOR, bytes};

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_is_killed_at_any_moment_ends_as_if_it_had_never_been() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let ms = Duration::from_millis;
    let latency = Latency { copy: ms(15), list: ms(5), put: ms(5), ..Latency::default() };
    let fixture = Fixture::with(Config { latency, ..Config::default() }).await;
    for index in 0..300 {
        fixture.sim.state().put(VENDOR, &format!("single/{index:03}"), Object::new(bytes(index, 10)));
    }
    for index in 0..8 {
        let object = Object::new(bytes(1_000 + index, 103 * MIB)).with_part_size(5 * MIB);
        fixture.sim.state().put(VENDOR, &format!("parts/{index}"), object);
    }
    let command = LocalRunner::new(["replicate", "--quiet", "--max-in-flight", "8"])
        .env("AWS_ACCESS_KEY_ID", "sim-access-key")
        .env("AWS_SECRET_ACCESS_KEY", "sim-secret-key")
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ENDPOINT_URL", fixture.sim.endpoint())
        .env("FILESYSTEM_BUCKET", VENDOR)
        .env("DESTINATION_BUCKET", CUSTOMER);
    for _ in 0..12 {
        let mut running = command.spawn().expect("started");
        let requests = fixture.sim.counters().total() + random.u64(1..90);
        while fixture.sim.counters().total() < requests && running.try_wait().expect("a process").is_none() {
            tokio::time::sleep(ms(2)).await;
        }
        // SIGKILL, and waited for.
        drop(running);
        fixture.let_lease_lapse();
        for key in fixture.copies() {
            fixture.assert_same(key.strip_prefix("filesystem/").expect("below the prefix"));
        }
    }
    let ended = loop {
        // The last requests of the run before may have come after that.
        fixture.let_lease_lapse();
        let ended = command.run().await.expect("ended");
        if !ended.stderr.contains("replicated by another run") {
            break ended;
        }
    };
    assert_eq!(ended.status.code(), Some(0), "seed {seed}: {ended:#?}");
    for key in fixture.sim.state().keys(VENDOR) {
        fixture.assert_same(&key);
    }
    fixture.assert_at_rest().await;
}

/// Tells when so many parts have arrived.
struct Parts(Notify);

impl Observer for Parts {
    fn moved(&self, _: u64) {
        self.0.notify_one();
    }
}

/// MinIO lists open uploads for an exact key only.
#[tokio::test]
async fn on_minio_too_a_killed_run_leaves_no_upload_open() {
    let minio = Minio::shared().await.expect("a server");
    let client = minio.client();
    let (from, to) = ("killed-source", "killed-destination");
    for bucket in [from, to] {
        client.create_bucket().bucket(bucket).send().await.expect("created");
    }
    let upload = client.create_multipart_upload().bucket(from).key("dump").send().await.expect("an upload");
    let id = upload.upload_id().expect("an id");
    let mut parts = CompletedMultipartUpload::builder();
    for number in 1..=6_i32 {
        let body = vec![number as u8; 5 * MIB as usize];
        let put = client.upload_part().bucket(from).key("dump").upload_id(id).part_number(number);
        let put = put.body(body.into()).send().await.expect("a part");
        let part = CompletedPart::builder().part_number(number).set_e_tag(put.e_tag).build();
        parts = parts.parts(part);
    }
    let complete = client.complete_multipart_upload().bucket(from).key("dump").upload_id(id);
    complete.multipart_upload(parts.build()).send().await.expect("completed");

    let settings = Settings {
        filesystem_bucket: Some(from.into()),
        destination_bucket: Some(to.into()),
        source_endpoint_url: Some(minio.endpoint()),
        destination_endpoint_url: Some(minio.endpoint()),
        max_in_flight: Some("1".into()),
        ..Settings::default()
    };
    let keys = Credentials::new(minio.access_key(), minio.secret_key(), None, None, "test");
    let shared = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(keys))
        .build();
    let clients = Clients::new(&shared, &settings).expect("valid endpoints");
    let mut plan = Plan::new(&settings, &Request::default()).expect("a valid plan");
    plan.lease = Duration::from_secs(2);

    let halt = Halt::never();
    for _ in 0..2 {
        let parts = Arc::new(Parts(Notify::new()));
        tokio::select! {
            ended = replicate(&plan, &clients, &halt, parts.clone()) => match ended {
                // Until the lease of the one before has lapsed.
                Err(RunError::HeldByAnother { .. }) => {}
                ended => panic!("it came to its end: {ended:#?}"),
            },
            () = parts.0.notified() => {}
        }
    }
    let report = loop {
        match replicate(&plan, &clients, &halt, Arc::new(())).await {
            Err(RunError::HeldByAnother { .. }) => tokio::time::sleep(Duration::from_millis(200)).await,
            report => break report.expect("a report"),
        }
    };
    assert_eq!(report.status, Status::Complete);
    let head = async |bucket: &str, key: &str| {
        client.head_object().bucket(bucket).key(key).send().await.expect("an object").e_tag
    };
    assert_eq!(head(from, "dump").await, head(to, "filesystem/dump").await);
    let open = client.list_multipart_uploads().bucket(to).prefix("filesystem/dump").send().await;
    assert_eq!(open.expect("a listing").uploads(), []);
}

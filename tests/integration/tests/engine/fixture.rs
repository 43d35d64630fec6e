//! A simulator with a vendor's bucket and a customer's, and runs on it.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::config::{Credentials, Region, SharedCredentialsProvider};
use bucket_copy::{
    Clients, Fate, Halt, Observer, Outcome, Plan, RESERVED_PREFIX, Report, Request, RunError, Settings,
    Verification, replicate, verify,
};
use s3_sim::{Config, Content, ObjectSnapshot, Sim};

pub(crate) const VENDOR: &str = "backup-fs-my-environment-name";
pub(crate) const CUSTOMER: &str = "customer-backups";
pub(crate) const LEASE: &str = ".replicator/lease/filesystem.json";
pub(crate) const MIB: u64 = 1 << 20;

pub(crate) struct Fixture {
    pub(crate) sim: Sim,
    pub(crate) settings: Settings,
    pub(crate) request: Request,
    /// How long one try of a request may take.
    pub(crate) patience: Duration,
    /// After which a lease lapses.
    pub(crate) lease: Duration,
    /// Who runs it.
    pub(crate) holder: &'static str,
    /// Whether others go on with what it has no time for.
    pub(crate) hands_over: bool,
    /// The customer's own keys.
    pub(crate) keys: (&'static str, &'static str),
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        Self::with(Config::default()).await
    }

    pub(crate) async fn with(config: Config) -> Self {
        let sim = Sim::start(config).await.expect("a free port");
        for bucket in [VENDOR, CUSTOMER] {
            sim.state().create_bucket(bucket);
        }
        let settings = Settings {
            filesystem_bucket: Some(VENDOR.into()),
            destination_bucket: Some(CUSTOMER.into()),
            source_endpoint_url: Some(sim.endpoint()),
            destination_endpoint_url: Some(sim.endpoint()),
            ..Settings::default()
        };
        let keys = ("sim-access-key", "sim-secret-key");
        Self {
            sim,
            settings,
            request: Request::default(),
            patience: Duration::from_secs(30),
            lease: Duration::from_secs(600),
            holder: "the tests",
            hands_over: false,
            keys,
        }
    }

    pub(crate) fn clients(&self) -> Clients {
        let shared = aws_config::SdkConfig::builder()
            .behavior_version(aws_config::BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(SharedCredentialsProvider::new(keys(self.keys)))
            .build();
        Clients::new(&shared, &self.settings).expect("valid endpoints")
    }

    /// A run to its end.
    pub(crate) async fn run(&self) -> Report {
        self.try_run(&Halt::never(), Arc::new(())).await.expect("a run")
    }

    pub(crate) async fn try_run(&self, halt: &Halt, observer: Arc<dyn Observer>) -> Result<Report, RunError> {
        self.run_with(self.patience, halt, observer).await
    }

    async fn run_with(
        &self,
        patience: Duration,
        halt: &Halt,
        observer: Arc<dyn Observer>,
    ) -> Result<Report, RunError> {
        let plan = Plan { attempt_timeout: patience, ..self.plan() };
        replicate(&plan, &self.clients(), halt, observer).await
    }

    pub(crate) fn plan(&self) -> Plan {
        Plan {
            attempt_timeout: self.patience,
            lease: self.lease,
            holder: self.holder.into(),
            hands_over: self.hands_over,
            ..Plan::new(&self.settings, &self.request).expect("a valid plan")
        }
    }

    /// A verification to its end.
    pub(crate) async fn verify(&self) -> Verification {
        self.try_verify(Request::default(), &Halt::never()).await.expect("a verification")
    }

    /// The same, by reading every object.
    pub(crate) async fn verify_reading(&self) -> Verification {
        let request = Request { read: true, ..Request::default() };
        self.try_verify(request, &Halt::never()).await.expect("a verification")
    }

    pub(crate) async fn try_verify(&self, request: Request, halt: &Halt) -> Result<Verification, RunError> {
        let mut plan = Plan::new(&self.settings, &Request { verify: true, ..request }).expect("a valid plan");
        plan.attempt_timeout = self.patience;
        verify(&plan, &self.clients(), halt, Arc::new(())).await
    }

    pub(crate) fn vendor(&self, key: &str) -> ObjectSnapshot {
        self.sim.state().object(VENDOR, key).unwrap_or_else(|| panic!("the vendor has no {key:?}"))
    }

    pub(crate) fn customer(&self, key: &str) -> ObjectSnapshot {
        let key = format!("filesystem/{key}");
        self.sim.state().object(CUSTOMER, &key).unwrap_or_else(|| panic!("the customer has no {key:?}"))
    }

    /// The copy is the vendor's object in all that a customer can see of it.
    #[track_caller]
    pub(crate) fn assert_same(&self, key: &str) {
        assert_eq!(visible(&self.customer(key)), visible(&self.vendor(key)), "{key:?}");
    }

    /// The keys at the destination, but for the replicator's own.
    pub(crate) fn copies(&self) -> Vec<String> {
        let mut keys = self.sim.state().keys(CUSTOMER);
        keys.retain(|key| !key.starts_with(RESERVED_PREFIX));
        keys
    }

    /// As if the run that has the lease had not been heard of for an hour.
    pub(crate) fn let_lease_lapse(&self) {
        let long_ago = std::time::SystemTime::now() - Duration::from_secs(3_600);
        self.sim.state().set_last_modified(CUSTOMER, LEASE, long_ago);
    }

    /// The run after one that was killed: as soon as that one's last requests have arrived, and
    /// its lease has lapsed.
    pub(crate) async fn succeed(&self) -> Report {
        loop {
            self.let_lease_lapse();
            match self.try_run(&Halt::never(), Arc::new(())).await {
                Err(RunError::HeldByAnother { .. }) => {}
                report => return report.expect("a run"),
            }
        }
    }

    /// Nothing but listing, and looking at, taking and releasing the lease. Nothing left open.
    pub(crate) async fn assert_at_rest(&self) {
        self.sim.clear_faults();
        self.sim.reset_counters();
        // No request is tried again, however slow this machine.
        let patience = Duration::from_secs(30);
        let report = self.run_with(patience, &Halt::never(), Arc::new(())).await.expect("a run");
        let counters = self.sim.counters();
        let lease = ["GetObject", "PutObject"].map(|operation| counters.get(operation));
        assert_eq!((lease, counters.get("ListObjectsV2") + 3), ([1, 2], counters.total()), "{counters}");
        assert_eq!(report.total(|source| source.copied).objects, 0, "{report:?}");
        assert_eq!(self.sim.state().open_uploads(CUSTOMER), []);
    }
}

pub(crate) fn keys((id, secret): (&str, &str)) -> Credentials {
    Credentials::new(id, secret, None, None, "test")
}

/// All of an object that CopyObject keeps; the ETag stands for its parts, too.
pub(crate) fn visible(object: &ObjectSnapshot) -> impl PartialEq + std::fmt::Debug + use<> {
    let mut headers = object.headers.clone();
    // What S3 gives an object that was uploaded without one.
    headers.content_type.get_or_insert_with(|| "binary/octet-stream".to_owned());
    (
        (object.size, object.etag.clone(), object.content.clone()),
        (object.user_metadata.clone(), headers, object.tags.clone()),
        object.checksum.value.clone(),
    )
}

/// Keeps the outcomes.
#[derive(Default)]
pub(crate) struct Outcomes(std::sync::Mutex<Vec<Outcome>>);

impl Observer for Outcomes {
    fn done(&self, outcome: &Outcome) {
        self.0.lock().expect("no panic").push(outcome.clone());
    }
}

impl Outcomes {
    pub(crate) fn of(&self, key: &str) -> Vec<Fate> {
        let outcomes = self.0.lock().expect("no panic");
        outcomes.iter().filter(|outcome| outcome.key == key).map(|outcome| outcome.fate.clone()).collect()
    }
}

pub(crate) fn bytes(seed: u64, len: u64) -> Content {
    Content::virtual_bytes(seed, len)
}

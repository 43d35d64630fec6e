//! A vendor's buckets, a customer's bucket, and the command between them.

use std::time::Duration;

use assert_cmd::Command;
use assert_cmd::assert::Assert;
use s3_sim::{Config, Object, Sim, State};
use tokio::runtime::Runtime;

pub(crate) const DUMPS: &str = "vendor-dumps";
pub(crate) const FILES: &str = "vendor-files";
pub(crate) const CUSTOMER: &str = "customer";

/// A simulator that serves on threads of its own while a test waits for the command.
pub(crate) struct World {
    pub(crate) sim: Sim,
    _runtime: Runtime,
}

impl World {
    /// Three dumps, three files, an empty destination.
    pub(crate) fn new() -> Self {
        Self::with(Config::default())
    }

    pub(crate) fn with(config: Config) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("threads");
        let sim = runtime.block_on(Sim::start(config)).expect("a free port");
        let state = sim.state();
        for bucket in [DUMPS, FILES, CUSTOMER] {
            state.create_bucket(bucket);
        }
        for key in ["2026/11/19.dump", "2026/11/20.dump", "2026/11/21.dump"] {
            state.put(DUMPS, key, Object::virtual_bytes(1, 3 << 20));
        }
        for key in ["a b+c.pdf", "été.txt", "plain"] {
            state.put(FILES, key, Object::bytes(key.as_bytes().to_vec()));
        }
        Self { sim, _runtime: runtime }
    }

    pub(crate) fn state(&self) -> &State {
        self.sim.state()
    }

    /// `local-runner replicate` with all three buckets, by the environment.
    pub(crate) fn replicate(&self, args: &[&str]) -> Command {
        let mut command = self.bare(args);
        command.envs([
            ("DATABASE_BUCKET", DUMPS),
            ("FILESYSTEM_BUCKET", FILES),
            ("DESTINATION_BUCKET", CUSTOMER),
        ]);
        command
    }

    /// `local-runner verify` with all three buckets, by the environment.
    pub(crate) fn verify(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_local-runner"));
        command.env_clear().envs(self.environment()).arg("verify").args(args).envs([
            ("DATABASE_BUCKET", DUMPS),
            ("FILESYSTEM_BUCKET", FILES),
            ("DESTINATION_BUCKET", CUSTOMER),
        ]);
        command.timeout(Duration::from_secs(60));
        command
    }

    /// `local-runner replicate` with credentials and the endpoint only.
    pub(crate) fn bare(&self, args: &[&str]) -> Command {
        self.command("replicate", args)
    }

    /// `local-runner doctor` with the dumps' bucket and the destination.
    pub(crate) fn doctor(&self, args: &[&str]) -> Command {
        let mut command = self.command("doctor", args);
        command.envs([("DATABASE_BUCKET", DUMPS), ("DESTINATION_BUCKET", CUSTOMER)]);
        command
    }

    /// Any of its commands, with credentials and the endpoint only.
    pub(crate) fn command(&self, name: &str, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_local-runner"));
        command.env_clear().envs(self.environment()).arg(name).args(args);
        command.timeout(Duration::from_secs(60));
        command
    }

    pub(crate) fn environment(&self) -> [(&'static str, String); 4] {
        [
            ("AWS_ACCESS_KEY_ID", "sim-access-key".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "sim-secret-key".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ENDPOINT_URL", self.sim.endpoint()),
        ]
    }

    /// All keys of the destination.
    pub(crate) fn copies(&self) -> Vec<String> {
        let mut keys = self.keys();
        keys.retain(|key| !key.starts_with(bucket_copy::RESERVED_PREFIX));
        keys
    }

    /// All that is at the destination, the replicator's own reports among it.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.state().keys(CUSTOMER)
    }

    /// Fails unless the destination is as empty as it was, but for a lease.
    pub(crate) fn assert_nothing_written(&self) {
        let mut keys = self.keys();
        keys.retain(|key| !key.starts_with(".replicator/lease/"));
        assert_eq!(keys, Vec::<String>::new());
        assert!(self.state().open_uploads(CUSTOMER).is_empty(), "an upload is open");
    }
}

pub(crate) fn stdout(assert: &Assert) -> String {
    String::from_utf8(assert.get_output().stdout.clone()).expect("UTF-8")
}

pub(crate) fn stderr(assert: &Assert) -> String {
    String::from_utf8(assert.get_output().stderr.clone()).expect("UTF-8")
}

/// Fails unless `text` contains every one of `parts`.
#[track_caller]
pub(crate) fn assert_contains(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

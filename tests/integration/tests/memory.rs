//! What `MEMORY_LIMIT_MIB` promises: that a run whose bytes pass through it holds less, for
//! objects of any size and number.

use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use integration_tests::LocalRunner;
use s3_sim::{Config, Latency, Object, Sim};

const MIB: usize = 1 << 20;
const SOURCE: &str = "backup-fs-my-environment-name";
const DESTINATION: &str = "my-company-backups";

/// Streams all of the source at once, as far as the limit allows; answers the peak in bytes.
async fn peak(sim: &Sim, limit_mib: &str) -> Result<u64> {
    let run = LocalRunner::new(["replicate", "--quiet"])
        .env("FILESYSTEM_BUCKET", SOURCE)
        .env("DESTINATION_BUCKET", DESTINATION)
        .env("SOURCE_ENDPOINT_URL", sim.endpoint())
        .env("DESTINATION_ENDPOINT_URL", sim.endpoint())
        .env("AWS_ACCESS_KEY_ID", "sim-access-key")
        .env("AWS_SECRET_ACCESS_KEY", "sim-secret-key")
        .env("TRANSFER", "stream")
        .env("MAX_IN_FLIGHT", "256")
        .env("MEMORY_LIMIT_MIB", limit_mib)
        .limit(Duration::from_secs(300))
        .run()
        .await?;
    assert_eq!(run.status.code(), Some(0), "{}{}", run.stdout, run.stderr);
    run.peak_memory.context("only Linux tells a process's peak")
}

/// A destination that is slow to take what is sent: every buffer on the way is full.
async fn slow_destination() -> Result<Sim> {
    let latency = Latency { put: Duration::from_millis(500), ..Latency::default() };
    let sim = Sim::start(Config { latency, ..Config::default() }).await?;
    for bucket in [SOURCE, DESTINATION] {
        sim.state().create_bucket(bucket);
    }
    Ok(sim)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_objects_stay_below_the_limit_though_the_destination_is_slow() -> Result<()> {
    let sim = slow_destination().await?;
    let bytes = Bytes::from(vec![7; 8 * MIB]);
    for index in 0..150 {
        sim.state().put(SOURCE, &format!("{index:03}"), Object::bytes(bytes.clone()));
    }
    let peak = peak(&sim, "128").await?;
    assert!(peak < 128 * MIB as u64, "{} MiB", peak / MIB as u64);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_object_stays_below_the_limit_though_all_its_parts_go_at_once() -> Result<()> {
    let sim = slow_destination().await?;
    let object = Object::bytes(vec![7; 1_200 * MIB]).with_part_size(8 * MIB as u64);
    sim.state().put(SOURCE, "dump", object);
    let peak = peak(&sim, "128").await?;
    assert!(peak < 128 * MIB as u64, "{} MiB", peak / MIB as u64);
    Ok(())
}

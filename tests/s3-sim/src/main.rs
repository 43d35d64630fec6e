//! The simulator as a program: for benchmarks and for trying things out by hand.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use clap::Parser;
use s3_sim::{
    Config, Content, Fault, FaultKind, GeneratedKeys, Latency, Object, Op, Pattern, Sim, State, User,
};
use tokio::signal::unix::{SignalKind, signal};

/// An S3 in memory on 127.0.0.1, with latency, faults and counters.
///
/// GET /_sim/counters and POST /_sim/reset need no signature.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The port; any free one if 0
    #[arg(long, default_value_t = 9100)]
    port: u16,
    /// Milliseconds a listing takes
    #[arg(long, default_value_t = 0)]
    list_ms: u64,
    /// Milliseconds CopyObject and UploadPartCopy take
    #[arg(long, default_value_t = 0)]
    copy_ms: u64,
    /// Milliseconds HeadObject takes
    #[arg(long, default_value_t = 0)]
    head_ms: u64,
    /// Milliseconds PutObject and UploadPart take
    #[arg(long, default_value_t = 0)]
    put_ms: u64,
    /// Milliseconds GetObject takes
    #[arg(long, default_value_t = 0)]
    get_ms: u64,
    /// Milliseconds everything else takes
    #[arg(long, default_value_t = 0)]
    other_ms: u64,
    /// Megabytes (10^6) a second that one UploadPartCopy copies; endless if not given
    #[arg(long)]
    part_copy_mb_s: Option<u64>,
    /// Writes a second, 503 SlowDown above
    #[arg(long)]
    write_limit: Option<u32>,
    /// Share of requests answered with 500 or 503, half of them each
    #[arg(long, default_value_t = 0.0)]
    fault_rate: f64,
    /// What the faults are drawn from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[arg(long, default_value = "sim-access-key")]
    access_key: String,
    #[arg(long, default_value = "sim-secret-key")]
    secret_key: String,
    /// An empty bucket
    #[arg(long, value_name = "NAME")]
    bucket: Vec<String>,
    /// A generated bucket: NAME:pattern=sequential,count=20000,size=4096,prefix=database/
    ///
    /// Patterns: sequential, hex, dates, long-prefix, non-ascii
    #[arg(long, value_name = "NAME:OPTIONS")]
    generate: Vec<String>,
    /// A large object that costs no memory: NAME:KEY,size=100GiB,part=64MiB
    #[arg(long, value_name = "NAME:KEY,OPTIONS")]
    big_object: Vec<String>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?
        .block_on(run(arguments))
}

async fn run(arguments: Arguments) -> Result<()> {
    let sim = Sim::start(config(&arguments))
        .await
        .with_context(|| format!("cannot listen on port {}", arguments.port))?;
    for kind in [FaultKind::InternalError, FaultKind::SlowDown] {
        if arguments.fault_rate > 0.0 {
            sim.add_fault(Fault::rate(Op::Any, kind, arguments.fault_rate / 2.0));
        }
    }
    for text in &arguments.generate {
        let (bucket, keys) = parse_generated(text).with_context(|| format!("--generate {text}"))?;
        sim.state().create_generated_bucket(bucket, keys);
    }
    for bucket in &arguments.bucket {
        sim.state().create_bucket(bucket);
    }
    for text in &arguments.big_object {
        put_big_object(sim.state(), text).with_context(|| format!("--big-object {text}"))?;
    }
    println!("listening on {}", sim.endpoint());

    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => {}
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    sim.stop().await;
    Ok(())
}

fn config(arguments: &Arguments) -> Config {
    Config {
        users: vec![User::new(&arguments.access_key, &arguments.secret_key)],
        latency: Latency {
            list: Duration::from_millis(arguments.list_ms),
            copy: Duration::from_millis(arguments.copy_ms),
            head: Duration::from_millis(arguments.head_ms),
            put: Duration::from_millis(arguments.put_ms),
            get: Duration::from_millis(arguments.get_ms),
            other: Duration::from_millis(arguments.other_ms),
            part_copy_bytes_per_second: arguments.part_copy_mb_s.map(|rate| rate * 1_000_000),
        },
        write_limit: arguments.write_limit,
        port: Some(arguments.port),
        seed: arguments.seed,
        ..Config::default()
    }
}

/// `NAME:pattern=…,count=…,size=…,prefix=…`; the last may hold anything but a comma.
fn parse_generated(text: &str) -> Result<(&str, GeneratedKeys)> {
    let (bucket, options) = text.split_once(':').unwrap_or((text, ""));
    let mut pattern = Pattern::Sequential;
    let (mut count, mut size, mut prefix) = (1000, 1024, "");
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let (name, value) = option.split_once('=').ok_or_else(|| anyhow!("{option:?} is not NAME=VALUE"))?;
        match name {
            "pattern" => {
                pattern = Pattern::from_name(value).ok_or_else(|| {
                    let known: Vec<_> = Pattern::ALL.iter().map(|(name, _)| *name).collect();
                    anyhow!("pattern {value:?} is none of {}", known.join(", "))
                })?;
            }
            "count" => count = value.parse().context("count")?,
            "size" => size = parse_size(value)?,
            "prefix" => prefix = value,
            _ => bail!("{name:?} is none of pattern, count, size, prefix"),
        }
    }
    let keys = GeneratedKeys::pattern(pattern, count, size).with_prefix(prefix);
    Ok((bucket, keys))
}

/// `NAME:KEY,size=…,part=…`: the bucket is created if need be.
fn put_big_object(state: &State, text: &str) -> Result<()> {
    let (bucket, rest) = text.split_once(':').ok_or_else(|| anyhow!("no colon behind the bucket's name"))?;
    let mut options = rest.split(',');
    let key = options.next().unwrap_or_default();
    let (mut size, mut part) = (None, None);
    for option in options {
        match option.split_once('=') {
            Some(("size", value)) => size = Some(parse_size(value)?),
            Some(("part", value)) => part = Some(parse_size(value)?),
            _ => bail!("{option:?} is neither size=… nor part=…"),
        }
    }
    let size = size.ok_or_else(|| anyhow!("no size=…"))?;
    // A seed of its own, so that different objects differ.
    let seed = key.bytes().fold(size, |seed, byte| seed.rotate_left(5) ^ u64::from(byte));
    let mut object = Object::new(Content::virtual_bytes(seed, size));
    if let Some(part) = part {
        object = object.with_part_size(part);
    }
    state.create_bucket(bucket);
    state.put(bucket, key, object);
    Ok(())
}

/// Bytes, or a number of KiB, MiB, GiB, TiB.
fn parse_size(text: &str) -> Result<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1_u64 << 40,
        unit => bail!("{unit:?} is none of KiB, MiB, GiB, TiB"),
    };
    let number: u64 = digits.parse().with_context(|| format!("{text:?} is no size"))?;
    Ok(number * unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_say_what_is_generated() -> Result<()> {
        let (bucket, keys) = parse_generated("b:pattern=dates,count=20,size=4KiB,prefix=db/")?;
        assert_eq!((bucket, keys.count()), ("b", 20));
        assert_eq!(keys.key(0), "db/logs/2016/01/01/000000-000000000.json");
        assert!(parse_generated("b:pattern=none").is_err());
        assert!(parse_generated("b:count").is_err());
        Ok(())
    }

    #[test]
    fn sizes_have_binary_units() -> Result<()> {
        assert_eq!(parse_size("100GiB")?, 100 << 30);
        assert_eq!(parse_size("7")?, 7);
        assert!(parse_size("7GB").is_err());
        Ok(())
    }
}

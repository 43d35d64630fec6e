//! Keys of every kind: on each route copied, proven, found unchanged by the next run, and the
//! same bytes under the same key. On s3-sim all of them; on MinIO all that it takes, and
//! which it does not take is asserted, too.

mod catalog;
mod server;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use catalog::{BLANK, Instead, MINIO_HIDES, every_key, minio, refusal};
use integration_tests::{LocalRunner, Minio};
use s3_sim::{Config, Fault, FaultKind, Object, Op, Sim};
use serde_json::{Value, json};
use server::Server;

/// How objects are made at the source, and which way they go.
#[derive(Clone, Copy, Debug)]
struct Route {
    transfer: &'static str,
    parts: bool,
    /// The request that moves the bytes: one for each object.
    by: &'static str,
}

const COPY_OBJECT: Route = Route { transfer: "server-side", parts: false, by: "CopyObject" };
const MULTIPART_COPY: Route = Route { transfer: "server-side", parts: true, by: "UploadPartCopy" };
const STREAMED_PUT: Route = Route { transfer: "stream", parts: false, by: "PutObject" };
const STREAMED_PARTS: Route = Route { transfer: "stream", parts: true, by: "UploadPart" };

/// The root of the destination, and below a prefix.
const LANDINGS: [&str; 2] = ["", "landing/"];

/// A run from one bucket into another.
fn runner(from: &Server, source: &str, to: &Server, destination: &str, flags: &[&str]) -> LocalRunner {
    let flags = ["replicate", "--quiet"].into_iter().chain(flags.iter().copied());
    LocalRunner::new(flags)
        .env("DATABASE_BUCKET", source)
        .env("DESTINATION_BUCKET", destination)
        .env("SOURCE_ENDPOINT_URL", &from.endpoint)
        .env("DESTINATION_ENDPOINT_URL", &to.endpoint)
        .env("SOURCE_ACCESS_KEY_ID", &from.access_key)
        .env("SOURCE_SECRET_ACCESS_KEY", &from.secret_key)
        .env("AWS_ACCESS_KEY_ID", &to.access_key)
        .env("AWS_SECRET_ACCESS_KEY", &to.secret_key)
}

/// The keys in the lines that `--list` begins with, read back from their escapes.
fn listed(stdout: &str) -> Result<BTreeMap<String, String>> {
    let lines = stdout.lines().take_while(|line| !line.is_empty());
    let mut listed = BTreeMap::new();
    for line in lines {
        let (fate, rest) = line.split_once(' ').context("a fate")?;
        let (_, rest) = rest.split_once("  database    ").context("a source")?;
        let (key, _) = rest.rsplit_once("  (").context("a reason")?;
        let before = listed.insert(unescape(key)?, fate.to_owned());
        ensure!(before.is_none(), "twice: {line}");
    }
    Ok(listed)
}

fn unescape(text: &str) -> Result<String> {
    let mut key = String::new();
    let mut rest = text;
    while let Some((before, escape)) = rest.split_once('\\') {
        key.push_str(before);
        (rest, _) = match escape.chars().next().context("an escape")? {
            'n' => (&escape[1..], key.push('\n')),
            't' => (&escape[1..], key.push('\t')),
            '\\' => (&escape[1..], key.push('\\')),
            _ => {
                let (digits, after) = escape.split_once('}').context("the end of an escape")?;
                let digits = digits.strip_prefix("u{").context("a code point")?;
                (after, key.push(char::from_u32(u32::from_str_radix(digits, 16)?).context("a character")?))
            }
        };
    }
    Ok(key + rest)
}

/// Nothing that moves a terminal's cursor, or turns the direction of its text.
#[track_caller]
fn assert_fit(output: &str) {
    let turns = ['\u{61c}', '\u{200f}', '\u{202e}', '\u{2066}'];
    let unfit = output.chars().find(|c| c.is_control() && *c != '\n' || turns.contains(c));
    assert_eq!(unfit, None, "{output:?}");
}

/// How many of these requests a run says that it sent.
fn sent(output: &str, operation: &str) -> Option<usize> {
    let words: Vec<&str> = output.split_whitespace().collect();
    let at = words.iter().rposition(|word| word.trim_end_matches(',') == operation)?;
    words[at - 1].replace(',', "").parse().ok()
}

async fn every_key_arrives(server: &Server, route: Route, keys: &[String]) -> Result<()> {
    let source = server.bucket().await?;
    for key in keys {
        server.put(&source, key, body(route, key), route.parts).await?;
    }
    assert_eq!(server.keys(&source).await?, keys.iter().cloned().collect(), "at the source");
    for landing in LANDINGS {
        let destination = server.bucket().await?;
        let run = |flags: &[&str]| {
            let runner = runner(server, &source, server, &destination, flags);
            runner.env("TRANSFER", route.transfer).env("DATABASE_PREFIX", landing)
        };
        let refused: BTreeMap<&str, &str> =
            keys.iter().filter_map(|key| Some((key.as_str(), refusal(key, landing)?))).collect();
        let code = if refused.is_empty() { 0 } else { 3 };
        let expected: BTreeMap<String, String> = keys
            .iter()
            .map(|key| {
                let fate = if refused.contains_key(key.as_str()) { "failed" } else { "copied" };
                (key.clone(), fate.to_owned())
            })
            .collect();

        let first = run(&["--list"]).run().await?;
        assert_eq!(first.status.code(), Some(code), "{}{}", first.stdout, first.stderr);
        assert_eq!(listed(&first.stdout)?, expected, "{route:?} into {landing:?}");
        let copies = keys.len() - refused.len();
        // The lease takes some PutObject, too.
        assert!(sent(&first.stdout, route.by) >= Some(copies), "{}", first.stdout);
        assert_fit(&first.stdout);
        assert_fit(&first.stderr);

        let second = run(&["--json"]).run().await?;
        assert_eq!(second.status.code(), Some(code), "{}{}", second.stdout, second.stderr);
        let report: Value = serde_json::from_str(&second.stdout)?;
        // Besides the listings, the lease.
        let asked = report["requests"].as_object().context("requests")?;
        let names: Vec<&str> = asked.keys().map(String::as_str).collect();
        assert_eq!(names, ["GetObject", "ListObjectsV2", "PutObject"], "{route:?} into {landing:?}");
        assert_eq!((&asked["GetObject"], &asked["ListObjectsV2"]), (&json!(1), &json!(2)), "{route:?}");
        assert_eq!(report["sources"][0]["unchanged"]["objects"], copies);
        assert_eq!(failures(&report), refused);

        let copied: Vec<&String> = keys.iter().filter(|key| !refused.contains_key(key.as_str())).collect();
        let there: BTreeSet<String> = copied.iter().map(|key| format!("{landing}{key}")).collect();
        assert_eq!(server.keys(&destination).await?, there, "{route:?}");
        for key in copied {
            let copy = server.get(&destination, &format!("{landing}{key}")).await?;
            assert_eq!(copy, body(route, key), "{route:?} {key:?}");
        }
    }
    Ok(())
}

/// Bytes that no other object has; a folder marker has none.
fn body(route: Route, key: &str) -> Vec<u8> {
    match key {
        "marker/" | "marker/below/" | "landing/" => Vec::new(),
        _ => format!("{} {key}", route.by).into_bytes(),
    }
}

/// The failed keys of a report, and the names of their errors.
fn failures(report: &Value) -> BTreeMap<&str, &str> {
    let failures = report["sources"][0]["failures"].as_array().into_iter().flatten();
    failures.filter_map(|object| Some((object["key"].as_str()?, object["error"].as_str()?))).collect()
}

/// Makes each route a test on both servers.
macro_rules! routes {
    ($($name:ident: $route:expr),* $(,)?) => {
        mod on_s3_sim {$(
            #[tokio::test]
            async fn $name() -> anyhow::Result<()> {
                let sim = s3_sim::Sim::start(s3_sim::Config::default()).await?;
                let keys = super::every_key();
                super::every_key_arrives(&super::Server::sim(&sim), $route, &keys).await
            }
        )*}

        mod on_minio {$(
            #[tokio::test]
            async fn $name() -> anyhow::Result<()> {
                let server = integration_tests::Minio::shared().await?;
                let keys = super::keys_that_minio_takes($route.parts);
                super::every_key_arrives(&super::Server::minio(&server), $route, &keys).await
            }
        )*}
    };
}

routes! {
    every_key_arrives_by_copy_object: super::COPY_OBJECT,
    every_key_arrives_by_multipart_copy: super::MULTIPART_COPY,
    every_key_arrives_by_a_streamed_put: super::STREAMED_PUT,
    every_key_arrives_by_streamed_parts: super::STREAMED_PARTS,
}

fn keys_that_minio_takes(parts: bool) -> Vec<String> {
    let hides = |key: &str| MINIO_HIDES.iter().any(|(object, _)| *object == key);
    let takes = |key: &str| minio(key, parts).is_none() && !hides(key);
    every_key().into_iter().filter(|key| takes(key)).collect()
}

#[tokio::test]
async fn failures_name_every_key_fit_for_a_terminal_and_exact_in_json() -> Result<()> {
    let sim = Sim::start(Config::default()).await?;
    let server = Server::sim(&sim);
    let (source, destination) = (server.bucket().await?, server.bucket().await?);
    let keys = every_key();
    for key in &keys {
        server.put(&source, key, body(COPY_OBJECT, key), false).await?;
    }
    let refused = FaultKind::Error { status: 400, code: "InvalidRequest" };
    sim.add_fault(Fault::rate(Op::named("CopyObject"), refused, 1.0));

    let run = runner(&server, &source, &server, &destination, &["--list"]).run().await?;
    assert_eq!(run.status.code(), Some(3), "{}", run.stderr);
    assert_eq!(listed(&run.stdout)?.into_keys().collect::<Vec<_>>(), sorted(&keys));
    assert_fit(&run.stdout);
    assert_fit(&run.stderr);

    let run = runner(&server, &source, &server, &destination, &["--json"]).run().await?;
    let report: Value = serde_json::from_str(&run.stdout)?;
    assert_fit(&run.stdout);
    assert_eq!(failures(&report).into_keys().collect::<Vec<_>>(), sorted(&keys));
    Ok(())
}

fn sorted(keys: &[String]) -> Vec<String> {
    keys.iter().cloned().collect::<BTreeSet<_>>().into_iter().collect()
}

#[tokio::test]
async fn an_upload_whose_opening_was_not_answered_is_found_by_its_key() -> Result<()> {
    let sim = Sim::start(Config::default()).await?;
    let server = Server::sim(&sim);
    let (source, destination) = (server.bucket().await?, server.bucket().await?);
    let keys: Vec<String> = every_key().into_iter().filter(|key| refusal(key, "").is_none()).collect();
    for key in &keys {
        server.put(&source, key, body(MULTIPART_COPY, key), true).await?;
        sim.add_fault(Fault::first(Op::named("CreateMultipartUpload"), 1, FaultKind::CutAfter).on_key(key));
    }
    let run = runner(&server, &source, &server, &destination, &[]).env("DATABASE_PREFIX", "");
    let run = run.run().await?;
    assert_eq!(run.status.code(), Some(0), "{}{}", run.stdout, run.stderr);
    let open: Vec<_> = sim.state().open_uploads(&destination).into_iter().map(|open| open.key).collect();
    assert_eq!(open, Vec::<String>::new());
    Ok(())
}

/// The SDK takes such a key for none. CopyObject names its source in a header.
#[tokio::test]
async fn keys_of_white_space_alone_are_copied_below_a_prefix_or_named_as_failed() -> Result<()> {
    let sim = Sim::start(Config::default()).await?;
    let server = Server::sim(&sim);
    for (route, landing, fate) in [
        (COPY_OBJECT, "landing/", "copied"),
        (COPY_OBJECT, "", "failed"),
        (MULTIPART_COPY, "landing/", "failed"),
        (STREAMED_PUT, "landing/", "failed"),
        (STREAMED_PARTS, "landing/", "failed"),
    ] {
        let (source, destination) = (server.bucket().await?, server.bucket().await?);
        for key in BLANK {
            let object = Object::bytes(body(route, key));
            let object = if route.parts { object.with_part_size(5 << 20) } else { object };
            sim.state().put(&source, key, object);
        }
        let run = runner(&server, &source, &server, &destination, &["--list"]);
        let run = run.env("TRANSFER", route.transfer).env("DATABASE_PREFIX", landing).run().await?;
        assert_eq!(run.status.code(), Some(if fate == "copied" { 0 } else { 3 }), "{}", run.stdout);
        let expected = BLANK.map(|key| (key.to_owned(), fate.to_owned()));
        assert_eq!(listed(&run.stdout)?, expected.into(), "{route:?} into {landing:?}");
    }
    Ok(())
}

/// What a destination does with a key that it does not take is never called a copy, except
/// where it answers well for another key: MinIO drops leading slashes.
#[tokio::test]
async fn keys_that_the_destination_does_not_take_are_failures() -> Result<()> {
    let sim = Sim::start(Config::default()).await?;
    let running = Minio::shared().await?;
    let (from, to) = (Server::sim(&sim), Server::minio(&running));
    let keys = every_key().into_iter().filter(|key| !MINIO_HIDES.iter().any(|(object, _)| object == key));
    let keys: Vec<String> = keys.collect();
    let (source, destination) = (from.bucket().await?, to.bucket().await?);
    for key in &keys {
        from.put(&source, key, body(STREAMED_PUT, key), false).await?;
    }
    let run = runner(&from, &source, &to, &destination, &["--list"]).run().await?;
    assert_eq!(run.status.code(), Some(3), "{}{}", run.stdout, run.stderr);
    let lands = |key: &str| format!("database/{key}");
    let expected = keys.iter().map(|key| {
        let refused = minio(&lands(key), false).is_some() || lands(key).len() > 1_024;
        (key.clone(), if refused { "failed" } else { "copied" }.to_owned())
    });
    assert_eq!(listed(&run.stdout)?, expected.clone().collect());
    let copied = expected.filter(|(_, fate)| fate == "copied").map(|(key, _)| lands(&key));
    assert_eq!(to.keys(&destination).await?, copied.collect());
    Ok(())
}

#[tokio::test]
async fn what_minio_does_not_take_is_known_by_name() -> Result<()> {
    let running = Minio::shared().await?;
    let server = Server::minio(&running);
    for key in every_key() {
        // Its own bucket: what one key becomes must not be another's.
        let bucket = server.bucket().await?;
        for parts in [false, true] {
            let instead = match server.try_put(&bucket, &key, b"body".to_vec(), parts).await? {
                Err(code) => Some(Instead::Refuses(code)),
                Ok(()) => {
                    let listed: Vec<String> = server.keys(&bucket).await?.into_iter().collect();
                    (listed != [key.clone()]).then(|| Instead::Lists(listed.join("\n")))
                }
            };
            assert_eq!(instead, minio(&key, parts), "{key:?}, in parts: {parts}");
        }
    }
    for (object, below) in MINIO_HIDES {
        let bucket = server.bucket().await?;
        for key in [object, below] {
            server.put(&bucket, key, b"body".to_vec(), false).await?;
        }
        assert_eq!(
            server.keys(&bucket).await?,
            [object.to_owned()].into(),
            "it takes {below:?} and lists it"
        );
    }
    Ok(())
}

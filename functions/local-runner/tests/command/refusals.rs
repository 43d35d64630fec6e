//! Servers that refuse, or are none: exit code 1, a sentence with the remedy, nothing
//! written.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use s3_sim::{Config, User};

use crate::world::{CUSTOMER, World, assert_contains, stderr};

fn denied(action: &str, bucket: &str) -> World {
    let user = User::new("sim-access-key", "sim-secret-key").deny(action, bucket);
    World::with(Config { users: vec![user], ..Config::default() })
}

/// Runs against `world` and expects an error that says all of `parts`, each only once.
#[track_caller]
fn fails(world: &World, args: &[&str], parts: &[&str]) {
    let run = world.replicate(args).assert().code(1);
    let text = stderr(&run);
    // The log may name the objects before.
    let error = &text[text.find("error: ").expect("an error")..];
    assert_contains(error, parts);
    assert_eq!(error.matches("error: ").count(), 1, "one sentence: {error}");
    for part in parts {
        assert_eq!(error.matches(part).count(), 1, "{part:?} is said twice: {error}");
    }
    assert_eq!(run.get_output().stdout, b"", "no report without a run");
    world.assert_nothing_written();
}

#[test]
fn a_bucket_that_is_not_there_is_named_with_its_setting() {
    let world = World::new();
    fails(
        &world,
        &["--database-bucket", "no-such"],
        &["source s3://no-such", "check DATABASE_BUCKET", "NoSuchBucket"],
    );
    let destination = ["--destination-bucket", "no-such"];
    fails(&world, &destination, &["destination s3://no-such", "check DESTINATION_BUCKET"]);
}

#[test]
fn wrong_keys_are_told_from_missing_rights() {
    let world = World::new();
    for (name, code) in
        [("AWS_ACCESS_KEY_ID", "InvalidAccessKeyId"), ("AWS_SECRET_ACCESS_KEY", "SignatureDoesNotMatch")]
    {
        let run = world.replicate(&[]).env(name, "wrong-key-material").assert().code(1);
        let error = stderr(&run);
        assert_contains(&error, &["the credentials are missing, wrong or expired", code]);
        assert!(!error.contains("sim-secret-key") && !error.contains("wrong-key-material"), "{error}");
        world.assert_nothing_written();
    }
}

#[test]
fn a_missing_right_is_named_with_its_resource() {
    let list = denied("s3:ListBucket", "vendor-dumps");
    fails(
        &list,
        &[],
        &["allow s3:ListBucket on arn:aws:s3:::vendor-dumps in your role's policy", "AccessDenied"],
    );
    let list = denied("s3:ListBucket", "customer");
    fails(&list, &[], &["allow s3:ListBucket on arn:aws:s3:::customer in your role's policy\n"]);
    let get = denied("s3:GetObject", "vendor-*");
    fails(&get, &["--source", "database"], &["allow s3:GetObject on arn:aws:s3:::vendor-dumps/*"]);
    let put = denied("s3:PutObject", "customer");
    fails(&put, &[], &["allow s3:PutObject on arn:aws:s3:::customer/*"]);
}

#[test]
fn a_source_that_may_not_be_read_does_not_hide_the_other() {
    let world = denied("s3:GetObject", "vendor-dumps");
    let run = world.replicate(&[]).assert().code(3);
    let report = crate::world::stdout(&run);
    assert_contains(&report, &["what to do: allow s3:GetObject on arn:aws:s3:::vendor-dumps/*"]);
    assert_eq!(report.matches("what to do:").count(), 1);
    assert_eq!(world.copies().len(), 3);
}

#[test]
fn an_endpoint_that_is_down_is_known_within_seconds() {
    let world = World::new();
    // Bound and closed again: nobody listens there.
    let port =
        TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
    let began = Instant::now();
    let url = format!("http://127.0.0.1:{port}");
    fails(&world, &["--source-endpoint-url", &url], &["does not answer", "check SOURCE_ENDPOINT_URL"]);
    fails(
        &world,
        &["--destination-endpoint-url", &url],
        &["does not answer", "check DESTINATION_ENDPOINT_URL"],
    );
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}

#[test]
fn an_endpoint_that_is_no_s3_is_not_taken_for_an_empty_bucket() {
    let world = World::new();
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 28\r\n\r\n<html><p>Welcome</p>\n</html>",
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 404 Not Found\r\ncontent-type: text/html\r\ncontent-length: 13\r\n\r\n<html></html>",
    ] {
        let url = serve(answer);
        fails(&world, &["--source-endpoint-url", &url], &["does not speak S3", "check SOURCE_ENDPOINT_URL"]);
        fails(
            &world,
            &["--destination-endpoint-url", &url],
            &["does not speak S3", "check DESTINATION_ENDPOINT_URL"],
        );
    }
}

/// A server that answers everything alike, until the test's process ends.
fn serve(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut request = Vec::new();
                let mut bytes = [0; 4096];
                while let Ok(read @ 1..) = stream.read(&mut bytes) {
                    request.extend_from_slice(&bytes[..read]);
                    if request.ends_with(b"\r\n\r\n") {
                        request.clear();
                        if stream.write_all(answer.as_bytes()).is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
    url
}

#[test]
fn what_notes_and_restores_ask_for_is_refused_in_a_sentence() {
    let world = World::new();
    let notes = ["add", "x", "--label", "y", "--destination-bucket"];
    let args = |bucket| [&notes[..], &[bucket]].concat();
    let missing = stderr(&world.command("note", &args("no-such")).assert().code(1));
    assert_contains(&missing, &["S3 answered NoSuchBucket", "check DESTINATION_BUCKET"]);
    let key = ["--key", "nope", "--database", "app", "--engine", "mariadb", "--destination-bucket", CUSTOMER];
    let no_key = stderr(&world.command("restore", &key).assert().code(1));
    assert_contains(&no_key, &["there is no s3://", "/nope: --key takes the whole key"]);
    let world = denied("s3:PutObject", CUSTOMER);
    let refused = stderr(&world.command("note", &args(CUSTOMER)).assert().code(1));
    assert_contains(&refused, &["S3 answered AccessDenied", "allow s3:PutObject"]);
    for text in [missing, no_key, refused] {
        assert!(text.len() < 500 && !text.contains("ServiceError"), "{text}");
    }
}

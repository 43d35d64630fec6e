//! The vendor's keys from Secrets Manager, in the Lambda: the release binary, over HTTP.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use integration_tests::{RuntimeApi, SecretsManager, eventually};
use s3_sim::{Config, Object, Sim, User};
use serde_json::json;

const VENDOR: &str = "backup-my-environment-name";
const CUSTOMER: &str = "my-company-backups";
const OWN: (&str, &str) = ("own-key", "own-secret");

/// The keys of one of the vendor's users, as the secret holds them.
fn keys(user: &str) -> String {
    json!({"access_key_id": user, "secret_access_key": secret(user)}).to_string()
}

fn secret(user: &str) -> String {
    format!("hush-{user}-hush")
}

/// A source that only the vendor's users may read.
async fn sim(users: &[&str]) -> Result<Sim> {
    let mut known = vec![User::new(OWN.0, OWN.1).deny("s3:*", VENDOR)];
    known.extend(users.iter().map(|user| User::new(*user, secret(user)).deny("s3:*", CUSTOMER)));
    let sim = Sim::start(Config { users: known, ..Config::default() }).await?;
    for bucket in [VENDOR, CUSTOMER] {
        sim.state().create_bucket(bucket);
    }
    sim.state().put(VENDOR, "2026-11-20.dump", Object::bytes("first"));
    Ok(sim)
}

fn environment(sim: &Sim, secrets: &str) -> BTreeMap<&'static str, String> {
    [
        ("AWS_ACCESS_KEY_ID", OWN.0),
        ("AWS_SECRET_ACCESS_KEY", OWN.1),
        ("AWS_LAMBDA_LOG_FORMAT", "JSON"),
        ("AWS_LAMBDA_LOG_LEVEL", "DEBUG"),
        ("AWS_ENDPOINT_URL_SECRETS_MANAGER", secrets),
        ("DATABASE_BUCKET", VENDOR),
        ("DESTINATION_BUCKET", CUSTOMER),
        ("SOURCE_ENDPOINT_URL", &sim.endpoint()),
        ("DESTINATION_ENDPOINT_URL", &sim.endpoint()),
        ("SOURCE_CREDENTIALS_SECRET", "vendor-keys"),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .into()
}

#[tokio::test]
async fn keys_that_are_rotated_are_read_again_by_the_function_that_runs() -> Result<()> {
    let sim = sim(&["vendor-a", "vendor-b"]).await?;
    let secrets = SecretsManager::start().await?;
    secrets.holds(&keys("vendor-a"));
    let lambda = RuntimeApi::new(environment(&sim, &secrets.endpoint()), Duration::from_secs(60));
    let mut answers = lambda.invoke(&json!({})).await?.json()?.to_string();
    assert!(answers.contains("\"complete\"") && answers.contains("\"stream\""), "{answers}");
    assert_eq!(secrets.asked(), 1, "once for all requests");

    // The vendor gives new keys, and the old ones are void.
    sim.state().set_user(User::new("vendor-a", "void"));
    secrets.holds(&keys("vendor-b"));
    for (night, asked) in [("2026-11-21.dump", 2), ("2026-11-22.dump", 2)] {
        sim.state().put(VENDOR, night, Object::bytes(night));
        let report = lambda.invoke(&json!({})).await?.json()?;
        assert_eq!(report["status"], "complete", "{report}\n{}", lambda.log());
        assert_eq!(secrets.asked(), asked);
        answers += &report.to_string();
    }
    let copies = sim.state().keys(CUSTOMER).into_iter().filter(|key| key.starts_with("database/"));
    assert_eq!(copies.count(), 3);
    assert!(eventually(|| lambda.log().matches("complete: 1 objects").count() == 3).await);
    let log = lambda.log();
    assert!(!log.contains("hush") && !answers.contains("hush"), "a key shows: {answers}\n{log}");
    Ok(())
}

#[tokio::test]
async fn a_secret_of_no_use_is_an_error_of_its_own_that_shows_nothing_of_it() -> Result<()> {
    let sim = sim(&["vendor-a"]).await?;
    let secrets = SecretsManager::start().await?;
    let may_not =
        "User: arn:aws:sts::1:assumed-role/r/f is not authorized to perform: secretsmanager:GetSecretValue";
    for (value, (code, message), error_type, named) in [
        (
            "",
            ("ResourceNotFoundException", "Secrets Manager can't find it."),
            "SecretNotFound",
            "vendor-keys",
        ),
        ("", ("AccessDeniedException", may_not), "SecretAccessDenied", "allow secretsmanager:GetSecretValue"),
        (
            "",
            ("AccessDeniedException", "Access to KMS is not allowed"),
            "SecretAccessDenied",
            "allow kms:Decrypt",
        ),
        ("", ("InternalServiceError", "An error occurred"), "SecretUnreachable", "InternalServiceError"),
        ("", ("InvalidRequestException", "marked for deletion"), "InvalidSecret", "is being deleted"),
        ("vendor-a:hush-vendor-a-hush", ("", ""), "InvalidSecret", "is not JSON"),
        ("{\"access_key_id\": \"hush\"}", ("", ""), "InvalidSecret", "has no secret_access_key"),
        (&keys("hush-nobody"), ("", ""), "InvalidCredentials", "SOURCE_CREDENTIALS_SECRET"),
    ] {
        match code {
            "" => secrets.holds(value),
            code => secrets.refuses(code, message),
        }
        let lambda = RuntimeApi::new(environment(&sim, &secrets.endpoint()), Duration::from_secs(60));
        let error = lambda.invoke(&json!({})).await?.json()?;
        assert_eq!(error["errorType"], error_type, "{code} {value}: {error}");
        let said = error["errorMessage"].as_str().unwrap_or_default();
        assert!(said.contains("SOURCE_CREDENTIALS_SECRET") && said.contains(named), "{said}");
        assert!(eventually(|| lambda.log().contains(error_type)).await, "{}", lambda.log());
        assert!(!said.contains("hush") && !lambda.log().contains("-hush"), "{said}\n{}", lambda.log());
        assert!(sim.state().keys(CUSTOMER).is_empty());
    }
    // Port 9 of this machine, "discard", which nobody serves.
    let lambda = RuntimeApi::new(environment(&sim, "http://127.0.0.1:9"), Duration::from_secs(60));
    let error = lambda.invoke(&json!({})).await?.json()?;
    assert_eq!(error["errorType"], "SecretUnreachable", "{error}");
    Ok(())
}

#[tokio::test]
async fn a_run_that_needs_no_secret_does_not_fail_for_a_broken_one() -> Result<()> {
    let sim = sim(&[]).await?;
    sim.state().set_user(User::new(OWN.0, OWN.1));
    let secrets = SecretsManager::start().await?;
    let lambda = RuntimeApi::new(environment(&sim, &secrets.endpoint()), Duration::from_secs(60));
    let report = lambda.invoke(&json!({})).await?.json()?;
    assert_eq!((&report["status"], secrets.asked()), (&json!("complete"), 0), "{report}");
    Ok(())
}

#[tokio::test]
async fn keys_from_two_places_are_refused() -> Result<()> {
    let sim = sim(&["vendor-a"]).await?;
    let mut environment = environment(&sim, "http://127.0.0.1:9");
    environment.insert("SOURCE_ACCESS_KEY_ID", "vendor-a".into());
    environment.insert("SOURCE_SECRET_ACCESS_KEY", secret("vendor-a"));
    let lambda = RuntimeApi::new(environment, Duration::from_secs(60));
    let error = lambda.invoke(&json!({})).await?.json()?;
    assert_eq!(error["errorType"], "InvalidConfiguration", "{error}");
    let said = error["errorMessage"].as_str().unwrap_or_default();
    assert!(said.contains("given twice") && !said.contains("hush"), "{said}");
    Ok(())
}

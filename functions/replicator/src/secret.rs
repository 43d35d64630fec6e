//! The vendor's keys, from a secret in Secrets Manager.
//!
//! They are read when the source is first asked with them, so that a run that S3 copies by
//! itself needs no secret and does not fail for a broken one; kept in memory for the life of
//! the process; and read again when the source refuses them, for keys get rotated. What the
//! secret holds shows in no error, log or `Debug`.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, error::CredentialsError, future};
use aws_sdk_s3::config::interceptors::FinalizerInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, IdentityCache, Intercept, RuntimeComponents};
use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_secretsmanager::operation::get_secret_value::GetSecretValueError;
use bucket_copy::{Clients, PlanError, Settings};
use serde_json::Value;
use tokio::sync::Mutex;

/// Keys that were read again and are refused still are not read again before this.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(30);
/// What Secrets Manager refused is not asked for again before this: hundreds of requests may
/// wait for the keys.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(10);

/// Clients for `settings`, and the secret with the vendor's keys where one is named.
///
/// # Errors
/// [`PlanError::Endpoint`] where an endpoint is no URL.
pub async fn connect(settings: &Settings) -> Result<(Clients, Option<Secret>), PlanError> {
    let shared = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let mut clients = Clients::new(&shared, settings)?;
    let id = settings.source_credentials_secret.as_deref().map(str::trim).unwrap_or_default();
    if id.is_empty() {
        return Ok((clients, None));
    }
    let secret = Secret::new(&shared, id);
    let vendor = clients.source.config().to_builder().credentials_provider(secret.clone());
    // The SDK would keep keys that do not expire for ever.
    let vendor = vendor.identity_cache(IdentityCache::no_cache()).interceptor(secret.clone());
    clients.vendor = Some(aws_sdk_s3::Client::from_conf(vendor.build()));
    Ok((clients, Some(secret)))
}

/// A secret whose value is `{"access_key_id": "…", "secret_access_key": "…"}`. Clones share
/// what was read.
#[derive(Clone)]
pub struct Secret(Arc<Shared>);

struct Shared {
    client: Client,
    id: String,
    /// Whether the source refused the keys since they were read.
    refused: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    keys: Option<Credentials>,
    read_again: Option<Instant>,
    failed: Option<(Instant, SecretError)>,
}

/// Why there are no keys of the vendor's.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SecretError {
    /// There is none of that name.
    #[error(
        "SOURCE_CREDENTIALS_SECRET is `{id}`, but Secrets Manager has no such secret in this account and \
         region: check its name or ARN, or create it"
    )]
    NotFound {
        /// As the setting says it.
        id: String,
    },
    /// A right is missing.
    #[error(
        "SOURCE_CREDENTIALS_SECRET is `{id}`, which may not be read: allow {action} on it in the \
         function's role ({message})"
    )]
    AccessDenied {
        /// As the setting says it.
        id: String,
        /// What to allow.
        action: &'static str,
        /// What AWS said.
        message: String,
    },
    /// What it holds is of no use.
    #[error(
        "SOURCE_CREDENTIALS_SECRET is `{id}`, but that secret {why}: make its value \
         {{\"access_key_id\": \"…\", \"secret_access_key\": \"…\"}}"
    )]
    Invalid {
        /// As the setting says it.
        id: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// No answer, or none that is known.
    #[error(
        "SOURCE_CREDENTIALS_SECRET is `{id}`, but Secrets Manager cannot be asked for it: {message}; check \
         the network, such as the VPC's endpoint for it, and run again"
    )]
    Unreachable {
        /// As the setting says it.
        id: String,
        /// What happened.
        message: String,
    },
}

impl SecretError {
    /// The stable name of this kind of error.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "SecretNotFound",
            Self::AccessDenied { .. } => "SecretAccessDenied",
            Self::Invalid { .. } => "InvalidSecret",
            Self::Unreachable { .. } => "SecretUnreachable",
        }
    }
}

impl Secret {
    fn new(shared: &SdkConfig, id: &str) -> Self {
        let timeouts = TimeoutConfig::builder().operation_timeout(TIMEOUT).build();
        let mut config = aws_sdk_secretsmanager::config::Builder::from(shared).timeout_config(timeouts);
        // An ARN says where it is.
        if let Some(region) = id.strip_prefix("arn:").and_then(|arn| arn.split(':').nth(2)) {
            config = config.region(Region::new(region.to_owned()));
        } else if shared.region().is_none() {
            config = config.region(Region::from_static("us-east-1"));
        }
        Self(Arc::new(Shared {
            client: Client::from_conf(config.build()),
            id: id.to_owned(),
            refused: AtomicBool::new(false),
            state: Mutex::default(),
        }))
    }

    /// Why it could not be read when it last was to be, since the last call.
    pub async fn take_error(&self) -> Option<SecretError> {
        self.0.state.lock().await.failed.take().map(|(_, error)| error)
    }

    async fn keys(&self) -> Result<Credentials, SecretError> {
        let mut state = self.0.state.lock().await;
        let refused = self.0.refused.swap(false, Ordering::Relaxed)
            && state.read_again.is_none_or(|read| read.elapsed() >= READ_AGAIN_AFTER);
        if let Some(keys) = state.keys.as_ref().filter(|_| !refused) {
            return Ok(keys.clone());
        }
        if let Some((when, error)) = &state.failed
            && when.elapsed() < TRY_AGAIN_AFTER
        {
            return Err(error.clone());
        }
        if refused {
            tracing::info!(secret = self.0.id, "the source refuses the vendor's keys: reading them again");
            state.read_again = Some(Instant::now());
        }
        // Refused keys are not gone back to.
        state.keys = None;
        match self.read().await {
            Ok(keys) => {
                state.failed = None;
                Ok(state.keys.insert(keys).clone())
            }
            Err(error) => {
                state.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    async fn read(&self) -> Result<Credentials, SecretError> {
        let Shared { client, id, .. } = &*self.0;
        let answer = client.get_secret_value().secret_id(id).send().await;
        let value = answer.map_err(|error| failure(id, &error))?;
        keys(value.secret_string()).map_err(|why| SecretError::Invalid { id: id.clone(), why })
    }
}

/// The keys in a secret's text. What is wrong is said without a word of it.
fn keys(text: Option<&str>) -> Result<Credentials, &'static str> {
    let text = text.ok_or("is binary")?.trim();
    if text.is_empty() {
        return Err("is empty");
    }
    let value: Value = serde_json::from_str(text).map_err(|_| "is not JSON")?;
    let object = value.as_object().ok_or("is no JSON object")?;
    let field = |name: &str| object.get(name).and_then(Value::as_str).map(str::trim).unwrap_or_default();
    match (field("access_key_id"), field("secret_access_key")) {
        ("", _) => Err("has no access_key_id"),
        (_, "") => Err("has no secret_access_key"),
        (id, secret) => Ok(Credentials::new(id, secret, None, None, "SOURCE_CREDENTIALS_SECRET")),
    }
}

fn failure(id: &str, error: &SdkError<GetSecretValueError>) -> SecretError {
    let id = id.to_owned();
    let message = error.message().unwrap_or_default();
    match error.code().unwrap_or_default() {
        "ResourceNotFoundException" => SecretError::NotFound { id },
        // Secrets Manager says "Access to KMS is not allowed".
        "AccessDeniedException" => {
            let action = match message.to_ascii_lowercase().contains("kms") {
                true => "kms:Decrypt (on its key)",
                false => "secretsmanager:GetSecretValue",
            };
            SecretError::AccessDenied { id, action, message: message.to_owned() }
        }
        "DecryptionFailure" => SecretError::Invalid { id, why: "cannot be decrypted with its KMS key" },
        "InvalidRequestException" => {
            SecretError::Invalid { id, why: "has no value now, or is being deleted" }
        }
        code => {
            let message = match (code, error) {
                // Its text may hold the answer, and the answer the keys.
                (_, SdkError::ResponseError(_)) => "it answered what cannot be read".to_owned(),
                ("", error) => innermost(error),
                (code, _) => format!("it answered {code}: {message}"),
            };
            SecretError::Unreachable { id, message }
        }
    }
}

/// The cause of causes, which says "connection refused" where the others say "error".
fn innermost(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.last().map(ToString::to_string).unwrap_or_default()
}

impl ProvideCredentials for Secret {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async { self.keys().await.map_err(CredentialsError::provider_error) })
    }
}

/// Sees the source's answers.
impl Intercept for Secret {
    fn name(&self) -> &'static str {
        "Secret"
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), aws_sdk_s3::error::BoxError> {
        let refused = context.response().is_some_and(|response| {
            let body = response.body().bytes().map(String::from_utf8_lossy).unwrap_or_default();
            matches!(response.status().as_u16(), 400..=403)
                && ["<Code>InvalidAccessKeyId<", "<Code>SignatureDoesNotMatch<", "<Code>ExpiredToken<"]
                    .iter()
                    .any(|code| body.contains(code))
        });
        if refused {
            self.0.refused.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Secret").field(&self.0.id).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::keys;

    #[test]
    fn a_secret_that_is_of_no_use_is_told_without_its_value() {
        for (text, expected) in [
            (None, "is binary"),
            (Some(" \n"), "is empty"),
            (Some("AKIA:hush-hush"), "is not JSON"),
            (Some("[\"AKIA\", \"hush-hush\"]"), "is no JSON object"),
            (Some("{\"secret_access_key\": \"hush-hush\"}"), "has no access_key_id"),
            (Some("{\"access_key_id\": \"AKIA\", \"secret_access_key\": 7}"), "has no secret_access_key"),
        ] {
            assert_eq!(keys(text).expect_err("no keys"), expected);
        }
        let read =
            keys(Some("{\"access_key_id\": \"AKIA\\n\", \"secret_access_key\": \"hush\", \"for\": 1}"));
        let read = read.expect("keys");
        assert_eq!((read.access_key_id(), read.secret_access_key()), ("AKIA", "hush"));
        assert!(!format!("{read:?}").contains("hush"));
    }
}

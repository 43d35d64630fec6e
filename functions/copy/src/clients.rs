//! The S3 clients, and how they are set.

use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::endpoint::{DefaultResolver, Endpoint, EndpointFuture, Params, ResolveEndpoint};
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{RequestChecksumCalculation, ResponseChecksumValidation};
use aws_sdk_s3::config::{SharedCredentialsProvider, StalledStreamProtectionConfig};

use crate::{PlanError, Settings};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The S3 clients of both sides.
#[derive(Clone, Debug)]
pub struct Clients {
    /// Reads the vendor's buckets with the customer's own credentials.
    pub source: Client,
    /// Reads them with the keys that the vendor gave.
    pub vendor: Option<Client>,
    /// Lists the customer's bucket and writes to it; its credentials read the source too
    /// when S3 copies server-side.
    pub destination: Client,
}

impl Clients {
    /// Clients for `settings`, with the credentials the SDK finds: a Lambda's role, the
    /// environment, a profile.
    ///
    /// # Errors
    /// [`PlanError::Endpoint`] where an endpoint is no URL.
    pub async fn connect(settings: &Settings) -> Result<Self, PlanError> {
        Self::new(&aws_config::load_defaults(BehaviorVersion::latest()).await, settings)
    }

    /// Clients for `settings`, with what the SDK's configuration says of credentials,
    /// region and endpoint where the settings say nothing.
    ///
    /// # Errors
    /// [`PlanError::Endpoint`] where an endpoint is no URL.
    pub fn new(shared: &SdkConfig, settings: &Settings) -> Result<Self, PlanError> {
        let source = ("SOURCE_ENDPOINT_URL", &settings.source_endpoint_url);
        let destination = ("DESTINATION_ENDPOINT_URL", &settings.destination_endpoint_url);
        let vendor = settings.source_credentials.as_ref().map(|keys| {
            let keys = SharedCredentialsProvider::new(keys.clone());
            shared.to_builder().credentials_provider(keys).build()
        });
        Ok(Self {
            source: client(shared, source, &settings.source_region)?,
            vendor: vendor.map(|vendor| client(&vendor, source, &settings.source_region)).transpose()?,
            destination: client(shared, destination, &settings.destination_region)?,
        })
    }
}

fn client(
    shared: &SdkConfig,
    (setting, endpoint): (&'static str, &Option<String>),
    region: &Option<String>,
) -> Result<Client, PlanError> {
    let mut config = aws_sdk_s3::config::Builder::from(shared)
        // `Caller` tries again and times out, by what it knows of a run.
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).build())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        // No checksum is computed here that S3 does not need.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    if let Some(region) = region.as_ref().filter(|region| !region.is_empty()) {
        config = config.region(Region::new(region.clone()));
    } else if shared.region().is_none() {
        // A server that is not AWS signs for any region; AWS says which one is right.
        config = config.region(Region::from_static("us-east-1"));
    }
    if let Some(url) = endpoint.as_ref().filter(|url| !url.is_empty()) {
        let host = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
        if host.is_none_or(|host| host.is_empty() || host.starts_with('/')) {
            return Err(PlanError::Endpoint { setting, value: url.clone() });
        }
        config = config.endpoint_url(url);
    }
    // Servers that are not AWS rarely have a name for each bucket.
    let custom = endpoint.as_ref().is_some_and(|url| !url.is_empty()) || shared.endpoint_url().is_some();
    config = config.force_path_style(custom).endpoint_resolver(OncePerBucket::default());
    Ok(Client::from_conf(config.build()))
}

/// The SDK's rules for where a bucket is, asked once a bucket. The SDK asks them twice a request:
/// 8 % of the CPU time of small copies.
#[derive(Debug, Default)]
struct OncePerBucket {
    rules: DefaultResolver,
    known: RwLock<Vec<(Params, Endpoint)>>,
}

impl ResolveEndpoint for OncePerBucket {
    fn resolve_endpoint<'a>(&'a self, params: &'a Params) -> EndpointFuture<'a> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, endpoint)) = known.iter().find(|(of, _)| leads_to_the_same(of, params)) {
            return EndpointFuture::ready(Ok(endpoint.clone()));
        }
        EndpointFuture::new(async move {
            let endpoint = ResolveEndpoint::resolve_endpoint(&self.rules, params).await?;
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            // Another request may have asked meanwhile.
            known.retain(|(of, _)| !leads_to_the_same(of, params));
            known.push((params.clone(), endpoint.clone()));
            Ok(endpoint)
        })
    }
}

/// Whether two requests go to one place. The rules are handed keys, too, and look at none.
fn leads_to_the_same(one: &Params, other: &Params) -> bool {
    fn names(params: &Params) -> [Option<&str>; 3] {
        [params.bucket(), params.region(), params.endpoint()]
    }
    fn choices(params: &Params) -> [Option<bool>; 11] {
        [
            params.use_fips(),
            params.use_dual_stack(),
            params.force_path_style(),
            params.accelerate(),
            params.use_global_endpoint(),
            params.use_object_lambda_endpoint(),
            params.disable_access_points(),
            params.disable_multi_region_access_points(),
            params.use_arn_region(),
            params.use_s3_express_control_endpoint(),
            params.disable_s3_express_session_auth(),
        ]
    }
    names(one) == names(other) && choices(one) == choices(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What may differ between two requests of one client, or of one made of it.
    fn all() -> Vec<Params> {
        let buckets = [None, Some("vendor"), Some("customer.example"), Some("vendor--euc1-az1--x-s3")];
        let flags = [(None, None), (Some(true), None), (None, Some(true))];
        let mut all = Vec::new();
        for bucket in buckets {
            for (session, control) in flags {
                for region in ["eu-central-1", "us-east-1"] {
                    let params = Params::builder()
                        .region(region)
                        .set_bucket(bucket.map(str::to_owned))
                        .set_disable_s3_express_session_auth(session)
                        .set_use_s3_express_control_endpoint(control);
                    all.extend(
                        ["first", "second"].map(|key| params.clone().key(key).build().expect("whole")),
                    );
                }
            }
        }
        all
    }

    #[tokio::test]
    async fn an_endpoint_that_is_remembered_is_what_the_rules_say() {
        let (remembered, rules) = (OncePerBucket::default(), DefaultResolver::new());
        for params in all().iter().chain(&all()) {
            let asked = ResolveEndpoint::resolve_endpoint(&rules, params).await;
            let endpoint = remembered.resolve_endpoint(params).await.expect("an endpoint");
            assert_eq!(endpoint, asked.expect("an endpoint"), "{params:?}");
        }
        assert_eq!(remembered.known.read().expect("whole").len(), all().len() / 2, "for all keys one");
    }

    #[test]
    fn all_that_the_rules_are_told_is_compared_but_for_three_keys() {
        let params = Params::builder().region("r").build().expect("whole");
        let told = format!("{params:?}").matches(": ").count();
        assert_eq!(told, 3 + 11 + ["key", "prefix", "copy_source"].len(), "{params:?}");
    }
}

//! Hands what an invocation has no time for over to a state machine (`STATE_MACHINE_ARN`),
//! which invokes this function on each piece of it, and at last to close the run.

use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_sfn::Client;
use aws_sdk_sfn::error::DisplayErrorContext;
use serde_json::json;
use tokio::sync::OnceCell;

/// The end of the invocation is near when it is asked.
const TIMEOUT: Duration = Duration::from_secs(3);

/// The state machine, if there is one.
#[derive(Debug, Default)]
pub(crate) struct StateMachine {
    arn: Option<String>,
    /// Made when there is something to hand over, which a cold start should not wait for.
    client: OnceCell<Client>,
}

impl StateMachine {
    /// The one with this ARN; none where it is `None` or empty.
    pub(crate) fn new(arn: Option<String>) -> Self {
        Self { arn: arn.filter(|arn| !arn.is_empty()), client: OnceCell::new() }
    }

    /// Whether there is one.
    pub(crate) fn is_there(&self) -> bool {
        self.arn.is_some()
    }

    /// Starts it on the pieces of `run`, whose list is at `key` in `bucket`. That it was started
    /// on them before is none the worse.
    ///
    /// # Errors
    /// A sentence that says why it was not started.
    pub(crate) async fn start(&self, run: &str, bucket: &str, key: &str) -> Result<(), String> {
        let Some(arn) = &self.arn else { return Err("STATE_MACHINE_ARN is not set".into()) };
        let client = self.client.get_or_init(|| connect(arn)).await;
        let input = json!({ "run": run, "bucket": bucket, "key": key }).to_string();
        match client.start_execution().state_machine_arn(arn).name(run).input(input).send().await {
            Ok(_) => Ok(()),
            Err(error)
                if error.as_service_error().is_some_and(|error| error.is_execution_already_exists()) =>
            {
                Ok(())
            }
            Err(error) => Err(format!(
                "the state machine {arn} could not be started; check STATE_MACHINE_ARN and \
                 states:StartExecution: {}",
                DisplayErrorContext(error)
            )),
        }
    }
}

async fn connect(arn: &str) -> Client {
    let shared = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let timeouts = TimeoutConfig::builder().operation_timeout(TIMEOUT).build();
    let mut config = aws_sdk_sfn::config::Builder::from(&shared).timeout_config(timeouts);
    if let Some(region) = arn.split(':').nth(3) {
        config = config.region(Region::new(region.to_owned()));
    }
    Client::from_conf(config.build())
}

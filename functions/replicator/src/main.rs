//! The Lambda: an event and the environment in, a run, a report out.
//!
//! An invocation that could not do its job ends with an error whose type is stable. Objects
//! that failed, or are left because time ran out, are in its answer and its log.

mod metrics;
mod notice;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bucket_copy::{
    Clients, Failure, Halt, Plan, Report, RunError, Settings, Status, Verification, replicate, reports,
    verify,
};
use jiff::Timestamp;
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use notice::Topic;
use replicator::event;
use replicator::secret::{self, SecretError};
use serde::Serialize;
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    lambda_runtime::tracing::init_default_subscriber();
    let settings = Settings::read(|name| std::env::var(name).ok());
    // Made once: the connections and credentials outlive an invocation. What is wrong with a
    // setting is said by each invocation, where an alarm sees it.
    let connected = secret::connect(&settings).await;
    let topic = Topic::new(std::env::var("TOPIC_ARN").ok());
    lambda_runtime::run(service_fn(async |event: LambdaEvent<Value>| {
        let answer = match connected.clone() {
            Ok((clients, secret)) => {
                let answer = handle(&settings, &clients, &topic, event).await;
                // Without the vendor's keys there was no run: say why there are none.
                let cause = match secret {
                    Some(secret) => secret.take_error().await,
                    None => None,
                };
                answer.map_err(|error| cause.map_or(error, InvocationError::Secret))
            }
            Err(error) => Err(InvocationError::Run(error.into())),
        };
        if let Err(error @ (InvocationError::Run(_) | InvocationError::Secret(_))) = &answer {
            topic.send(notice::about_error(error.error_type(), &error.message())).await;
        }
        answer
    }))
    .await
}

async fn handle(
    settings: &Settings,
    clients: &Clients,
    topic: &Topic,
    event: LambdaEvent<Value>,
) -> Result<Answer, InvocationError> {
    let request = event::request(event.payload).map_err(RunError::from)?;
    let plan = Plan::new(settings, &request).map_err(RunError::from)?;
    let function = &event.context.env_config.function_name;
    let plan = Plan { holder: format!("{function}, request {}", event.context.request_id), ..plan };
    let deadline = deadline(event.context.deadline());
    let halt = Halt::at(deadline);
    if plan.verify {
        return answer(verify(&plan, clients, &halt, Arc::new(())).await?.brief());
    }
    let report = match replicate(&plan, clients, &halt, Arc::new(())).await {
        // No failure: a schedule's tick during a run that is longer than its interval. Whoever
        // invoked it would try again, and an alarm call somebody.
        Err(held @ RunError::HeldByAnother { .. }) => {
            tracing::info!("nothing done: {held}");
            return Ok(Answer::Held { status: held.name(), message: held.to_string() });
        }
        report => report?,
    };
    // First what needs no request.
    let partial = !plan.prefix.is_empty() || plan.modified_after.is_some();
    for line in metrics::lines(&report, partial, function, Timestamp::now()) {
        println!("{line}");
    }
    let summary = summary(&report);
    if let Some(notice) = notice::about(&report, &summary) {
        topic.send(notice).await;
    }
    if !report.dry_run {
        let within = deadline.saturating_duration_since(Instant::now()).min(KEEPING);
        if let Err(error) = reports::keep(&plan, clients, &report, within).await {
            tracing::warn!(%error, "the report could not be kept at the destination");
        }
    }
    let report = report.brief();
    tracing::info!(report = serde_json::to_string(&report).unwrap_or_default(), "{summary}");
    match report.status {
        Status::Failed => {
            let errors = report.sources.iter().filter_map(|source| source.error.as_ref());
            Err(InvocationError::listing(summary, errors))
        }
        Status::Complete | Status::ObjectsMissing | Status::Stopped => Ok(Answer::Replicated(report)),
    }
}

/// Logs what a verification found, and answers it.
fn answer(found: Verification) -> Result<Answer, InvocationError> {
    let summary = verified(&found);
    tracing::info!(verification = serde_json::to_string(&found).unwrap_or_default(), "{summary}");
    match found.status {
        Status::Failed => {
            let errors = found.sources.iter().filter_map(|source| source.error.as_ref());
            Err(InvocationError::listing(summary, errors))
        }
        Status::Complete | Status::ObjectsMissing | Status::Stopped => Ok(Answer::Verified(found)),
    }
}

/// What an invocation answers.
#[derive(Serialize)]
#[serde(untagged)]
enum Answer {
    Replicated(Report),
    Verified(Verification),
    Held { status: &'static str, message: String },
}

/// The longest an invocation may take.
const LONGEST: Duration = Duration::from_secs(900);

/// The longest that keeping a report may take.
const KEEPING: Duration = Duration::from_secs(10);

/// The end of the invocation on the clock that timers use. A deadline in the past is none:
/// `cargo lambda watch` sends one of 1970.
fn deadline(end: SystemTime) -> Instant {
    Instant::now() + end.duration_since(SystemTime::now()).unwrap_or(LONGEST)
}

/// One line for people.
fn summary(report: &Report) -> String {
    let (copied, unchanged) = (report.total(|source| source.copied), report.total(|source| source.unchanged));
    let (failed, archived) = (report.total(|source| source.failed), report.total(|source| source.archived));
    let ended = match report.status {
        Status::Complete => "complete",
        Status::ObjectsMissing => "objects are missing",
        Status::Stopped => "stopped before the end; the next run goes on",
        Status::Failed => "a source was given up before its end",
    };
    format!(
        "{ended}: {} objects ({} bytes) {}, {} unchanged, {} failed, {} archived, in {:.1} s",
        copied.objects,
        copied.bytes,
        if report.dry_run { "would be copied" } else { "copied" },
        unchanged.objects,
        failed.objects,
        archived.objects,
        report.seconds,
    )
}

/// One line for people.
fn verified(found: &Verification) -> String {
    let ended = match found.status {
        Status::Complete => "complete",
        Status::ObjectsMissing => "objects are missing, different or not proven",
        Status::Stopped => "stopped before the end; what was not looked at is not proven",
        Status::Failed => "a source was given up before its end",
    };
    format!(
        "verified, {ended}: {} objects identical, {} missing, {} different, {} newer at the source, \
         {} not proven, {} changed meanwhile, in {:.1} s",
        found.total(|source| source.identical).objects,
        found.total(|source| source.missing).objects,
        found.total(|source| source.different).objects,
        found.total(|source| source.newer_at_source).objects,
        found.total(|source| source.cannot_tell).objects,
        found.total(|source| source.changed).objects,
        found.seconds,
    )
}

/// Why an invocation failed.
#[derive(thiserror::Error)]
enum InvocationError {
    /// There was no run.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The vendor's keys could not be read.
    #[error(transparent)]
    Secret(SecretError),
    /// There was one, but it does not know of all there is.
    #[error("{summary}: {}", causes.join("; "))]
    Listing { summary: String, causes: Vec<String> },
}

impl InvocationError {
    fn listing<'a>(summary: String, errors: impl Iterator<Item = &'a Failure>) -> Self {
        let causes = errors.map(|error| format!("{}; {}", error.message, error.remedy)).collect();
        Self::Listing { summary, causes }
    }
}

impl InvocationError {
    /// What alarms and retries may match on.
    fn error_type(&self) -> &'static str {
        match self {
            Self::Run(error) => error.name(),
            Self::Secret(error) => error.name(),
            Self::Listing { .. } => "ListingFailed",
        }
    }

    /// The sentence with its causes.
    fn message(&self) -> String {
        let causes = std::iter::successors(Some(self as &dyn std::error::Error), |error| error.source());
        let causes = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
        match self {
            Self::Run(error) if let Some(statement) = error.statement() => {
                format!("{causes}; the statement to add: {}", statement.to_string().replace('\n', ""))
            }
            _ => causes,
        }
    }
}

/// The runtime logs this of a failed invocation.
impl fmt::Debug for InvocationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.error_type(), self.message())
    }
}

impl From<InvocationError> for Diagnostic {
    fn from(error: InvocationError) -> Self {
        Self { error_type: error.error_type().into(), error_message: error.message() }
    }
}

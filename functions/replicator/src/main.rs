//! The Lambda: an event and the environment in, a run, a report out.
//!
//! An invocation that could not do its job ends with an error whose type is stable. Objects
//! that failed, or are left because time ran out, are in its answer and its log.

mod hand_over;
mod metrics;
mod notice;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bucket_copy::pieces::{self, Step};
use bucket_copy::{
    Clients, Failure, Halt, Plan, Report, Request, RunError, Settings, SourceReport, Status, Verification,
    replicate, reports, verify,
};
use hand_over::StateMachine;
use jiff::Timestamp;
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use notice::Topic;
use replicator::event::{self, Event};
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
    let state_machine = StateMachine::new(std::env::var("STATE_MACHINE_ARN").ok());
    let function = Function { settings, topic, state_machine };
    lambda_runtime::run(service_fn(async |event: LambdaEvent<Value>| {
        let answer = match connected.clone() {
            Ok((clients, secret)) => {
                let answer = function.handle(&clients, event).await;
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
            function.topic.send(notice::about_error(error.error_type(), &error.message())).await;
        }
        answer
    }))
    .await
}

/// What outlives an invocation, besides the clients.
struct Function {
    settings: Settings,
    topic: Topic,
    state_machine: StateMachine,
}

impl Function {
    async fn handle(&self, clients: &Clients, event: LambdaEvent<Value>) -> Result<Answer, InvocationError> {
        let LambdaEvent { payload, context } = event;
        let event = event::read(payload).map_err(RunError::from)?;
        let request = if let Event::Run(request) = &event { request } else { &Request::default() };
        let name = &context.env_config.function_name;
        let plan = Plan {
            holder: format!("{name}, request {}", context.request_id),
            hands_over: self.state_machine.is_there(),
            ..Plan::new(&self.settings, request).map_err(RunError::from)?
        };
        let end = deadline(context.deadline());
        match event {
            Event::Run(_) if plan.verify => {
                answer(verify(&plan, clients, &Halt::at(end), Arc::new(())).await?.brief())
            }
            Event::Run(_) => self.run(&plan, clients, end, name).await,
            Event::Piece(piece) => {
                let copied = pieces::copy(&plan, clients, &Halt::at(early(end)), &piece).await;
                Ok(Answer::Piece(copied.map_err(InvocationError::Step)?))
            }
            Event::Close(run) => {
                let closed = pieces::close(&plan, clients, &run).await;
                let (plan, report) = closed.map_err(InvocationError::Step)?;
                let complete = report.sources.iter().all(|source| source.stopped_after.is_none());
                self.tell(&plan, clients, &report, end, name).await;
                Ok(Answer::Closed { complete, report: report.brief() })
            }
        }
    }

    async fn run(
        &self,
        plan: &Plan,
        clients: &Clients,
        end: Instant,
        name: &str,
    ) -> Result<Answer, InvocationError> {
        let halt = Halt::at(if plan.hands_over { early(end) } else { end });
        let report = match replicate(plan, clients, &halt, Arc::new(())).await {
            // No failure: a schedule's tick during a run that is longer than its interval. Whoever
            // invoked it would try again, and an alarm call somebody.
            Err(held @ RunError::HeldByAnother { .. }) => {
                tracing::info!("nothing done: {held}");
                return Ok(Answer::Held { status: held.name(), message: held.to_string() });
            }
            report => self.start(plan, clients, report?).await?,
        };
        // What goes on is told when it is closed.
        let told = report.clone().ended();
        let summary = match told.sources.is_empty() {
            true => summary(&report),
            false => self.tell(plan, clients, &told, end, name).await,
        };
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

    /// Starts the state machine on what was handed over. What it cannot be started on is left to
    /// the next run, as where there is none.
    async fn start(
        &self,
        plan: &Plan,
        clients: &Clients,
        mut report: Report,
    ) -> Result<Report, InvocationError> {
        for source in &mut report.sources {
            let Some(over) = &source.handed_over else { continue };
            let started = self.state_machine.start(&over.run, &plan.destination.bucket, &over.list).await;
            let Err(why) = started else { continue };
            tracing::error!(source = %source.source, "not handed over, and left to the next run: {why}");
            let (_, closed) = pieces::close(plan, clients, &over.run).await?;
            if let Some(closed) = closed.sources.into_iter().next() {
                *source = SourceReport { handed_over: None, ..closed };
            }
        }
        Ok(report)
    }

    /// Tells of a run all who are to hear of it: metrics, the topic, the destination. Answers a
    /// line for people.
    async fn tell(
        &self,
        plan: &Plan,
        clients: &Clients,
        report: &Report,
        end: Instant,
        name: &str,
    ) -> String {
        // First what needs no request.
        let partial = !plan.prefix.is_empty() || plan.modified_after.is_some();
        for line in metrics::lines(report, partial, name, Timestamp::now()) {
            println!("{line}");
        }
        let summary = summary(report);
        if let Some(notice) = notice::about(report, &summary) {
            self.topic.send(notice).await;
        }
        if !report.dry_run {
            let within = end.saturating_duration_since(Instant::now()).min(KEEPING);
            if let Err(error) = reports::keep(plan, clients, report, within).await {
                tracing::warn!(%error, "the report could not be kept at the destination");
            }
        }
        summary
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
    Piece(Step),
    Closed { complete: bool, report: Report },
    Held { status: &'static str, message: String },
}

/// The longest an invocation may take.
const LONGEST: Duration = Duration::from_secs(900);

/// What handing over may take: some hundred small objects, and the state machine's start.
const HANDING_OVER: Duration = Duration::from_secs(10);

/// The longest that keeping a report may take.
const KEEPING: Duration = Duration::from_secs(10);

/// An end before the end, where handing over is still to come.
fn early(end: Instant) -> Instant {
    let left = end.saturating_duration_since(Instant::now());
    end - HANDING_OVER.min(left / 5)
}

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
        Status::Stopped if report.sources.iter().any(SourceReport::goes_on) => {
            "out of time; Step Functions goes on"
        }
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
    /// A step of the state machine failed; whoever is to be told of it is told by the last one.
    #[error(transparent)]
    Step(RunError),
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
            Self::Run(error) | Self::Step(error) => error.name(),
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

//! The two sides, and [`Caller::send`]: the one place where a request is paced, timed, counted,
//! tried again, and its error classified.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::RequestId;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::operation::{Operation, Requests};
use crate::pace::Pace;
use crate::rights::{Place, Remedy, Said, Whose};
use crate::{Clients, Halt, Plan, RunError, S3Error, S3ErrorKind, Source};

/// One side of one copy: a bucket and how to reach it.
#[derive(Clone)]
pub(crate) struct Side {
    /// `source` or `destination`.
    pub(crate) name: &'static str,
    /// The setting that names the bucket.
    setting: &'static str,
    /// Whose credentials `client` has.
    whose: Whose,
    pub(crate) client: Client,
    pub(crate) bucket: String,
    pub(crate) owner: Option<String>,
}

impl Side {
    /// The source, read with the customer's own credentials.
    pub(crate) fn source(client: &Client, source: &Source) -> Self {
        Self {
            name: "source",
            whose: Whose::OwnAtSource,
            setting: match source.name {
                crate::SourceName::Database => "DATABASE_BUCKET",
                crate::SourceName::Filesystem => "FILESYSTEM_BUCKET",
            },
            client: client.clone(),
            bucket: source.bucket.clone(),
            owner: source.owner.clone(),
        }
    }

    /// The source, read with the keys that the vendor gave.
    pub(crate) fn vendor(client: &Client, source: &Source) -> Self {
        Self { whose: Whose::VendorAtSource, ..Self::source(client, source) }
    }

    pub(crate) fn destination(clients: &Clients, plan: &Plan) -> Self {
        Self {
            name: "destination",
            whose: Whose::OwnAtDestination,
            setting: "DESTINATION_BUCKET",
            client: clients.destination.clone(),
            bucket: plan.destination.bucket.clone(),
            owner: plan.destination.owner.clone(),
        }
    }

    /// The bucket, as policies name it.
    pub(crate) fn place(&self) -> Place<'_> {
        let region = self.client.config().region().map(AsRef::as_ref);
        Place { bucket: &self.bucket, region, whose: self.whose }
    }

    /// A bucket that is read on its own, and the setting that names it.
    pub(crate) fn alone(
        whose: Whose,
        setting: &'static str,
        client: Client,
        bucket: String,
        owner: Option<String>,
    ) -> Self {
        let name = if whose == Whose::OwnAtDestination { "destination" } else { "source" };
        Self { name, setting, whose, client, bucket, owner }
    }

    /// The error of a listing.
    pub(crate) fn not_listed(&self, source: S3Error) -> RunError {
        let remedy = self.remedy(&source);
        RunError::List { side: self.name, bucket: self.bucket.clone(), remedy, source: Box::new(source) }
    }

    /// What to do about an error on this side.
    pub(crate) fn remedy(&self, error: &S3Error) -> Remedy {
        let Self { name, setting, .. } = self;
        let side = name.to_uppercase();
        match error.kind {
            S3ErrorKind::NoSuchBucket => {
                format!(
                    "there is no such bucket; check {setting}, and that its region and endpoint are the right ones"
                )
            }
            S3ErrorKind::AccessDenied => {
                let mut remedy = self.place().refused(error.operation.right(), &error.message);
                // Of a bucket that is not the expected account's S3 says no more than of a right.
                if let Some(owner) = self.owner.as_ref().filter(|_| Said::of(&error.message).is_none()) {
                    remedy.text +=
                        &format!("; or correct {side}_BUCKET_OWNER, if the bucket is not {owner}'s");
                }
                return remedy;
            }
            S3ErrorKind::BadCredentials => match self.whose {
                Whose::VendorAtSource if error.message.contains("SOURCE_CREDENTIALS_SECRET") => {
                    "the vendor's keys cannot be had from Secrets Manager"
                }
                Whose::VendorAtSource => {
                    "the vendor's keys are wrong or were changed; ask the vendor for the new ones, for \
                     SOURCE_CREDENTIALS_SECRET, or SOURCE_ACCESS_KEY_ID and SOURCE_SECRET_ACCESS_KEY"
                }
                Whose::OwnAtSource | Whose::OwnAtDestination => {
                    "the credentials are missing, wrong or expired; check the role, or AWS_ACCESS_KEY_ID and \
                     AWS_SECRET_ACCESS_KEY"
                }
            }
            .to_owned(),
            S3ErrorKind::KeyUnusable => {
                "the KMS key is disabled, deleted, of another region or not for encryption; have its owner \
                 enable it, or check KMS_KEY_ID and the bucket's default encryption"
                    .to_owned()
            }
            S3ErrorKind::WrongRegion => format!("the bucket is in another region; set {side}_REGION"),
            S3ErrorKind::Unreachable | S3ErrorKind::TimedOut => {
                format!("the endpoint does not answer; check {side}_ENDPOINT_URL and the network")
            }
            S3ErrorKind::NotS3 => {
                format!("what answers there does not speak S3; check {side}_ENDPOINT_URL")
            }
            S3ErrorKind::Archived => {
                "the object is archived; restore it first (aws s3api restore-object)".to_owned()
            }
            _ => "run again; what is there already is not copied twice".to_owned(),
        }
        .into()
    }
}

/// Tries of a request before its error is final. The pauses between them last about 20 s, and
/// at most twice that; the pace, which comes down meanwhile, makes each try wait longer.
const TRIES: u32 = 10;
/// Tries of the first request to a side: an endpoint that is down is known within seconds.
const FIRST_TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// What a server-side copy moves in a second at the least.
const SLOWEST_COPY: u64 = 10 << 20;

/// Sends requests for one run. Clones share the pace and the counters.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) pace: Arc<Pace>,
    pub(crate) requests: Arc<Requests>,
    pub(crate) halt: Halt,
    /// Places for bodies that pass through this process: what bounds its memory.
    pub(crate) streams: Arc<Semaphore>,
    /// How long a request may take, besides the time its bytes need; how long a body may rest.
    pub(crate) patience: Duration,
    tries: u32,
    /// Whoever sends holds a place in flight already.
    admitted: bool,
}

impl Caller {
    pub(crate) fn new(plan: &Plan, halt: Halt) -> Self {
        let streams = Arc::new(Semaphore::new(plan.max_streams));
        Self { streams, ..Self::with(plan.max_in_flight, plan.attempt_timeout, halt) }
    }

    /// With at most this many requests at once, each of which may take so long.
    pub(crate) fn with(most: usize, patience: Duration, halt: Halt) -> Self {
        Self {
            pace: Arc::new(Pace::new(most)),
            requests: Arc::default(),
            halt,
            streams: Arc::new(Semaphore::new(most)),
            patience,
            tries: TRIES,
            admitted: false,
        }
    }

    /// For the first request to a side.
    pub(crate) fn first(&self) -> Self {
        Self { tries: FIRST_TRIES, ..self.clone() }
    }

    /// For the requests after it.
    pub(crate) fn seasoned(&self) -> Self {
        Self { tries: TRIES, ..self.clone() }
    }

    /// For what is done beside the copies, stopped or not, and cannot wait for their places.
    pub(crate) fn aside(&self) -> Self {
        Self {
            halt: Halt::never(),
            patience: self.patience.min(Duration::from_secs(5)),
            tries: 4,
            admitted: true,
            ..self.clone()
        }
    }

    /// For one source of several, which may be ended alone.
    pub(crate) fn part(&self) -> Self {
        Self { halt: self.halt.part(), ..self.clone() }
    }

    /// For what a run can do without.
    pub(crate) fn hurried(&self) -> Self {
        Self { patience: self.patience.min(Duration::from_secs(5)), tries: 2, ..self.clone() }
    }

    /// For what must still be done after a stop: aborting uploads. A few seconds at most.
    pub(crate) fn closing(&self) -> Self {
        Self {
            halt: Halt::never(),
            patience: self.patience.min(Duration::from_secs(2)),
            tries: 2,
            ..self.clone()
        }
    }

    /// Sends `request` until it is answered for good.
    pub(crate) async fn send<T, E, F>(
        &self,
        operation: Operation,
        request: impl Fn() -> F,
    ) -> Result<T, S3Error>
    where
        F: Future<Output = Result<T, SdkError<E>>>,
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        self.send_sized(operation, 0, request).await
    }

    /// Sends `request`, in which S3 moves `bytes`.
    pub(crate) async fn send_sized<T, E, F>(
        &self,
        operation: Operation,
        bytes: u64,
        request: impl Fn() -> F,
    ) -> Result<T, S3Error>
    where
        F: Future<Output = Result<T, SdkError<E>>>,
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        self.persist(operation, bytes / SLOWEST_COPY, || self.once(operation, request())).await
    }

    /// Sends a request once: counts it, and classifies its error.
    pub(crate) async fn once<T, E>(
        &self,
        operation: Operation,
        request: impl Future<Output = Result<T, SdkError<E>>>,
    ) -> Result<T, S3Error>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        self.requests.count(operation);
        request.await.map_err(|error| classify(operation, &error))
    }

    /// Does `attempt` until it is answered for good. It holds one place in flight, however
    /// many requests it is made of, and may take so many seconds besides a request's own.
    pub(crate) async fn persist<T, F>(
        &self,
        operation: Operation,
        seconds: u64,
        attempt: impl Fn() -> F,
    ) -> Result<T, S3Error>
    where
        F: Future<Output = Result<T, S3Error>>,
    {
        let patience = self.patience + Duration::from_secs(seconds);
        let mut tries = 0;
        loop {
            tries += 1;
            let admitted = async {
                let _permit = match self.admitted {
                    true => None,
                    false => Some(self.pace.admit().await),
                };
                // It waited for its place until there was no time to begin an object.
                if tries == 1 && operation.begins_an_object() && self.halt.is_draining() {
                    return Err(stopped(operation));
                }
                let sent = Instant::now();
                let answer = timeout(patience, attempt()).await;
                let answer = answer.unwrap_or_else(|_| Err(timed_out(operation, patience)))?;
                self.pace.answered(sent.elapsed());
                Ok(answer)
            };
            let answer = tokio::select! {
                biased;
                () = self.halt.cancelled() => Err(stopped(operation)),
                answer = admitted => answer,
            };
            let error = match answer {
                Ok(answer) => return Ok(answer),
                Err(error) => S3Error { tries, ..error },
            };
            if error.kind == S3ErrorKind::SlowDown {
                self.pace.slowed();
            }
            // Credentials may have been changed, and be read anew for the next try.
            let renewed = error.kind == S3ErrorKind::BadCredentials && tries == 1;
            if !renewed && (!error.kind.is_transient() || tries >= self.tries) {
                return Err(error);
            }
            tracing::debug!(%error, "trying again");
            tokio::select! {
                biased;
                () = self.halt.cancelled() => return Err(S3Error { tries, ..stopped(operation) }),
                () = sleep(pause(tries, error.kind)) => {}
            }
        }
    }
}

/// Exponential, and anywhere between nothing and all of it, so that requests refused
/// together do not come back together.
fn pause(tries: u32, kind: S3ErrorKind) -> Duration {
    // Whoever asks to be spared is spared a little longer.
    let first = if kind == S3ErrorKind::SlowDown { 2 * PAUSE } else { PAUSE };
    let longest = first.saturating_mul(1 << tries.min(10)).min(LONGEST_PAUSE);
    longest.mul_f64(fastrand::f64())
}

fn stopped(operation: Operation) -> S3Error {
    S3Error {
        operation,
        kind: S3ErrorKind::Stopped,
        code: "nothing before the run was stopped".into(),
        message: String::new(),
        request_id: None,
        tries: 1,
    }
}

fn timed_out(operation: Operation, patience: Duration) -> S3Error {
    S3Error {
        operation,
        kind: S3ErrorKind::TimedOut,
        code: format!("nothing within {} s", patience.as_secs_f32()),
        message: String::new(),
        request_id: None,
        tries: 1,
    }
}

fn classify<E>(operation: Operation, error: &SdkError<E>) -> S3Error
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let status = error.raw_response().map_or(0, |response| response.status().as_u16());
    let code = error.code().unwrap_or_default();
    let kind = match error {
        SdkError::ServiceError(_) => kind(operation, code, status),
        SdkError::ResponseError(_) if status >= 500 => S3ErrorKind::Server,
        SdkError::ResponseError(_) => S3ErrorKind::NotS3,
        SdkError::TimeoutError(_) => S3ErrorKind::TimedOut,
        _ if innermost(error).contains("credential") || mentions_credentials(error) => {
            S3ErrorKind::BadCredentials
        }
        SdkError::DispatchFailure(_) => S3ErrorKind::Unreachable,
        _ => S3ErrorKind::Refused,
    };
    let (code, message) = match error {
        SdkError::ServiceError(_) if code.is_empty() => (format!("HTTP status {status}"), String::new()),
        SdkError::ServiceError(_) => (code.to_owned(), error.message().unwrap_or_default().to_owned()),
        SdkError::ResponseError(_) => {
            (format!("HTTP status {status} and an unreadable body"), innermost(error))
        }
        _ => ("nothing".to_owned(), innermost(error)),
    };
    S3Error { operation, kind, code, message, request_id: error.request_id().map(str::to_owned), tries: 1 }
}

fn kind(operation: Operation, code: &str, status: u16) -> S3ErrorKind {
    match (code, status) {
        // S3 hands on what KMS says, with a 400.
        ("KMS.AccessDeniedException", _) => S3ErrorKind::AccessDenied,
        ("KMS.ThrottlingException" | "KMS.LimitExceededException", _) => S3ErrorKind::SlowDown,
        (
            "KMS.DependencyTimeoutException" | "KMS.KMSInternalException" | "KMS.KeyUnavailableException",
            _,
        ) => S3ErrorKind::Server,
        (
            "KMS.DisabledException"
            | "KMS.NotFoundException"
            | "KMS.KMSInvalidStateException"
            | "KMS.InvalidKeyUsageException"
            | "KMS.InvalidStateException",
            _,
        ) => S3ErrorKind::KeyUnusable,
        ("NoSuchBucket", _) => S3ErrorKind::NoSuchBucket,
        ("NoSuchUpload", _) => S3ErrorKind::NoSuchUpload,
        ("InvalidObjectState" | "ObjectNotInActiveTierError", _) => S3ErrorKind::Archived,
        (
            "InvalidAccessKeyId"
            | "SignatureDoesNotMatch"
            | "ExpiredToken"
            | "InvalidToken"
            | "TokenRefreshRequired"
            | "RequestTimeTooSkewed",
            _,
        ) => S3ErrorKind::BadCredentials,
        ("PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException", _)
        | (_, 301 | 307) => S3ErrorKind::WrongRegion,
        // S3 answers these with a 400 or a 409, and means "again".
        (
            "RequestTimeout"
            | "OperationAborted"
            | "ConditionalRequestConflict"
            | "BadDigest"
            | "IncompleteBody",
            _,
        ) => S3ErrorKind::Server,
        // With their status, or inside a 200.
        (
            "SlowDown"
            | "ServiceUnavailable"
            | "ServerBusy"
            | "Throttling"
            | "ThrottlingException"
            | "RequestLimitExceeded",
            _,
        )
        | (_, 429 | 503) => S3ErrorKind::SlowDown,
        // Only the answer to a HEAD has no body to carry a code. A web page may come with 200.
        ("", _) if operation != Operation::HeadObject && status < 500 => S3ErrorKind::NotS3,
        (_, 404) => S3ErrorKind::NotFound,
        (_, 412) => S3ErrorKind::PreconditionFailed,
        (_, 403) => S3ErrorKind::AccessDenied,
        ("InternalError", _) | (_, 500..) => S3ErrorKind::Server,
        _ => S3ErrorKind::Refused,
    }
}

/// The cause of causes, which says "connection refused" where the others say "error".
pub(crate) fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

fn mentions_credentials(error: &dyn std::error::Error) -> bool {
    std::iter::successors(Some(error), |error| error.source())
        .any(|error| error.to_string().contains("credential"))
}

impl fmt::Debug for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} s3://{}", self.name, self.bucket)
    }
}

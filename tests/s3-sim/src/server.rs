//! From a connection to an answer: what surrounds every operation.
//!
//! In this order: the operation is named and counted, the limit of writes decides, the latency
//! passes, faults happen, hooks run, s3s and `api` do the operation, hooks run, the answer
//! goes out or is lost.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use s3s::Body;
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::validation::NameValidation;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::api::{Annotations, Api, RawXml, source_size};
use crate::auth::Gate;
use crate::config::{Config, Latency};
use crate::counters::LiveCounters;
use crate::encoding::without_control_characters;
use crate::faults::{FaultKind, Faults};
use crate::hooks::{Hooks, Phase};
use crate::operation::{Operation, target};
use crate::state::State;
use crate::throttle::Throttle;

/// Everything requests share.
pub(crate) struct Server {
    pub(crate) state: Arc<State>,
    pub(crate) counters: LiveCounters,
    pub(crate) faults: Faults,
    pub(crate) hooks: Hooks,
    latency: Latency,
    throttle: Option<Throttle>,
    s3: S3Service,
    next_request: AtomicU64,
}

/// Why a connection is cut without an answer; hyper closes it on any error.
#[derive(Debug)]
struct Cut;

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection is cut on purpose")
    }
}

impl std::error::Error for Cut {}

/// Lets tests name buckets as they like; CreateBucket checks S3's rules.
struct AnyName;

impl NameValidation for AnyName {
    fn validate_bucket_name(&self, name: &str) -> bool {
        !name.is_empty()
    }
}

/// Serves `listener` until the task is aborted, which cuts all connections.
pub(crate) async fn accept(listener: TcpListener, server: Arc<Server>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // Too many open files, say: others may close theirs.
                let Ok((stream, _)) = accepted else { continue };
                connections.spawn(serve_connection(stream, server.clone()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve_connection(stream: TcpStream, server: Arc<Server>) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let service = service_fn(move |request| {
        let server = server.clone();
        async move { server.answer(request).await }
    });
    // An error here is a client that went away, or a cut on purpose.
    let _closed = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

impl Server {
    pub(crate) fn new(config: &Config) -> Self {
        let state = Arc::new(State::new(&config.users, &config.account_id));
        let mut builder = S3ServiceBuilder::new(Api { state: state.clone() });
        builder.set_auth(Gate(state.clone()));
        builder.set_access(Gate(state.clone()));
        builder.set_route(Annotations(state.clone()));
        builder.set_validation(AnyName);
        builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(S3Config::default()))));
        Self {
            state,
            counters: LiveCounters::new(),
            faults: Faults::new(config.seed),
            hooks: Hooks::default(),
            latency: config.latency,
            throttle: config.write_limit.map(Throttle::new),
            s3: builder.build(),
            next_request: AtomicU64::new(1),
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Body>, Cut> {
        let arrival = Instant::now();
        if let Some(path) = request.uri().path().strip_prefix("/_sim/") {
            return Ok(self.administer(request.method(), path));
        }
        let operation = Operation::of(request.method(), request.uri(), request.headers());
        let (nth, _in_flight) = self.counters.arrived(operation);
        let throttled =
            operation.is_write() && self.throttle.as_ref().is_some_and(|limit| !limit.admit(arrival));
        let latency = self.latency_of(operation, request.headers());
        if !latency.is_zero() {
            tokio::time::sleep_until((arrival + latency).into()).await;
        }
        if throttled {
            return Ok(self.refuse(request, StatusCode::SERVICE_UNAVAILABLE, "SlowDown").await);
        }
        let fault = self.faults.of(operation, || target(request.uri()).1);
        match fault {
            Some(FaultKind::InternalError) => {
                let status = StatusCode::INTERNAL_SERVER_ERROR;
                return Ok(self.refuse(request, status, "InternalError").await);
            }
            Some(FaultKind::SlowDown) => {
                let status = StatusCode::SERVICE_UNAVAILABLE;
                return Ok(self.refuse(request, status, "SlowDown").await);
            }
            Some(FaultKind::Error { status, code }) => {
                let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
                return Ok(self.refuse(request, status, code).await);
            }
            Some(FaultKind::ErrorWithin200) => {
                let status = match operation.may_fail_within_200() {
                    true => StatusCode::OK,
                    false => StatusCode::INTERNAL_SERVER_ERROR,
                };
                return Ok(self.refuse(request, status, "InternalError").await);
            }
            Some(FaultKind::CutBefore) => return Err(Cut),
            Some(FaultKind::Hang) => std::future::pending::<()>().await,
            Some(_) | None => {}
        }
        let response = self.carry_out(request, operation, nth).await?;
        match fault {
            Some(FaultKind::CutAfter) => Err(Cut),
            Some(kind) => spoil(response, kind).await,
            None => Ok(response),
        }
    }

    /// Runs the operation between its hooks.
    async fn carry_out(
        &self,
        request: Request<Incoming>,
        operation: Operation,
        nth: u64,
    ) -> Result<Response<Body>, Cut> {
        let target = (!self.hooks.is_empty()).then(|| target(request.uri()));
        if let Some(target) = &target {
            self.hooks.call(&self.state, Phase::Before, operation, target, nth);
        }
        let mut response = match self.s3.call(request.map(Body::from)).await {
            Ok(response) => response,
            Err(_) => error_response(StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
        };
        if let Some(target) = &target {
            let status = response.status().as_u16();
            self.hooks.call(&self.state, Phase::After { status }, operation, target, nth);
        }
        finish_xml(&mut response);
        self.stamp(response.headers_mut());
        Ok(response)
    }

    fn latency_of(&self, operation: Operation, headers: &HeaderMap) -> Duration {
        let latency = &self.latency;
        match operation {
            Operation::ListObjectsV2 | Operation::ListObjects | Operation::ListObjectVersions => latency.list,
            Operation::CopyObject => latency.copy,
            Operation::UploadPartCopy => match latency.part_copy_bytes_per_second {
                None => latency.copy,
                Some(bandwidth) => {
                    let bytes = source_size(&self.state, headers) as f64;
                    latency.copy + Duration::from_secs_f64(bytes / bandwidth.max(1) as f64)
                }
            },
            Operation::HeadObject => latency.head,
            Operation::PutObject | Operation::UploadPart => latency.put,
            Operation::GetObject => latency.get,
            _ => latency.other,
        }
    }

    /// Answers with an error. The request's body is read first: a client that still sends
    /// would see a broken connection instead of the answer.
    async fn refuse(&self, request: Request<Incoming>, status: StatusCode, code: &str) -> Response<Body> {
        let mut body = request.into_body();
        while let Some(Ok(_)) = body.frame().await {}
        let mut response = error_response(status, code);
        self.stamp(response.headers_mut());
        response
    }

    /// Every answer of S3 has a request id.
    fn stamp(&self, headers: &mut HeaderMap) {
        const REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-request-id");
        let number = self.next_request.fetch_add(1, Ordering::Relaxed);
        if let Ok(id) = HeaderValue::try_from(format!("{number:016X}")) {
            headers.insert(REQUEST_ID, id);
        }
    }

    /// Answers the unsigned requests below `/_sim/`.
    fn administer(&self, method: &Method, path: &str) -> Response<Body> {
        let mut response = Response::new(Body::empty());
        match (method, path) {
            (&Method::GET, "counters") => {
                let json = self.counters.snapshot().to_json();
                *response.body_mut() = Body::from(format!("{json:#}\n"));
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            }
            (&Method::POST, "reset") => self.counters.reset(),
            _ => *response.status_mut() = StatusCode::NOT_FOUND,
        }
        response
    }
}

fn error_response(status: StatusCode, code: &str) -> Response<Body> {
    let message = match code {
        "SlowDown" => "Please reduce your request rate.",
        "InternalError" => "We encountered an internal error. Please try again.",
        _ => "This error was asked for.",
    };
    let mut response = Response::new(Body::from(format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <Error><Code>{code}</Code><Message>{message}</Message></Error>"
    )));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    response
}

/// Puts in the XML that a listing wrote itself, and repairs what s3s wrote.
fn finish_xml(response: &mut Response<Body>) {
    if let Some(RawXml(xml)) = response.extensions_mut().remove() {
        *response.body_mut() = Body::from(xml);
        return;
    }
    let is_xml = response
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind == "application/xml")
        // An object may be of that type, too.
        && !response.headers().contains_key(http::header::ETAG);
    if is_xml
        && let Some(bytes) = response.body().bytes()
        && let Some(repaired) = without_control_characters(&bytes)
    {
        *response.body_mut() = Body::from(repaired);
    }
}

/// Does to the answer's body what `kind` says. An answer without one cannot be cut in it, and
/// is lost as a whole.
async fn spoil(response: Response<Body>, kind: FaultKind) -> Result<Response<Body>, Cut> {
    let (mut parts, body) = response.into_parts();
    let mut whole = http_body_util::BodyExt::collect(body).await.map_err(|_| Cut)?.to_bytes().to_vec();
    let middle = whole.len() / 2;
    let (at, rests) = match kind {
        FaultKind::CutBody if whole.len() < 2 => return Err(Cut),
        FaultKind::CutBodyAt(bytes) => (bytes.min(whole.len()), false),
        FaultKind::StallBody => (middle, true),
        FaultKind::DamageBody | FaultKind::ShortBody | FaultKind::LongBody => {
            match kind {
                FaultKind::DamageBody => whole.iter_mut().skip(middle).take(1).for_each(|byte| *byte ^= 1),
                FaultKind::ShortBody => drop(whole.pop()),
                _ => whole.push(0),
            }
            parts.headers.insert(CONTENT_LENGTH, whole.len().into());
            return Ok(Response::from_parts(parts, Body::from(whole)));
        }
        _ => (middle, false),
    };
    parts.headers.insert(CONTENT_LENGTH, whole.len().into());
    whole.truncate(at);
    // The pause lets hyper flush what comes before; with the error at once it would not.
    let frames = stream::iter([Ok(Frame::data(Bytes::from(whole)))]).chain(stream::once(async move {
        match rests {
            true => std::future::pending().await,
            false => tokio::time::sleep(Duration::from_millis(5)).await,
        }
        Err(Cut)
    }));
    let body = Body::http_body_unsync(StreamBody::new(Box::pin(frames)));
    Ok(Response::from_parts(parts, body))
}

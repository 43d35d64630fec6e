//! One execution environment: a process of the function, and the runtime API that it talks to.
//!
//! The API is the part of Lambda's (2018-06-01) that a function needs: the next invocation,
//! and the response or the error for it, or for the start.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

use super::{Variables, start_function};
use crate::http::Answer;
use crate::process::{Output, POLL, Running};

/// Numbers the invocations of a test process, for request ids that differ.
static INVOCATIONS: AtomicU64 = AtomicU64::new(1);

/// What the function is handed when it asks for the next invocation.
struct Invocation {
    id: String,
    deadline_ms: u128,
    event: String,
}

/// What the function has sent back.
enum Said {
    Response { id: String, body: Bytes },
    Error { id: Option<String>, body: Bytes },
}

/// The two ends that the API's handlers share.
struct Api {
    next: Mutex<mpsc::Receiver<Invocation>>,
    said: mpsc::Sender<Said>,
}

pub(super) struct Environment {
    function: Running,
    invocations: mpsc::Sender<Invocation>,
    said: mpsc::Receiver<Said>,
    spent: bool,
    // Ends the API's tasks when it is dropped.
    _server: JoinSet<()>,
}

impl Environment {
    pub(super) async fn cold_start(variables: &Variables, log: &Output) -> Result<Environment> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?.to_string();
        let (invocations, next) = mpsc::channel(1);
        let (said_by_function, said) = mpsc::channel(1);
        let api = Arc::new(Api { next: Mutex::new(next), said: said_by_function });
        let mut server = JoinSet::new();
        server.spawn(serve(listener, api));
        Ok(Environment {
            function: start_function(&address, variables, log)?,
            invocations,
            said,
            spent: false,
            _server: server,
        })
    }

    /// Whether it cannot take another invocation.
    pub(super) fn is_spent(&self) -> bool {
        self.spent
    }

    /// Hands `event` to the function and waits for its answer, its end or the deadline.
    pub(super) async fn invoke(&mut self, event: String, timeout: Duration) -> Result<Answer> {
        let number = INVOCATIONS.fetch_add(1, Ordering::Relaxed);
        let id = format!("00000000-0000-4000-8000-{number:012}");
        let deadline = SystemTime::now() + timeout;
        let invocation = Invocation {
            id: id.clone(),
            deadline_ms: deadline.duration_since(UNIX_EPOCH)?.as_millis(),
            event,
        };
        // The channel is empty: invocations follow one another, and a spent one is dropped.
        let _ = self.invocations.send(invocation).await;
        let answer = tokio::time::timeout(timeout, self.answer(&id)).await;
        match answer {
            Ok(answer) => answer,
            Err(_) => {
                self.spent = true;
                let message = format!(
                    "RequestId: {id} Error: Task timed out after {:.2} seconds",
                    timeout.as_secs_f64()
                );
                failed("Sandbox.Timedout", &message)
            }
        }
    }

    async fn answer(&mut self, id: &str) -> Result<Answer> {
        loop {
            tokio::select! {
                biased;
                Some(said) = self.said.recv() => match said {
                    Said::Response { id: of, body } if of == id => return answer(body, false),
                    Said::Error { id: of, body } if of.as_deref().is_none_or(|of| of == id) => {
                        self.spent = of.is_none();
                        return answer(body, true);
                    }
                    // About an earlier invocation.
                    Said::Response { .. } | Said::Error { .. } => {}
                },
                () = tokio::time::sleep(POLL) => {
                    if let Some(status) = self.function.try_wait()? {
                        self.spent = true;
                        let message = format!("RequestId: {id} Error: Runtime exited: {status}");
                        return failed("Runtime.ExitError", &message);
                    }
                }
            }
        }
    }
}

/// The answer of Lambda's Invoke API.
fn answer(body: Bytes, failed: bool) -> Result<Answer> {
    let mut headers = HeaderMap::new();
    headers.insert("x-amz-executed-version", "$LATEST".parse()?);
    if failed {
        headers.insert("x-amz-function-error", "Unhandled".parse()?);
    }
    Ok(Answer { status: StatusCode::OK, headers, body })
}

fn failed(error_type: &str, message: &str) -> Result<Answer> {
    let body = json!({ "errorType": error_type, "errorMessage": message });
    answer(body.to_string().into(), true)
}

async fn serve(listener: TcpListener, api: Arc<Api>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let api = Arc::clone(&api);
        connections.spawn(async move {
            let service = service_fn(|request| handle(&api, request));
            // An error is a function that went away: whoever waits for it sees its end.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn handle(api: &Api, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let Some(path) = path.strip_prefix("/2018-06-01/runtime/") else {
        return Ok(plain(StatusCode::NOT_FOUND));
    };
    let segments: Vec<&str> = path.split('/').collect();
    if let (&Method::GET, ["invocation", "next"]) = (&method, &segments[..]) {
        return Ok(next(api).await);
    }
    let Ok(body) = request.into_body().collect().await else {
        return Ok(plain(StatusCode::BAD_REQUEST));
    };
    let body = body.to_bytes();
    let said = match (&method, &segments[..]) {
        (&Method::POST, ["invocation", id, "response"]) => Said::Response { id: (*id).to_owned(), body },
        (&Method::POST, ["invocation", id, "error"]) => Said::Error { id: Some((*id).to_owned()), body },
        (&Method::POST, ["init", "error"]) => Said::Error { id: None, body },
        _ => return Ok(plain(StatusCode::NOT_FOUND)),
    };
    // Nobody listens any more once the environment is dropped, and this process with it.
    let _ = api.said.send(said).await;
    Ok(plain(StatusCode::ACCEPTED))
}

async fn next(api: &Api) -> Response<Full<Bytes>> {
    let Some(invocation) = api.next.lock().await.recv().await else {
        return plain(StatusCode::GONE);
    };
    let arn = "arn:aws:lambda:us-east-1:123456789012:function:replicator";
    Response::builder()
        .header("content-type", "application/json")
        .header("lambda-runtime-aws-request-id", &invocation.id)
        .header("lambda-runtime-deadline-ms", invocation.deadline_ms.to_string())
        .header("lambda-runtime-invoked-function-arn", arn)
        .header("lambda-runtime-trace-id", "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700")
        .body(Full::new(invocation.event.into()))
        .unwrap_or_else(|_| plain(StatusCode::INTERNAL_SERVER_ERROR))
}

fn plain(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

//! Secrets Manager, as far as GetSecretValue goes: it answers what a test last told it to.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// One secret behind an HTTP endpoint; gone when it is dropped.
pub struct SecretsManager {
    port: u16,
    secret: Arc<Secret>,
    _server: JoinSet<()>,
}

#[derive(Default)]
struct Secret {
    asked: AtomicU64,
    answer: Mutex<(StatusCode, Value)>,
}

impl SecretsManager {
    /// Starts one whose secret is `{}`.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let secret = Arc::new(Secret::default());
        let mut server = JoinSet::new();
        server.spawn(serve(listener, Arc::clone(&secret)));
        let manager = Self { port, secret, _server: server };
        manager.holds("{}");
        Ok(manager)
    }

    /// Its address.
    pub fn endpoint(&self) -> String {
        format!("http://{}:{}", Ipv4Addr::LOCALHOST, self.port)
    }

    /// How many times the secret was asked for.
    pub fn asked(&self) -> u64 {
        self.secret.asked.load(Ordering::Relaxed)
    }

    /// From now on this is the secret's value.
    pub fn holds(&self, value: &str) {
        let arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:vendor-keys-a1b2c3";
        let version = "EXAMPLE1-90ab-cdef-fedc-ba987SECRET1";
        let answer = json!({"ARN": arn, "Name": "vendor-keys", "SecretString": value, "VersionId": version});
        self.set(StatusCode::OK, answer);
    }

    /// From now on the secret cannot be had.
    pub fn refuses(&self, code: &str, message: &str) {
        self.set(StatusCode::BAD_REQUEST, json!({"__type": code, "Message": message}));
    }

    fn set(&self, status: StatusCode, answer: Value) {
        *self.secret.answer.lock().unwrap_or_else(PoisonError::into_inner) = (status, answer);
    }
}

async fn serve(listener: TcpListener, secret: Arc<Secret>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let secret = Arc::clone(&secret);
        connections.spawn(async move {
            let service = service_fn(|request| answer(&secret, request));
            // An error is a client that went away.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(secret: &Secret, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    secret.asked.fetch_add(1, Ordering::Relaxed);
    let asks = request.headers().get("x-amz-target").is_some_and(|t| t == "secretsmanager.GetSecretValue");
    let signed = request.headers().contains_key("authorization");
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let named = serde_json::from_slice(&body).is_ok_and(|body: Value| body["SecretId"] == "vendor-keys");
    let (status, answer) = match asks && signed && named {
        true => secret.answer.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        false => (StatusCode::BAD_REQUEST, json!({"__type": "ResourceNotFoundException"})),
    };
    let mut response = Response::new(Full::new(answer.to_string().into()));
    *response.status_mut() = status;
    Ok(response)
}

//! A server that writes down what it is told and answers always the same: for a service that
//! a program only tells something, such as SNS.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// A recorder of requests' bodies; it ends when it is dropped.
pub struct Recorder {
    port: u16,
    bodies: Arc<Mutex<Vec<String>>>,
    _server: JoinSet<()>,
}

impl Recorder {
    /// Listens on a free port and answers every request with 200 and `answer`.
    pub async fn start(answer: &'static str) -> Result<Recorder> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let bodies = Arc::<Mutex<Vec<String>>>::default();
        let mut server = JoinSet::new();
        server.spawn(serve(listener, Arc::clone(&bodies), answer));
        Ok(Recorder { port, bodies, _server: server })
    }

    /// Its address, such as `http://127.0.0.1:41234`.
    pub fn endpoint(&self) -> String {
        format!("http://{}:{}", Ipv4Addr::LOCALHOST, self.port)
    }

    /// The bodies of all requests so far.
    pub fn bodies(&self) -> Vec<String> {
        self.bodies.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn serve(listener: TcpListener, bodies: Arc<Mutex<Vec<String>>>, answer: &'static str) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let bodies = Arc::clone(&bodies);
        connections.spawn(async move {
            let service = service_fn(async |request: Request<hyper::body::Incoming>| {
                if let Ok(body) = request.into_body().collect().await {
                    let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
                    bodies.lock().unwrap_or_else(PoisonError::into_inner).push(body);
                }
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(answer.as_bytes()))))
            });
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

//! Plain HTTP/1.1 on the loopback interface: what invoking a function and asking a server
//! for its health take.

use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::{HeaderMap, Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// An HTTP answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(&self.body)
            .with_context(|| format!("not JSON: {}", String::from_utf8_lossy(&self.body)))
    }
}

/// Sends one request on a connection of its own to a port of this machine.
pub(crate) async fn request(
    method: Method,
    port: u16,
    path: &str,
    body: impl Into<Bytes>,
    limit: Duration,
) -> Result<Answer> {
    let name = format!("{method} http://127.0.0.1:{port}{path}");
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", format!("127.0.0.1:{port}"))
        .body(Full::new(body.into()))?;
    let exchange = async {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Ends with the exchange: `sender` is dropped, which closes the connection.
        tokio::spawn(connection);
        let (parts, body) = sender.send_request(request).await?.into_parts();
        anyhow::Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            body: body.collect().await?.to_bytes(),
        })
    };
    tokio::time::timeout(limit, exchange)
        .await
        .with_context(|| format!("{name}: no answer within {limit:?}"))?
        .with_context(|| name)
}

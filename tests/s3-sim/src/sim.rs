//! A running simulator.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::config::Config;
use crate::counters::Counters;
use crate::faults::Fault;
use crate::hooks::Event;
use crate::server::{Server, accept};
use crate::state::State;

/// A running simulator. Dropping it stops it: the port closes and connections are cut.
pub struct Sim {
    address: SocketAddr,
    server: Arc<Server>,
    accepting: JoinHandle<()>,
}

impl Sim {
    /// Starts to serve on 127.0.0.1, on the runtime this is called in.
    ///
    /// # Errors
    ///
    /// If the port is taken.
    pub async fn start(config: Config) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, config.port.unwrap_or(0))).await?;
        let address = listener.local_addr()?;
        let server = Arc::new(Server::new(&config));
        let accepting = tokio::spawn(accept(listener, server.clone()));
        Ok(Self { address, server, accepting })
    }

    /// Where it serves: `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it holds.
    #[must_use]
    pub fn state(&self) -> &Arc<State> {
        &self.server.state
    }

    /// What it was asked for so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.server.counters.snapshot()
    }

    /// Starts counting from 0 again.
    pub fn reset_counters(&self) {
        self.server.counters.reset();
    }

    /// Adds a fault. It counts requests from now on.
    pub fn add_fault(&self, fault: Fault) {
        self.server.faults.add(fault);
    }

    /// Takes all faults away.
    pub fn clear_faults(&self) {
        self.server.faults.clear();
    }

    /// Calls `hook` before and after each operation. It runs between the requests it sees:
    /// what it does to the state has happened when the operation goes on.
    pub fn on_request(&self, hook: impl Fn(&Event, &State) + Send + Sync + 'static) {
        self.server.hooks.add(hook);
    }

    /// Takes all hooks away.
    pub fn clear_hooks(&self) {
        self.server.hooks.clear();
    }

    /// Stops it and waits until its port is closed.
    pub async fn stop(mut self) {
        self.accepting.abort();
        // It was cancelled on purpose; that is no news.
        let _cancelled = (&mut self.accepting).await;
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

//! Ctrl-C and SIGTERM end a run early; a second one ends it at once.

use bucket_copy::Halt;
use indicatif::ProgressBar;

/// Cancels `halt` at the first signal. Ends with the runtime.
pub(crate) fn on_signals(halt: &Halt, bar: &ProgressBar) {
    let (halt, bar) = (halt.clone(), bar.clone());
    tokio::spawn(async move {
        let Some(mut signals) = Signals::listen() else {
            tracing::warn!("signals cannot be listened to: Ctrl-C ends the run without a report");
            return;
        };
        signals.next().await;
        halt.cancel();
        bar.suspend(|| eprintln!("stopping (Ctrl-C again ends at once)"));
        signals.next().await;
        bar.finish_and_clear();
        std::process::exit(1);
    });
}

#[cfg(unix)]
struct Signals(tokio::signal::unix::Signal, tokio::signal::unix::Signal);

#[cfg(unix)]
impl Signals {
    fn listen() -> Option<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Some(Self(signal(SignalKind::interrupt()).ok()?, signal(SignalKind::terminate()).ok()?))
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.0.recv() => {}
            _ = self.1.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn listen() -> Option<Self> {
        Some(Self)
    }

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    }
}

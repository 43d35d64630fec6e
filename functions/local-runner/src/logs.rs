//! Logs on stderr, above the progress bar if there is one.

use std::io::{self, IsTerminal, Write};

use indicatif::ProgressBar;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Starts logging as `RUST_LOG` says, or what is worth a warning.
///
/// The warnings for single objects are left out on a terminal: the report repeats them.
pub(crate) fn init(bar: &ProgressBar) {
    let default = if io::stderr().is_terminal() {
        "error,bucket_copy=warn,bucket_copy::replicate=error,bucket_copy::audit=error,local_runner=warn"
    } else {
        "error,bucket_copy=warn,local_runner=warn"
    };
    let said = std::env::var("RUST_LOG").ok().filter(|filter| !filter.trim().is_empty());
    let filter = EnvFilter::builder().parse_lossy(said.as_deref().unwrap_or(default));
    let ansi = anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never;
    // Whoever has set a subscriber before keeps it.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(ansi)
        .with_writer(Above(bar.clone()))
        .try_init();
}

/// Writes to stderr while the bar is out of the way.
struct Above(ProgressBar);

impl<'a> MakeWriter<'a> for Above {
    type Writer = &'a Above;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

impl Write for &Above {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().write_all(bytes)).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

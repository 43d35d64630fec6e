//! How long the copies would take that a dry run found.

use std::time::Duration;

use crate::operation::Operation;
use crate::report::{Report, Route};

/// Writes a second that S3 takes below one prefix, before it splits that. Source: Amazon S3 User
/// Guide, "Best practices design patterns: optimizing Amazon S3 performance".
const MOST_WRITES: f64 = 3_500.0;
/// Bytes a second of one request, as that guide says: 85 to 90 MB/s.
const REQUEST_BYTES: f64 = 85e6;
/// Bytes a second that pass through a function, about: AWS names no figure.
const STREAM_BYTES: f64 = 75e6;

impl Report {
    /// Foretells how long the copies of a dry run would take, so many requests of this `latency`
    /// at once.
    pub(crate) fn foretell(&mut self, latency: Duration, at_once: usize) {
        let count = |operations: &[Operation]| {
            let counts = operations.iter().filter_map(|operation| self.forecast.get(operation));
            counts.sum::<u64>() as f64
        };
        let requests = self.forecast.values().sum::<u64>() as f64;
        let writes = count(&[Operation::CopyObject, Operation::PutObject, Operation::UploadPartCopy]);
        let bytes = |way: Route| {
            let sources = self.sources.iter().filter(|source| source.transfer == way);
            sources.map(|source| source.copied.bytes).sum::<u64>() as f64
        };
        let busy = requests * latency.as_secs_f64() + bytes(Route::ServerSide) / REQUEST_BYTES;
        let copying = (busy / at_once as f64).max(writes / MOST_WRITES);
        // Copying goes on while the keys are listed.
        let seconds = (copying + bytes(Route::Stream) / STREAM_BYTES).max(self.seconds);
        self.forecast_seconds = Some(seconds);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn foretold(operation: Operation, requests: u64, seconds: f64) -> f64 {
        let mut report =
            crate::tally::close(Vec::new(), &Default::default(), true, Default::default(), seconds);
        report.forecast = [(operation, requests)].into();
        report.foretell(Duration::from_millis(40), 256);
        report.forecast_seconds.expect("a forecast")
    }

    #[test]
    fn a_forecast_is_bound_by_what_is_slowest() {
        // 256 at once, 40 ms each: 6,400 a second, of which S3 takes 3,500 writes.
        assert!((foretold(Operation::CopyObject, 3_500_000, 1.0) - 1_000.0).abs() < 1.0);
        assert!((foretold(Operation::HeadObject, 6_400_000, 1.0) - 1_000.0).abs() < 1.0);
        // Listing alone took longer.
        assert!((foretold(Operation::CopyObject, 100, 60.0) - 60.0).abs() < f64::EPSILON);
    }
}

//! How many requests of each operation arrived, and how many were in flight at once.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::operation::Operation;

/// The live counters of a simulator.
#[derive(Debug)]
pub(crate) struct LiveCounters {
    requests: Vec<AtomicU64>,
    in_flight: AtomicU64,
    peak_in_flight: AtomicU64,
}

impl LiveCounters {
    pub(crate) fn new() -> Self {
        Self {
            requests: Operation::ALL.iter().map(|_| AtomicU64::new(0)).collect(),
            in_flight: AtomicU64::new(0),
            peak_in_flight: AtomicU64::new(0),
        }
    }

    /// Counts a request, answers how many-th of its operation it is (from 1) and keeps it
    /// in flight until the guard is dropped.
    pub(crate) fn arrived(&self, operation: Operation) -> (u64, InFlight<'_>) {
        let nth = self.requests[operation as usize].fetch_add(1, Ordering::Relaxed) + 1;
        let now = self.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        self.peak_in_flight.fetch_max(now, Ordering::Relaxed);
        (nth, InFlight(self))
    }

    pub(crate) fn snapshot(&self) -> Counters {
        Counters {
            requests: self.requests.iter().map(|count| count.load(Ordering::Relaxed)).collect(),
            peak_in_flight: self.peak_in_flight.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn reset(&self) {
        for count in &self.requests {
            count.store(0, Ordering::Relaxed);
        }
        self.peak_in_flight.store(self.in_flight.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

pub(crate) struct InFlight<'a>(&'a LiveCounters);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What was counted up to one moment. Refused requests count, too.
#[derive(Clone, PartialEq, Eq)]
pub struct Counters {
    requests: Vec<u64>,
    /// The most requests that were in flight at once.
    pub peak_in_flight: u64,
}

impl Counters {
    /// The requests of the operation called `name` ("CopyObject"). A name that no operation
    /// has counts 0.
    #[must_use]
    pub fn get(&self, name: &str) -> u64 {
        Operation::from_name(name).map_or(0, |op| self.requests[op as usize])
    }

    /// All requests.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.requests.iter().sum()
    }

    /// The operations that were asked for at all, with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        Operation::ALL
            .iter()
            .map(|op| (op.name(), self.requests[*op as usize]))
            .filter(|(_, count)| *count > 0)
    }

    /// As JSON, what `GET /_sim/counters` answers.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let requests: serde_json::Map<_, _> =
            self.iter().map(|(name, count)| (name.to_owned(), count.into())).collect();
        serde_json::json!({
            "requests": requests,
            "total": self.total(),
            "peak_in_flight": self.peak_in_flight,
        })
    }
}

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, count) in self.iter() {
            write!(f, "{name} {count}, ")?;
        }
        write!(f, "total {}, peak in flight {}", self.total(), self.peak_in_flight)
    }
}

impl fmt::Debug for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Counters({self})")
    }
}

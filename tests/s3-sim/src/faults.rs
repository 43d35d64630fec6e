//! Faults on purpose: which requests go wrong, and how.
//!
//! A fault takes effect after the operation's latency, as a real one would.

use std::sync::RwLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::operation::Operation;
use crate::random::Sequence;
use crate::sync::ReadWrite;

/// The operations a fault is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// All of them.
    Any,
    /// One.
    Only(Operation),
}

impl Op {
    /// The operation called `name` ("CopyObject"). Panics if S3 has none of that name here.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self::Only(
            Operation::from_name(name).unwrap_or_else(|| panic!("the simulator has no operation {name:?}")),
        )
    }
}

impl From<&str> for Op {
    fn from(name: &str) -> Self {
        Self::named(name)
    }
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// 500 InternalError.
    InternalError,
    /// 503 SlowDown.
    SlowDown,
    /// An error of the given status and code, such as 409 ConditionalRequestConflict.
    Error {
        /// The HTTP status.
        status: u16,
        /// S3's code.
        code: &'static str,
    },
    /// 200 with an `<Error>` in the body, for the operations that S3 answers so (copies and
    /// CompleteMultipartUpload); 500 InternalError for others. Nothing is carried out.
    ErrorWithin200,
    /// The connection is cut and nothing is carried out.
    CutBefore,
    /// The operation is carried out, then the connection is cut: the answer is lost.
    CutAfter,
    /// The operation is carried out and its answer breaks off in mid-body. An answer without
    /// a body is lost as a whole.
    CutBody,
    /// As `CutBody`, after so many bytes: all of them at the most.
    CutBodyAt(usize),
    /// The answer rests in mid-body and never goes on.
    StallBody,
    /// One bit in the middle of the answer's body is another.
    DamageBody,
    /// The answer's body, and the length it announces, lacks its last byte.
    ShortBody,
    /// The answer's body, and the length it announces, has a byte too many.
    LongBody,
    /// Nothing is carried out and no answer ever comes.
    Hang,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Trigger {
    Rate(f64),
    Kth(u64),
    First(u64),
}

/// A fault and when it happens.
#[derive(Clone, Debug)]
pub struct Fault {
    op: Op,
    kind: FaultKind,
    trigger: Trigger,
    key: Option<String>,
}

impl Fault {
    /// Happens to a request with probability `rate`, drawn from [`Config::seed`].
    ///
    /// [`Config::seed`]: crate::Config::seed
    pub fn rate(op: impl Into<Op>, kind: FaultKind, rate: f64) -> Self {
        Self::when(op.into(), kind, Trigger::Rate(rate))
    }

    /// Happens to the `k`-th matching request from now on, counted from 1.
    pub fn kth(op: impl Into<Op>, k: u64, kind: FaultKind) -> Self {
        Self::when(op.into(), kind, Trigger::Kth(k))
    }

    /// Happens to the first `count` matching requests from now on.
    pub fn first(op: impl Into<Op>, count: u64, kind: FaultKind) -> Self {
        Self::when(op.into(), kind, Trigger::First(count))
    }

    /// Happens only to, and counts only, requests for this key.
    #[must_use]
    pub fn on_key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    fn when(op: Op, kind: FaultKind, trigger: Trigger) -> Self {
        Self { op, kind, trigger, key: None }
    }
}

struct Active {
    fault: Fault,
    seen: AtomicU64,
    sequence: Sequence,
}

/// The faults a simulator has now.
pub(crate) struct Faults {
    seed: u64,
    active: RwLock<Vec<Active>>,
}

impl Faults {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, active: RwLock::default() }
    }

    pub(crate) fn add(&self, fault: Fault) {
        let mut active = self.active.writing();
        let seed = crate::random::mix(self.seed, active.len() as u64);
        active.push(Active { fault, seen: AtomicU64::new(0), sequence: Sequence::new(seed) });
    }

    pub(crate) fn clear(&self) {
        self.active.writing().clear();
    }

    /// What goes wrong with a request, if anything. Every fault counts every request that
    /// matches it; of several that would happen the one added first does.
    pub(crate) fn of(&self, operation: Operation, key: impl FnOnce() -> String) -> Option<FaultKind> {
        let active = self.active.reading();
        if active.is_empty() {
            return None;
        }
        let mut key_of_request = None;
        let mut key = Some(key);
        let mut happens = None;
        for Active { fault, seen, sequence } in active.iter() {
            if !matches!(fault.op, Op::Any) && fault.op != Op::Only(operation) {
                continue;
            }
            if let Some(wanted) = &fault.key {
                if let Some(key) = key.take() {
                    key_of_request = Some(key());
                }
                if key_of_request.as_ref() != Some(wanted) {
                    continue;
                }
            }
            let nth = seen.fetch_add(1, Ordering::Relaxed) + 1;
            let triggered = match fault.trigger {
                Trigger::Rate(rate) => sequence.chance(rate),
                Trigger::Kth(k) => nth == k,
                Trigger::First(count) => nth <= count,
            };
            if triggered && happens.is_none() {
                happens = Some(fault.kind);
            }
        }
        happens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kth_of_a_key_is_counted_for_that_key_only() {
        let faults = Faults::new(1);
        faults.add(Fault::kth("CopyObject", 2, FaultKind::Hang).on_key("a"));
        let of = |key: &str| faults.of(Operation::CopyObject, || key.to_owned());
        assert_eq!(of("a"), None);
        assert_eq!(of("b"), None);
        assert_eq!(of("a"), Some(FaultKind::Hang));
        assert_eq!(of("a"), None);
    }

    #[test]
    fn a_rate_is_about_kept_and_repeats_with_the_seed() {
        let run = || -> Vec<bool> {
            let faults = Faults::new(7);
            faults.add(Fault::rate(Op::Any, FaultKind::SlowDown, 0.1));
            (0..10_000).map(|_| faults.of(Operation::HeadObject, String::new).is_some()).collect()
        };
        let hits = run().iter().filter(|hit| **hit).count();
        assert!((850..1150).contains(&hits), "{hits}");
        assert_eq!(run(), run());
    }
}

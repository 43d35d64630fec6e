//! Closures that tests hang between requests, to change the state in the middle of things.

use std::sync::{Arc, RwLock};

use crate::operation::Operation;
use crate::state::State;
use crate::sync::ReadWrite;

/// When a hook is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// After the latency, before the operation is carried out.
    Before,
    /// After it was carried out, before it is answered.
    After {
        /// The HTTP status of the answer.
        status: u16,
    },
}

/// A request as a hook sees it.
#[derive(Clone, Debug)]
pub struct Event {
    /// Before or after the operation.
    pub phase: Phase,
    /// Its name as S3 spells it.
    pub operation: &'static str,
    /// The bucket in its path, empty if it names none.
    pub bucket: String,
    /// The key in its path, empty if it names none.
    pub key: String,
    /// How many-th request of this operation it is, from 1.
    pub nth: u64,
}

impl Event {
    /// True before the operation is carried out.
    #[must_use]
    pub fn is_before(&self) -> bool {
        self.phase == Phase::Before
    }
}

type Hook = Arc<dyn Fn(&Event, &State) + Send + Sync>;

#[derive(Default)]
pub(crate) struct Hooks(RwLock<Vec<Hook>>);

impl Hooks {
    pub(crate) fn add(&self, hook: impl Fn(&Event, &State) + Send + Sync + 'static) {
        self.0.writing().push(Arc::new(hook));
    }

    pub(crate) fn clear(&self) {
        self.0.writing().clear();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.reading().is_empty()
    }

    pub(crate) fn call(
        &self,
        state: &State,
        phase: Phase,
        operation: Operation,
        target: &(String, String),
        nth: u64,
    ) {
        // Taken out of the lock, so that a hook may add hooks.
        let hooks = self.0.reading().clone();
        let event = Event {
            phase,
            operation: operation.name(),
            bucket: target.0.clone(),
            key: target.1.clone(),
            nth,
        };
        for hook in hooks {
            hook(&event, state);
        }
    }
}

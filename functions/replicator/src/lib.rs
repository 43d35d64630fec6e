//! What the Lambda and local-runner share: reading an event.

pub mod event;

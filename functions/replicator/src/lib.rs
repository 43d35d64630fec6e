//! What the Lambda and local-runner share: reading an event, and the vendor's keys.

pub mod event;
pub mod secret;

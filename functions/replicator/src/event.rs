//! From an event to a [`Request`], or to a step of the state machine.
//!
//! An event comes as it stands (a person, EventBridge Scheduler) or inside an EventBridge
//! event: a rule's "Scheduled Event" has an empty `detail`, a custom event's `detail` is
//! the request. EventBridge Scheduler, where it is given no input, sends a "Scheduled Event"
//! whose `detail` is the text `{}`.

use aws_lambda_events::eventbridge::EventBridgeEvent;
use bucket_copy::{PlanError, Request};
use serde::Deserialize;
use serde_json::Value;

/// What a function is invoked for.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// A run.
    Run(Request),
    /// `{"piece": "RUN/NUMBER"}`: one piece of a run that was handed over. The state machine's.
    Piece(String),
    /// `{"close": "RUN"}`: the end of that run. The state machine's.
    Close(String),
}

/// What is in an event of the state machine.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
enum Step {
    Piece(String),
    Close(String),
}

/// Reads an event.
///
/// # Errors
/// [`PlanError::Event`] for what is neither a request nor a step.
pub fn read(event: Value) -> Result<Event, PlanError> {
    if event.get("piece").or(event.get("close")).is_none() {
        return request(event).map(Event::Run);
    }
    let unread = |why: &str| PlanError::Event(format!("`piece` and `close` are the state machine's, {why}"));
    let is_run =
        |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let is_number = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit());
    match serde_json::from_value(event).map_err(|_| unread("and stand alone"))? {
        Step::Close(run) if is_run(&run) => Ok(Event::Close(run)),
        Step::Piece(piece) if piece.split_once('/').is_some_and(|(run, n)| is_run(run) && is_number(n)) => {
            Ok(Event::Piece(piece))
        }
        _ => Err(unread("and name a run, or a run and a number")),
    }
}

/// Reads an event's JSON text; an empty one asks for everything.
///
/// # Errors
/// [`PlanError::Event`] for what is not JSON, or no request.
pub fn parse(text: &str) -> Result<Request, PlanError> {
    if text.trim().is_empty() {
        return Ok(Request::default());
    }
    let value = serde_json::from_str(text).map_err(|error| PlanError::Event(error.to_string()))?;
    request(value)
}

/// The request in an event.
///
/// # Errors
/// [`PlanError::Event`] for what is no request.
pub fn request(event: Value) -> Result<Request, PlanError> {
    let wrapped = event.get("detail-type").is_some() && event.get("detail").is_some();
    let unread = |error: serde_json::Error| PlanError::Event(error.to_string());
    if !wrapped {
        return Request::from_value(event);
    }
    match serde_json::from_value::<EventBridgeEvent<Value>>(event).map_err(unread)?.detail {
        Value::String(text) => Request::from_value(serde_json::from_str(&text).map_err(unread)?),
        detail => Request::from_value(detail),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_request_is_read_as_it_stands_or_out_of_an_eventbridge_event() {
        let wanted = Request { sources: Some(vec!["database".into()]), dry_run: true, ..Request::default() };
        let plain = r#"{"sources": ["database"], "dry_run": true}"#;
        let custom = format!(
            r#"{{"version": "0", "id": "1", "detail-type": "catch-up", "source": "customer",
                "account": "123456789012", "time": "2026-11-21T00:00:00Z", "region": "eu-west-1",
                "resources": [], "detail": {plain}}}"#
        );
        assert_eq!(parse(plain), Ok(wanted.clone()));
        assert_eq!(parse(&custom), Ok(wanted));
        let scheduled = r#"{"version": "0", "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa",
            "detail-type": "Scheduled Event", "source": "aws.events", "account": "123456789012",
            "time": "2026-10-08T16:53:06Z", "region": "us-east-1",
            "resources": ["arn:aws:events:us-east-1:123456789012:rule/replicate"], "detail": {}}"#;
        let by_scheduler = scheduled.replace(r#""detail": {}"#, r#""detail": "{}""#);
        for everything in [scheduled, &by_scheduler, "{}", "", "null"] {
            assert_eq!(parse(everything), Ok(Request::default()), "{everything}");
        }
    }

    #[test]
    fn a_step_of_the_state_machine_stands_alone_and_names_a_run() {
        let run = "20261121T030000Z-00c0ffee";
        let piece = format!("{run}/12");
        assert_eq!(read(json!({ "piece": piece })), Ok(Event::Piece(piece.clone())));
        assert_eq!(read(json!({ "close": run })), Ok(Event::Close(run.to_owned())));
        assert_eq!(read(json!({ "dry_run": false })), Ok(Event::Run(Request::default())));
        for event in [
            json!({ "piece": piece, "dry_run": true }),
            json!({ "piece": piece, "close": run }),
            json!({ "piece": run }),
            json!({ "piece": format!("../{run}/1") }),
            json!({ "close": "../lease" }),
            json!({ "close": "" }),
            json!({ "close": 7 }),
        ] {
            let error = read(event.clone()).expect_err("no step").to_string();
            assert!(error.contains("`piece` and `close` are the state machine's"), "{event}: {error}");
        }
        assert!(request(json!({ "piece": piece })).is_err(), "a command has no pieces");
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for event in
            ["{", "[]", "7", r#"{"prefixes": "a"}"#, r#"{"detail-type": "x", "detail": {"dryrun": true}}"#]
        {
            assert!(matches!(parse(event), Err(PlanError::Event(_))), "{event}");
        }
    }
}

//! Tries, before the first run, all that a run will do: which rights are there, which way
//! the bytes will go, and what to add where something is missing.
//!
//! The source is only read. At the destination one small object is written,
//! `.replicator/doctor`, and overwritten by the next examination; an upload is opened there
//! and aborted. Nothing is deleted.

mod destination;
mod source;

use serde::Serialize;

use self::destination::examine_destination;
use self::source::Patient;
use crate::rights::Remedy;
use crate::s3::{Caller, Side};
use crate::{Clients, Halt, Plan, Route, S3Error};

/// The object that an examination writes.
pub const DOCTOR_KEY: &str = ".replicator/doctor";

/// What an examination found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Diagnosis {
    /// Whether a run can work.
    pub prognosis: Prognosis,
    /// The destination's part and that of each source.
    pub sections: Vec<Section>,
}

/// Whether a run can work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Prognosis {
    /// All of it.
    Good,
    /// Some objects cannot be copied, or not be verified, or an upload not be undone.
    Partial,
    /// A run would fail.
    Hopeless,
}

/// What was tried on one bucket.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Section {
    /// `destination`, `database` or `filesystem`.
    pub name: String,
    /// Its bucket.
    pub bucket: String,
    /// Of a source: which way its bytes will go, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<(Route, String)>,
    /// One trial after the other.
    pub checks: Vec<Check>,
    #[serde(skip)]
    prognosis: Prognosis,
}

/// One trial.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Check {
    /// What was tried, such as `read`.
    pub what: &'static str,
    /// How it went.
    pub finding: Finding,
    /// More about it.
    pub detail: String,
    /// What to do, where something is.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<Remedy>,
}

/// How a trial went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// It works.
    Ok,
    /// It does not.
    Missing,
    /// There was nothing to try it on, or the right to know is missing. No run needs it.
    CannotTell,
}

/// Tries everything that a run as `plan` says would do, each once.
pub async fn examine(plan: &Plan, clients: &Clients) -> Diagnosis {
    let caller = Caller::new(plan, Halt::never()).first();
    let destination = Side::destination(clients, plan);
    let mut sections = vec![examine_destination(&caller, plan, &destination).await];
    for source in &plan.sources {
        let patient =
            Patient { plan, source, caller: &caller, clients, destination: &destination, checks: Vec::new() };
        sections.push(patient.examine().await);
    }
    let sources = &sections[1..];
    let worst = sources.iter().map(|section| section.prognosis).max().unwrap_or(Prognosis::Good);
    let all_hopeless = sources.iter().all(|section| section.prognosis == Prognosis::Hopeless);
    let prognosis = match sections[0].prognosis {
        Prognosis::Hopeless => Prognosis::Hopeless,
        _ if all_hopeless => Prognosis::Hopeless,
        destination => destination.max(worst.min(Prognosis::Partial)),
    };
    Diagnosis { prognosis, sections }
}

fn ok(what: &'static str, detail: impl Into<String>) -> Check {
    Check { what, finding: Finding::Ok, detail: detail.into(), remedy: None }
}

fn cannot_tell(what: &'static str, detail: impl Into<String>) -> Check {
    Check { what, finding: Finding::CannotTell, detail: detail.into(), remedy: None }
}

fn missing(what: &'static str, error: &S3Error, remedy: Remedy) -> Check {
    // Where a right is all that is missing, its name says more than S3's sentence.
    let detail = match &remedy.statement {
        Some(statement) => statement.actions().join(", "),
        None => error.to_string(),
    };
    Check { what, finding: Finding::Missing, detail, remedy: Some(remedy) }
}

/// A trial's answer as a check.
fn check<T>(what: &'static str, side: &Side, answer: &Result<T, S3Error>, detail: &str) -> Check {
    match answer {
        Ok(_) => ok(what, detail),
        Err(error) => missing(what, error, side.remedy(error)),
    }
}

impl Check {
    /// Where S3 says "Access Denied" alone, the trial before it tells which right it is.
    fn rename_right(&mut self, side: &Side, not: &str, but: &str) {
        let bare = self.remedy.as_ref().is_some_and(|remedy| remedy.text.contains(&format!("{not} ")));
        if bare {
            self.remedy = Some(side.place().allow(but));
            self.detail = but.into();
        }
    }
}

//! What a download did: counters, the first problems, and both as text.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use bucket_copy::fetch::{Object, Proof};
use bucket_copy::{Amount, FailedObject, Failure, Status};
use jiff::Timestamp;
use serde::Serialize;

use super::object::Job;
use super::run::{Fate, Wanted};
use crate::escape::escape;
use crate::quantity::{count, duration, number};
use crate::report::rows::{Row, Widths};
use crate::report::{BAD, BOLD, CARE, DIM, GOOD, PLAIN, failures};

/// Problems that are named; all are counted.
const NAMED: usize = 1_000;

/// What a download did.
#[derive(Debug, Serialize)]
pub(super) struct Tally {
    status: Option<Status>,
    bucket: String,
    prefix: String,
    /// The time that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    as_of: Option<Timestamp>,
    directory: String,
    pub(super) seconds: f64,
    listed: Amount,
    /// Here already, the same.
    unchanged: Amount,
    downloaded: Amount,
    verified_by: BTreeMap<Proof, u64>,
    /// Folder markers, made as folders.
    folders: u64,
    /// Files that differ, and were not to be replaced.
    kept: Amount,
    archived: Amount,
    failed: Amount,
    interrupted: Amount,
    /// Keys of which there are versions from after that time alone.
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) later: u64,
    #[serde(skip)]
    pub(super) stopped: bool,
    /// Why the rest was given up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<Failure>,
    /// The first of those kept, archived and failed.
    problems: Vec<FailedObject>,
}

impl Tally {
    pub(super) fn new(job: &Job, wanted: &Wanted) -> Self {
        let none = Amount::default();
        Self {
            status: None,
            bucket: job.name.clone(),
            prefix: wanted.prefix.clone(),
            as_of: wanted.as_of,
            directory: String::new(),
            seconds: 0.0,
            listed: none,
            unchanged: none,
            downloaded: none,
            verified_by: BTreeMap::new(),
            folders: 0,
            kept: none,
            archived: none,
            failed: none,
            interrupted: none,
            later: 0,
            stopped: false,
            error: None,
            problems: Vec::new(),
        }
    }

    pub(super) fn listed(&mut self, object: &Object) {
        add(&mut self.listed, object);
    }

    pub(super) fn record(&mut self, object: &Object, fate: Fate) {
        let (amount, failure) = match fate {
            Fate::Unchanged => (&mut self.unchanged, None),
            Fate::Folder => return self.folders += 1,
            Fate::Interrupted => (&mut self.interrupted, None),
            Fate::Downloaded(proof) => {
                *self.verified_by.entry(proof).or_default() += 1;
                (&mut self.downloaded, None)
            }
            Fate::Kept => (
                &mut self.kept,
                Some(super::object::failure(
                    "Differs",
                    "the file that is here differs, and was kept".into(),
                    "say --overwrite (-o true) to replace it",
                )),
            ),
            Fate::Archived => (
                &mut self.archived,
                Some(super::object::failure(
                    "ObjectArchived",
                    "it is in an archive tier".into(),
                    "restore it, which takes hours, then run again: aws s3api restore-object --bucket BUCKET \
                     --key KEY --restore-request Days=7",
                )),
            ),
            Fate::Failed(failure) => (&mut self.failed, Some(failure)),
        };
        add(amount, object);
        if let Some(failure) = failure
            && self.problems.len() < NAMED
        {
            self.problems.push(FailedObject { key: object.key.clone(), failure });
        }
    }

    /// Once all is done.
    pub(super) fn close(&mut self, directory: String) -> Status {
        let missing = self.kept.objects + self.archived.objects + self.failed.objects;
        let status = match () {
            () if self.error.is_some() => Status::Failed,
            () if self.stopped => Status::Stopped,
            // A prefix that is spelt wrongly, as a rule: nobody restores nothing.
            () if missing > 0 || self.listed.objects == 0 => Status::ObjectsMissing,
            () => Status::Complete,
        };
        (self.status, self.directory) = (Some(status), directory);
        status
    }

    /// As a person reads it.
    pub(super) fn render(&self) -> String {
        let mut text = String::new();
        let _ = writeln!(
            text,
            "{BOLD}s3://{}/{}{BOLD:#}{} {DIM}→{DIM:#} {}",
            escape(&self.bucket),
            escape(&self.prefix),
            self.as_of.map_or(String::new(), |time| format!(" as of {time}")),
            escape(&self.directory)
        );
        let rows: Vec<Row> = self.rows().into_iter().flatten().collect();
        let widths = Widths::of(rows.iter());
        rows.iter().for_each(|row| row.write(&mut text, widths));
        let total = self.kept.objects + self.archived.objects + self.failed.objects;
        failures::list(&mut text, "not downloaded", &self.problems, total);
        text.push('\n');
        self.verdict(&mut text);
        text
    }

    fn rows(&self) -> [Option<Row>; 9] {
        let some = |style, label, amount: Amount, note: &str| {
            (amount.objects > 0).then(|| Row { style, label, amount: Some(amount), note: note.to_owned() })
        };
        let proofs: Vec<_> = self.verified_by.iter().map(|(by, count)| (by.to_string(), *count)).collect();
        let verified = match proofs.as_slice() {
            [] => String::new(),
            [(by, _)] => format!("verified by {by}"),
            several => {
                let several: Vec<_> =
                    several.iter().map(|(by, count)| format!("{} by {by}", number(*count))).collect();
                format!("verified: {}", several.join(", "))
            }
        };
        let row = |label, amount, note| Some(Row { style: PLAIN, label, amount: Some(amount), note });
        [
            row("listed", self.listed, String::new()),
            some(PLAIN, "already here", self.unchanged, ""),
            row("downloaded", self.downloaded, verified),
            some(PLAIN, "folders", Amount { objects: self.folders, bytes: 0 }, "made of folder markers"),
            some(
                CARE,
                "not there yet",
                Amount { objects: self.later, bytes: 0 },
                "or what they were is kept no more",
            ),
            some(CARE, "kept", self.kept, "files that differ, see below"),
            some(BAD, "failed", self.failed, "see below"),
            some(CARE, "archived", self.archived, "restore them first, see below"),
            some(CARE, "interrupted", self.interrupted, "being downloaded when the run was stopped"),
        ]
    }

    fn verdict(&self, text: &mut String) {
        let (style, word, rest) = match self.status {
            Some(Status::Complete) => {
                (GOOD, "Complete", "the directory has everything that was asked for.".to_owned())
            }
            Some(Status::Stopped) => {
                (CARE, "Stopped", "run again to go on; what is here is not fetched twice.".to_owned())
            }
            Some(Status::Failed) | None => (BAD, "Failed", self.reason()),
            Some(Status::ObjectsMissing) => (CARE, "Not complete", self.missing()),
        };
        let _ = writeln!(text, "{style}{word}:{style:#} {rest}");
        let took = Duration::try_from_secs_f64(self.seconds).unwrap_or_default();
        let _ = writeln!(text, "It took {}.", duration(took));
    }

    fn reason(&self) -> String {
        let Some(Failure { message, remedy, .. }) = &self.error else { return String::new() };
        format!("{}; {}.", escape(message), escape(&remedy.text))
    }

    fn missing(&self) -> String {
        if self.listed.objects == 0 {
            let below = format!("s3://{}/{}", escape(&self.bucket), escape(&self.prefix));
            return match self.as_of {
                Some(time) => {
                    format!("no object below {below} was there at {time}; check the prefix and the time.")
                }
                None => format!("there is no object below {below}; check the bucket and the prefix."),
            };
        }
        let parts = [
            (self.failed.objects, "failed"),
            (self.archived.objects, "archived"),
            (self.kept.objects, "not replaced"),
        ];
        let parts: Vec<_> = parts
            .into_iter()
            .filter(|(objects, _)| *objects > 0)
            .map(|(objects, what)| format!("{} {what}", count(objects, "object")))
            .collect();
        format!("{}.", parts.join(", "))
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn add(amount: &mut Amount, object: &Object) {
    amount.objects += 1;
    amount.bytes += object.size;
}

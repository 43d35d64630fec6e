//! The list itself, as text and as JSON.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::fmt::Write;

use bucket_copy::fetch::Object;
use bucket_copy::{Amount, RESERVED_PREFIX, SourceName};
use jiff::Timestamp;
use serde::Serialize;

use super::compare::{Pair, State};
use crate::args::{At, Ls};
use crate::dumps::Made;
use crate::escape::escape;
use crate::quantity::{bytes, count, number};
use crate::report::{BOLD, CARE, DIM, GOOD, PLAIN};

/// Dumps, and folders, that are listed unless all are asked for.
const FIRST: usize = 20;

/// All that is listed.
#[derive(Serialize)]
pub(super) struct Listed {
    side: &'static str,
    backups: Vec<Kind>,
}

/// One kind of backup.
#[derive(Serialize)]
pub(super) struct Kind {
    kind: SourceName,
    bucket: String,
    prefix: String,
    #[serde(flatten)]
    total: Amount,
    newest: Option<Timestamp>,
    states: BTreeMap<State, u64>,
    /// On the other side alone.
    only_at_other_side: Amount,
    compared: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_compared_because: Option<String>,
    /// The newest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dumps: Vec<Dump>,
    /// In the order of their names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    folders: Vec<Folder>,
    /// Folders that are not listed.
    more_folders: u64,
    /// The last of those.
    #[serde(skip)]
    passed: String,
    #[serde(skip)]
    heap: BinaryHeap<Reverse<Dump>>,
    #[serde(skip)]
    first: usize,
    #[serde(skip)]
    at: At,
}

/// A dump. Its order is that of its age.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Dump {
    time: Timestamp,
    name: String,
    time_from: TimeFrom,
    written: Timestamp,
    bytes: u64,
    state: State,
}

/// What tells when a dump was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
enum TimeFrom {
    Name,
    /// When it was written to the bucket that is listed.
    Written,
}

/// The files of one top folder; of none, by an empty name.
#[derive(Serialize)]
struct Folder {
    name: String,
    #[serde(flatten)]
    total: Amount,
    newest: Timestamp,
    states: BTreeMap<State, u64>,
}

impl Listed {
    pub(super) fn new(at: At) -> Self {
        let side = if at == At::Vendor { "vendor" } else { "destination" };
        Self { side, backups: Vec::new() }
    }

    pub(super) fn push(&mut self, backups: Kind) {
        self.backups.push(backups);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.backups.is_empty()
    }

    pub(super) fn render(&self) -> String {
        let blocks: Vec<_> = self.backups.iter().map(|backups| backups.render()).collect();
        blocks.join("\n")
    }
}

impl Kind {
    pub(super) fn new(kind: SourceName, bucket: &str, prefix: &str, args: &Ls) -> Self {
        Self {
            kind,
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
            total: Amount::default(),
            newest: None,
            states: BTreeMap::new(),
            only_at_other_side: Amount::default(),
            compared: false,
            not_compared_because: None,
            dumps: Vec::new(),
            folders: Vec::new(),
            more_folders: 0,
            passed: String::new(),
            heap: BinaryHeap::new(),
            first: if args.all { usize::MAX } else { FIRST },
            at: args.at,
        }
    }

    pub(super) fn add(&mut self, pair: Pair) {
        let (object, state) = match pair {
            Pair::OnlyThere(object) => {
                add(&mut self.only_at_other_side, &object);
                if self.at == At::Destination && self.kind == SourceName::Filesystem {
                    self.add_file(&object, State::NotCopied);
                }
                return;
            }
            // The replicator's own.
            Pair::Here(object, _) if self.prefix.is_empty() && object.key.starts_with(RESERVED_PREFIX) => {
                return;
            }
            Pair::Here(object, state) => (object, state),
        };
        add(&mut self.total, &object);
        *self.states.entry(state).or_default() += 1;
        match self.kind {
            SourceName::Database => self.add_dump(object, state),
            SourceName::Filesystem => self.add_file(&object, state),
        }
    }

    fn add_dump(&mut self, object: Object, state: State) {
        let Made { at: time, by_key } = Made::of(&object.key, &object);
        let time_from = if by_key { TimeFrom::Name } else { TimeFrom::Written };
        self.newest = self.newest.max(Some(time));
        let (written, bytes, name) = (object.modified, object.size, object.key);
        self.heap.push(Reverse(Dump { time, name, time_from, written, bytes, state }));
        if self.heap.len() > self.first {
            self.heap.pop();
        }
    }

    /// Keys come in order: a folder's come together, those of no folder in between.
    fn add_file(&mut self, object: &Object, state: State) {
        let is_here = state != State::NotCopied;
        self.newest = self.newest.max(Some(object.modified).filter(|_| is_here));
        let name = object.key.split_once('/').map_or("", |(name, _)| name);
        let place = match name {
            "" => self.folders.iter().position(|folder| folder.name.is_empty()),
            _ => self.folders.last().is_some_and(|last| last.name == name).then(|| self.folders.len() - 1),
        };
        let folder = match place {
            Some(place) => &mut self.folders[place],
            None if self.folders.len() >= self.first && !name.is_empty() => {
                if self.passed != name {
                    self.more_folders += 1;
                    name.clone_into(&mut self.passed);
                }
                return;
            }
            None => {
                let (total, newest) = (Amount::default(), object.modified);
                self.folders.push(Folder { name: name.to_owned(), total, newest, states: BTreeMap::new() });
                let last = self.folders.len() - 1;
                &mut self.folders[last]
            }
        };
        if is_here {
            add(&mut folder.total, object);
        }
        folder.newest = folder.newest.max(object.modified);
        *folder.states.entry(state).or_default() += 1;
    }

    pub(super) fn close(&mut self, compared: bool, because: Option<String>) {
        (self.compared, self.not_compared_because) = (compared, because);
        self.dumps =
            std::mem::take(&mut self.heap).into_sorted_vec().into_iter().map(|dump| dump.0).collect();
    }

    fn render(&self) -> String {
        let mut text = String::new();
        let kind = match self.kind {
            SourceName::Database => "database dumps",
            SourceName::Filesystem => "files",
        };
        let _ = writeln!(
            text,
            "{BOLD}{kind}{BOLD:#}  s3://{}/{}  {DIM}{}, {}{DIM:#}",
            escape(&self.bucket),
            escape(&self.prefix),
            count(self.total.objects, "object"),
            bytes(self.total.bytes)
        );
        for dump in &self.dumps {
            let (style, state) = words(dump.state, self.at);
            let _ = writeln!(
                text,
                "  {}  {:>9}  {style}{state:<18}{style:#}  {}",
                minute(dump.time),
                bytes(dump.bytes),
                escape(&dump.name)
            );
        }
        let more = self.total.objects.saturating_sub(self.dumps.len() as u64);
        if self.kind == SourceName::Database && more > 0 {
            let _ = writeln!(text, "  and {} older: --all lists them", number(more));
        }
        for folder in &self.folders {
            let states: Vec<_> =
                folder.states.iter().map(|(state, objects)| (words(*state, self.at), *objects)).collect();
            let states = match states.as_slice() {
                [((style, state), objects)] if *objects == folder.total.objects => {
                    format!("{style}{state}{style:#}")
                }
                several => {
                    let several = several.iter().map(|((style, state), objects)| {
                        format!("{style}{} {state}{style:#}", number(*objects))
                    });
                    several.collect::<Vec<_>>().join(", ")
                }
            };
            let name = if folder.name.is_empty() { "(in no folder)".into() } else { escape(&folder.name) };
            let slash = if folder.name.is_empty() { "" } else { "/" };
            let _ = writeln!(
                text,
                "  {}  {:>9}  {:>11}  {name}{slash}  {states}",
                minute(folder.newest),
                bytes(folder.total.bytes),
                number(folder.total.objects),
            );
        }
        if self.more_folders > 0 {
            let _ = writeln!(text, "  and {} more: --all lists them", count(self.more_folders, "folder"));
        }
        self.footer(&mut text);
        text
    }

    fn footer(&self, text: &mut String) {
        let other = if self.at == At::Vendor { "your bucket" } else { "the vendor" };
        if let Some(because) = &self.not_compared_because {
            let _ = writeln!(text, "  {CARE}not compared with {other}:{CARE:#} {}", escape(because));
        }
        let Amount { objects, bytes: size } = self.only_at_other_side;
        if objects > 0 && self.at == At::Destination {
            let objects = count(objects, "object");
            let _ = writeln!(
                text,
                "  {CARE}{objects} at the vendor not copied yet{CARE:#} ({}): local-runner replicate",
                bytes(size)
            );
        } else if objects > 0 {
            let objects = count(objects, "object");
            let _ = writeln!(
                text,
                "  {DIM}{objects} in your bucket that the vendor deleted ({}){DIM:#}",
                bytes(size)
            );
        }
    }
}

fn words(state: State, at: At) -> (anstyle::Style, &'static str) {
    match (state, at) {
        (State::Complete, _) => (GOOD, "complete"),
        (State::NotVerified, _) => (CARE, "not verified"),
        (State::ChangedSince, _) => (CARE, "changed since"),
        (State::OnlyHere, At::Vendor) | (State::NotCopied, _) => (CARE, "not copied"),
        (State::OnlyHere, At::Destination) => (PLAIN, "not at the vendor"),
        (State::NotCompared, _) => (PLAIN, "not compared"),
        (State::Archived, _) => (CARE, "archived"),
    }
}

/// `2026-11-20 03:00`, UTC.
fn minute(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M").to_string()
}

fn add(amount: &mut Amount, object: &Object) {
    amount.objects += 1;
    amount.bytes += object.size;
}

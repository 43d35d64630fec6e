//! The statements of a dump, line by line: what names a database of its own is kept from
//! reaching another one, and the mark at the end tells that nothing is missing. Pure.
//!
//! This is no defence against a dump made to do harm, but against the common one: `mariadb-dump
//! --databases app` writes ``USE `app`; ``, and a restore that is to go into a scratch database
//! would replace the tables of `app`.

use super::format::Content;
use crate::args::Engine;

/// Lines longer than this are data.
const STATEMENT: usize = 1024;
/// Where the end mark must be.
const TAIL: usize = 2048;

/// Who made a dump, by its first lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) engine: Option<Engine>,
    /// What its last comment begins with.
    mark: Option<&'static str>,
}

impl Origin {
    pub(crate) fn of(content: Content, head: &[u8]) -> Result<Self, Refused> {
        const POSTGRESQL: Origin =
            Origin { engine: Some(Engine::Postgresql), mark: Some("-- PostgreSQL database dump complete") };
        if content == Content::PostgresCustom {
            // `pg_restore` writes the same statements as `pg_dump`.
            return Ok(POSTGRESQL);
        }
        let text = String::from_utf8_lossy(head);
        let begins = |what: &str| {
            text.lines().take(20).any(|line| line.trim_start_matches('\u{feff}').starts_with(what))
        };
        if begins("-- Dump created by MySQL pump utility") {
            return Err(Refused::Qualified);
        }
        Ok(if begins("-- MariaDB dump ") || begins("-- MySQL dump ") {
            Self { engine: Some(Engine::Mariadb), mark: Some("-- Dump completed") }
        } else if begins("-- PostgreSQL database dump") {
            POSTGRESQL
        } else if begins("-- PostgreSQL database cluster dump") {
            Self {
                engine: Some(Engine::Postgresql),
                mark: Some("-- PostgreSQL database cluster dump complete"),
            }
        } else if begins("-- phpMyAdmin SQL Dump") || (begins("-- Adminer ") && text.contains("MySQL")) {
            Self { engine: Some(Engine::Mariadb), mark: None }
        } else {
            Self { engine: None, mark: None }
        })
    }
}

/// Why a dump is not let through.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error(
        "the dump holds several databases (`{0}` and `{1}`), which would be restored into one: restore each \
         from a dump of its own, or by hand on a server of its own"
    )]
    Several(String, String),
    #[error(
        "the dump connects to a database of its own (`{0}`), as pg_dump --create and pg_dumpall write it: make \
         it without, or restore it by hand on a server of its own"
    )]
    Connects(String),
    #[error(
        "mysqlpump made the dump, with its database's name in every statement: it would go there, whatever \
         --database says; restore it by hand on a server of its own"
    )]
    Qualified,
}

/// Lets a dump's lines through on their way to one database.
pub(crate) struct Statements {
    engine: Engine,
    /// The database they go into.
    target: String,
    origin: Origin,
    /// The line so far, while it may be a statement of interest.
    held: Vec<u8>,
    holding: bool,
    /// In the body of a routine, `;` ends nothing.
    in_routine: bool,
    large_objects: LargeObjects,
    /// The database the dump was made of, if it says so.
    named: Option<String>,
    tail: Vec<u8>,
}

impl Statements {
    pub(crate) fn new(engine: Engine, target: &str, origin: Origin) -> Self {
        Self {
            engine,
            target: target.to_owned(),
            origin,
            held: Vec::new(),
            holding: true,
            in_routine: false,
            large_objects: LargeObjects::No,
            named: None,
            tail: Vec::new(),
        }
    }

    /// Takes the next bytes and adds to `through` what may go on.
    pub(crate) fn take(&mut self, mut bytes: &[u8], through: &mut Vec<u8>) -> Result<(), Refused> {
        let from = through.len();
        while !bytes.is_empty() {
            let line_ends = bytes.iter().position(|byte| *byte == b'\n').map(|place| place + 1);
            let (now, rest) = bytes.split_at(line_ends.unwrap_or(bytes.len()));
            bytes = rest;
            if !self.holding {
                through.extend_from_slice(now);
                self.holding = line_ends.is_some();
                continue;
            }
            self.held.extend_from_slice(now);
            if line_ends.is_some() {
                self.judge(through)?;
            } else if self.held.len() > STATEMENT || !may_be_of_interest(self.held[0]) {
                through.append(&mut self.held);
                self.holding = false;
            }
        }
        self.remember(&through[from..]);
        Ok(())
    }

    /// What was held back at the end; then whether the dump is whole, as far as it tells.
    pub(crate) fn finish(&mut self, through: &mut Vec<u8>) -> Result<Ending, Refused> {
        let from = through.len();
        if !self.held.is_empty() {
            self.judge(through)?;
        }
        self.remember(&through[from..]);
        let Some(mark) = self.origin.mark else { return Ok(Ending::Untold) };
        let tail = String::from_utf8_lossy(&self.tail);
        let last = tail
            .lines()
            .rev()
            .take_while(|line| {
                line.trim().is_empty() || line.starts_with("--") || line.starts_with("\\unrestrict")
            })
            .any(|line| line.starts_with(mark));
        Ok(if last { Ending::Marked } else { Ending::Missing(mark) })
    }

    /// The database that the dump was made of, if it says so.
    pub(crate) fn named(&self) -> Option<&str> {
        self.named.as_deref()
    }

    /// A whole line is held: lets it through, or not.
    fn judge(&mut self, through: &mut Vec<u8>) -> Result<(), Refused> {
        let line = std::mem::take(&mut self.held);
        let text = String::from_utf8_lossy(&line);
        let text = text.trim();
        match self.engine {
            Engine::Postgresql => {
                if let Some(rest) = text.strip_prefix("\\connect ").or_else(|| text.strip_prefix("\\c ")) {
                    return Err(Refused::Connects(rest.trim().to_owned()));
                }
                if self.large_objects.take(text) {
                    return Ok(());
                }
            }
            Engine::Mariadb => {
                if let Some(delimiter) = after(text, &["DELIMITER"]) {
                    self.in_routine = delimiter != ";";
                } else if !self.in_routine && text.ends_with(';') {
                    if let Some(name) = after(text, &["USE"]) {
                        return self.name(name);
                    }
                    let bare = text.strip_prefix("/*!40000 ").unwrap_or(text);
                    if after(bare, &["CREATE DATABASE", "CREATE SCHEMA", "DROP DATABASE", "DROP SCHEMA"])
                        .is_some()
                    {
                        return Ok(());
                    }
                    // Around routines of another collation than the database's.
                    if let Some(rest) = after(bare, &["ALTER DATABASE", "ALTER SCHEMA"])
                        && let Some((_, how)) = rest.strip_prefix('`').and_then(|rest| rest.split_once('`'))
                    {
                        let target = self.target.replace('`', "``");
                        through.extend_from_slice(format!("ALTER DATABASE `{target}`{how}\n").as_bytes());
                        return Ok(());
                    }
                }
            }
        }
        through.extend_from_slice(&line);
        Ok(())
    }

    fn name(&mut self, name: &str) -> Result<(), Refused> {
        let name = name.trim_end_matches(';').trim();
        let name = name.strip_prefix('`').and_then(|name| name.strip_suffix('`')).unwrap_or(name);
        let name = name.replace("``", "`");
        match &self.named {
            Some(first) if *first != name => Err(Refused::Several(first.clone(), name)),
            _ => {
                self.named = Some(name);
                Ok(())
            }
        }
    }

    fn remember(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(&bytes[bytes.len().saturating_sub(TAIL)..]);
        let old = self.tail.len().saturating_sub(TAIL);
        self.tail.drain(..old);
    }
}

/// Where a dump has PostgreSQL's large objects: in a transaction of their own, whose end would be
/// that of the one around all of the dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LargeObjects {
    No,
    Announced,
    Begun,
}

impl LargeObjects {
    /// Whether the line is to be left out.
    fn take(&mut self, line: &str) -> bool {
        let announces = line.starts_with("-- Data for Name: ") && line.contains("; Type: BLOBS; ");
        let (next, left_out) = match (*self, line) {
            (Self::Announced, "BEGIN;") => (Self::Begun, true),
            (Self::Begun, "COMMIT;") => (Self::No, true),
            (Self::Announced, "--" | "") => (Self::Announced, false),
            (Self::Begun, _) => (Self::Begun, false),
            _ if announces => (Self::Announced, false),
            _ => (Self::No, false),
        };
        *self = next;
        left_out
    }
}

/// Whether the dump says of itself that it is whole.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It ends as its maker ends one.
    Marked,
    /// It does not, though it began as one of a maker that would.
    Missing(&'static str),
    /// Its maker leaves no mark.
    Untold,
}

fn may_be_of_interest(first: u8) -> bool {
    matches!(
        first,
        b'-' | b'B' | b'U' | b'u' | b'C' | b'c' | b'D' | b'd' | b'A' | b'a' | b'/' | b'\\' | b' ' | b'\t'
    )
}

/// What follows one of `words`, in whatever case.
fn after<'a>(text: &'a str, words: &[&str]) -> Option<&'a str> {
    words.iter().find_map(|words| {
        let (begin, rest) = text.split_at_checked(words.len())?;
        (begin.eq_ignore_ascii_case(words) && rest.starts_with([' ', '\t'])).then(|| rest.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARIADB: &str = "/*M!999999\\- enable the sandbox mode */\n-- MariaDB dump 10.19  Distrib 10.11\n";

    /// What comes through, whatever the pieces it came in.
    fn through(engine: Engine, dump: &str) -> Result<(String, Ending, Option<String>), Refused> {
        let mut answers = Vec::new();
        for piece in [1, 7, dump.len().max(1)] {
            let origin = Origin::of(Content::Sql, dump.as_bytes())?;
            let mut statements = Statements::new(engine, "scratch", origin);
            let mut out = Vec::new();
            let passed = dump.as_bytes().chunks(piece).try_for_each(|bytes| statements.take(bytes, &mut out));
            let ending = passed.and_then(|()| statements.finish(&mut out));
            let named = statements.named().map(str::to_owned);
            answers.push(ending.map(|ending| (String::from_utf8_lossy(&out).into_owned(), ending, named)));
        }
        assert!(answers.iter().all(|answer| *answer == answers[0]));
        answers.remove(0)
    }

    #[test]
    fn what_names_a_database_of_its_own_goes_into_the_one_that_was_asked_for() {
        let dump = format!(
            "{MARIADB}\n/*!40000 DROP DATABASE IF EXISTS `app`*/;\nCREATE DATABASE /*!32312 IF NOT EXISTS*/ `app`;\n\
             USE `app`;\nCREATE TABLE use_it (a INT);\nALTER DATABASE `app` CHARACTER SET utf8mb4;\n\
             DELIMITER ;;\nCREATE PROCEDURE p()\n/*\nuse it;\n*/ SELECT 1 ;;\nDELIMITER ;\nuse app;\n-- Dump completed\n"
        );
        let (text, ending, named) = through(Engine::Mariadb, &dump).expect("let through");
        assert_eq!(
            text,
            format!(
                "{MARIADB}\nCREATE TABLE use_it (a INT);\nALTER DATABASE `scratch` CHARACTER SET utf8mb4;\n\
                 DELIMITER ;;\nCREATE PROCEDURE p()\n/*\nuse it;\n*/ SELECT 1 ;;\nDELIMITER ;\n-- Dump completed\n"
            )
        );
        assert_eq!((ending, named.as_deref()), (Ending::Marked, Some("app")));
    }

    #[test]
    fn two_databases_do_not_go_into_one() {
        let error = through(Engine::Mariadb, "USE `a`;\nSELECT 1;\nUSE `b`;\n").expect_err("refused");
        assert_eq!(error, Refused::Several("a".into(), "b".into()));
        let error = through(Engine::Postgresql, "SELECT 1;\n\\connect app\n").expect_err("refused");
        assert_eq!(error, Refused::Connects("app".into()));
        let pump = "-- Dump created by MySQL pump utility, version: 8.0.36\nDROP TABLE `app`.`t`;\n";
        assert_eq!(through(Engine::Mariadb, pump), Err(Refused::Qualified));
        assert!(through(Engine::Postgresql, "COPY t FROM stdin;\n\\\\connect app\nuse app;\n\\.\n").is_ok());
    }

    #[test]
    fn large_objects_do_not_end_the_transaction() {
        let blobs = "-- Data for Name: BLOBS; Type: BLOBS; Schema: -; Owner: -\n--\n\n";
        let dump = |begin, commit| {
            format!("BEGIN;\nCOMMIT;\n{blobs}{begin}SELECT 1;\n\n{commit}CREATE PROCEDURE\nBEGIN;\nCOMMIT;\n")
        };
        let (text, ..) = through(Engine::Postgresql, &dump("BEGIN;\n", "COMMIT;\n")).expect("let through");
        assert_eq!(text, dump("", ""));
    }

    #[test]
    fn a_dump_without_its_last_line_is_not_whole() {
        let ending = |engine, dump: &str| through(engine, dump).map(|(_, ending, _)| ending);
        let cut = format!("{MARIADB}INSERT INTO t VALUES ('-- Dump completed");
        assert_eq!(ending(Engine::Mariadb, &cut), Ok(Ending::Missing("-- Dump completed")));
        let quoted = format!("{MARIADB}INSERT INTO t VALUES ('\n-- Dump completed\n');\n");
        assert_eq!(ending(Engine::Mariadb, &quoted), Ok(Ending::Missing("-- Dump completed")));
        let whole = format!("{MARIADB}SELECT 1;\n\n-- Dump completed on 2026-11-20  3:00:00\n");
        assert_eq!(ending(Engine::Mariadb, &whole), Ok(Ending::Marked));
        let postgresql = "--\n-- PostgreSQL database dump\n--\n\n\\restrict abc\nSELECT 1;\n";
        let mark = "-- PostgreSQL database dump complete";
        assert_eq!(ending(Engine::Postgresql, postgresql), Ok(Ending::Missing(mark)));
        let whole = format!("{postgresql}--\n{mark}\n--\n\n\\unrestrict abc\n\n");
        assert_eq!(ending(Engine::Postgresql, &whole), Ok(Ending::Marked));
        assert_eq!(ending(Engine::Postgresql, "SELECT 1;"), Ok(Ending::Untold));
    }
}

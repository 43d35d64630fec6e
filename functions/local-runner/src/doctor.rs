//! `local-runner doctor`: a table of what was tried, and below it the statements to paste.

use std::fmt::Write;
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use anyhow::Context;
use bucket_copy::doctor::{Check, Diagnosis, Finding, Prognosis, Section, examine};
use bucket_copy::{Plan, Remedy, Route, Statement};

use crate::args::Doctor;
use crate::escape::{escape, escape_lines};
use crate::replicate::print;
use crate::report::wrapped;
use crate::{exit, logs};

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const GOOD: Style = AnsiColor::Green.on_default().bold();
const CARE: Style = AnsiColor::Yellow.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();

pub(crate) async fn command(args: &Doctor) -> anyhow::Result<ExitCode> {
    let settings = args.settings();
    let plan = Plan::new(&settings, &args.request())?;
    logs::init(&indicatif::ProgressBar::hidden());
    let (clients, _) = replicator::secret::connect(&settings).await?;
    let diagnosis = examine(&plan, &clients).await;
    let text = match args.json {
        true => serde_json::to_string_pretty(&diagnosis).context("the findings cannot be written as JSON")?,
        false => render(&diagnosis),
    };
    print(&text)?;
    Ok(exit::of(diagnosis.prognosis))
}

/// The whole diagnosis.
fn render(diagnosis: &Diagnosis) -> String {
    let mut text = String::new();
    let checks = || diagnosis.sections.iter().flat_map(|section| &section.checks);
    let width = checks().map(|check| check.what.len()).max().unwrap_or_default();
    for section in &diagnosis.sections {
        write_section(&mut text, section, width);
    }
    write_remedies(&mut text, checks());
    let unlisted = checks().any(|check| check.what.starts_with("list") && check.finding == Finding::Missing);
    let (style, word, rest) = match diagnosis.prognosis {
        Prognosis::Good => (GOOD, "Good", "a run will work."),
        // A run lists every source before it copies anything.
        Prognosis::Partial if unlisted => (
            CARE,
            "In part",
            "a run of both sources cannot work, one with --source of the other alone will; see above.",
        ),
        Prognosis::Partial => (CARE, "In part", "a run will work, but not for everything; see above."),
        Prognosis::Hopeless => (BAD, "Not yet", "a run cannot work; see above."),
    };
    let _ = writeln!(text, "{style}{word}:{style:#} {rest}");
    text
}

fn write_section(text: &mut String, section: &Section, width: usize) {
    let _ = writeln!(text, "{BOLD}{}{BOLD:#}  s3://{}", section.name, escape(&section.bucket));
    for Check { what, finding, detail, .. } in &section.checks {
        let (style, word) = match finding {
            Finding::Ok => (GOOD, "ok"),
            Finding::Missing => (BAD, "missing"),
            Finding::CannotTell => (CARE, "cannot tell"),
        };
        let indent = 2 + 11 + 2 + width + 2;
        let detail = wrapped(&escape(detail), indent, indent);
        let line = format!("  {style}{word:<11}{style:#}  {what:<width$}  {DIM}{detail}{DIM:#}");
        let _ = writeln!(
            text,
            "{}",
            if detail.is_empty() { line.replace(&format!("{DIM}{DIM:#}"), "") } else { line }.trim_end()
        );
    }
    if let Some((route, because)) = &section.route {
        let way = match route {
            Route::ServerSide => "server-side",
            Route::Stream => "streamed",
        };
        let _ = writeln!(text, "  {}", wrapped(&format!("{way}: {}", escape(because)), 2, 4));
    }
    text.push('\n');
}

/// What to do, each once: the statements by the policy they belong to, then the rest.
fn write_remedies<'a>(text: &mut String, checks: impl Iterator<Item = &'a Check>) {
    let mut statements: Vec<Statement> = Vec::new();
    let mut others: Vec<&str> = Vec::new();
    for Remedy { text, statement } in checks.filter_map(|check| check.remedy.as_ref()) {
        match statement {
            Some(statement) => {
                if !statements.iter_mut().any(|known| known.merge(statement)) {
                    statements.push((**statement).clone());
                }
            }
            None if others.contains(&text.as_str()) => {}
            None => others.push(text),
        }
    }
    statements.sort_by(|a, b| a.policy().cmp(b.policy()));
    let mut policy = "";
    for statement in &statements {
        if statement.policy() != policy {
            policy = statement.policy();
            let _ = writeln!(text, "{CARE}add to{CARE:#} {}", wrapped(&escape(policy), 7, 2));
        }
        for line in escape_lines(&statement.to_string()).lines() {
            let _ = writeln!(text, "  {line}");
        }
        text.push('\n');
    }
    for other in &others {
        let _ = writeln!(text, "{CARE}what to do:{CARE:#} {}\n", wrapped(&escape(other), 12, 2));
    }
}

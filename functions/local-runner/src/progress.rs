//! Progress on stderr: two steady lines on a terminal, a plain line every ten seconds
//! elsewhere. Observing costs a run a few atomic additions an object; drawing is a task.

use std::io::{self, IsTerminal};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::meter::{Counts, Meter, Snapshot};
use crate::quantity::{bytes, count, duration, number};

const FRAME: Duration = Duration::from_millis(100);
const LINE: Duration = Duration::from_secs(10);

/// How a run's progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    Bar,
    Lines,
    Quiet,
}

impl Manner {
    /// What suits stderr.
    pub(crate) fn fitting(quiet: bool) -> Self {
        match (quiet, io::stderr().is_terminal()) {
            (true, _) => Self::Quiet,
            (false, true) => Self::Bar,
            (false, false) => Self::Lines,
        }
    }
}

/// What differs between commands in the words for their progress.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Words {
    /// While nothing but the listing is known to be done.
    idle: &'static str,
    failed: &'static str,
}

impl Words {
    const COPY: Self = Self { idle: " so far, nothing to copy yet", failed: "failed" };
    pub(crate) const VERIFY: Self = Self { idle: " so far", failed: "not proven" };
}

/// Shows one run after another.
pub(crate) struct Progress {
    manner: Manner,
    say: Words,
    bar: ProgressBar,
    counts: Arc<Counts>,
    began: Instant,
    drawing: Option<JoinHandle<()>>,
}

impl Progress {
    /// Nothing is shown before [`Progress::begin`].
    pub(crate) fn new(manner: Manner) -> Self {
        let bar = match manner {
            Manner::Bar => ProgressBar::with_draw_target(Some(1), ProgressDrawTarget::stderr_with_hz(10)),
            Manner::Lines | Manner::Quiet => ProgressBar::hidden(),
        };
        if let Ok(style) = ProgressStyle::with_template("{prefix}\n{msg}") {
            bar.set_style(style);
        }
        let (counts, began) = (Arc::default(), Instant::now());
        Self { manner, say: Words::COPY, bar, counts, began, drawing: None }
    }

    /// The same in other words.
    pub(crate) fn saying(mut self, say: Words) -> Self {
        self.say = say;
        self
    }

    /// What else writes to the terminal has to suspend it.
    pub(crate) fn bar(&self) -> &ProgressBar {
        &self.bar
    }

    /// Begins to show a run over this many sources, which moves the counters that this
    /// answers.
    pub(crate) fn begin(&mut self, sources: usize) -> Arc<Counts> {
        self.began = Instant::now();
        self.counts = Arc::new(Counts::new(sources));
        self.bar.reset();
        let (counts, bar, began, say) = (Arc::clone(&self.counts), self.bar.clone(), self.began, self.say);
        self.drawing = match self.manner {
            Manner::Bar => Some(tokio::spawn(draw(counts, bar, began, say))),
            Manner::Lines => Some(tokio::spawn(report(counts, began, say))),
            Manner::Quiet => None,
        };
        Arc::clone(&self.counts)
    }

    /// Takes the bar away; says the last plain line.
    pub(crate) fn finish(&mut self) {
        let Some(drawing) = self.drawing.take() else { return };
        drawing.abort();
        self.bar.finish_and_clear();
        let now = self.counts.snapshot();
        if self.manner == Manner::Lines && now.listed > 0 {
            let mut meter = Meter::default();
            meter.note(Duration::ZERO, Snapshot::default());
            meter.note(self.began.elapsed(), now);
            eprintln!("{}", words(&now, meter.bytes_per_second(), true, self.say));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

const WIDTH: u64 = 40;

async fn draw(counts: Arc<Counts>, bar: ProgressBar, began: Instant, say: Words) {
    let colored = anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never;
    let style = if colored { AnsiColor::Cyan.on_default() } else { Style::new() };
    let mut meter = Meter::default();
    let mut frames = tokio::time::interval(FRAME);
    frames.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for frame in 0.. {
        frames.tick().await;
        let now = counts.snapshot();
        meter.note(began.elapsed(), now);
        let known = now.listing == 0;
        let rest = match (known, meter.left()) {
            (true, Some(left)) => format!("{:>3}%  {} left", now.percent(), duration(left)),
            (true, None) => format!("{:>3}%", now.percent()),
            (false, _) => duration(began.elapsed()),
        };
        let filled = if known { 0..now.percent() * WIDTH / 100 } else { glide(frame) };
        bar.set_prefix(format!("{style}{}{style:#} {rest}", strip(filled)));
        bar.set_message(words(&now, meter.bytes_per_second(), known, say));
        bar.tick();
    }
}

async fn report(counts: Arc<Counts>, began: Instant, say: Words) {
    let mut meter = Meter::default();
    let mut frames = tokio::time::interval(Duration::from_secs(1));
    let mut said = began;
    loop {
        frames.tick().await;
        let now = counts.snapshot();
        meter.note(began.elapsed(), now);
        if said.elapsed() >= LINE {
            said = Instant::now();
            eprintln!("{}", line(&now, &meter, now.listing == 0, say));
        }
    }
}

/// A bar that is filled where told.
fn strip(filled: Range<u64>) -> String {
    (0..WIDTH).map(|place| if filled.contains(&place) { '━' } else { '╌' }).collect()
}

/// A piece that moves on, for work whose end is not known.
fn glide(frame: u64) -> Range<u64> {
    const PIECE: u64 = 8;
    let end = frame % (WIDTH + PIECE);
    end.saturating_sub(PIECE)..end.min(WIDTH)
}

fn line(now: &Snapshot, meter: &Meter, known: bool, say: Words) -> String {
    let words = words(now, meter.bytes_per_second(), known, say);
    match meter.left() {
        Some(left) if known => format!("{words}, {} left", duration(left)),
        _ => words,
    }
}

fn words(now: &Snapshot, bytes_per_second: f64, known: bool, say: Words) -> String {
    let listed = number(now.listed);
    let failed = match now.failed {
        0 => String::new(),
        failed => format!(", {} {}", number(failed), say.failed),
    };
    if now.found == 0 {
        let so_far = if known { "" } else { say.idle };
        return format!("{listed} listed{so_far}{failed}");
    }
    if now.found_bytes == 0 {
        let (done, found) = (number(now.done.min(now.found)), count(now.found, "object"));
        let so_far = if known { "" } else { " so far" };
        return format!("{listed} listed{so_far}, {done} of {found} done{failed}");
    }
    let (done, moved) = (number(now.done.min(now.found)), bytes(now.moved));
    let speed = bytes(bytes_per_second as u64);
    if known {
        let (found, found_bytes) = (count(now.found, "object"), bytes(now.found_bytes));
        format!("{listed} listed, {done} of {found} done{failed}, {moved} of {found_bytes}, {speed}/s")
    } else {
        format!("{listed} listed so far, {done} done{failed}, {moved}, {speed}/s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_the_run_is() {
        let mut meter = Meter::default();
        meter.note(Duration::ZERO, Snapshot::default());
        let now = Snapshot {
            listed: 12_000,
            found: 2_000,
            found_bytes: 4 << 30,
            done: 1_000,
            moved: 2 << 30,
            failed: 3,
            listing: 0,
        };
        meter.note(Duration::from_secs(4), now);
        assert_eq!(
            line(&now, &meter, true, Words::COPY),
            "12,000 listed, 1,000 of 2,000 objects done, 3 failed, 2.00 GiB of 4.00 GiB, 512 MiB/s, 4.0 s left"
        );
        assert_eq!(
            line(&now, &meter, false, Words::COPY),
            "12,000 listed so far, 1,000 done, 3 failed, 2.00 GiB, 512 MiB/s"
        );
        let idle = Snapshot { listed: 7, ..Snapshot::default() };
        assert_eq!(words(&idle, 0.0, false, Words::COPY), "7 listed so far, nothing to copy yet");
        assert_eq!(words(&idle, 0.0, true, Words::COPY), "7 listed");
    }

    #[test]
    fn a_verification_that_reads_nothing_speaks_of_no_bytes() {
        let now =
            Snapshot { listed: 9_000, found: 20, done: 7, failed: 1, listing: 1, ..Snapshot::default() };
        assert_eq!(
            words(&now, 0.0, false, Words::VERIFY),
            "9,000 listed so far, 7 of 20 objects done, 1 not proven"
        );
    }

    #[test]
    fn a_bar_has_one_width() {
        for frame in 0..100 {
            assert_eq!(strip(glide(frame)).chars().count() as u64, WIDTH);
        }
        assert_eq!(strip(0..WIDTH), "━".repeat(40));
    }
}

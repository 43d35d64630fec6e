//! A vendor's two buckets: thirty nights of dumps, and an application's files.

use std::time::{Duration, SystemTime};

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use s3_sim::{Object, State};

pub(super) const DUMPS: &str = "backup-my-environment-name";
pub(super) const FILES: &str = "backup-fs-my-environment-name";

const NIGHTS: u32 = 30;
const MIB: u64 = 1 << 20;

/// Thirty nights and a few thousand files.
pub(super) fn fill(state: &State) {
    state.create_bucket(DUMPS);
    state.create_bucket(FILES);
    for ago in (1..=NIGHTS).rev() {
        put_dump(state, ago);
    }
    for number in 0..3_000 {
        put_file(state, &name(number), number, days(400 - number / 8));
    }
    for (number, name) in (3_000..).zip(ODD_NAMES) {
        put_file(state, name, number, days(3));
    }
}

/// Tonight's dump, a file changed, a file deleted.
pub(super) fn work_a_night(state: &State) {
    put_dump(state, 0);
    put_file(state, &name(1_234), 9_999, Duration::ZERO);
    state.delete(FILES, &name(77));
}

/// Keys that trip careless tools.
const ODD_NAMES: [&str; 7] = [
    "uploads/contrats/Avenant n°3 (signé).pdf",
    "uploads/contrats/Procès-verbal d'été 2026.docx",
    "uploads/devis/Devis + options 100%.xlsx",
    "uploads/devis/Q&A = réponses?.txt",
    "uploads/photos/été à la mer/IMG 0042.jpg",
    "uploads/日本/契約書 2026.pdf",
    "uploads/équipe/Ⅻ – compte rendu~.md",
];

/// Most nights a dump of one piece; once a week the full one, in parts of 64 MiB. Which night and
/// what size hangs on its age alone: the demonstration tells the same on every day.
fn put_dump(state: &State, ago: u32) {
    let date = night(ago);
    let full = ago % 7 == 6;
    let seed = u64::from(NIGHTS - ago);
    let kind = if full { "full" } else { "incremental" };
    let size = if full { 1_400 * MIB + seed * 12_345 } else { 38 * MIB + seed * 54_321 };
    let mut dump = Object::virtual_bytes(seed, size)
        .with_content_type("application/zstd")
        .with_metadata("pg-version", "17.6")
        .with_metadata("taken-by", "nightly-backup")
        .with_tag("kind", kind)
        .with_tag("environment", "production")
        .with_last_modified(taken_at(date).into());
    if full {
        dump = dump.with_part_size(64 * MIB);
    }
    state.put(DUMPS, &format!("production/{}/app-{kind}.dump.zst", date.strftime("%Y/%m/%d")), dump);
}

fn put_file(state: &State, name: &str, seed: u64, age: Duration) {
    let kind = match name.rsplit('.').next() {
        Some("jpg") => "image/jpeg",
        Some("pdf") => "application/pdf",
        Some("txt" | "md") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    };
    let file = Object::virtual_bytes(seed, 8_192 + seed * 2_654_435_761 % 700_000)
        .with_content_type(kind)
        .with_last_modified(SystemTime::now() - age);
    state.put(FILES, name, file);
}

fn name(number: u64) -> String {
    match number % 3 {
        0 => format!("avatars/{:02x}/user-{:05}.jpg", number * 37 % 256, number),
        1 => format!("invoices/2026/{:02}/INV-2026-{:05}.pdf", 1 + number % 10, number),
        _ => format!("uploads/tickets/{:05}/attachment {}.pdf", number / 6, number % 6),
    }
}

fn days(days: u64) -> Duration {
    Duration::from_secs(days * 86_400)
}

fn night(ago: u32) -> Date {
    let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
    today.saturating_sub(Span::new().days(i64::from(ago)))
}

/// A quarter past two, or now if that is still to come.
fn taken_at(date: Date) -> Timestamp {
    let at = date.at(2, 15, 0, 0).to_zoned(TimeZone::UTC).map_or(Timestamp::now(), |time| time.timestamp());
    at.min(Timestamp::now())
}

//! What a key tells of a database dump: that it is one, when it was made, and which dumps
//! are of one series. Pure.
//!
//! S3's time of a copy is the time of the copying: a catch-up brings a year of dumps in one
//! hour. What a dump's key says goes before it.

use std::ops::Range;

use bucket_copy::fetch::Object;
use glob::{MatchOptions, Pattern};
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};

/// What dumps are called, unless it is said.
pub(crate) const PATTERNS: [&str; 10] = [
    "*.sql",
    "*.sql.*",
    "*.dump",
    "*.dump.*",
    "*.pgdump",
    "*.pgdump.*",
    "*.backup",
    "*.bak",
    "*.zip",
    "*.custom",
];

/// Which keys are dumps'.
#[derive(Debug)]
pub(crate) struct Patterns(Vec<Pattern>);

impl Patterns {
    /// `globs`, or the usual ones if there are none.
    pub(crate) fn new(globs: &[String]) -> Result<Self, glob::PatternError> {
        if globs.is_empty() {
            return PATTERNS.iter().map(|glob| Pattern::new(glob)).collect::<Result<_, _>>().map(Self);
        }
        globs.iter().map(|glob| Pattern::new(glob)).collect::<Result<_, _>>().map(Self)
    }

    /// Whether the key, without its prefix, matches. `*` goes over slashes.
    pub(crate) fn match_key(&self, key: &str) -> bool {
        let options = MatchOptions { case_sensitive: false, ..MatchOptions::new() };
        self.0.iter().any(|pattern| pattern.matches_with(key, options))
    }
}

/// When a dump was made, and how that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Made {
    pub(crate) at: Timestamp,
    /// By its key; else it is when it was copied.
    pub(crate) by_key: bool,
}

impl Made {
    /// Of an object whose key, without its prefix, is `key`.
    pub(crate) fn of(key: &str, object: &Object) -> Self {
        // Keys carry local time, of whatever place. What is later than the copy is no date of it.
        let latest = object.modified.checked_add(26.hours()).unwrap_or(object.modified);
        match dates(key).into_iter().rev().map(|found| found.at).find(|at| *at <= latest) {
            Some(at) => Self { at, by_key: true },
            None => Self { at: object.modified, by_key: false },
        }
    }
}

/// The key with its dates taken out: dumps of one database, made again and again, have one. An
/// hour alone stays, for it may be another number: the more series, the more is kept of them.
pub(crate) fn series(key: &str) -> String {
    let dates = dates(key);
    let mut cuts = dates.first().map_or_else(Vec::new, |first| folders(&key[..first.date.start], first.at));
    for found in dates {
        cuts.extend([Some(found.date.start..found.date_ends), found.time].into_iter().flatten());
    }
    let mut series = String::new();
    let mut from = 0;
    for cut in cuts {
        series.push_str(&key[from..cut.start]);
        series.push('*');
        from = cut.end;
    }
    series.push_str(&key[from..]);
    series
}

/// Folders above a date that say its year or its month: `2026/11/app-2026-11-20.sql`.
fn folders(above: &str, at: Timestamp) -> Vec<Range<usize>> {
    let [year, month] = ["%Y", "%m"].map(|format| at.strftime(format).to_string());
    let mut folders = Vec::new();
    let (mut from, mut below_year) = (0, false);
    for (slash, _) in above.match_indices('/') {
        let name = &above[from..slash];
        let rest = name.strip_prefix(&year).map(|rest| rest.trim_start_matches(['-', '_', '.']));
        if rest.is_some_and(|rest| rest.is_empty() || rest == month) || below_year && name == month {
            folders.push(from..slash);
        }
        (from, below_year) = (slash + 1, name == year);
    }
    folders
}

struct Found {
    /// The date, with its time of day if that follows at once.
    date: Range<usize>,
    /// The same, without an hour alone.
    date_ends: usize,
    /// The time of day further on.
    time: Option<Range<usize>>,
    at: Timestamp,
}

/// The dates in a key, each with its time of day if that follows: `2026-11-20`, `20261120`,
/// `2026/11/20`, then `03`, `0315`, `03:15:20`, `T03-15-20Z`. Behind the last one, a whole time
/// is one further on as well: `2026/11/20/app_03-15-20.sql`.
fn dates(key: &str) -> Vec<Found> {
    let bytes = key.as_bytes();
    let mut found = Vec::new();
    let mut place = 0;
    while place < bytes.len() {
        let begins = bytes[place].is_ascii_digit() && (place == 0 || !bytes[place - 1].is_ascii_digit());
        match begins.then(|| date_at(bytes, place)).flatten() {
            Some((at, date_ends, to)) => {
                found.push(Found { date: place..to, date_ends, time: None, at });
                place = to;
            }
            None => place += 1,
        }
    }
    if let Some(last) = found.last_mut()
        && last.at.as_second() % 86_400 == 0
        && let Some((time, place)) = whole_time(bytes, last.date.end)
    {
        (last.time, last.at) = (Some(place), last.at + time);
    }
    found
}

/// A time of day with its seconds, and nothing that could be another number.
fn whole_time(bytes: &[u8], from: usize) -> Option<(SignedDuration, Range<usize>)> {
    (from..bytes.len()).find_map(|start| {
        let mut reader = Reader { bytes, place: start };
        if bytes[start - 1].is_ascii_digit() {
            return None;
        }
        let hour = reader.digits(2)?;
        let separator = reader.skip(b"-_:")?;
        let minute = reader.digits(2)?;
        reader.skip(&[separator])?;
        let second = reader.digits(2)?;
        let end = reader.place;
        let ends = !bytes.get(end).is_some_and(|byte| byte.is_ascii_digit() || *byte == separator);
        let time = Time::new(hour as i8, minute as i8, second as i8, 0).ok().filter(|_| ends)?;
        Some((time.duration_since(Time::midnight()), start..end))
    })
}

/// When it is, where it ends without an hour alone, and with it.
fn date_at(bytes: &[u8], from: usize) -> Option<(Timestamp, usize, usize)> {
    let mut reader = Reader { bytes, place: from };
    let year = reader.digits(4)?;
    let separator = reader.skip(b"-_./");
    let month = reader.digits(2)?;
    if separator.is_some() && reader.skip(b"-_./").is_none() {
        return None;
    }
    let day = reader.digits(2)?;
    if !(2000..2100).contains(&year) {
        return None;
    }
    let date = Date::new(year, month as i8, day as i8).ok()?;
    let (time, to) = time_at(bytes, reader.place);
    // A number that goes on is no date.
    if bytes.get(to).is_some_and(u8::is_ascii_digit) {
        return None;
    }
    let at = DateTime::from_parts(date, time).to_zoned(TimeZone::UTC).ok()?.timestamp();
    let is_hour = to > reader.place && to - reader.place <= 3;
    Some((at, if is_hour { reader.place } else { to }, to))
}

fn time_at(bytes: &[u8], from: usize) -> (Time, usize) {
    let mut reader = Reader { bytes, place: from };
    // A folder of its own may be an hour; a name that begins with digits is none.
    let folder = reader.skip(b"T-_ ./t") == Some(b'/');
    let mut parts = [0_i8; 3];
    let mut to = from;
    for part in &mut parts {
        let Some(value) = reader.digits(2) else { break };
        *part = value as i8;
        to = reader.place;
        reader.skip(b":-_.h");
    }
    match Time::new(parts[0], parts[1], parts[2], 0) {
        Ok(time)
            if !bytes.get(to).is_some_and(u8::is_ascii_digit)
                && (!folder || bytes.get(to) == Some(&b'/')) =>
        {
            (time, to)
        }
        _ => (Time::midnight(), from),
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    place: usize,
}

impl Reader<'_> {
    fn digits(&mut self, count: usize) -> Option<i16> {
        let digits = self.bytes.get(self.place..self.place + count)?;
        let value = std::str::from_utf8(digits).ok()?;
        if !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        self.place += count;
        value.parse().ok()
    }

    fn skip(&mut self, any: &[u8]) -> Option<u8> {
        let byte = *self.bytes.get(self.place).filter(|byte| any.contains(byte))?;
        self.place += 1;
        Some(byte)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bucket_copy::ETag;

    fn made(key: &str) -> String {
        let modified = "2026-11-21T12:00:00Z".parse().expect("a time");
        let object = Object {
            key: key.into(),
            size: 1,
            etag: ETag::parse(""),
            modified,
            archived: false,
            version: None,
        };
        let made = Made::of(key, &object);
        format!("{} {}", made.at, if made.by_key { "key" } else { "S3" })
    }

    #[test]
    fn a_dump_is_as_old_as_its_key_says() {
        for (key, time) in [
            ("2026/11/20/app.sql.gz", "2026-11-20T00:00:00Z key"),
            ("2026/11/20/03/app.sql", "2026-11-20T03:00:00Z key"),
            ("2026/11/20/03.sql", "2026-11-20T00:00:00Z key"),
            ("app-2026-11-20.sql", "2026-11-20T00:00:00Z key"),
            ("app_20261120_031542.sql", "2026-11-20T03:15:42Z key"),
            ("app-20261120031542.dump", "2026-11-20T03:15:42Z key"),
            ("app-2026-11-20T03:15:42Z.dump", "2026-11-20T03:15:42Z key"),
            ("2025/app-2026-11-20-0315.sql", "2026-11-20T03:15:00Z key"),
            ("2026-11-19/app-2026-11-20.sql", "2026-11-20T00:00:00Z key"),
            ("2026/11/20/app_03-15-42.sql.gz", "2026-11-20T03:15:42Z key"),
            ("2026-11-20/app-10.11.06.sql", "2026-11-20T00:00:00Z key"),
            ("2026-11-20/shop12-30.sql", "2026-11-20T00:00:00Z key"),
            ("2026-11-20/1-03-15-42-7.sql", "2026-11-20T00:00:00Z key"),
            // Neither a date, nor one that can be: the copy is older.
            ("app-20271120.sql", "2026-11-21T12:00:00Z S3"),
            ("app-20261320.sql", "2026-11-21T12:00:00Z S3"),
            ("app-1763600000.sql", "2026-11-21T12:00:00Z S3"),
            ("app-202611200.sql", "2026-11-21T12:00:00Z S3"),
            ("latest.sql", "2026-11-21T12:00:00Z S3"),
            ("été-😀.sql", "2026-11-21T12:00:00Z S3"),
        ] {
            assert_eq!(made(key), time, "{key}");
        }
    }

    #[test]
    fn a_series_is_what_is_left_without_the_dates() {
        assert_eq!(series("2026/11/20/app-20261120-0315.sql.gz"), "*/app-*.sql.gz");
        assert_eq!(
            series("2026/11/20/app-20261120-0315.sql.gz"),
            series("2025/01/02/app-20250102-2200.sql.gz")
        );
        assert_eq!(series("2026/11/20/app_03-15-42.sql.gz"), "*/app_*.sql.gz");
        for folders in ["2026", "2026/11", "2026-11", "202611", "db/2026/11"] {
            let name = series(&format!("{folders}/app-2026-11-20.sql"));
            assert_eq!(
                name,
                series(&format!(
                    "{}/app-2025-01-02.sql",
                    folders.replace("2026", "2025").replace("11", "01")
                ))
            );
            assert!(name.ends_with("*/app-*.sql"), "{name}");
        }
        // Of another year than the date's, or no year's month: a customer's number.
        assert_ne!(series("2024/app-2026-11-20.sql"), series("2025/app-2026-11-20.sql"));
        assert_ne!(series("11/app-2026-11-20.sql"), series("10/app-2026-10-20.sql"));
        // Hours, or two customers.
        assert_eq!(series("2026/11/20/03/app.sql"), "*/03/app.sql");
        assert_ne!(series("app-2026-11-20-01.sql"), series("app-2026-11-20-02.sql"));
        assert_ne!(series("2026-11-20/shop1.sql"), series("2026-11-20/shop2.sql"));
        assert_eq!(series("latest.sql"), "latest.sql");
    }

    #[test]
    fn dumps_are_known_by_their_names() {
        let usual = Patterns::new(&[]).expect("patterns");
        for key in ["a.sql", "2026/11/20/A.SQL.GZ", "x.dump", "x.zip", "été.sql.zst"] {
            assert!(usual.match_key(key), "{key}");
        }
        for key in ["README.txt", "x.sqlite", "sql", "photo.jpg"] {
            assert!(!usual.match_key(key), "{key}");
        }
        let own = Patterns::new(&["*/shop-*.sql*".into()]).expect("a pattern");
        assert!(own.match_key("2026/11/shop-1.sql.gz") && !own.match_key("2026/11/blog-1.sql.gz"));
    }
}

//! When a backup was made, as its name tells it. Copies have the times of their making: after
//! a first run all of them have about the same, and on the day the vendor is gone nobody else
//! knows which dump is the newest. Pure.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;

/// The moment in a key such as `2026/11/20/db_03-00-00.sql.gz` or `dump-20261120T030000.zst`:
/// the last date in it, and the time behind that, if there is one. Taken as UTC.
pub(super) fn named(key: &str) -> Option<Timestamp> {
    let bytes = key.as_bytes();
    let starts = (0..bytes.len()).filter(|start| *start == 0 || !bytes[start - 1].is_ascii_digit());
    let (date, rest) = starts.rev().find_map(|start| date(&bytes[start..]))?;
    let time = time(rest).unwrap_or(Time::midnight());
    DateTime::from_parts(date, time).to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

/// A date of this century, with or without separators, and what is behind it.
fn date(bytes: &[u8]) -> Option<(Date, &[u8])> {
    let (year, rest) = number(bytes, 4)?;
    let (month, rest) = number(separated(rest), 2)?;
    let (day, rest) = number(separated(rest), 2)?;
    let compact = bytes.len() - rest.len() == 8;
    // `20261120` may go on with the time's digits; `2026-11-201` is no date.
    if !compact && rest.first().is_some_and(u8::is_ascii_digit) || !(2000..2100).contains(&year) {
        return None;
    }
    Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok().map(|date| (date, rest))
}

/// Hours and minutes, and seconds if there are any.
fn time(bytes: &[u8]) -> Option<Time> {
    let start = bytes.iter().position(u8::is_ascii_digit)?;
    let (hour, rest) = number(&bytes[start..], 2)?;
    let (minute, rest) = number(separated(rest), 2)?;
    let second = number(separated(rest), 2).map_or(0, |(second, _)| second);
    Time::new(i8::try_from(hour).ok()?, i8::try_from(minute).ok()?, i8::try_from(second).ok()?, 0).ok()
}

fn separated(bytes: &[u8]) -> &[u8] {
    match bytes {
        [b'-' | b'_' | b'.' | b':' | b'/' | b'h', rest @ ..] => rest,
        bytes => bytes,
    }
}

fn number(bytes: &[u8], digits: usize) -> Option<(i16, &[u8])> {
    let (number, rest) = bytes.split_at_checked(digits)?;
    number.iter().all(u8::is_ascii_digit).then_some(())?;
    Some((std::str::from_utf8(number).ok()?.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_date_of_a_name_counts_with_the_time_behind_it() {
        for (key, moment) in [
            ("2026/11/20.dump", "2026-11-20T00:00:00Z"),
            ("2026-11-20.sql.gz", "2026-11-20T00:00:00Z"),
            ("db-20261120.sql", "2026-11-20T00:00:00Z"),
            ("db-20261120T030405Z.sql", "2026-11-20T03:04:05Z"),
            ("db_20261120030405.sql", "2026-11-20T03:04:05Z"),
            ("2026-11-20T03:04:05Z.sql", "2026-11-20T03:04:05Z"),
            ("2026-11-20_03-04.zst", "2026-11-20T03:04:00Z"),
            ("2026/11/20/db_03-04-05.sql.gz", "2026-11-20T03:04:05Z"),
            ("2025-01-01/db-2026-11-20.sql", "2026-11-20T00:00:00Z"),
        ] {
            assert_eq!(named(key).map(|moment| moment.to_string()).as_deref(), Some(moment), "{key}");
        }
        for key in ["dump.sql", "20261320", "2026-11", "120261120", "v1.2.3", "2026-11-201", "1999-01-01", ""]
        {
            assert_eq!(named(key), None, "{key}");
        }
    }
}

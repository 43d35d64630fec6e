//! Moments as S3 writes them. S3 keeps whole seconds, so the simulator does.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use s3s::dto::{Timestamp, TimestampFormat};

/// The present in whole seconds.
pub(crate) fn now() -> SystemTime {
    whole_seconds(SystemTime::now())
}

/// `time` without its fraction of a second.
pub(crate) fn whole_seconds(time: SystemTime) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(unix_seconds(time))
}

pub(crate) fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// `2024-01-01T00:00:00.000Z`, as listings have it.
pub(crate) fn iso8601(time: SystemTime) -> String {
    let seconds = unix_seconds(time);
    let (year, month, day) = date_of(seconds / 86_400);
    let of_day = seconds % 86_400;
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.000Z",
        of_day / 3600,
        of_day / 60 % 60,
        of_day % 60
    )
}

/// `Mon, 01 Jan 2024 00:00:00 GMT`, as headers have it.
pub(crate) fn http_date(time: SystemTime) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let seconds = unix_seconds(time);
    let days = seconds / 86_400;
    let (year, month, day) = date_of(days);
    let of_day = seconds % 86_400;
    format!(
        "{}, {day:02} {} {year:04} {:02}:{:02}:{:02} GMT",
        DAYS[(days % 7) as usize],
        MONTHS[month as usize - 1],
        of_day / 3600,
        of_day / 60 % 60,
        of_day % 60
    )
}

/// A date from a header; `None` if it is not one, which S3 then ignores.
pub(crate) fn parse_http_date(text: &str) -> Option<SystemTime> {
    let timestamp = Timestamp::parse(TimestampFormat::HttpDate, text.trim()).ok()?;
    let mut seconds = Vec::new();
    timestamp.format(TimestampFormat::EpochSeconds, &mut seconds).ok()?;
    let seconds: f64 = String::from_utf8(seconds).ok()?.parse().ok()?;
    (seconds >= 0.0).then(|| UNIX_EPOCH + Duration::from_secs_f64(seconds))
}

/// Year, month and day of a day counted from 1970-01-01, in the proleptic Gregorian
/// calendar (Howard Hinnant's algorithm).
pub(crate) fn date_of(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let of_era = days % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_and_read_as_s3_does() {
        let time = UNIX_EPOCH + Duration::from_secs(1_709_210_096);
        assert_eq!(iso8601(time), "2024-02-29T12:34:56.000Z");
        assert_eq!(http_date(time), "Thu, 29 Feb 2024 12:34:56 GMT");
        assert_eq!(parse_http_date(&http_date(time)), Some(time));
        assert_eq!(parse_http_date("yesterday"), None);
    }
}

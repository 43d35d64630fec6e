//! Which dumps of one series are kept, and why. Pure.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::args::KeepArgs;

/// Tells periods apart.
type Period = fn(Timestamp) -> (i16, i16);

/// Why each of `made` is kept: the times of the dumps of one series, the newest first. Empty:
/// it is not. The newest one always is.
pub(crate) fn kept(made: &[Timestamp], keep: &KeepArgs) -> Vec<Vec<&'static str>> {
    let mut why = vec![Vec::new(); made.len()];
    if let Some(newest) = why.first_mut() {
        newest.push("newest");
    }
    for why in why.iter_mut().take(keep.keep_last.unwrap_or(0)) {
        why.push("last");
    }
    let periods: [(_, _, Period); 4] = [
        ("daily", keep.keep_daily, |at| (date(at).year(), date(at).day_of_year())),
        ("weekly", keep.keep_weekly, |at| {
            let week = date(at).iso_week_date();
            (week.year(), week.week().into())
        }),
        ("monthly", keep.keep_monthly, |at| (date(at).year(), date(at).month().into())),
        ("yearly", keep.keep_yearly, |at| (date(at).year(), 0)),
    ];
    for (name, number, period) in periods {
        let mut left = number.unwrap_or(0);
        let mut last = None;
        for (at, why) in made.iter().zip(&mut why) {
            let period = period(*at);
            if left == 0 {
                break;
            }
            if last != Some(period) {
                last = Some(period);
                left -= 1;
                why.push(name);
            }
        }
    }
    why
}

/// Keys carry a date without a zone; S3's times are in UTC.
fn date(at: Timestamp) -> jiff::civil::Date {
    at.to_zoned(TimeZone::UTC).date()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: KeepArgs = KeepArgs {
        keep_last: None,
        keep_daily: None,
        keep_weekly: None,
        keep_monthly: None,
        keep_yearly: None,
    };

    fn kept_of(times: &[&str], keep: KeepArgs) -> Vec<String> {
        let made: Vec<Timestamp> = times.iter().map(|time| time.parse().expect("a time")).collect();
        kept(&made, &keep).iter().map(|why| why.join(" ")).collect()
    }

    #[test]
    fn each_rule_keeps_the_newest_of_each_of_its_periods() {
        let times = [
            "2026-11-20T22:00:00Z",
            "2026-11-20T10:00:00Z",
            "2026-11-19T10:00:00Z",
            "2026-11-16T10:00:00Z", // Monday
            "2026-11-15T10:00:00Z", // Sunday
            "2026-10-31T10:00:00Z",
            "2025-12-31T10:00:00Z",
            "2024-01-01T10:00:00Z",
        ];
        let keep = |set: fn(&mut KeepArgs)| {
            let mut keep = NOTHING;
            set(&mut keep);
            kept_of(&times, keep)
        };
        assert_eq!(keep(|keep| keep.keep_last = Some(2)), ["newest last", "last", "", "", "", "", "", ""]);
        assert_eq!(keep(|keep| keep.keep_daily = Some(2)), ["newest daily", "", "daily", "", "", "", "", ""]);
        assert_eq!(
            keep(|keep| keep.keep_weekly = Some(2)),
            ["newest weekly", "", "", "", "weekly", "", "", ""]
        );
        assert_eq!(
            keep(|keep| keep.keep_monthly = Some(3)),
            ["newest monthly", "", "", "", "", "monthly", "monthly", ""]
        );
        assert_eq!(
            keep(|keep| keep.keep_yearly = Some(9)),
            ["newest yearly", "", "", "", "", "", "yearly", "yearly"]
        );
    }

    #[test]
    fn the_newest_is_kept_by_whatever_rule() {
        let keep = KeepArgs { keep_last: Some(0), ..NOTHING };
        assert_eq!(kept_of(&["2026-11-20T22:00:00Z", "2026-11-19T22:00:00Z"], keep), ["newest", ""]);
        assert!(kept_of(&[], keep).is_empty());
    }

    #[test]
    fn a_week_over_new_year_is_one() {
        let keep = KeepArgs { keep_weekly: Some(2), ..NOTHING };
        let times = ["2026-01-02T00:00:00Z", "2025-12-29T00:00:00Z", "2025-12-28T00:00:00Z"];
        assert_eq!(kept_of(&times, keep), ["newest weekly", "", "weekly"]);
    }
}

//! Numbers as people read them. Pure.

use std::time::Duration;

/// `1,234,567`.
pub(crate) fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.char_indices() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `512 B`, `1.50 KiB`, `23.4 MiB`: three digits at the least, never more than four.
pub(crate) fn bytes(value: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if value < 1024 {
        return format!("{value} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut size = value as f64 / 1024.0;
    let mut unit = 0;
    // What would be rounded to 1024 is one of the next unit.
    while size >= 1023.5 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    let decimals = if size < 9.995 {
        2
    } else if size < 99.95 {
        1
    } else {
        0
    };
    format!("{size:.decimals$} {}", UNITS[unit])
}

/// `0.4 s`, `12 s`, `3 min 05 s`, `2 h 05 min`.
pub(crate) fn duration(time: Duration) -> String {
    if time.as_millis() < 9_950 {
        return format!("{:.1} s", time.as_secs_f64());
    }
    let seconds = (time.as_secs_f64() + 0.5) as u64;
    match seconds {
        ..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3_600, seconds / 60 % 60),
    }
}

/// `about USD 0.0107`, `about USD 12.30`: an estimate, and named as one.
pub(crate) fn usd(price: f64) -> String {
    if price == 0.0 {
        "USD 0".to_owned()
    } else if price < 0.000_1 {
        "less than USD 0.0001".to_owned()
    } else if price < 1.0 {
        format!("about USD {price:.4}")
    } else {
        format!("about USD {price:.2}")
    }
}

/// `1 object`, `2 objects`, `1,000 objects`.
pub(crate) fn count(value: u64, noun: &str) -> String {
    format!("{} {noun}{}", number(value), if value == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        let shown = [0, 999, 1_000, 1_234_567].map(number);
        assert_eq!(shown, ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([count(1, "object"), count(0, "object")], ["1 object", "0 objects"]);
    }

    #[test]
    fn sizes_have_three_digits_and_binary_units() {
        let sizes = [0, 1023, 1024, 1536, 10 << 10, 1_048_064, 1_048_576, 123 << 20, 3 << 40, u64::MAX];
        let shown = sizes.map(bytes);
        let expected = [
            "0 B", "1023 B", "1.00 KiB", "1.50 KiB", "10.0 KiB", "1.00 MiB", "1.00 MiB", "123 MiB",
            "3.00 TiB", "16.0 EiB",
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn times_and_prices_keep_what_matters() {
        let shown = [0.04, 9.94, 9.96, 59.7, 185.0, 7_530.0].map(|s| duration(Duration::from_secs_f64(s)));
        assert_eq!(shown, ["0.0 s", "9.9 s", "10 s", "1 min 00 s", "3 min 05 s", "2 h 05 min"]);
        assert_eq!(
            [0.0, 0.000_01, 0.010_7, 12.3].map(usd),
            ["USD 0", "less than USD 0.0001", "about USD 0.0107", "about USD 12.30"]
        );
    }
}

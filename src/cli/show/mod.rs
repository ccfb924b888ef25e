//! Turns what the core found into text for people and JSON for programs. Decides nothing.

pub(super) mod doctor;
pub(super) mod json;
pub(super) mod layout;
pub(super) mod migration;
pub(super) mod secrets;

use std::time::Duration;

pub(super) use self::layout::table;
pub(super) use super::escape::printable;
use crate::timestamp::Timestamp;

/// `12,345`
pub(super) fn count(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if number < 0 { format!("-{text}") } else { text }
}

/// `1 business`, `2 businesses`.
pub(super) fn plural(number: i64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// `0.3 s`, `1 min 40 s`, `2 h 5 min`
pub(super) fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..10 => format!("{:.1} s", time.as_secs_f64()),
        10..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// `8.0 kB`, `1.2 GB`
#[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
pub(super) fn bytes(number: i64) -> String {
    let (mut value, mut unit) = (number as f64, "B");
    for next in ["kB", "MB", "GB", "TB"] {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, next);
    }
    if unit == "B" { format!("{number} B") } else { format!("{value:.1} {unit}") }
}

/// To the second.
pub(super) fn moment(at: Timestamp) -> String {
    let text = at.to_string();
    format!("{} {}Z", &text[..10], &text[11..19])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_in_threes() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_000), "1,000");
        assert_eq!(count(-12_345_678), "-12,345,678");
    }

    #[test]
    fn one_is_not_many() {
        assert_eq!(plural(0, "business", "businesses"), "0 businesses");
        assert_eq!(plural(1, "business", "businesses"), "1 business");
        assert_eq!(plural(1_200, "business", "businesses"), "1,200 businesses");
    }

    #[test]
    fn durations_and_sizes_are_as_long_as_they_need_to_be() {
        assert_eq!(duration(Duration::from_millis(340)), "0.3 s");
        assert_eq!(duration(Duration::from_secs(59)), "59 s");
        assert_eq!(duration(Duration::from_secs(100)), "1 min 40 s");
        assert_eq!(duration(Duration::from_mins(125)), "2 h 5 min");
        assert_eq!(bytes(512), "512 B");
        assert_eq!(bytes(8192), "8.0 kB");
        assert_eq!(bytes(1_288_490_189), "1.2 GB");
    }
}

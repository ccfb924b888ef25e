//! Points in time as the database contract writes them: ISO 8601 in UTC. No calendar beyond that.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// Milliseconds since 1970-01-01 UTC, as in JavaScript's `Date`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Timestamp(pub i64);

const DAY: i64 = 86_400_000;

/// The text is not a point in time of the form `2026-01-31T12:00:00.123Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a UTC timestamp of the form 2026-01-31T12:00:00.123Z")]
pub struct NotATimestamp;

impl Timestamp {
    /// What `Display` can write: the years 1 to 9999.
    pub const RANGE: std::ops::RangeInclusive<i64> = -62_135_596_800_000..=253_402_300_799_999;
}

/// For `serialize_with`: as text, where people and machines of other languages read it; null where there is none.
pub(crate) fn as_text<S: Serializer>(
    at: &(impl Clone + Into<Option<Timestamp>>),
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match at.clone().into() {
        Some(at) => serializer.collect_str(&at),
        None => serializer.serialize_none(),
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil(self.0.div_euclid(DAY));
        let ms = self.0.rem_euclid(DAY);
        let (hour, minute, second, ms) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
    }
}

impl FromStr for Timestamp {
    type Err = NotATimestamp;

    fn from_str(text: &str) -> Result<Self, NotATimestamp> {
        let (date, time) =
            text.strip_suffix('Z').and_then(|text| text.split_once('T')).ok_or(NotATimestamp)?;
        let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
        let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
        let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
        // A day that there is not would be one of the next month.
        let is_date =
            year >= 1 && (1..=12).contains(&month) && civil(days(year, month, day)) == (year, month, day);
        if !is_date || hour > 23 || minute > 59 || second > 59 {
            return Err(NotATimestamp);
        }
        if fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(NotATimestamp);
        }
        // PostgreSQL keeps microseconds; a Date does not.
        let ms: i64 = format!("{fraction:0<3}")[..3].parse().map_err(|_| NotATimestamp)?;
        Ok(Self(days(year, month, day) * DAY + hour * 3_600_000 + minute * 60_000 + second * 1000 + ms))
    }
}

/// Three numbers, each of so many digits.
fn numbers(text: &str, separator: char, digits: [usize; 3]) -> Result<[i64; 3], NotATimestamp> {
    let mut parts = text.split(separator);
    let mut found = [0; 3];
    for (number, digits) in found.iter_mut().zip(digits) {
        let part = parts.next().ok_or(NotATimestamp)?;
        if part.len() != digits || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(NotATimestamp);
        }
        *number = part.parse().map_err(|_| NotATimestamp)?;
    }
    if parts.next().is_some() { Err(NotATimestamp) } else { Ok(found) }
}

/// Days since 1970-01-01 of a Gregorian date: <https://howardhinnant.github.io/date_algorithms.html#days_from_civil>
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The inverse: <https://howardhinnant.github.io/date_algorithms.html#civil_from_days>
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_points_in_time_read_and_write() {
        for (text, ms) in [
            ("1970-01-01T00:00:00.000Z", 0),
            ("2000-02-29T23:59:59.999Z", 951_868_799_999),
            ("2026-01-31T12:00:00.123Z", 1_769_860_800_123),
            ("1969-12-31T23:59:59.999Z", -1),
            ("0001-01-01T00:00:00.000Z", *Timestamp::RANGE.start()),
            ("9999-12-31T23:59:59.999Z", *Timestamp::RANGE.end()),
        ] {
            assert_eq!(text.parse(), Ok(Timestamp(ms)));
            assert_eq!(Timestamp(ms).to_string(), text);
        }
    }

    #[test]
    fn every_day_of_eight_centuries_survives_the_round_trip() {
        for day in -146_097..146_097 {
            let (year, month, of_month) = civil(day);
            assert_eq!(days(year, month, of_month), day);
        }
    }

    #[test]
    fn microseconds_are_cut_and_a_missing_fraction_is_zero() {
        assert_eq!("2026-01-31T12:00:00.123456Z".parse(), Ok(Timestamp(1_769_860_800_123)));
        assert_eq!("2026-01-31T12:00:00Z".parse(), Ok(Timestamp(1_769_860_800_000)));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "infinity",
            "2026-01-31",
            "2026-13-01T00:00:00Z",
            "2026-01-31T12:00:00+02",
            "a-b-cT1:2:3Z",
            "2031-02-30T00:00:00Z",
            "2031-02-29T00:00:00Z",
            "2031-04-31T00:00:00Z",
            "2031-01-00T00:00:00Z",
            "26-01-31T00:00:00Z",
            "0000-01-01T00:00:00Z",
            "10000-01-01T00:00:00Z",
            "2031-001-01T00:00:00Z",
            "2031-1-01T00:00:00Z",
            "2031-01-31T23:59:60Z",
            "2031-01-31T23:59:59:00Z",
        ] {
            assert_eq!(text.parse::<Timestamp>(), Err(NotATimestamp), "{text}");
        }
    }
}

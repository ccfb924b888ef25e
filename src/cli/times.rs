//! Lengths of time and points in time as people type them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::error::{Error, Result};
use crate::timestamp::Timestamp;

/// `14d`, `12h`, `30m`, `2w`.
pub(super) fn length(text: &str) -> Result<Duration> {
    let wrong =
        || Error::InvalidArgument("a length of time is a number with a unit: 30m, 12h, 14d or 2w".into());
    let text = text.trim();
    let (at, unit) = text.char_indices().last().ok_or_else(wrong)?;
    let number: u64 = text[..at].trim_end().parse().map_err(|_| wrong())?;
    let seconds = match unit {
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        'w' => 604_800,
        _ => return Err(wrong()),
    };
    // A hundred years and then some: what PostgreSQL and Date can both say.
    let total = number.checked_mul(seconds).filter(|total| *total <= 100 * 366 * 86_400).ok_or_else(wrong)?;
    Ok(Duration::from_secs(total))
}

/// A length of time as PostgreSQL reads it: `90 days`.
pub(super) fn interval(text: &str) -> Result<String> {
    let seconds = length(text)?.as_secs();
    if seconds == 0 {
        return Err(Error::InvalidArgument("a length of time is more than none: 90d".into()));
    }
    Ok(match (seconds % 86_400, seconds % 3600) {
        (0, _) => format!("{} days", seconds / 86_400),
        (_, 0) => format!("{} hours", seconds / 3600),
        _ => format!("{} minutes", seconds / 60),
    })
}

/// `2026-01-31` or `2026-01-31T12:00:00Z`: a day of the calendar, in the years 1 to 9999.
pub(super) fn point(text: &str) -> Result<Timestamp> {
    moment(text).ok_or_else(|| {
        Error::InvalidArgument(
            "a point in time is a day, 2026-01-31, or a time in UTC, 2026-01-31T12:00:00Z".into(),
        )
    })
}

/// `2026-01-31`, `2026-01-31T12:00:00Z`, or a length of time before now.
pub(super) fn since(text: &str) -> Result<Timestamp> {
    if let Ok(ago) = length(text) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let at = now.saturating_sub(ago).as_millis();
        return Ok(Timestamp(i64::try_from(at).unwrap_or(i64::MAX)));
    }
    moment(text).ok_or_else(|| {
        Error::InvalidArgument(
            "a point in time is a day, 2026-01-31, a time in UTC, 2026-01-31T12:00:00Z, or how long ago, 7d"
                .into(),
        )
    })
}

fn moment(text: &str) -> Option<Timestamp> {
    if text.contains('T') { text.parse().ok() } else { format!("{text}T00:00:00Z").parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_have_units() {
        assert_eq!(length("30m").unwrap(), Duration::from_mins(30));
        assert_eq!(length("14d").unwrap(), Duration::from_hours(14 * 24));
        assert_eq!(length(" 2 w").unwrap(), Duration::from_hours(14 * 24));
        for bad in ["", "14", "d", "-1d", "1.5d", "14x", "99999999999999999999d", "40000000d", "é"] {
            assert!(length(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn points_in_time_are_days_times_or_ages() {
        assert_eq!(since("2026-01-31").unwrap().to_string(), "2026-01-31T00:00:00.000Z");
        assert_eq!(since("2026-01-31T12:00:00Z").unwrap().to_string(), "2026-01-31T12:00:00.000Z");
        assert!(since("7d").unwrap() > since("8d").unwrap());
        for bad in
            ["yesterday", "", "2031-02-30", "31-01-2026", "10000-01-01", "2031-02-30T12:00:00Z", "26-01-31"]
        {
            assert!(since(bad).is_err() && point(bad).is_err(), "{bad}");
        }
        assert!(point("2032-02-29").is_ok());
    }
}

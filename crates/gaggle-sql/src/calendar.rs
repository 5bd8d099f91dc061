//! Dates and times of other crates, from and to the text that both databases keep them as.
//!
//! Read are the forms that PostgreSQL's columns are given as, and those of SQLite's own functions, which have
//! a space where the others have a `T`.

use crate::value::Value;

/// Year (0 is 1 BC), month, day.
pub(crate) type Day = (i32, u8, u8);
/// Hour, minute, second, nanoseconds.
pub(crate) type Clock = (u8, u8, u8, u32);

fn number<T: std::str::FromStr>(digits: &str) -> Option<T> {
    let is_plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| is_plain)
}

fn without_era(text: &str) -> (&str, bool) {
    match text.strip_suffix(" BC") {
        Some(text) => (text, true),
        None => (text, false),
    }
}

/// `2026-11-21`, `0044-03-15 BC`
pub(crate) fn day(text: &str) -> Option<Day> {
    let (text, is_before) = without_era(text);
    let mut parts = text.splitn(3, '-');
    let year: i32 = number(parts.next()?)?;
    let year = if is_before { 1 - year } else { year };
    Some((year, number(parts.next()?)?, number(parts.next()?)?))
}

/// `10:20:30.5`
pub(crate) fn clock(text: &str) -> Option<Clock> {
    let (text, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let mut parts = text.splitn(3, ':');
    let (hour, minute) = (number(parts.next()?)?, number(parts.next()?)?);
    // SQLite's shortest form has no seconds.
    let second = parts.next().map_or(Some(0), number)?;
    let nanoseconds: u32 = number(fraction.get(..9).unwrap_or(fraction))?;
    let missing = 9_usize.saturating_sub(fraction.len()) as u32;
    Some((hour, minute, second, nanoseconds * 10_u32.pow(missing)))
}

/// `2026-11-21T10:20:30.5`
pub(crate) fn moment(text: &str) -> Option<(Day, Clock)> {
    let (text, is_before) = without_era(text);
    let (date, time) = text.split_once(['T', ' '])?;
    let (year, month, day) = day(date)?;
    let year = if is_before { 1 - year } else { year };
    Some(((year, month, day), clock(time)?))
}

/// `2026-11-21T10:20:30.5Z`, `2026-11-21T10:20:30+02:00`; with the offset from UTC in seconds.
pub(crate) fn zoned(text: &str) -> Option<(Day, Clock, i32)> {
    let (text, is_before) = without_era(text);
    let (date, time) = text.split_once(['T', ' '])?;
    let at = time.find(['Z', '+', '-'])?;
    let (time, zone) = time.split_at(at);
    let era = if is_before { " BC" } else { "" };
    let (day, clock) = moment(&format!("{date}T{time}{era}"))?;
    if zone == "Z" {
        return Some((day, clock, 0));
    }
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let mut parts = zone[1..].splitn(2, ':');
    let hours: i32 = number(parts.next()?)?;
    let minutes: i32 = parts.next().map_or(Some(0), number)?;
    Some((day, clock, sign * (hours * 3600 + minutes * 60)))
}

/// The text of a date, with what is to follow it before the era.
pub(crate) fn day_text((year, month, day): Day, time: &str) -> Value {
    Value::Text(match year {
        1.. => format!("{year:04}-{month:02}-{day:02}{time}"),
        _ => format!("{:04}-{month:02}-{day:02}{time} BC", 1 - year),
    })
}

/// The text of a time of day.
pub(crate) fn clock_text((hour, minute, second, nanoseconds): Clock) -> String {
    let whole = format!("{hour:02}:{minute:02}:{second:02}");
    match nanoseconds {
        0 => whole,
        part => format!("{whole}.{part:09}")
            .trim_end_matches('0')
            .to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_and_written_the_same() {
        for text in ["2026-11-21", "0044-03-15 BC", "12026-01-01"] {
            let day = day(text).expect("a date");
            assert_eq!(day_text(day, ""), Value::from(text));
        }
        assert_eq!(day("0001-01-01 BC"), Some((0, 1, 1)));
        for text in ["10:20:30", "10:20:30.5", "00:00:00.000001"] {
            assert_eq!(clock_text(clock(text).expect("a time")), text);
        }
        assert_eq!(clock("10:20"), Some((10, 20, 0, 0)));
        assert_eq!(
            clock("10:20:30.1234567890"),
            Some((10, 20, 30, 123_456_789))
        );
        let (day, clock) = ((2026, 11, 21), (10, 20, 30, 0));
        let expected = Some((day, clock));
        assert_eq!(moment("2026-11-21T10:20:30"), expected);
        assert_eq!(moment("2026-11-21 10:20:30"), expected);
        for (zone, seconds) in [
            ("Z", 0),
            ("+02:00", 7200),
            ("-05:30", -19_800),
            ("+01", 3600),
        ] {
            let text = format!("2026-11-21T10:20:30{zone}");
            assert_eq!(zoned(&text), Some((day, clock, seconds)), "{text}");
        }
        assert_eq!(
            zoned("0044-03-15T00:00:00Z BC"),
            Some(((-43, 3, 15), (0, 0, 0, 0), 0))
        );
    }

    #[test]
    fn other_texts_are_none() {
        for text in [
            "",
            "infinity",
            "2026-11",
            "2026-11-x",
            "+2026-11-21",
            "1:2:3",
        ] {
            assert_eq!(day(text), None, "{text}");
        }
        for text in ["", "10", "10:20:30.", "10:20:-1", "10:20:30Z"] {
            assert_eq!(clock(text), None, "{text}");
        }
        assert_eq!(zoned("2026-11-21T10:20:30"), None);
        assert_eq!(moment("2026-11-21"), None);
    }
}

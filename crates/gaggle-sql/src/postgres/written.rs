//! Columns of types for which [`Value`](crate::Value) has no kind of its own, as text that PostgreSQL reads
//! again as the same value.
//!
//! Dates and times are as in ISO 8601, with PostgreSQL's `infinity` and ` BC`; a `timestamptz` is in UTC.
//!
//! Sources: the functions `*_send` in PostgreSQL's `src/backend/utils/adt`; for the calendar, Howard
//! Hinnant's `chrono-Compatible Low-Level Date Algorithms`.

use super::values::Failure;
use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};
use tokio_postgres::types::Type;

const DAY_MICROSECONDS: i64 = 86_400_000_000;
const SECOND_MICROSECONDS: i64 = 1_000_000;

/// Takes bytes off the front.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn bytes(&mut self, count: usize) -> Result<&'a [u8], Failure> {
        let split = self.0.split_at_checked(count);
        let (front, rest) = split.ok_or("the value ends too early")?;
        self.0 = rest;
        Ok(front)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Failure> {
        Ok(self.bytes(N)?.try_into()?)
    }

    fn u16(&mut self) -> Result<u16, Failure> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> Result<i32, Failure> {
        self.array().map(i32::from_be_bytes)
    }

    fn i64(&mut self) -> Result<i64, Failure> {
        self.array().map(i64::from_be_bytes)
    }
}

/// The text of a value of that type; `None`: the type is none of those here.
pub(super) fn written(ty: &Type, raw: &[u8]) -> Result<Option<String>, Failure> {
    let mut reader = Reader(raw);
    Ok(Some(match *ty {
        Type::DATE => match reader.i32()? {
            i32::MAX => "infinity".to_string(),
            i32::MIN => "-infinity".to_string(),
            days => with_era(i64::from(days), ""),
        },
        Type::TIME => clock(reader.i64()?),
        Type::TIMETZ => {
            let time = clock(reader.i64()?);
            // Seconds west of Greenwich.
            format!("{time}{}", offset(-reader.i32()?))
        }
        Type::TIMESTAMP => moment(reader.i64()?, ""),
        Type::TIMESTAMPTZ => moment(reader.i64()?, "Z"),
        Type::INTERVAL => interval(reader.i64()?, reader.i32()?, reader.i32()?),
        Type::UUID => uuid(reader.array()?),
        Type::INET | Type::CIDR => network(&mut reader)?,
        Type::MACADDR | Type::MACADDR8 => {
            let pairs: Vec<String> = raw.iter().map(|byte| format!("{byte:02x}")).collect();
            pairs.join(":")
        }
        Type::BIT | Type::VARBIT => bits(&mut reader)?,
        Type::CHAR => raw.iter().map(|&byte| char::from(byte)).collect(),
        _ => return Ok(None),
    }))
}

/// The digits of a `numeric`: groups of four, with the place of the first, a sign, and how many stand behind
/// the point.
pub(super) fn numeric(raw: &[u8]) -> Result<String, Failure> {
    let mut reader = Reader(raw);
    let count = usize::from(reader.u16()?);
    let weight = i32::from(reader.u16()? as i16);
    let sign = reader.u16()?;
    let scale = usize::from(reader.u16()?);
    let mut digits = match sign {
        0xC000 => return Ok("NaN".to_string()),
        0xD000 => return Ok("Infinity".to_string()),
        0xF000 => return Ok("-Infinity".to_string()),
        0x4000 => "-".to_string(),
        _ => String::new(),
    };
    let groups: Vec<u16> = (0..count)
        .map(|_| reader.u16())
        .collect::<Result<_, Failure>>()?;
    let group = |place: i32| {
        let index = usize::try_from(place).ok();
        index
            .and_then(|index| groups.get(index))
            .map_or(0, |&it| it)
    };
    // Writing into a string does not fail.
    let _ = match weight {
        ..0 => write!(digits, "0"),
        _ => write!(digits, "{}", group(0)),
    };
    for place in 1..=weight {
        let _ = write!(digits, "{:04}", group(place));
    }
    if scale > 0 {
        digits.push('.');
        let length = digits.len() + scale;
        let mut place = weight + 1;
        while digits.len() < length {
            let _ = write!(digits, "{:04}", group(place));
            place += 1;
        }
        digits.truncate(length);
    }
    Ok(digits)
}

/// Year, month and day of so many days after 2000-01-01; the year before 1 is 0.
fn civil(days: i64) -> (i64, i64, i64) {
    // From 0000-03-01, so that the leap day is a year's last.
    let days = days + 730_425;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

fn with_era(days: i64, time: &str) -> String {
    let (year, month, day) = civil(days);
    match year {
        1.. => format!("{year:04}-{month:02}-{day:02}{time}"),
        _ => format!("{:04}-{month:02}-{day:02}{time} BC", 1 - year),
    }
}

fn clock(microseconds: i64) -> String {
    let seconds = microseconds / SECOND_MICROSECONDS;
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let fraction = fraction(microseconds % SECOND_MICROSECONDS);
    format!("{hours:02}:{minutes:02}:{:02}{fraction}", seconds % 60)
}

/// `.5` for half a second, nothing for none.
fn fraction(microseconds: i64) -> String {
    match microseconds {
        0 => String::new(),
        part => format!(".{part:06}").trim_end_matches('0').to_string(),
    }
}

fn offset(seconds: i32) -> String {
    let sign = if seconds < 0 { '-' } else { '+' };
    let seconds = seconds.unsigned_abs();
    let whole = format!("{sign}{:02}:{:02}", seconds / 3600, seconds / 60 % 60);
    match seconds % 60 {
        0 => whole,
        odd => format!("{whole}:{odd:02}"),
    }
}

fn moment(microseconds: i64, zone: &str) -> String {
    match microseconds {
        i64::MAX => "infinity".to_string(),
        i64::MIN => "-infinity".to_string(),
        _ => {
            let time = clock(microseconds.rem_euclid(DAY_MICROSECONDS));
            let days = microseconds.div_euclid(DAY_MICROSECONDS);
            with_era(days, &format!("T{time}{zone}"))
        }
    }
}

fn interval(microseconds: i64, days: i32, months: i32) -> String {
    let mut text = "P".to_string();
    let mut part = |number: i64, unit: &str| {
        if number != 0 {
            let _ = write!(text, "{number}{unit}");
        }
    };
    part(i64::from(months / 12), "Y");
    part(i64::from(months % 12), "M");
    part(i64::from(days), "D");
    if microseconds == 0 && text.len() > 1 {
        return text;
    }
    let seconds = microseconds / SECOND_MICROSECONDS;
    let below = microseconds % (60 * SECOND_MICROSECONDS);
    let mut time = "T".to_string();
    for (number, unit) in [(seconds / 3600, 'H'), (seconds / 60 % 60, 'M')] {
        if number != 0 {
            let _ = write!(time, "{number}{unit}");
        }
    }
    if below != 0 || time.len() == 1 {
        let sign = if below < 0 { "-" } else { "" };
        let whole = (below / SECOND_MICROSECONDS).abs();
        let fraction = fraction((below % SECOND_MICROSECONDS).abs());
        let _ = write!(time, "{sign}{whole}{fraction}S");
    }
    text + &time
}

fn uuid(bytes: [u8; 16]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let parts = [
        &digits[..8],
        &digits[8..12],
        &digits[12..16],
        &digits[16..20],
        &digits[20..],
    ];
    parts.join("-")
}

fn network(reader: &mut Reader<'_>) -> Result<String, Failure> {
    let [_, bits, is_network, length] = reader.array()?;
    let address = match length {
        4 => Ipv4Addr::from(reader.array::<4>()?).to_string(),
        16 => Ipv6Addr::from(reader.array::<16>()?).to_string(),
        other => return Err(format!("an address of {other} bytes").into()),
    };
    if is_network == 0 && bits == length * 8 {
        return Ok(address);
    }
    Ok(format!("{address}/{bits}"))
}

fn bits(reader: &mut Reader<'_>) -> Result<String, Failure> {
    let count = usize::try_from(reader.i32()?)?;
    let bytes = reader.bytes(count.div_ceil(8))?;
    let bit = |place: usize| (bytes[place / 8] >> (7 - place % 8)) & 1;
    let digits = (0..count).map(|place| char::from(b'0' + bit(place)));
    Ok(digits.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_become_dates_over_eras() {
        let cases = [
            (0, "2000-01-01"),
            (-1, "1999-12-31"),
            (59, "2000-02-29"),
            (60, "2000-03-01"),
            (-730_119, "0001-01-01"),
            (-730_120, "0001-12-31 BC"),
            (36_524, "2099-12-31"),
        ];
        for (days, expected) in cases {
            assert_eq!(with_era(days, ""), expected, "{days}");
        }
    }

    #[test]
    fn intervals_keep_their_signs() {
        assert_eq!(interval(0, 0, 0), "PT0S");
        assert_eq!(interval(0, 0, -14), "P-1Y-2M");
        assert_eq!(interval(-1_500_000, 1, 0), "P1DT-1.5S");
        assert_eq!(interval(-500_000, 0, 0), "PT-0.5S");
        assert_eq!(interval(5_400_000_000, 0, 0), "PT1H30M");
    }

    #[test]
    fn values_that_end_too_early_are_errors() {
        for ty in [Type::DATE, Type::TIMESTAMPTZ, Type::INTERVAL, Type::INET] {
            assert!(written(&ty, &[1, 2]).is_err(), "{ty}");
        }
        assert!(numeric(&[0, 2, 0, 0, 0, 0, 0, 0, 0, 1]).is_err());
    }
}

//! Types of other crates as parameters and columns, each with the feature of its crate's name.

use crate::error::Error;
use crate::value::{FromValue, Value, mismatch};

/// A type whose text is read by `parse`.
#[cfg(any(
    feature = "chrono",
    feature = "serde_json",
    feature = "time",
    feature = "uuid"
))]
fn parsed<T>(
    value: &Value,
    wanted: &str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, Error> {
    match value {
        Value::Text(text) => parse(text)
            .ok_or_else(|| Error::Usage(format!("the text {text:?} was read as {wanted}"))),
        other => mismatch(other, wanted),
    }
}

#[cfg(feature = "chrono")]
mod of_chrono {
    use super::{Error, FromValue, Value, parsed};
    use crate::calendar::{Clock, Day, clock, clock_text, day, day_text, moment, zoned};
    use chrono::{
        DateTime, Datelike, Duration, NaiveDate, NaiveDateTime, NaiveTime, Timelike, Utc,
    };

    fn day_of(date: NaiveDate) -> Day {
        (date.year(), date.month() as u8, date.day() as u8)
    }

    fn clock_of(time: NaiveTime) -> Clock {
        // A leap second, which no database here knows, is the end of the second before.
        let nanoseconds = time.nanosecond().min(999_999_999);
        let (hour, minute, second) = (time.hour(), time.minute(), time.second());
        (hour as u8, minute as u8, second as u8, nanoseconds)
    }

    fn date_at((year, month, day): Day) -> Option<NaiveDate> {
        NaiveDate::from_ymd_opt(year, month.into(), day.into())
    }

    fn time_at((hour, minute, second, nanoseconds): Clock) -> Option<NaiveTime> {
        NaiveTime::from_hms_nano_opt(hour.into(), minute.into(), second.into(), nanoseconds)
    }

    impl From<NaiveDate> for Value {
        fn from(date: NaiveDate) -> Value {
            day_text(day_of(date), "")
        }
    }

    impl From<NaiveTime> for Value {
        fn from(time: NaiveTime) -> Value {
            Value::Text(clock_text(clock_of(time)))
        }
    }

    impl From<NaiveDateTime> for Value {
        fn from(moment: NaiveDateTime) -> Value {
            let time = clock_text(clock_of(moment.time()));
            day_text(day_of(moment.date()), &format!("T{time}"))
        }
    }

    impl From<DateTime<Utc>> for Value {
        fn from(moment: DateTime<Utc>) -> Value {
            let moment = moment.naive_utc();
            let time = clock_text(clock_of(moment.time()));
            day_text(day_of(moment.date()), &format!("T{time}Z"))
        }
    }

    impl FromValue for NaiveDate {
        fn from_value(value: &Value) -> Result<Self, Error> {
            parsed(value, "a date", |text| date_at(day(text)?))
        }
    }

    impl FromValue for NaiveTime {
        fn from_value(value: &Value) -> Result<Self, Error> {
            parsed(value, "a time of day", |text| time_at(clock(text)?))
        }
    }

    impl FromValue for NaiveDateTime {
        fn from_value(value: &Value) -> Result<Self, Error> {
            parsed(value, "a date and time", |text| {
                let (day, clock) = moment(text)?;
                Some(date_at(day)?.and_time(time_at(clock)?))
            })
        }
    }

    impl FromValue for DateTime<Utc> {
        fn from_value(value: &Value) -> Result<Self, Error> {
            parsed(value, "a moment with its offset from UTC", |text| {
                let (day, clock, offset) = zoned(text)?;
                let local = date_at(day)?.and_time(time_at(clock)?);
                let utc = local.checked_sub_signed(Duration::seconds(offset.into()))?;
                Some(utc.and_utc())
            })
        }
    }
}

#[cfg(feature = "time")]
mod of_time {
    use super::{Error, FromValue, Value, parsed};
    use crate::calendar::{Clock, Day, clock, clock_text, day, day_text, moment, zoned};
    use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset};

    fn day_of(date: Date) -> Day {
        (date.year(), date.month().into(), date.day())
    }

    fn clock_of(time: Time) -> Clock {
        let (hour, minute, second) = time.as_hms();
        (hour, minute, second, time.nanosecond())
    }

    fn date_at((year, month, day): Day) -> Option<Date> {
        Date::from_calendar_date(year, Month::try_from(month).ok()?, day).ok()
    }

    fn time_at((hour, minute, second, nanoseconds): Clock) -> Option<Time> {
        Time::from_hms_nano(hour, minute, second, nanoseconds).ok()
    }

    impl From<Date> for Value {
        fn from(date: Date) -> Value {
            day_text(day_of(date), "")
        }
    }

    impl From<Time> for Value {
        fn from(time: Time) -> Value {
            Value::Text(clock_text(clock_of(time)))
        }
    }

    impl From<PrimitiveDateTime> for Value {
        fn from(moment: PrimitiveDateTime) -> Value {
            let time = clock_text(clock_of(moment.time()));
            day_text(day_of(moment.date()), &format!("T{time}"))
        }
    }

    impl From<OffsetDateTime> for Value {
        fn from(moment: OffsetDateTime) -> Value {
            let moment = moment.to_offset(UtcOffset::UTC);
            let time = clock_text(clock_of(moment.time()));
            day_text(day_of(moment.date()), &format!("T{time}Z"))
        }
    }

    impl FromValue for Date {
        fn from_value(value: &Value) -> Result<Self, Error> {
            parsed(value, "a date", |text| date_at(day(text)?))
        }
    }

    impl FromValue for Time {
        fn from_value(value: &Value) -> Result<Self, Error> {
            parsed(value, "a time of day", |text| time_at(clock(text)?))
        }
    }

    impl FromValue for PrimitiveDateTime {
        fn from_value(value: &Value) -> Result<Self, Error> {
            parsed(value, "a date and time", |text| {
                let (day, clock) = moment(text)?;
                Some(PrimitiveDateTime::new(date_at(day)?, time_at(clock)?))
            })
        }
    }

    impl FromValue for OffsetDateTime {
        fn from_value(value: &Value) -> Result<Self, Error> {
            parsed(value, "a moment with its offset from UTC", |text| {
                let (day, clock, offset) = zoned(text)?;
                let offset = UtcOffset::from_whole_seconds(offset).ok()?;
                let local = PrimitiveDateTime::new(date_at(day)?, time_at(clock)?);
                Some(local.assume_offset(offset))
            })
        }
    }
}

#[cfg(feature = "uuid")]
mod of_uuid {
    use super::{Error, FromValue, Value, mismatch, parsed};
    use uuid::Uuid;

    impl From<Uuid> for Value {
        fn from(uuid: Uuid) -> Value {
            Value::Text(uuid.to_string())
        }
    }

    /// Also from 16 bytes, as some keep them in SQLite.
    impl FromValue for Uuid {
        fn from_value(value: &Value) -> Result<Self, Error> {
            match value {
                Value::Bytes(bytes) => {
                    Uuid::from_slice(bytes).or_else(|_| mismatch(value, "a UUID"))
                }
                _ => parsed(value, "a UUID", |text| Uuid::parse_str(text).ok()),
            }
        }
    }
}

#[cfg(feature = "serde_json")]
mod of_serde_json {
    use super::{Error, FromValue, Value, parsed};

    impl From<serde_json::Value> for Value {
        fn from(json: serde_json::Value) -> Value {
            Value::Text(json.to_string())
        }
    }

    /// An SQL NULL is no JSON: read a column that may have it as an `Option`.
    impl FromValue for serde_json::Value {
        fn from_value(value: &Value) -> Result<Self, Error> {
            parsed(value, "JSON", |text| serde_json::from_str(text).ok())
        }
    }
}

#[cfg(feature = "rust_decimal")]
mod of_rust_decimal {
    use super::{Error, FromValue, Value, mismatch};
    use rust_decimal::Decimal;

    impl From<Decimal> for Value {
        fn from(number: Decimal) -> Value {
            Value::Decimal(number.to_string())
        }
    }

    impl FromValue for Decimal {
        fn from_value(value: &Value) -> Result<Self, Error> {
            match value {
                Value::Integer(number) => Ok(Decimal::from(*number)),
                Value::Decimal(digits) | Value::Text(digits) => {
                    let exact = Decimal::from_str_exact(digits);
                    exact.map_err(|error| {
                        Error::Usage(format!("{digits:?} was read as a decimal number: {error}"))
                    })
                }
                other => mismatch(other, "a decimal number"),
            }
        }
    }
}

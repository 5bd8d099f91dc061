//! What goes into statements and comes out of rows.

use crate::error::Error;

/// A value of a parameter or of a column.
///
/// Dates, times, intervals, UUIDs, JSON and network addresses are [`Value::Text`] both ways: PostgreSQL reads
/// the text it is given as the type that it expects, and its columns are written as text that it would read
/// again as the same value: `2026-11-21`, `2026-11-21T10:20:30.5` (`timestamp`), `2026-11-21T10:20:30.5Z`
/// (`timestamptz`, in UTC), `P1DT2H` (`interval`). SQLite keeps such things as text anyway. With this crate's
/// features `chrono`, `time`, `uuid`, `serde_json` and `rust_decimal` the types of those crates are parameters
/// and columns on either database.
///
/// Columns of types that are none of these (ranges, composites, geometry, ...) are errors; cast them in the
/// statement (`SELECT area::text`).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// NULL.
    Null,
    /// A truth; SQLite has none, and stores 0 or 1.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction.
    Real(f64),
    /// A number of any precision, by its decimal digits: PostgreSQL's `numeric`, which is also what it sums
    /// `bigint` to. SQLite is given the digits as a text.
    Decimal(String),
    /// A text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// An array of PostgreSQL, with lists in it where it has several dimensions. SQLite has none.
    List(Vec<Value>),
}

impl Value {
    /// A list, of whatever can be made into values.
    ///
    /// # Examples
    /// ```
    /// use gaggle_sql::Value;
    /// let list = Value::list(["a", "b"]);
    /// assert_eq!(list, Value::List(vec!["a".into(), "b".into()]));
    /// ```
    pub fn list<T: Into<Value>>(values: impl IntoIterator<Item = T>) -> Value {
        Value::List(values.into_iter().map(Into::into).collect())
    }
}

/// The parameters of a statement: an array of [`Value`]s from whatever can be made into one.
///
/// # Examples
/// ```
/// use gaggle_sql::{Value, params};
/// let name: Option<&str> = None;
/// assert_eq!(params![7, name], [Value::Integer(7), Value::Null]);
/// ```
#[macro_export]
macro_rules! params {
    ($($value:expr),* $(,)?) => { [$($crate::Value::from($value)),*] };
}

macro_rules! from {
    ($($from:ty => |$value:ident| $to:expr,)*) => {$(
        impl From<$from> for Value {
            fn from($value: $from) -> Value {
                $to
            }
        }
    )*};
}

from! {
    bool => |value| Value::Bool(value),
    i16 => |value| Value::Integer(value.into()),
    i32 => |value| Value::Integer(value.into()),
    i64 => |value| Value::Integer(value),
    u8 => |value| Value::Integer(value.into()),
    u16 => |value| Value::Integer(value.into()),
    u32 => |value| Value::Integer(value.into()),
    f32 => |value| Value::Real(value.into()),
    f64 => |value| Value::Real(value),
    &str => |value| Value::Text(value.to_string()),
    &String => |value| Value::Text(value.clone()),
    String => |value| Value::Text(value),
    &[u8] => |value| Value::Bytes(value.to_vec()),
    Vec<u8> => |value| Value::Bytes(value),
}

impl<T> From<Option<T>> for Value
where
    Value: From<T>,
{
    fn from(value: Option<T>) -> Value {
        value.map_or(Value::Null, Value::from)
    }
}

/// What a column's value can be made into.
pub trait FromValue: Sized {
    /// Makes it.
    ///
    /// # Errors
    /// When the value is of another kind, or too large.
    fn from_value(value: &Value) -> Result<Self, Error>;
}

pub(crate) fn mismatch<T>(value: &Value, wanted: &str) -> Result<T, Error> {
    let kind = match value {
        Value::Null => "NULL",
        Value::Bool(_) => "a truth",
        Value::Integer(_) => "a whole number",
        Value::Real(_) => "a number with a fraction",
        Value::Decimal(_) => "a number in digits",
        Value::Text(_) => "a text",
        Value::Bytes(_) => "bytes",
        Value::List(_) => "a list",
    };
    Err(Error::Usage(format!("{kind} was read as {wanted}")))
}

impl FromValue for Value {
    fn from_value(value: &Value) -> Result<Self, Error> {
        Ok(value.clone())
    }
}

impl FromValue for bool {
    fn from_value(value: &Value) -> Result<Self, Error> {
        match value {
            Value::Bool(value) => Ok(*value),
            Value::Integer(0) => Ok(false),
            Value::Integer(1) => Ok(true),
            other => mismatch(other, "a truth"),
        }
    }
}

impl FromValue for f64 {
    fn from_value(value: &Value) -> Result<Self, Error> {
        match value {
            Value::Real(value) => Ok(*value),
            // To the nearest that there is.
            Value::Decimal(digits) => match digits.parse() {
                Ok(value) => Ok(value),
                Err(_) => mismatch(value, "a number with a fraction"),
            },
            other => mismatch(other, "a number with a fraction"),
        }
    }
}

impl FromValue for String {
    fn from_value(value: &Value) -> Result<Self, Error> {
        match value {
            Value::Text(value) | Value::Decimal(value) => Ok(value.clone()),
            other => mismatch(other, "a text"),
        }
    }
}

impl FromValue for Vec<u8> {
    fn from_value(value: &Value) -> Result<Self, Error> {
        match value {
            Value::Bytes(value) => Ok(value.clone()),
            other => mismatch(other, "bytes"),
        }
    }
}

impl<T: FromValue> FromValue for Vec<T> {
    fn from_value(value: &Value) -> Result<Self, Error> {
        match value {
            Value::List(values) => values.iter().map(T::from_value).collect(),
            other => mismatch(other, "a list"),
        }
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: &Value) -> Result<Self, Error> {
        match value {
            Value::Null => Ok(None),
            value => T::from_value(value).map(Some),
        }
    }
}

/// A whole number from digits, if nothing but zeros stands behind the point.
fn whole_of<T: std::str::FromStr>(digits: &str) -> Option<T> {
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_whole = fraction.bytes().all(|digit| digit == b'0');
    whole.parse().ok().filter(|_| is_whole)
}

macro_rules! whole {
    ($($number:ty)*) => {$(
        impl FromValue for $number {
            fn from_value(value: &Value) -> Result<Self, Error> {
                match value {
                    Value::Integer(number) => <$number>::try_from(*number).map_err(|_| {
                        Error::Usage(format!("{number} does not fit into {}", stringify!($number)))
                    }),
                    Value::Decimal(digits) => whole_of(digits).ok_or_else(|| {
                        Error::Usage(format!("{digits} does not fit into {}", stringify!($number)))
                    }),
                    other => mismatch(other, stringify!($number)),
                }
            }
        }
    )*};
}

whole!(i16 i32 i64 u16 u32 u64 usize);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_do_not_fit_and_kinds_that_do_not_match_are_named() {
        assert_eq!(i64::from_value(&Value::Integer(-1)).unwrap(), -1);
        let error = u32::from_value(&Value::Integer(-1)).unwrap_err();
        assert_eq!(error.to_string(), "-1 does not fit into u32");
        let error = String::from_value(&Value::Integer(1)).unwrap_err();
        assert_eq!(error.to_string(), "a whole number was read as a text");
        assert_eq!(Option::<i64>::from_value(&Value::Null).unwrap(), None);
        assert!(i64::from_value(&Value::Null).is_err());
        let digits = |text: &str| Value::Decimal(text.to_string());
        assert_eq!(i64::from_value(&digits("-7.00")).unwrap(), -7);
        assert_eq!(f64::from_value(&digits("7.25")).unwrap(), 7.25);
        let error = i64::from_value(&digits("7.01")).unwrap_err();
        assert_eq!(error.to_string(), "7.01 does not fit into i64");
        let list = Value::list([Some(1), None]);
        assert_eq!(
            Vec::<Option<i64>>::from_value(&list).unwrap(),
            [Some(1), None]
        );
        assert!(Vec::<i64>::from_value(&list).is_err());
        assert!(Vec::<u8>::from_value(&list).is_err());
    }
}

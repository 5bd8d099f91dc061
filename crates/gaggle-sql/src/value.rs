//! What goes into statements and comes out of rows.

use crate::error::Error;

/// A value of a parameter or of a column.
///
/// A [`Value::Text`] given to PostgreSQL where it expects another type (a date, a UUID, JSON, a number of
/// any precision) is read as that type's text. Columns of types that are none of these are errors; cast
/// them in the statement (`SELECT price::text`).
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// NULL.
    Null,
    /// A truth; SQLite has none, and stores 0 or 1.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction.
    Real(f64),
    /// A text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
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

fn mismatch<T>(value: &Value, wanted: &str) -> Result<T, Error> {
    let kind = match value {
        Value::Null => "NULL",
        Value::Bool(_) => "a truth",
        Value::Integer(_) => "a whole number",
        Value::Real(_) => "a number with a fraction",
        Value::Text(_) => "a text",
        Value::Bytes(_) => "bytes",
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
            other => mismatch(other, "a number with a fraction"),
        }
    }
}

impl FromValue for String {
    fn from_value(value: &Value) -> Result<Self, Error> {
        match value {
            Value::Text(value) => Ok(value.clone()),
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

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: &Value) -> Result<Self, Error> {
        match value {
            Value::Null => Ok(None),
            value => T::from_value(value).map(Some),
        }
    }
}

macro_rules! whole {
    ($($number:ty)*) => {$(
        impl FromValue for $number {
            fn from_value(value: &Value) -> Result<Self, Error> {
                match value {
                    Value::Integer(number) => <$number>::try_from(*number).map_err(|_| {
                        Error::Usage(format!("{number} does not fit into {}", stringify!($number)))
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
    }
}

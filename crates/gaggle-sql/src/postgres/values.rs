//! Values as PostgreSQL has them on the wire.

use super::written::{Reader, numeric, written};
use crate::error::Error;
use crate::value::Value;
use std::error::Error as StdError;
use tokio_postgres::Row;
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{Format, FromSql, IsNull, Kind, ToSql, Type};

pub(super) type Failure = Box<dyn StdError + Sync + Send>;

fn is_text(ty: &Type) -> bool {
    let texts = [
        Type::TEXT,
        Type::VARCHAR,
        Type::BPCHAR,
        Type::NAME,
        Type::UNKNOWN,
        Type::JSON,
        Type::XML,
    ];
    texts.contains(ty) || matches!(ty.kind(), Kind::Enum(_)) || ty.name() == "citext"
}

/// The type that values are sent as: that below a domain.
fn base(ty: &Type) -> &Type {
    match ty.kind() {
        Kind::Domain(inner) => base(inner),
        _ => ty,
    }
}

fn out_of_range(number: i64, ty: &Type) -> Failure {
    format!("{number} does not fit into {ty}").into()
}

fn whole(number: i64, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Failure> {
    match *ty {
        Type::INT2 => i16::try_from(number)
            .map_err(|_| out_of_range(number, ty))?
            .to_sql(ty, out),
        Type::INT4 => i32::try_from(number)
            .map_err(|_| out_of_range(number, ty))?
            .to_sql(ty, out),
        Type::INT8 => number.to_sql(ty, out),
        Type::OID => u32::try_from(number)
            .map_err(|_| out_of_range(number, ty))?
            .to_sql(ty, out),
        Type::FLOAT4 => (number as f32).to_sql(ty, out),
        Type::FLOAT8 => (number as f64).to_sql(ty, out),
        _ => text(&number.to_string(), out),
    }
}

/// Sends a value as its text, which the server reads as it reads a literal.
fn text(words: &str, out: &mut BytesMut) -> Result<IsNull, Failure> {
    out.extend_from_slice(words.as_bytes());
    Ok(IsNull::No)
}

impl ToSql for Value {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Failure> {
        let ty = base(ty);
        match self {
            Value::Null => Ok(IsNull::Yes),
            Value::Bool(value) if *ty == Type::BOOL => value.to_sql(ty, out),
            Value::Bool(value) => text(if *value { "true" } else { "false" }, out),
            Value::Integer(number) => whole(*number, ty, out),
            Value::Real(number) if *ty == Type::FLOAT4 => (*number as f32).to_sql(ty, out),
            Value::Real(number) if *ty == Type::FLOAT8 => number.to_sql(ty, out),
            Value::Real(number) => text(&number.to_string(), out),
            Value::Decimal(words) | Value::Text(words) => text(words, out),
            Value::List(values) => {
                let mut words = String::new();
                array_literal(values, &mut words);
                text(&words, out)
            }
            Value::Bytes(bytes) if *ty == Type::BYTEA => bytes.to_sql(ty, out),
            Value::Bytes(_) => Err(format!("bytes cannot be given for {ty}").into()),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, ty: &Type) -> Format {
        let ty = base(ty);
        let is_number = [
            Type::INT2,
            Type::INT4,
            Type::INT8,
            Type::OID,
            Type::FLOAT4,
            Type::FLOAT8,
        ]
        .contains(ty);
        let is_real = [Type::FLOAT4, Type::FLOAT8].contains(ty);
        let is_binary = match self {
            Value::Null | Value::Bytes(_) => true,
            Value::Bool(_) => *ty == Type::BOOL,
            Value::Integer(_) => is_number,
            Value::Real(_) => is_real,
            Value::Decimal(_) | Value::Text(_) | Value::List(_) => false,
        };
        if is_binary {
            Format::Binary
        } else {
            Format::Text
        }
    }

    tokio_postgres::types::to_sql_checked!();
}

/// A column's value, as tokio-postgres hands it over.
struct Received(Value);

impl<'a> FromSql<'a> for Received {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Failure> {
        let ty = base(ty);
        Ok(Received(match *ty {
            Type::BOOL => Value::Bool(bool::from_sql(ty, raw)?),
            Type::INT2 => Value::Integer(i16::from_sql(ty, raw)?.into()),
            Type::INT4 => Value::Integer(i32::from_sql(ty, raw)?.into()),
            Type::INT8 => Value::Integer(i64::from_sql(ty, raw)?),
            Type::OID => Value::Integer(u32::from_sql(ty, raw)?.into()),
            Type::FLOAT4 => Value::Real(f32::from_sql(ty, raw)?.into()),
            Type::FLOAT8 => Value::Real(f64::from_sql(ty, raw)?),
            Type::BYTEA => Value::Bytes(raw.to_vec()),
            Type::VOID => Value::Null,
            Type::NUMERIC => Value::Decimal(numeric(raw)?),
            Type::XID => Value::Integer(u32::from_sql(&Type::OID, raw)?.into()),
            // Its text follows the number of the format.
            Type::JSONB | Type::JSONPATH if raw.first() == Some(&1) => {
                Value::Text(std::str::from_utf8(&raw[1..])?.into())
            }
            _ if is_text(ty) => Value::Text(std::str::from_utf8(raw)?.into()),
            _ => match (written(ty, raw)?, ty.kind()) {
                (Some(words), _) => Value::Text(words),
                (None, Kind::Array(member)) => list(member, raw)?,
                (None, _) => {
                    return Err(format!("values of {ty} are not read; cast them to text").into());
                }
            },
        }))
    }

    fn from_sql_null(_: &Type) -> Result<Self, Failure> {
        Ok(Received(Value::Null))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// An array: one value for each of the outermost dimension, lists again where there are more.
fn list(member: &Type, raw: &[u8]) -> Result<Value, Failure> {
    let mut reader = Reader(raw);
    let dimensions = usize::try_from(reader.i32()?)?;
    let (_has_nulls, _type) = (reader.i32()?, reader.i32()?);
    let mut lengths = Vec::new();
    for _ in 0..dimensions {
        lengths.push(usize::try_from(reader.i32()?)?);
        let _first_index = reader.i32()?;
    }
    if lengths.is_empty() {
        return Ok(Value::List(Vec::new()));
    }
    elements(member, &lengths, &mut reader)
}

fn elements(member: &Type, lengths: &[usize], reader: &mut Reader<'_>) -> Result<Value, Failure> {
    let Some((&length, inner)) = lengths.split_first() else {
        // NULL has no bytes, and the length -1.
        return match usize::try_from(reader.i32()?) {
            Err(_) => Ok(Value::Null),
            Ok(length) => Ok(Received::from_sql(member, reader.bytes(length)?)?.0),
        };
    };
    let values = (0..length).map(|_| elements(member, inner, reader));
    Ok(Value::List(values.collect::<Result<_, _>>()?))
}

/// A list as the text of an array, which the server reads as one of whatever type it expects.
fn array_literal(values: &[Value], words: &mut String) {
    words.push('{');
    for (place, value) in values.iter().enumerate() {
        if place > 0 {
            words.push(',');
        }
        match value {
            Value::Null => words.push_str("NULL"),
            Value::Bool(value) => words.push(if *value { 't' } else { 'f' }),
            Value::Integer(number) => words.push_str(&number.to_string()),
            Value::Real(number) => words.push_str(&number.to_string()),
            Value::Decimal(digits) => quote(digits, words),
            Value::Text(text) => quote(text, words),
            Value::Bytes(bytes) => {
                let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
                quote(&format!("\\x{}", digits.collect::<String>()), words);
            }
            Value::List(inner) => array_literal(inner, words),
        }
    }
    words.push('}');
}

fn quote(text: &str, words: &mut String) {
    words.push('"');
    for letter in text.chars() {
        if matches!(letter, '"' | '\\') {
            words.push('\\');
        }
        words.push(letter);
    }
    words.push('"');
}

/// The value of a column.
pub(super) fn of_column(row: &Row, place: usize) -> Result<Value, Error> {
    let received: Result<Received, _> = row.try_get(place);
    let usage = |error: tokio_postgres::Error| {
        let source = error.source().map(ToString::to_string);
        Error::Usage(source.unwrap_or_else(|| error.to_string()))
    };
    received.map(|Received(value)| value).map_err(usage)
}

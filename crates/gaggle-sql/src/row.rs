//! Rows.

use crate::error::Error;
use crate::value::{FromValue, Value};
use std::sync::Arc;

/// One row of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    columns: Arc<[String]>,
    values: Vec<Value>,
}

/// What names a column: its place, counted from 0, or its name.
pub trait Column {
    /// Its place among `columns`, if it is there.
    fn place(&self, columns: &[String]) -> Option<usize>;
    /// As it is called in an error.
    fn called(&self) -> String;
}

impl Column for usize {
    fn place(&self, columns: &[String]) -> Option<usize> {
        (*self < columns.len()).then_some(*self)
    }

    fn called(&self) -> String {
        format!("column {self}")
    }
}

impl Column for &str {
    fn place(&self, columns: &[String]) -> Option<usize> {
        columns.iter().position(|column| column == self)
    }

    fn called(&self) -> String {
        format!("column {self:?}")
    }
}

impl Row {
    pub(crate) fn new(columns: Arc<[String]>, values: Vec<Value>) -> Row {
        Row { columns, values }
    }

    /// The value of a column, by its place (from 0) or its name.
    ///
    /// # Errors
    /// When there is no such column, or its value cannot be made into a `T`.
    ///
    /// # Examples
    /// ```
    /// let pool = gaggle_sql::Pool::open("sqlite::memory:")?;
    /// let row = pool.query_one(&gaggle::context::background(), "SELECT 7 AS n, NULL", &[])?;
    /// assert_eq!(row.get::<u32>("n")?, 7);
    /// assert_eq!(row.get::<Option<String>>(1)?, None);
    /// assert!(row.get::<u32>("m").is_err());
    /// # Ok::<(), gaggle_sql::Error>(())
    /// ```
    pub fn get<T: FromValue>(&self, column: impl Column) -> Result<T, Error> {
        let place = column.place(&self.columns);
        let place =
            place.ok_or_else(|| Error::Usage(format!("there is no {}", column.called())))?;
        T::from_value(&self.values[place]).map_err(|error| match error {
            Error::Usage(what) => Error::Usage(format!("{}: {what}", column.called())),
            other => other,
        })
    }

    /// The names of the columns.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The values, in the order of the columns.
    pub fn values(&self) -> &[Value] {
        &self.values
    }
}

//! Users in a database.

use crate::domain::{Address, User};
use crate::usecase::{Refusal, UserStore};
use gaggle::context::Context;
use gaggle_sql::{Error, Pool, Row, params};

/// How each database numbers rows by itself; all else is the same for both.
const SQLITE_NUMBER: &str = "INTEGER PRIMARY KEY";
const POSTGRES_NUMBER: &str = "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY";

/// Users in a table.
pub struct SqlUsers(Pool);

impl SqlUsers {
    /// Opens the database, and makes the table if it is not there.
    pub fn open(url: &str, context: &Context) -> Result<SqlUsers, Error> {
        let is_sqlite = url.starts_with("sqlite:");
        let number = if is_sqlite {
            SQLITE_NUMBER
        } else {
            POSTGRES_NUMBER
        };
        let pool = Pool::builder().max_open(10).open(url)?;
        let table = format!(
            "CREATE TABLE IF NOT EXISTS users (number {number}, address TEXT NOT NULL UNIQUE)"
        );
        pool.execute(context, &table, &[])?;
        Ok(SqlUsers(pool))
    }

    /// The pool, for its figures.
    pub fn pool(&self) -> &Pool {
        &self.0
    }
}

fn refusal(error: Error) -> Refusal {
    if error.is_unique_violation() {
        return Refusal::Known;
    }
    Refusal::Store(error.to_string())
}

fn of_row(row: &Row) -> Result<User, Refusal> {
    let address: String = row.get("address").map_err(refusal)?;
    Ok(User {
        number: row.get("number").map_err(refusal)?,
        address: Address::parse(&address).ok_or(Refusal::NoAddress)?,
    })
}

impl UserStore for SqlUsers {
    fn add(&self, context: &Context, address: &Address) -> Result<User, Refusal> {
        let add = "INSERT INTO users (address) VALUES ($1) RETURNING number, address";
        let row = self.0.query_one(context, add, &params![address.as_str()]);
        of_row(&row.map_err(refusal)?)
    }

    fn all(&self, context: &Context) -> Result<Vec<User>, Refusal> {
        let sql = "SELECT number, address FROM users ORDER BY number";
        let rows = self.0.query(context, sql, &[]).map_err(refusal)?;
        rows.iter().map(of_row).collect()
    }
}

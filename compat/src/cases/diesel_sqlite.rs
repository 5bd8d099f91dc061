//! Diesel, on SQLite.

use crate::at_once::{Failure, at_once, expect_same};
use diesel::prelude::*;

diesel::table! {
    geese (number) {
        number -> BigInt,
        name -> Text,
    }
}

pub fn diesel(count: usize) -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("db").display().to_string();
    let open = || -> Result<SqliteConnection, Failure> {
        let mut connection = SqliteConnection::establish(&path)?;
        for pragma in ["PRAGMA busy_timeout = 60000", "PRAGMA synchronous = OFF"] {
            diesel::sql_query(pragma).execute(&mut connection)?;
        }
        Ok(connection)
    };
    let mut first = open()?;
    diesel::sql_query("PRAGMA journal_mode = WAL").execute(&mut first)?;
    diesel::sql_query(
        "CREATE TABLE geese (number BIGINT PRIMARY KEY NOT NULL, name TEXT NOT NULL)",
    )
    .execute(&mut first)?;
    at_once(count, |number| {
        let mut connection = open()?;
        let (number, goose) = (number as i64, format!("goose {number}"));
        diesel::insert_into(geese::table)
            .values((geese::number.eq(number), geese::name.eq(&goose)))
            .execute(&mut connection)?;
        let found: String = geese::table
            .filter(geese::number.eq(number))
            .select(geese::name)
            .first(&mut connection)?;
        expect_same(found, goose)
    })?;
    expect_same(
        geese::table.count().get_result::<i64>(&mut first)?,
        count as i64,
    )
}

//! PostgreSQL, Redis and SQLite.

use crate::at_once::{Failure, at_once, expect_same};
use crate::servers::address_of;
use std::time::Duration;

const QUERIES: i64 = 5;
/// What a PostgreSQL server has; the goroutines wait for one.
const CONNECTIONS: usize = 100;

fn query(client: &mut postgres::Client, number: usize) -> Result<(), Failure> {
    for factor in 0..QUERIES {
        let row = client.query_one(
            "SELECT $1::int8 * $2::int8 FROM pg_sleep(0.002)",
            &[&(number as i64), &factor],
        )?;
        expect_same(row.get::<_, i64>(0), number as i64 * factor)?;
    }
    Ok(())
}

pub fn postgres(count: usize) -> Result<(), Failure> {
    let url = address_of("COMPAT_POSTGRES")?;
    let connections = gaggle::sync::Semaphore::new(CONNECTIONS);
    at_once(count, |number| {
        let _permit = connections.acquire(1);
        let mut client = postgres::Client::connect(&url, postgres::NoTls)?;
        query(&mut client, number)?;
        Ok(client.close()?)
    })?;
    Ok(())
}

pub fn r2d2(count: usize) -> Result<(), Failure> {
    let config = address_of("COMPAT_POSTGRES")?.parse()?;
    let manager = r2d2_postgres::PostgresConnectionManager::new(config, postgres::NoTls);
    let pool = r2d2::Pool::builder()
        .max_size(20)
        .connection_timeout(Duration::from_secs(60))
        .build(manager)?;
    at_once(count, |number| {
        let mut client = pool.get()?;
        query(&mut client, number)
    })?;
    let state = pool.state();
    expect_same((state.connections, state.idle_connections), (20, 20))
}

pub fn redis(count: usize) -> Result<(), Failure> {
    use redis::TypedCommands;
    let client = redis::Client::open(address_of("COMPAT_REDIS")?)?;
    client.get_connection()?.del("shared")?;
    at_once(count, |number| {
        let mut connection = client.get_connection()?;
        let key = format!("own:{number}");
        connection.set(&key, number)?;
        connection.incr("shared", 1)?;
        expect_same(connection.get(&key)?, Some(number.to_string()))?;
        let nothing: Option<(String, String)> = redis::cmd("BLPOP")
            .arg(format!("empty:{number}"))
            .arg(0.05)
            .query(&mut connection)?;
        expect_same(nothing, None)
    })?;
    let shared = client.get_connection()?.get("shared")?;
    expect_same(shared, Some(count.to_string()))
}

pub fn rusqlite(count: usize) -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("db");
    let open = || -> Result<rusqlite::Connection, Failure> {
        let connection = rusqlite::Connection::open(&path)?;
        connection.busy_timeout(Duration::from_secs(60))?;
        connection.pragma_update(None, "synchronous", "off")?;
        Ok(connection)
    };
    let first = open()?;
    first.pragma_update(None, "journal_mode", "wal")?;
    first.execute_batch("CREATE TABLE flights (number INTEGER PRIMARY KEY, name TEXT NOT NULL)")?;
    at_once(count, |number| {
        use rusqlite::TransactionBehavior::Immediate;
        let mut connection = open()?;
        let transaction = connection.transaction_with_behavior(Immediate)?;
        let name = format!("flight {number}");
        transaction.execute("INSERT INTO flights VALUES (?1, ?2)", (number, &name))?;
        transaction.commit()?;
        let query = "SELECT name FROM flights WHERE number = ?1";
        expect_same(
            connection.query_row(query, [number], |row| row.get(0))?,
            name,
        )
    })?;
    let rows = first.query_row("SELECT COUNT(*) FROM flights", [], |row| row.get(0))?;
    expect_same::<usize>(rows, count)
}

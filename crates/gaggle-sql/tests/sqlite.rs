//! The pool on SQLite: what it promises, whatever the database.

use gaggle::context::{ContextError, background};
use gaggle_sql::{Error, Pool, PoolBuilder, params};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Counts for ever.
const ENDLESS: &str =
    "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n";

fn file(builder: PoolBuilder) -> (tempfile::TempDir, Pool) {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite:{}", folder.path().join("db").display());
    let pool = builder.open(&url).expect("a pool");
    (folder, pool)
}

fn await_that(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}");
        gaggle::time::sleep(Duration::from_millis(1));
    }
}

#[gaggle::test]
fn a_context_that_ends_interrupts_its_statement() {
    let (_folder, pool) = file(Pool::builder().max_open(1));
    for _ in 0..20 {
        let (context, _cancel) = background().with_timeout(Duration::from_millis(3));
        let error = pool.query(&context, ENDLESS, &[]).unwrap_err();
        assert!(
            matches!(error, Error::Context(ContextError::DeadlineExceeded)),
            "{error}"
        );
        let row = pool
            .query_one(&background(), "SELECT 7", &[])
            .expect("it is usable");
        assert_eq!(row.get::<i64>(0).expect("a number"), 7);
    }
    assert_eq!((pool.stats().open, pool.stats().closed_broken), (1, 0));
}

#[gaggle::test]
fn a_locked_file_is_waited_for_until_the_context_ends() {
    let (_folder, pool) = file(Pool::builder().busy_timeout(Duration::from_secs(60)));
    let context = background();
    pool.execute(&context, "CREATE TABLE t (x INTEGER)", &[])
        .expect("made");
    let writer = pool.begin(&context).expect("begun");
    let (short, _cancel) = context.with_timeout(Duration::from_millis(20));
    let error = pool
        .execute(&short, "INSERT INTO t VALUES (1)", &[])
        .unwrap_err();
    assert!(matches!(error, Error::Context(_)), "{error}");
    gaggle::scope(|scope| {
        let waiting = scope.go(|| pool.execute(&context, "INSERT INTO t VALUES (1)", &[]));
        await_that("two in use", || pool.stats().in_use == 2);
        writer.rollback().expect("undone");
        assert_eq!(waiting.join().expect("no panic").expect("inserted"), 1);
    });
}

#[gaggle::test]
fn who_waits_is_served_in_the_order_they_came() {
    let (_folder, pool) = file(Pool::builder().max_open(1));
    let held = pool.get(&background()).expect("a connection");
    let order = Mutex::new(Vec::new());
    gaggle::scope(|scope| {
        for number in 0..100 {
            let (pool, order) = (&pool, &order);
            scope.go(move || {
                let connection = pool.get(&background()).expect("a connection");
                order.lock().expect("no panic").push(number);
                drop(connection);
            });
            await_that("it waits", || pool.stats().waiting == number + 1);
        }
        drop(held);
    });
    assert_eq!(
        order.into_inner().expect("no panic"),
        (0..100).collect::<Vec<_>>()
    );
    assert_eq!(pool.stats().wait_count, 100);
}

#[gaggle::test]
fn waiters_that_give_up_lose_nothing() {
    let (_folder, pool) = file(Pool::builder().max_open(2));
    gaggle::scope(|scope| {
        for number in 0..200u64 {
            let pool = &pool;
            scope.go(move || {
                let time = Duration::from_micros(50 * (number % 40));
                let (context, _cancel) = background().with_timeout(time);
                match pool.get(&context) {
                    Ok(connection) => {
                        gaggle::yield_now();
                        drop(connection);
                    }
                    Err(Error::Context(_)) => {}
                    Err(error) => panic!("{error}"),
                }
            });
        }
    });
    let figures = pool.stats();
    assert_eq!((figures.in_use, figures.waiting), (0, 0), "{figures:?}");
    let both = (pool.get(&background()), pool.get(&background()));
    assert!(
        both.0.is_ok() && both.1.is_ok(),
        "both places are still there"
    );
}

#[gaggle::test]
fn the_limits_can_change_while_goroutines_wait() {
    let (_folder, pool) = file(Pool::builder().max_open(1));
    let first = pool.get(&background()).expect("a connection");
    gaggle::scope(|scope| {
        let second = scope.go(|| pool.get(&background()));
        await_that("it waits", || pool.stats().waiting == 1);
        pool.set_max_open(2);
        drop(second.join().expect("no panic").expect("a connection"));
    });
    pool.set_max_open(1);
    drop(first);
    assert_eq!((pool.stats().open, pool.stats().max_open), (1, 1));
    pool.set_max_idle(0);
    assert_eq!((pool.stats().open, pool.stats().closed_max_idle), (0, 1));
}

#[gaggle::test]
fn connections_that_are_old_or_rest_for_long_are_closed() {
    let short = Duration::from_millis(20);
    let (_folder, pool) = file(Pool::builder().max_idle_time(short));
    pool.ping(&background()).expect("an answer");
    await_that("it rested for long", || pool.stats().open == 0);
    assert_eq!(pool.stats().closed_max_idle_time, 1);

    pool.set_max_idle_time(None);
    pool.set_max_lifetime(Some(short));
    pool.ping(&background()).expect("an answer");
    await_that("it is old", || pool.stats().open == 0);
    assert_eq!(pool.stats().closed_max_lifetime, 1);
}

#[gaggle::test]
fn a_closed_pool_sends_away_who_waits_and_who_comes() {
    let (_folder, pool) = file(Pool::builder().max_open(1));
    let held = pool.get(&background()).expect("a connection");
    gaggle::scope(|scope| {
        let waiting = scope.go(|| pool.ping(&background()));
        await_that("it waits", || pool.stats().waiting == 1);
        pool.close();
        assert!(matches!(
            waiting.join().expect("no panic"),
            Err(Error::Closed)
        ));
    });
    assert!(matches!(pool.ping(&background()), Err(Error::Closed)));
    drop(held);
    assert_eq!(pool.stats().open, 0);
}

#[gaggle::test]
fn a_transaction_that_somebody_left_open_is_nobody_elses() {
    let (_folder, pool) = file(Pool::builder().max_open(1));
    let context = background();
    pool.execute(&context, "CREATE TABLE t (x INTEGER)", &[])
        .expect("made");
    let mut connection = pool.get(&context).expect("a connection");
    connection
        .batch(&context, "BEGIN; INSERT INTO t VALUES (1)")
        .expect("begun");
    drop(connection);
    let row = pool
        .query_one(&context, "SELECT COUNT(*) FROM t", &[])
        .expect("a row");
    assert_eq!(row.get::<i64>(0).expect("a number"), 0);
    assert_eq!(pool.stats().closed_broken, 1);
}

#[gaggle::test]
fn parameters_are_known_by_their_numbers() {
    let (pool, context) = (Pool::open("sqlite::memory:").expect("a pool"), background());
    let row = pool
        .query_one(&context, "SELECT $2, $1, $2", &params!["a", 2])
        .expect("a row");
    assert_eq!(row.values(), params![2, "a", 2]);
    for (sql, words) in [
        ("SELECT $3", "3 was not given"),
        ("SELECT $1", "takes 1"),
        ("SELECT $a", "no number"),
    ] {
        let error = pool.query(&context, sql, &params![1, 2]).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[gaggle::test]
fn many_goroutines_write_one_file() {
    let (_folder, pool) = file(
        Pool::builder()
            .max_open(4)
            .busy_timeout(Duration::from_secs(60)),
    );
    let context = background();
    pool.execute(&context, "CREATE TABLE t (x INTEGER PRIMARY KEY)", &[])
        .expect("made");
    gaggle::scope(|scope| {
        for number in 0..300 {
            let (pool, context) = (&pool, &context);
            scope.go(move || {
                let written: Result<u64, Error> = pool.transaction(context, |transaction| {
                    transaction.execute(context, "INSERT INTO t VALUES ($1)", &params![number])
                });
                assert_eq!(written.expect("written"), 1);
            });
        }
    });
    let row = pool
        .query_one(&context, "SELECT COUNT(*) FROM t", &[])
        .expect("a row");
    assert_eq!(row.get::<i64>(0).expect("a number"), 300);
}

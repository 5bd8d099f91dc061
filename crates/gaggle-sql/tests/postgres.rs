//! The pool on a real PostgreSQL.

mod support;

use gaggle::context::{Context, background};
use gaggle_sql::{Error, Pool, Value, params};
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How many sessions run a statement that contains `words`.
fn running(monitor: &Pool, words: &str) -> i64 {
    let sql = "SELECT count(*) FROM pg_stat_activity
               WHERE state = 'active' AND query LIKE $1 AND pid <> pg_backend_pid()";
    let like = format!("%{words}%");
    let row = monitor.query_one(&background(), sql, &params![like]);
    row.expect("the monitor's query").get(0).expect("a number")
}

fn await_running(monitor: &Pool, words: &str, count: i64) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while running(monitor, words) != count {
        assert!(Instant::now() < deadline, "never {count} of {words}");
        gaggle::time::sleep(Duration::from_millis(1));
    }
}

fn own_pid(connection: &mut gaggle_sql::Connection) -> i64 {
    let row = connection.query_one(&background(), "SELECT pg_backend_pid()", &[]);
    row.expect("a row").get(0).expect("a number")
}

#[gaggle::test]
fn values_of_each_kind_go_there_and_back() {
    let Some(server) = support::postgres() else {
        return;
    };
    let (pool, context) = (Pool::open(&server.url()).expect("a pool"), background());
    let sql = "SELECT $1::bool, $2::int2, $3::int8, $4::float8, $5::text, $6::bytea, $7::int4,
                      $8::uuid, $9::jsonb, $10::numeric::text, $11::timestamptz::date::text";
    let uuid = "0188f1c3-0b3a-7000-8000-00000000002a";
    let given = params![
        true,
        7,
        i64::MIN,
        0.5,
        "gans",
        vec![0u8, 255],
        None::<i32>,
        uuid,
        "{\"a\": 1}",
        "12345678901234567890.5",
        "2026-11-21T00:00:00Z"
    ];
    let row = pool.query_one(&context, sql, &given).expect("a row");
    let mut expected = given.to_vec();
    expected[10] = Value::from("2026-11-21");
    assert_eq!(row.values(), expected);

    let error = pool
        .query(&context, "SELECT $1::int2", &params![70_000])
        .unwrap_err();
    assert!(
        matches!(&error, Error::Usage(what) if what.contains("does not fit")),
        "{error}"
    );
    let error = pool.query(&context, "SELECT $1::text", &[]).unwrap_err();
    assert!(error.to_string().contains("takes 1"), "{error}");
    let error = pool.query(&context, "SELEC 1", &[]).unwrap_err();
    assert_eq!(error.code(), Some("42601"));
    assert_eq!(
        pool.stats().closed_broken,
        0,
        "none of it broke the connection"
    );
}

#[gaggle::test]
fn a_context_that_ends_aborts_its_query_at_once_and_leaves_the_connection_usable() {
    let Some(server) = support::postgres() else {
        return;
    };
    let pool = Pool::builder()
        .max_open(1)
        .open(&server.url())
        .expect("a pool");
    let monitor = Pool::open(&server.url()).expect("a pool");
    let before = own_pid(&mut pool.get(&background()).expect("a connection"));
    let mut fastest = Duration::MAX;
    for _ in 0..5 {
        let (context, cancel) = background().with_cancel();
        let query = {
            let pool = pool.clone();
            gaggle::go(move || pool.query(&context, "SELECT pg_sleep(301)", &[]))
        };
        await_running(&monitor, "pg_sleep(301)", 1);
        let began = Instant::now();
        cancel.cancel();
        await_running(&monitor, "pg_sleep(301)", 0);
        fastest = fastest.min(began.elapsed());
        let error = query.join().expect("no panic").unwrap_err();
        assert!(matches!(error, Error::Context(_)), "{error}");
    }
    assert!(fastest < Duration::from_millis(100), "{fastest:?}");
    let after = own_pid(&mut pool.get(&background()).expect("a connection"));
    assert_eq!(before, after, "the connection was kept");
    assert_eq!(pool.stats().closed_broken, 0);
}

#[gaggle::test]
fn a_client_that_disconnects_aborts_its_query() {
    let Some(server) = support::postgres() else {
        return;
    };
    let pool = Pool::open(&server.url()).expect("a pool");
    let monitor = Pool::open(&server.url()).expect("a pool");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let client = TcpStream::connect(listener.local_addr().expect("an address")).expect("a client");
    let (mut stream, _) = listener.accept().expect("the client comes");
    let (context, cancel) = background().with_cancel();
    gaggle::scope(|scope| {
        // What a server does for each connection.
        scope.go(move || {
            let _ = stream.read(&mut [0]);
            cancel.cancel();
        });
        let query = scope.go(|| pool.query(&context, "SELECT pg_sleep(302)", &[]));
        await_running(&monitor, "pg_sleep(302)", 1);
        drop(client);
        await_running(&monitor, "pg_sleep(302)", 0);
        let error = query.join().expect("no panic").unwrap_err();
        assert!(matches!(error, Error::Context(_)), "{error}");
    });
}

/// Contexts that end while a short statement runs, before, and after: whatever came of it, the next
/// statement on that connection answers what it was asked.
#[gaggle::test]
fn a_cancel_request_never_meets_a_later_statement() {
    let Some(server) = support::postgres() else {
        return;
    };
    let pool = Pool::builder()
        .max_open(1)
        .open(&server.url())
        .expect("a pool");
    let (mut done, mut ended) = (0, 0);
    for round in 0..150 {
        let time = Duration::from_micros(100 + 40 * (round % 50));
        let (context, _cancel) = background().with_timeout(time);
        match pool.query(&context, "SELECT 1 FROM pg_sleep(0.001)", &[]) {
            Ok(rows) => done += rows.len(),
            Err(Error::Context(_)) => ended += 1,
            Err(error) => panic!("{error}"),
        }
        let row = pool.query_one(&background(), "SELECT $1::int8", &params![round as i64]);
        let answer: u64 = row
            .expect("the next statement is not cancelled")
            .get(0)
            .expect("a number");
        assert_eq!(answer, round);
    }
    assert!(ended > 0, "{done} done, {ended} ended");
}

#[gaggle::test]
fn ten_thousand_goroutines_share_twenty_connections() {
    let Some(server) = support::postgres() else {
        return;
    };
    let count = if gaggle::runtime::backend_name() == "green" {
        10_000
    } else {
        500
    };
    let pool = Pool::builder()
        .max_open(20)
        .max_idle(20)
        .open(&server.url())
        .expect("a pool");
    let most = AtomicUsize::new(0);
    gaggle::scope(|scope| {
        for number in 0..count {
            let (pool, most) = (&pool, &most);
            scope.go(move || {
                let row = pool.query_one(&background(), "SELECT $1::int8 + 1", &params![number]);
                most.fetch_max(pool.stats().open, Ordering::Relaxed);
                assert_eq!(
                    row.expect("a row").get::<i64>(0).expect("a number"),
                    number + 1
                );
            });
        }
    });
    let figures = pool.stats();
    assert_eq!((figures.in_use, figures.waiting), (0, 0));
    assert!(figures.open <= 20 && most.into_inner() <= 20, "{figures:?}");
    assert!(
        figures.wait_count > 0 && figures.wait_duration > Duration::ZERO,
        "{figures:?}"
    );
}

#[gaggle::test]
fn a_prepared_statement_outlives_a_change_of_its_table() {
    let Some(server) = support::postgres() else {
        return;
    };
    let (pool, context) = (Pool::open(&server.url()).expect("a pool"), background());
    let mut connection = pool.get(&context).expect("a connection");
    connection
        .batch(
            &context,
            "CREATE TEMPORARY TABLE t (a int); INSERT INTO t VALUES (1)",
        )
        .expect("made");
    let columns = |connection: &mut gaggle_sql::Connection| {
        let row = connection.query_one(&background(), "SELECT * FROM t", &[]);
        row.expect("a row").columns().to_vec()
    };
    assert_eq!(columns(&mut connection), ["a"]);
    connection
        .batch(&context, "ALTER TABLE t ADD COLUMN b int")
        .expect("altered");
    assert_eq!(columns(&mut connection), ["a", "b"]);
    connection
        .batch(&context, "DEALLOCATE ALL")
        .expect("dropped");
    assert_eq!(columns(&mut connection), ["a", "b"]);
}

#[gaggle::test]
fn transactions_and_savepoints_are_undone_unless_committed() {
    let Some(server) = support::postgres() else {
        return;
    };
    let (pool, context) = (Pool::open(&server.url()).expect("a pool"), background());
    pool.execute(&context, "CREATE TABLE undone (x int PRIMARY KEY)", &[])
        .expect("made");
    let insert = "INSERT INTO undone VALUES ($1)";
    let mut transaction = pool.begin(&context).expect("begun");
    transaction
        .execute(&context, insert, &params![1])
        .expect("inserted");
    let mut savepoint = transaction.savepoint(&context).expect("begun");
    let error = savepoint
        .execute(&context, insert, &params![1])
        .unwrap_err();
    assert!(error.is_unique_violation(), "{error}");
    drop(savepoint);
    let mut savepoint = transaction.savepoint(&context).expect("begun");
    savepoint
        .execute(&context, insert, &params![2])
        .expect("inserted");
    savepoint.commit(&context).expect("kept");
    transaction.commit(&context).expect("committed");

    drop(pool.begin(&context).and_then(|mut transaction| {
        transaction.execute(&context, insert, &params![3])?;
        Ok(transaction)
    }));
    let mut failed = pool.begin(&context).expect("begun");
    failed
        .execute(&context, insert, &params![4])
        .expect("inserted");
    failed.execute(&context, insert, &params![4]).unwrap_err();
    assert!(
        failed.commit(&context).is_err(),
        "the server would have rolled back silently"
    );

    let (short, cancel) = context.with_cancel();
    let mut cancelled = pool.begin(&short).expect("begun");
    cancelled
        .execute(&short, insert, &params![5])
        .expect("inserted");
    cancel.cancel();
    assert!(matches!(cancelled.commit(&short), Err(Error::Context(_))));

    let rows = pool
        .query(&context, "SELECT x FROM undone ORDER BY x", &[])
        .expect("rows");
    let kept: Vec<i64> = rows
        .iter()
        .map(|row| row.get(0).expect("a number"))
        .collect();
    assert_eq!(kept, [1, 2]);
    assert_eq!(pool.stats().in_use, 0);
}

/// Runs small statements until told to end; counts what came of them, and panics at an error that is none
/// of those that a server which goes away makes.
fn load(
    pool: &Pool,
    context: &Context,
    ended: &AtomicBool,
    done: &AtomicUsize,
    failed: &AtomicUsize,
) {
    while !ended.load(Ordering::Relaxed) {
        match pool.query_one(context, "SELECT 1 FROM pg_sleep(0.001)", &[]) {
            Ok(_) => done.fetch_add(1, Ordering::Relaxed),
            Err(Error::Lost(_) | Error::Connect(_)) => {
                gaggle::time::sleep(Duration::from_millis(5));
                failed.fetch_add(1, Ordering::Relaxed)
            }
            Err(error) => panic!("{error:?}"),
        };
    }
}

/// That no goroutine is left behind is what `#[gaggle::test]` checks.
#[gaggle::test]
fn a_restarted_server_is_found_again_and_nothing_leaks() {
    let Some(mut server) = support::start() else {
        return;
    };
    let pool = Pool::builder()
        .max_open(10)
        .max_idle(10)
        .open(&server.url())
        .expect("a pool");
    let (context, ended) = (background(), AtomicBool::new(false));
    let (done, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let await_more = |counter: &AtomicUsize| {
        let (from, deadline) = (
            counter.load(Ordering::Relaxed),
            Instant::now() + Duration::from_secs(60),
        );
        while counter.load(Ordering::Relaxed) < from + 50 {
            assert!(Instant::now() < deadline, "{:?}", pool.stats());
            gaggle::time::sleep(Duration::from_millis(1));
        }
    };
    gaggle::scope(|scope| {
        for _ in 0..50 {
            scope.go(|| load(&pool, &context, &ended, &done, &failed));
        }
        for _ in 0..2 {
            await_more(&done);
            server.stop();
            await_more(&failed);
            server.start_again().expect("it starts again");
            await_more(&done);
        }
        ended.store(true, Ordering::Relaxed);
    });
    let figures = pool.stats();
    assert_eq!((figures.in_use, figures.waiting), (0, 0), "{figures:?}");
    assert!(
        figures.open <= 10 && figures.closed_broken > 0,
        "{figures:?}"
    );
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'";
    let sessions: i64 = pool
        .query_one(&context, sessions, &[])
        .expect("a row")
        .get(0)
        .expect("a number");
    assert!(sessions <= 10, "{sessions} sessions");
}

#[gaggle::test]
fn a_server_that_is_not_there_is_a_clear_error() {
    let port = support::server::free_port().expect("a port");
    let pool = Pool::open(&format!("postgres://goose@127.0.0.1:{port}/pond")).expect("a pool");
    let error = pool.ping(&background()).unwrap_err();
    assert!(
        matches!(error, Error::Connect(_)) && error.to_string().contains("refused"),
        "{error}"
    );
    assert_eq!(pool.stats().open, 0);
}

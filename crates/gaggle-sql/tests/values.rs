//! Values of PostgreSQL's types without casts, and those of other crates on both databases.

mod support;

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use gaggle::context::background;
use gaggle_sql::{FromValue, Pool, Value, params};
use rust_decimal::Decimal;
use std::fmt::Debug;
use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset};
use uuid::Uuid;

fn pool() -> Option<(Pool, std::sync::Arc<support::server::Postgres>)> {
    let server = support::postgres()?;
    Some((Pool::open(&server.url()).expect("a pool"), server))
}

fn column<T: FromValue>(pool: &Pool, sql: &str, parameters: &[Value]) -> T {
    let row = pool.query_one(&background(), sql, parameters);
    row.unwrap_or_else(|error| panic!("{sql}: {error}"))
        .get(0)
        .unwrap_or_else(|error| panic!("{sql}: {error}"))
}

/// What a column is read as, given back to the server, is the value that the column had.
#[gaggle::test]
fn what_is_read_is_the_same_value_when_it_is_given_back() {
    let Some((pool, _server)) = pool() else {
        return;
    };
    let cases = [
        (
            "date",
            "2026-11-21 0001-01-01 9999-12-31 12026-02-28 infinity -infinity 4713-01-01_BC 0001-02-29_BC",
        ),
        ("time", "00:00:00 23:59:59.999999 10:20:30.5 24:00:00"),
        (
            "timetz",
            "10:20:30+02 10:20:30.000001-05:30 00:00:00+15:59:59",
        ),
        (
            "timestamp",
            "2026-11-21T10:20:30.123456 1969-12-31T23:59:59.999999 infinity -infinity 0044-03-15T12:00:00_BC",
        ),
        (
            "timestamptz",
            "2026-11-21T10:20:30.5+02 1999-12-31T23:59:59Z infinity 0044-03-15T12:00:00Z_BC",
        ),
        (
            "interval",
            "0 1_year_2_mons_3_days_04:05:06.789 -1_year_+2_days_-00:00:00.5 -00:00:01.5 1_mon_-1_day 100000:00:00",
        ),
        (
            "numeric",
            "0 0.00 -0.5 1 10000 12345678901234567890.123456789 0.0000000001 1e50 1e-50 -99999999 NaN Infinity -Infinity 100000000.0001",
        ),
        ("uuid", "0188f1c3-0b3a-7000-8000-00000000002a"),
        ("json", r#"{"a":[1,null,"b"]} null 1.50"#),
        ("jsonb", r#"{"a":[1,null,"b"]} null 1.50"#),
        ("inet", "10.0.0.7 10.0.0.7/8 ::1 2001:db8::7/64 0.0.0.0/0"),
        ("cidr", "10.0.0.0/8 10.0.0.7/32 2001:db8::/32"),
        ("macaddr", "08:00:2b:01:02:03"),
        ("macaddr8", "08:00:2b:01:02:03:04:05"),
        ("bit(11)", "10110011101"),
        ("varbit", "1 101100111011"),
        (r#""char""#, "g"),
        ("bool", "true false"),
        ("int2", "-32768"),
        ("int8", "-9223372036854775808"),
        ("float8", "0.1 -1e300 NaN Infinity -Infinity"),
        ("bytea", r"\x00ff"),
        ("text", "goose"),
        ("date[]", "{2026-11-21,NULL,infinity}"),
        (
            "text[]",
            r#"{} {"a,b","c\"d","e\\f","",NULL,"NULL"} {{"a","b"},{"c","{d}"}}"#,
        ),
        ("int4[]", "{1,NULL,-3} {{{1},{2}},{{3},{4}}} [5:6]={7,8}"),
        ("bool[]", "{t,f,NULL}"),
        ("float8[]", "{0.1,NaN,-Infinity}"),
        ("numeric[]", "{1.50,NULL,NaN}"),
        ("bytea[]", r#"{"\\x00ff",NULL}"#),
        ("uuid[]", "{0188f1c3-0b3a-7000-8000-00000000002a}"),
        ("timestamptz[]", r#"{"2026-11-21_10:20:30+00"}"#),
        ("jsonb[]", r#"{"{\"a\":_1}"}"#),
    ];
    for (ty, literals) in cases {
        for literal in literals.split(' ') {
            let literal = literal.replace('_', " ");
            let quoted = literal.replace('\'', "''");
            let value: Value = column(&pool, &format!("SELECT '{quoted}'::{ty}"), &[]);
            assert_ne!(value, Value::Null, "{ty} {literal}");
            // Bounds of an array, which no list has, are left out of the comparison.
            let literal = literal.rsplit('=').next().filter(|_| ty.ends_with("[]"));
            let quoted = literal.map_or(quoted.clone(), |literal| literal.replace('\'', "''"));
            let same = format!("SELECT '{quoted}'::{ty}::text = $1::{ty}::text");
            let is_same: bool = column(&pool, &same, std::slice::from_ref(&value));
            assert!(is_same, "{ty} {quoted} was read as {value:?}");
        }
        let null: Value = column(&pool, &format!("SELECT NULL::{ty}"), &[]);
        assert_eq!(null, Value::Null, "{ty}");
        let null: Value = column(&pool, &format!("SELECT $1::{ty}"), &[Value::Null]);
        assert_eq!(null, Value::Null, "{ty}");
    }
}

#[gaggle::test]
fn columns_are_written_as_documented() {
    let Some((pool, _server)) = pool() else {
        return;
    };
    let text = |sql: &str| -> String { column(&pool, &format!("SELECT {sql}"), &[]) };
    assert_eq!(text("date '2026-11-21'"), "2026-11-21");
    assert_eq!(
        text("timestamp '2026-11-21 10:20:30.5'"),
        "2026-11-21T10:20:30.5"
    );
    assert_eq!(
        text("timestamptz '2026-11-21 10:20:30.5+02'"),
        "2026-11-21T08:20:30.5Z"
    );
    assert_eq!(text("interval '1 day 2 hours'"), "P1DT2H");
    assert_eq!(text("inet '10.0.0.7'"), "10.0.0.7");
    let sum = "SELECT sum(x) FROM (VALUES (1::int8), (2)) AS numbers(x)";
    assert_eq!(column::<i64>(&pool, sum, &[]), 3);
    let sql = "SELECT avg(x) FROM (VALUES (1::int8), (2)) AS numbers(x)";
    assert_eq!(column::<f64>(&pool, sql, &[]), 1.5);
    assert_eq!(
        column::<Vec<Vec<i32>>>(&pool, "SELECT '{{1,2},{3,4}}'::int4[]", &[]),
        [[1, 2], [3, 4]]
    );
    let names = Value::list(["a,b", "c\"\\"]);
    assert_eq!(
        column::<Vec<String>>(&pool, "SELECT $1::text[]", &[names]),
        ["a,b", "c\"\\"]
    );
    let chosen: i64 = column(
        &pool,
        "SELECT count(*) FROM generate_series(1, 9) AS x WHERE x = ANY($1)",
        &[Value::list([2, 4, 60])],
    );
    assert_eq!(chosen, 2);
    let error = pool.query(&background(), "SELECT int4range(1, 2)", &[]);
    assert!(error.unwrap_err().to_string().contains("cast"));
}

/// Every day of 800 years, and numbers with each number of digits before and behind the point.
#[gaggle::test]
fn days_and_numbers_agree_with_the_servers_own_text() {
    let Some((pool, _server)) = pool() else {
        return;
    };
    let compare = |sql: &str| {
        let rows = pool.query(&background(), sql, &[]).expect("rows");
        for row in &rows {
            let ours: String = row.get(0).expect("a text");
            assert_eq!(ours, row.get::<String>(1).expect("a text"));
        }
        rows.len()
    };
    let days = "SELECT d::date, to_char(d, 'YYYY-MM-DD')
                FROM generate_series(timestamp '1600-01-01', '2400-01-01', '1 day') AS d";
    assert_eq!(compare(days), 292_195);
    let numbers =
        "SELECT n, n::text FROM generate_series(-60, 60) AS e, generate_series(0, 30) AS s,
                   LATERAL (SELECT round(1.234567890123456789 * 10::numeric ^ e, s) *
                                   CASE s % 2 WHEN 0 THEN 1 ELSE -1 END AS n) AS it";
    assert_eq!(compare(numbers), 121 * 31);
}

/// Given as a parameter, read from a column of that type, it is the same.
fn passes<T>(pool: &Pool, ty: &str, given: T)
where
    T: FromValue + Clone + PartialEq + Debug,
    Value: From<T>,
{
    let sql = format!("SELECT $1::{ty}");
    let received: T = column(pool, &sql, &[given.clone().into()]);
    assert_eq!(received, given, "{ty}");
    let received: Option<T> = column(pool, &sql, &[None::<T>.into()]);
    assert_eq!(received, None, "{ty}");
}

fn dates_and_more_pass(pool: &Pool) {
    let date = NaiveDate::from_ymd_opt(2026, 11, 21).expect("a date");
    let time = NaiveTime::from_hms_micro_opt(10, 20, 30, 123_456).expect("a time");
    for date in [date, NaiveDate::from_ymd_opt(-43, 3, 15).expect("a date")] {
        passes(pool, "date", date);
        passes::<NaiveDateTime>(pool, "timestamp", date.and_time(time));
        passes::<DateTime<Utc>>(pool, "timestamptz", date.and_time(time).and_utc());
    }
    passes(pool, "time", time);

    let date = Date::from_calendar_date(2026, Month::November, 21).expect("a date");
    let time = Time::from_hms_micro(10, 20, 30, 500_000).expect("a time");
    passes(pool, "date", date);
    passes(pool, "time", time);
    let moment = PrimitiveDateTime::new(date, time);
    passes(pool, "timestamp", moment);
    let offset = UtcOffset::from_hms(-5, -30, 0).expect("an offset");
    passes::<OffsetDateTime>(pool, "timestamptz", moment.assume_offset(offset));

    passes(pool, "uuid", Uuid::from_u128(0x0188_f1c3_0b3a_7000_8000));
    passes(
        pool,
        "jsonb",
        serde_json::json!({"geese": [1, 2.5, null], "name": "gr\u{fc}n \"x\""}),
    );
}

#[gaggle::test]
fn types_of_other_crates_pass_through_postgresql() {
    let Some((pool, _server)) = pool() else {
        return;
    };
    dates_and_more_pass(&pool);
    for digits in [
        "0",
        "-12.50",
        "79228162514264337593543950335",
        "0.0000000001",
    ] {
        passes::<Decimal>(&pool, "numeric", digits.parse().expect("digits"));
    }
    // Too many digits for the type are an error, not another number.
    let row = pool.query_one(&background(), "SELECT 1e40::numeric", &[]);
    assert!(row.expect("a row").get::<Decimal>(0).is_err());
    let row = pool.query_one(&background(), "SELECT date 'infinity'", &[]);
    let error = row.expect("a row").get::<NaiveDate>(0).unwrap_err();
    assert!(error.to_string().contains("infinity"), "{error}");
}

#[gaggle::test]
fn types_of_other_crates_pass_through_sqlite() {
    let pool = Pool::open("sqlite::memory:").expect("a pool");
    // A value of SQLite has the type that it was given with.
    let sql = |given: Value| -> Value { column(&pool, "SELECT $1", &[given]) };
    let date = NaiveDate::from_ymd_opt(2026, 11, 21).expect("a date");
    let kept = sql(date.into());
    assert_eq!(NaiveDate::from_value(&kept).expect("a date"), date);
    let uuid = Uuid::from_u128(7);
    assert_eq!(Uuid::from_value(&sql(uuid.into())).expect("a UUID"), uuid);
    let bytes = Value::from(uuid.as_bytes().to_vec());
    assert_eq!(Uuid::from_value(&sql(bytes)).expect("a UUID"), uuid);
    let price: Decimal = "12.50".parse().expect("digits");
    let kept = sql(price.into());
    assert_eq!(Decimal::from_value(&kept).expect("digits"), price);
    // What SQLite's own functions answer.
    let moment: NaiveDateTime = column(
        &pool,
        "SELECT datetime($1, '+1 day')",
        &params!["2026-11-21T10:20:30"],
    );
    assert_eq!(moment.to_string(), "2026-11-22 10:20:30");
    let date: NaiveDate = column(&pool, "SELECT date('2026-11-21')", &[]);
    assert_eq!(date.to_string(), "2026-11-21");
    let list = pool.query(&background(), "SELECT $1", &[Value::list([1])]);
    assert!(list.unwrap_err().to_string().contains("SQLite has none"));
}

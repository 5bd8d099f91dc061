//! The crates that are tried, and what each goroutine does with its crate.

mod channels;
mod data;
mod databases;
mod diesel_sqlite;
mod futures;
mod locks;
mod mail;
mod observing;
mod processes;
mod tls;
mod web;
mod websocket;

use crate::at_once::Failure;
use crate::servers::Need;

/// One crate.
pub struct Case {
    /// Its name.
    pub name: &'static str,
    /// What each goroutine does with it, in words.
    pub what: &'static str,
    /// What it talks to.
    pub needs: &'static [Need],
    /// Does it on so many goroutines at once, and checks every result.
    pub run: fn(usize) -> Result<(), Failure>,
}

const fn case(
    name: &'static str,
    what: &'static str,
    needs: &'static [Need],
    run: fn(usize) -> Result<(), Failure>,
) -> Case {
    Case {
        name,
        what,
        needs,
        run,
    }
}

static ALL: &[Case] = &[
    case(
        "ureq",
        "two GETs of 20 ms with one agent",
        &[Need::Http],
        web::ureq,
    ),
    case(
        "attohttpc",
        "two GETs of 20 ms",
        &[Need::Http],
        web::attohttpc,
    ),
    case("minreq", "two GETs of 20 ms", &[Need::Http], web::minreq),
    case(
        "reqwest",
        "two GETs of 20 ms with one `blocking::Client`, and two with one `Client` by `block_on`",
        &[Need::Http],
        futures::reqwest,
    ),
    case(
        "tiny_http",
        "answers one request of another goroutine, on one `Server`",
        &[],
        web::tiny_http,
    ),
    case(
        "tungstenite",
        "ten messages to a goroutine that echoes them, and the closing handshake",
        &[],
        websocket::tungstenite,
    ),
    case(
        "lettre",
        "one mail by SMTP, its size checked",
        &[Need::Smtp],
        mail::lettre,
    ),
    case(
        "rustls",
        "a handshake and 64 KiB there and back, with a goroutine as server",
        &[],
        tls::rustls,
    ),
    case(
        "native-tls",
        "a handshake and 64 KiB there and back with a server on rustls",
        &[],
        tls::native_tls,
    ),
    case(
        "openssl",
        "a handshake and 64 KiB there and back with a server on rustls",
        &[],
        tls::openssl,
    ),
    case(
        "postgres",
        "a connection of its own (100 at a time), five queries of 2 ms",
        &[Need::Postgres],
        databases::postgres,
    ),
    case(
        "r2d2",
        "five queries on a pool of 20 connections to PostgreSQL",
        &[Need::Postgres],
        databases::r2d2,
    ),
    case(
        "redis",
        "a connection of its own: SET, GET, INCR of a shared number, BLPOP with a time-out",
        &[Need::Redis],
        databases::redis,
    ),
    case(
        "rusqlite",
        "a connection of its own to one file: a transaction that writes, a query",
        &[],
        databases::rusqlite,
    ),
    case(
        "diesel",
        "a connection of its own to one SQLite file: an insert and a query",
        &[],
        diesel_sqlite::diesel,
    ),
    case(
        "crossbeam-channel",
        "100 messages through one channel of 16, half of them senders; `select!` at the receivers",
        &[],
        channels::crossbeam_channel,
    ),
    case(
        "flume",
        "100 messages through one channel of 16, half of them senders",
        &[],
        channels::flume,
    ),
    case(
        "kanal",
        "100 messages through one channel of 16, half of them senders",
        &[],
        channels::kanal,
    ),
    case(
        "parking_lot",
        "100 turns each at `Mutex`, `RwLock`, `ReentrantMutex`, and a `Condvar` at the end",
        &[],
        locks::parking_lot,
    ),
    case(
        "rayon",
        "a parallel sum of 10,000 numbers on the shared pool",
        &[],
        locks::rayon,
    ),
    case(
        "tokio",
        "`block_on` of a sleep and a GET on one shared runtime",
        &[Need::Http],
        web::tokio,
    ),
    case(
        "sqlx",
        "transactions of three queries on a pool of 20 connections, by `block_on`",
        &[Need::Postgres],
        futures::sqlx,
    ),
    case(
        "tonic",
        "two calls and a stream on one channel to a server on `gaggle-http`, by `block_on`",
        &[Need::Grpc],
        futures::tonic,
    ),
    case(
        "tracing",
        "nested spans held over waits, each event in its own spans",
        &[],
        observing::tracing,
    ),
    case(
        "log",
        "20 lines by `env_logger`, none torn",
        &[],
        observing::log,
    ),
    case(
        "rand",
        "eight numbers of its own generator with waits between, all different",
        &[],
        data::rand,
    ),
    case(
        "serde_json",
        "a document 120 levels deep, written and read back",
        &[],
        data::serde_json,
    ),
    case(
        "flate2",
        "64 KiB compressed and expanded",
        &[],
        data::flate2,
    ),
    case(
        "zip",
        "an archive of three files written and read back",
        &[],
        data::zip,
    ),
    case(
        "notify",
        "a folder watched, a file made in it, the event awaited",
        &[],
        processes::notify,
    ),
    case(
        "ctrlc",
        "waits for a SIGINT, whose handler tells all",
        &[],
        processes::ctrlc,
    ),
];

/// All of them, in the order of the table.
pub fn all() -> &'static [Case] {
    ALL
}

/// The one of that name.
pub fn find(name: &str) -> Option<&'static Case> {
    ALL.iter().find(|case| case.name == name)
}

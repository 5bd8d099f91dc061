//! A PostgreSQL that the tests of one program share while any of them runs.

#[path = "../../../../compat/src/servers/postgres.rs"]
pub mod server;

use server::Postgres;
use std::sync::{Arc, Mutex, Weak};

static SHARED: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());

/// The shared server; `None`, and a line that says so: there is no PostgreSQL here.
pub fn postgres() -> Option<Arc<Postgres>> {
    let mut shared = SHARED.lock().expect("no server failed to start");
    if let Some(running) = shared.upgrade() {
        return Some(running);
    }
    let started = Arc::new(start()?);
    *shared = Arc::downgrade(&started);
    Some(started)
}

/// One of a test's own.
pub fn start() -> Option<Postgres> {
    let started = Postgres::start(&["max_connections=100"]).expect("PostgreSQL starts");
    if started.is_none() {
        println!("SKIP: {}", server::HOW_TO_INSTALL);
    }
    started
}

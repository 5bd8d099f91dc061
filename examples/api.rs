//! A users service in four layers, on SQLite or PostgreSQL: the URL alone says which.
//!
//! `cargo run -p gaggle-examples --bin api [postgres://user@host/database]`
//!
//! - `domain`: what a user is. It knows nobody.
//! - `usecase`: what can be done with users, and the port that it needs to keep them. It knows the domain;
//!   its tests keep users in a map, and take milliseconds (`cargo test -p gaggle-examples --bin api`).
//! - `repository`: the port on SQL. It knows the port and the pool.
//! - `delivery`: HTTP. It knows the use cases.
//!
//! They meet here. The request's context goes through all of them down to the statement, which ends when
//! the client goes away.

#[path = "api/delivery.rs"]
mod delivery;
#[path = "api/domain.rs"]
mod domain;
#[path = "api/repository.rs"]
mod repository;
#[path = "api/usecase.rs"]
mod usecase;

use gaggle::context::background;
use gaggle_http::Server;
use std::error::Error;
use std::net::TcpListener;
use usecase::Users;

const CLIENTS: usize = 100;

#[gaggle::main]
fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let folder = tempfile::tempdir()?;
    let file = format!("sqlite:{}", folder.path().join("users.db").display());
    let url = std::env::args().nth(1).unwrap_or(file);

    let (context, stop) = background().with_cancel();
    let repository = repository::SqlUsers::open(&url, &context)?;
    let pool = repository.pool().clone();
    let users = Users::new(repository);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let server = gaggle::go(move || {
        let handler = move |context: &_, request| delivery::answer(&users, context, &request);
        Server::builder().build().serve(listener, &context, handler)
    });

    // A hundred clients at once; each adds a user, and half of them somebody that is there already.
    let statuses = gaggle::scope(|scope| {
        let ask = |number: usize| {
            scope.go(move || {
                let name = format!("goose{}@example.org", number / 2);
                let agent: ureq::Agent = ureq::Agent::config_builder()
                    .http_status_as_error(false)
                    .build()
                    .into();
                let answer = agent.post(format!("http://{address}/users")).send(&name);
                answer.map(|answer| answer.status().as_u16())
            })
        };
        let clients: Vec<_> = (0..CLIENTS).map(ask).collect();
        let statuses = clients
            .into_iter()
            .map(|client| client.join().expect("no panic"));
        statuses.collect::<Result<Vec<u16>, _>>()
    })?;
    let count = |status| statuses.iter().filter(|other| **other == status).count();
    assert_eq!(
        (count(201), count(409)),
        (CLIENTS / 2, CLIENTS / 2),
        "{statuses:?}"
    );
    let list = ureq::get(format!("http://{address}/users"))
        .call()?
        .body_mut()
        .read_to_string()?;
    assert_eq!(list.lines().count(), CLIENTS / 2);

    stop.cancel();
    server.join().expect("no panic")?;
    let figures = pool.stats();
    assert_eq!(figures.in_use, 0, "{figures:?}");
    println!(
        "{} users added, {} refused as known, by {CLIENTS} clients on {} connections to {}",
        count(201),
        count(409),
        figures.open,
        url.split(':').next().unwrap_or_default()
    );
    Ok(())
}

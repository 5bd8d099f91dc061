//! An axum application whose handlers block: a database in C, a sleep, a lock, another server asked.
//!
//! `cargo run --release -p gaggle-examples --bin axum_app [CLIENTS]`
//!
//! The router is axum's own, without a change; it runs on goroutines, so that a handler which blocks keeps
//! nobody waiting. The same on an async runtime would stop its threads.

mod support;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use gaggle::context::{self, Context};
use gaggle_http::Server;
use rusqlite::{Connection, OptionalExtension};
use std::collections::HashMap;
use std::error::Error;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::Duration;
use support::{SlowServer, Watch, argument, lean_agent};

type Failure = Box<dyn Error + Send + Sync>;

#[derive(Clone)]
struct App {
    database: Arc<Mutex<Connection>>,
    /// A partner that takes 50 ms for an answer.
    partner: String,
}

/// What goes wrong is the server's fault.
fn internal(error: impl std::fmt::Display) -> (StatusCode, String) {
    (StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

async fn create(
    State(app): State<App>,
    Json(user): Json<HashMap<String, String>>,
) -> Result<(StatusCode, Json<i64>), (StatusCode, String)> {
    let Some(name) = user.get("name") else {
        return Err((
            StatusCode::UNPROCESSABLE_ENTITY,
            "a user has a name".to_owned(),
        ));
    };
    // SQLite blocks, in C.
    let database = app.database.lock().map_err(internal)?;
    database
        .execute("INSERT INTO users (name) VALUES (?1)", [name])
        .map_err(internal)?;
    Ok((StatusCode::CREATED, Json(database.last_insert_rowid())))
}

async fn show(State(app): State<App>, Path(id): Path<i64>) -> Result<String, (StatusCode, String)> {
    let name = {
        let database = app.database.lock().map_err(internal)?;
        let query = "SELECT name FROM users WHERE id = ?1";
        database
            .query_row(query, [id], |row| row.get::<_, String>(0))
            .optional()
            .map_err(internal)?
    };
    let name = name.ok_or((StatusCode::NOT_FOUND, "nobody has this number".to_owned()))?;
    // An unmodified blocking client.
    let answer = lean_agent().get(&app.partner).call();
    let greeting = answer
        .map_err(internal)?
        .body_mut()
        .read_to_string()
        .map_err(internal)?;
    Ok(format!("{greeting} {name}"))
}

async fn nap(Extension(context): Extension<Context>) -> String {
    sleep(Duration::from_millis(20));
    format!(
        "awake, and {}",
        if context.err().is_none() {
            "awaited"
        } else {
            "forgotten"
        }
    )
}

fn router(app: App) -> Router {
    Router::new()
        .route("/users", post(create))
        .route("/users/{id}", get(show))
        .route("/nap", get(nap))
        .with_state(app)
}

#[gaggle::main]
fn main() -> Result<(), Failure> {
    let count: usize = argument(1, 200)?;
    let partner = SlowServer::start(Duration::from_millis(50))?;
    let database = Connection::open_in_memory()?;
    database.execute(
        "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL)",
        [],
    )?;
    let app = App {
        database: Arc::new(Mutex::new(database)),
        partner: partner.url(),
    };
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}", listener.local_addr()?);
    let (context, stop) = context::background().with_cancel();
    let serving =
        gaggle::go(move || Server::default().serve_service(listener, &context, router(app)));

    let watch = Watch::start();
    let clients: Vec<_> = (0..count)
        .map(|number| {
            let url = url.clone();
            gaggle::go(move || -> Result<(), Failure> {
                let agent = lean_agent();
                let request = agent
                    .post(format!("{url}/users"))
                    .header("Content-Type", "application/json");
                let mut created = request.send(format!("{{\"name\":\"goose {number}\"}}"))?;
                assert_eq!(created.status(), 201);
                let id = created.body_mut().read_to_string()?;
                let shown = agent
                    .get(format!("{url}/users/{id}"))
                    .call()?
                    .body_mut()
                    .read_to_string()?;
                assert_eq!(shown, format!("hello goose {number}"));
                let rested = agent
                    .get(format!("{url}/nap"))
                    .call()?
                    .body_mut()
                    .read_to_string()?;
                assert_eq!(rested, "awake, and awaited");
                Ok(())
            })
        })
        .collect();
    for client in clients {
        client.join().expect("no panic")?;
    }
    let peaks = watch.finish();
    println!("{count} clients, three requests each: {peaks}");
    if gaggle::runtime::backend_name() == "green" {
        assert!(peaks.os_threads < 100, "{} OS threads", peaks.os_threads);
    }
    stop.cancel();
    let stopped = serving.join().expect("the server does not panic")?;
    assert_eq!(stopped.aborted_connections, 0);
    Ok(())
}

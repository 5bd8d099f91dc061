//! courier's binary: reads the settings, and joins the layers together.

#![forbid(unsafe_code)]

use courier::config::{Command, CommandLine, ServeOptions};
use courier::delivery::cli::demo;
use courier::delivery::cli::limits::raise_open_files;
use courier::delivery::http::api::Api;
use courier::delivery::http::metrics::Metrics;
use courier::delivery::http::sender::HttpSender;
use courier::repository::sqlite::SqliteOutbox;
use courier::usecase::counters::Counters;
use courier::usecase::dispatch::{Bell, Dispatcher};
use courier::usecase::intake::Intake;
use courier::usecase::ports::{Clock as _, SystemClock};
use gaggle::context::Context;
use gaggle_http::Server;
use std::error::Error;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn main() -> ExitCode {
    let line = CommandLine::read();
    raise_open_files();
    gaggle::run(move || {
        let outcome = match &line.command {
            Command::Serve(options) => serve(options).map(|()| ExitCode::SUCCESS),
            Command::Demo(options) => demo::run(options),
        };
        match outcome {
            Ok(status) => status,
            Err(error) => {
                eprintln!("courier: {error}");
                ExitCode::FAILURE
            }
        }
    })
}

/// The parts of a running courier.
struct Parts {
    outbox: Arc<SqliteOutbox>,
    dispatcher: Arc<Dispatcher>,
    metrics: Arc<Metrics>,
    api: Api,
}

fn assemble(options: &ServeOptions) -> Result<Parts, Box<dyn Error + Send + Sync>> {
    let clock = Arc::new(SystemClock);
    let now = clock.now();
    let outbox = SqliteOutbox::open(&options.database, now, options.max_attempts)?;
    let outbox = Arc::new(outbox);
    let counters = Arc::new(Counters::default());
    let bell = Arc::new(Bell::default());
    let addresses = options.addresses();
    let deadline = Duration::from_secs(options.deadline_seconds);
    let sender = HttpSender::new(&addresses, deadline);
    let dispatcher = Dispatcher::new(
        outbox.clone(),
        Arc::new(sender),
        clock.clone(),
        counters.clone(),
        bell.clone(),
        options.dispatch(),
    );
    let metrics = Arc::new(Metrics::new(counters.clone(), dispatcher.clone()));
    let intake = Intake::new(
        outbox.clone(),
        clock,
        counters,
        bell,
        addresses,
        options.queue_limit,
    );
    Ok(Parts {
        api: Api::new(intake, metrics.clone()),
        outbox,
        dispatcher,
        metrics,
    })
}

/// Says what happens, on standard error: for people, or as JSON.
struct Log {
    json: bool,
}

impl Log {
    fn event(&self, name: &str, number_name: &str, number: u64, text: &str) {
        if self.json {
            eprintln!("{{\"event\":\"{name}\",\"{number_name}\":{number}}}");
        } else {
            eprintln!("courier: {text}");
        }
    }

    /// The line that a supervisor waits for, on standard output.
    fn ready(&self, address: SocketAddr) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        if self.json {
            writeln!(out, "{{\"event\":\"ready\",\"address\":\"{address}\"}}")?;
        } else {
            writeln!(out, "READY {address}")?;
        }
        out.flush()
    }
}

fn serve(options: &ServeOptions) -> Result<(), Box<dyn Error + Send + Sync>> {
    let log = Log { json: options.json };
    let parts = assemble(options)?;
    let taken_back = parts.outbox.taken_back();
    if taken_back > 0 {
        log.event(
            "leases_taken_back",
            "count",
            taken_back as u64,
            &format!("took back {taken_back} leases of the process before"),
        );
    }
    let listener = TcpListener::bind(options.listen)
        .map_err(|error| format!("cannot listen on {}: {error}", options.listen))?;
    let address = listener.local_addr()?;
    let context = shutdown(options);
    let metrics = parts.metrics;
    drop(gaggle::go(move || metrics.sample()));
    let dispatcher = parts.dispatcher.clone();
    let dispatching = gaggle::go(move || dispatcher.run());
    let drain = Duration::from_secs(options.drain_seconds);
    log.ready(address)?;

    let api = parts.api;
    let server = Server::builder().drain_timeout(drain).build();
    let (stopping, dispatcher) = (context.clone(), parts.dispatcher.clone());
    let stop_claiming = gaggle::go(move || {
        let _ = stopping.done().recv();
        dispatcher.stop();
        Instant::now()
    });
    let served = server.serve(listener, &context, move |_, request| api.answer(&request));
    if served.is_err() {
        // The listener is broken; what is in flight is still brought to its end.
        parts.dispatcher.stop();
    }
    let _ = dispatching.join();
    let begun = match served {
        Ok(_) => stop_claiming.join().unwrap_or_else(|_| Instant::now()),
        Err(_) => Instant::now(),
    };
    let in_flight = parts.dispatcher.in_flight() as u64;
    let text = format!("stopping, {in_flight} deliveries in flight");
    log.event("stopping", "in_flight", in_flight, &text);
    let released = parts
        .dispatcher
        .drain(drain.saturating_sub(begun.elapsed())) as u64;
    parts.outbox.close();
    let text = format!("stopped, {released} deliveries given back");
    log.event("stopped", "given_back", released, &text);
    served.map(drop).map_err(Into::into)
}

/// The context that ends when the process is told to stop: by SIGTERM or SIGINT, and, for a child that
/// must not outlive its parent, by the end of standard input.
fn shutdown(options: &ServeOptions) -> Context {
    let signalled = gaggle::signal::shutdown_context();
    if !options.stop_at_end_of_input {
        return signalled;
    }
    let (context, cancel) = signalled.with_cancel();
    drop(gaggle::go(move || {
        // An input that cannot be read has ended as well.
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        cancel.cancel();
    }));
    context
}

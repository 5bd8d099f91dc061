//! A handler bounded by a semaphore: a goroutine for each connection, three at a time at the database.
//!
//! `cargo run -p gaggle-examples --bin bounded_handler`

use gaggle::context::{self, Context};
use gaggle::sync::{Semaphore, WaitGroup};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::Duration;

const CLIENTS: usize = 30;
const AT_ONCE: usize = 3;

static INSIDE: AtomicUsize = AtomicUsize::new(0);
static MOST_INSIDE: AtomicUsize = AtomicUsize::new(0);

/// The part that must not be entered by too many.
fn query() {
    let inside = INSIDE.fetch_add(1, Ordering::SeqCst) + 1;
    MOST_INSIDE.fetch_max(inside, Ordering::SeqCst);
    sleep(Duration::from_millis(2));
    INSIDE.fetch_sub(1, Ordering::SeqCst);
}

fn handle(mut stream: TcpStream, context: &Context, limit: &Semaphore) -> io::Result<()> {
    let reply = match limit.acquire_context(context, 1) {
        Ok(_permit) => {
            query();
            "served"
        }
        Err(_) => "busy",
    };
    stream.write_all(reply.as_bytes())
}

fn ask(address: std::net::SocketAddr) -> io::Result<String> {
    let mut reply = String::new();
    TcpStream::connect(address)?.read_to_string(&mut reply)?;
    Ok(reply)
}

#[gaggle::main]
fn main() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let (context, cancel) = context::background().with_cancel();
    let limit = Semaphore::new(AT_ONCE);
    let handlers = WaitGroup::new();

    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| gaggle::go(move || ask(address)))
        .collect();
    for _ in 0..CLIENTS {
        let (stream, _) = listener.accept()?;
        let (context, limit) = (context.clone(), limit.clone());
        handlers.go(move || {
            // A client that goes away early is its own affair.
            let _ = handle(stream, &context, &limit);
        });
    }
    for client in clients {
        assert_eq!(client.join().expect("no panic")?, "served");
    }
    handlers.wait();
    let most = MOST_INSIDE.load(Ordering::SeqCst);
    println!("{CLIENTS} clients served, {most} at most inside at a time");
    assert!(most <= AT_ONCE);

    // With the context's end nobody waits any more.
    let full = limit.acquire(AT_ONCE);
    cancel.cancel();
    let client = gaggle::go(move || ask(address));
    handle(listener.accept()?.0, &context, &limit)?;
    assert_eq!(client.join().expect("no panic")?, "busy");
    drop(full);
    Ok(())
}

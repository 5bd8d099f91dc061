//! An API gateway: each request goes to the next of several servers, and to another if that one is down.
//!
//! `cargo run --release -p gaggle-examples --bin gateway [REQUESTS]`
//!
//! A goroutine for each connection, and in it straight-line code: read, ask, answer. The servers take
//! 50 ms each, so the gateway holds all requests at the same time.

mod support;

use gaggle::sync::WaitGroup;
use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use support::{SlowServer, Watch, argument, lean_agent};

struct Gateway {
    servers: Vec<String>,
    next: AtomicUsize,
}

impl Gateway {
    /// Asks the servers in turn, beginning with the next one, until one answers; which one did.
    fn ask(&self) -> Option<(usize, String)> {
        // Relaxed: a number to begin with.
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        (0..self.servers.len()).find_map(|step| {
            let number = (first + step) % self.servers.len();
            let answer = lean_agent().get(&self.servers[number]).call();
            let text = answer.ok()?.body_mut().read_to_string().ok()?;
            Some((number, text))
        })
    }

    fn handle(&self, mut client: TcpStream) -> io::Result<()> {
        let mut head = BufReader::new(&client);
        let mut line = String::new();
        while head.read_line(&mut line)? > 2 {
            line.clear();
        }
        let (status, body) = match self.ask() {
            Some((number, text)) => ("200 OK", format!("server {number}: {text}")),
            None => ("502 Bad Gateway", String::new()),
        };
        write!(
            client,
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
    }
}

#[gaggle::main]
fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let count: usize = argument(1, 300)?;
    let up = SlowServer::start(Duration::from_millis(50))?;
    let also_up = SlowServer::start(Duration::from_millis(50))?;
    // Nobody listens at the port of a listener that is gone.
    let down = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let gateway = Arc::new(Gateway {
        servers: vec![up.url(), format!("http://{down}/"), also_up.url()],
        next: AtomicUsize::new(0),
    });

    let listener = TcpListener::bind("127.0.0.1:0")?;
    socket2::SockRef::from(&listener).listen(4096)?;
    let url = format!("http://{}/", listener.local_addr()?);
    let watch = Watch::start();
    let clients = (0..count).map(|_| {
        let url = url.clone();
        gaggle::go(move || lean_agent().get(url).call()?.body_mut().read_to_string())
    });
    let clients: Vec<_> = clients.collect();

    let handlers = WaitGroup::new();
    for _ in 0..count {
        let (client, _) = listener.accept()?;
        let gateway = Arc::clone(&gateway);
        handlers.go(move || {
            // A client that goes away early is its own affair.
            let _ = gateway.handle(client);
        });
    }
    let mut answers = BTreeMap::<String, usize>::new();
    for client in clients {
        *answers
            .entry(client.join().expect("no panic")?)
            .or_default() += 1;
    }
    handlers.wait();
    println!("{count} requests: {}", watch.finish());
    println!("{answers:?}");
    let names: Vec<_> = answers.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        ["server 0: hello", "server 2: hello"],
        "the third took over for the second"
    );
    assert_eq!(answers.values().sum::<usize>(), count);
    Ok(())
}

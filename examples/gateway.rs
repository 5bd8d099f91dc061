//! A gateway: a reverse proxy to several servers, which loses no request while one of them is killed and
//! started again.
//!
//! - `cargo run --release -p gaggle-examples --bin gateway [REQUESTS]`: the whole of it in one process.
//! - `... --bin gateway load [CONNECTIONS SECONDS SLOW MEGABYTES]`: each server a process, many connections that
//!   are kept, clients that mean no good, a large body, and figures.
//! - `... --bin gateway clients [CONNECTIONS SECONDS]`: the same servers, asked by wrk and h2load.
//!
//! Routing by path; for each server a limit of requests at the same time and a look at its health; a request
//! that may be repeated is, on another server; bodies stream both ways as they come.

#[path = "gateway/backend.rs"]
mod backend;
#[path = "gateway/children.rs"]
mod children;
#[path = "gateway/load.rs"]
mod load;
#[path = "gateway/proxy.rs"]
mod proxy;
mod support;
#[path = "gateway/tools.rs"]
mod tools;

use backend::{Running, listen};
use gaggle::context;
use gaggle_http::client::{Client, Proxies};
use gaggle_http::{Metrics, Server};
use proxy::{Backend, Gateway, Pool};
use std::error::Error;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::Duration;
use support::{Watch, argument};

type Failure = Box<dyn Error + Send + Sync>;

/// Streams `count` pieces through the gateway to a server that echoes them, each one back before the next
/// is sent.
fn stream_through(gateway: SocketAddr, count: usize) -> Result<(), Failure> {
    const PIECE: [u8; 1024] = [7; 1024];
    let mut stream = TcpStream::connect(gateway)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let length = count * PIECE.len();
    write!(
        stream,
        "POST /echo HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    )?;
    let mut seen = 0;
    let mut bytes = [0; 4096];
    for sent in 1..=count {
        stream.write_all(&PIECE)?;
        while seen < sent * PIECE.len() {
            let read = stream.read(&mut bytes)?;
            if read == 0 {
                return Err("the stream ended early".into());
            }
            // The body alone is of this byte.
            seen += bytes[..read].iter().filter(|&&byte| byte == 7).count();
        }
    }
    Ok(())
}

#[gaggle::main]
fn main() -> Result<(), Failure> {
    rlimit::increase_nofile_limit(u64::MAX)?;
    match std::env::args().nth(1).as_deref() {
        Some("load") => load::run(&load::Plan {
            connections: argument(2, 10_000)?,
            time: Duration::from_secs(argument(3, 20)?),
            slow_clients: argument(4, 5_000)?,
            body_megabytes: argument(5, 1024)?,
        }),
        Some("clients") => tools::run(argument(2, 1_000)?, argument(3, 5)?),
        Some(children::GATEWAY) => children::be_gateway(),
        Some(children::BACKEND) => children::be_backend(),
        _ => demonstrate(argument(1, 3_000)?),
    }
}

/// Three servers and the gateway in this process, asked by thirty clients.
fn demonstrate(count: usize) -> Result<(), Failure> {
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    let first = Running::start(any_port, "first")?;
    let second = Running::start(any_port, "second")?;
    let echoing = Running::start(any_port, "echo")?;
    let backends = vec![Backend::new(first.address), Backend::new(second.address)];
    let gateway = Gateway::new([
        Pool::new("/echo", vec![Backend::new(echoing.address)]),
        Pool::new("/", backends.clone()),
    ]);

    let listener = listen(any_port)?;
    let address = listener.local_addr()?;
    let (context, stop) = context::background().with_cancel();
    let metrics = Metrics::new();
    let settings = Server::builder().metrics(metrics.clone());
    let serving = gaggle::go({
        let gateway = gateway.clone();
        move || gateway.serve(listener, &context, settings)
    });

    let watch = Watch::start();
    let asked = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..30)
        .map(|_| {
            let asked = Arc::clone(&asked);
            gaggle::go(move || ask_until(address, &asked, count))
        })
        .collect();

    // Meanwhile one of the two is killed and started again, three times.
    let mut first = first;
    for round in 1..=3 {
        while asked.load(Ordering::Relaxed) < count * round / 4 {
            sleep(Duration::from_millis(1));
        }
        let address = first.address;
        first.kill()?;
        sleep(Duration::from_millis(30));
        first = Running::start(address, "first")?;
    }
    stream_through(address, 200)?;
    for client in clients {
        client.join().expect("no request is lost")?;
    }
    println!("{count} requests: {}", watch.finish());
    let shares: Vec<_> = backends.iter().map(|backend| backend.answered()).collect();
    println!("answered by {shares:?}, {} repeated", gateway.repeated());
    assert_eq!(shares.iter().sum::<usize>(), count);
    assert!(shares.iter().all(|&share| share > 0), "both take part");

    stop.cancel();
    let stopped = serving.join().expect("the gateway does not panic")?;
    assert_eq!(stopped.aborted_connections, 0, "nothing was in flight");
    let routes = metrics.routes();
    let counts: Vec<_> = routes
        .iter()
        .map(|route| (route.route.as_str(), route.count()))
        .collect();
    assert_eq!(counts, [("/", count as u64), ("/echo", 1)]);
    println!("half of them within {:?}", routes[0].quantile(0.5));
    for backend in [first, second, echoing] {
        backend.kill()?;
    }
    Ok(())
}

/// Asks until all have asked `count` times together.
fn ask_until(gateway: SocketAddr, asked: &AtomicUsize, count: usize) -> Result<(), Failure> {
    let client = Client::builder().proxies(Proxies::none()).build();
    let url = format!("http://{gateway}/work");
    // Relaxed: a count.
    while asked.fetch_add(1, Ordering::Relaxed) < count {
        let response = client.get(&context::background(), &url)?;
        let status = response.status();
        let text = response.into_body().text(100)?;
        assert!(
            status.is_success() && ["first", "second"].contains(&&*text),
            "{status} {text}"
        );
    }
    Ok(())
}

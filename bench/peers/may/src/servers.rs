//! Servers that something outside loads: may_minihttp, and an echo.

use may::coroutine::sleep;
use may::go;
use may::net::{TcpListener, TcpStream};
use may_minihttp::{HttpServer, HttpService, Request, Response};
use peer_common::{HELLO, Options, Report, echo_back, raise_descriptor_limit};
use std::convert::Infallible;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Answers every request by `Hello, World!`, by the variant after some time.
#[derive(Clone)]
struct Hello {
    asks_database: bool,
}

impl HttpService for Hello {
    fn call(&mut self, _: Request, response: &mut Response) -> io::Result<()> {
        if self.asks_database {
            static COUNTER: AtomicU64 = AtomicU64::new(0);
            // Relaxed: it only spreads the times.
            let number = COUNTER.fetch_add(1, Ordering::Relaxed);
            sleep(Duration::from_millis(5 + number % 6));
        }
        response.header("Content-Type: text/plain");
        response.body(HELLO);
        Ok(())
    }
}

/// Answers every request by `Hello, World!`.
pub fn http_hello(options: &Options) -> Option<Report> {
    serve(options, false)
}

/// The same after five to ten milliseconds, as if a database had been asked.
pub fn http_db(options: &Options) -> Option<Report> {
    serve(options, true)
}

fn serve(options: &Options, asks_database: bool) -> Option<Report> {
    options.default_only()?;
    // It opens the address itself, so a free one is looked for first.
    let address = options.address.clone().unwrap_or_else(|| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
        listener.local_addr().expect("it is bound").to_string()
    });
    raise_descriptor_limit();
    let server = HttpServer(Hello { asks_database }).start(&address);
    let server = server.expect("the address is free");
    eprintln!("READY {address}");
    server.wait();
    panic!("the server ended");
}

/// Sends back what comes, on every connection.
pub fn echo(options: &Options) -> Option<Report> {
    options.default_only()?;
    raise_descriptor_limit();
    let address = options.address_to_bind();
    let listener = TcpListener::bind(address).expect("the address is free");
    eprintln!("READY {}", listener.local_addr().expect("it is bound"));
    loop {
        let (stream, _) = listener.accept().expect("descriptors enough");
        go!(move || echo_one(stream));
    }
}

fn echo_one(stream: TcpStream) -> io::Result<Infallible> {
    stream.set_nodelay(true)?;
    echo_back(stream)
}

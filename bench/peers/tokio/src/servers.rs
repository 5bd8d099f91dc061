//! Servers that something outside loads: hyper alone, or axum on it by the variant, and an echo.

use crate::Running;
use axum::routing::get;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use peer_common::{ECHO_BYTES, HELLO, MESSAGE, Options, Report, listen};
use peer_common::{connections, round_trips_each, round_trips_report};
use std::convert::Infallible;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

/// Answers every request by `Hello, World!`.
pub fn http_hello(options: Options) -> Option<Running> {
    serve(options, false)
}

/// The same after five to ten milliseconds, as if a database had been asked.
pub fn http_db(options: Options) -> Option<Running> {
    serve(options, true)
}

fn serve(options: Options, asks_database: bool) -> Option<Running> {
    match options.variant.as_str() {
        "default" => Some(Box::pin(serve_hyper(options, asks_database))),
        "axum" => Some(Box::pin(serve_axum(options, asks_database))),
        _ => None,
    }
}

/// What stands for a database.
async fn database() {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    // Relaxed: it only spreads the times.
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    sleep(Duration::from_millis(5 + number % 6)).await;
}

/// The listener as tokio takes it.
fn listener(options: &Options) -> TcpListener {
    let listener = listen(options);
    listener.set_nonblocking(true).expect("a socket can be so");
    TcpListener::from_std(listener).expect("the runtime has a driver")
}

async fn answer(
    _: Request<Incoming>,
    asks_database: bool,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if asks_database {
        database().await;
    }
    let mut response = Response::new(Full::new(Bytes::from_static(HELLO.as_bytes())));
    let plain = HeaderValue::from_static("text/plain");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    Ok(response)
}

async fn serve_hyper(options: Options, asks_database: bool) -> Report {
    let listener = listener(&options);
    loop {
        let (stream, _) = listener.accept().await.expect("descriptors enough");
        tokio::spawn(async move {
            stream.set_nodelay(true)?;
            let service = service_fn(move |request| answer(request, asks_database));
            // A client that goes away is no matter of ours.
            drop(
                http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await,
            );
            io::Result::Ok(())
        });
    }
}

async fn serve_axum(options: Options, asks_database: bool) -> Report {
    let hello = move || async move {
        if asks_database {
            database().await;
        }
        (
            [(CONTENT_TYPE, HeaderValue::from_static("text/plain"))],
            HELLO,
        )
    };
    let router = axum::Router::new().route("/", get(hello));
    let listener = axum::serve::ListenerExt::tap_io(listener(&options), |stream| {
        stream.set_nodelay(true).expect("a socket can be so");
    });
    let served = axum::serve(listener, router).await;
    panic!("the server ended: {served:?}");
}

/// Sends back what comes, on every connection.
pub fn echo(options: Options) -> Option<Running> {
    options.default_only()?;
    Some(Box::pin(async move {
        let listener = listener(&options);
        loop {
            let (stream, _) = listener.accept().await.expect("descriptors enough");
            tokio::spawn(echo_one(stream));
        }
    }))
}

/// N round trips within this process, among pairs of tasks.
pub fn tcp(options: Options) -> Option<Running> {
    options.default_only()?;
    Some(Box::pin(async move {
        let each = round_trips_each(&options);
        let stream = |stream: std::net::TcpStream| {
            stream.set_nonblocking(true).expect("a socket can be so");
            TcpStream::from_std(stream).expect("the runtime has a driver")
        };
        let pairs: Vec<_> = connections(options.tasks)
            .into_iter()
            .map(|(client, server)| (stream(client), stream(server)))
            .collect();
        let begin = Instant::now();
        let mut talks = Vec::with_capacity(pairs.len());
        for (index, (client, server)) in pairs.into_iter().enumerate() {
            // It ends with the end of the client's stream.
            tokio::spawn(answer_messages(server));
            talks.push(tokio::spawn(talk(client, index as u8, each)));
        }
        let mut times = Vec::with_capacity(talks.len());
        for talk in talks {
            let taken = talk.await.expect("no panic");
            times.push(taken.expect("the other end answers"));
        }
        round_trips_report(&options, times, begin.elapsed())
    }))
}

async fn answer_messages(mut stream: TcpStream) -> io::Result<Infallible> {
    let mut buffer = [0; MESSAGE];
    loop {
        stream.read_exact(&mut buffer).await?;
        stream.write_all(&buffer).await?;
    }
}

async fn talk(mut stream: TcpStream, byte: u8, count: u64) -> io::Result<Vec<Duration>> {
    let mut taken = Vec::with_capacity(count as usize);
    let mut buffer = [0; MESSAGE];
    for _ in 0..count {
        let begin = Instant::now();
        stream.write_all(&[byte; MESSAGE]).await?;
        stream.read_exact(&mut buffer).await?;
        taken.push(begin.elapsed());
        assert_eq!(buffer, [byte; MESSAGE], "what was sent comes back");
    }
    Ok(taken)
}

async fn echo_one(mut stream: TcpStream) -> io::Result<Infallible> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; ECHO_BYTES];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        stream.write_all(&buffer[..count]).await?;
    }
}

//! A server under test, and a client that writes and reads HTTP byte by byte.

#![allow(dead_code, reason = "each test file uses a part")]

use bytes::Bytes;
use gaggle::context::{self, Context};
use gaggle_http::{Server, ServerBuilder, Stopped};
use http::{Request, Response};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Longer than any wait of a test that holds; a test that fails ends by it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Whether tests are to do as much as a large server would: CI's step `load` says so.
pub fn under_load() -> bool {
    std::env::var_os("GAGGLE_TEST_LOAD").is_some()
}

/// A server that runs until it is stopped.
pub struct Running {
    pub address: SocketAddr,
    cancel: Box<dyn FnOnce()>,
    server: gaggle::JoinHandle<std::io::Result<Stopped>>,
}

impl Running {
    /// Starts whatever `serve` makes of a listener and a context.
    pub fn start(
        serve: impl FnOnce(TcpListener, &Context) -> std::io::Result<Stopped> + Send + 'static,
    ) -> Running {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let (context, cancel) = context::background().with_cancel();
        let server = gaggle::go(move || serve(listener, &context));
        Running {
            address,
            cancel: Box::new(move || cancel.cancel()),
            server,
        }
    }

    /// Starts a blocking handler.
    pub fn handler(
        builder: ServerBuilder,
        handler: impl Fn(&Context, Request<Bytes>) -> Response<Bytes> + Send + Sync + 'static,
    ) -> Running {
        Running::start(move |listener, context| builder.build().serve(listener, context, handler))
    }

    /// Tells the server to stop, and answers a handle to wait by.
    pub fn begin_stop(self) -> gaggle::JoinHandle<std::io::Result<Stopped>> {
        (self.cancel)();
        self.server
    }

    /// Stops the server and expects that it dropped nothing.
    pub fn stop(self) {
        let stopped = self
            .begin_stop()
            .join()
            .expect("no panic")
            .expect("no failure");
        assert_eq!(stopped.aborted_connections, 0);
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.address)
    }
}

/// Echoes method, path and body.
pub fn echo(_: &Context, request: Request<Bytes>) -> Response<Bytes> {
    let mut text = format!("{} {} ", request.method(), request.uri().path()).into_bytes();
    text.extend_from_slice(request.body());
    Response::new(text.into())
}

/// A server that echoes, and how many requests were with its handler at once, at most.
pub fn counting_echo() -> (Running, Arc<AtomicUsize>) {
    let (now, most) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let most_of = Arc::clone(&most);
    let server = Running::handler(Server::builder(), move |context, request| {
        let count = now.fetch_add(1, Ordering::SeqCst) + 1;
        most_of.fetch_max(count, Ordering::SeqCst);
        std::thread::yield_now();
        now.fetch_sub(1, Ordering::SeqCst);
        echo(context, request)
    });
    (server, most)
}

/// One response as it came over the wire.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

/// A raw connection.
pub struct Client {
    reader: BufReader<TcpStream>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a timeout can be set");
        Client {
            reader: BufReader::new(stream),
        }
    }

    pub fn send(&mut self, text: &str) {
        self.reader
            .get_mut()
            .write_all(text.as_bytes())
            .expect("the server reads");
    }

    pub fn get(&mut self, path: &str) -> Answer {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"));
        self.answer()
    }

    pub fn post(&mut self, path: &str, body: &str) -> Answer {
        let length = body.len();
        self.send(&format!(
            "POST {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n{body}"
        ));
        self.answer()
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.reader
            .read_line(&mut line)
            .expect("the server answers in time");
        assert!(
            line.ends_with("\r\n"),
            "the connection ended in a head: {line:?}"
        );
        line.truncate(line.len() - 2);
        line
    }

    /// Reads one response with a declared length, or none at all.
    pub fn answer(&mut self) -> Answer {
        let status_line = self.line();
        let status = status_line
            .split(' ')
            .nth(1)
            .and_then(|word| word.parse().ok());
        let mut answer = Answer {
            status: status.unwrap_or_else(|| panic!("no status in {status_line:?}")),
            headers: Vec::new(),
            body: String::new(),
        };
        loop {
            let line = self.line();
            let Some((key, value)) = line.split_once(": ") else {
                assert!(line.is_empty(), "not a header: {line:?}");
                break;
            };
            answer
                .headers
                .push((key.to_ascii_lowercase(), value.to_owned()));
        }
        let length = answer
            .header("content-length")
            .map_or(0, |text| text.parse().expect("a number"));
        let mut body = vec![0; length];
        self.reader
            .read_exact(&mut body)
            .expect("the whole body comes");
        answer.body = String::from_utf8(body).expect("text");
        answer
    }

    /// Expects the server to have closed the connection with nothing more said.
    pub fn expect_end(&mut self) {
        let mut rest = Vec::new();
        self.reader
            .read_to_end(&mut rest)
            .expect("the server closes in time");
        assert_eq!(String::from_utf8_lossy(&rest), "");
    }

    /// Says that nothing more will be sent.
    pub fn shut_write(&mut self) {
        self.reader
            .get_ref()
            .shutdown(Shutdown::Write)
            .expect("the connection is open");
    }

    /// Reads a response's head, and as many bytes of its body.
    pub fn head_and(&mut self, count: usize) -> String {
        while !self.line().is_empty() {}
        self.bytes(count)
    }

    /// Reads a response's head, and then all bytes up to the end of the connection.
    pub fn head_and_rest(&mut self) -> (String, Vec<u8>) {
        let mut head = String::new();
        loop {
            let line = self.line();
            if line.is_empty() {
                break;
            }
            head += &line.to_ascii_lowercase();
            head += "\r\n";
        }
        let mut rest = Vec::new();
        self.reader
            .read_to_end(&mut rest)
            .expect("the server closes in time");
        (head, rest)
    }

    /// Reads a response's head, and the first chunk of its body.
    pub fn head_and_chunk(&mut self) -> String {
        while !self.line().is_empty() {}
        self.chunk()
    }

    /// Reads one chunk of a body, of which the last is empty.
    pub fn chunk(&mut self) -> String {
        let line = self.line();
        let size = usize::from_str_radix(&line, 16).unwrap_or_else(|_| panic!("no size: {line:?}"));
        let text = self.bytes(size);
        assert_eq!(self.line(), "");
        text
    }

    pub fn bytes(&mut self, count: usize) -> String {
        let mut bytes = vec![0; count];
        self.reader.read_exact(&mut bytes).expect("the bytes come");
        String::from_utf8(bytes).expect("text")
    }

    /// Reads to the end of the connection.
    pub fn rest(&mut self) -> String {
        let mut text = String::new();
        self.reader
            .read_to_string(&mut text)
            .expect("the server closes in time");
        text
    }

    /// Blocks until the response has begun, and leaves it unread.
    pub fn wait_for_a_byte(&mut self) {
        assert_eq!(
            self.reader
                .get_ref()
                .peek(&mut [0])
                .expect("the server answers in time"),
            1
        );
    }

    /// Whether nothing comes for `time`.
    pub fn is_silent_for(&mut self, time: Duration) -> bool {
        let stream = self.reader.get_ref();
        stream
            .set_read_timeout(Some(time))
            .expect("a timeout can be set");
        let silent = stream.peek(&mut [0]).is_err();
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a timeout can be set");
        silent
    }
}

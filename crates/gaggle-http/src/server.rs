//! The server: its settings, the accept loop, and the way it ends.

use crate::connections::{Connections, Seat};
use crate::drive::drive;
use crate::service::{answer_blocking, answer_service};
use crate::wire::{Socket, Timeouts, Wire};
use bytes::Bytes;
use gaggle::context::Context;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use socket2::SockRef;
use std::cell::RefCell;
use std::convert::Infallible;
use std::error::Error;
use std::io::{self, ErrorKind};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tower_service::Service;

/// The first and the longest pause after an accept that the operating system refused for want of
/// something (Go's `net/http.Server.Serve` uses the same).
const ACCEPT_PAUSE_MIN: Duration = Duration::from_millis(5);
const ACCEPT_PAUSE_MAX: Duration = Duration::from_secs(1);
/// How long aborted connections have to notice that their socket is gone.
const ABORT_GRACE: Duration = Duration::from_secs(1);
/// How many clients may wait to be accepted; the system caps it by its own limit, as Go does.
const BACKLOG: i32 = 65_535;
/// hyper's own minimum of the buffer in which a head must fit.
const HEAD_BUFFER_BYTES_MIN: usize = 8 * 1024;

/// An HTTP/1.1 server on a `std` listener, a goroutine per connection.
///
/// Limits and timeouts are on from the start; [`Server::builder`] changes them.
#[derive(Clone, Debug)]
pub struct Server {
    settings: ServerBuilder,
}

impl Default for Server {
    fn default() -> Self {
        Server::builder().build()
    }
}

/// The settings of a [`Server`].
#[derive(Clone, Debug)]
pub struct ServerBuilder {
    timeouts: Timeouts,
    drain_timeout: Duration,
    connections_max: usize,
    body_bytes_max: usize,
    head_bytes_max: usize,
}

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Connections that were still in flight when the drain timeout ran out, and were cut off.
    pub aborted_connections: usize,
}

impl ServerBuilder {
    /// How long a client may take from connecting, or from the first byte of a later request, to the
    /// end of the request's head. 10 seconds unless set. A head that is late is answered by 408.
    ///
    /// # Panics
    /// When `time` is zero.
    #[must_use]
    pub fn header_read_timeout(mut self, time: Duration) -> Self {
        assert!(
            !time.is_zero(),
            "a timeout of zero would end every connection"
        );
        self.timeouts.header_read = time;
        self
    }

    /// How long the whole body of a request may take to arrive after its head, counted from the first
    /// wait for it. 60 seconds unless set. A blocking handler's client gets 408; a service that streams
    /// gets the error from the body.
    ///
    /// # Panics
    /// When `time` is zero.
    #[must_use]
    pub fn body_read_timeout(mut self, time: Duration) -> Self {
        assert!(
            !time.is_zero(),
            "a timeout of zero would end every connection"
        );
        self.timeouts.body_read = time;
        self
    }

    /// How long a kept-alive connection may wait for its next request. 90 seconds unless set.
    ///
    /// # Panics
    /// When `time` is zero.
    #[must_use]
    pub fn idle_timeout(mut self, time: Duration) -> Self {
        assert!(
            !time.is_zero(),
            "a timeout of zero would end every connection"
        );
        self.timeouts.idle = time;
        self
    }

    /// How long one write may wait for a client that does not read. 30 seconds unless set.
    ///
    /// # Panics
    /// When `time` is zero.
    #[must_use]
    pub fn write_timeout(mut self, time: Duration) -> Self {
        assert!(
            !time.is_zero(),
            "a timeout of zero would end every connection"
        );
        self.timeouts.write = time;
        self
    }

    /// How long the requests in flight may go on once the server is told to stop. 25 seconds unless
    /// set; zero cuts them off at once.
    #[must_use]
    pub fn drain_timeout(mut self, time: Duration) -> Self {
        self.drain_timeout = time;
        self
    }

    /// How many connections may be open at once; further clients wait in the listener's backlog until
    /// one ends. 100,000 unless set.
    ///
    /// # Panics
    /// When `count` is zero.
    #[must_use]
    pub fn connections_max(mut self, count: usize) -> Self {
        assert!(count > 0, "a server of no connections would never answer");
        self.connections_max = count;
        self
    }

    /// How many bytes a request's body may have; a longer one is answered by 413. 1 MiB unless set.
    ///
    /// For a `tower` service this looks at the declared length only: one that reads bodies of unknown
    /// length limits them itself, as axum does.
    #[must_use]
    pub fn body_bytes_max(mut self, bytes: usize) -> Self {
        self.body_bytes_max = bytes;
        self
    }

    /// How many bytes a request's line and headers may have together; more are answered by 431.
    /// 32 KiB unless set. There may be a hundred headers.
    #[must_use]
    pub fn head_bytes_max(mut self, bytes: usize) -> Self {
        self.head_bytes_max = bytes;
        self
    }

    /// The server with these settings.
    #[must_use]
    pub fn build(self) -> Server {
        Server { settings: self }
    }
}

impl Server {
    /// The settings to start from.
    #[must_use]
    pub fn builder() -> ServerBuilder {
        ServerBuilder {
            timeouts: Timeouts {
                header_read: Duration::from_secs(10),
                body_read: Duration::from_secs(60),
                idle: Duration::from_secs(90),
                write: Duration::from_secs(30),
            },
            drain_timeout: Duration::from_secs(25),
            connections_max: 100_000,
            body_bytes_max: 1024 * 1024,
            head_bytes_max: 32 * 1024,
        }
    }

    /// Serves `listener` by a handler that blocks as it likes, until `context` is done.
    ///
    /// The handler is called on the connection's goroutine with the whole body in memory, and may use
    /// any blocking code. A handler that panics answers 500. Its context holds `context`'s values; it
    /// ends not with `context` but when the drain timeout runs out, so that a request in flight can
    /// finish.
    ///
    /// Blocks this goroutine until the server has stopped: once `context` is done nothing more is
    /// accepted, connections that wait for a request are closed, and the requests in flight get their
    /// responses (with `Connection: close`), for as long as the drain timeout.
    ///
    /// # Errors
    /// When the listener fails for good; what is in flight is drained first. An accept that fails for
    /// want of descriptors or memory is tried again, after a pause.
    pub fn serve<H>(
        &self,
        listener: TcpListener,
        context: &Context,
        handler: H,
    ) -> io::Result<Stopped>
    where
        H: Fn(&Context, Request<Bytes>) -> Response<Bytes> + Send + Sync + 'static,
    {
        let (requests, cancel) = context.without_cancel().with_cancel();
        let handler = Arc::new(handler);
        let settings = Arc::new(self.settings.clone());
        let connect = move |seat: Seat| {
            let (handler, settings) = (Arc::clone(&handler), Arc::clone(&settings));
            let requests = requests.clone();
            move || {
                serve_connection(&settings, &seat, async |wire, request| {
                    let bytes_max = settings.body_bytes_max;
                    answer_blocking(wire, &*handler, &requests, bytes_max, request).await
                });
            }
        };
        self.run(listener, context, connect, || cancel.cancel())
    }

    /// Serves `listener` by a `tower` service, until `context` is done. An `axum::Router` is one.
    ///
    /// Each connection has its own clone of `service`, and runs it on its own goroutine: its futures
    /// may block, and need not be `Send`. A service that panics or fails answers 500. A service that
    /// reads the request's body and waits for something else *at the same time* sees the something
    /// else together with the client's next bytes; in turn, both are seen at once.
    ///
    /// Blocks this goroutine, and ends, as [`Server::serve`].
    ///
    /// # Errors
    /// As [`Server::serve`].
    ///
    /// # Examples
    /// ```
    /// use bytes::Bytes;
    /// use gaggle_http::Server;
    /// use http::{Request, Response};
    /// use http_body_util::{BodyExt, Full};
    /// use hyper::body::Incoming;
    /// # use gaggle::context;
    /// # use std::net::TcpListener;
    ///
    /// async fn shout(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    ///     let bytes = request.into_body().collect().await?.to_bytes();
    ///     Ok(Response::new(bytes.to_ascii_uppercase().into()))
    /// }
    ///
    /// # let (context, stop) = context::background().with_cancel();
    /// # stop.cancel();
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// Server::default().serve_service(listener, &context, tower::service_fn(shout))?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn serve_service<S, B>(
        &self,
        listener: TcpListener,
        context: &Context,
        service: S,
    ) -> io::Result<Stopped>
    where
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
        B: Body + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let settings = Arc::new(self.settings.clone());
        let connect = move |seat: Seat| {
            let (service, settings) = (service.clone(), Arc::clone(&settings));
            move || {
                let service = RefCell::new(service);
                serve_connection(&settings, &seat, async |wire, request| {
                    answer_service(wire, &service, settings.body_bytes_max, request).await
                });
            }
        };
        self.run(listener, context, connect, || ())
    }

    /// Accepts and starts connections until `context` is done, then drains them.
    fn run<F: FnOnce() + Send + 'static>(
        &self,
        listener: TcpListener,
        context: &Context,
        connect: impl Fn(Seat) -> F,
        out_of_time: impl FnOnce(),
    ) -> io::Result<Stopped> {
        let connections = Arc::new(Connections::default());
        // std lets 128 clients wait to be accepted, and beyond it they wait a second or more before they
        // try again. An error would mean that it does not listen, which accept reports better.
        let _ = SockRef::from(&listener).listen(BACKLOG);
        let listener = Arc::new(listener);
        let stop = context.after_func({
            let (connections, listener) = (Arc::clone(&connections), Arc::clone(&listener));
            move || {
                connections.begin_drain();
                wake_accept(&listener);
            }
        });
        let accepted = accept_all(
            &listener,
            &connections,
            self.settings.connections_max,
            connect,
        );
        stop.stop();
        drop(listener);
        connections.begin_drain();
        let aborted_connections = connections.wait_until_empty(self.settings.drain_timeout);
        out_of_time();
        if aborted_connections > 0 {
            connections.abort();
            connections.wait_until_empty(ABORT_GRACE);
        }
        accepted.map(|()| Stopped {
            aborted_connections,
        })
    }
}

/// Accepts until draining begins or the listener fails for good.
fn accept_all<F: FnOnce() + Send + 'static>(
    listener: &TcpListener,
    connections: &Arc<Connections>,
    connections_max: usize,
    connect: impl Fn(Seat) -> F,
) -> io::Result<()> {
    let mut pause = ACCEPT_PAUSE_MIN;
    let mut number = 0;
    while connections.wait_for_room(connections_max) {
        let started = listener.accept().and_then(|(stream, _)| {
            number += 1;
            start(connections, number, stream, &connect)
        });
        match started {
            Ok(()) => pause = ACCEPT_PAUSE_MIN,
            Err(_) if connections.is_draining() => break,
            Err(error) => match lasting(&error) {
                Lasting::No => {}
                Lasting::Shortage => {
                    connections.pause(pause);
                    pause = (pause * 2).min(ACCEPT_PAUSE_MAX);
                }
                Lasting::Yes => return Err(error),
            },
        }
    }
    Ok(())
}

/// Starts the goroutine of a connection that was just accepted.
fn start<F: FnOnce() + Send + 'static>(
    connections: &Arc<Connections>,
    number: u64,
    stream: TcpStream,
    connect: impl Fn(Seat) -> F,
) -> io::Result<()> {
    let seat = connections.enter(number, stream);
    gaggle::Builder::new().spawn(connect(seat)).map(drop)
}

/// What an error of accept, or of starting a connection, says about the next one.
enum Lasting {
    /// It concerned that one connection.
    No,
    /// The system is short of something, and may have it again later.
    Shortage,
    /// The listener itself is useless.
    Yes,
}

fn lasting(error: &io::Error) -> Lasting {
    match error.kind() {
        ErrorKind::InvalidInput | ErrorKind::NotConnected | ErrorKind::Unsupported => Lasting::Yes,
        ErrorKind::ConnectionAborted
        | ErrorKind::ConnectionReset
        | ErrorKind::Interrupted
        | ErrorKind::TimedOut => Lasting::No,
        _ if is_bad_descriptor(error) => Lasting::Yes,
        // EMFILE, ENFILE, ENOBUFS, ENOMEM, EAGAIN for threads, and whatever a network reports through
        // accept: waiting is right for the first and does no harm for the last.
        _ => Lasting::Shortage,
    }
}

/// Whether the descriptor is none, or none of a listening socket. std has no kinds for these.
fn is_bad_descriptor(error: &io::Error) -> bool {
    const EBADF: i32 = 9;
    cfg!(unix) && error.raw_os_error() == Some(EBADF)
}

/// Makes an accept that blocks on `listener` return.
fn wake_accept(listener: &TcpListener) {
    if SockRef::from(listener).shutdown(Shutdown::Read).is_ok() {
        return;
    }
    // Where a listening socket cannot be shut down, one connection to it does the same.
    if let Ok(address) = listener.local_addr() {
        let _ = TcpStream::connect_timeout(&address, Duration::from_secs(1));
    }
}

/// Serves one connection to its end.
fn serve_connection<B>(
    settings: &ServerBuilder,
    seat: &Seat,
    answer: impl AsyncFn(Rc<Wire>, Request<Incoming>) -> Response<B>,
) where
    B: Body + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let Ok(wire) = Wire::new(Arc::clone(seat.connection()), settings.timeouts) else {
        // The peer has gone already.
        return;
    };
    let (answer, of_service) = (&answer, Rc::clone(&wire));
    let service = service_fn(move |request| {
        let wire = Rc::clone(&of_service);
        async move { Ok::<_, Infallible>(answer(wire, request).await) }
    });
    let connection = http1::Builder::new()
        // Without it hyper reads while a request is being answered, to see the client go away.
        .half_close(true)
        // hyper's own timeout needs timers that fire during a read; `Wire` keeps the time instead.
        .header_read_timeout(None)
        .max_header_size(settings.head_bytes_max)
        .max_buf_size(settings.head_bytes_max.max(HEAD_BUFFER_BYTES_MIN))
        .serve_connection(Socket(Rc::clone(&wire)), service);
    let outcome = drive(&wire, connection);
    wire.finish(outcome.is_ok());
}

//! Accepting: a goroutine for each connection, so many at most, and an orderly end.
//!
//! - V1: a connection is counted from its accept until its goroutine has ended, by return or by panic.
//! - V2: nothing is accepted while as many connections are counted as the limit allows: who comes then waits in
//!   the kernel's queue. Once the context has ended nobody is served: who comes is refused, or closed unheard if
//!   the accept was under way.
//! - V3: `serve` returns when no connection is counted.

use crate::backend::{Backend, backend};
use crate::builder::Builder;
use crate::context::Context;
use std::io::{self, ErrorKind};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The first and the longest pause after an accept that the operating system refused for want of something
/// (Go's `net/http.Server.Serve` uses the same).
const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// What [`serve`] accepts connections from: std's listeners, and whatever hands out connections of a socket
/// that listens.
pub trait Listener: AsFd {
    /// A connection.
    type Stream: Send + 'static;

    /// The next connection; blocks this goroutine until there is one.
    ///
    /// # Errors
    /// As [`TcpListener::accept`].
    fn accept_stream(&self) -> io::Result<Self::Stream>;
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    fn accept_stream(&self) -> io::Result<TcpStream> {
        self.accept().map(|(stream, _)| stream)
    }
}

impl Listener for UnixListener {
    type Stream = UnixStream;

    fn accept_stream(&self) -> io::Result<UnixStream> {
        self.accept().map(|(stream, _)| stream)
    }
}

/// Calls `handler` with each connection that comes, in a goroutine of its own, at most `limit` at a time;
/// until `context` ends, or the listener fails for good.
///
/// Blocks this goroutine (never its OS thread) until then, and until every handler has returned. While
/// `limit` handlers run nothing is accepted: clients wait in the kernel's queue. Once the context has ended
/// the listener is closed. A handler is given that context: one that waits for its client in
/// [`Context::run`] stops at once, one that does not finishes what it is about.
///
/// A handler that panics ends its own connection; what else comes of it is said by
/// [`PanicPolicy`](crate::runtime::PanicPolicy).
///
/// An accept that fails for want of descriptors or memory is tried again after a pause, from 5 ms to 1 s.
/// On the threads backend the listening socket is shut down at the end, also for others who share it.
///
/// # Errors
/// When the listener fails for good, or a context that this is called under ends
/// ([`Context::run`]); the handlers have returned then as well.
///
/// # Panics
/// When `limit` is 0.
///
/// # Examples
/// ```
/// use gaggle::context::{self, Context};
/// use std::io::{self, Read, Write};
/// use std::net::{TcpListener, TcpStream};
///
/// fn shout(_: &Context, mut stream: TcpStream) {
///     let mut bytes = [0; 5];
///     if stream.read_exact(&mut bytes).is_ok() {
///         let _ = stream.write_all(&bytes.to_ascii_uppercase());
///     }
/// }
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let address = listener.local_addr()?;
/// let (context, stop) = context::background().with_cancel();
/// let server = gaggle::go(move || gaggle::net::serve(listener, 1000, &context, shout));
///
/// let mut client = TcpStream::connect(address)?;
/// client.write_all(b"goose")?;
/// assert_eq!(io::read_to_string(&client)?, "GOOSE");
/// stop.cancel();
/// server.join().unwrap()?;
/// # Ok::<(), io::Error>(())
/// ```
///
/// Source: the accept loop of Go's `net/http.Server`, and of `golang.org/x/net/netutil.LimitListener`.
#[track_caller]
pub fn serve<L, F>(listener: L, limit: usize, context: &Context, handler: F) -> io::Result<()>
where
    L: Listener,
    F: Fn(&Context, L::Stream) + Send + Sync + 'static,
{
    assert!(limit > 0, "nothing could be served with a limit of 0");
    let counter = Arc::new(Counter::default());
    // What blocks in accept elsewhere than on green is not ended by a context.
    let shared = Arc::new(Mutex::new(match backend() {
        Backend::Green => None,
        Backend::Threads => Some(listener.as_fd().try_clone_to_owned()?),
    }));
    let stop = context.after_func({
        let (counter, shared) = (Arc::clone(&counter), Arc::clone(&shared));
        move || {
            counter.end();
            shut(&shared);
        }
    });
    let accepted = accept_all(&listener, limit, context, &counter, Arc::new(handler));
    if !stop.stop() {
        // Nobody can connect any more, even if that function has yet to begin.
        shut(&shared);
    }
    drop(listener);
    counter.wait_for_none();
    accepted
}

/// Has an accept on the same socket return, once, and closes this descriptor of it.
fn shut(listener: &Mutex<Option<OwnedFd>>) {
    let mut listener = listener.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(listener) = listener.take() {
        // The call is the same for sockets of all kinds. An error would mean that it listens no more.
        let _ = TcpStream::from(listener).shutdown(Shutdown::Both);
    }
}

fn accept_all<L, F>(
    listener: &L,
    limit: usize,
    context: &Context,
    counter: &Arc<Counter>,
    handler: Arc<F>,
) -> io::Result<()>
where
    L: Listener,
    F: Fn(&Context, L::Stream) + Send + Sync + 'static,
{
    let mut pause = PAUSE_MIN;
    while let Some(counted) = counter.enter(limit) {
        // The counter is told of the end a moment later.
        if context.err().is_some() {
            break;
        }
        let accepted = context.run(|| listener.accept_stream());
        // Who came as the end was called is not served (V2). The clock may be ahead of the timer that ends the
        // context.
        if context.err().is_some() || counter.has_ended() {
            break;
        }
        let started = accepted.and_then(|stream| start(stream, context, &handler, counted));
        let Err(error) = started else {
            pause = PAUSE_MIN;
            continue;
        };
        match lasting(&error) {
            Lasting::No => {}
            Lasting::Shortage => {
                counter.pause(pause);
                pause = (pause * 2).min(PAUSE_MAX);
            }
            Lasting::Yes => return Err(error),
        }
    }
    Ok(())
}

/// Starts the goroutine of a connection that was just accepted.
fn start<S, F>(stream: S, context: &Context, handler: &Arc<F>, counted: Counted) -> io::Result<()>
where
    S: Send + 'static,
    F: Fn(&Context, S) + Send + Sync + 'static,
{
    let (context, handler) = (context.clone(), Arc::clone(handler));
    let connection = move || {
        let _counted = counted;
        handler(&context, stream);
    };
    Builder::new().spawn(connection).map(drop)
}

/// What an error of accept, or of starting a goroutine, says about the next one.
enum Lasting {
    /// It concerned that one connection.
    No,
    /// The system is short of something, and may have it again later.
    Shortage,
    /// There will be no other.
    Yes,
}

fn lasting(error: &io::Error) -> Lasting {
    const EBADF: i32 = 9;
    const ENOTSOCK: i32 = 88;
    const ECANCELED: i32 = 125;
    match error.kind() {
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::Interrupted => {
            Lasting::No
        }
        // No socket that listens; one that does not block; a context around this call.
        ErrorKind::InvalidInput
        | ErrorKind::NotConnected
        | ErrorKind::Unsupported
        | ErrorKind::TimedOut => Lasting::Yes,
        _ => match error.raw_os_error() {
            Some(EBADF | ENOTSOCK | ECANCELED) => Lasting::Yes,
            // EMFILE, ENFILE, ENOBUFS, ENOMEM, EAGAIN for threads, and whatever a network reports through
            // accept: waiting is right for the first and does no harm for the last.
            _ => Lasting::Shortage,
        },
    }
}

/// The connections that are counted, and whether the end has been called.
#[derive(Default)]
struct Counter {
    state: Mutex<(usize, bool)>,
    changed: Condvar,
}

/// One connection, counted until this is dropped (V1).
struct Counted(Arc<Counter>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.lock().0 -= 1;
        self.0.changed.notify_all();
    }
}

impl Counter {
    fn lock(&self) -> MutexGuard<'_, (usize, bool)> {
        // Nothing can panic under it, so it is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one more, when there is room; `None`: the end came first (V2).
    fn enter(self: &Arc<Self>, limit: usize) -> Option<Counted> {
        let must_wait = |state: &mut (usize, bool)| state.0 >= limit && !state.1;
        let state = self.changed.wait_while(self.lock(), must_wait);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        if state.1 {
            return None;
        }
        state.0 += 1;
        Some(Counted(Arc::clone(self)))
    }

    fn end(&self) {
        self.lock().1 = true;
        self.changed.notify_all();
    }

    fn has_ended(&self) -> bool {
        self.lock().1
    }

    /// Waits for so long, or until the end.
    fn pause(&self, time: Duration) {
        let not_ended = |state: &mut (usize, bool)| !state.1;
        // Whoever waits here looks at the end by itself.
        drop(
            self.changed
                .wait_timeout_while(self.lock(), time, not_ended),
        );
    }

    /// Waits for the end of all (V3): by a condition variable of std, which no context ends.
    fn wait_for_none(&self) {
        let left = self
            .changed
            .wait_while(self.lock(), |(count, _)| *count != 0);
        drop(left);
    }
}

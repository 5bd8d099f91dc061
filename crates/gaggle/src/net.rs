//! Serving a listener, and readiness of descriptors: for who bridges futures or has to know that a peer has
//! gone.
//!
//! Blocking code needs nothing of the latter: on a goroutine std's sockets simply block. [`serve`] calls a
//! function for each connection that a listener of std accepts. [`on_hangup`] calls one when the other side
//! goes away, while somebody is busy with something else and reads nothing; [`Readiness`] lets a future wait
//! for a socket.
//!
//! Readiness works on Linux with glibc on x86-64, on both backends; elsewhere what needs it answers
//! [`Unsupported`](io::ErrorKind::Unsupported).

mod serve;

pub use serve::{Listener, serve};

use crate::backend::{self, AnyWatch, Backend, backend};
use crate::builder::entry_for_later;
use crate::chan::nanos;
use gaggle_core::contract::{Interest, NEVER, SpawnOptions, entry};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::panic::Location;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Calls `f` once, in a goroutine of its own, when the other side of a socket has gone or has said that it
/// will write no more. At once, if it has.
///
/// Nothing is read: bytes that came before stay where they are. Nothing is blocked. A client that shuts its
/// writing side and waits for its answer looks the same as one that has left; writing tells them apart.
///
/// Dropping the [`Hangup`] calls it off: do so before the socket is closed. Closing the socket on this side
/// calls nothing.
///
/// # Errors
/// What the kernel answers for a descriptor that cannot be polled, and
/// [`Unsupported`](io::ErrorKind::Unsupported) on platforms where this does not work.
///
/// # Examples
/// ```
/// use std::net::{TcpListener, TcpStream};
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let client = TcpStream::connect(listener.local_addr()?)?;
/// let (server, _) = listener.accept()?;
/// let (gone, is_gone) = gaggle::chan::bounded(1);
/// let _watch = gaggle::net::on_hangup(&server, move || gone.send("gone").unwrap())?;
/// drop(client);
/// assert_eq!(is_gone.recv(), Ok("gone"));
/// # Ok::<(), std::io::Error>(())
/// ```
#[track_caller]
pub fn on_hangup<F>(socket: &impl AsFd, f: F) -> io::Result<Hangup>
where
    F: FnOnce() + Send + 'static,
{
    let fd = socket.as_fd().as_raw_fd();
    let location = Location::caller();
    let entry = match backend() {
        Backend::Green => entry_for_later(f, location),
        // The thread that watches must not be kept waiting.
        Backend::Threads => entry(move || {
            let _ = crate::go(f);
        }),
    };
    let watch = AnyWatch::new(fd, Interest::Hangup, options(location), entry)?;
    // An edge that came before the watch is not reported to it.
    if backend::is_ready(fd, Interest::Hangup)? {
        watch.fire();
    }
    Ok(Hangup { _watch: watch })
}

/// Calls `attempt` until it answers anything but [`WouldBlock`](io::ErrorKind::WouldBlock), blocking this goroutine
/// (or thread) before each further try until `socket` has something to read, or its end has come.
///
/// For calls that never wait: [`try_recv`], or std's on a socket that was set so. Blocking in std's own calls is
/// simpler, and asks the kernel twice more each time it waits: whether the socket is to wait, and for how long.
/// To wait for no longer than `timeout` costs nothing here.
///
/// # Errors
/// What `attempt` answers; [`TimedOut`](io::ErrorKind::TimedOut) once it has blocked for `timeout`; how the context
/// ended that this goroutine runs under ([`Context::run`](crate::context::Context::run)); what the kernel answers for
/// a descriptor that cannot be polled; [`Unsupported`](io::ErrorKind::Unsupported), without a try, on platforms where
/// this does not work.
///
/// # Examples
/// ```
/// use gaggle::net::{try_recv, until_readable};
/// use std::io::{ErrorKind, Write};
/// use std::os::unix::net::UnixStream;
/// use std::time::Duration;
///
/// let (mut here, there) = UnixStream::pair()?;
/// let mut bytes = [0; 16];
/// let timeout = Some(Duration::from_millis(1));
/// let late = until_readable(&there, timeout, || try_recv(&there, &mut bytes)).unwrap_err();
/// assert_eq!(late.kind(), ErrorKind::TimedOut);
/// here.write_all(b"hello")?;
/// assert_eq!(until_readable(&there, timeout, || try_recv(&there, &mut bytes))?, 5);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn until_readable<R>(
    socket: &impl AsFd,
    timeout: Option<Duration>,
    attempt: impl FnMut() -> io::Result<R>,
) -> io::Result<R> {
    until_ready(socket, Interest::Read, timeout, attempt)
}

/// As [`until_readable`], for room to write.
///
/// # Errors
/// As there.
pub fn until_writable<R>(
    socket: &impl AsFd,
    timeout: Option<Duration>,
    attempt: impl FnMut() -> io::Result<R>,
) -> io::Result<R> {
    until_ready(socket, Interest::Write, timeout, attempt)
}

/// Receives what is there on a socket: so many bytes, of which none is the end of a stream. Never waits, whatever
/// the socket is set to.
///
/// # Errors
/// [`WouldBlock`](io::ErrorKind::WouldBlock) when nothing is there; else the kernel's;
/// [`Unsupported`](io::ErrorKind::Unsupported) on platforms where this does not work.
///
/// # Examples
/// See [`until_readable`].
pub fn try_recv(socket: &impl AsFd, bytes: &mut [u8]) -> io::Result<usize> {
    backend::try_recv(socket.as_fd().as_raw_fd(), bytes)
}

/// Sends as many of `bytes` as there is room for on a socket; how many. Never waits, whatever the socket is set to,
/// and raises no signal when the peer has gone.
///
/// # Errors
/// As [`try_recv`]; [`WouldBlock`](io::ErrorKind::WouldBlock) when there is no room.
///
/// # Examples
/// ```
/// use gaggle::net::try_send;
/// use std::io::ErrorKind;
/// use std::os::unix::net::UnixStream;
///
/// let (here, there) = UnixStream::pair()?;
/// let mut sent = 0;
/// let full = loop {
///     match try_send(&here, &[0; 4096]) {
///         Ok(count) => sent += count,
///         Err(error) => break error,
///     }
/// };
/// assert_eq!(full.kind(), ErrorKind::WouldBlock);
/// assert!(sent > 0);
/// drop(there);
/// assert_eq!(try_send(&here, b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn try_send(socket: &impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    backend::try_send(socket.as_fd().as_raw_fd(), bytes)
}

fn until_ready<R>(
    socket: &impl AsFd,
    interest: Interest,
    timeout: Option<Duration>,
    mut attempt: impl FnMut() -> io::Result<R>,
) -> io::Result<R> {
    let timeout = timeout.map_or(NEVER, nanos);
    let mut outcome = Err(io::ErrorKind::Unsupported.into());
    let would_block = |outcome: &io::Result<R>| match outcome {
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        Ok(_) => false,
    };
    backend::until_ready(socket.as_fd().as_raw_fd(), interest, timeout, || {
        outcome = attempt();
        !would_block(&outcome)
    })?;
    outcome
}

fn options(location: &'static Location<'static>) -> SpawnOptions {
    SpawnOptions {
        name: None,
        stack_bytes: None,
        location,
    }
}

/// A function that waits for a peer to go away; made by [`on_hangup`]. Dropping it calls the function off.
#[must_use = "dropping it calls the function off"]
pub struct Hangup {
    _watch: AnyWatch,
}

impl fmt::Debug for Hangup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hangup").finish_non_exhaustive()
    }
}

/// One direction of a [`Readiness`].
struct Side {
    interest: Interest,
    slot: Arc<Slot>,
    watch: Option<AnyWatch>,
}

/// Who is to be woken.
#[derive(Default)]
struct Slot {
    waker: Mutex<Option<Waker>>,
    armed: AtomicBool,
}

impl Slot {
    fn set(&self, waker: &Waker) {
        let mut place = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *place {
            Some(there) => there.clone_from(waker),
            None => *place = Some(waker.clone()),
        }
    }

    fn wake(&self) {
        // SeqCst: before the waker is taken; pairs with the load in `Side::poll`, which comes after the
        // waker was put: so either this finds that waker or that call makes a new watch.
        self.armed.store(false, Ordering::SeqCst);
        let waker = self
            .waker
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Side {
    fn new(interest: Interest) -> Side {
        Side {
            interest,
            slot: Arc::default(),
            watch: None,
        }
    }

    #[track_caller]
    fn poll(&mut self, fd: i32, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.slot.set(context.waker());
        // SeqCst: pairs with the store in `Slot::wake`.
        if self.slot.armed.load(Ordering::SeqCst) {
            // The descriptor was not ready when the watch was made, and no edge has come since: the next one
            // finds the waker that was put above.
            return Poll::Pending;
        }
        let ready = self.arm(fd);
        if !matches!(ready, Ok(false)) {
            // Nobody is going to wait.
            self.watch = None;
            // Relaxed: no watch is there that could change it.
            self.slot.armed.store(false, Ordering::Relaxed);
        }
        match ready {
            Ok(false) => Poll::Pending,
            Ok(true) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// Makes a new watch; whether the descriptor is ready already.
    #[track_caller]
    fn arm(&mut self, fd: i32) -> io::Result<bool> {
        // What is left of the last one goes first.
        self.watch = None;
        // Relaxed: the new one is made after it.
        self.slot.armed.store(true, Ordering::Relaxed);
        let slot = Arc::clone(&self.slot);
        let entry = entry(move || slot.wake());
        self.watch = Some(AnyWatch::new(
            fd,
            self.interest,
            options(Location::caller()),
            entry,
        )?);
        // What came before the watch, or between the caller's own look and here.
        backend::is_ready(fd, self.interest)
    }
}

/// A socket (or pipe, or whatever else can be polled), and who waits for it.
///
/// One task at a time may wait for each direction; the last to ask is woken.
///
/// # Examples
/// A socket read by a future. It does not block: that is set by the program.
/// ```
/// use gaggle::net::Readiness;
/// use std::future::poll_fn;
/// use std::io::{ErrorKind, Read, Write};
/// use std::os::unix::net::UnixStream;
/// use std::task::Poll;
///
/// let (mut here, there) = UnixStream::pair()?;
/// there.set_nonblocking(true)?;
/// let mut there = Readiness::new(there);
/// let reader = gaggle::go(move || {
///     let mut bytes = [0; 5];
///     gaggle::block_on(poll_fn(|context| loop {
///         match there.get_ref().read(&mut bytes) {
///             Err(error) if error.kind() == ErrorKind::WouldBlock => {}
///             other => return Poll::Ready(other),
///         }
///         match there.poll_readable(context) {
///             Poll::Ready(Ok(())) => {}
///             Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
///             Poll::Pending => return Poll::Pending,
///         }
///     }))
/// });
/// here.write_all(b"hello")?;
/// assert_eq!(reader.join().unwrap()?, 5);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Readiness<T> {
    // Before the socket: a watch goes before its descriptor is closed.
    read: Side,
    write: Side,
    socket: T,
}

impl<T: AsFd> Readiness<T> {
    /// Asks nothing yet.
    pub fn new(socket: T) -> Readiness<T> {
        Readiness {
            read: Side::new(Interest::Read),
            write: Side::new(Interest::Write),
            socket,
        }
    }

    /// The socket.
    pub fn get_ref(&self) -> &T {
        &self.socket
    }

    /// The socket again; nobody is woken any more.
    pub fn into_inner(self) -> T {
        self.socket
    }

    /// Whether there is something to read, or the end has been reached; if not, the task is woken when it
    /// may be. Ask after an operation has answered [`WouldBlock`](io::ErrorKind::WouldBlock), and try it
    /// again when told that it is ready: readiness may be gone by then. Never blocks.
    ///
    /// # Errors
    /// What the kernel answers for a descriptor that cannot be polled, and
    /// [`Unsupported`](io::ErrorKind::Unsupported) on platforms where this does not work.
    #[track_caller]
    pub fn poll_readable(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.read.poll(self.socket.as_fd().as_raw_fd(), context)
    }

    /// As [`Readiness::poll_readable`], for room to write.
    ///
    /// # Errors
    /// As there.
    #[track_caller]
    pub fn poll_writable(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write.poll(self.socket.as_fd().as_raw_fd(), context)
    }
}

impl<T: fmt::Debug> fmt::Debug for Readiness<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readiness")
            .field("socket", &self.socket)
            .finish_non_exhaustive()
    }
}

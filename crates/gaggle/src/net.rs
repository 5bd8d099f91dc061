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
use gaggle_core::contract::{Interest, SpawnOptions, entry};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::panic::Location;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

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
        if !self.slot.armed.load(Ordering::SeqCst) {
            // Relaxed: no watch is there that could change it.
            self.slot.armed.store(true, Ordering::Relaxed);
            let slot = Arc::clone(&self.slot);
            let entry = entry(move || slot.wake());
            // What is left of the last one goes first.
            self.watch = None;
            match AnyWatch::new(fd, self.interest, options(Location::caller()), entry) {
                Ok(watch) => self.watch = Some(watch),
                Err(error) => {
                    self.slot.armed.store(false, Ordering::Relaxed);
                    return Poll::Ready(Err(error));
                }
            }
        }
        // What came before the watch, or between the caller's own look and here.
        match backend::is_ready(fd, self.interest) {
            Ok(false) => Poll::Pending,
            Ok(true) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(error)),
        }
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

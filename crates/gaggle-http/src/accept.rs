//! The accept loop, and what it makes of errors.

use crate::connections::{Connections, Seat};
use crate::listener::Listener;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

/// The first and the longest pause after an accept that the operating system refused for want of
/// something (Go's `net/http.Server.Serve` uses the same).
const ACCEPT_PAUSE_MIN: Duration = Duration::from_millis(5);
const ACCEPT_PAUSE_MAX: Duration = Duration::from_secs(1);

/// Accepts until draining begins or the listener fails for good.
pub(crate) fn accept_all<F: FnOnce() + Send + 'static>(
    listener: &Listener,
    connections: &Arc<Connections>,
    connections_max: usize,
    connect: impl Fn(Seat) -> F,
) -> io::Result<()> {
    let mut pause = ACCEPT_PAUSE_MIN;
    let mut number = 0;
    while connections.wait_for_room(connections_max) {
        let started = listener.accept().and_then(|(stream, peer)| {
            number += 1;
            start(connections.enter(number, stream, peer), &connect)
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
fn start<F: FnOnce() + Send + 'static>(seat: Seat, connect: impl Fn(Seat) -> F) -> io::Result<()> {
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

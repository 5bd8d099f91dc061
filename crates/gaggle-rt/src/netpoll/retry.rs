//! Calls that answer rather than wait, repeated by a goroutine that is ready to wait.

use super::{Direction, Wait, give_back, observe, wait};
use crate::sched;
use gaggle_core::context::ContextError;
use gaggle_core::contract::{NEVER, Nanos};
use gaggle_sys::clock;
use std::io::{self, ErrorKind};

/// Calls `attempt` until it says that it has done what it is for, parking the calling goroutine before each
/// further call until `fd` had an edge since the last (N1). `None`: the caller is no goroutine, and nothing was
/// called.
///
/// An error is [`TimedOut`](ErrorKind::TimedOut) once it has parked for `timeout`, how a context ended that the
/// goroutine runs under, or that `fd` is closed or cannot be polled.
pub fn until_ready(
    fd: i32,
    direction: Direction,
    timeout: Nanos,
    mut attempt: impl FnMut() -> bool,
) -> Option<io::Result<()>> {
    let g = sched::current()?;
    let mut deadline = NEVER;
    loop {
        let observed = observe(fd, direction);
        if attempt() {
            return Some(Ok(()));
        }
        if deadline == NEVER && timeout != NEVER {
            deadline = clock::now().saturating_add(timeout);
        }
        let errno = match wait(g, fd, direction, observed, deadline) {
            Wait::Ready => continue,
            Wait::TimedOut => return Some(Err(ErrorKind::TimedOut.into())),
            Wait::Moved(own) => {
                give_back(own);
                libc::EBADF
            }
            Wait::Closed => libc::EBADF,
            Wait::Unpollable => libc::EPERM,
            Wait::Ended(ContextError::Canceled) => libc::ECANCELED,
            Wait::Ended(ContextError::DeadlineExceeded) => libc::ETIMEDOUT,
        };
        return Some(Err(io::Error::from_raw_os_error(errno)));
    }
}

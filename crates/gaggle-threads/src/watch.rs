//! Watches: what is to run when a descriptor becomes ready. One thread, started by the first of them,
//! waits for all.
//!
//! - H1: a watch is in the table from its making until it fires or is dropped; whoever takes it out, under
//!   the lock, owns its entry, so an entry runs or is dropped exactly once.
//! - H2: a descriptor is registered with the kernel, for what its watches want, as long as it has one.
//! - H3: entries run on the watching thread: they wake somebody or start a goroutine, nothing more.
//! - H4: a watch is dropped before its descriptor is closed; the facade sees to that.

use gaggle_core::contract::{Entry, Interest, NEVER, Nanos};
use gaggle_sys::call;
use gaggle_sys::poller::{Event, Poller};
use std::collections::HashMap;
use std::ffi::c_short;
use std::io;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

/// The values of EPOLLIN, EPOLLOUT, EPOLLERR, EPOLLHUP and EPOLLRDHUP, and of their namesakes of `poll`.
const IN: u32 = 0x1;
const OUT: u32 = 0x4;
const ENDS: u32 = 0x8 | 0x10;
const READ_HANGUP: u32 = 0x2000;
/// POLLNVAL: the descriptor is not open.
const INVALID: u32 = 0x20;
const EBADF: i32 = 9;

fn bits_of(interest: Interest) -> u32 {
    match interest {
        Interest::Read => IN | READ_HANGUP | ENDS,
        Interest::Write => OUT | ENDS,
        Interest::Hangup => READ_HANGUP | ENDS,
    }
}

struct Waiting {
    number: u64,
    bits: u32,
    entry: Entry,
}

#[derive(Default)]
struct Table {
    by_descriptor: HashMap<i32, Vec<Waiting>>,
    last_number: u64,
}

static TABLE: OnceLock<Mutex<Table>> = OnceLock::new();

fn table() -> MutexGuard<'static, Table> {
    // Nothing panics under it.
    let table = TABLE.get_or_init(Mutex::default);
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The kernel's part, and the thread that waits for it.
fn poller() -> io::Result<&'static Poller> {
    static POLLER: OnceLock<Result<Poller, i32>> = OnceLock::new();
    static START: Mutex<()> = Mutex::new(());
    let _guard = START.lock().unwrap_or_else(PoisonError::into_inner);
    let made =
        POLLER.get_or_init(|| Poller::new().map_err(|error| error.raw_os_error().unwrap_or(0)));
    let poller = made
        .as_ref()
        .map_err(|&number| io::Error::from_raw_os_error(number))?;
    static SERVED: OnceLock<()> = OnceLock::new();
    if SERVED.get().is_none() {
        std::thread::Builder::new()
            .name("gaggle-watch".to_owned())
            .spawn(move || serve(poller))?;
        let _ = SERVED.set(());
    }
    Ok(poller)
}

/// Something that is to run when a descriptor becomes ready; dropped before, it never does.
#[derive(Debug)]
pub struct Watch {
    fd: i32,
    number: u64,
}

impl Watch {
    /// Runs `entry` once when `fd` satisfies `interest` (H3).
    ///
    /// # Errors
    /// The kernel's, for what cannot be polled or is not open.
    pub fn new(fd: i32, interest: Interest, entry: Entry) -> io::Result<Watch> {
        let poller = poller()?;
        let mut table = table();
        table.last_number += 1;
        let number = table.last_number;
        let waiting = Waiting {
            number,
            bits: bits_of(interest),
            entry,
        };
        let list = table.by_descriptor.entry(fd).or_default();
        list.push(waiting);
        let registered = register(poller, fd, list);
        if let Err(error) = registered {
            let refused = list.pop();
            if list.is_empty() {
                table.by_descriptor.remove(&fd);
            }
            drop(table);
            drop(refused);
            return Err(error);
        }
        Ok(Watch { fd, number })
    }

    /// Runs the entry now, unless it has run.
    pub fn fire(&self) {
        if let Some(mut waiting) = self.take_out() {
            waiting.entry.run();
        }
    }

    fn take_out(&self) -> Option<Waiting> {
        let mut table = table();
        let list = table.by_descriptor.get_mut(&self.fd)?;
        let index = list
            .iter()
            .position(|waiting| waiting.number == self.number)?;
        let taken = list.swap_remove(index);
        settle(&mut table, self.fd);
        Some(taken)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // What was not run is dropped behind the lock.
        drop(self.take_out());
    }
}

/// Has the kernel report what the watches of `fd` want, present edges included (H2).
fn register(poller: &Poller, fd: i32, list: &[Waiting]) -> io::Result<()> {
    let bits = list.iter().fold(0, |bits, waiting| bits | waiting.bits);
    poller.watch(fd, bits, fd as u64)
}

/// Registers `fd` for what is left of its watches, or not at all (H2).
fn settle(table: &mut Table, fd: i32) {
    let Ok(poller) = poller() else { return };
    let Some(list) = table.by_descriptor.get(&fd) else {
        return;
    };
    if list.is_empty() {
        table.by_descriptor.remove(&fd);
        poller.remove(fd);
    } else {
        // Its failure would mean that the descriptor was closed, against H4.
        let _ = register(poller, fd, list);
    }
}

/// The watching thread.
fn serve(poller: &Poller) {
    let mut events = [Event { events: 0, u64: 0 }; 64];
    loop {
        let count = poller.wait(&mut events);
        for event in &events[..count] {
            let (bits, data) = (event.events, event.u64);
            let mut due = Vec::new();
            if let Ok(fd) = i32::try_from(data) {
                let mut table = table();
                if let Some(list) = table.by_descriptor.get_mut(&fd) {
                    due.extend(list.extract_if(.., |waiting| waiting.bits & bits != 0));
                    settle(&mut table, fd);
                }
            }
            for mut waiting in due {
                waiting.entry.run();
            }
        }
    }
}

/// Whether `interest` is satisfied now.
///
/// # Errors
/// When `fd` is not open.
pub fn is_ready(fd: i32, interest: Interest) -> io::Result<bool> {
    let found = call::poll_now(fd, bits_of(interest) as c_short);
    if found < 0 {
        return Err(io::Error::from_raw_os_error(-found as i32));
    }
    if found as u32 & INVALID != 0 {
        return Err(io::Error::from_raw_os_error(EBADF));
    }
    Ok(found != 0)
}

/// Calls `attempt` until it says that it has done what it is for, blocking this OS thread until `fd` satisfies
/// `interest` before each further call.
///
/// # Errors
/// The kernel's, and [`TimedOut`](io::ErrorKind::TimedOut) once it has blocked for `timeout`.
pub fn until_ready(
    fd: i32,
    interest: Interest,
    timeout: Nanos,
    mut attempt: impl FnMut() -> bool,
) -> io::Result<()> {
    let mut begin = None;
    while !attempt() {
        let waited = begin.get_or_insert_with(Instant::now).elapsed();
        let left = match timeout {
            NEVER => None,
            nanos => Some(nanos.saturating_sub(waited.as_nanos() as Nanos)),
        };
        if left == Some(0) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let found = call::poll_blocking(fd, bits_of(interest) as c_short, left);
        if found < 0 {
            return Err(io::Error::from_raw_os_error(-found as i32));
        }
    }
    Ok(())
}

/// Receives what is there, without waiting.
///
/// # Errors
/// The kernel's.
pub fn try_recv(fd: i32, room: &mut [u8]) -> io::Result<usize> {
    count(call::receive_now(fd, room))
}

/// Sends what there is room for, without waiting.
///
/// # Errors
/// The kernel's.
pub fn try_send(fd: i32, bytes: &[u8]) -> io::Result<usize> {
    count(call::send_now(fd, bytes))
}

fn count(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result as i32))
}

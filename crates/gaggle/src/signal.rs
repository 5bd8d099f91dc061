//! Signals of the operating system, as values from a channel or as the end of a context.
//!
//! One OS thread of its own waits for all signals that somebody asked for, and hands them out.
//!
//! - S1: a signal goes to every receiver that asked for it and is still there, and to
//!   [`shutdown_context`] if that was called; never does handing it out wait.
//! - S2: a signal that somebody asked for before and nobody does any more does what it does in a program
//!   that never asked.

use crate::chan::{Receiver, Sender, bounded};
use crate::context::{CancelCause, Context, background};
use signal_hook::consts::{FORBIDDEN, SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};
use signal_hook::low_level::{emulate_default_handler, exit, signal_name};
use std::ffi::c_int;
use std::fmt;
use std::io;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;

/// How many signals wait in a receiver that nobody looks at; those that come then are lost.
const WAITING_MAX: usize = 64;

/// A signal that a program may receive.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Signal(c_int);

impl Signal {
    /// SIGINT: Ctrl-C.
    pub const INTERRUPT: Signal = Signal(SIGINT);
    /// SIGTERM: the request to end.
    pub const TERMINATE: Signal = Signal(SIGTERM);
    /// SIGHUP: the terminal is gone; to daemons, to read their configuration anew.
    pub const HANG_UP: Signal = Signal(signal_hook::consts::SIGHUP);
    /// SIGQUIT: Ctrl-\.
    pub const QUIT: Signal = Signal(signal_hook::consts::SIGQUIT);
    /// SIGUSR1: the program's own.
    pub const USER_1: Signal = Signal(signal_hook::consts::SIGUSR1);
    /// SIGUSR2: the program's own.
    pub const USER_2: Signal = Signal(signal_hook::consts::SIGUSR2);
    /// SIGCHLD: a child has changed its state.
    pub const CHILD: Signal = Signal(signal_hook::consts::SIGCHLD);
    /// SIGWINCH: the terminal has another size.
    pub const WINDOW_CHANGE: Signal = Signal(signal_hook::consts::SIGWINCH);

    /// The signal with this number; `None`: no program may receive it (SIGKILL, SIGSTOP), it is an
    /// instruction's own fault (SIGSEGV, SIGILL, SIGFPE), or there is none.
    pub fn from_number(number: i32) -> Option<Signal> {
        let exists = signal_name(number).is_some() && !FORBIDDEN.contains(&number);
        exists.then_some(Signal(number))
    }

    /// Its number on this system.
    pub fn number(self) -> i32 {
        self.0
    }

    /// Its name, such as `"SIGINT"`.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(gaggle::signal::Signal::TERMINATE.name(), "SIGTERM");
    /// ```
    pub fn name(self) -> &'static str {
        signal_name(self.0).unwrap_or("a signal")
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Who asked for signals.
struct Watch {
    /// By which more signals are asked for of the operating system.
    handle: Handle,
    receivers: Vec<(Vec<Signal>, Sender<Signal>)>,
    shutdown: Option<Shutdown>,
}

/// What [`shutdown_context`] wants.
struct Shutdown {
    cancel: CancelCause,
    is_asked: bool,
}

static WATCH: Mutex<Option<Watch>> = Mutex::new(None);

/// Nothing panics while it holds the lock but what the callers' docs name, before it changes anything.
fn watch() -> MutexGuard<'static, Option<Watch>> {
    WATCH.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Asks for `signals` and changes what is watched by `change`.
fn ask(signals: &[Signal], change: impl FnOnce(&mut Watch)) {
    let refused = |refusal: io::Error| -> ! { panic!("cannot wait for signals: {refusal}") };
    let mut watch = watch();
    if watch.is_none() {
        *watch = Some(start().unwrap_or_else(|refusal| refused(refusal)));
    }
    if let Some(watch) = watch.as_mut() {
        for signal in signals {
            if let Err(refusal) = watch.handle.add_signal(signal.0) {
                refused(refusal);
            }
        }
        change(watch);
    }
}

/// Starts the thread that waits for the signals.
fn start() -> io::Result<Watch> {
    let mut signals = Signals::new([0; 0])?;
    let handle = signals.handle();
    let name = "gaggle-signals".to_owned();
    thread::Builder::new().name(name).spawn(move || {
        for signal in signals.forever() {
            hand_out(Signal(signal));
        }
    })?;
    Ok(Watch {
        handle,
        receivers: Vec::new(),
        shutdown: None,
    })
}

/// S1 and S2.
fn hand_out(signal: Signal) {
    let mut watch = watch();
    let Some(watched) = watch.as_mut() else {
        return;
    };
    watched.receivers.retain(|(_, sender)| !sender.is_closed());
    let mut is_wanted = false;
    for (signals, sender) in &watched.receivers {
        if signals.contains(&signal) {
            is_wanted = true;
            // A receiver that is full has enough to find out.
            let _ = sender.try_send(signal);
        }
    }
    let asks_to_end = signal == Signal::INTERRUPT || signal == Signal::TERMINATE;
    if let Some(shutdown) = watched.shutdown.as_mut().filter(|_| asks_to_end) {
        is_wanted = true;
        if shutdown.is_asked {
            // Not `std::process::exit`: what hangs may hang in what that runs first.
            exit(128 + signal.0);
        }
        shutdown.is_asked = true;
        shutdown.cancel.cancel(match signal {
            Signal::INTERRUPT => "interrupted (SIGINT)",
            _ => "asked to end (SIGTERM)",
        });
    }
    drop(watch);
    if !is_wanted {
        // Its only error is a signal that does not exist.
        let _ = emulate_default_handler(signal.0);
    }
}

/// Makes a receiver of these signals, as they reach the process from now on. They no longer do what they
/// do by default (end the process, as a rule) until the last clone of the receiver drops.
///
/// Of several signals of a kind that come at once, some may be lost, as everywhere; and all that come
/// while 64 wait in the receiver. Several receivers may ask for the same signal: each gets it.
///
/// Never blocks.
///
/// Source: Go's `signal.Notify`.
///
/// # Panics
/// When the operating system refuses the handlers or, at the first call, the thread.
///
/// # Examples
/// ```
/// use gaggle::signal::{Signal, notify};
/// let reloads = notify(&[Signal::HANG_UP]);
/// assert!(reloads.try_recv().is_err(), "nobody has asked for one");
/// ```
#[must_use = "the signals do what they always did once the receiver is dropped"]
pub fn notify(signals: &[Signal]) -> Receiver<Signal> {
    let (sender, receiver) = bounded(WAITING_MAX);
    ask(signals, |watch| {
        watch.receivers.push((signals.to_vec(), sender));
    });
    receiver
}

/// A context that ends at the process's first SIGINT (Ctrl-C) or SIGTERM; the second ends the process
/// at once, with status 130 (SIGINT) or 143 (SIGTERM).
///
/// From the first call on the two signals no longer end the process by themselves. Every call answers
/// the same context. Its [`Context::cause`] names the signal. Never blocks; an OS thread of its own
/// waits for the signals.
///
/// Source: Go's `signal.NotifyContext`, with the second signal that programs add by hand.
///
/// # Panics
/// When the operating system refuses the handlers or the thread, at the first call.
///
/// # Examples
/// ```
/// let context = gaggle::signal::shutdown_context();
/// assert!(context.err().is_none(), "nobody has pressed Ctrl-C");
/// ```
pub fn shutdown_context() -> Context {
    static SHUTDOWN: OnceLock<Context> = OnceLock::new();
    let watched = || {
        let (context, cancel) = background().with_cancel_cause();
        ask(&[Signal::INTERRUPT, Signal::TERMINATE], |watch| {
            let is_asked = false;
            watch.shutdown = Some(Shutdown { cancel, is_asked });
        });
        context
    };
    SHUTDOWN.get_or_init(watched).clone()
}

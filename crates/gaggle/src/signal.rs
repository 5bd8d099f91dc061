//! Ending on a signal: the first asks, the second insists.

use crate::context::{Context, background};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io;
use std::sync::OnceLock;
use std::thread;

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
    let watched = || watch().unwrap_or_else(|refusal| panic!("cannot wait for signals: {refusal}"));
    SHUTDOWN.get_or_init(watched).clone()
}

/// Starts the thread that waits for the signals.
fn watch() -> io::Result<Context> {
    let (context, cancel) = background().with_cancel_cause();
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let name = "gaggle-signals".to_owned();
    thread::Builder::new().name(name).spawn(move || {
        let mut is_asked = false;
        for signal in signals.forever() {
            if is_asked {
                // Not `std::process::exit`: what hangs may hang in what that runs first.
                signal_hook::low_level::exit(128 + signal);
            }
            is_asked = true;
            cancel.cancel(match signal {
                SIGINT => "interrupted (SIGINT)",
                _ => "asked to end (SIGTERM)",
            });
        }
    })?;
    Ok(context)
}

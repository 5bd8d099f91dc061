//! What a panic in a goroutine prints, and what it does to the process.
//!
//! - P1: the panic hook that was set when the runtime started still runs; ours only says before it which
//!   goroutine it was. A hook that the program sets later takes its place.
//! - P2: what becomes of the process is decided where nobody has caught the panic: at the goroutine's
//!   first frame, after it has unwound.

use crate::backend::Dispatch;
use gaggle_core::contract::Runtime;
use std::any::Any;
use std::sync::atomic::{AtomicU8, Ordering};

/// What a panic that reaches the first frame of a goroutine does to the process.
///
/// `GAGGLE_PANIC` sets it by name and overrides the program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
#[repr(u8)]
pub enum PanicPolicy {
    /// `deliver`, the default, as std's threads do: it goes to whoever joins the goroutine; of one that
    /// nobody joins it is printed and counted ([`crate::runtime::unseen_panics`]).
    #[default]
    Deliver = 0,
    /// `exit`, as Go does: the stacks of all goroutines are printed, and the process exits with status 2.
    Exit = 1,
    /// `abort`: as `exit`, but the process ends by SIGABRT, which leaves a core file where those are
    /// switched on.
    Abort = 2,
}

impl PanicPolicy {
    /// The policy of this name.
    pub(crate) fn by_name(name: &str) -> Option<Self> {
        match name {
            "deliver" => Some(PanicPolicy::Deliver),
            "exit" => Some(PanicPolicy::Exit),
            "abort" => Some(PanicPolicy::Abort),
            _ => None,
        }
    }
}

static POLICY: AtomicU8 = AtomicU8::new(PanicPolicy::Deliver as u8);

/// Sets the policy and the hook (P1). Called once, when the runtime starts.
pub(crate) fn start(policy: PanicPolicy) {
    // Relaxed: goroutines are started after.
    POLICY.store(policy as u8, Ordering::Relaxed);
    if std::thread::panicking() {
        return; // std refuses to change the hook now
    }
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        // A panic while the runtime starts is nobody's goroutine.
        if crate::backend::backend_if_started().is_some()
            && let Some(id) = Dispatch::current_id()
        {
            match crate::goroutine::own_name() {
                Some(name) => eprintln!("\ngoroutine {id} [running, \"{name}\"]:"),
                None => eprintln!("\ngoroutine {id} [running]:"),
            }
        }
        before(info);
    }));
}

/// A panic has reached the first frame of the calling goroutine (P2).
pub(crate) fn uncaught() {
    // Relaxed: as in `start`.
    let policy = POLICY.load(Ordering::Relaxed);
    if policy == PanicPolicy::Deliver as u8 {
        return;
    }
    let id = Dispatch::current_id().unwrap_or(0);
    eprintln!("fatal error: goroutine {id} panicked\n");
    let level = std::env::var("GAGGLE_TRACEBACK").unwrap_or_default();
    if !matches!(level.as_str(), "none" | "0") {
        eprintln!("{}", crate::backend::stack_dump());
    }
    if policy == PanicPolicy::Abort as u8 {
        std::process::abort();
    }
    std::process::exit(2);
}

/// What a panic's payload says.
pub(crate) fn text_of(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a payload that is no text")
}

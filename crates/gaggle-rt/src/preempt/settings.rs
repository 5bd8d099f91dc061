//! What preemption is set to: the slice, the way, and the code that is never frozen.

use gaggle_sys::glibc::modules::Module;
use gaggle_sys::interrupt;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// How long a goroutine may run while others wait.
const SLICE_NANOS: u64 = 10_000_000;

static SLICE: AtomicU64 = AtomicU64::new(SLICE_NANOS);
static SWITCHED_OFF: AtomicBool = AtomicBool::new(false);

/// Suspension: the default.
pub const WAY_SUSPEND: u32 = 0;
/// The goroutine only loses its P and goes on as a thread among others, for comparison.
pub const WAY_HAND_OFF: u32 = 1;
/// The goroutine is made to call the scheduler where it is, as Go does, for comparison: unsound where
/// user code holds what another goroutine needs to go on without the scheduler's knowing, such as a
/// malloc of its own.
pub const WAY_SWITCH: u32 = 2;

static WAY: AtomicU32 = AtomicU32::new(WAY_SUSPEND);

pub fn way() -> u32 {
    // Relaxed: written before any M runs.
    WAY.load(Ordering::Relaxed)
}

/// Whether goroutines are preempted at calls into the runtime only.
pub fn is_switched_off() -> bool {
    // Relaxed: takes effect some time after.
    SWITCHED_OFF.load(Ordering::Relaxed)
}

/// How long a goroutine may run while others wait, in nanoseconds.
pub fn slice_nanos() -> u64 {
    // Relaxed: written before any M runs.
    SLICE.load(Ordering::Relaxed)
}

/// From now on goroutines are preempted at calls into the runtime only.
pub fn switch_off() {
    // Relaxed: takes effect some time after.
    SWITCHED_OFF.store(true, Ordering::Relaxed);
}

/// The code that is never frozen (V1): pairs of first and one-past-last addresses.
static UNTOUCHED: [[AtomicUsize; 2]; 4] = [const { [const { AtomicUsize::new(0) }; 2] }; 4];

/// Sets the handler. Called once, before any M runs.
///
/// # Errors
/// The kernel's.
pub fn start(modules: &[Module]) -> std::io::Result<()> {
    let names = ["/libc.so", "/ld-linux", "/libgcc_s.so", "/libpthread.so"];
    let untouched = modules
        .iter()
        .filter(|module| names.iter().any(|name| module.name.contains(name)));
    for (module, place) in untouched.zip(&UNTOUCHED) {
        let first = module.segments.iter().map(|&(start, _)| start).min();
        let end = module
            .segments
            .iter()
            .map(|&(start, length)| start + length);
        // Relaxed: written before any M exists.
        place[0].store(first.unwrap_or(0), Ordering::Relaxed);
        place[1].store(end.max().unwrap_or(0), Ordering::Relaxed);
    }
    // For tests of the runtime: a shorter slice makes more of them.
    let slice = std::env::var("GAGGLE_TEST_SLICE_MICROSECONDS");
    if let Some(microseconds) = slice.ok().and_then(|text| text.parse::<u64>().ok()) {
        SLICE.store(microseconds.max(50) * 1000, Ordering::Relaxed);
    }
    let way = match std::env::var("GAGGLE_PREEMPT").as_deref() {
        Err(_) | Ok("" | "suspend") => WAY_SUSPEND,
        Ok("handoff") => WAY_HAND_OFF,
        Ok("async") => {
            gaggle_sys::arch::prepare_interrupted_calls();
            WAY_SWITCH
        }
        Ok(other) => {
            return Err(std::io::Error::other(format!(
                "GAGGLE_PREEMPT is {other:?}: it can be suspend, handoff or async"
            )));
        }
    };
    WAY.store(way, Ordering::Relaxed);
    interrupt::handle(super::on_signal)
}

pub fn is_untouched(address: usize) -> bool {
    UNTOUCHED.iter().any(|[first, end]| {
        // Relaxed: written before any M exists.
        (first.load(Ordering::Relaxed)..end.load(Ordering::Relaxed)).contains(&address)
    })
}

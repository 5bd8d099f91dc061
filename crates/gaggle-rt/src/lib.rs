//! The green backend: goroutines with thread-local storage of their own, scheduled M:N over a few OS
//! threads.
//!
//! `HACKING.md` beside this file says how it works and who may block where. The crate is empty where
//! the backend cannot be compiled (see `build.rs`).
#![cfg(green)]

mod alarm;
mod alt_stack;
mod blocking;
mod borrow;
mod deadlock;
mod debugger;
mod delayed;
mod dump;
mod find_work;
mod foreign;
mod g;
mod give_back;
mod green;
mod hold;
mod hooks;
mod latency;
mod lock;
mod m;
mod near;
mod netpoll;
mod options;
mod overflow;
mod own;
mod p;
mod pin;
mod plain;
mod population;
mod preempt;
mod processors;
mod records;
mod report;
mod sched;
mod self_check;
mod slot;
mod sysmon;
mod thread_tls;
mod timers;
mod trace;
mod watermark;

pub use borrow::with_machine_storage;
pub use delayed::Timer;
pub use green::Green;
pub use lock::Lock;
pub use netpoll::{Direction, Watch, is_ready, until_ready};
pub use self_check::Refusal;

use gaggle_sys::glibc::template::Template;
use std::fmt;
use std::sync::OnceLock;

static TEMPLATE: OnceLock<Template> = OnceLock::new();

/// The template of goroutines' thread-local storage.
fn template() -> &'static Template {
    TEMPLATE
        .get()
        .expect("the template is found before any goroutine starts")
}

/// Whether the template is known, and so what a thread control block looks like.
fn is_started() -> bool {
    TEMPLATE.get().is_some()
}

/// Starts the runtime: once, before any goroutine. `processors` is GOMAXPROCS; `None`: as many as the
/// machine, the affinity mask and the control group allow.
///
/// # Errors
/// The self-check that failed: the process must use another backend.
pub fn start(processors: Option<usize>) -> Result<(), Refusal> {
    options::read_environment();
    m::read_environment();
    let failed = |error: std::io::Error| Refusal::new("start", error.to_string());
    // Before the first thread: one that is there, or has not quite gone, makes this take milliseconds.
    gaggle_sys::barrier::register().map_err(failed)?;
    let modules = gaggle_sys::glibc::modules::loaded();
    gaggle_sys::glibc::platform::check(&modules)?;
    let is_automatic = processors.is_none();
    let mut count = 0;
    let (template, [first, monitor]) = Template::discover(&modules, || {
        count = processors::first_number(processors);
        p::make_table();
        hooks::resolve_all();
        netpoll::start().map_err(failed)
    })?;
    // SAFETY: no thread switches yet: Ms are made below.
    unsafe { gaggle_sys::arch::set_malloc_words(template.malloc_words()) };
    let _ = TEMPLATE.set(template);
    if std::env::var_os("GAGGLE_STACK_GUARD").is_some_and(|kind| kind == "mprotect") {
        gaggle_sys::stack::guard::use_heavy_guards();
    }
    // First what the program has set for our signal is noted, then it is ours.
    hooks::start();
    preempt::start(&modules).map_err(failed)?;
    if options::preemption_is_off() {
        preempt::switch_off();
    }
    report::handle_quit().map_err(failed)?;
    overflow::install().map_err(failed)?;
    // Queued before there is an idle P, so that nobody is woken for it: the first M finds it as it begins.
    let probe = self_check::Probe::start()?;
    processors::start(count, is_automatic);
    // That which used malloc, as goroutines do. All other threads are the monitor's to make.
    sysmon::start_first_machine(first);
    sysmon::start(monitor);
    probe.wait()
}

/// Sets how many OS threads may run goroutines or be blocked with one; where one more is needed, the
/// process ends. Called before [`start`].
pub fn set_machines_max(count: u32) {
    m::set_limit(count);
}

/// Sets GOMAXPROCS and answers what it was; takes effect at the goroutines' next switches, and from
/// then on does not follow what the machine allows.
pub fn set_processors(count: usize) -> usize {
    processors::set(count) as usize
}

/// Whether the environment asks for preemption at calls into the runtime only
/// (`GAGGLE_DEBUG=asyncpreemptoff=1`).
pub fn preemption_is_off() -> bool {
    options::preemption_is_off()
}

/// Binds the calling goroutine to its OS thread, until as many calls of [`unlock_os_thread`]. Nothing
/// else runs there meanwhile.
pub fn lock_os_thread() {
    pin::lock();
}

/// Undoes one [`lock_os_thread`].
pub fn unlock_os_thread() {
    pin::unlock();
}

/// How often a started goroutine went on on another OS thread than before, in all.
pub fn migrations() -> u64 {
    sched::migrations()
}

/// How often the calling goroutine went on on another OS thread than before; 0 on a foreign thread.
pub fn own_migrations() -> u32 {
    sched::current().map_or(0, |g| g.migrations.get())
}

/// How often a P went on without the OS thread of a blocked call.
pub fn hand_offs() -> u64 {
    blocking::hand_offs()
}

/// How many times a goroutine that had overrun its turn was suspended, with its OS thread, for others.
pub fn suspensions() -> u64 {
    preempt::suspensions()
}

/// How many times a P was taken from a goroutine in a system call that no hook saw.
pub fn revocations() -> u64 {
    preempt::revocations()
}

/// From now on goroutines are preempted at their calls into the runtime only.
pub fn switch_preemption_off() {
    preempt::switch_off();
}

/// How many OS threads run goroutines, or are kept for that.
pub fn machines() -> usize {
    m::count() as usize
}

/// How many goroutines timers are to start.
pub fn pending_timers() -> usize {
    timers::pending()
}

/// How many goroutines were ever created.
pub fn created() -> u64 {
    g::created()
}

/// How long goroutines that could run waited for a processor: how many of a sample in each range, and
/// the ranges' bounds in seconds, one more than there are ranges.
pub fn latencies() -> (Vec<u64>, Vec<f64>) {
    latency::histogram()
}

/// All goroutines with their stacks, the caller's first, in the format of Go's dumps.
pub fn stack_dump() -> String {
    dump::stack_dump()
}

/// Those of the goroutines `ids` that exist, with their stacks, as in [`stack_dump`].
pub fn stack_dump_of(ids: &[u64]) -> String {
    dump::stack_dump_of(ids)
}

/// Ends the process for a reason that no goroutine can be told of, as Go's fatal errors do.
fn fatal(reason: fmt::Arguments<'_>) -> ! {
    eprintln!("fatal error: {reason}");
    // SAFETY: ends the process without running anything of it.
    unsafe { libc::_exit(2) }
}

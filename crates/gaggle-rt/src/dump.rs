//! The list of all goroutines with their stacks, in the format of Go's dumps.
//!
//! ```text
//! goroutine 7 [chan receive, 3 minutes, "resizer"]:
//! shop::resize::next_job(...)
//!     src/resize.rs:41
//! created by go in goroutine 1
//!     src/main.rs:12
//! ```
//!
//! The stack of a goroutine that does not run is walked by libgcc's unwinder, which is led to it by
//! [`arch::walk_from`] while the goroutine is held ([`crate::hold`]); one that runs, or is in a blocking
//! call, has its registers in a processor and is listed without frames, as Go does. Each goroutine is
//! looked at by itself: the list is not a picture of one instant.
//!
//! - D1: while a goroutine is held only its return addresses are collected, into an array on the
//!   looker's stack. The one lock that the unwinder may take, the loader's (libc before 2.35, or an old
//!   libgcc), is taken before, by `dl_iterate_phdr`, and may be taken again by its holder.
//! - D2: addresses become names after the goroutine was let go, with malloc and files: never on an M's
//!   own stack, in the monitor or in a signal handler.
//!
//! Format: `goroutineheader` and `traceback` of Go's runtime/traceback.go.

use crate::g::{self, G};
use crate::hold::{self, Held};
use crate::preempt::Section;
use crate::sched;
use gaggle_core::contract::WaitReason;
use gaggle_sys::{arch, clock};
use std::collections::HashMap;
use std::ffi::c_void;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::panic::Location;

/// The most frames that are collected of one stack, as in Go.
const FRAMES_MAX: usize = 100;

/// Nanoseconds in a minute.
const MINUTE: u64 = 60_000_000_000;

/// How much is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frames {
    /// The program's frames.
    User,
    /// The runtime's and std's glue as well.
    All,
}

/// Return addresses, the innermost first.
struct Addresses {
    list: [usize; FRAMES_MAX],
    len: usize,
    /// There are more.
    cut: bool,
    /// Addresses before this one are the looker's own.
    skip_to_walk: bool,
}

impl Addresses {
    const fn new(skip_to_walk: bool) -> Self {
        Addresses {
            list: [0; FRAMES_MAX],
            len: 0,
            cut: false,
            skip_to_walk,
        }
    }

    /// Takes the next address of a walk; `false`: it has enough.
    fn take(&mut self, address: usize) -> bool {
        if self.skip_to_walk {
            // The frame of `walk_from` stands between the looker's and the goroutine's.
            let walk = arch::walk_from as *const () as usize;
            self.skip_to_walk = !(walk..walk + 64).contains(&address);
            return true;
        }
        if address == 0 {
            return false; // above the first frame
        }
        if self.len == FRAMES_MAX {
            self.cut = true;
            return false;
        }
        self.list[self.len] = address;
        self.len += 1;
        true
    }

    fn walk(&mut self) {
        // SAFETY: the function's lock guards its symbol cache, which walking does not use; nothing is
        // allocated (D1).
        unsafe {
            backtrace::trace_unsynchronized(|frame| self.take(frame.ip().addr()));
        }
    }
}

/// Walks from where it is called.
unsafe extern "C" fn walk_here(argument: *mut ()) {
    // SAFETY: `walk_from` passes on what `of_held` gave it, which lives there.
    let addresses = unsafe { &mut *argument.cast::<Addresses>() };
    addresses.walk();
}

impl Addresses {
    /// The stack of a held goroutine that does not run.
    fn of_held(stack_pointer: usize) -> Self {
        let mut addresses = Addresses::new(true);
        let argument = (&raw mut addresses).cast();
        // SAFETY: the goroutine is held and was on no processor, so its frame stays; `walk_here` does
        // not unwind, and gets what it expects.
        unsafe { arch::walk_from(stack_pointer, walk_here, argument) };
        addresses
    }

    /// The caller's own stack.
    fn own() -> Self {
        let mut addresses = Addresses::new(false);
        addresses.walk();
        addresses
    }
}

/// What a goroutine was when it was looked at.
struct Seen {
    id: u64,
    is_running: bool,
    is_new: bool,
    reason: WaitReason,
    waited_nanos: u64,
    name: String,
    created: Option<&'static Location<'static>>,
    parent: u64,
    addresses: Option<Addresses>,
}

/// Looks at the goroutine of the record `g`, if it is one.
fn look(g: &'static G) -> Option<Seen> {
    let mut seen = None;
    // Room for a name, so that none is made while the goroutine is held (H5).
    let mut name = String::with_capacity(NAME_BYTES_MAX);
    with_loader_lock(&mut || seen = look_locked(g, &mut name));
    let mut seen: Seen = seen?;
    seen.name = name;
    Some(seen)
}

/// The most bytes of a name that a dump shows.
const NAME_BYTES_MAX: usize = 64;

fn look_locked(g: &'static G, name: &mut String) -> Option<Seen> {
    let _section = Section::enter();
    let held = hold::hold(g)?;
    if let Some(own) = held.name() {
        // In brackets in the header, on one line.
        let shown = own.chars().filter(|c| !c.is_control() && *c != ']');
        for c in shown {
            if name.len() + c.len_utf8() > NAME_BYTES_MAX {
                break;
            }
            name.push(c);
        }
    }
    Some(Seen::of(&held))
}

impl Seen {
    fn of(held: &Held) -> Seen {
        let (created, parent) = held.origin();
        Seen {
            id: held.id,
            is_running: held.is_running,
            is_new: held.is_new(),
            reason: held.reason(),
            waited_nanos: match held.since() {
                0 => 0, // before the monitor's first look
                since => clock::now().saturating_sub(since),
            },
            name: String::new(),
            created,
            parent,
            addresses: held.stack_pointer().map(Addresses::of_held),
        }
    }

    /// What stands in the brackets first.
    fn state(&self) -> &'static str {
        match self.reason {
            WaitReason::Call => WaitReason::Call.name(),
            _ if self.is_running => "running",
            reason => reason.name(),
        }
    }

    fn waits(&self) -> bool {
        !self.is_running && !matches!(self.reason, WaitReason::Runnable | WaitReason::Unknown)
            || self.reason == WaitReason::Call
    }
}

/// Calls `f` with the loader's lock held (D1).
fn with_loader_lock(f: &mut dyn FnMut()) {
    unsafe extern "C" fn once(_: *mut libc::dl_phdr_info, _: usize, data: *mut c_void) -> i32 {
        // SAFETY: the pointer that `dl_iterate_phdr` is given below; used by this call alone.
        let f = unsafe { &mut *data.cast::<&mut dyn FnMut()>() };
        f();
        1 // and no further module
    }
    let mut f = f;
    // SAFETY: the callback has the right type, does not unwind, and gets what it expects.
    unsafe { libc::dl_iterate_phdr(Some(once), (&raw mut f).cast()) };
}

/// Names of addresses that have been resolved.
#[derive(Default)]
struct Names(HashMap<usize, Vec<Frame>>);

/// A function that was being executed; several for one address where some were inlined.
struct Frame {
    function: String,
    place: String,
}

impl Names {
    fn of(&mut self, address: usize) -> &[Frame] {
        self.0.entry(address).or_insert_with(|| {
            let mut frames = Vec::new();
            backtrace::resolve(address as *mut c_void, |symbol| {
                let function = symbol.name().map_or_else(
                    || format!("{address:#x}"),
                    |name| without_hash(&format!("{name:#}")),
                );
                let file = symbol.filename().map(|path| path.display().to_string());
                let line = symbol.lineno().unwrap_or(0);
                let place = file.map_or_else(|| "?:0".to_owned(), |file| format!("{file}:{line}"));
                frames.push(Frame { function, place });
            });
            if frames.is_empty() {
                frames.push(Frame {
                    function: format!("{address:#x}"),
                    place: "?:0".to_owned(),
                });
            }
            frames
        })
    }
}

/// A demangled name on one line.
fn without_hash(name: &str) -> String {
    name.replace('\n', " ")
}

/// The beginnings of the names of the runtime's own functions, and of the glue between a goroutine's
/// first frame and the program's.
const OWN: [&str; 22] = [
    "gaggle_rt::",
    "<gaggle_rt::",
    "gaggle_sys::",
    "gaggle_core::wait_queue::",
    "gaggle_core::chan::state::",
    "<gaggle::backend::Dispatch as",
    "gaggle::backend::",
    "gaggle::builder::",
    "<gaggle::builder::",
    "gaggle::parker::",
    "gaggle::run::",
    "gaggle::testing::",
    "backtrace::",
    "__rust_try",
    "__rust_begin_short_backtrace",
    "std::panicking::",
    "std::panic::",
    "std::sys::",
    "std::sync::poison::",
    "core::ops::function::FnOnce",
    "<core::panic::unwind_safe::AssertUnwindSafe",
    "<alloc::boxed::Box<",
];

/// Symbols of C that are the runtime's.
const OWN_EXACTLY: [&str; 4] = ["syscall", "nanosleep", "clock_nanosleep", "__rust_try"];

/// The same by where their source stands, as crate or part of std and beginning of the file's path in
/// `src`: a program built with line tables only knows its functions by their last name.
const OWN_PLACES: [(&str, &str); 16] = [
    ("gaggle-rt", ""),
    ("gaggle-sys", ""),
    ("gaggle-core", "wait_queue"),
    ("gaggle-core", "chan/state"),
    ("gaggle", "backend"),
    ("gaggle", "builder"),
    ("gaggle", "parker"),
    ("gaggle", "run.rs"),
    ("gaggle", "testing"),
    ("std", "panicking"),
    ("std", "panic.rs"),
    ("std", "sys/"),
    ("std", "sync/poison"),
    ("core", "ops/function"),
    ("core", "panic/unwind_safe"),
    ("alloc", "boxed.rs"),
];

impl Frame {
    /// Whether it is one of the runtime's, or of that glue.
    fn is_own(&self) -> bool {
        let function = self.function.as_str();
        if OWN.iter().any(|prefix| function.starts_with(prefix)) || OWN_EXACTLY.contains(&function)
        {
            return true;
        }
        // The path of a function stands before its parameters.
        let has_path = function
            .split('<')
            .next()
            .is_some_and(|own| own.contains("::"));
        let stands_in = |(folder, file): &(&str, &str)| is_in(&self.place, folder, file);
        !has_path && !function.starts_with('<') && OWN_PLACES.iter().any(stands_in)
    }
}

/// Whether `place` is in the folder of that crate, which may end in a version, in a file of its `src`
/// whose path begins so.
fn is_in(place: &str, folder: &str, file: &str) -> bool {
    place.match_indices(folder).any(|(at, _)| {
        let starts = at == 0 || place[..at].ends_with('/');
        let rest = &place[at + folder.len()..];
        let version = |c: char| c.is_ascii_digit() || c == '.';
        let rest = rest
            .strip_prefix('-')
            .map_or(rest, |rest| rest.trim_start_matches(version));
        let in_source = rest.strip_prefix("/src/");
        starts && in_source.is_some_and(|path| path.starts_with(file))
    })
}

/// Writes dumps; keeps what it has learnt of the program's symbols.
pub struct Dumper<'a> {
    out: &'a mut dyn Write,
    names: Names,
    frames: Frames,
}

impl<'a> Dumper<'a> {
    /// Will write to `out`.
    pub fn new(out: &'a mut dyn Write, frames: Frames) -> Self {
        Dumper {
            out,
            names: Names::default(),
            frames,
        }
    }

    /// Writes the calling goroutine, if the caller is one, then all others.
    ///
    /// # Errors
    /// Of the writer.
    pub fn all(&mut self) -> io::Result<()> {
        let own = sched::current();
        if let Some(own) = own {
            self.own(own)?;
        }
        for g in g::all() {
            if own.is_some_and(|own| std::ptr::eq(own, g)) {
                continue;
            }
            if let Some(seen) = look(g) {
                self.goroutine(&seen)?;
            }
        }
        Ok(())
    }

    /// Writes the calling goroutine.
    fn own(&mut self, g: &'static G) -> io::Result<()> {
        // SAFETY: its own name, which only it changes.
        let name = unsafe { &*g.name.as_ptr() };
        let seen = Seen {
            id: g.id.get(),
            is_running: true,
            is_new: false,
            reason: WaitReason::Unknown,
            waited_nanos: 0,
            name: name.as_deref().unwrap_or_default().to_owned(),
            created: g.location.get(),
            parent: g.parent.get(),
            addresses: Some(Addresses::own()),
        };
        self.goroutine(&seen)
    }

    fn goroutine(&mut self, seen: &Seen) -> io::Result<()> {
        let mut text = String::new();
        let _ = write!(text, "goroutine {} [{}", seen.id, seen.state());
        let minutes = seen.waited_nanos / MINUTE;
        if seen.waits() && minutes >= 1 {
            let _ = write!(text, ", {minutes} minutes");
        }
        if !seen.name.is_empty() {
            let _ = write!(text, ", \"{}\"", seen.name);
        }
        text.push_str("]:\n");
        match &seen.addresses {
            Some(addresses) => self.stack(&mut text, addresses),
            None if seen.is_new => text.push_str("\tnot started\n"),
            None if seen.reason == WaitReason::Call => {
                text.push_str("\tgoroutine in a blocking call; stack unavailable\n");
            }
            None => text.push_str("\tgoroutine running on other thread; stack unavailable\n"),
        }
        if let Some(created) = seen.created {
            text.push_str("created by go");
            if seen.parent != 0 {
                let _ = write!(text, " in goroutine {}", seen.parent);
            }
            let _ = writeln!(text, "\n\t{}:{}", created.file(), created.line());
        }
        text.push('\n');
        self.out.write_all(text.as_bytes())
    }

    fn stack(&mut self, text: &mut String, addresses: &Addresses) {
        let mut shown = 0;
        for &address in &addresses.list[..addresses.len] {
            for frame in self.names.of(address) {
                if self.frames == Frames::User && frame.is_own() {
                    continue;
                }
                shown += 1;
                let _ = writeln!(text, "{}(...)\n\t{}", frame.function, frame.place);
            }
        }
        if addresses.cut {
            text.push_str("...additional frames elided...\n");
        }
        if shown == 0 {
            text.push_str("\t(only frames of the runtime)\n");
        }
    }
}

/// All goroutines with their stacks, the caller's first.
pub fn stack_dump() -> String {
    let mut text = Vec::new();
    // Writing to a vector does not fail.
    let _ = Dumper::new(&mut text, Frames::User).all();
    String::from_utf8_lossy(&text).into_owned()
}

/// Those of the goroutines `ids` that exist, with their stacks.
pub fn stack_dump_of(ids: &[u64]) -> String {
    let mut text = Vec::new();
    let mut dumper = Dumper::new(&mut text, Frames::User);
    for g in g::all() {
        if ids.contains(&g.id.get())
            && let Some(seen) = look(g)
        {
            // Writing to a vector does not fail.
            let _ = dumper.goroutine(&seen);
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(function: &str, place: &str) -> Frame {
        Frame {
            function: function.to_owned(),
            place: place.to_owned(),
        }
    }

    #[test]
    fn frames_of_the_runtime_are_known_by_name() {
        assert!(frame("gaggle_rt::sched::park", "?:0").is_own());
        assert!(frame("<gaggle_rt::green::Green as Runtime>::park", "?:0").is_own());
        assert!(!frame("shop::main", "shop/src/backend.rs:3").is_own());
    }

    #[test]
    fn frames_without_a_path_are_known_by_their_place() {
        assert!(frame("leave", "/home/a/gaggle-rt/src/sched.rs:302").is_own());
        assert!(frame("leave", "/home/a/gaggle-rt-0.12.1/src/sched.rs:302").is_own());
        assert!(
            frame(
                "do_call<a::B, ()>",
                "/rustc/5/library/std/src/panicking.rs:581"
            )
            .is_own()
        );
        assert!(!frame("recv<u32>", "/home/a/gaggle/src/chan.rs:10").is_own());
        assert!(!frame("leave", "/home/a/my-gaggle-rt/src/sched.rs:302").is_own());
        assert!(!frame("main", "src/run.rs:1").is_own());
    }
}

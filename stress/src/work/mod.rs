//! The kinds of work. A round takes at most a few milliseconds, checks what it did, and panics when that
//! is wrong.

mod io;
mod memory;
mod threads;
/// The library's own tests use it too.
#[path = "../../../crates/gaggle/tests/support/tiles.rs"]
mod tiles;
mod vector;

use crate::random::Random;

/// What a worker repeats.
pub type Round = Box<dyn FnMut(&mut Random) + Send>;

/// One kind of work.
pub struct Kind {
    /// Its name.
    pub name: &'static str,
    /// What this machine lacks to do it: its name, and why.
    pub lacking: fn() -> Option<String>,
    /// Makes the round of one worker, on the goroutine that will repeat it.
    pub make: fn(&mut Random) -> Round,
}

const fn kind(name: &'static str, make: fn(&mut Random) -> Round) -> Kind {
    Kind {
        name,
        lacking: || None,
        make,
    }
}

/// Every kind.
pub static KINDS: &[Kind] = &[
    kind("allocation", memory::allocation),
    kind("freed-elsewhere", memory::freed_elsewhere),
    kind("hash-map", memory::hash_map),
    kind("formatting", memory::formatting),
    kind("sorting", memory::sorting),
    kind("panics", threads::panics),
    kind("thread-locals", threads::thread_locals),
    kind("spawn-join", threads::spawn_join),
    kind("channels", threads::channels),
    kind("locks", threads::locks),
    kind("sleeping", threads::sleeping),
    kind("files", io::files),
    kind("file-locks", io::file_locks),
    kind("sockets", io::sockets),
    kind("tcp", io::tcp),
    kind("computing", vector::computing),
    kind("floating-point", vector::floating_point),
    Kind {
        name: "avx2",
        lacking: vector::without_avx2,
        make: vector::avx2,
    },
    Kind {
        name: "avx512",
        lacking: vector::without_avx512,
        make: vector::avx512,
    },
    Kind {
        name: "amx",
        lacking: tiles::lacking,
        make: vector::amx,
    },
];

/// The payload of a panic that belongs to a round.
#[derive(Debug)]
pub struct Expected(pub u64);

/// Panics with an [`Expected`] payload are not printed.
pub fn quiet_expected_panics() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !info.payload().is::<Expected>() {
            print(info);
        }
    }));
}

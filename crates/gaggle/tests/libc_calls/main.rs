//! libc's calls mean the same on a goroutine as on a thread: one table of cases, run both ways, and the
//! outcomes compared.
//!
//! A case notes what each call answered, errno included, and the bytes that came. It runs first on plain
//! threads of std, then on goroutines over two processors; what it starts to help it is of the same kind.
//! On the threads backend goroutines are threads, so there the table only shows that it is no accident.
#![cfg(target_os = "linux")]
#![allow(
    clippy::zombie_processes,
    reason = "the cases wait for their children by libc's own calls"
)]
#![allow(
    clippy::multiple_unsafe_ops_per_block,
    reason = "sequences of C's calls on the same objects, for one reason, given above the block"
)]

mod descriptors;
mod files;
mod locks;
mod pipes;
mod polling;
mod processes;
mod sockets;
#[path = "../support/mod.rs"]
mod support;
mod table;
mod threads;
mod times;

use table::Case;

/// Runs every case of `table` both ways in a child process with two processors.
fn run_table(name: &str, table: &[Case]) {
    if !support::is_child(name) {
        let environment = [("GAGGLE_MAXPROCS", Some("2"))];
        let output = support::run_child(name, &environment);
        assert!(output.status.success(), "{}", support::said(&output));
        return;
    }
    let only = std::env::var("GAGGLE_TEST_CASE").ok();
    let chosen = |case: &&Case| only.as_ref().is_none_or(|only| case.name == only);
    let mut differing = Vec::new();
    for case in table.iter().filter(chosen) {
        println!("{}", case.name);
        let on_threads = case.outcome(table::Kind::Thread);
        let on_goroutines = case.outcome(table::Kind::Goroutine);
        if on_threads != on_goroutines {
            differing.push(format!(
                "{}\n  on threads:    {on_threads:?}\n  on goroutines: {on_goroutines:?}",
                case.name
            ));
        }
        assert!(!on_threads.is_empty(), "{} notes nothing", case.name);
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

macro_rules! tables {
    ($($test:ident = $table:path;)*) => {$(
        #[test]
        fn $test() {
            run_table(stringify!($test), $table);
        }
    )*};
}

tables! {
    pipes_are_the_same = pipes::TABLE;
    sockets_are_the_same = sockets::TABLE;
    files_are_the_same = files::TABLE;
    descriptors_are_the_same = descriptors::TABLE;
    polling_is_the_same = polling::TABLE;
    times_are_the_same = times::TABLE;
    processes_are_the_same = processes::TABLE;
    locks_are_the_same = locks::TABLE;
    threads_are_the_same = threads::TABLE;
}

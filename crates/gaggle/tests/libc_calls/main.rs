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
mod objects;
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

#[test]
fn pipes_are_the_same() {
    run_table("pipes_are_the_same", pipes::TABLE);
}

#[test]
fn sockets_are_the_same() {
    run_table("sockets_are_the_same", sockets::TABLE);
}

#[test]
fn files_are_the_same() {
    run_table("files_are_the_same", files::TABLE);
}

#[test]
fn descriptors_are_the_same() {
    run_table("descriptors_are_the_same", descriptors::TABLE);
}

#[test]
fn polling_is_the_same() {
    run_table("polling_is_the_same", polling::TABLE);
}

#[test]
fn times_are_the_same() {
    run_table("times_are_the_same", times::TABLE);
}

#[test]
fn processes_are_the_same() {
    run_table("processes_are_the_same", processes::TABLE);
}

#[test]
fn mutexes_are_the_same() {
    run_table("mutexes_are_the_same", locks::TABLE);
}

#[test]
fn other_locks_are_the_same() {
    run_table("other_locks_are_the_same", objects::TABLE);
}

#[test]
fn threads_are_the_same() {
    run_table("threads_are_the_same", threads::TABLE);
}

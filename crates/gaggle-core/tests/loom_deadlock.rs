//! The detector of total deadlock under the model checker: whoever was seen to wait for ever never goes on,
//! and where all wait it is seen.
#![cfg(loom)]

use gaggle_core::deadlock::{Census, Look, Permit, Surroundings};
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

/// Switches that the model checker may add to those that the threads make by waiting.
const SWITCHES_MAX: usize = 3;

fn model(f: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(SWITCHES_MAX);
    builder.check(f);
}

/// The idle list of one M: whether it is there, and how often it left.
#[derive(Default)]
struct IdleList {
    is_idle: bool,
    departures: u64,
}

/// A process with one M, whose goroutine waits for good, and foreign threads.
struct Process {
    census: Census,
    idle: Mutex<IdleList>,
    given_work: Condvar,
    /// What the kernel answers: the M and the foreign threads that have not ended.
    threads: Mutex<i32>,
    /// The monitor has seen a deadlock.
    alarm: AtomicBool,
}

impl Surroundings for Process {
    fn departures_if_all_idle(&self) -> Option<u64> {
        let idle = self.idle.lock().unwrap();
        idle.is_idle.then_some(idle.departures)
    }
    fn machines(&self) -> i32 {
        1
    }
    fn threads(&self) -> Option<i32> {
        Some(*self.threads.lock().unwrap())
    }
    fn goroutines(&self) -> usize {
        1
    }
    fn nothing_is_coming(&self) -> bool {
        true
    }
}

/// A foreign thread's permit and the futex that it sleeps on.
struct Foreign {
    permit: Permit,
    futex: Mutex<()>,
    woken: Condvar,
}

impl Foreign {
    fn new() -> Arc<Self> {
        Arc::new(Foreign {
            permit: Permit::new(),
            futex: Mutex::new(()),
            woken: Condvar::new(),
        })
    }

    fn park(&self, process: &Process) {
        self.permit.park(&process.census, |parked| {
            let guard = self.futex.lock().unwrap();
            // Acquire: as the kernel, which looks under its lock.
            if self.permit.word().load(Ordering::Acquire) == parked {
                drop(self.woken.wait(guard).unwrap());
            }
        });
        process.goes_on();
    }

    fn ready(&self, process: &Process) {
        self.permit.ready(&process.census);
        drop(self.futex.lock().unwrap());
        self.woken.notify_one();
    }
}

impl Process {
    fn new(foreign_threads: i32, is_idle: bool) -> Arc<Self> {
        Arc::new(Process {
            census: Census::new(),
            idle: Mutex::new(IdleList {
                is_idle,
                departures: 0,
            }),
            given_work: Condvar::new(),
            threads: Mutex::new(1 + foreign_threads),
            alarm: AtomicBool::new(false),
        })
    }

    /// Somebody who waited does something: nobody may have been told that this cannot be.
    fn goes_on(&self) {
        assert!(!self.alarm.load(Ordering::SeqCst), "L6: a false alarm");
    }

    /// The M runs out of work.
    fn goes_idle(&self) {
        self.idle.lock().unwrap().is_idle = true;
    }

    /// The M sleeps until somebody takes it from the list.
    fn sleeps_idle(&self) {
        let mut idle = self.idle.lock().unwrap();
        while idle.is_idle {
            idle = self.given_work.wait(idle).unwrap();
        }
        drop(idle);
        self.goes_on();
    }

    /// Somebody has work for the M.
    fn takes_machine(&self) {
        let mut idle = self.idle.lock().unwrap();
        if idle.is_idle {
            idle.is_idle = false;
            idle.departures += 1;
            self.given_work.notify_one();
        }
    }

    /// The calling foreign thread ends.
    fn ends(&self) {
        *self.threads.lock().unwrap() -= 1;
    }

    /// One look of the monitor.
    fn look(&self) -> bool {
        let Look::At(departures) = self.census.worth_a_look(self) else {
            return false;
        };
        let dead = self.census.everybody_waits(self, departures);
        if dead {
            self.alarm.store(true, Ordering::SeqCst);
        }
        dead
    }
}

#[test]
fn thread_that_a_goroutine_readies_is_never_taken_for_dead() {
    model(|| {
        let process = Process::new(1, false);
        let main = Foreign::new();
        let parked = thread::spawn({
            let (process, main) = (process.clone(), main.clone());
            move || main.park(&process)
        });
        let machine = thread::spawn({
            let (process, main) = (process.clone(), main.clone());
            move || {
                main.ready(&process);
                process.goes_idle();
            }
        });
        process.look();
        machine.join().unwrap();
        parked.join().unwrap();
    });
}

#[test]
fn thread_that_gives_a_goroutine_work_and_parks_is_never_taken_for_dead() {
    model(|| {
        let process = Process::new(1, true);
        let main = Foreign::new();
        let foreign = thread::spawn({
            let (process, main) = (process.clone(), main.clone());
            move || {
                process.takes_machine();
                main.park(&process);
            }
        });
        let machine = thread::spawn({
            let (process, main) = (process.clone(), main.clone());
            move || {
                process.sleeps_idle();
                main.ready(&process);
                process.goes_idle();
            }
        });
        process.look();
        foreign.join().unwrap();
        machine.join().unwrap();
    });
}

#[test]
fn thread_that_readies_another_and_ends_leaves_it_alive() {
    model(|| {
        let process = Process::new(2, true);
        let main = Foreign::new();
        let parked = thread::spawn({
            let (process, main) = (process.clone(), main.clone());
            move || main.park(&process)
        });
        let helper = thread::spawn({
            let (process, main) = (process.clone(), main.clone());
            move || {
                main.ready(&process);
                process.ends();
            }
        });
        process.look();
        helper.join().unwrap();
        parked.join().unwrap();
    });
}

#[test]
fn thread_that_is_readied_and_ends_does_not_hide_who_readied_it() {
    model(|| {
        let process = Process::new(2, true);
        let main = Foreign::new();
        let parked = thread::spawn({
            let (process, main) = (process.clone(), main.clone());
            move || {
                main.park(&process);
                process.ends();
            }
        });
        let helper = thread::spawn({
            let (process, main) = (process.clone(), main.clone());
            move || {
                main.ready(&process);
                process.goes_on();
            }
        });
        process.look();
        helper.join().unwrap();
        parked.join().unwrap();
    });
}

#[test]
fn two_threads_that_ready_each_other_are_never_taken_for_dead() {
    model(|| {
        let process = Process::new(2, true);
        let (one, other) = (Foreign::new(), Foreign::new());
        let answering = thread::spawn({
            let (process, one, other) = (process.clone(), one.clone(), other.clone());
            move || {
                other.park(&process);
                one.ready(&process);
                process.ends();
            }
        });
        let asking = thread::spawn({
            let (process, one, other) = (process.clone(), one.clone(), other.clone());
            move || {
                other.ready(&process);
                one.park(&process);
            }
        });
        process.look();
        answering.join().unwrap();
        asking.join().unwrap();
    });
}

#[test]
fn all_that_wait_are_seen_once_they_do() {
    model(|| {
        let process = Process::new(1, false);
        let main = Foreign::new();
        let machine = thread::spawn({
            let process = process.clone();
            move || process.goes_idle()
        });
        let parked = thread::spawn({
            let (process, main) = (process.clone(), main.clone());
            move || {
                main.permit.park(&process.census, |_| {
                    // From here on it waits for good; the model ends it when the monitor has seen that.
                    let mut guard = main.futex.lock().unwrap();
                    while !process.alarm.load(Ordering::SeqCst) {
                        guard = main.woken.wait(guard).unwrap();
                    }
                    main.permit.ready(&process.census);
                })
            }
        });
        machine.join().unwrap();
        while !process.look() {
            thread::yield_now();
        }
        drop(main.futex.lock().unwrap());
        main.woken.notify_one();
        parked.join().unwrap();
    });
}

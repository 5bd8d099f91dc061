//! The same case on goroutines, on plain OS threads, and on both mixed: the three must not differ.

use gaggle::JoinHandle;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// What runs the tasks of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Goroutines only.
    Goroutines,
    /// OS threads only, which the library has not made.
    Threads,
    /// One after the other of each.
    Mixed,
}

/// A task that was started.
pub enum Started<T> {
    Goroutine(JoinHandle<T>),
    Thread(thread::JoinHandle<T>),
}

impl<T> Started<T> {
    /// Waits for its end.
    pub fn join(self) -> T {
        let result = match self {
            Started::Goroutine(handle) => handle.join(),
            Started::Thread(handle) => handle.join(),
        };
        result.unwrap_or_else(|payload| std::panic::resume_unwind(payload))
    }
}

/// Starts the tasks of a case.
pub struct Tasks {
    kind: Kind,
    started: AtomicUsize,
}

impl Tasks {
    /// Starts one.
    pub fn start<T: Send + 'static>(
        &self,
        body: impl FnOnce() -> T + Send + 'static,
    ) -> Started<T> {
        // Relaxed: only the count matters.
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        match self.kind {
            Kind::Goroutines => Started::Goroutine(gaggle::go(body)),
            Kind::Mixed if number.is_multiple_of(2) => Started::Goroutine(gaggle::go(body)),
            _ => Started::Thread(thread::spawn(body)),
        }
    }

    /// Whether no task is an OS thread.
    pub fn are_cheap(&self) -> bool {
        self.kind == Kind::Goroutines && gaggle::runtime::backend_name() == "green"
    }

    /// How often to do something that costs a switch of OS threads where tasks are threads.
    pub fn scaled(&self, count: usize) -> usize {
        if self.are_cheap() {
            count
        } else {
            (count / 10).max(1)
        }
    }
}

/// Runs `case` with tasks of each kind; the case itself runs in one of them.
pub fn on_all(case: impl Fn(&Tasks) + Copy + Send + 'static) {
    for kind in [Kind::Goroutines, Kind::Threads, Kind::Mixed] {
        println!("on {kind:?}");
        let tasks = Tasks {
            kind,
            started: AtomicUsize::new(0),
        };
        if kind == Kind::Threads {
            case(&tasks);
        } else {
            gaggle::go(move || case(&tasks))
                .join()
                .unwrap_or_else(|payload| std::panic::resume_unwind(payload));
        }
    }
}

/// Lets others run so often that whoever can go on has done so, as a rule. What is asserted after it must
/// hold in any case; it makes a wrong program fail sooner.
pub fn let_others_run() {
    for _ in 0..50 {
        gaggle::yield_now();
    }
}

//! The scheduler trace: `GAGGLE_DEBUG=schedtrace=1000` has the monitor write one line each second, in the
//! format of Go's `schedtrace`; with `scheddetail=1` a line for each P, M and goroutine follows.
//!
//! The monitor writes by the kernel's `write` from a buffer on its stack, without malloc. All figures are
//! read without stopping anybody, so they need not fit together.

use crate::find_work::{self, IDLE};
use crate::g;
use crate::m;
use crate::options;
use crate::p;
use gaggle_sys::{call, clock};
use std::fmt::{self, Write};
use std::sync::atomic::Ordering;

/// One line, cut where it does not fit.
struct Line {
    bytes: [u8; 1024],
    len: usize,
}

impl Line {
    const fn new() -> Self {
        Line {
            bytes: [0; 1024],
            len: 0,
        }
    }

    /// Writes it to stderr, with the line's end, and empties it.
    fn send(&mut self) {
        let len = self.len.min(self.bytes.len() - 1);
        self.bytes[len] = b'\n';
        // A stderr that cannot be written to is the user's wish.
        let _ = call::write(libc::STDERR_FILENO, &self.bytes[..=len]);
        self.len = 0;
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.bytes.len() - self.len;
        let taken = text.len().min(room);
        self.bytes[self.len..self.len + taken].copy_from_slice(&text.as_bytes()[..taken]);
        self.len += taken;
        Ok(())
    }
}

/// When the monitor writes next.
#[derive(Debug)]
pub struct Trace {
    started: u64,
    next: u64,
}

impl Trace {
    /// The first line is due one period from now.
    pub fn new() -> Self {
        let now = clock::now();
        Trace {
            started: now,
            next: now + options::trace_millis().saturating_mul(1_000_000),
        }
    }

    /// Writes, if it is time.
    #[inline]
    pub fn look(&mut self) {
        if options::trace_millis() != 0 {
            self.look_at_clock();
        }
    }

    #[cold]
    fn look_at_clock(&mut self) {
        let now = clock::now();
        if now >= self.next {
            self.next = now + options::trace_millis().saturating_mul(1_000_000);
            write_all((now - self.started) / 1_000_000);
        }
    }
}

fn write_all(millis: u64) {
    let mut line = Line::new();
    let procs = p::count();
    let idle_machines = m::idle_count();
    // Nothing that is written to a line fails.
    let _ = write!(
        line,
        "SCHED {millis}ms: gomaxprocs={procs} idleprocs={} threads={} spinningthreads={} needspinning=0 \
         idlethreads={idle_machines} runqueue={}",
        IDLE.count(),
        m::count(),
        IDLE.spinning(),
        find_work::injector().len(),
    );
    let detail = options::trace_detail();
    if detail {
        let _ = write!(line, " nmidlelocked=0 sysmonwait=false");
    } else {
        let _ = write!(line, " [");
        for p in p::all().iter().take(procs as usize) {
            let _ = write!(line, " {}", p.queue.len());
        }
        let _ = write!(line, " ]");
    }
    line.send();
    if detail {
        write_detail(&mut line);
    }
}

fn write_detail(line: &mut Line) {
    for p in p::all() {
        let holder = p.holder().map_or(-1, |m| i64::from(m.number));
        let in_call = p.handoff.observe().is_some();
        let status = match (holder, in_call) {
            (-1, _) => 0,
            (_, true) => 2,
            _ => 1,
        };
        let _ = write!(
            line,
            "  P{}: status={status} m={holder} runqsize={}",
            p.number,
            p.queue.len()
        );
        line.send();
    }
    for m in m::all() {
        // Relaxed: figures to report.
        let _ = write!(
            line,
            "  M{}: procid={} turn={} suspended={}",
            m.number,
            m.thread_id.load(Ordering::Relaxed),
            m.turn.load(Ordering::Relaxed),
            m.preemption.suspended.load(Ordering::Relaxed) != 0,
        );
        line.send();
    }
    for g in g::all().filter(|g| g.id.get() != 0) {
        let state = if g.is_on_processor() {
            "running"
        } else {
            g.wait.reason().name()
        };
        let _ = write!(line, "  G{}: status={state}", g.id.get());
        line.send();
    }
}

//! Computations without a task in them.

use crate::report::Report;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// How often a tree is computed in one run.
pub const RUNS: usize = 20;
/// Up to here `fib` spawns nothing.
pub const FIBONACCI_CUTOFF: u64 = 12;
/// Rows of the board whose placements are tasks.
const QUEENS_ROWS_SPAWNED: u32 = 5;
/// How long one hog computes, and how long one blocking call blocks.
pub const LOAD: Duration = Duration::from_millis(100);
/// Rounds of the calibration.
const CALIBRATION_ROUNDS: u64 = 1_000_000;

impl Report {
    /// Of `f`, computed twenty times; each value must be `expected`, if that is known.
    ///
    /// # Panics
    /// If one is not.
    pub fn of_repeated(expected: Option<u64>, mut f: impl FnMut() -> u64) -> Report {
        let times = (0..RUNS).map(|_| {
            let begin = Instant::now();
            let value = f();
            let time = begin.elapsed();
            let right = expected.is_none_or(|expected| value == expected);
            assert!(right, "{value} is wrong");
            time
        });
        Report::of_runs(times.collect())
    }
}

/// The Fibonacci number of `n`, by a loop.
pub fn fibonacci_expected(n: u64) -> u64 {
    (0..n).fold((0, 1), |(a, b), _| (b, a + b)).0
}

/// The Fibonacci number of `n`, by the plain recursion.
pub fn fibonacci_plain(n: u64) -> u64 {
    if n < 2 {
        n
    } else {
        fibonacci_plain(n - 1) + fibonacci_plain(n - 2)
    }
}

/// In how many ways `n` queens can be placed, where we know it.
pub fn queens_expected(n: u32) -> Option<u64> {
    (n == 11).then_some(2680)
}

/// The rows placed so far, as the squares of the next row that they attack.
#[derive(Clone, Copy, Debug)]
pub struct Board {
    n: u32,
    row: u32,
    columns: u32,
    left: u32,
    right: u32,
}

impl Board {
    /// An empty board of `n` by `n` squares; `None` above 16, which takes too long.
    pub fn new(n: u64) -> Option<Board> {
        let n = u32::try_from(n).ok().filter(|n| *n <= 16)?;
        Some(Board {
            n,
            row: 0,
            columns: 0,
            left: 0,
            right: 0,
        })
    }

    /// Its size.
    pub fn size(self) -> u32 {
        self.n
    }

    /// Whether each placement in the next row is a task of its own.
    pub fn is_spawned(self) -> bool {
        self.row < QUEENS_ROWS_SPAWNED.min(self.n)
    }

    /// The boards with one more queen.
    pub fn next(self) -> impl Iterator<Item = Board> {
        let mut free = !(self.columns | self.left | self.right) & ((1 << self.n) - 1);
        std::iter::from_fn(move || {
            let queen = free & free.wrapping_neg();
            free &= !queen;
            (queen != 0).then_some(Board {
                row: self.row + 1,
                columns: self.columns | queen,
                left: (self.left | queen) << 1,
                right: (self.right | queen) >> 1,
                ..self
            })
        })
    }

    /// In how many ways the rest can be placed, without a task.
    pub fn count(self) -> u64 {
        if self.row == self.n {
            return 1;
        }
        self.next().map(Board::count).sum()
    }
}

/// A loop without a call in it.
#[inline(never)]
pub fn hog(rounds: u64) -> u64 {
    let mut state = black_box(0x2545_F491_4F6C_DD1D_u64);
    for _ in 0..rounds {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
    }
    state
}

/// How many rounds take one [`LOAD`] when nothing else runs.
pub fn calibrate() -> u64 {
    // The first run warms the processor up; the best of the next is the least disturbed.
    let mut best = Duration::MAX;
    for _ in 0..10 {
        let begin = Instant::now();
        black_box(hog(CALIBRATION_ROUNDS));
        best = best.min(begin.elapsed());
    }
    (CALIBRATION_ROUNDS as f64 * LOAD.as_secs_f64() / best.as_secs_f64()) as u64
}

/// Blocks this OS thread for one [`LOAD`] in C's `nanosleep`.
///
/// # Panics
/// If the call fails.
pub fn nanosleep_load() {
    let time = libc::timespec {
        tv_sec: 0,
        tv_nsec: i64::from(LOAD.subsec_nanos()),
    };
    // SAFETY: `time` is a valid timespec for the length of the call, and a null remainder asks for none.
    let status = unsafe { libc::nanosleep(&time, std::ptr::null_mut()) };
    assert_eq!(status, 0, "the call succeeds");
}

//! Trees of tasks that compute.

use crate::options::Options;
use crate::report::{Report, milliseconds};
use std::time::Instant;

/// How often a tree is computed in one run.
const RUNS: usize = 20;
/// Below it `fib` spawns nothing.
const FIBONACCI_CUTOFF: u64 = 12;
/// Rows of the board whose placements are tasks.
const QUEENS_ROWS_SPAWNED: u32 = 5;

/// Computes `f` twenty times; every value must be `expected`.
fn repeat(expected: Option<u64>, f: impl Fn() -> u64) -> Report {
    let begin = Instant::now();
    let mut times: Vec<_> = (0..RUNS)
        .map(|_| {
            let begin = Instant::now();
            let value = f();
            let time = begin.elapsed();
            assert!(
                expected.is_none_or(|expected| value == expected),
                "{value} is wrong"
            );
            time
        })
        .collect();
    let wall = begin.elapsed();
    times.sort();
    let median = (times[RUNS / 2 - 1] + times[RUNS / 2]) / 2;
    Report::new(wall)
        .with("ms", milliseconds(median))
        .with("ms_min", milliseconds(times[0]))
}

/// The Fibonacci number of N by the plain recursion, a task for one of each two branches.
pub fn fibonacci(options: &Options) -> Option<Report> {
    let n = options.size();
    let expected = Some((0..n).fold((0, 1), |(a, b), _| (b, a + b)).0);
    match options.variant.as_str() {
        "default" => Some(repeat(expected, || fibonacci_spawned(n))),
        "seq" => Some(repeat(expected, || fibonacci_plain(n))),
        _ => None,
    }
}

fn fibonacci_spawned(n: u64) -> u64 {
    if n <= FIBONACCI_CUTOFF {
        return fibonacci_plain(n);
    }
    let one = gaggle::go(move || fibonacci_spawned(n - 1));
    let two = fibonacci_spawned(n - 2);
    one.join().expect("no panic") + two
}

fn fibonacci_plain(n: u64) -> u64 {
    if n < 2 {
        n
    } else {
        fibonacci_plain(n - 1) + fibonacci_plain(n - 2)
    }
}

/// The number of ways to place N queens, a task for each placement in the first five rows.
pub fn queens(options: &Options) -> Option<Report> {
    options.default_only()?;
    let n = u32::try_from(options.size()).ok().filter(|n| *n <= 16)?;
    let expected = (n == 11).then_some(2680);
    Some(repeat(expected, || {
        queens_from(Board {
            n,
            row: 0,
            columns: 0,
            left: 0,
            right: 0,
        })
    }))
}

/// The rows placed so far, as the squares of the next row that they attack.
#[derive(Clone, Copy)]
struct Board {
    n: u32,
    row: u32,
    columns: u32,
    left: u32,
    right: u32,
}

impl Board {
    /// The boards with one more queen.
    fn next(self) -> impl Iterator<Item = Board> {
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
}

fn queens_from(board: Board) -> u64 {
    if board.row == board.n {
        return 1;
    }
    if board.row >= QUEENS_ROWS_SPAWNED {
        return board.next().map(queens_from).sum();
    }
    let children: Vec<_> = board
        .next()
        .map(|board| gaggle::go(move || queens_from(board)))
        .collect();
    children
        .into_iter()
        .map(|child| child.join().expect("no panic"))
        .sum()
}

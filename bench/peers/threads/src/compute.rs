//! Trees that compute, on rayon's pool of as many threads as there are processors.

use peer_common::{Board, FIBONACCI_CUTOFF, Options, Report, version_of};
use peer_common::{fibonacci_expected, fibonacci_plain, queens_expected};
use rayon::iter::{IntoParallelIterator, ParallelIterator};
use rayon::{ThreadPool, ThreadPoolBuilder};

fn pool(options: &Options) -> ThreadPool {
    let builder = ThreadPoolBuilder::new().num_threads(options.processors);
    builder.build().expect("threads can be started")
}

/// Computes a tree twenty times in the pool.
fn repeat(options: &Options, expected: Option<u64>, tree: impl Fn() -> u64 + Send) -> Report {
    let pool = pool(options);
    let report = pool.install(|| Report::of_repeated(expected, tree));
    let version = format!("rayon {}", version_of("rayon"));
    report.of_version(version).named("rayon")
}

/// The Fibonacci number of N, `join` for each two branches.
pub fn fibonacci(options: &Options) -> Option<Report> {
    let n = options.size();
    let expected = Some(fibonacci_expected(n));
    match options.variant.as_str() {
        "default" => Some(repeat(options, expected, || fibonacci_joined(n))),
        "seq" => Some(Report::of_repeated(expected, || fibonacci_plain(n))),
        _ => None,
    }
}

fn fibonacci_joined(n: u64) -> u64 {
    if n <= FIBONACCI_CUTOFF {
        return fibonacci_plain(n);
    }
    let (one, two) = rayon::join(|| fibonacci_joined(n - 1), || fibonacci_joined(n - 2));
    one + two
}

/// The number of ways to place N queens, a parallel iterator over the placements in each of the first
/// five rows.
pub fn queens(options: &Options) -> Option<Report> {
    options.default_only()?;
    let board = Board::new(options.size())?;
    let expected = queens_expected(board.size());
    Some(repeat(options, expected, || queens_from(board)))
}

fn queens_from(board: Board) -> u64 {
    if !board.is_spawned() {
        return board.count();
    }
    let next: Vec<_> = board.next().collect();
    next.into_par_iter().map(queens_from).sum()
}

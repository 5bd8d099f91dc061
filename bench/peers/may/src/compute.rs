//! Trees of coroutines that compute.

use may::go;
use peer_common::{Board, FIBONACCI_CUTOFF, Options, Report};
use peer_common::{fibonacci_expected, fibonacci_plain, queens_expected};

/// The Fibonacci number of N, a coroutine for one of each two branches.
pub fn fibonacci(options: &Options) -> Option<Report> {
    let n = options.size();
    let expected = Some(fibonacci_expected(n));
    match options.variant.as_str() {
        "default" => Some(Report::of_repeated(expected, || fibonacci_spawned(n))),
        "seq" => Some(Report::of_repeated(expected, || fibonacci_plain(n))),
        _ => None,
    }
}

fn fibonacci_spawned(n: u64) -> u64 {
    if n <= FIBONACCI_CUTOFF {
        return fibonacci_plain(n);
    }
    let one = go!(move || fibonacci_spawned(n - 1));
    let two = fibonacci_spawned(n - 2);
    one.join().expect("no panic") + two
}

/// The number of ways to place N queens, a coroutine for each placement in the first five rows.
pub fn queens(options: &Options) -> Option<Report> {
    options.default_only()?;
    let board = Board::new(options.size())?;
    let expected = queens_expected(board.size());
    Some(Report::of_repeated(expected, || queens_from(board)))
}

fn queens_from(board: Board) -> u64 {
    if !board.is_spawned() {
        return board.count();
    }
    let children: Vec<_> = board
        .next()
        .map(|next| go!(move || queens_from(next)))
        .collect();
    let counts = children
        .into_iter()
        .map(|child| child.join().expect("no panic"));
    counts.sum()
}

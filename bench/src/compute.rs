//! Trees of tasks that compute.

use peer_common::{Board, FIBONACCI_CUTOFF, Options, Report, fibonacci_expected};
use peer_common::{fibonacci_plain, queens_expected};

/// The Fibonacci number of N by the plain recursion, a task for one of each two branches.
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
    let one = gaggle::go(move || fibonacci_spawned(n - 1));
    let two = fibonacci_spawned(n - 2);
    one.join().expect("no panic") + two
}

/// The number of ways to place N queens, a task for each placement in the first five rows.
pub fn queens(options: &Options) -> Option<Report> {
    options.default_only()?;
    let empty = Board::new(options.size())?;
    let expected = queens_expected(empty.size());
    Some(Report::of_repeated(expected, || queens_from(empty)))
}

fn queens_from(board: Board) -> u64 {
    if !board.is_spawned() {
        return board.count();
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

//! Trees of tasks that compute.

use crate::Running;
use peer_common::{Board, FIBONACCI_CUTOFF, Options, RUNS, Report};
use peer_common::{fibonacci_expected, fibonacci_plain, queens_expected};
use std::pin::Pin;
use std::time::Instant;

/// A branch of a tree, which has to be on the heap because its type would contain itself.
type Branch = Pin<Box<dyn Future<Output = u64> + Send>>;

/// Computes a tree twenty times.
async fn repeat(expected: Option<u64>, tree: impl Fn() -> Branch) -> Report {
    let mut times = Vec::new();
    for _ in 0..RUNS {
        let begin = Instant::now();
        let value = tree().await;
        times.push(begin.elapsed());
        assert!(expected.is_none_or(|expected| value == expected), "{value}");
    }
    Report::of_runs(times)
}

/// The Fibonacci number of N, a task for one of each two branches.
pub fn fibonacci(options: Options) -> Option<Running> {
    let n = options.size();
    let expected = Some(fibonacci_expected(n));
    match options.variant.as_str() {
        "default" => Some(Box::pin(async move {
            repeat(expected, || fibonacci_spawned(n)).await
        })),
        "seq" => Some(Box::pin(async move {
            Report::of_repeated(expected, || fibonacci_plain(n))
        })),
        _ => None,
    }
}

fn fibonacci_spawned(n: u64) -> Branch {
    Box::pin(async move {
        if n <= FIBONACCI_CUTOFF {
            return fibonacci_plain(n);
        }
        let one = tokio::spawn(fibonacci_spawned(n - 1));
        let two = fibonacci_spawned(n - 2).await;
        one.await.expect("no panic") + two
    })
}

/// The number of ways to place N queens, a task for each placement in the first five rows.
pub fn queens(options: Options) -> Option<Running> {
    options.default_only()?;
    let board = Board::new(options.size())?;
    Some(Box::pin(async move {
        repeat(queens_expected(board.size()), || queens_from(board)).await
    }))
}

fn queens_from(board: Board) -> Branch {
    Box::pin(async move {
        if !board.is_spawned() {
            return board.count();
        }
        let children: Vec<_> = board
            .next()
            .map(|next| tokio::spawn(queens_from(next)))
            .collect();
        let mut sum = 0;
        for child in children {
            sum += child.await.expect("no panic");
        }
        sum
    })
}

//! The document that lists the crates.

use crate::at_once::Failure;
use crate::row::Row;

const HEAD: &str =
    "| crate | version | what each goroutine did | OS threads at peak | hand-offs | ms | verdict |
|---|---|---|---|---|---|---|
";

/// The whole document.
pub fn document(rows: &[Row], goroutines: usize) -> String {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let mut text = format!(
        "# Compatibility

Crates as they are published, unmodified, each used from {goroutines} goroutines at once with
`GAGGLE_MAXPROCS=2`, against real servers where it talks to one. `cargo xtask compat --write` wrote this
table, on a machine with {processors} processors, with the profile `dev`; CI runs the same and fails when a
crate does not do what its row says.

Each row is a process of its own. *OS threads at peak* counts all of them: the two that run goroutines, the
main thread, the monitor, those that blocking calls needed for a moment, and those that the crate starts
itself. *Hand-offs* counts blocking calls during which a processor went on without the OS thread: files,
name lookups, and locks of C code. *ms* is the time of the whole process, beside whatever else the machine
did; it is no measurement. A crate `works` when every goroutine got the right result.

{HEAD}"
    );
    for row in rows {
        text.push_str(&row.line());
        text.push('\n');
    }
    text.push_str(NOTES);
    text
}

const NOTES: &str = "
What to know about some of them:

- `tiny_http` and `r2d2` start OS threads of their own (one for each connection that is open, and three for
  upkeep); they are as they were without goroutines.
- `tracing-subscriber`'s registry holds at most 4,096 threads in spans at a time; a goroutine is a thread
  there, so more than that at once need another subscriber.
- `rayon` computes on its own pool of OS threads, which share the processors with the goroutines.
";

/// The cells of the rows of a document: crate, version, verdict.
fn cells(text: &str) -> Vec<[String; 3]> {
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    rows.map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        [0, 1, cells.len() - 1].map(|index| cells[index].to_string())
    })
    .collect()
}

/// Compares the document with what was seen.
///
/// # Errors
/// The first row that is missing or says something else.
pub fn check(text: &str, rows: &[Row]) -> Result<(), Failure> {
    let listed = cells(text);
    for row in rows {
        for own in cells(&row.line()) {
            if !listed.contains(&own) {
                return Err(format!(
                    "docs/compatibility.md does not say {own:?}; `cargo xtask compat --write` writes it"
                )
                .into());
            }
        }
    }
    Ok(())
}

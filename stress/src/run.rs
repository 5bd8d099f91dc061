//! One run: starts the workers, changes GOMAXPROCS, watches, stops, reports.

use crate::options::Options;
use crate::random::Random;
use crate::work::{self, Kind};
use gaggle::testing::{Figures, figures};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Between two changes of GOMAXPROCS.
const CHANGE_EVERY: Duration = Duration::from_millis(5);
/// Between two lines of progress.
const REPORT_EVERY: Duration = Duration::from_secs(10);
/// A worker that ends no round for this long stands still.
const STANDSTILL: Duration = Duration::from_secs(120);

/// What a long run must have reached.
const LEAST: Figures = Figures {
    suspensions: 10_000,
    migrations: 10_000,
    hand_offs: 1_000,
    machines: 0,
    pending_timers: 0,
};

/// A goroutine that repeats one kind of round.
struct Worker {
    kind: &'static Kind,
    rounds: Arc<AtomicU64>,
    handle: gaggle::JoinHandle<()>,
    /// For the watch: the count when it last changed, and when that was.
    seen: (u64, Instant),
}

/// What the workers and the watch share.
#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    failures: AtomicUsize,
}

fn start_worker(kind: &'static Kind, number: u64, seed: u64, shared: &Arc<Shared>) -> Worker {
    let rounds = Arc::new(AtomicU64::new(0));
    let (shared, counted) = (shared.clone(), rounds.clone());
    let handle = gaggle::go(move || {
        let worker = || {
            let mut random = Random::new(seed, number);
            let mut round = (kind.make)(&mut random);
            while !shared.stop.load(Ordering::Relaxed) {
                round(&mut random);
                counted.fetch_add(1, Ordering::Relaxed);
            }
        };
        // The panic has been printed; the watch stops the run.
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(worker)).is_err() {
            eprintln!("FAILED: worker {number}: {}", kind.name);
            shared.failures.fetch_add(1, Ordering::Relaxed);
        }
    });
    Worker {
        kind,
        rounds,
        handle,
        seen: (0, Instant::now()),
    }
}

/// Watches the run, changing GOMAXPROCS, until its end; `false`: it was interrupted.
fn watch(
    options: &Options,
    workers: &mut [Worker],
    shared: &Shared,
    interrupted: &AtomicBool,
) -> bool {
    let mut random = Random::new(options.seed, u64::MAX);
    let started = Instant::now();
    let mut next_report = REPORT_EVERY;
    while started.elapsed() < options.time && shared.failures.load(Ordering::Relaxed) == 0 {
        if interrupted.load(Ordering::Relaxed) {
            return false;
        }
        if options.fixed_procs.is_none() {
            gaggle::runtime::gomaxprocs(Some(1 + random.below(8)));
        }
        std::thread::sleep(CHANGE_EVERY);
        look_for_standstill(workers);
        if started.elapsed() >= next_report {
            next_report += REPORT_EVERY;
            let rounds: u64 = workers.iter().map(|worker| worker.seen.0).sum();
            println!(
                "{:>5} s  {rounds} rounds  {}",
                started.elapsed().as_secs(),
                in_words(figures())
            );
        }
    }
    true
}

/// Ends the process if some worker stands still: what it waits for will not come, so neither would the end.
fn look_for_standstill(workers: &mut [Worker]) {
    let now = Instant::now();
    let mut stuck = Vec::new();
    for (number, worker) in workers.iter_mut().enumerate() {
        let rounds = worker.rounds.load(Ordering::Relaxed);
        if rounds != worker.seen.0 {
            worker.seen = (rounds, now);
        } else if now - worker.seen.1 > STANDSTILL && !worker.handle.is_finished() {
            stuck.push(format!(
                "{number} ({}, after {rounds} rounds)",
                worker.kind.name
            ));
        }
    }
    if !stuck.is_empty() {
        eprintln!(
            "FAILED: no round for {} s: workers {}",
            STANDSTILL.as_secs(),
            stuck.join(", ")
        );
        eprintln!("{}", in_words(figures()));
        // A core shows where they are; where none is wanted, the status says enough.
        std::process::abort();
    }
}

fn in_words(figures: Figures) -> String {
    format!(
        "{} suspensions, {} migrations, {} hand-offs, {} Ms",
        figures.suspensions, figures.migrations, figures.hand_offs, figures.machines
    )
}

/// Runs it; `false`: something failed.
///
/// # Errors
/// When signals cannot be caught.
pub fn run(allocator: &str, options: &Options) -> io::Result<bool> {
    // SAFETY: no other thread exists yet: the runtime starts below.
    unsafe {
        std::env::set_var(
            "GAGGLE_TEST_SLICE_MICROSECONDS",
            options.slice_microseconds.to_string(),
        );
    }
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // A second one ends the process as if nobody had caught it.
        signal_hook::flag::register_conditional_default(signal, interrupted.clone())?;
        signal_hook::flag::register(signal, interrupted.clone())?;
    }
    gaggle::runtime::gomaxprocs(Some(options.fixed_procs.unwrap_or(4)));
    // After the runtime's own hook, which says of every panic whose it is.
    work::quiet_expected_panics();
    let kinds: Vec<&'static Kind> = work::KINDS
        .iter()
        .filter(|kind| options.only.is_empty() || options.only.iter().any(|name| name == kind.name))
        .filter(|kind| match (kind.lacking)() {
            None => true,
            Some(why) => {
                println!("skipped: {why}");
                false
            }
        })
        .collect();
    if kinds.is_empty() {
        let names: Vec<_> = work::KINDS.iter().map(|kind| kind.name).collect();
        return Err(io::Error::other(format!(
            "no such work; there is: {}",
            names.join(", ")
        )));
    }
    println!(
        "{} workers of {} kinds on {allocator}, {} backend, slice {} us, seed {}",
        options.workers,
        kinds.len(),
        gaggle::runtime::backend_name(),
        options.slice_microseconds,
        options.seed
    );
    let shared = Arc::new(Shared::default());
    let started = Instant::now();
    let mut workers: Vec<Worker> = (0..options.workers)
        .map(|number| {
            start_worker(
                kinds[number % kinds.len()],
                number as u64,
                options.seed,
                &shared,
            )
        })
        .collect();
    let finished = watch(options, &mut workers, &shared, &interrupted);
    shared.stop.store(true, Ordering::Relaxed);
    while !workers.iter().all(|worker| worker.handle.is_finished()) {
        look_for_standstill(&mut workers);
        std::thread::sleep(CHANGE_EVERY);
    }
    let counted = figures();
    println!(
        "{:.1} s on {allocator}: {}",
        started.elapsed().as_secs_f64(),
        in_words(counted)
    );
    report_rounds(&kinds, &workers);
    Ok(judge(options, finished, counted, &shared))
}

fn report_rounds(kinds: &[&'static Kind], workers: &[Worker]) {
    for kind in kinds {
        let own = workers
            .iter()
            .filter(|worker| std::ptr::eq(worker.kind, *kind));
        let (count, rounds) = own.fold((0, 0), |(count, rounds), worker| {
            (count + 1, rounds + worker.rounds.load(Ordering::Relaxed))
        });
        println!("  {:<18} {count:>3} workers {rounds:>10} rounds", kind.name);
    }
}

/// The verdict, printed.
fn judge(options: &Options, finished: bool, counted: Figures, shared: &Shared) -> bool {
    let failures = shared.failures.load(Ordering::Relaxed);
    if failures > 0 {
        println!("FAILED: {failures} workers, seed {}", options.seed);
        return false;
    }
    if !finished {
        println!("interrupted; nothing had failed");
        return true;
    }
    if gaggle::runtime::backend_name() != "green" || !options.only.is_empty() {
        println!("passed");
        return true;
    }
    let (least, least_hand_offs) = match options.is_long {
        true => (LEAST.suspensions, LEAST.hand_offs),
        false => (1, 1),
    };
    let mut enough = true;
    for (name, number, least) in [
        ("suspensions", counted.suspensions, least),
        ("migrations", counted.migrations, least),
        ("hand-offs", counted.hand_offs, least_hand_offs),
    ] {
        if number < least {
            println!("FAILED: {number} {name}, must be {least} at least");
            enough = false;
        }
    }
    if enough {
        println!("passed: 0 failures");
    }
    enough
}

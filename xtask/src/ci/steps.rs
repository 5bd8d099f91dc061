//! The steps of `cargo xtask ci`, cheapest first.

use super::command::Task;
use super::detectors;
use crate::failure::Failure;
use crate::fuzz::{Fuzz, TARGETS};
use crate::tidy;
use std::path::Path;

/// One step.
#[derive(Debug)]
pub struct Step {
    /// What the command line calls it.
    pub name: &'static str,
    /// What passing it shows.
    pub purpose: &'static str,
    /// Whether it fails unless tests ran.
    pub runs_tests: bool,
    /// What it does in the workspace at that folder.
    pub(super) tasks: fn(&Path) -> Result<Plan, Failure>,
}

/// What a step has to do.
pub(super) enum Plan {
    /// Run these, one after the other.
    Run(Vec<Task>),
    /// Nothing: the toolchain lacks what it needs, said in a sentence.
    Lacking(String),
    /// Nothing more: it was done while planning.
    Done { passed: bool, note: String },
}

/// Every step, in order.
pub fn steps() -> &'static [Step] {
    STEPS
}

static STEPS: &[Step] = &[
    step("lock", "Cargo.lock says what the manifests say", lock),
    step("fmt", "every file is formatted", fmt),
    step(
        "tidy",
        "arrows, docs, sizes and links are as agreed",
        tidy_in_process,
    ),
    step(
        "deny",
        "licences, sources and bans of the dependencies",
        deny,
    ),
    step("clippy", "no lint fires", clippy),
    step("doc", "the documentation builds without a warning", doc),
    tests("test", "the test suite on the default backend", test),
    tests(
        "threads",
        "the same suite on the threads backend",
        test_on_threads,
    ),
    tests(
        "loom",
        "every interleaving of the algorithms holds, within a bound",
        loom,
    ),
    tests(
        "stress",
        "the tests of the runtime, optimised, and of HTTP and of SQL in short slices, several times over",
        stress,
    ),
    tests(
        "load",
        "everything at once on three allocators, and HTTP with more clients than is comfortable",
        load,
    ),
    step(
        "fuzz",
        "what parses bytes of others stands inputs that nobody would think of",
        fuzz,
    ),
    step("examples", "the examples do what they say", examples),
    step(
        "compat",
        "unmodified crates do on goroutines what docs/compatibility.md says",
        compat,
    ),
    step(
        "demo",
        "the main job loses nothing and keeps the order, killed half-way",
        demo,
    ),
    tests(
        "miri",
        "the algorithms have no undefined behaviour that Miri sees",
        detectors::miri,
    ),
    tests(
        "tsan",
        "the algorithms on the threads backend have no data race that ThreadSanitizer sees",
        detectors::thread_sanitizer,
    ),
    step(
        "bench",
        "the bench workspace and the peers are clean, and its program runs",
        bench,
    ),
    step(
        "instructions",
        "gaggle-core's primitives take no more instructions than kept in the tree",
        instructions,
    ),
];

const fn step(
    name: &'static str,
    purpose: &'static str,
    tasks: fn(&Path) -> Result<Plan, Failure>,
) -> Step {
    Step {
        name,
        purpose,
        runs_tests: false,
        tasks,
    }
}

const fn tests(
    name: &'static str,
    purpose: &'static str,
    tasks: fn(&Path) -> Result<Plan, Failure>,
) -> Step {
    Step {
        name,
        purpose,
        runs_tests: true,
        tasks,
    }
}

/// A detector's own step, for its command.
pub(super) const fn of_detector(
    name: &'static str,
    tasks: fn(&Path) -> Result<Plan, Failure>,
) -> Step {
    tests(name, "the tests under a detector", tasks)
}

fn run<const N: usize>(tasks: [Task; N]) -> Result<Plan, Failure> {
    Ok(Plan::Run(tasks.to_vec()))
}

fn lock(root: &Path) -> Result<Plan, Failure> {
    let mut tasks = vec![Task::new("cargo fetch --locked", 10)];
    for own in ["bench", "bench/peers", "compat", "fuzz", "stress"] {
        if root.join(own).join("Cargo.toml").exists() {
            let fetch = format!("cargo fetch --locked --manifest-path {own}/Cargo.toml");
            tasks.push(Task::new(&fetch, 10));
        }
    }
    Ok(Plan::Run(tasks))
}

fn fmt(_: &Path) -> Result<Plan, Failure> {
    run([Task::new("cargo fmt --all --check", 5)])
}

fn deny(_: &Path) -> Result<Plan, Failure> {
    let check = "--config deny.toml check --hide-inclusion-graph bans licenses sources";
    let of = |manifest: &str| {
        let line = format!("cargo deny --manifest-path {manifest} {check}");
        Task::new(&line, 5)
    };
    let mut tasks = ["Cargo.toml", "bench/Cargo.toml", "bench/peers/Cargo.toml"]
        .map(of)
        .to_vec();
    // Crates are tried there whatever their licences: nothing that is shipped contains them.
    let check = "--config deny.toml check --hide-inclusion-graph bans sources";
    let line = format!("cargo deny --manifest-path compat/Cargo.toml {check}");
    tasks.push(Task::new(&line, 5));
    Ok(Plan::Run(tasks))
}

fn clippy(_: &Path) -> Result<Plan, Failure> {
    // What most link, without features; the workspace's tests have all of them on.
    run([
        Task::new("cargo clippy --workspace --all-targets -- -D warnings", 15),
        Task::new("cargo clippy -p gaggle-http -- -D warnings", 10),
        Task::new("cargo clippy -p gaggle-sql -- -D warnings", 10),
    ])
}

fn doc(_: &Path) -> Result<Plan, Failure> {
    run([Task::new("cargo doc --workspace --no-deps", 15).with("RUSTDOCFLAGS", "-D warnings")])
}

/// The README's test command; what tests print is shown, so that a `SKIP:` line is seen (I2).
const TEST: &str = "cargo test --workspace --no-fail-fast -- --show-output";

/// What is compiled with features that the workspace does not ask for.
const TEST_TOKIO: &str = "cargo test -p gaggle --features tokio --test tokio -- --show-output";

fn test(_: &Path) -> Result<Plan, Failure> {
    run([Task::new(TEST, 20), Task::new(TEST_TOKIO, 15)])
}

fn test_on_threads(_: &Path) -> Result<Plan, Failure> {
    run([TEST, TEST_TOKIO].map(|line| Task::new(line, 20).with("GAGGLE_BACKEND", "threads")))
}

fn loom(root: &Path) -> Result<Plan, Failure> {
    run([
        Task::new("cargo test -p gaggle-core --release --test loom_*", 15)
            .with("RUSTFLAGS", "--cfg loom")
            .with("CARGO_TARGET_DIR", target_folder(root, "loom")),
    ])
}

/// Each program in `examples`, which asserts its own result. On green by name: a machine on which it
/// refuses would otherwise pass everything on threads (I3). Then on threads, but for those that are about
/// more goroutines than a machine has threads.
fn examples(root: &Path) -> Result<Plan, Failure> {
    const GREEN_ONLY: [&str; 2] = ["sleepers", "ten_thousand"];
    let names = programs_in(&root.join("examples"))?;
    let run = |name: &String, backend: &str| {
        let command = format!("cargo run --release --quiet -p gaggle-examples --bin {name}");
        Task::new(&command, 10).with("GAGGLE_BACKEND", backend)
    };
    let on_threads = names
        .iter()
        .filter(|name| !GREEN_ONLY.contains(&name.as_str()));
    let mut tasks = vec![Task::new("cargo build --release -p gaggle-examples", 15)];
    tasks.extend(names.iter().map(|name| run(name, "green")));
    tasks.extend(on_threads.map(|name| run(name, "threads")));
    Ok(Plan::Run(tasks))
}

/// The names of the Rust files of `folder`, in order.
fn programs_in(folder: &Path) -> Result<Vec<String>, Failure> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(Failure::at(folder))? {
        let path = entry.map_err(Failure::at(folder))?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.file_stem();
            names.extend(name.map(|name| name.to_string_lossy().into_owned()));
        }
    }
    names.sort();
    Ok(names)
}

fn tidy_in_process(root: &Path) -> Result<Plan, Failure> {
    let report = tidy::check(root)?;
    println!("{report}");
    Ok(Plan::Done {
        passed: report.is_clean(),
        note: format!(
            "{} files, {} findings",
            report.file_count,
            report.findings.len()
        ),
    })
}

/// The runtime's optimised, since that is where a compiler moves thread-local addresses over a switch; and all more
/// than once, since an interleaving that is rare is one that a single run does not meet.
fn stress(root: &Path) -> Result<Plan, Failure> {
    let command = "cargo test --release --lib --tests -p gaggle";
    let all = format!("{command} -p gaggle-core -p gaggle-rt -p gaggle-threads");
    let green = Task::new(&all, 10);
    // The other packages' tests name their backend themselves.
    let threads = Task::new(command, 10).with("GAGGLE_BACKEND", "threads");
    // Long protocols of many waits; a slice so short suspends each goroutine in the middle of them. As the
    // step `test` has built them, which takes longer than to run them.
    let mut edges = "cargo test --workspace".to_string();
    for package in ["gaggle-http", "gaggle-sql"] {
        for name in programs_in(&root.join("crates").join(package).join("tests"))? {
            edges += &format!(" --test {name}");
        }
    }
    let edges = Task::new(&edges, 10).with("GAGGLE_TEST_SLICE_MICROSECONDS", "300");
    run([
        green.clone(),
        green.clone(),
        green,
        threads.clone(),
        threads,
        edges.clone(),
        edges,
    ])
}

/// The short form of `cargo xtask stress`, and what the allocators go through.
fn load(_: &Path) -> Result<Plan, Failure> {
    let manifest = "--manifest-path stress/Cargo.toml";
    let short = |allocator: &&str| {
        let run = format!("cargo run {manifest} --release --quiet --bin stress-{allocator}");
        Task::new(&format!("{run} -- --seconds 15"), 10)
    };
    let mut tasks = vec![
        Task::new(&format!("cargo fmt --all {manifest} --check"), 5),
        Task::new(
            &format!("cargo clippy {manifest} --release --all-targets -- -D warnings"),
            15,
        ),
        Task::new(&format!("cargo test {manifest} --release --tests"), 15),
    ];
    tasks.extend(crate::stress::ALLOCATORS.iter().map(short));
    // 10,000 connections and 5,000 slow clients; bodies of a gigabyte. On green by name (I3).
    let gateway = "cargo run --release --quiet -p gaggle-examples --bin gateway --";
    let http = [
        format!("{gateway} load"),
        format!("{gateway} clients"),
        "cargo test --release -p gaggle-http --test conformance --test streaming".to_string(),
    ];
    let on_green = |line: &String| {
        let task = Task::new(line, 15).with("GAGGLE_TEST_LOAD", "1");
        task.with("GAGGLE_BACKEND", "green")
    };
    tasks.extend(http.iter().map(on_green));
    Ok(Plan::Run(tasks))
}

/// The short form of `cargo xtask fuzz`.
fn fuzz(root: &Path) -> Result<Plan, Failure> {
    let all = Fuzz {
        targets: TARGETS.map(String::from).to_vec(),
        seconds: 5,
    };
    let manifest = "--manifest-path fuzz/Cargo.toml";
    let mut tasks = vec![
        Task::new(&format!("cargo fmt --all {manifest} --check"), 5),
        Task::new(
            &format!("cargo clippy {manifest} --all-targets -- -D warnings"),
            15,
        ),
    ];
    tasks.extend(all.tasks(root)?);
    Ok(Plan::Run(tasks))
}

/// Needs PostgreSQL, Redis and the headers of OpenSSL, which `.ci/run` installs.
fn compat(_: &Path) -> Result<Plan, Failure> {
    let manifest = "--manifest-path compat/Cargo.toml";
    run([
        Task::new(&format!("cargo fmt --all {manifest} --check"), 5),
        Task::new(
            &format!("cargo clippy {manifest} --all-targets -- -D warnings"),
            15,
        ),
        Task::new(&format!("cargo run {manifest} --quiet -- --check"), 15),
    ])
}

/// Fewer events than a user's run: this is for correctness, figures need a quiet machine.
fn demo(_: &Path) -> Result<Plan, Failure> {
    run([Task::new(
        "cargo run --release -- demo --json --events-count 2000",
        10,
    )])
}

fn bench(root: &Path) -> Result<Plan, Failure> {
    if !root.join("bench/Cargo.toml").exists() {
        return Ok(Plan::Done {
            passed: false,
            note: "there is no bench workspace".to_string(),
        });
    }
    let manifest = "--manifest-path bench/Cargo.toml";
    let program = format!("cargo run {manifest} --release --quiet --bin gaggle-bench --");
    run([
        Task::new(&format!("cargo fmt --all {manifest} --check"), 5),
        Task::new(
            &format!("cargo clippy {manifest} --workspace --all-targets -- -D warnings"),
            15,
        ),
        Task::new(
            "cargo fmt --all --manifest-path bench/peers/Cargo.toml --check",
            5,
        ),
        Task::new(
            "cargo clippy --workspace --manifest-path bench/peers/Cargo.toml --all-targets -- -D warnings",
            15,
        ),
        Task::new(
            &format!("cargo test {manifest} -p gaggle-bench-harness"),
            15,
        ),
        Task::new("cargo xtask bench --help", 15),
        // Each operation once.
        Task::new(
            &format!("cargo test {manifest} -p gaggle-bench --bench primitives -- --test"),
            15,
        ),
        Task::new(&format!("{program} spawn --n 20000 --procs 2"), 15),
        // A program that cannot do a workload says so with this status; peers are skipped by it.
        Task::new(&format!("{program} no-such-workload"), 5).must_exit_with(3),
    ])
}

/// Needs valgrind, which `.ci/run` installs.
fn instructions(_: &Path) -> Result<Plan, Failure> {
    run([Task::new("cargo xtask instructions --check", 10)])
}

/// A target folder beside the usual one, so that other compiler flags do not rebuild everything.
pub(crate) fn target_folder(root: &Path, name: &str) -> String {
    let base = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), Into::into);
    base.join(name).to_string_lossy().into_owned()
}

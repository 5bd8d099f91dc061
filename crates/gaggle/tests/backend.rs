//! The choice of the backend and the settings of the process, each in a process of its own.

mod support;

use gaggle::runtime::{self, Backend, Builder};
use std::process::Output;
use support::{is_child, run_child, said};

const BACKEND: &str = "GAGGLE_BACKEND";
const PROCESSORS: &str = "GAGGLE_MAXPROCS";

/// Runs `report` as a child with these two variables.
fn report_with(backend: Option<&str>, processors: Option<&str>) -> Output {
    run_child("report", &[(BACKEND, backend), (PROCESSORS, processors)])
}

/// The child's half of most tests: says what the process runs on.
#[test]
fn report() {
    if is_child("report") {
        let total: usize = (0..10).map(|n| gaggle::go(move || n).join().unwrap()).sum();
        let (name, processors) = (runtime::backend_name(), runtime::gomaxprocs(None));
        println!("total {total} on {name} with {processors} processors");
    }
}

fn assert_refused(output: &Output, words: &[&str]) {
    assert_eq!(output.status.code(), Some(2), "{}", said(output));
    let stderr = String::from_utf8_lossy(&output.stderr);
    for word in words {
        assert!(
            stderr.contains(word),
            "{word:?} is not said: {}",
            said(output)
        );
    }
    assert!(
        !String::from_utf8_lossy(&output.stdout).contains("total"),
        "{}",
        said(output)
    );
}

fn assert_reports(output: &Output, words: &str) {
    assert!(output.status.success(), "{}", said(output));
    assert!(
        String::from_utf8_lossy(&output.stdout).contains(words),
        "{}",
        said(output)
    );
}

#[test]
fn unknown_backend_is_refused_with_the_two_that_exist() {
    let output = report_with(Some("purple"), None);
    assert_refused(&output, &["GAGGLE_BACKEND", "purple", "green", "threads"]);
}

#[test]
fn threads_backend_is_had_for_the_asking_and_says_nothing() {
    let output = report_with(Some("threads"), None);
    assert_reports(&output, "total 45 on threads with");
    assert!(output.stderr.is_empty(), "{}", said(&output));
}

#[test]
fn green_backend_is_had_or_refused_but_never_replaced() {
    let output = report_with(Some("green"), None);
    if output.status.success() {
        assert_reports(&output, "total 45 on green with");
    } else {
        assert_refused(&output, &["green backend cannot run"]);
    }
}

#[test]
fn empty_variables_are_as_good_as_none() {
    let unset = report_with(None, None);
    assert_reports(&unset, "total 45 on");
    let empty = report_with(Some(""), Some(""));
    assert!(empty.status.success(), "{}", said(&empty));
    let line = |output: &Output| {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines()
            .find(|line| line.contains("total"))
            .map(str::to_owned)
    };
    assert_eq!(line(&empty), line(&unset));
}

#[test]
fn number_of_processors_comes_from_the_environment() {
    let backend = std::env::var(BACKEND).ok();
    let output = report_with(backend.as_deref(), Some("3"));
    assert_reports(&output, "with 3 processors");
}

#[test]
fn number_of_processors_that_is_none_is_refused() {
    let backend = std::env::var(BACKEND).ok();
    for value in ["0", "-1", "two", "1.5", "99999999999999999999999"] {
        let output = report_with(backend.as_deref(), Some(value));
        assert_refused(&output, &["GAGGLE_MAXPROCS", value, "1 or more"]);
    }
}

/// The child's half of the tests of `Builder`.
#[test]
fn configured() {
    if is_child("configured") {
        let wish = Builder::new().backend(Backend::Threads).max_procs(5);
        wish.configure().expect("nothing has run");
        println!(
            "now {} with {}",
            runtime::backend_name(),
            runtime::gomaxprocs(None)
        );
        let refusal = wish.configure().expect_err("it runs already");
        println!("then {refusal}");
    }
}

#[test]
fn builder_decides_before_the_start_and_is_refused_after_it() {
    let output = run_child("configured", &[(BACKEND, None), (PROCESSORS, None)]);
    assert_reports(&output, "now threads with 5");
    assert_reports(
        &output,
        "then the runtime has started already, with the threads backend",
    );
}

#[test]
fn environment_overrides_the_builder() {
    let output = run_child(
        "configured",
        &[(BACKEND, Some("threads")), (PROCESSORS, Some("4"))],
    );
    assert_reports(&output, "now threads with 4");
}

#[test]
fn gomaxprocs_sets_and_answers_what_was_before() {
    const NAME: &str = "gomaxprocs_sets_and_answers_what_was_before";
    if !is_child(NAME) {
        return support::pass_as_child(NAME);
    }
    let at_start = runtime::gomaxprocs(None);
    assert!(at_start >= 1);
    assert_eq!(runtime::gomaxprocs(Some(3)), at_start);
    assert_eq!(runtime::gomaxprocs(Some(0)), 3);
    assert_eq!(runtime::gomaxprocs(None), 1);
    // With one processor there is still progress.
    assert_eq!(
        gaggle::go(|| gaggle::go(|| 1).join().unwrap())
            .join()
            .unwrap(),
        1
    );
}

//! A self-check that fails: the process runs on threads and says so in one line, and where green was
//! asked for by name it is an error.
#![cfg(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64"))]

mod support;

/// The self-checks, by the names in their messages.
const CHECKS: [&str; 13] = [
    "fsgsbase",
    "shadow-stack",
    "main-program",
    "malloc-in-libc",
    "symbols",
    "static-tls-size",
    "static-tls-ballast",
    "template-comparison",
    "template-fields",
    "malloc-words",
    "getrandom-words",
    "rseq",
    "probe",
];

const FAIL: &str = "GAGGLE_TEST_FAIL_SELF_CHECK";

/// Says which backend it got, and does something with it.
#[test]
fn child_says_its_backend() {
    if support::is_child("child_says_its_backend") {
        let sum: u32 = (0..10)
            .map(|n| gaggle::go(move || n).join().expect("no panic"))
            .sum();
        assert_eq!(sum, 45);
        println!("backend: {}", gaggle::runtime::backend_name());
    }
}

fn run_with(backend: Option<&str>, failing: &str) -> (Option<i32>, String, String) {
    let environment = [("GAGGLE_BACKEND", backend), (FAIL, Some(failing))];
    let output = support::run_child("child_says_its_backend", &environment);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[test]
fn failing_self_check_falls_back_to_threads_with_one_line() {
    for check in CHECKS {
        let (status, stdout, stderr) = run_with(None, check);
        assert_eq!(status, Some(0), "{check}: {stdout}{stderr}");
        assert!(stdout.contains("backend: threads"), "{check}: {stdout}");
        let lines: Vec<&str> = stderr
            .lines()
            .filter(|line| line.contains("gaggle"))
            .collect();
        assert_eq!(lines.len(), 1, "{check}: {stderr}");
        assert!(lines[0].contains(check), "{check}: {stderr}");
    }
}

#[test]
fn failing_self_check_is_an_error_where_green_is_asked_for() {
    for check in CHECKS {
        let (status, stdout, stderr) = run_with(Some("green"), check);
        assert_eq!(status, Some(2), "{check}: {stdout}{stderr}");
        assert!(
            stderr.contains("the green backend cannot run"),
            "{check}: {stderr}"
        );
        assert!(stderr.contains(check), "{check}: {stderr}");
    }
}

#[test]
fn preloaded_allocator_means_threads_and_one_line() {
    const SOURCE: &str = "
        #include <stddef.h>
        extern void *__libc_malloc(size_t);
        extern void __libc_free(void *);
        extern void *__libc_calloc(size_t, size_t);
        extern void *__libc_realloc(void *, size_t);
        void *malloc(size_t bytes) { return __libc_malloc(bytes); }
        void free(void *block) { __libc_free(block); }
        void *calloc(size_t count, size_t bytes) { return __libc_calloc(count, bytes); }
        void *realloc(void *block, size_t bytes) { return __libc_realloc(block, bytes); }";
    let library = support::native::library("preloaded", SOURCE, &[]);
    let path = library.to_str().expect("a path in UTF-8");
    let environment = |backend| [("GAGGLE_BACKEND", backend), ("LD_PRELOAD", Some(path))];
    let output = support::run_child("child_says_its_backend", &environment(None));
    let said = support::said(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("backend: threads"), "{said}");
    assert!(said.contains("malloc-in-libc"), "{said}");
    let output = support::run_child("child_says_its_backend", &environment(Some("green")));
    let said = support::said(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("malloc-in-libc"), "{said}");
    support::native::remove(&library);
}

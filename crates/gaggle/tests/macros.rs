//! `#[gaggle::test]` and `#[gaggle::main]`: bodies run in goroutines and may answer what std's may.

mod support;

use std::error::Error;
use std::process::ExitCode;
use std::rc::Rc;

#[gaggle::test]
fn body_runs_in_a_goroutine_of_the_tests_name() {
    assert!(gaggle::id().is_some());
    let name = gaggle::current().name().map(str::to_owned);
    assert_eq!(
        name.as_deref(),
        Some("macros::body_runs_in_a_goroutine_of_the_tests_name")
    );
}

#[gaggle::test]
fn body_may_answer_a_result() -> Result<(), std::num::ParseIntError> {
    assert_eq!("12".parse::<i32>()?, 12);
    Ok(())
}

#[gaggle::test]
fn body_may_answer_an_error_that_cannot_leave_its_thread() -> Result<(), Box<dyn Error>> {
    Ok(())
}

#[gaggle::test]
#[should_panic(expected = "as it should")]
fn should_panic_sees_the_bodys_panic() {
    panic!("as it should");
}

/// The child's half of the next test.
#[gaggle::test]
fn body_answers_an_error() -> Result<(), Box<dyn Error>> {
    if support::is_child("body_answers_an_error") {
        return Err("as it should".into());
    }
    Ok(())
}

#[test]
fn error_that_the_body_answers_fails_the_test() {
    let output = support::run_child("body_answers_an_error", &[]);
    let said = support::said(&output);
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("as it should"), "{said}");
}

#[gaggle::main]
fn answers_an_error() -> Result<(), Box<dyn Error>> {
    struct NotSend(#[allow(dead_code, reason = "only its type matters")] Rc<()>);
    impl std::fmt::Debug for NotSend {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an error that cannot leave its thread")
        }
    }
    impl std::fmt::Display for NotSend {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            std::fmt::Debug::fmt(self, f)
        }
    }
    impl Error for NotSend {}
    Err(Box::new(NotSend(Rc::new(()))))
}

#[gaggle::main]
fn answers_a_code() -> ExitCode {
    ExitCode::from(7)
}

#[gaggle::main]
fn answers_nothing() {
    assert!(gaggle::id().is_some());
    assert_eq!(gaggle::current().name(), Some("main"));
}

fn code(code: ExitCode) -> String {
    format!("{code:?}")
}

#[test]
fn main_turns_what_the_body_answers_into_the_exit_code() {
    assert_eq!(code(answers_nothing()), code(ExitCode::SUCCESS));
    assert_eq!(code(answers_a_code()), code(ExitCode::from(7)));
    assert_eq!(code(answers_an_error()), code(ExitCode::FAILURE));
}

#[test]
fn run_answers_the_value_and_passes_the_panic_on() {
    let text = String::from("borrowed");
    assert_eq!(gaggle::run(|| text.len()), 8);
    let payload = std::panic::catch_unwind(|| gaggle::run(|| std::panic::panic_any(3_i16)));
    assert_eq!(payload.unwrap_err().downcast_ref::<i16>(), Some(&3));
}

#[test]
fn run_inside_a_goroutine_is_one_more_goroutine() {
    let ids = gaggle::go(|| (gaggle::id(), gaggle::run(gaggle::id)))
        .join()
        .unwrap();
    assert!(ids.0.is_some() && ids.1.is_some() && ids.0 != ids.1);
}

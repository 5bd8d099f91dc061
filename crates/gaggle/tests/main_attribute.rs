//! A program whose `main` is `#[gaggle::main]`: it runs itself in several ways and looks at how it
//! ended.

use std::error::Error;
use std::process::{Command, Output};

/// Which way the program is to end.
const ENDING: &str = "GAGGLE_TEST_ENDING";

#[gaggle::main]
fn main() -> Result<(), Box<dyn Error>> {
    match std::env::var(ENDING).as_deref() {
        Err(_) => check_all(),
        Ok("error") => return Err("the goose is loose".into()),
        Ok("panic") => panic!("the goose is cooked"),
        Ok("goroutine panics") => assert!(gaggle::go(|| panic!("one goose")).join().is_err()),
        Ok("goroutines left") => {
            for _ in 0..4 {
                gaggle::go(gaggle::park);
            }
        }
        Ok("deep") => assert!(descend(4 << 10) > 0),
        Ok(other) => panic!("{ENDING} is {other:?}"),
    }
    Ok(())
}

/// Uses a kibibyte of stack and more for each level, and answers how many there were.
fn descend(levels: usize) -> usize {
    let mut frame = [levels; 128];
    std::hint::black_box(&mut frame);
    match levels {
        0 => 1,
        _ => descend(levels - 1) + usize::from(frame[127] == levels),
    }
}

fn end_by(ending: &str) -> Output {
    let program = std::env::current_exe().expect("a test knows its own binary");
    let mut command = Command::new(program);
    command
        .env(ENDING, ending)
        .output()
        .expect("the test binary runs again")
}

fn check_all() {
    check("error", 1, "Error: \"the goose is loose\"");
    check("panic", 101, "the goose is cooked");
    check("goroutine panics", 0, "one goose");
    check("goroutines left", 0, "");
    // 4 MiB: more than a goroutine or a std thread has by default, less than main's 8 MiB.
    check("deep", 0, "");
}

fn check(ending: &str, status: i32, says: &str) {
    let output = end_by(ending);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{ending}: {stderr}");
    assert!(stderr.contains(says), "{ending}: {stderr}");
    // A panic is said once, though it passes from the goroutine to the main thread.
    assert!(
        stderr.matches(says).count() == 1 || says.is_empty(),
        "{ending}: {stderr}"
    );
    println!("ended by {ending:?} with status {status}: ok");
}

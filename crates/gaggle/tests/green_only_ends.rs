//! How a process ends: total deadlock, SIGQUIT, `exit`, `abort`, the return from main.
//!
//! A program of its own, since in a test harness there is always a thread that might still do something.
//! Without the variable it runs each case in a child process and looks at how that ended.

#[cfg(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64"))]
mod cases;

#[cfg(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64"))]
fn main() {
    match std::env::var("GAGGLE_TEST_CHILD") {
        Ok(name) => cases::run(&name),
        Err(_) => cases::check_all(),
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64")))]
fn main() {}

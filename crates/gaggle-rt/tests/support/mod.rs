//! What the tests of the green backend by itself share.
#![allow(dead_code)] // each test program uses a part

use gaggle_core::contract::{Runtime, SpawnOptions};
use gaggle_rt::Green;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::panic::Location;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Once, mpsc};

/// Starts the backend once for all tests of this process.
pub fn start() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| gaggle_rt::start(Some(3)).expect("the green backend runs here"));
}

/// How a goroutine is to be started.
pub struct Go(SpawnOptions);

impl Go {
    #[track_caller]
    pub fn new() -> Go {
        Go(SpawnOptions {
            name: None,
            stack_bytes: None,
            location: Location::caller(),
        })
    }

    #[track_caller]
    pub fn named(name: &str) -> Go {
        let mut go = Go::new();
        go.0.name = Some(name.into());
        go
    }

    #[track_caller]
    pub fn with_stack(bytes: usize) -> Go {
        let mut go = Go::new();
        go.0.stack_bytes = Some(bytes);
        go
    }

    /// Starts it.
    pub fn start(self, f: impl FnOnce() + Send + 'static) {
        start();
        Green::spawn(self.0, gaggle_core::contract::entry(f)).expect("memory for a goroutine");
    }

    /// Starts it and waits for its answer.
    pub fn run<T: Send + 'static>(self, f: impl FnOnce() -> T + Send + 'static) -> T {
        let (say, hear) = mpsc::channel();
        self.start(move || {
            let _ = say.send(f());
        });
        hear.recv().expect("the goroutine answers")
    }
}

const CHILD: &str = "GAGGLE_TEST_CHILD";

/// `None` in the child of the test `name`; the parent runs the child (this program again, with that test
/// and a variable) and gets what it said.
pub fn in_child(name: &str) -> Option<Output> {
    in_child_with(name, &[])
}

/// As [`in_child`], with more variables for the child.
pub fn in_child_with(name: &str, variables: &[(&str, &str)]) -> Option<Output> {
    if std::env::var(CHILD).is_ok_and(|child| child == name) {
        return None;
    }
    let program = std::env::current_exe().expect("this program has a path");
    let output = Command::new(program)
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(CHILD, name)
        .envs(variables.iter().copied())
        .output()
        .expect("this program runs again");
    Some(output)
}

/// Compiles C without stack probes, loads it and answers its function `long name(long)`.
pub fn c_function(name: &str, source: &str) -> unsafe extern "C" fn(i64) -> i64 {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("gaggle-{}-{number}", std::process::id()));
    std::fs::create_dir(&folder).expect("a folder for the C code");
    let (input, output) = (folder.join("code.c"), folder.join("code.so"));
    std::fs::write(&input, source).expect("the C code is written");
    let status = Command::new("cc")
        .args(["-O1", "-shared", "-fPIC", "-fno-optimize-sibling-calls"])
        .args(["-fno-stack-protector", "-fno-stack-clash-protection", "-o"])
        .args([&output, &input])
        .status()
        .expect("a C compiler");
    assert!(status.success(), "the C code compiles");
    let path = CString::new(output.as_os_str().as_bytes()).expect("a path without a zero byte");
    // SAFETY: a library just made, without initialisers.
    let library = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
    assert!(!library.is_null(), "the C code loads");
    let _ = std::fs::remove_dir_all(&folder);
    let name = CString::new(name).expect("a name without a zero byte");
    // SAFETY: the library is loaded, for ever.
    let function = unsafe { libc::dlsym(library, name.as_ptr()) };
    assert!(!function.is_null(), "it has the function");
    // SAFETY: the caller's C code has this type.
    unsafe { std::mem::transmute::<*mut libc::c_void, unsafe extern "C" fn(i64) -> i64>(function) }
}

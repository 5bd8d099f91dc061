//! Libraries in C and C++, compiled by the test that needs them.

use std::ffi::{CString, c_void};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Compiles `source` with `compiler` into a shared library named after `name`; `None` where there is no
/// such compiler, of which it says so in one line.
pub fn library_by(compiler: &str, name: &str, source: &str, options: &[&str]) -> Option<PathBuf> {
    let folder =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("the target's own folder");
    let language = if compiler == "c++" { "cpp" } else { "c" };
    let (text, library) = (
        folder.join(format!("{name}.{language}")),
        folder.join(format!("lib{name}.so")),
    );
    std::fs::write(&text, source).expect("the folder was just made");
    let run = Command::new(compiler)
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .args([&library, &text])
        .args(options)
        .output();
    match run {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            println!("SKIP: there is no {compiler}");
            None
        }
        run => {
            let output = run.expect("the compiler runs");
            assert!(output.status.success(), "{}", super::said(&output));
            Some(library)
        }
    }
}

/// Compiles C, for which a compiler is a given.
pub fn library(name: &str, source: &str, options: &[&str]) -> PathBuf {
    library_by("cc", name, source, options).expect("there is a C compiler")
}

/// Loads a library, or answers the dynamic linker's own words.
pub fn load(path: &Path) -> Result<*mut c_void, String> {
    let path = CString::new(path.to_str().expect("a path in UTF-8")).expect("no zero byte");
    // SAFETY: a library that this test has made.
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
    if handle.is_null() {
        // SAFETY: asked right after the failure, on the same thread.
        let words = unsafe { libc::dlerror() };
        assert!(!words.is_null(), "a failure has its words");
        // SAFETY: a text of libc's, copied at once.
        let words = unsafe { std::ffi::CStr::from_ptr(words) };
        return Err(words.to_string_lossy().into_owned());
    }
    Ok(handle)
}

/// The function `name` of a library.
pub fn function(handle: *mut c_void, name: &str) -> usize {
    let text = CString::new(name).expect("no zero byte");
    // SAFETY: the handle is a loaded library's.
    let found = unsafe { libc::dlsym(handle, text.as_ptr()) };
    assert!(!found.is_null(), "{name} is in the library");
    found as usize
}

/// Removes what [`library`] made.
pub fn remove(library: &Path) {
    let folder = library.parent().expect("it is in a folder of its own");
    std::fs::remove_dir_all(folder).expect("the folder is the test's own");
}

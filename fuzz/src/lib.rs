//! What the fuzz targets share: a strict reading of HTTP/1.1 to compare with, and servers that are started
//! once.

pub mod strict;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::Duration;

/// A listener on a path of this process's own; Unix, so that a connection leaves no port waiting behind.
///
/// # Panics
/// When there can be none.
pub fn listener(name: &str) -> (UnixListener, PathBuf) {
    let name = format!("gaggle-fuzz-{name}-{}", std::process::id());
    let path = std::env::temp_dir().join(name);
    // An error means that there is none left of an earlier process.
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).expect("a socket in the folder for temporary files");
    (listener, path)
}

/// Sends `parts`, one write each, says that nothing more will come, and returns all that the server says.
///
/// # Panics
/// When the server does not end the connection.
pub fn exchange(path: &PathBuf, parts: &[&[u8]]) -> Vec<u8> {
    let mut stream = UnixStream::connect(path).expect("the server listens");
    let patience = Some(Duration::from_secs(20));
    stream
        .set_read_timeout(patience)
        .expect("a timeout can be set");
    for part in parts {
        // An error means that the server has heard enough, and the rest is as if it was not sent.
        if stream.write_all(part).is_err() {
            break;
        }
    }
    let _ = stream.shutdown(Shutdown::Write);
    let mut said = Vec::new();
    match stream.read_to_end(&mut said) {
        Ok(_) => {}
        // What was not read when the server closed is told by a reset.
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        Err(error) => panic!("the server does not end the connection: {error}"),
    }
    said
}

/// Where the input itself says that it is to be cut, by its first byte.
pub fn cut(input: &[u8]) -> (&[u8], &[u8]) {
    match input.split_first() {
        None => (&[], &[]),
        Some((&at, rest)) => rest.split_at(usize::from(at) * rest.len() / 256),
    }
}

//! An echo that something outside loads, a thread for each connection.

use peer_common::{ECHO_BYTES, Options, Report, listen};
use std::convert::Infallible;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread::spawn;

/// Sends back what comes, on every connection.
pub fn echo(options: &Options) -> Option<Report> {
    options.default_only()?;
    let listener = listen(options);
    loop {
        let (stream, _) = listener.accept().expect("descriptors enough");
        spawn(move || echo_one(stream));
    }
}

fn echo_one(mut stream: TcpStream) -> io::Result<Infallible> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; ECHO_BYTES];
    loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        stream.write_all(&buffer[..count])?;
    }
}

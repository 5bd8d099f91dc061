//! An echo that something outside loads, a thread for each connection.

use peer_common::{Options, Report, echo_back, listen};
use std::convert::Infallible;
use std::io;
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

/// N round trips within this process, among pairs of threads.
pub fn tcp(options: &Options) -> Option<Report> {
    options.default_only()?;
    Some(peer_common::round_trips(options, |half| drop(spawn(half))))
}

fn echo_one(stream: TcpStream) -> io::Result<Infallible> {
    stream.set_nodelay(true)?;
    echo_back(stream)
}

//! Graceful shutdown: after SIGTERM no new work is taken, and what is in flight is finished.
//!
//! `cargo run -p gaggle-examples --bin graceful_shutdown`
//!
//! The program runs itself again as the server, and sends it the signal while a request is in flight.

use gaggle::select;
use gaggle::signal::shutdown_context;
use gaggle::sync::WaitGroup;
use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

const CHILD: &str = "GAGGLE_EXAMPLE_SERVER";

/// Answers late: in pieces, the last after 100 ms.
fn handle(mut stream: TcpStream) -> std::io::Result<()> {
    stream.write_all(b"begun\n")?;
    sleep(Duration::from_millis(100));
    stream.write_all(b"finished\n")
}

fn serve() -> Result<(), Box<dyn Error + Send + Sync>> {
    let shutdown = shutdown_context();
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    let (accepted, connections) = gaggle::chan::unbuffered();
    gaggle::go(move || {
        for stream in listener.incoming().flatten() {
            if accepted.send(stream).is_err() {
                return; // nobody takes them any more: the listener is closed here
            }
        }
    });
    let in_flight = WaitGroup::new();
    loop {
        select! {
            recv(connections) -> stream => {
                let stream = stream?;
                in_flight.go(move || drop(handle(stream)));
            }
            done(shutdown) => break,
        }
    }
    println!("{}", shutdown.cause().ok_or("it has ended")?);
    in_flight.wait();
    println!("all requests finished");
    Ok(())
}

#[gaggle::main]
fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    if std::env::var_os(CHILD).is_some() {
        return serve();
    }
    let mut server = Command::new(std::env::current_exe()?)
        .env(CHILD, "1")
        .stdout(Stdio::piped())
        .spawn()?;
    let mut said = BufReader::new(server.stdout.take().ok_or("no output")?).lines();
    let address = said.next().ok_or("no address")??;

    let mut reply = BufReader::new(TcpStream::connect(address)?);
    let mut line = String::new();
    reply.read_line(&mut line)?;
    assert_eq!(line, "begun\n");
    // Now the request is in flight.
    let id = server.id().to_string();
    let sent = Command::new("kill").args(["-TERM", &id]).status()?;
    assert!(sent.success());

    let mut rest = String::new();
    reply.read_to_string(&mut rest)?;
    assert_eq!(rest, "finished\n", "the request was not dropped");
    let said: Vec<_> = said.collect::<Result<_, _>>()?;
    println!("the server said: {said:?}");
    assert_eq!(said, ["asked to end (SIGTERM)", "all requests finished"]);
    assert!(server.wait()?.success());
    Ok(())
}

//! Many connections at once, and the way a server ends.

mod common;

use bytes::Bytes;
use common::{Client, Running, echo};
use gaggle_http::Server;
use http::Response;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::time::Duration;

#[test]
fn a_thousand_connections_are_served_at_the_same_time() {
    const COUNT: usize = 1_000;
    rlimit::increase_nofile_limit(u64::MAX).expect("the limit can be raised");
    // Nobody is answered before everybody has been heard.
    let all_in = Arc::new(Barrier::new(COUNT));
    let server = Running::handler(Server::builder(), move |context, request| {
        all_in.wait();
        echo(context, request)
    });
    let mut clients: Vec<_> = (0..COUNT).map(|_| server.connect()).collect();
    for round in 0..2 {
        for (index, client) in clients.iter_mut().enumerate() {
            client.send(&format!(
                "GET /{round}/{index} HTTP/1.1\r\nHost: test\r\n\r\n"
            ));
        }
        for (index, client) in clients.iter_mut().enumerate() {
            assert_eq!(client.answer().body, format!("GET /{round}/{index} "));
        }
    }
    server.stop();
}

#[test]
fn a_stop_lets_what_is_in_flight_finish_and_closes_what_is_idle() {
    let (entered, is_in) = mpsc::channel();
    let (release, released) = mpsc::channel();
    let released = Mutex::new(released);
    let server = Running::handler(Server::builder(), move |context, request| {
        if request.uri().path() == "/slow" {
            entered.send(()).expect("the test waits");
            released
                .lock()
                .expect("one waiter")
                .recv()
                .expect("the test releases");
        }
        echo(context, request)
    });
    let address = server.address;
    let mut idle = server.connect();
    assert_eq!(idle.get("/").status, 200);
    let mut mute = server.connect();
    let mut busy = server.connect();
    busy.send("POST /slow HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\nhi");
    is_in.recv().expect("the request arrives");

    let server = server.begin_stop();
    idle.expect_end();
    mute.expect_end();
    assert!(!server.is_finished());
    release.send(()).expect("the handler waits");
    let answer = busy.answer();
    assert_eq!(answer.body, "POST /slow hi");
    assert_eq!(answer.header("connection"), Some("close"));
    busy.expect_end();
    let stopped = server.join().expect("no panic").expect("no failure");
    assert_eq!(stopped.aborted_connections, 0);
    assert!(
        std::net::TcpStream::connect(address).is_err(),
        "the listener is closed"
    );
}

#[test]
fn a_drain_that_takes_too_long_ends_the_requests_context_and_cuts_off() {
    let (entered, is_in) = mpsc::channel();
    let builder = Server::builder().drain_timeout(Duration::from_millis(100));
    let server = Running::handler(builder, move |context, _| {
        entered
            .send(context.err().is_none())
            .expect("the test waits");
        // Ends only by the context: nothing is ever sent on it.
        let _ = context.done().recv();
        Response::new(Bytes::new())
    });
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    assert!(
        is_in.recv().expect("the request arrives"),
        "its context is alive"
    );
    let stopped = server
        .begin_stop()
        .join()
        .expect("no panic")
        .expect("no failure");
    assert_eq!(stopped.aborted_connections, 1);
}

#[test]
fn a_server_that_is_stopped_before_it_starts_returns() {
    let server = Running::start(|listener, context| {
        let (context, cancel) = context.with_cancel();
        cancel.cancel();
        Server::default().serve(listener, &context, echo)
    });
    server.stop();
}

#[test]
fn beyond_the_limit_clients_wait_until_a_connection_ends() {
    let server = Running::handler(Server::builder().connections_max(1), echo);
    let mut first = server.connect();
    assert_eq!(first.get("/1").status, 200);
    let mut second = server.connect();
    second.send("GET /2 HTTP/1.1\r\nHost: test\r\n\r\n");
    assert!(
        second.is_silent_for(Duration::from_millis(100)),
        "there is no room for it"
    );
    assert_eq!(first.get("/3").status, 200);
    drop(first);
    assert_eq!(second.answer().body, "GET /2 ");
    server.stop();
}

/// Runs only as the child of the test below: a server that may open few descriptors.
#[test]
fn a_server_short_of_descriptors_as_child() {
    if std::env::var_os("GAGGLE_HTTP_TEST_CHILD").is_none() {
        return;
    }
    rlimit::setrlimit(rlimit::Resource::NOFILE, 40, 40).expect("the limit can be lowered");
    let server = Running::handler(Server::builder(), echo);
    println!("\nADDRESS {}", server.address);
    // Until the parent has seen enough and closes the pipe.
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).expect("a pipe");
    server.stop();
}

#[test]
fn a_server_out_of_descriptors_goes_on_when_it_has_some_again() {
    let mut child = Command::new(std::env::current_exe().expect("a path"))
        .args([
            "a_server_short_of_descriptors_as_child",
            "--exact",
            "--nocapture",
        ])
        .env("GAGGLE_HTTP_TEST_CHILD", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the test runs itself");
    // Kept to the end: the child still writes when the test has seen enough.
    let mut output = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let address = output
        .by_ref()
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("ADDRESS ").map(|text| text.parse()))
        .expect("the child listens")
        .expect("an address");
    let mut clients: Vec<_> = (0..60).map(|_| Client::connect(address)).collect();
    let mut first = clients.remove(0);
    assert_eq!(
        first.get("/first").status,
        200,
        "those that came in are served"
    );
    // The last of them is still in the backlog: 40 descriptors are less than 60 connections.
    let mut last = clients.pop().expect("there are many");
    drop(clients);
    assert_eq!(last.get("/last").status, 200, "and so is who waited");
    drop(child.stdin.take());
    assert!(child.wait().expect("it ends").success());
}

//! Round trips through the kernel within one process: pairs of tasks that talk over TCP.

use crate::options::Options;
use crate::report::Report;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// The size of a message.
pub const MESSAGE: usize = 64;

/// What one pair does, on a task of its own each.
type Half = Box<dyn FnOnce() + Send>;

/// The connected ends of `count` connections.
///
/// # Panics
/// If the system refuses.
pub fn connections(count: u64) -> Vec<(TcpStream, TcpStream)> {
    crate::raise_descriptor_limit();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    let connect = |_| {
        let client = TcpStream::connect(address).expect("it listens");
        let (server, _) = listener.accept().expect("it has connected");
        for end in [&client, &server] {
            end.set_nodelay(true).expect("a socket can be so");
        }
        (client, server)
    };
    (0..count).map(connect).collect()
}

/// How many round trips each pair makes.
pub fn round_trips_each(options: &Options) -> u64 {
    (options.size() / options.tasks.max(1)).max(1)
}

/// N round trips in all, among T pairs, by code that blocks: `spawn` starts a task.
///
/// # Panics
/// If an answer is wrong, or missing.
pub fn round_trips(options: &Options, spawn: impl Fn(Half)) -> Report {
    let each = round_trips_each(options);
    let pairs = connections(options.tasks);
    let (sender, receiver) = mpsc::channel();
    let begin = Instant::now();
    for (index, (client, server)) in pairs.into_iter().enumerate() {
        // It ends with the end of the client's stream.
        spawn(Box::new(move || drop(answer(server))));
        let sender = sender.clone();
        spawn(Box::new(move || {
            let taken = talk(client, index as u8, each).expect("the other end answers");
            sender.send(taken).expect("somebody waits for it");
        }));
    }
    drop(sender);
    let times: Vec<Vec<Duration>> = receiver.iter().collect();
    report(options, times, begin.elapsed())
}

fn answer(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = [0; MESSAGE];
    loop {
        stream.read_exact(&mut buffer)?;
        stream.write_all(&buffer)?;
    }
}

fn talk(mut stream: TcpStream, byte: u8, count: u64) -> io::Result<Vec<Duration>> {
    let mut taken = Vec::with_capacity(count as usize);
    let mut buffer = [0; MESSAGE];
    for _ in 0..count {
        let begin = Instant::now();
        stream.write_all(&[byte; MESSAGE])?;
        stream.read_exact(&mut buffer)?;
        taken.push(begin.elapsed());
        assert_eq!(buffer, [byte; MESSAGE], "what was sent comes back");
    }
    Ok(taken)
}

/// What the pairs' times come to.
///
/// # Panics
/// If there are not as many as there should be.
pub fn report(options: &Options, times: Vec<Vec<Duration>>, wall: Duration) -> Report {
    let mut times = times.concat();
    let expected = round_trips_each(options) * options.tasks;
    assert_eq!(
        times.len() as u64,
        expected,
        "every pair made all its trips"
    );
    times.sort_unstable();
    let at = |share: f64| {
        let last = times.len() - 1;
        times[(last as f64 * share).round() as usize].as_secs_f64() * 1e6
    };
    Report::of_operations(expected, wall)
        .with("late_p50_us", at(0.5))
        .with("late_p99_us", at(0.99))
        .with("late_max_us", at(1.0))
}

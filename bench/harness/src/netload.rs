//! The client that loads `echo`: many connections that make one round trip and rest, then sixty-four
//! more in a closed loop. One thread, one poll.

use crate::machine::rss_of;
use mio::{Events, Interest, Poll, Token};
use serde_json::json;
use std::error::Error;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The size of a message.
const BYTES: usize = 64;
/// How many connections talk at a time.
const ACTIVE: usize = 64;
/// How long the resting ones rest before the server's memory is read.
const REST: Duration = Duration::from_secs(1);
/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(20);

/// One connection of the closed loop.
struct Talk {
    stream: mio::net::TcpStream,
    sent: Instant,
    received: usize,
}

/// `netload ADDRESS RESTING SECONDS SERVER`: prints a line of JSON.
///
/// # Errors
/// When the server does not answer, or answers something else than it was sent.
pub fn main(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let [address, resting, seconds, server] = arguments else {
        return Err("netload ADDRESS RESTING SECONDS SERVER".into());
    };
    let (resting, server): (usize, u32) = (resting.parse()?, server.parse()?);
    rlimit::increase_nofile_limit(u64::MAX)?;
    let before = rss_of(server).ok_or("no such server")?;
    let mut rest = Vec::with_capacity(resting);
    for _ in 0..resting {
        let mut stream = connect(address)?;
        let mut answer = [0; BYTES];
        stream.write_all(&[7; BYTES])?;
        stream.read_exact(&mut answer)?;
        if answer != [7; BYTES] {
            return Err("the echo is another".into());
        }
        rest.push(stream);
    }
    sleep(REST);
    let grown = rss_of(server)
        .ok_or("the server has gone")?
        .saturating_sub(before);
    let (wall, mut late) = talk(address, Duration::from_secs(seconds.parse()?))?;
    late.sort_unstable();
    let at = |share: f64| late[((late.len() - 1) as f64 * share).round() as usize] as f64 / 1e3;
    let (count, seconds) = (late.len() as f64, wall.as_secs_f64());
    let line = json!({
        "rss_bytes_per_unit": grown as f64 / resting.max(1) as f64,
        "ns_per_op": seconds * 1e9 / count,
        "ops_per_s": count / seconds,
        "operations": count,
        "late_p50_us": at(0.5),
        "late_p99_us": at(0.99),
        "secs": seconds,
    });
    println!("{line}");
    Ok(())
}

fn connect(address: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    Ok(stream)
}

/// The closed loop: how long it ran, and how long each round trip took, in nanoseconds.
fn talk(address: &str, time: Duration) -> Result<(Duration, Vec<u64>), Box<dyn Error>> {
    let mut poll = Poll::new()?;
    let mut talks = Vec::with_capacity(ACTIVE);
    let begin = Instant::now();
    for index in 0..ACTIVE {
        let stream = connect(address)?;
        stream.set_nonblocking(true)?;
        let mut stream = mio::net::TcpStream::from_std(stream);
        poll.registry()
            .register(&mut stream, Token(index), Interest::READABLE)?;
        stream.write_all(&[index as u8; BYTES])?;
        talks.push(Talk {
            stream,
            sent: Instant::now(),
            received: 0,
        });
    }
    let mut late = Vec::with_capacity(4_000_000);
    let mut events = Events::with_capacity(ACTIVE);
    while begin.elapsed() < time {
        poll.poll(&mut events, Some(ANSWER_MAX))?;
        if events.is_empty() {
            return Err("no answer".into());
        }
        for event in &events {
            let Token(index) = event.token();
            late.extend(talks[index].turn(index as u8)?);
        }
    }
    Ok((begin.elapsed(), late))
}

impl Talk {
    /// Reads what has come; with the whole answer, sends the next message and tells how long this one
    /// took. Nothing more can have come by then, so the next answer makes the socket ready anew.
    fn turn(&mut self, byte: u8) -> Result<Option<u64>, Box<dyn Error>> {
        let mut buffer = [0; 2 * BYTES];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err("the server hung up".into()),
                Ok(count) if buffer[..count].iter().all(|found| *found == byte) => {
                    self.received += count;
                }
                Ok(_) => return Err("the echo is another".into()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error.into()),
            }
            if self.received == BYTES {
                let now = Instant::now();
                let took = u64::try_from((now - self.sent).as_nanos())?;
                self.sent = now;
                self.received = 0;
                self.stream.write_all(&[byte; BYTES])?;
                return Ok(Some(took));
            }
        }
    }
}

//! Many kept connections at a steady load, while servers are killed, slow clients come, and a large body
//! passes; what is lost, how long answers take, and how much memory the gateway needs.
//!
//! A client's time counts from when it meant to ask, so that an answer that comes late does not hide those
//! that it keeps waiting.

use crate::children::Child;
use crate::{Failure, context};
use gaggle::context::Context;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// What the gateway may need for each connection: its goroutine's stack, hyper's buffers and its own.
const CONNECTION_KILOBYTES_MAX: u64 = 64;
/// What a body may need while it passes both ways, however long it is.
const BODY_KILOBYTES_MAX: u64 = 48 * 1024;
/// By how much the memory of each connection beside it may grow meanwhile. Alone, the same body needs a few
/// megabytes.
const GROWTH_KILOBYTES_MAX: u64 = 16;
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);
static PIECE: [u8; 64 * 1024] = [7; 64 * 1024];

/// How much of everything.
pub struct Plan {
    pub connections: usize,
    /// How long the load is steady, servers killed and started again in the middle of it.
    pub time: Duration,
    pub slow_clients: usize,
    pub body_megabytes: usize,
}

/// What goes on beside the steady load.
#[derive(Clone, Copy)]
enum Phase {
    Calm,
    Killing,
    SlowClients,
    Body,
}

const PHASES: [(Phase, &str); 4] = [
    (Phase::Calm, "nothing else"),
    (Phase::Killing, "a server is killed and started again"),
    (Phase::SlowClients, "slow clients"),
    (Phase::Body, "a large body"),
];

/// Starts everything, and fails where a request is lost or memory grows beyond its bound.
pub fn run(plan: &Plan) -> Result<(), Failure> {
    let period = Duration::from_secs(5).min(plan.time / 4);
    let head_time = (plan.time / 2).clamp(Duration::from_secs(1), Duration::from_secs(10));
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut first = Child::backend(any_port, "first")?;
    let second = Child::backend(any_port, "second")?;
    let echo = Child::backend(any_port, "echo")?;
    let gateway = Child::gateway([first.address, second.address], echo.address, head_time)?;

    // Alone first, where nothing else explains what the gateway grows by.
    pass_body(&gateway, plan.body_megabytes, 0)?;
    let before = gateway.memory_kilobytes()?;
    let load = Load::start(gateway.address, plan.connections, period)?;
    load.enter(Phase::Calm);
    sleep(plan.time / 4);
    report_memory(&gateway, before, plan.connections, "all have asked")?;

    load.enter(Phase::Killing);
    for _ in 0..3 {
        let address = first.address;
        first.kill()?;
        sleep(plan.time / 12);
        first = Child::backend(address, "first")?;
        sleep(plan.time / 12);
    }
    load.enter(Phase::Calm);
    sleep(plan.time / 4);
    report_memory(&gateway, before, plan.connections, "after the kills")?;

    load.enter(Phase::SlowClients);
    let all = plan.connections + plan.slow_clients;
    let slow = SlowClients::start(gateway.address, plan.slow_clients)?;
    report_memory(&gateway, before, all, "with the slow clients")?;
    slow.finish()?;

    load.enter(Phase::Body);
    pass_body(&gateway, plan.body_megabytes, plan.connections)?;
    load.finish()?;
    report_memory(&gateway, before, all, "at the end")?;
    print!("{}", gateway.stop()?);
    drop((first, second, echo));
    Ok(())
}

/// Says how much memory the gateway has, and whether that is within the bound for so many connections.
fn report_memory(gateway: &Child, before: u64, count: usize, when: &str) -> Result<(), Failure> {
    let now = gateway.memory_kilobytes()?;
    let each = now.saturating_sub(before) as f64 / count as f64;
    println!("memory, {when}: {now} KB, {each:.1} KB for each of {count} connections");
    // What does not depend on how many connections there are may grow too: pools, the heap's own.
    let bound = before + 32 * 1024 + CONNECTION_KILOBYTES_MAX * count as u64;
    match now <= bound {
        true => Ok(()),
        false => Err(format!("the gateway has {now} KB, more than {bound} KB").into()),
    }
}

/// How long answers took, and in which phases.
type Times = Vec<(usize, Duration)>;

/// Clients that each keep a connection, and ask once in a period.
struct Load {
    phase: Arc<AtomicUsize>,
    stop: context::Cancel,
    clients: Vec<gaggle::JoinHandle<Result<Times, Failure>>>,
    begin: Instant,
}

impl Load {
    /// Connects all, over one period, and returns when each has been answered once.
    fn start(gateway: SocketAddr, count: usize, period: Duration) -> Result<Load, Failure> {
        let (context, stop) = context::background().with_cancel();
        let phase = Arc::new(AtomicUsize::new(Phase::Calm as usize));
        let (note, noted) = mpsc::channel();
        let begin = Instant::now();
        let clients = (0..count)
            .map(|number| {
                let (context, phase, note) = (context.clone(), Arc::clone(&phase), note.clone());
                let first = begin + period.mul_f64(number as f64 / count as f64);
                gaggle::go(move || keep_asking(gateway, &context, &phase, note, (first, period)))
            })
            .collect();
        drop(note);
        let answered = noted.into_iter().count();
        let load = Load {
            phase,
            stop,
            clients,
            begin,
        };
        if answered < count {
            load.finish()?;
            return Err(format!("{answered} of {count} were answered").into());
        }
        println!("{count} connections, each asks every {period:?}");
        Ok(load)
    }

    fn enter(&self, phase: Phase) {
        // Relaxed: it only says where a time belongs.
        self.phase.store(phase as usize, Ordering::Relaxed);
    }

    /// Stops all, and says how long they waited. Fails when one was not answered.
    fn finish(self) -> Result<(), Failure> {
        let time = self.begin.elapsed();
        self.stop.cancel();
        let mut times = [const { Vec::new() }; PHASES.len()];
        for client in self.clients {
            let of_one = client.join().expect("a client does not panic")?;
            for (phase, waited) in of_one {
                times[phase].push(waited);
            }
        }
        let count: usize = times.iter().map(Vec::len).sum();
        let rate = count as f64 / time.as_secs_f64();
        println!("{count} requests, all answered, {rate:.0} in a second");
        for (phase, name) in PHASES {
            let times = &mut times[phase as usize];
            times.sort();
            let at = |part: f64| times.get(((times.len() as f64 - 1.0) * part) as usize);
            if let (Some(half), Some(most), Some(all)) = (at(0.5), at(0.99), at(1.0)) {
                println!(
                    "  {name}: {} requests, half within {half:.1?}, 99 % within {most:.1?}, all within {all:.1?}",
                    times.len()
                );
            }
        }
        Ok(())
    }
}

/// Asks on one connection until `context` ends; how long each answer took, and in which phase.
fn keep_asking(
    gateway: SocketAddr,
    context: &Context,
    phase: &AtomicUsize,
    note: Sender<()>,
    (first, period): (Instant, Duration),
) -> Result<Times, Failure> {
    let mut next = first;
    let is_over = |next: Instant| {
        let left = next.saturating_duration_since(Instant::now());
        context.run(|| gaggle::time::sleep(left));
        context.err().is_some()
    };
    if is_over(next) {
        return Ok(Vec::new());
    }
    let stream = TcpStream::connect(gateway)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut note = Some(note);
    let mut times = Vec::new();
    loop {
        ask(&stream)?;
        // Relaxed: see `enter`.
        times.push((phase.load(Ordering::Relaxed), next.elapsed()));
        if let Some(note) = note.take() {
            // An error means that nobody counts any more.
            let _ = note.send(());
        }
        next += period;
        if is_over(next) {
            return Ok(times);
        }
    }
}

/// One request and its whole answer.
fn ask(mut stream: &TcpStream) -> Result<(), Failure> {
    stream.write_all(b"GET /work HTTP/1.1\r\nHost: gateway\r\n\r\n")?;
    let mut bytes = [0; 512];
    let mut count = 0;
    loop {
        match stream.read(&mut bytes[count..])? {
            0 => return Err("the gateway closed the connection".into()),
            more => count += more,
        }
        let text = std::str::from_utf8(&bytes[..count])?;
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let head = head.to_ascii_lowercase();
        let length = head.split("content-length: ").nth(1);
        let length = length.and_then(|rest| rest.lines().next()?.parse().ok());
        if !head.starts_with("http/1.1 200 ") {
            return Err(format!("the gateway answered {text}").into());
        }
        if length.is_some_and(|length: usize| body.len() >= length) {
            return match ["first", "second"].contains(&body) {
                true => Ok(()),
                false => Err(format!("the gateway answered {body}").into()),
            };
        }
    }
}

/// Clients that send a byte of a head now and then.
struct SlowClients {
    clients: Vec<gaggle::JoinHandle<Result<(), Failure>>>,
}

impl SlowClients {
    /// Returns when all are connected.
    fn start(gateway: SocketAddr, count: usize) -> Result<SlowClients, Failure> {
        let (note, noted) = mpsc::channel();
        let clients = (0..count)
            .map(|_| {
                let note = note.clone();
                gaggle::go(move || dribble(gateway, note))
            })
            .collect();
        drop(note);
        let connected = noted.into_iter().count();
        let all = SlowClients { clients };
        if connected < count {
            all.finish()?;
            return Err(format!("{connected} of {count} slow clients came in").into());
        }
        Ok(all)
    }

    /// Fails unless each was told that it takes too long.
    fn finish(self) -> Result<(), Failure> {
        let count = self.clients.len();
        for client in self.clients {
            client.join().expect("a client does not panic")?;
        }
        println!("{count} slow clients, all ended by 408");
        Ok(())
    }
}

fn dribble(gateway: SocketAddr, note: Sender<()>) -> Result<(), Failure> {
    let mut stream = TcpStream::connect(gateway)?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: te")?;
    let _ = note.send(());
    drop(note);
    stream.set_read_timeout(Some(Duration::from_millis(500)))?;
    let deadline = Instant::now() + PATIENCE;
    let mut bytes = [0; 128];
    while Instant::now() < deadline {
        match stream.read(&mut bytes) {
            Ok(count) if bytes[..count].starts_with(b"HTTP/1.1 408 ") => return Ok(()),
            Ok(_) => return Err("a slow client was answered otherwise than by 408".into()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(error.into()),
        }
        // An error means that the gateway has had enough: the next read says so.
        let _ = stream.write_all(b"x");
    }
    Err("a slow client was not ended".into())
}

/// Sends a body to the server that echoes it, and reads it as it comes back.
fn pass_body(gateway: &Child, megabytes: usize, connections: usize) -> Result<(), Failure> {
    let length = megabytes << 20;
    let stream = TcpStream::connect(gateway.address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(
        &stream,
        "POST /echo HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    )?;
    let before = gateway.memory_kilobytes()?;
    let begin = Instant::now();
    let mut sending = stream.try_clone()?;
    let sender = gaggle::go(move || -> std::io::Result<()> {
        let mut left = length;
        while left > 0 {
            let count = left.min(PIECE.len());
            sending.write_all(&PIECE[..count])?;
            left -= count;
        }
        Ok(())
    });
    let (mut head, mut seen, mut most, mut looked) = (Vec::new(), 0, before, begin);
    let mut bytes = vec![0; PIECE.len()];
    loop {
        let count = (&stream).read(&mut bytes)?;
        if count == 0 {
            break;
        }
        // The body alone is of this byte.
        seen += bytes[..count].iter().filter(|&&byte| byte == 7).count();
        if seen == 0 {
            head.extend_from_slice(&bytes[..count]);
        }
        if looked.elapsed() > Duration::from_millis(20) {
            looked = Instant::now();
            most = most.max(gateway.memory_kilobytes()?);
        }
    }
    let sent = sender.join().expect("the sender does not panic");
    if seen != length {
        let head = String::from_utf8_lossy(&head);
        return Err(format!("{seen} of {length} bytes came back: {head} {sent:?}").into());
    }
    let time = begin.elapsed();
    println!(
        "{megabytes} MB passed both ways in {time:.1?}, with at most {} KB more memory",
        most - before
    );
    let bound = BODY_KILOBYTES_MAX + GROWTH_KILOBYTES_MAX * connections as u64;
    match most - before <= bound {
        true => Ok(()),
        false => Err("that is too much memory for a body that streams".into()),
    }
}

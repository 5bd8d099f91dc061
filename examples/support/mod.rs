//! What the examples need beside their subject: a slow server, and the process's own figures.

#![allow(dead_code, reason = "each example uses a part")]

use std::error::Error;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};
use ureq::Agent;

/// The variable that tells the child process to serve.
const SERVE_MILLISECONDS: &str = "GAGGLE_EXAMPLE_SERVE_MILLISECONDS";
/// How many connections may wait to be accepted, if the system's own limit allows.
const BACKLOG: i32 = 16 * 1024;
/// How often [`Watch`] looks.
const WATCH_PERIOD: Duration = Duration::from_millis(50);

/// The program's argument at `position`, or `default` where there is none.
///
/// # Errors
/// When there is one and it is no such value.
pub fn argument<T: FromStr<Err: fmt::Display>>(position: usize, default: T) -> Result<T, String> {
    match std::env::args().nth(position) {
        None => Ok(default),
        Some(text) => text.parse().map_err(|error| format!("{text}: {error}")),
    }
}

/// `ureq`'s agent with buffers for small bodies: by default a call has 256 KB of them. One for all
/// calls would keep connections for the next call; each of these has its own, as `ureq::get` has.
pub fn lean_agent() -> Agent {
    let config = Agent::config_builder()
        .input_buffer_size(4096)
        .output_buffer_size(4096);
    config.build().new_agent()
}

/// A server in a process of its own that answers each request after some time. Ends when dropped.
#[derive(Debug)]
pub struct SlowServer {
    child: Child,
    url: String,
}

impl SlowServer {
    /// Starts this program again, as a server that takes `time` for each answer, and raises the number
    /// of files this process may open to all it is allowed. In the child this call serves, and never
    /// returns.
    ///
    /// # Errors
    /// When a process or a listener is refused.
    pub fn start(time: Duration) -> Result<SlowServer, Box<dyn Error + Send + Sync>> {
        rlimit::increase_nofile_limit(u64::MAX)?;
        if let Ok(text) = std::env::var(SERVE_MILLISECONDS) {
            serve(Duration::from_millis(text.parse()?))?;
            std::process::exit(0);
        }
        let mut child = Command::new(std::env::current_exe()?)
            .env(SERVE_MILLISECONDS, time.as_millis().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut address = String::new();
        let output = child.stdout.take().ok_or("the child has no output")?;
        BufReader::new(output).read_line(&mut address)?;
        Ok(SlowServer {
            child,
            url: format!("http://{}/", address.trim_end()),
        })
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        self.url.clone()
    }
}

impl Drop for SlowServer {
    fn drop(&mut self) {
        // The child ends when its input does; an error means that it has ended already.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Serves until the standard input ends: a goroutine per connection, and nothing else.
fn serve(time: Duration) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    // std lets 128 connections wait to be accepted; the others would try again after a second.
    socket2::SockRef::from(&listener).listen(BACKLOG)?;
    println!("{}", listener.local_addr()?);
    gaggle::go(move || {
        for connection in listener.incoming() {
            match connection {
                // A client that goes away early is its own affair.
                Ok(stream) => drop(gaggle::go(move || answer(stream, time))),
                Err(error) => eprintln!("the slow server cannot accept: {error}"),
            }
        }
    });
    io::stdin().read_to_end(&mut Vec::new()).map(drop)
}

/// Reads one request's head and answers it.
fn answer(mut stream: TcpStream, time: Duration) -> io::Result<()> {
    let mut head = BufReader::new(&stream);
    let mut line = String::new();
    while head.read_line(&mut line)? > 2 {
        line.clear();
    }
    sleep(time);
    stream.write_all(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
    )
}

/// Watches the process's figures until it is finished.
#[derive(Debug)]
pub struct Watch {
    begin: Instant,
    stop: Arc<AtomicBool>,
    watcher: gaggle::JoinHandle<Peaks>,
}

/// The highest figures that were seen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Peaks {
    /// From the watch's start to its end.
    pub time: Duration,
    /// Goroutines that existed at the same time.
    pub goroutines: usize,
    /// OS threads that existed at the same time.
    pub os_threads: usize,
    /// Resident memory, as the kernel has recorded it.
    pub rss_kilobytes: usize,
}

impl Watch {
    /// Begins to watch, in a goroutine.
    pub fn start() -> Watch {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let watcher = gaggle::go(move || {
            let mut peaks = Peaks::default();
            // Relaxed: it carries nothing but itself; the join below publishes the result.
            while !stopped.load(Ordering::Relaxed) {
                peaks.look();
                sleep(WATCH_PERIOD);
            }
            peaks.look();
            peaks
        });
        Watch {
            begin: Instant::now(),
            stop,
            watcher,
        }
    }

    /// Stops watching, and answers what was seen.
    pub fn finish(self) -> Peaks {
        let time = self.begin.elapsed();
        // Relaxed: see the load in `start`.
        self.stop.store(true, Ordering::Relaxed);
        let peaks = self.watcher.join().expect("the watcher does not panic");
        Peaks { time, ..peaks }
    }
}

impl Peaks {
    fn look(&mut self) {
        self.goroutines = self.goroutines.max(gaggle::runtime::num_goroutine());
        // Where there is no such file the figures stay 0.
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let figure = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.split_whitespace().next()?.parse().ok())
                .unwrap_or(0)
        };
        self.os_threads = self.os_threads.max(figure("Threads:"));
        self.rss_kilobytes = self.rss_kilobytes.max(figure("VmHWM:"));
    }
}

impl fmt::Display for Peaks {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{:.2?}, at most {} goroutines on {} OS threads ({} backend), {} MB of memory",
            self.time,
            self.goroutines,
            self.os_threads,
            gaggle::runtime::backend_name(),
            self.rss_kilobytes / 1000,
        )
    }
}

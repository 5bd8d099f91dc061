//! Measuring one contender once: a program of its own, or a server and what loads it.

use crate::cases::{Contender, Kind, Scale};
use crate::child::{Interruption, Stopped, output, serve};
use crate::machine;
use crate::points::Point;
use crate::programs::Programs;
use crate::quota::Group;
use serde_json::{Map, Value};
use std::env;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// No run takes longer, even of a million threads.
const RUN_MAX: Duration = Duration::from_secs(300);
/// How often a program is started in one repetition of `startup`.
const STARTS: usize = 10;
/// How long a server is left alone after its first answer, before its memory is read.
const IDLE: Duration = Duration::from_millis(200);
/// What glibc consists of, as far as programs name it, and what the kernel and its linker add.
const OF_LIBC: [&str; 6] = [
    "libc.",
    "libm.",
    "libpthread.",
    "libdl.",
    "librt.",
    "ld-linux",
];

/// The contender's line, with what was measured from outside.
pub fn measure(
    point: &Point,
    contender: &Contender,
    programs: &Programs,
    interruption: &Interruption,
) -> Result<Map<String, Value>, Stopped> {
    let arguments = point.arguments(contender);
    let program = match point.case.kind {
        Kind::Hello => programs.hello(contender.peer),
        _ => programs.path(contender.peer),
    };
    let program = program.ok_or_else(|| Stopped::Failed("it was not built".to_owned()))?;
    match point.case.kind {
        Kind::Program if point.under_quota => {
            let group = Group::of_half_the_machine()?;
            let mut command = group.command(program);
            parsed(&output(command.args(arguments), RUN_MAX, interruption)?)
        }
        Kind::Program => {
            let mut command = Command::new(program);
            parsed(&output(command.args(arguments), RUN_MAX, interruption)?)
        }
        Kind::Startup => start_up(program, &arguments, interruption),
        Kind::Hello => start_hello(contender, program, interruption),
        Kind::Http => with_server(point, contender, program, interruption, load_by_wrk),
        Kind::Echo => with_server(point, contender, program, interruption, load_by_netload),
    }
}

fn parsed(line: &str) -> Result<Map<String, Value>, Stopped> {
    serde_json::from_str(line.trim())
        .map_err(|error| Stopped::Failed(format!("{error} in {line:?}")))
}

/// The median of several starts, the size of the program without its symbols, and what it says.
fn start_up(
    program: &Path,
    arguments: &[String],
    interruption: &Interruption,
) -> Result<Map<String, Value>, Stopped> {
    let mut times = Vec::new();
    let mut line = Map::new();
    for _ in 0..STARTS {
        let begin = Instant::now();
        let text = output(Command::new(program).args(arguments), RUN_MAX, interruption)?;
        times.push(begin.elapsed().as_secs_f64() * 1e3);
        line = parsed(&text)?;
    }
    put_times(&mut line, times);
    put_file(&mut line, program, interruption)?;
    Ok(line)
}

/// The median of several starts of a server up to its first answer, its memory at rest, and its file.
fn start_hello(
    contender: &Contender,
    program: &Path,
    interruption: &Interruption,
) -> Result<Map<String, Value>, Stopped> {
    let mut line = Map::new();
    line.insert("peer".to_owned(), contender.peer.name().into());
    line.insert("workload".to_owned(), "hello".into());
    line.insert("variant".to_owned(), contender.variant.into());
    let (mut times, mut resident) = (Vec::new(), Vec::new());
    for _ in 0..STARTS / 2 {
        let begin = Instant::now();
        let (running, address) = serve(&mut Command::new(program), interruption)?;
        check_hello(&address)?;
        times.push(begin.elapsed().as_secs_f64() * 1e3);
        thread::sleep(IDLE);
        resident.extend(machine::rss_of(running.id()));
    }
    put_times(&mut line, times);
    resident.sort_unstable();
    if let Some(middle) = resident.get(resident.len() / 2) {
        line.insert("rss_bytes".to_owned(), (*middle).into());
    }
    put_file(&mut line, program, interruption)?;
    Ok(line)
}

fn put_times(line: &mut Map<String, Value>, mut times: Vec<f64>) {
    times.sort_by(f64::total_cmp);
    line.insert("ms".to_owned(), times[times.len() / 2].into());
    line.insert("ms_min".to_owned(), times[0].into());
}

/// How large a program is without its symbols, and which libraries it asks for.
fn put_file(
    line: &mut Map<String, Value>,
    program: &Path,
    interruption: &Interruption,
) -> Result<(), Stopped> {
    let mut readelf = Command::new("readelf");
    if let Ok(text) = output(readelf.arg("-d").arg(program), RUN_MAX, interruption) {
        let needed = needed(&text);
        let others = needed
            .iter()
            .filter(|name| !OF_LIBC.iter().any(|begin| name.starts_with(begin)));
        line.insert("other_libraries".to_owned(), others.count().into());
        line.insert("needs".to_owned(), needed.join(" ").into());
    }
    let stripped = env::temp_dir().join(format!("gaggle-bench-{}", std::process::id()));
    let mut strip = Command::new("strip");
    strip.arg("-o").arg(&stripped).arg(program);
    // Without binutils the size with symbols would be told, which compares nothing: leave it out.
    if output(&mut strip, RUN_MAX, interruption).is_ok() {
        let bytes = std::fs::metadata(&stripped)?.len();
        std::fs::remove_file(&stripped)?;
        line.insert("binary_bytes".to_owned(), bytes.into());
    }
    Ok(())
}

/// The names of the libraries in what `readelf -d` says.
fn needed(text: &str) -> Vec<&str> {
    text.lines()
        .filter(|line| line.contains("(NEEDED)"))
        .filter_map(|line| Some(line.split_once('[')?.1.split_once(']')?.0))
        .collect()
}

/// `program` on one core of its own, if there is more than one; else as it is.
fn on_core(core: usize, program: &Path) -> Command {
    if machine::processors() < 2 {
        return Command::new(program);
    }
    let mut command = Command::new("taskset");
    command.arg("-c").arg(core.to_string()).arg(program);
    command
}

/// A server under load: its process, its address, and the load.
struct Server<'a> {
    process: u32,
    address: &'a str,
    connections: u64,
    scale: Scale,
    interruption: &'a Interruption,
}

fn with_server(
    point: &Point,
    contender: &Contender,
    program: &Path,
    interruption: &Interruption,
    load: fn(&Server) -> Result<Map<String, Value>, Stopped>,
) -> Result<Map<String, Value>, Stopped> {
    let mut command = on_core(0, program);
    let (running, address) = serve(command.args(point.arguments(contender)), interruption)?;
    let server = Server {
        process: running.id(),
        address: &address,
        connections: point.tasks.unwrap_or(64),
        scale: point.scale,
        interruption,
    };
    let before = machine::cpu_time_of(server.process);
    let mut measured = load(&server)?;
    let after = machine::cpu_time_of(server.process);
    let mut line = Map::new();
    line.insert("peer".to_owned(), contender.peer.name().into());
    line.insert("workload".to_owned(), point.case.workload.into());
    line.insert("variant".to_owned(), contender.variant.into());
    line.insert("connections".to_owned(), server.connections.into());
    line.insert("procs".to_owned(), point.procs.into());
    line.append(&mut measured);
    if let (Some(before), Some(after)) = (before, after) {
        let cpu = (after - before).as_secs_f64();
        line.insert("cpu_s".to_owned(), cpu.into());
        if let Some(operations) = line.get("operations").and_then(Value::as_f64) {
            line.insert("cpu_us_per_op".to_owned(), (cpu * 1e6 / operations).into());
        }
    }
    Ok(line)
}

/// wrk with one thread on the other core.
fn load_by_wrk(server: &Server) -> Result<Map<String, Value>, Stopped> {
    check_hello(server.address)?;
    // To make ten thousand connections takes a part of a second.
    let short = if server.connections < 10_000 { 2 } else { 3 };
    let seconds = server.scale.of([10, short, 2]);
    let mut command = on_core(1, Path::new("wrk"));
    command
        .args(["--threads", "1", "--latency", "--timeout", "10s"])
        .arg(format!("--connections={}", server.connections))
        .arg(format!("--duration={seconds}s"))
        .arg(format!("http://{}/", server.address));
    let text = output(&mut command, RUN_MAX, server.interruption)?;
    let measured = read_wrk(&text);
    measured.ok_or_else(|| Stopped::Failed(format!("wrk says {text:?}")))
}

/// Asks once: what is compared must be the right answer.
fn check_hello(address: &str) -> Result<(), Stopped> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n")?;
    let mut answer = String::new();
    let mut buffer = [0; 1024];
    while !answer.ends_with("Hello, World!") {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        answer.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    let lower = answer.to_ascii_lowercase();
    let right = lower.starts_with("http/1.1 200 ")
        && lower.contains("\r\ncontent-length: 13\r\n")
        && lower.contains("\r\ncontent-type: text/plain")
        && lower.contains("\r\ndate: ")
        && answer.ends_with("\r\n\r\nHello, World!");
    if right {
        Ok(())
    } else {
        Err(Stopped::Failed(format!("the wrong answer: {answer:?}")))
    }
}

/// What wrk's text says; `None` if anything is missing.
fn read_wrk(text: &str) -> Option<Map<String, Value>> {
    let line = |begin: &str| {
        text.lines()
            .map(str::trim)
            .find_map(|line| line.strip_prefix(begin))
    };
    let number = |text: &str| text.trim().parse::<f64>().ok();
    let operations = text.lines().find_map(|line| {
        let (count, _) = line.trim().split_once(" requests in ")?;
        number(count)
    })?;
    let mut measured = Map::new();
    let mut put = |key: &str, value: f64| drop(measured.insert(key.to_owned(), value.into()));
    put("ops_per_s", number(line("Requests/sec:")?)?);
    put("operations", operations);
    put("late_p50_us", microseconds(line("50%")?)?);
    put("late_p99_us", microseconds(line("99%")?)?);
    if let Some(errors) = line("Socket errors:") {
        let count = errors
            .split(',')
            .filter_map(|part| number(part.trim().rsplit_once(' ')?.1))
            .sum();
        put("socket_errors", count);
    }
    if let Some(count) = line("Non-2xx or 3xx responses:").and_then(number) {
        put("wrong_answers", count);
    }
    Some(measured)
}

/// A time as wrk writes it, such as `1.20ms`.
fn microseconds(text: &str) -> Option<f64> {
    let text = text.trim();
    let units = [("us", 1.0), ("ms", 1e3), ("s", 1e6), ("m", 60e6)];
    units.into_iter().find_map(|(unit, factor)| {
        let number = text.strip_suffix(unit)?.parse::<f64>().ok()?;
        Some(number * factor)
    })
}

/// Our own client on the other core.
fn load_by_netload(server: &Server) -> Result<Map<String, Value>, Stopped> {
    let seconds = server.scale.of([5, 2, 2]);
    let mut command = on_core(1, &env::current_exe()?);
    command
        .args(["netload", server.address])
        .arg(server.connections.to_string())
        .arg(seconds.to_string())
        .arg(server.process.to_string());
    parsed(&output(&mut command, RUN_MAX, server.interruption)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Running 3s test @ http://127.0.0.1:1/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   340.49us  101.96us   5.38ms   91.85%
    Req/Sec   188.06k     4.83k  194.41k    83.33%
  Latency Distribution
     50%  332.00us
     75%  372.00us
     90%  413.00us
     99%    1.48ms
  561220 requests in 3.00s, 69.58MB read
  Socket errors: connect 0, read 2, write 0, timeout 3
Requests/sec: 187050.31
Transfer/sec:     23.19MB
";

    #[test]
    fn needed_libraries_are_found() {
        let text = "
 0x0000000000000001 (NEEDED)             Shared library: [libgcc_s.so.1]
 0x0000000000000001 (NEEDED)             Shared library: [libc.so.6]
 0x000000000000000c (INIT)               0x1000
";
        assert_eq!(needed(text), ["libgcc_s.so.1", "libc.so.6"]);
    }

    #[test]
    fn what_wrk_says_is_read() {
        let measured = read_wrk(TEXT).expect("all of it is there");
        let expected = [
            ("ops_per_s", 187_050.31),
            ("operations", 561_220.0),
            ("late_p50_us", 332.0),
            ("late_p99_us", 1480.0),
            ("socket_errors", 5.0),
        ];
        for (key, value) in expected {
            let found = measured[key].as_f64().expect("a number");
            assert!((found - value).abs() < 1e-6, "{key}: {found}");
        }
        assert!(read_wrk("unable to connect").is_none());
    }
}

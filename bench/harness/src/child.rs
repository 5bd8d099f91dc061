//! Running one program to its end, or a server for a while; nothing that was started outlives us.

use nix::sys::resource::{UsageWho, getrusage};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::io::{self, BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// How often to look for an interruption.
const POLL: Duration = Duration::from_millis(100);
/// How long a server may take until it listens.
const READY_MAX: Duration = Duration::from_secs(20);
/// The status by which a program says that it has no such workload or variant.
const UNSUPPORTED: i32 = 3;

/// Why there is no figure.
#[derive(Debug)]
pub enum Stopped {
    /// Somebody wants to end the whole run.
    Interrupted,
    /// The program has no such workload or variant.
    Unsupported,
    /// It failed, in words.
    Failed(String),
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Stopped {
        Stopped::Failed(error.to_string())
    }
}

/// Whether somebody has pressed Ctrl-C, or asked otherwise for the end.
#[derive(Clone, Debug)]
pub struct Interruption(Arc<AtomicBool>);

impl Interruption {
    /// Watches from now on.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn watch() -> io::Result<Interruption> {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [SIGHUP, SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&flag))?;
        }
        Ok(Interruption(flag))
    }

    /// Whether it has come.
    pub fn has_come(&self) -> bool {
        // Relaxed: the flag is all that is communicated.
        self.0.load(Ordering::Relaxed)
    }
}

/// A program that runs; dropping it ends it.
#[derive(Debug)]
pub struct Running(Child);

impl Running {
    /// Its process id.
    pub fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when it has ended and been waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs `command` to its end; its standard output, if it ends well within `limit`.
pub fn output(
    command: &mut Command,
    limit: Duration,
    interruption: &Interruption,
) -> Result<String, Stopped> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut running = Running(command.spawn()?);
    let (sender, receiver) = mpsc::channel();
    let errors = running.0.stderr.take().map(|stderr| {
        thread::spawn(move || {
            let mut text = String::new();
            let _ = BufReader::new(stderr).read_to_string(&mut text);
            text
        })
    });
    if let Some(mut stdout) = running.0.stdout.take() {
        thread::spawn(move || {
            let mut text = String::new();
            let read = stdout.read_to_string(&mut text);
            let _ = sender.send(read.map(|_| text));
        });
    }
    let begin = Instant::now();
    let text = loop {
        match receiver.recv_timeout(POLL) {
            Ok(text) => break text?,
            Err(RecvTimeoutError::Disconnected) => break String::new(),
            Err(RecvTimeoutError::Timeout) if interruption.has_come() => {
                return Err(Stopped::Interrupted);
            }
            Err(RecvTimeoutError::Timeout) if begin.elapsed() > limit => {
                let limit = limit.as_secs();
                return Err(Stopped::Failed(format!("not done after {limit} s")));
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    };
    let status = running.0.wait()?;
    let errors = errors.and_then(|errors| errors.join().ok());
    if interruption.has_come() {
        return Err(Stopped::Interrupted);
    }
    verdict(status, &errors.unwrap_or_default())?;
    Ok(text)
}

fn verdict(status: ExitStatus, errors: &str) -> Result<(), Stopped> {
    match status.code() {
        Some(0) => Ok(()),
        Some(UNSUPPORTED) => Err(Stopped::Unsupported),
        _ => {
            let last = errors.lines().rev().take(5).collect::<Vec<_>>();
            let last = last.into_iter().rev().collect::<Vec<_>>().join(" | ");
            Err(Stopped::Failed(format!("{status}: {last}")))
        }
    }
}

/// Starts a server and waits until it says that it listens: the program, and the address.
pub fn serve(
    command: &mut Command,
    interruption: &Interruption,
) -> Result<(Running, String), Stopped> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut running = Running(command.spawn()?);
    let (sender, receiver) = mpsc::channel();
    let stderr = running.0.stderr.take();
    let stderr = stderr.ok_or_else(|| Stopped::Failed("it has no standard error".to_owned()))?;
    // It reads on to the end, so that the server never blocks on its standard error.
    thread::spawn(move || {
        let mut said = Vec::new();
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            match line.strip_prefix("READY ") {
                Some(address) => drop(sender.send(Ok(address.to_owned()))),
                None => said.push(line),
            }
        }
        drop(sender.send(Err(said.join(" | "))));
    });
    let begin = Instant::now();
    loop {
        match receiver.recv_timeout(POLL) {
            Ok(Ok(address)) => return Ok((running, address)),
            Ok(Err(said)) => {
                return verdict(running.0.wait()?, &said).and(Err(Stopped::Failed(said)));
            }
            Err(_) if interruption.has_come() => return Err(Stopped::Interrupted),
            Err(_) if begin.elapsed() > READY_MAX => {
                return Err(Stopped::Failed("the server does not listen".to_owned()));
            }
            Err(_) => {}
        }
    }
}

/// The processor time of this process and of every child that has ended.
pub fn own_cpu_time() -> Duration {
    [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN]
        .into_iter()
        .filter_map(|who| getrusage(who).ok())
        .flat_map(|usage| [usage.user_time(), usage.system_time()])
        .map(|time| {
            let microseconds = time.tv_sec() * 1_000_000 + time.tv_usec();
            Duration::from_micros(microseconds.unsigned_abs())
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(script: &str, limit: Duration) -> Result<String, Stopped> {
        let interruption = Interruption::watch().expect("signals can be watched");
        output(
            Command::new("sh").args(["-c", script]),
            limit,
            &interruption,
        )
    }

    #[test]
    fn the_output_comes_back_and_the_status_is_told_apart() {
        let long = Duration::from_secs(60);
        assert_eq!(run("echo one", long).expect("it ends well"), "one\n");
        assert!(matches!(run("exit 3", long), Err(Stopped::Unsupported)));
        let failed = run("echo because >&2; exit 1", long);
        assert!(matches!(failed, Err(Stopped::Failed(why)) if why.contains("because")));
    }

    #[test]
    fn who_does_not_end_is_ended() {
        let begin = Instant::now();
        let stopped = run("exec sleep 3600", Duration::from_millis(300));
        assert!(matches!(stopped, Err(Stopped::Failed(why)) if why.contains("not done")));
        assert!(begin.elapsed() < Duration::from_secs(1800));
    }

    #[test]
    fn a_server_says_where_it_listens_and_ends_with_its_guard() {
        let interruption = Interruption::watch().expect("signals can be watched");
        let mut command = Command::new("sh");
        command.args([
            "-c",
            "echo hello >&2; echo READY 127.0.0.1:1 >&2; exec sleep 3600",
        ]);
        let (running, address) = serve(&mut command, &interruption).expect("it is ready");
        assert_eq!(address, "127.0.0.1:1");
        let folder = format!("/proc/{}", running.id());
        assert!(std::fs::exists(&folder).expect("/proc can be read"));
        drop(running);
        assert!(!std::fs::exists(&folder).expect("/proc can be read"));
    }
}

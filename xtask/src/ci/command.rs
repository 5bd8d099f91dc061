//! One command of a step: run with a time limit, its output handed on line by line as it comes.

use crate::failure::Failure;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// What GNU timeout answers when the time was up.
const TIMED_OUT: i32 = 124;
/// For how long nothing may come of output that is still open when the command that wrote it has ended.
const OUTPUT_SILENCE_MAX: Duration = Duration::from_secs(10);
/// How often to look whether a silent command has ended.
const POLL: Duration = Duration::from_millis(50);

/// A command and what it must end with.
#[derive(Clone, Debug)]
pub struct Task {
    arguments: Vec<String>,
    environment: Vec<(&'static str, String)>,
    time_max: Duration,
    status_expected: i32,
}

/// How a command ended.
#[derive(Clone, Copy, Debug)]
pub struct Ending {
    status: ExitStatus,
    /// A process that it started is still there and holds its output open.
    left_process: bool,
}

impl Task {
    /// The words of `line`, split at spaces; nothing is quoted or expanded. It is ended after
    /// `minutes_max`.
    pub fn new(line: &str, minutes_max: u64) -> Self {
        Task {
            arguments: line.split_whitespace().map(str::to_string).collect(),
            environment: Vec::new(),
            time_max: Duration::from_secs(minutes_max * 60),
            status_expected: 0,
        }
    }

    /// Adds an environment variable.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    /// The command must end with this status instead of 0.
    #[must_use]
    pub fn must_exit_with(mut self, status: i32) -> Self {
        self.status_expected = status;
        self
    }

    /// Runs it in `folder`, blocking this thread; both its outputs go to `sink`, line by line.
    ///
    /// # Errors
    /// When it cannot be started; how it ended is the answer, not an error.
    pub fn run(&self, folder: &Path, sink: &mut dyn FnMut(&str)) -> Result<Ending, Failure> {
        self.run_with(folder, OUTPUT_SILENCE_MAX, sink)
    }

    fn run_with(
        &self,
        folder: &Path,
        silence_max: Duration,
        sink: &mut dyn FnMut(&str),
    ) -> Result<Ending, Failure> {
        // GNU timeout puts the command into a process group of its own and ends the whole group, so
        // no grandchild survives (I4).
        let mut child = Command::new("timeout")
            .arg("--kill-after=10")
            .arg(format!("{}s", self.time_max.as_secs_f64()))
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| Failure::new(format!("cannot run GNU timeout: {error}")))?;
        let (sender, receiver) = mpsc::channel();
        if let Some(output) = child.stdout.take() {
            forward(output, sender.clone());
        }
        if let Some(output) = child.stderr.take() {
            forward(output, sender);
        }
        self.drain(&mut child, &receiver, silence_max, sink)
    }

    /// Hands lines to `sink` until the command has ended and its output is closed.
    fn drain(
        &self,
        child: &mut Child,
        lines: &Receiver<String>,
        silence_max: Duration,
        sink: &mut dyn FnMut(&str),
    ) -> Result<Ending, Failure> {
        let failed = |error: std::io::Error| Failure::new(format!("{self}: {error}"));
        let mut ended: Option<Instant> = None;
        let left_process = loop {
            match lines.recv_timeout(POLL) {
                Ok(line) => {
                    sink(&line);
                    // Whoever reads what the sink prints may be slow: it is silence that counts.
                    ended = ended.map(|_| Instant::now());
                }
                Err(RecvTimeoutError::Disconnected) => break false,
                Err(RecvTimeoutError::Timeout) => {}
            }
            if interrupted().map_err(failed)? {
                end_group(child).map_err(failed)?;
                return Err(Failure::new(format!("interrupted during: {self}")));
            }
            match ended {
                None if child.try_wait().map_err(failed)?.is_some() => ended = Some(Instant::now()),
                Some(since) if since.elapsed() > silence_max => break true,
                _ => {}
            }
        };
        Ok(Ending {
            status: child.wait().map_err(failed)?,
            left_process,
        })
    }

    /// Whether it ended as it must.
    ///
    /// # Errors
    /// How it ended instead, in words.
    pub fn verdict(&self, ending: Ending) -> Result<(), String> {
        let status = ending.status;
        match status.code() {
            Some(code) if code == self.status_expected => {}
            Some(TIMED_OUT) => {
                return Err(format!("not done after {} s", self.time_max.as_secs_f64()));
            }
            _ => return Err(format!("{status}, must be {}", self.status_expected)),
        }
        if ending.left_process {
            return Err("left a process behind that holds its output open".to_string());
        }
        Ok(())
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.environment {
            write!(f, "{name}='{value}' ")?;
        }
        f.write_str(&self.arguments.join(" "))
    }
}

/// Whether somebody wants to stop the run. The command is in a process group of its own, where the
/// terminal's Ctrl-C does not reach it, so it has to be ended by us.
///
/// Watching begins with the first call and never ends: a signal between two commands stops the next.
fn interrupted() -> std::io::Result<bool> {
    static FLAG: OnceLock<Arc<AtomicBool>> = OnceLock::new();
    let flag = match FLAG.get() {
        Some(flag) => flag,
        None => {
            let flag = FLAG.get_or_init(Arc::default);
            for signal in [SIGINT, SIGTERM, SIGHUP] {
                signal_hook::flag::register(signal, Arc::clone(flag))?;
            }
            flag
        }
    };
    // Relaxed: the flag is all that is communicated.
    Ok(flag.load(Ordering::Relaxed))
}

/// Ends the command with all its children: GNU timeout passes the signal on to its group.
fn end_group(child: &mut Child) -> std::io::Result<()> {
    Command::new("kill")
        .arg("-TERM")
        .arg(child.id().to_string())
        .status()?;
    child.wait()?;
    Ok(())
}

/// Sends each line of `output` from a thread of its own, which ends when the output is closed;
/// bytes that are no UTF-8 are replaced, never a reason to stop.
fn forward(output: impl Read + Send + 'static, lines: Sender<String>) {
    std::thread::spawn(move || {
        let mut output = BufReader::new(output);
        let mut bytes = Vec::new();
        while let Ok(1..) = output.read_until(b'\n', &mut bytes) {
            let line = String::from_utf8_lossy(&bytes);
            if lines
                .send(line.trim_end_matches(['\n', '\r']).to_string())
                .is_err()
            {
                return;
            }
            bytes.clear();
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(task: &Task) -> (Vec<String>, Result<(), String>) {
        let mut lines = Vec::new();
        let status = task.run(Path::new("."), &mut |line| lines.push(line.to_string()));
        (lines, task.verdict(status.expect("the command starts")))
    }

    #[test]
    fn output_arrives_and_success_is_success() {
        let (lines, verdict) = run(&Task::new("echo one two", 1));
        assert_eq!(lines, ["one two"]);
        assert_eq!(verdict, Ok(()));
    }

    #[test]
    fn the_environment_is_passed_on() {
        let (lines, _) = run(&Task::new("env", 1).with("GAGGLE_BACKEND", "threads"));
        assert!(lines.contains(&"GAGGLE_BACKEND=threads".to_string()));
    }

    #[test]
    fn output_that_is_read_slowly_is_read_to_its_end() {
        let task = Task::new("seq 2000", 1);
        let mut count = 0;
        let ending = task.run_with(Path::new("."), Duration::from_secs(1), &mut |_| {
            count += 1;
            if count % 200 == 0 {
                std::thread::sleep(Duration::from_millis(150));
            }
        });
        assert_eq!(task.verdict(ending.expect("it starts")), Ok(()));
        assert_eq!(count, 2000);
    }

    #[test]
    fn an_unexpected_status_is_a_failure() {
        assert!(run(&Task::new("false", 1)).1.is_err());
        assert!(run(&Task::new("true", 1).must_exit_with(3)).1.is_err());
        assert_eq!(run(&Task::new("false", 1).must_exit_with(1)).1, Ok(()));
    }

    #[test]
    fn a_command_whose_time_is_up_is_ended_with_its_children() {
        let mut task = Task::new("sh -c", 1);
        task.arguments
            .push("echo started; sleep 3600; true".to_string());
        task.time_max = Duration::from_millis(300);
        let (lines, verdict) = run(&task);
        assert_eq!(lines, ["started"]);
        assert_eq!(verdict, Err("not done after 0.3 s".to_string()));
    }
}

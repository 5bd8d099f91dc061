//! The child process that serves: started, asked for its metrics, killed, started again.

use super::Failure;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;
use ureq::Agent;

/// What is passed on to the child.
#[derive(Clone, Debug)]
pub(super) struct ChildOptions {
    pub(super) retry_base_ms: u64,
    /// `GAGGLE_BACKEND`, if it is to be another than the parent's.
    pub(super) backend: Option<&'static str>,
}

/// What the child's `/metrics` say, of all its lives.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    pub(super) goroutines: u64,
    pub(super) threads: u64,
    pub(super) resident_bytes: u64,
    pub(super) goroutines_peak: u64,
    pub(super) threads_peak: u64,
    pub(super) resident_peak_bytes: u64,
}

/// A running `courier serve`. It is killed when this is dropped.
pub(super) struct Server {
    child: Child,
    pub(super) address: SocketAddr,
    agent: Agent,
    /// The child stops when this is closed, so that it does not outlive a parent that was killed.
    _alive: Option<ChildStdin>,
}

impl Server {
    /// Starts a child on `address` and waits until it is ready. Blocks this goroutine.
    pub(super) fn start(
        database: &Path,
        address: SocketAddr,
        options: &ChildOptions,
    ) -> Result<Self, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["serve", "--allow-network", "127.0.0.0/8"])
            .arg("--listen")
            .arg(address.to_string())
            .arg("--database")
            .arg(database)
            .arg("--retry-base-ms")
            .arg(options.retry_base_ms.to_string())
            .arg("--stop-at-end-of-input")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        for (name, _) in std::env::vars_os() {
            // The demo says what the child does; the user's own settings are for another courier.
            if name.to_string_lossy().starts_with("COURIER_") {
                command.env_remove(name);
            }
        }
        if let Some(backend) = options.backend {
            command.env("GAGGLE_BACKEND", backend);
        }
        let mut child = command
            .spawn()
            .map_err(|error| format!("cannot start the child: {error}"))?;
        let alive = child.stdin.take();
        let address = ready(&mut child).inspect_err(|_| {
            let _ = child.kill();
            let _ = child.wait();
        })?;
        let agent = Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(10)))
            .proxy(None)
            .build()
            .new_agent();
        Ok(Self {
            child,
            address,
            agent,
            _alive: alive,
        })
    }

    /// Kills the child as `kill -9` does, and waits until it is gone.
    pub(super) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks the child for its metrics, and raises `usage` by them.
    pub(super) fn measure(&self, usage: &mut Usage) -> Result<(), Failure> {
        let text = self.get("/metrics")?;
        let value = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
                .and_then(|value| value.parse().ok())
                .unwrap_or(0_u64)
        };
        usage.goroutines = value("gaggle_goroutines");
        usage.threads = value("process_threads");
        usage.resident_bytes = value("process_resident_memory_bytes");
        let raise = |peak: &mut u64, name| *peak = (*peak).max(value(name));
        raise(&mut usage.goroutines_peak, "gaggle_goroutines_peak");
        raise(&mut usage.threads_peak, "process_threads_peak");
        raise(
            &mut usage.resident_peak_bytes,
            "process_resident_memory_peak_bytes",
        );
        Ok(())
    }

    /// The state of a delivery.
    pub(super) fn state(&self, delivery: &str) -> Result<String, Failure> {
        let text = self.get(&format!("/v1/deliveries/{delivery}"))?;
        let body: serde_json::Value = serde_json::from_str(&text)?;
        Ok(body["state"].as_str().unwrap_or_default().to_owned())
    }

    fn get(&self, path: &str) -> Result<String, Failure> {
        let url = format!("http://{}{path}", self.address);
        Ok(self.agent.get(&url).call()?.body_mut().read_to_string()?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn ready(child: &mut Child) -> Result<SocketAddr, Failure> {
    let output = child.stdout.take().ok_or("the child has no output")?;
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line)?;
    let address = line
        .trim()
        .strip_prefix("READY ")
        .ok_or("the child ended before it was ready")?;
    Ok(address.parse()?)
}

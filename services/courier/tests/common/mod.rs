//! A real `courier serve` as a child, and a client of its API.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;
use ureq::Agent;

/// A command that runs courier with no settings of the environment.
pub fn courier(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_courier"));
    command.args(arguments);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("COURIER_") {
            command.env_remove(name);
        }
    }
    command
}

/// Runs courier to its end.
pub fn output(arguments: &[&str]) -> Output {
    courier(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("courier can be run")
}

pub struct Serve {
    child: Child,
    pub address: SocketAddr,
    agent: Agent,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
    pub retry_after: Option<String>,
}

impl Answer {
    pub fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or_default()
    }
}

impl Serve {
    /// Starts courier on `address` with loopback allowed, and waits until it is ready.
    pub fn start(database: &Path, address: &str, arguments: &[&str]) -> Self {
        let mut command = courier(&["serve", "--allow-network", "127.0.0.0/8"]);
        command
            .args(["--listen", address, "--stop-at-end-of-input"])
            .arg("--database")
            .arg(database)
            .args(arguments);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("courier can be run");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("stdout is a pipe");
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("stdout can be read");
        let Some(address) = line.trim().strip_prefix("READY ") else {
            let mut error = String::new();
            let mut stderr = child.stderr.take().expect("stderr is a pipe");
            let _ = stderr.read_to_string(&mut error);
            panic!("courier did not start: {:?} {error}", child.wait());
        };
        let agent = Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(60)))
            .http_status_as_error(false)
            .proxy(None)
            .build()
            .new_agent();
        Self {
            address: address.parse().expect("READY names an address"),
            child,
            agent,
        }
    }

    pub fn post(&self, path: &str, key: Option<&str>, body: &[u8]) -> Result<Answer, ureq::Error> {
        let mut request = self.agent.post(format!("http://{}{path}", self.address));
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        answer(request.send(body)?)
    }

    pub fn get(&self, path: &str) -> Result<Answer, ureq::Error> {
        answer(
            self.agent
                .get(format!("http://{}{path}", self.address))
                .call()?,
        )
    }

    /// Creates an endpoint and answers its id.
    pub fn endpoint(&self, url: &str) -> String {
        let body = serde_json::json!({ "url": url }).to_string();
        let answer = self.post("/v1/endpoints", None, body.as_bytes()).unwrap();
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.body["id"].as_str().unwrap().to_owned()
    }

    /// One of the numbers of `/metrics`.
    pub fn metric(&self, name: &str) -> u64 {
        let page = self.get("/metrics").unwrap().body;
        let page = page.as_str().expect("the page is text").to_owned();
        page.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
            .unwrap_or_else(|| panic!("no {name} in {page}"))
    }

    /// As `kill -9`; waits until the process is gone.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
        let ended = waitid(
            WaitId::Pid(self.pid()),
            WaitIdOptions::EXITED | WaitIdOptions::NOWAIT,
        );
        ended.unwrap();
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Ends the child's standard input.
    pub fn close_input(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Waits for the end; answers the status code and what was said on standard error.
    pub fn wait(&mut self) -> (Option<i32>, String) {
        let mut error = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            stderr.read_to_string(&mut error).unwrap();
        }
        (self.child.wait().unwrap().code(), error)
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn answer(mut response: ureq::http::Response<ureq::Body>) -> Result<Answer, ureq::Error> {
    let retry_after = response.headers().get("retry-after");
    let retry_after = retry_after.map(|value| value.to_str().unwrap().to_owned());
    let text = response.body_mut().read_to_string()?;
    Ok(Answer {
        status: response.status().as_u16(),
        body: serde_json::from_str(&text).unwrap_or(Value::String(text)),
        retry_after,
    })
}

/// The body of a message.
pub fn message(endpoint: &str, key: &str, payload: &str) -> Vec<u8> {
    format!(
        r#"{{"endpoint":"{endpoint}","event_type":"test","ordering_key":"{key}","payload":{payload}}}"#
    )
    .into_bytes()
}

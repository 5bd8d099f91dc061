//! The gateway and the servers behind it as processes of their own: what is killed is killed, and memory is
//! the gateway's alone.

use crate::backend::{Running, listen};
use crate::proxy::{Backend, Gateway, Pool};
use crate::support::argument;
use crate::{Failure, context};
use gaggle_http::Server;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{self, Command, Stdio};
use std::time::Duration;

/// What this program is told to be.
pub const GATEWAY: &str = "--gateway";
pub const BACKEND: &str = "--backend";

/// A process of this program that serves; dropping it kills it.
pub struct Child {
    process: process::Child,
    output: BufReader<process::ChildStdout>,
    pub address: SocketAddr,
}

impl Child {
    /// A server at `address`, which answers its name.
    pub fn backend(address: SocketAddr, name: &str) -> Result<Child, Failure> {
        Child::start(&[BACKEND, &address.to_string(), name])
    }

    /// The gateway to `backends`, and to `echo`, which is sent what is for `/echo`; a request's head may take
    /// `head_time`.
    pub fn gateway(
        backends: [SocketAddr; 2],
        echo: SocketAddr,
        head_time: Duration,
    ) -> Result<Child, Failure> {
        let [first, second] = backends.map(|address| address.to_string());
        let seconds = head_time.as_secs().to_string();
        Child::start(&[GATEWAY, &first, &second, &echo.to_string(), &seconds])
    }

    fn start(arguments: &[&str]) -> Result<Child, Failure> {
        let mut process = Command::new(std::env::current_exe()?)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut output = BufReader::new(process.stdout.take().ok_or("the child has no output")?);
        let mut address = String::new();
        output.read_line(&mut address)?;
        Ok(Child {
            address: address.trim_end().parse()?,
            process,
            output,
        })
    }

    /// Ends it as the kernel ends a process, and waits until it has.
    pub fn kill(&mut self) -> Result<(), Failure> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// Lets it finish what is in flight; what it has said at last.
    pub fn stop(mut self) -> Result<String, Failure> {
        drop(self.process.stdin.take());
        let mut words = String::new();
        self.output.read_to_string(&mut words)?;
        match self.process.wait()? {
            status if status.success() => Ok(words),
            status => Err(format!("{words}: {status}").into()),
        }
    }

    /// How much memory it has now, in kilobytes.
    pub fn memory_kilobytes(&self) -> Result<u64, Failure> {
        let path = format!("/proc/{}/status", self.process.id());
        let status = std::fs::read_to_string(path)?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let figure = line.and_then(|rest| rest.split_whitespace().next());
        Ok(figure.ok_or("there is no such figure")?.parse()?)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // An error means that it has ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Serves as one of the servers, until it is killed or its input ends.
pub fn be_backend() -> Result<(), Failure> {
    let address: SocketAddr = argument(2, SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let name: String = argument(3, String::new())?;
    let running = Running::start(address, &name)?;
    println!("{}", running.address);
    until_input_ends()?;
    running.kill()
}

/// Serves as the gateway until its input ends.
pub fn be_gateway() -> Result<(), Failure> {
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    let backends = [argument(2, any_port)?, argument(3, any_port)?].map(Backend::new);
    let echo = Backend::new(argument(4, any_port)?);
    let head_time = Duration::from_secs(argument(5, 10)?);
    let gateway = Gateway::new([
        Pool::new("/echo", vec![echo]),
        Pool::new("/", backends.to_vec()),
    ]);
    let listener = listen(any_port)?;
    println!("{}", listener.local_addr()?);
    let (context, stop) = context::background().with_cancel();
    let serving = gaggle::go({
        let gateway = gateway.clone();
        let settings = Server::builder().header_read_timeout(head_time);
        move || gateway.serve(listener, &context, settings)
    });
    until_input_ends()?;
    stop.cancel();
    let stopped = serving.join().expect("the gateway does not panic")?;
    let [first, second] = backends.map(|backend| backend.answered());
    println!(
        "the servers answered {first} and {second} requests, {} were sent again, {} connections cut off",
        gateway.repeated(),
        stopped.aborted_connections
    );
    Ok(())
}

fn until_input_ends() -> std::io::Result<()> {
    std::io::stdin().read_to_end(&mut Vec::new()).map(drop)
}

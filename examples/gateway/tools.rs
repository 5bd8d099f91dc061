//! The gateway asked by clients that others wrote: wrk, and h2load over both versions of HTTP.

use crate::Failure;
use crate::children::Child;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

/// Asks by `connections` kept connections, each tool for so many seconds; fails when a request does.
pub fn run(connections: usize, seconds: usize) -> Result<(), Failure> {
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    let first = Child::backend(any_port, "first")?;
    let second = Child::backend(any_port, "second")?;
    let addresses = [first.address, second.address];
    let gateway = Child::gateway(addresses, second.address, Duration::from_secs(10))?;
    let url = format!("http://{}/work", gateway.address);
    let clients = connections.to_string();
    let time = seconds.to_string();

    let wrk = ["-t1", "-c", &clients, "-d", &time, "--latency", &url];
    if let Some(said) = said_by("wrk", "wrk", &wrk)? {
        // It names what went wrong, and only then.
        check(
            &said,
            !said.contains("Socket errors") && !said.contains("Non-2xx"),
        )?;
        print_lines("wrk", &said, &["Requests/sec", "99%", "requests in"]);
    }
    let count = (connections * 10).to_string();
    let kept = ["--h1", "-t1", "-c", &clients, "-n", &count, &url];
    h2load("h2load, HTTP/1.1", &kept)?;
    // A tenth of the connections, each with ten requests at a time.
    let tenth = connections.div_ceil(10).to_string();
    let streams = ["-t1", "-c", &tenth, "-m", "10", "-n", &count, &url];
    h2load("h2load, HTTP/2", &streams)?;
    // Far more connections than requests at a time: most are only kept.
    let many = (connections * 10).to_string();
    let steady = [
        "--h1", "-t1", "-c", &many, "--rps", "0.4", "-D", &time, &url,
    ];
    h2load("h2load, HTTP/1.1, few of them busy", &steady)?;
    print!("{}", gateway.stop()?);
    drop((first, second));
    Ok(())
}

fn h2load(name: &str, arguments: &[&str]) -> Result<(), Failure> {
    let Some(said) = said_by("h2load", "nghttp2-client", arguments)? else {
        return Ok(());
    };
    let line = said.lines().find(|line| line.starts_with("requests: "));
    let line = line.ok_or_else(|| format!("h2load counted nothing: {said}"))?;
    // "requests: 10 total, 10 started, 10 done, 10 succeeded, 0 failed, 0 errored, 0 timeout".
    let figure = |word: &str| {
        let part = line.split([',', ':']).find(|part| part.ends_with(word));
        part.and_then(|part| part.split_whitespace().next()?.parse::<u64>().ok())
    };
    let is_whole = figure("succeeded") > Some(0) && figure("succeeded") == figure("done");
    let lost = ["failed", "errored", "timeout"].map(figure);
    check(&said, is_whole && lost == [Some(0); 3])?;
    print_lines(
        name,
        &said,
        &["finished in", "requests: ", "time for request"],
    );
    Ok(())
}

fn check(said: &str, is_fine: bool) -> Result<(), Failure> {
    match is_fine {
        true => Ok(()),
        false => Err(format!("requests failed: {said}").into()),
    }
}

/// What a program printed; `None`: there is no such program.
fn said_by(program: &str, package: &str, arguments: &[&str]) -> Result<Option<String>, Failure> {
    let output = match Command::new(program).args(arguments).output() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            println!("SKIP: there is no {program}; on Debian: apt-get install {package}");
            return Ok(None);
        }
        other => other?,
    };
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    match output.status.success() {
        true => Ok(Some(said)),
        false => Err(format!(
            "{program}: {said}{}",
            String::from_utf8_lossy(&output.stderr)
        )
        .into()),
    }
}

fn print_lines(name: &str, said: &str, wanted: &[&str]) {
    println!("{name}:");
    let is_wanted = |line: &&str| wanted.iter().any(|words| line.contains(words));
    for line in said.lines().filter(is_wanted) {
        println!("  {}", line.trim());
    }
}

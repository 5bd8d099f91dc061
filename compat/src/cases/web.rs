//! HTTP: three clients, a server, and a client on tokio.

use crate::at_once::{Failure, at_once, expect_same, listen};
use crate::servers::address_of;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Two requests of each goroutine, each for a page of its own.
pub fn two_gets(
    count: usize,
    get: impl Fn(&str) -> Result<String, Failure> + Sync,
) -> Result<(), Failure> {
    let address = address_of("COMPAT_HTTP")?;
    at_once(count, |number| {
        for page in [number, number + count] {
            let body = get(&format!("http://{address}/{page}"))?;
            expect_same(body, page.to_string())?;
        }
        Ok(())
    })?;
    Ok(())
}

pub fn ureq(count: usize) -> Result<(), Failure> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .max_idle_connections(count)
        .max_idle_connections_per_host(count)
        .build()
        .into();
    two_gets(count, |url| {
        Ok(agent.get(url).call()?.body_mut().read_to_string()?)
    })
}

pub fn attohttpc(count: usize) -> Result<(), Failure> {
    two_gets(count, |url| Ok(attohttpc::get(url).send()?.text()?))
}

pub fn minreq(count: usize) -> Result<(), Failure> {
    two_gets(count, |url| {
        Ok(minreq::get(url).send()?.as_str()?.to_string())
    })
}

pub fn tiny_http(count: usize) -> Result<(), Failure> {
    let server = tiny_http::Server::from_listener(listen()?, None)?;
    let address = server.server_addr().to_ip().ok_or("no address")?;
    // Half answer, half ask.
    at_once(2 * count, |number| {
        if number < count {
            let request = server.recv()?;
            std::thread::sleep(Duration::from_millis(5));
            let body = request.url().trim_start_matches('/').to_string();
            return Ok(request.respond(tiny_http::Response::from_string(body))?);
        }
        let mut stream = TcpStream::connect(address)?;
        let head = format!("GET /{number} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let body = answer.rsplit("\r\n\r\n").next().unwrap_or_default();
        expect_same(body.to_string(), number.to_string())
    })?;
    Ok(())
}

pub fn tokio(count: usize) -> Result<(), Failure> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let address = address_of("COMPAT_HTTP")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    at_once(count, |number| {
        runtime.block_on(async {
            tokio::time::sleep(Duration::from_millis(5)).await;
            let mut stream = tokio::net::TcpStream::connect(&address).await?;
            let head = format!("GET /{number} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n");
            stream.write_all(head.as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            let body = answer.rsplit("\r\n\r\n").next().unwrap_or_default();
            expect_same(body.to_string(), number.to_string())
        })
    })?;
    Ok(())
}

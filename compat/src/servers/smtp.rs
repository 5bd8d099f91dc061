//! A mail server that takes every message and keeps none; to a message's end it answers the message's
//! size, so that a client can check what arrived.

use crate::at_once::{Failure, listen};
use std::net::SocketAddr;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

/// The server; it ends when this is dropped.
pub struct Smtp {
    /// Where it listens.
    pub address: SocketAddr,
    _runtime: Runtime,
}

impl Smtp {
    /// Starts it on a free port.
    pub fn start() -> Result<Smtp, Failure> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let listener = listen()?;
        listener.set_nonblocking(true)?;
        let entered = runtime.enter();
        let listener = TcpListener::from_std(listener)?;
        drop(entered);
        let address = listener.local_addr()?;
        runtime.spawn(accept(listener));
        Ok(Smtp {
            address,
            _runtime: runtime,
        })
    }
}

async fn accept(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            // A client that goes away in the middle is its own affair.
            let _ = serve(stream).await;
        });
    }
}

async fn serve(stream: TcpStream) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    stream.get_mut().write_all(b"220 sink\r\n").await?;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let verb = line
            .trim_end()
            .split([' ', ':'])
            .next()
            .unwrap_or("")
            .to_ascii_uppercase();
        let answer = match verb.as_str() {
            "EHLO" | "HELO" => "250 sink".to_string(),
            "QUIT" => {
                stream.get_mut().write_all(b"221 bye\r\n").await?;
                return Ok(());
            }
            "DATA" => {
                stream.get_mut().write_all(b"354 go on\r\n").await?;
                format!("250 {} bytes", message(&mut stream).await?)
            }
            "MAIL" | "RCPT" | "RSET" | "NOOP" => "250 yes".to_string(),
            _ => "502 what".to_string(),
        };
        stream
            .get_mut()
            .write_all(format!("{answer}\r\n").as_bytes())
            .await?;
    }
}

/// Reads a message to the line that is one dot; answers its size without that line and the dots that
/// were put before dots.
async fn message(stream: &mut BufReader<TcpStream>) -> std::io::Result<usize> {
    let mut bytes = 0;
    loop {
        let mut line = Vec::new();
        if stream.read_until(b'\n', &mut line).await? == 0 || line == b".\r\n" {
            return Ok(bytes);
        }
        bytes += line.strip_prefix(b".").unwrap_or(&line).len();
    }
}

//! A mail server that takes every message and keeps none; to a message's end it answers the message's
//! size, so that a client can check what arrived.

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// One connection.
pub async fn serve(stream: TcpStream) -> std::io::Result<()> {
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

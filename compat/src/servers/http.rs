//! An HTTP server that takes its time, for one connection.

use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// How long each answer takes: long enough that all the requests are in flight at once.
const DELAY: Duration = Duration::from_millis(20);

/// Requests without bodies, one after the other: all that the clients here send.
pub async fn serve(stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    loop {
        let (mut path, mut keep_alive) = (String::new(), true);
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            if path.is_empty() {
                path = line.split(' ').nth(1).unwrap_or("/").to_string();
            }
            keep_alive &= !line.eq_ignore_ascii_case("connection: close");
        }
        tokio::time::sleep(DELAY).await;
        let body = path.trim_start_matches('/');
        let connection = if keep_alive { "keep-alive" } else { "close" };
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: {connection}\r\n\r\n{body}",
            body.len()
        );
        stream.get_mut().write_all(answer.as_bytes()).await?;
        if !keep_alive {
            return stream.get_mut().shutdown().await;
        }
    }
}

//! WebSocket: both ends on goroutines.

use crate::at_once::{Failure, at_once, expect_same, listen};
use tungstenite::{Error, Message};

const MESSAGES: usize = 10;

pub fn tungstenite(count: usize) -> Result<(), Failure> {
    let listener = listen()?;
    let address = listener.local_addr()?;
    // Half echo, half speak.
    at_once(2 * count, |number| {
        if number < count {
            let (stream, _) = listener.accept()?;
            return echo(tungstenite::accept(stream)?);
        }
        let (mut socket, _) = tungstenite::connect(format!("ws://{address}/"))?;
        for message in 0..MESSAGES {
            let text = format!("{number}: {message}");
            socket.send(Message::text(text.as_str()))?;
            expect_same(socket.read()?.to_text()?.to_string(), text)?;
        }
        socket.close(None)?;
        loop {
            match socket.read() {
                Err(Error::ConnectionClosed) => return Ok(()),
                other => drop(other?),
            }
        }
    })?;
    Ok(())
}

fn echo(mut socket: tungstenite::WebSocket<std::net::TcpStream>) -> Result<(), Failure> {
    loop {
        match socket.read() {
            Ok(message) if message.is_text() => socket.send(message)?,
            Ok(_) => {}
            Err(Error::ConnectionClosed) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

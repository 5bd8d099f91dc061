//! A client's side: the connection and the greeting.

use crate::listener::{Stream, is_late};
use crate::websocket::Options;
use crate::websocket::machine::{Coat, Machine, Pipe, config};
use crate::websocket::message::WebSocketError;
use crate::websocket::socket::{Link, WebSocket};
use http::Uri;
use http::header::{HeaderValue, SEC_WEBSOCKET_PROTOCOL};
use std::error::Error;
use std::io::{self, ErrorKind, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};
use tungstenite::client::IntoClientRequest;
use tungstenite::handshake::HandshakeError;
use tungstenite::handshake::client::ClientHandshake;

fn refused(error: impl Into<Box<dyn Error + Send + Sync>>) -> WebSocketError {
    WebSocketError::Refused(error.into())
}

/// As [`WebSocket::connect`].
pub(crate) fn connect(url: &str, options: &Options) -> Result<WebSocket, WebSocketError> {
    let uri: Uri = url.parse().map_err(refused)?;
    let host = uri.host().ok_or_else(|| refused("the URL names no host"))?;
    let is_secure = match uri.scheme_str() {
        Some("ws") => false,
        Some("wss") => true,
        _ => return Err(refused("the URL is neither of ws nor of wss")),
    };
    let port = uri.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
    let mut coat = coat(is_secure, host, options)?;
    let mut request = (&uri).into_client_request().map_err(refused)?;
    if let Some(name) = &options.protocol {
        let name = HeaderValue::from_str(name).map_err(refused)?;
        request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, name);
    }
    let stream = Stream::Tcp(dial(
        host.trim_matches(['[', ']']),
        port,
        options.connect_timeout,
    )?);
    stream.set_nodelay()?;
    stream.set_write_timeout(Some(options.write_timeout))?;

    let deadline = Instant::now() + options.connect_timeout;
    let start = ClientHandshake::start(Pipe::default(), request, Some(config(options)));
    let mut outcome = start.map_err(refused)?.handshake();
    loop {
        match outcome {
            Ok((socket, _)) => {
                let machine = Machine::new(socket, coat);
                let context = WebSocket::no_context();
                return Ok(WebSocket::new(
                    Link::Client(stream),
                    machine,
                    context,
                    options,
                )?);
            }
            Err(HandshakeError::Failure(error)) => return Err(refused(error)),
            Err(HandshakeError::Interrupted(mut middle)) => {
                exchange(&stream, &mut coat, middle.get_mut().get_mut(), deadline)?;
                outcome = middle.handshake();
            }
        }
    }
}

#[cfg(feature = "tls")]
fn coat(is_secure: bool, host: &str, options: &Options) -> Result<Coat, WebSocketError> {
    if !is_secure {
        return Ok(Coat::default());
    }
    let config = options
        .tls
        .clone()
        .ok_or_else(|| refused("wss needs to know whom to trust: `Options::tls`"))?;
    let name = host.trim_matches(['[', ']']).to_owned();
    let name = rustls::pki_types::ServerName::try_from(name).map_err(refused)?;
    let tls = rustls::ClientConnection::new(config, name).map_err(refused)?;
    Ok(Coat {
        tls: Some(Box::new(tls.into())),
    })
}

#[cfg(not(feature = "tls"))]
fn coat(is_secure: bool, _: &str, _: &Options) -> Result<Coat, WebSocketError> {
    if is_secure {
        return Err(refused("wss needs the feature `tls`"));
    }
    Ok(Coat::default())
}

/// Tries the addresses of `host` in turn.
fn dial(host: &str, port: u16, time: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::new(ErrorKind::NotFound, "the host has no address");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, time) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Writes what there is to write, and reads once.
fn exchange(
    mut stream: &Stream,
    coat: &mut Coat,
    pipe: &mut Pipe,
    deadline: Instant,
) -> Result<(), WebSocketError> {
    let bytes = coat.take_out(pipe)?;
    stream.write_all(&bytes)?;
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(WebSocketError::Lost(ErrorKind::TimedOut.into()));
    }
    let mut room = [0; 4096];
    match stream.read_within(Some(left), &mut room) {
        Ok(count) => Ok(coat.feed(&room[..count], pipe)?),
        Err(error) if is_late(&error) => Err(WebSocketError::Lost(ErrorKind::TimedOut.into())),
        Err(error) => Err(error.into()),
    }
}

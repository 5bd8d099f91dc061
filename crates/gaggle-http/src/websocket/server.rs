//! A server's side: the greeting, and who goes on with the connection.

use crate::transport::Transport;
use crate::upgrade::{Upgraded, on_upgrade};
use crate::websocket::Options;
use crate::websocket::machine::{Coat, Machine};
use crate::websocket::socket::{Link, WebSocket};
use bytes::Bytes;
use http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use std::io;
use tungstenite::handshake::derive_accept_key;

/// Makes a WebSocket of the connection that `request` came on: answers the response to send, after which `f`
/// is called with it, on the connection's goroutine. When `f` returns, the connection is closed.
///
/// A request that does not ask for a WebSocket as RFC 6455 has it is answered by 400 or 426, and `f` is
/// dropped. Browsers let any page open connections in a visitor's name: where cookies say who that is, look
/// at the request's `Origin` first.
///
/// A server that is being stopped ends [`WebSocket::recv`] with code 1001.
///
/// # Examples
/// See [the module](crate::websocket). In axum, whose bodies are of another type:
/// ```
/// use axum::body::Body;
/// use axum::extract::Request;
/// use axum::response::Response;
/// use gaggle_http::websocket::{self, Options};
///
/// async fn count(request: Request) -> Response {
///     let response = websocket::accept(&request, Options::default(), |socket| {
///         for number in 0.. {
///             if socket.send(number.to_string()).is_err() {
///                 break;
///             }
///         }
///     });
///     response.map(Body::from)
/// }
/// # let _: axum::Router = axum::Router::new().route("/", axum::routing::get(count));
/// ```
pub fn accept<B>(
    request: &Request<B>,
    options: Options,
    f: impl FnOnce(WebSocket) + Send + 'static,
) -> Response<Bytes> {
    let key = match greeting(request) {
        Ok(key) => key,
        Err(status) => return refusal(status),
    };
    let Ok(accept_key) = HeaderValue::from_str(&derive_accept_key(key.as_bytes())) else {
        return refusal(StatusCode::BAD_REQUEST);
    };
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept_key);
    if let Some(name) = options.protocol.as_deref()
        && lists(request.headers(), SEC_WEBSOCKET_PROTOCOL, name)
        && let Ok(name) = HeaderValue::from_str(name)
    {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, name);
    }
    on_upgrade(&mut response, move |upgraded| {
        // An error means that the peer has gone.
        if let Ok(socket) = open(upgraded, &options) {
            f(socket.clone());
            socket.finish();
        }
    });
    response
}

/// The key of a request that asks for a WebSocket.
fn greeting<B>(request: &Request<B>) -> Result<&HeaderValue, StatusCode> {
    let headers = request.headers();
    let asks = request.method() == Method::GET
        && lists(headers, CONNECTION, "upgrade")
        && lists(headers, UPGRADE, "websocket");
    let key = headers.get(SEC_WEBSOCKET_KEY);
    let (true, Some(key)) = (asks, key) else {
        return Err(StatusCode::BAD_REQUEST);
    };
    match headers.get(SEC_WEBSOCKET_VERSION) {
        Some(version) if version == "13" => Ok(key),
        _ => Err(StatusCode::UPGRADE_REQUIRED),
    }
}

/// Whether a header's list has `word` in it.
fn lists(headers: &HeaderMap, name: HeaderName, word: &str) -> bool {
    let mut values = headers.get_all(name).iter();
    values.any(|value| {
        let text = value.to_str().unwrap_or_default();
        text.split(',')
            .any(|item| item.trim().eq_ignore_ascii_case(word))
    })
}

fn refusal(status: StatusCode) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from_static(b"this is a WebSocket's address\n"));
    *response.status_mut() = status;
    let version = HeaderValue::from_static("13");
    response
        .headers_mut()
        .insert(SEC_WEBSOCKET_VERSION, version);
    response
}

fn open(upgraded: Upgraded, options: &Options) -> io::Result<WebSocket> {
    let (connection, transport, first, context) = upgraded.into_parts();
    let coat = match transport {
        Transport::Plain => Coat::default(),
        #[cfg(feature = "tls")]
        Transport::Tls(tls) => Coat {
            tls: Some(Box::new(tls.into_inner().into())),
        },
    };
    let machine = Machine::of_server(coat, &first, options);
    WebSocket::new(Link::Server(connection), machine, context, options)
}

//! A server behind the gateway, in this process.

use crate::Failure;
use bytes::Bytes;
use gaggle::context;
use gaggle_http::{Server, Stopped};
use http::{Request, Response};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::thread::sleep;
use std::time::Duration;

/// A server that runs until it is killed.
pub struct Running {
    pub address: SocketAddr,
    kill: context::Cancel,
    server: gaggle::JoinHandle<std::io::Result<Stopped>>,
}

impl Running {
    /// Starts one at `address`; each answer takes some milliseconds.
    pub fn start(address: SocketAddr, name: &str) -> std::io::Result<Running> {
        let listener = listen(address)?;
        let address = listener.local_addr()?;
        let (context, kill) = context::background().with_cancel();
        let server = Server::builder()
            .drain_timeout(Duration::ZERO)
            .body_bytes_max(usize::MAX)
            .build();
        let name = Bytes::copy_from_slice(name.as_bytes());
        let service = tower::service_fn(move |request: Request<Incoming>| {
            let name = name.clone();
            async move { Ok::<_, Infallible>(answer(request, name)) }
        });
        Ok(Running {
            address,
            kill,
            server: gaggle::go(move || server.serve_service(listener, &context, service)),
        })
    }

    /// Cuts off what is in flight and ends.
    pub fn kill(self) -> Result<(), Failure> {
        self.kill.cancel();
        self.server.join().expect("the server does not panic")?;
        Ok(())
    }
}

/// What it answers: its name, after some milliseconds.
fn answer(request: Request<Incoming>, name: Bytes) -> Response<Either<Incoming, Full<Bytes>>> {
    match request.uri().path() {
        // As it comes.
        "/echo" => Response::new(Either::Left(request.into_body())),
        "/health" => Response::new(Either::Right(Full::new(Bytes::from_static(b"fine")))),
        _ => {
            // Blocking its goroutine, as a query would.
            sleep(Duration::from_millis(5));
            Response::new(Either::Right(Full::new(name)))
        }
    }
}

/// A listener, also at an address that was in use a moment ago.
pub fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    Ok(socket.into())
}

//! A gRPC server: tonic's health service, served by gaggle-http.

use crate::at_once::{Failure, listen};
use gaggle::context::{Cancel, background};
use gaggle_http::Server;
use std::net::SocketAddr;
use tonic_health::ServingStatus;

/// The server; it ends when this is dropped.
pub struct Grpc {
    /// Where it listens.
    pub address: SocketAddr,
    _stop: Cancel,
}

impl Grpc {
    /// Starts it on a free port. Its service `even` is well, and `odd` is not.
    ///
    /// # Errors
    /// What the operating system refuses.
    pub fn start() -> Result<Grpc, Failure> {
        let (reporter, service) = tonic_health::server::health_reporter();
        gaggle::block_on(async {
            let statuses = [
                ("even", ServingStatus::Serving),
                ("odd", ServingStatus::NotServing),
            ];
            for (name, status) in statuses {
                reporter.set_service_status(name, status).await;
            }
        });
        let listener = listen()?;
        let address = listener.local_addr()?;
        let (context, stop) = background().with_cancel();
        // The reporter stays: without it the statuses would go.
        drop(gaggle::go(move || {
            let ended = Server::default().serve_service(listener, &context, service);
            drop(reporter);
            ended.map(drop)
        }));
        Ok(Grpc {
            address,
            _stop: stop,
        })
    }
}

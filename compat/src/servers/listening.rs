//! What the servers on tokio have in common: they share nothing with what is tried.

use crate::at_once::{Failure, listen};
use std::net::SocketAddr;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

/// A server; it ends when this is dropped.
pub struct Listening {
    /// Where it listens.
    pub address: SocketAddr,
    _runtime: Runtime,
}

impl Listening {
    /// Starts one on a free port that serves each connection by `serve`.
    ///
    /// # Errors
    /// What the operating system refuses.
    pub fn start<S>(serve: fn(TcpStream) -> S) -> Result<Listening, Failure>
    where
        S: Future<Output = std::io::Result<()>> + Send + 'static,
    {
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
        runtime.spawn(accept(listener, serve));
        Ok(Listening {
            address,
            _runtime: runtime,
        })
    }
}

async fn accept<S>(listener: TcpListener, serve: fn(TcpStream) -> S)
where
    S: Future<Output = std::io::Result<()>> + Send + 'static,
{
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            // A client that goes away in the middle is its own affair.
            let _ = serve(stream).await;
        });
    }
}

//! What the crates talk to.

mod grpc;
mod http;
mod listening;
mod postgres;
mod redis;
mod smtp;

use crate::at_once::Failure;
use listening::Listening;
use postgres::Postgres;

/// A kind of server that a crate needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// gRPC's health service, with the services `even` and `odd`.
    Grpc,
    /// HTTP/1.1: `/N` answers `N` after 20 ms.
    Http,
    /// PostgreSQL, without a password.
    Postgres,
    /// Redis.
    Redis,
    /// A mail server that keeps nothing.
    Smtp,
}

/// Those that were needed; they end when this is dropped.
pub struct Servers {
    environment: Vec<(&'static str, String)>,
    _grpc: Option<grpc::Grpc>,
    _http: Option<Listening>,
    _smtp: Option<Listening>,
    _postgres: Option<Postgres>,
    _redis: Option<redis::Redis>,
}

impl Servers {
    /// Starts what is needed.
    ///
    /// # Errors
    /// When a program is missing or does not start; the sentence says what to install.
    pub fn start(needed: &[Need]) -> Result<Servers, Failure> {
        let is_needed = |need| needed.contains(&need);
        let mut servers = Servers {
            environment: Vec::new(),
            _grpc: None,
            _http: None,
            _smtp: None,
            _postgres: None,
            _redis: None,
        };
        if is_needed(Need::Grpc) {
            let grpc = grpc::Grpc::start()?;
            servers
                .environment
                .push(("COMPAT_GRPC", grpc.address.to_string()));
            servers._grpc = Some(grpc);
        }
        if is_needed(Need::Http) {
            let http = Listening::start(http::serve)?;
            servers
                .environment
                .push(("COMPAT_HTTP", http.address.to_string()));
            servers._http = Some(http);
        }
        if is_needed(Need::Smtp) {
            let smtp = Listening::start(smtp::serve)?;
            servers
                .environment
                .push(("COMPAT_SMTP", smtp.address.to_string()));
            servers._smtp = Some(smtp);
        }
        if is_needed(Need::Postgres) {
            let server = Postgres::start(&["max_connections=150"])?;
            let server = server.ok_or(postgres::HOW_TO_INSTALL)?;
            servers.environment.push(("COMPAT_POSTGRES", server.url()));
            servers._postgres = Some(server);
        }
        if is_needed(Need::Redis) {
            let server = redis::Redis::start()?;
            servers.environment.push(("COMPAT_REDIS", server.url()));
            servers._redis = Some(server);
        }
        Ok(servers)
    }

    /// Where they are, for the process that tries a crate.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        self.environment.clone()
    }
}

/// Where a server is, in the process that tries a crate.
///
/// # Errors
/// When the case did not say that it needs one.
pub fn address_of(name: &str) -> Result<String, Failure> {
    std::env::var(name).map_err(|_| format!("{name} is not set").into())
}

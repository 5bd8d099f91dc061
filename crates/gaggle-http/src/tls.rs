//! TLS for servers and clients, by [rustls] with the ring provider: a C compiler is all that it needs.

pub use rustls;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// Why there is no configuration.
#[derive(Debug)]
pub struct TlsError(Box<dyn Error + Send + Sync>);

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no TLS: {}", self.0)
    }
}

impl Error for TlsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}

fn failed(error: impl Into<Box<dyn Error + Send + Sync>>) -> TlsError {
    TlsError(error.into())
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let all = all.map_err(failed)?;
    if all.is_empty() {
        return Err(failed("the file holds no certificate"));
    }
    Ok(all)
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The configuration of a server with this chain of certificates, its own first, and its private key, as PEM
/// files hold them. TLS 1.2 and 1.3; clients show no certificate.
///
/// # Errors
/// When the text holds none, or they do not belong together.
///
/// # Examples
/// ```no_run
/// use gaggle_http::{Server, tls};
///
/// let config = tls::server_config(&std::fs::read("chain.pem")?, &std::fs::read("key.pem")?)?;
/// let server = Server::builder().tls(config).build();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn server_config(chain_pem: &[u8], key_pem: &[u8]) -> Result<Arc<ServerConfig>, TlsError> {
    let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(failed)?;
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(failed)?
        .with_no_client_auth()
        .with_single_cert(certificates(chain_pem)?, key)
        .map_err(failed)?;
    Ok(Arc::new(config))
}

/// The configuration of a client that trusts these certificate authorities, as a PEM file holds them.
///
/// # Errors
/// When the text holds none, or one that cannot be understood.
///
/// # Examples
/// ```no_run
/// let config = gaggle_http::tls::client_config(&std::fs::read("/etc/ssl/certs/ca-certificates.crt")?)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn client_config(authorities_pem: &[u8]) -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(authorities_pem)? {
        roots.add(certificate).map_err(failed)?;
    }
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(failed)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

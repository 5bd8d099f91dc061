//! What a URL says of TLS, and the connections that come of it.
//!
//! - T1: with TLS, the server's certificate is always verified, up to a trusted root and for the host's
//!   name: there is no mode that encrypts to whoever answers.

use super::wire::Link;
use crate::error::Error;
use std::path::PathBuf;
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::MakeTlsConnect;

#[cfg(feature = "tls")]
pub(super) type Tls = tokio_postgres_rustls::MakeRustlsConnect;
#[cfg(not(feature = "tls"))]
pub(super) type Tls = tokio_postgres::NoTls;

pub(super) type TlsStream = <Tls as MakeTlsConnect<Link>>::Stream;

/// Takes what libpq knows and tokio-postgres does not out of a URL: `sslrootcert`, the file of the roots to
/// trust; and `sslmode=verify-full` and `verify-ca`, which are the same as `require` (T1).
pub(super) fn take_roots(url: &str) -> Result<(String, Option<PathBuf>), Error> {
    let Some((head, query)) = url.split_once('?') else {
        return Ok((url.to_string(), None));
    };
    let mut roots = None;
    let mut kept = Vec::new();
    for parameter in query.split('&') {
        match parameter.split_once('=') {
            Some(("sslrootcert", path)) => roots = Some(decoded(path)?.into()),
            Some(("sslmode", "verify-full" | "verify-ca")) => kept.push("sslmode=require"),
            _ => kept.push(parameter),
        }
    }
    let question = if kept.is_empty() { "" } else { "?" };
    Ok((format!("{head}{question}{}", kept.join("&")), roots))
}

/// Undoes percent-encoding.
fn decoded(text: &str) -> Result<String, Error> {
    let wrong = || Error::Usage(format!("the path {text:?} in the URL is no text"));
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = tail.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let byte = digits.and_then(|two| u8::from_str_radix(two, 16).ok());
        bytes.push(byte.ok_or_else(wrong)?);
        rest = &tail[2..];
    }
    String::from_utf8(bytes).map_err(|_| wrong())
}

#[cfg(feature = "tls")]
pub(super) fn tls(_: SslMode, file: Option<PathBuf>) -> Result<Tls, Error> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    use std::sync::Arc;

    let mut roots = rustls::RootCertStore::empty();
    match &file {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(path) => {
            let unreadable = |error: &dyn std::fmt::Display| {
                Error::Usage(format!("the root certificates in {path:?}: {error}"))
            };
            let certificates =
                CertificateDer::pem_file_iter(path).map_err(|error| unreadable(&error))?;
            for certificate in certificates {
                let certificate = certificate.map_err(|error| unreadable(&error))?;
                roots.add(certificate).map_err(|error| unreadable(&error))?;
            }
            if roots.is_empty() {
                return Err(unreadable(&"there is none"));
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Connect(error.to_string()))?;
    Ok(Tls::new(
        config.with_root_certificates(roots).with_no_client_auth(),
    ))
}

#[cfg(not(feature = "tls"))]
pub(super) fn tls(mode: SslMode, file: Option<PathBuf>) -> Result<Tls, Error> {
    if mode == SslMode::Require || file.is_some() {
        let what = "the URL asks for TLS, which gaggle-sql's feature `tls` adds";
        return Err(Error::Usage(what.to_string()));
    }
    Ok(tokio_postgres::NoTls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_of_tls_are_taken_out_of_a_url() {
        let (url, roots) = take_roots(
            "postgres://goose@pond/db?sslrootcert=%2Fetc%2Fown%20root.pem&connect_timeout=3&sslmode=verify-full",
        )
        .expect("it is well-formed");
        assert_eq!(
            url,
            "postgres://goose@pond/db?connect_timeout=3&sslmode=require"
        );
        assert_eq!(roots, Some("/etc/own root.pem".into()));

        let (url, _) = take_roots("postgres://pond/db?sslrootcert=a.pem").expect("well-formed");
        assert_eq!(url, "postgres://pond/db");
        let untouched = "postgres://pond/db?sslmode=prefer".to_string();
        let taken = take_roots(&untouched).expect("well-formed");
        assert_eq!(taken, (untouched, None));
        for wrong in ["%2", "%zz", "%ff"] {
            assert!(take_roots(&format!("postgres://pond/db?sslrootcert={wrong}")).is_err());
        }
    }
}

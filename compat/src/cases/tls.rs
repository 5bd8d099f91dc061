//! TLS: a server on rustls in a goroutine for each client, and three clients.

use crate::at_once::{Failure, at_once, expect_same, listen};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

const BYTES: usize = 64 * 1024;

/// A key, and a certificate for `localhost` that is signed with it.
fn identity() -> Result<rcgen::CertifiedKey<rcgen::KeyPair>, Failure> {
    Ok(rcgen::generate_simple_self_signed([
        "localhost".to_string()
    ])?)
}

fn server_config(identity: &rcgen::CertifiedKey<rcgen::KeyPair>) -> Result<ServerConfig, Failure> {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(
        identity.signing_key.serialize_der(),
    ));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(config
        .with_no_client_auth()
        .with_single_cert(vec![identity.cert.der().clone()], key)?)
}

fn serve(stream: TcpStream, config: Arc<ServerConfig>) -> Result<(), Failure> {
    let mut stream = StreamOwned::new(ServerConnection::new(config)?, stream);
    let mut bytes = vec![0; BYTES];
    stream.read_exact(&mut bytes)?;
    bytes.reverse();
    stream.write_all(&bytes)?;
    stream.conn.send_close_notify();
    stream.flush()?;
    Ok(())
}

fn ask(mut stream: impl Read + Write, number: usize) -> Result<(), Failure> {
    let mut bytes: Vec<u8> = (0..BYTES)
        .map(|index| ((index / 7) ^ number) as u8)
        .collect();
    stream.write_all(&bytes)?;
    stream.flush()?;
    let mut answer = vec![0; BYTES];
    stream.read_exact(&mut answer)?;
    bytes.reverse();
    expect_same(answer == bytes, true)
}

/// Half serve, half ask by a stream that `connect` makes.
fn both_ends<S: Read + Write>(
    count: usize,
    identity: &rcgen::CertifiedKey<rcgen::KeyPair>,
    connect: impl Fn(TcpStream) -> Result<S, Failure> + Sync,
) -> Result<(), Failure> {
    let config = Arc::new(server_config(identity)?);
    let listener = listen()?;
    let address = listener.local_addr()?;
    at_once(2 * count, |number| {
        if number < count {
            let (stream, _) = listener.accept()?;
            return serve(stream, Arc::clone(&config));
        }
        ask(connect(TcpStream::connect(address)?)?, number)
    })?;
    Ok(())
}

pub fn rustls(count: usize) -> Result<(), Failure> {
    let identity = identity()?;
    let mut roots = RootCertStore::empty();
    roots.add(identity.cert.der().clone())?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
    let name = ServerName::try_from("localhost")?;
    both_ends(count, &identity, |stream| {
        let connection = ClientConnection::new(Arc::clone(&config), name.clone())?;
        Ok(StreamOwned::new(connection, stream))
    })
}

pub fn native_tls(count: usize) -> Result<(), Failure> {
    let identity = identity()?;
    let root = native_tls::Certificate::from_pem(identity.cert.pem().as_bytes())?;
    let connector = native_tls::TlsConnector::builder()
        .disable_built_in_roots(true)
        .add_root_certificate(root)
        .build()?;
    both_ends(count, &identity, |stream| {
        Ok(connector.connect("localhost", stream)?)
    })
}

pub fn openssl(count: usize) -> Result<(), Failure> {
    use openssl::ssl::{SslConnector, SslMethod};
    let identity = identity()?;
    let mut builder = SslConnector::builder(SslMethod::tls_client())?;
    let root = openssl::x509::X509::from_pem(identity.cert.pem().as_bytes())?;
    builder.cert_store_mut().add_cert(root)?;
    let connector = builder.build();
    both_ends(count, &identity, |stream| {
        Ok(connector.connect("localhost", stream)?)
    })
}

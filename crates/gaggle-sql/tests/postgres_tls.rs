//! TLS to a real PostgreSQL, whose certificate the tests make.

mod support;

use gaggle::context::background;
use gaggle_sql::{Error, Pool};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use support::server::{self, Postgres};

/// A root that signs certificates.
struct Root {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

fn root(name: &str) -> Root {
    let key = KeyPair::generate().expect("a key");
    let mut parameters = CertificateParams::new(Vec::new()).expect("parameters");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters
        .distinguished_name
        .push(DnType::CommonName, name.to_string());
    let pem = parameters.self_signed(&key).expect("a certificate").pem();
    let issuer = Issuer::new(parameters, key);
    Root { issuer, pem }
}

/// A server with a certificate for one name, the root that has signed it, and another root.
struct Secured {
    server: Postgres,
    right: PathBuf,
    wrong: PathBuf,
    _folder: tempfile::TempDir,
}

impl Secured {
    /// `None`: there is no PostgreSQL here.
    fn start(name: &str) -> Option<Secured> {
        let folder = tempfile::tempdir().expect("a folder");
        let public = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(folder.path(), public).expect("it is ours");
        let write = |file: &str, text: &str| {
            let path = folder.path().join(file);
            std::fs::write(&path, text).expect("there is room");
            path
        };
        let (trusted, other) = (root("pond"), root("another pond"));
        let key = KeyPair::generate().expect("a key");
        let certificate = CertificateParams::new(vec![name.to_string()])
            .and_then(|parameters| parameters.signed_by(&key, &trusted.issuer))
            .expect("a certificate");
        let certificate = write("server.pem", &certificate.pem());
        let key = write("server.key", &key.serialize_pem());
        // The server refuses a key that others can read.
        own(&key);
        let settings = [
            "ssl=on".to_string(),
            format!("ssl_cert_file={}", certificate.display()),
            format!("ssl_key_file={}", key.display()),
        ];
        let started = Postgres::start(&settings.each_ref().map(String::as_str));
        let Some(server) = started.expect("PostgreSQL starts") else {
            println!("SKIP: {}", server::HOW_TO_INSTALL);
            return None;
        };
        Some(Secured {
            server,
            right: write("right.pem", &trusted.pem),
            wrong: write("wrong.pem", &other.pem),
            _folder: folder,
        })
    }

    fn url(&self, parameters: &str) -> String {
        format!("{}?{parameters}", self.server.url())
    }

    /// A pool that trusts the roots in that file.
    fn pool(&self, mode: &str, roots: &Path) -> Pool {
        let roots = roots.display();
        let url = self.url(&format!("sslmode={mode}&sslrootcert={roots}"));
        Pool::open(&url).expect("a pool")
    }
}

fn own(key: &Path) {
    std::fs::set_permissions(key, std::fs::Permissions::from_mode(0o600)).expect("it is ours");
    if let Some((user, group)) = server::user_for_postgres().expect("the user is there") {
        chown(key, Some(user), Some(group)).expect("we are root");
    }
}

/// Whether the connection is encrypted, as the server sees it.
fn is_encrypted(pool: &Pool) -> bool {
    let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let row = pool.query_one(&background(), sql, &[]).expect("a row");
    row.get(0).expect("a truth")
}

fn refusal(pool: &Pool) -> String {
    match pool.ping(&background()).expect_err("it is refused") {
        Error::Connect(why) => why,
        error => panic!("{error:?}"),
    }
}

#[gaggle::test]
fn the_right_root_is_trusted_and_any_other_refused() {
    let Some(secured) = Secured::start("127.0.0.1") else {
        return;
    };
    for mode in ["prefer", "require", "verify-ca", "verify-full"] {
        assert!(is_encrypted(&secured.pool(mode, &secured.right)), "{mode}");
        let why = refusal(&secured.pool(mode, &secured.wrong));
        assert!(why.contains("UnknownIssuer"), "{mode}: {why}");
    }
    // Mozilla's roots have not signed it either.
    let why = refusal(&Pool::open(&secured.url("sslmode=require")).expect("a pool"));
    assert!(why.contains("UnknownIssuer"), "{why}");
    let plain = Pool::open(&secured.url("sslmode=disable")).expect("a pool");
    assert!(!is_encrypted(&plain));
    // libpq has none on Unix sockets, whatever the mode.
    let (folder, port) = (secured.server.socket_folder(), secured.server.port());
    let folder = folder.display().to_string().replace('/', "%2F");
    let local = format!("postgres://gaggle@{folder}:{port}/postgres?sslmode=require");
    assert!(!is_encrypted(&Pool::open(&local).expect("a pool")));
}

#[gaggle::test]
fn a_certificate_for_another_name_is_refused() {
    let Some(secured) = Secured::start("pond.example") else {
        return;
    };
    for mode in ["prefer", "verify-ca", "verify-full"] {
        let why = refusal(&secured.pool(mode, &secured.right));
        assert!(why.contains("not valid for name"), "{mode}: {why}");
    }
}

#[gaggle::test]
fn a_server_without_tls_is_refused_where_tls_is_required() {
    let Some(server) = support::postgres() else {
        return;
    };
    for mode in ["require", "verify-full"] {
        let pool = Pool::open(&format!("{}?sslmode={mode}", server.url())).expect("a pool");
        let why = refusal(&pool);
        assert!(why.contains("does not support TLS"), "{mode}: {why}");
    }
    assert!(!is_encrypted(&Pool::open(&server.url()).expect("a pool")));
}

#[gaggle::test]
fn a_query_over_tls_is_cancelled_and_its_connection_stays() {
    let Some(secured) = Secured::start("127.0.0.1") else {
        return;
    };
    let pool = secured.pool("require", &secured.right);
    pool.set_max_open(1);
    let monitor = secured.pool("require", &secured.right);
    let running = |expected: i64| {
        let sql = "SELECT count(*) FROM pg_stat_activity
                   WHERE state = 'active' AND query LIKE '%pg_sleep(303)%' AND pid <> pg_backend_pid()";
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let row = monitor.query_one(&background(), sql, &[]).expect("a row");
            if row.get::<i64>(0).expect("a number") == expected {
                return;
            }
            assert!(Instant::now() < deadline, "never {expected}");
            gaggle::time::sleep(Duration::from_millis(1));
        }
    };
    for _ in 0..5 {
        let (context, cancel) = background().with_cancel();
        let query = {
            let pool = pool.clone();
            gaggle::go(move || pool.query(&context, "SELECT pg_sleep(303)", &[]))
        };
        running(1);
        cancel.cancel();
        let error = query.join().expect("no panic").unwrap_err();
        assert!(matches!(error, Error::Context(_)), "{error}");
        running(0);
    }
    // Larger than what is read at once, and than what TLS puts into one record.
    let sql = "SELECT repeat('goose', 100000)";
    let row = pool.query_one(&background(), sql, &[]).expect("a row");
    assert_eq!(
        row.get::<String>(0).expect("a text"),
        "goose".repeat(100_000)
    );
    assert!(is_encrypted(&pool));
    let figures = pool.stats();
    assert_eq!((figures.open, figures.closed_broken), (1, 0), "{figures:?}");
}

#[gaggle::test]
fn a_server_that_says_nothing_is_given_up() {
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
    let port = silent.local_addr().expect("an address").port();
    let url = format!("postgres://goose@127.0.0.1:{port}/pond?sslmode=require");
    let pool = Pool::builder()
        .connect_timeout(Duration::from_millis(50))
        .open(&url)
        .expect("a pool");
    assert!(matches!(pool.ping(&background()), Err(Error::Connect(_))));
    assert_eq!(pool.stats().open, 0);
}

#[test]
fn roots_that_cannot_be_read_are_said_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "").expect("there is room");
    for path in [&empty, &folder.path().join("absent.pem")] {
        let url = format!("postgres://goose@pond/db?sslrootcert={}", path.display());
        let error = Pool::open(&url).unwrap_err();
        assert!(matches!(error, Error::Usage(_)), "{error}");
        assert!(
            error.to_string().contains(&*path.to_string_lossy()),
            "{error}"
        );
    }
}

#[test]
fn an_unknown_mode_is_refused() {
    assert!(Pool::open("postgres://goose@pond/db?sslmode=maybe").is_err());
}

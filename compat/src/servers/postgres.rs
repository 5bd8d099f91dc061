//! A real PostgreSQL for tests: a cluster of its own in a temporary folder, on a free port.
//!
//! It needs the programs `initdb` and `postgres`, in the PATH or where Debian puts them, and nothing that
//! runs already. PostgreSQL refuses to run as root; then it runs as the user `postgres`, whom Debian's
//! package makes.
//!
//! - P1: the server ends with the process that started it, however that ends: a shell between the two
//!   waits for the end of its standard input, whose other end this process holds.

#![allow(dead_code)] // Each test that includes this file uses a part of it.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take to begin or to end, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(60);

/// What to install where PostgreSQL is missing.
pub const HOW_TO_INSTALL: &str =
    "no PostgreSQL found; Debian's package `postgresql` has it (apt-get install postgresql)";

/// A program that ends with this process (P1).
pub struct Daemon {
    shell: Child,
}

impl Daemon {
    /// Starts `program`, which is told to end by the signal of that name.
    pub fn start(
        program: &Path,
        arguments: &[String],
        signal: &str,
        user: Option<(u32, u32)>,
        log: &Path,
    ) -> io::Result<Daemon> {
        let script = format!(
            "\"$@\" </dev/null & child=$!; cat >/dev/null; kill -{signal} $child 2>/dev/null; wait $child"
        );
        let output = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)?;
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", &script, "sh"])
            .arg(program)
            .args(arguments);
        command
            .stdin(Stdio::piped())
            .stdout(output.try_clone()?)
            .stderr(output);
        // Ctrl-C at a terminal is for this process, which then ends the server in order.
        command.process_group(0).current_dir("/");
        if let Some((user, group)) = user {
            command.uid(user).gid(group);
        }
        Ok(Daemon {
            shell: command.spawn()?,
        })
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.shell.try_wait(), Ok(None))
    }

    /// Ends it, and waits until it has ended.
    pub fn stop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A port of this machine that was free a moment ago.
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Waits until somebody listens on `port`.
pub fn await_port(port: u16, daemon: &mut Daemon, log: &Path) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if daemon.has_ended() || Instant::now() > deadline {
            let said = std::fs::read_to_string(log).unwrap_or_default();
            return Err(io::Error::other(format!(
                "the server did not start: {said}"
            )));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Who PostgreSQL is to run as, if not as ourselves: its user and group.
pub fn user_for_postgres() -> io::Result<Option<(u32, u32)>> {
    let number = |arguments: &[&str]| -> io::Result<u32> {
        let output = Command::new("id").args(arguments).output()?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_string();
        text.parse()
            .map_err(|_| io::Error::other(format!("id {arguments:?} said {text:?}")))
    };
    if number(&["-u"])? != 0 {
        return Ok(None);
    }
    Ok(Some((
        number(&["-u", "postgres"])?,
        number(&["-g", "postgres"])?,
    )))
}

/// Where PostgreSQL's own programs are; `None`: nowhere that is known.
pub fn find_programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let mut folders: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    folders.sort();
    folders.reverse();
    let path = std::env::var_os("PATH").unwrap_or_default();
    folders.extend(std::env::split_paths(&path));
    folders
        .into_iter()
        .find(|folder| folder.join("initdb").exists())
}

/// A cluster, and the server that runs on it.
pub struct Postgres {
    programs: PathBuf,
    data: PathBuf,
    log: PathBuf,
    port: u16,
    user: Option<(u32, u32)>,
    settings: Vec<String>,
    daemon: Option<Daemon>,
    /// Last, so that it goes when the server has ended.
    folder: tempfile::TempDir,
}

impl Postgres {
    /// Makes a cluster and starts it, with settings such as `max_connections=300`. `None`: there is no
    /// PostgreSQL here, and the caller says [`HOW_TO_INSTALL`].
    pub fn start(settings: &[&str]) -> io::Result<Option<Postgres>> {
        let Some(programs) = find_programs() else {
            return Ok(None);
        };
        let user = user_for_postgres()?;
        let folder = tempfile::tempdir()?;
        if let Some((user, group)) = user {
            std::os::unix::fs::chown(folder.path(), Some(user), Some(group))?;
        }
        let data = folder.path().join("data");
        let mut initdb = Command::new(programs.join("initdb"));
        initdb.arg("-D").arg(&data);
        initdb.args([
            "-U",
            "gaggle",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
        ]);
        initdb.current_dir("/");
        if let Some((user, group)) = user {
            initdb.uid(user).gid(group);
        }
        let output = initdb.output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(io::Error::other(format!("initdb: {said}")));
        }
        let mut server = Postgres {
            log: folder.path().join("log"),
            port: free_port()?,
            settings: settings.iter().map(|setting| setting.to_string()).collect(),
            programs,
            data,
            user,
            daemon: None,
            folder,
        };
        server.start_again()?;
        Ok(Some(server))
    }

    /// Starts the server on the cluster, on the same port as before, and waits until it answers.
    pub fn start_again(&mut self) -> io::Result<()> {
        let mut arguments = vec!["-D".to_string(), self.data.display().to_string()];
        let own = [
            format!("port={}", self.port),
            format!("unix_socket_directories={}", self.folder.path().display()),
            "listen_addresses=127.0.0.1".to_string(),
            "fsync=off".to_string(),
        ];
        for setting in own.iter().chain(&self.settings) {
            arguments.extend(["-c".to_string(), setting.clone()]);
        }
        let program = self.programs.join("postgres");
        let mut daemon = Daemon::start(&program, &arguments, "INT", self.user, &self.log)?;
        await_port(self.port, &mut daemon, &self.log)?;
        self.await_answer(&mut daemon)?;
        self.daemon = Some(daemon);
        Ok(())
    }

    /// The port is open before the server takes connections.
    fn await_answer(&self, daemon: &mut Daemon) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut ready = Command::new(self.programs.join("pg_isready"));
            ready.args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()]);
            if ready.status()?.success() {
                return Ok(());
            }
            if daemon.has_ended() || Instant::now() > deadline {
                let said = std::fs::read_to_string(&self.log).unwrap_or_default();
                return Err(io::Error::other(format!(
                    "PostgreSQL did not start: {said}"
                )));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends the server, and every connection to it, and waits until it has ended.
    pub fn stop(&mut self) {
        drop(self.daemon.take());
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder of its Unix socket.
    pub fn socket_folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where it is, as a URL.
    pub fn url(&self) -> String {
        format!("postgres://gaggle@127.0.0.1:{}/postgres", self.port)
    }

    /// What it has written to its log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

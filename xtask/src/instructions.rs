//! `cargo xtask instructions`: how many instructions the primitives of gaggle-core take, counted by valgrind's
//! callgrind, compared with the counts that are kept in the tree.
//!
//! - N1: a count is what [`COUNT_MORE`] repetitions take more than [`COUNT_LESS`] do, for each of the
//!   repetitions between: so neither the process's start nor its surroundings are in it, and it is the same
//!   on every machine with the same compiler.
//! - N2: more than [`TOLERANCE`] more than kept is a regression; another compiler than the kept counts'
//!   compares nothing and fails, since a gate that is open should be seen to be.
//!
//! Why not a crate: iai-callgrind (gungraun) keeps its baselines in the target folder, needs a second program
//! of its very version installed, and what is needed of it is the hundred lines below.

use crate::failure::Failure;
use cargo_metadata::Message;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Repetitions: a lock is biased after five hundred uses, which both have behind them.
const COUNT_LESS: u64 = 2000;
const COUNT_MORE: u64 = 6000;

/// How much more than kept is a regression.
const TOLERANCE: f64 = 0.03;

/// Where the counts are kept, from the workspace's root.
const KEPT: &str = "bench/instructions/counts.txt";

const PACKAGE: &str = "gaggle-instructions";

/// What to do with the counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Compare them with those kept.
    Check,
    /// Keep them.
    Write,
}

/// The counts of one compiler.
#[derive(Clone, Debug, Default, PartialEq)]
struct Counts {
    compiler: String,
    of: Vec<(String, f64)>,
}

/// Counts, in the workspace at `root`, and compares or writes; `false`: a regression, another compiler, or
/// a primitive that is not kept.
///
/// # Errors
/// When something cannot be built, run, read or written.
pub fn run(root: &Path, mode: Mode) -> Result<bool, Failure> {
    let program = build(root)?;
    let names = output(&mut Command::new(&program))?.0;
    let mut now = Counts {
        compiler: output(Command::new("rustc").arg("--version"))?
            .0
            .trim()
            .to_owned(),
        of: Vec::new(),
    };
    for name in names.lines() {
        let [less, more] = [COUNT_LESS, COUNT_MORE].map(|count| counted(&program, name, count));
        let each = (more? - less?) as f64 / (COUNT_MORE - COUNT_LESS) as f64;
        now.of.push((name.to_owned(), each));
    }
    let file = root.join(KEPT);
    if mode == Mode::Write {
        std::fs::write(&file, now.text()).map_err(Failure::at(&file))?;
        println!("{}written to {KEPT}", now.text());
        return Ok(true);
    }
    let text = std::fs::read_to_string(&file).map_err(Failure::at(&file))?;
    let (report, passed) = compare(&Counts::parse(&text)?, &now);
    print!("{report}");
    Ok(passed)
}

/// Builds the program as finished programs are built, and answers where it is.
fn build(root: &Path) -> Result<PathBuf, Failure> {
    let mut command = Command::new("cargo");
    command
        .current_dir(root)
        .args(["build", "--release", "--locked", "--quiet"])
        .args(["--message-format", "json-render-diagnostics"])
        .args(["--manifest-path", "bench/Cargo.toml", "--package", PACKAGE]);
    let (messages, _) = output(&mut command)?;
    let program = Message::parse_stream(messages.as_bytes()).find_map(|message| match message {
        Ok(Message::CompilerArtifact(artifact)) if artifact.target.name == PACKAGE => {
            artifact.executable
        }
        _ => None,
    });
    let program =
        program.ok_or_else(|| Failure::new(format!("cargo says of no program {PACKAGE}")));
    Ok(program?.into_std_path_buf())
}

/// How many instructions the whole program takes with so many repetitions.
fn counted(program: &Path, name: &str, count: u64) -> Result<u64, Failure> {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    command.arg(program).args([name, &count.to_string()]);
    let (_, said) = output(&mut command)?;
    collected(&said)
        .ok_or_else(|| Failure::new(format!("callgrind says no count of {name}: {said}")))
}

/// The count in what callgrind says: `==1== Collected : 123`.
fn collected(said: &str) -> Option<u64> {
    let line = said.lines().find(|line| line.contains(" Collected :"))?;
    line.rsplit(' ').next()?.parse().ok()
}

/// What the command prints on its standard output and its standard error, if it ends well.
fn output(command: &mut Command) -> Result<(String, String), Failure> {
    let name = command_name(command);
    let failed = |why: String| Failure::new(format!("{name}: {why}"));
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|error| failed(error.to_string()))?;
    let [said, errors] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    if !output.status.success() {
        return Err(failed(format!("{}: {errors}", output.status)));
    }
    Ok((said, errors))
}

fn command_name(command: &Command) -> String {
    let program = command.get_program().to_string_lossy();
    match program.as_ref() {
        "valgrind" => "valgrind (on Debian and Ubuntu: apt-get install valgrind)".to_owned(),
        _ => program.into_owned(),
    }
}

impl Counts {
    /// As they are kept: the compiler, then a line for each.
    fn text(&self) -> String {
        let mut text = format!("{}\n", self.compiler);
        for (name, count) in &self.of {
            writeln!(text, "{name} {count:.1}").expect("a string takes everything");
        }
        text
    }

    fn parse(text: &str) -> Result<Counts, Failure> {
        let mut lines = text.lines();
        let compiler = lines.next().unwrap_or_default().to_owned();
        let one = |line: &str| {
            let (name, count) = line.split_once(' ')?;
            Some((name.to_owned(), count.parse().ok()?))
        };
        let wrong = |line: &str| Failure::new(format!("{KEPT}: not a name and a count: {line}"));
        let of = lines.map(|line| one(line).ok_or_else(|| wrong(line)));
        Ok(Counts {
            compiler,
            of: of.collect::<Result<_, _>>()?,
        })
    }

    fn get(&self, name: &str) -> Option<f64> {
        let found = self.of.iter().find(|(known, _)| known == name);
        found.map(|(_, count)| *count)
    }
}

/// What there is to say about the counts `now` beside those `kept`, and whether it is well (N2).
fn compare(kept: &Counts, now: &Counts) -> (String, bool) {
    const WRITE: &str = "`cargo xtask instructions --write` keeps what it is now";
    let mut report = String::new();
    let mut put = |line: String| {
        report.push_str(&line);
        report.push('\n');
    };
    if kept.compiler != now.compiler {
        put(format!(
            "the kept counts are of {}, this is {}: nothing can be compared; {WRITE}, to be looked \
             through and committed with the change of the compiler",
            kept.compiler, now.compiler
        ));
        return (report, false);
    }
    let mut passed = true;
    for (name, count) in &now.of {
        let Some(before) = kept.get(name) else {
            put(format!("NEW     {name}: {count:.1}, not kept yet; {WRITE}"));
            passed = false;
            continue;
        };
        let change = (count - before) / before;
        // What is kept is rounded.
        let verdict = match change {
            _ if (count - before).abs() <= 0.1 => "same",
            _ if change > TOLERANCE => "MORE",
            _ if change > 0.0 => "more",
            _ => "less",
        };
        passed &= verdict != "MORE";
        let percent = change * 100.0;
        put(format!(
            "{verdict:<7} {name}: {before:.1} -> {count:.1} ({percent:+.1}%)"
        ));
    }
    for (name, _) in kept.of.iter().filter(|(name, _)| now.get(name).is_none()) {
        put(format!("GONE    {name}; {WRITE}"));
        passed = false;
    }
    if !passed {
        put(format!(
            "more than {:.0}% more instructions than kept fail; if that is meant, {WRITE}",
            TOLERANCE * 100.0
        ));
    }
    (report, passed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(compiler: &str, of: &[(&str, f64)]) -> Counts {
        let of = of.iter().map(|(name, count)| ((*name).to_owned(), *count));
        Counts {
            compiler: compiler.to_owned(),
            of: of.collect(),
        }
    }

    #[test]
    fn three_percent_more_is_too_much_and_less_never_is() {
        let kept = counts("rustc 1", &[("push", 100.0)]);
        for (count, expected) in [(90.0, true), (100.0, true), (103.0, true), (103.2, false)] {
            let now = counts("rustc 1", &[("push", count)]);
            let (report, passed) = compare(&kept, &now);
            assert_eq!(passed, expected, "{report}");
        }
    }

    #[test]
    fn another_compiler_or_list_does_not_pass_unseen() {
        let kept = counts("rustc 1", &[("push", 100.0)]);
        let (report, passed) = compare(&kept, &counts("rustc 2", &[("push", 100.0)]));
        assert!(!passed && report.contains("rustc 2") && report.contains("--write"));
        let (report, passed) = compare(&kept, &counts("rustc 1", &[("pop", 1.0)]));
        assert!(!passed && report.contains("NEW") && report.contains("GONE"));
    }

    #[test]
    fn what_is_written_is_read_again() {
        let kept = counts("rustc 1", &[("push", 12.5), ("pop", 3.0)]);
        assert_eq!(Counts::parse(&kept.text()).expect("it is right"), kept);
        assert!(Counts::parse("rustc 1\npush many").is_err());
        assert_eq!(collected("==7== Collected : 1234"), Some(1234));
        assert_eq!(collected("==7== "), None);
    }
}

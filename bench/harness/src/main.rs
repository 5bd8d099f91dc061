//! What `cargo xtask bench` runs: builds `gaggle-bench` and its peers, measures each workload on all of
//! them in turn, and writes the lines, a table and plots.
//!
//! - H1: contenders take turns: in every repetition each one runs once, and the one that begins is
//!   another in each, so that a machine that grows slower or a disturbance is everybody's.
//! - H2: the first turn only warms up, and does not count.
//! - H3: what other processes use of the processors meanwhile is measured and told.
//! - H4: nothing that was started outlives the run, however it ends; what was measured is kept.

#![forbid(unsafe_code)]

mod cases;
mod child;
mod curves;
mod loads;
mod machine;
mod netload;
mod options;
mod plots;
mod points;
mod programs;
mod quota;
mod results;
mod table;

use cases::Kind;
use child::{Interruption, Stopped};
use machine::Load;
use options::{Options, Request};
use points::Point;
use programs::Programs;
use results::{Line, Results};
use serde_json::{Map, Value};
use std::error::Error;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

/// What to say where HTTP cannot be loaded.
const NO_WRK: &str = "no wrk (on Debian and Ubuntu: apt-get install wrk)";

fn main() -> ExitCode {
    let mut arguments: Vec<_> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "netload") {
        return status(netload::main(&arguments.split_off(1)).map(|()| true));
    }
    match options::parse(std::env::args_os().skip(1)) {
        Ok(Request::Help) => println!("{}", options::HELP),
        Ok(Request::List) => list(),
        Ok(Request::Run(options)) => return status(run(&options)),
        Err(why) => {
            eprintln!("error: {why}\n\n{}", options::HELP);
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

fn status(done: Result<bool, Box<dyn Error>>) -> ExitCode {
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn list() {
    let mut names: Vec<_> = cases::CASES.iter().map(|case| case.workload).collect();
    names.dedup();
    println!("workloads: {}", names.join(" "));
    let names: Vec<_> = curves::SWEEPS.iter().map(|sweep| sweep.name).collect();
    println!("curves (--sweep): {}", names.join(" "));
}

/// The workspace that this program was built in: `bench/harness` is two folders below it.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

fn run(options: &Options) -> Result<bool, Box<dyn Error>> {
    let root = root();
    let session = machine::now();
    let folder = options.out.clone().unwrap_or_else(|| {
        let date = session.split('T').next().unwrap_or_default();
        root.join("bench/results").join(date)
    });
    fs::create_dir_all(&folder)?;
    let complete = options.redraw || {
        let mut run = Run::begin(&root, &folder, session, options)?;
        run.all()?
    };
    let results = Results::read(&folder)?;
    let plots = plots::draw(&results, &folder)?;
    let page = table::markdown(&results, &plots);
    fs::write(folder.join("README.md"), &page)?;
    if options.json {
        for line in table::json_lines(&results) {
            println!("{line}");
        }
    } else {
        println!("{page}");
    }
    eprintln!("written to {}", folder.display());
    Ok(complete)
}

/// A session under way.
struct Run<'a> {
    options: &'a Options,
    session: String,
    programs: Programs,
    interruption: Interruption,
    file: File,
    /// Whether every contender that could be built did everything that it can.
    complete: bool,
}

impl<'a> Run<'a> {
    fn begin(
        root: &Path,
        folder: &Path,
        session: String,
        options: &'a Options,
    ) -> Result<Run<'a>, Box<dyn Error>> {
        let interruption = Interruption::watch()?;
        let wants = |peer| options.wants_peer(peer);
        let programs = match Programs::build(root, wants, &interruption) {
            Ok(programs) => programs,
            Err(Stopped::Failed(why)) => return Err(why.into()),
            Err(_) => return Err("interrupted".into()),
        };
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(folder.join(results::FILE))?;
        let mut head = Map::new();
        head.insert("session".to_owned(), session.as_str().into());
        head.insert("machine".to_owned(), machine::description(root).into());
        head.insert("missing".to_owned(), programs.missing.clone().into());
        writeln!(file, "{}", Line::new(head).text())?;
        Ok(Run {
            options,
            session,
            complete: programs.missing.is_empty(),
            programs,
            interruption,
            file,
        })
    }

    /// Measures everything; whether all went well.
    fn all(&mut self) -> Result<bool, Box<dyn Error>> {
        let points = points::points(self.options);
        // It has no option that does nothing and succeeds, but it says something if it is there.
        let has_wrk = Command::new("wrk").arg("--version").output().is_ok();
        for (index, point) in points.iter().enumerate() {
            if point.case.kind == Kind::Http && !has_wrk {
                eprintln!("skipped {}: {NO_WRK}", point.id);
                self.complete = false;
                continue;
            }
            eprint!("[{}/{}] {}:", index + 1, points.len(), point.id);
            let begin = Instant::now();
            let whole = self.point(point)?;
            eprintln!(" {:.0} s", begin.elapsed().as_secs_f64());
            if !whole {
                eprintln!("interrupted; what was measured whole is kept");
                return Ok(false);
            }
        }
        Ok(self.complete)
    }

    /// Measures one row, all its contenders in turn (H1, H2); `false`: interrupted, and nothing of the
    /// row is kept.
    fn point(&mut self, point: &Point) -> Result<bool, Box<dyn Error>> {
        let mut contenders: Vec<_> = point
            .case
            .contenders
            .iter()
            .filter(|contender| self.programs.path(contender.peer).is_some())
            .collect();
        let mut lines = Vec::new();
        for round in results::WARM_UP..=self.options.repetitions {
            if !contenders.is_empty() {
                contenders.rotate_left(1);
            }
            let mut gone = Vec::new();
            for (index, contender) in contenders.iter().enumerate() {
                let (load, own) = (Load::now(), child::own_cpu_time());
                let begin = Instant::now();
                match loads::measure(point, contender, &self.programs, &self.interruption) {
                    Ok(report) => {
                        let mut line = self.line(point, contender.label, round);
                        let foreign = foreign_share(&load, own, begin);
                        line.insert("foreign".to_owned(), foreign.into());
                        line.insert("report".to_owned(), report.into());
                        lines.push((contender.label, Line::new(line)));
                        eprint!(".");
                    }
                    Err(Stopped::Interrupted) => return Ok(false),
                    Err(Stopped::Unsupported) => gone.push(index),
                    Err(Stopped::Failed(why)) => {
                        eprint!(" [{} failed: {why}] ", contender.label);
                        self.complete = false;
                        gone.push(index);
                    }
                }
            }
            for index in gone.into_iter().rev() {
                contenders.remove(index);
            }
        }
        // In the table's order: ours first.
        for contender in point.case.contenders {
            for (_, line) in lines.iter().filter(|(label, _)| *label == contender.label) {
                writeln!(self.file, "{}", line.text())?;
            }
        }
        self.file.flush()?;
        Ok(true)
    }

    /// The keys of a run's line that are not the program's.
    fn line(&self, point: &Point, label: &str, round: u64) -> Map<String, Value> {
        let mut line = Map::new();
        let mut put = |key: &str, value: Value| drop(line.insert(key.to_owned(), value));
        put("session", self.session.as_str().into());
        put("case", point.id.as_str().into());
        put("group", point.case.group.into());
        if let Some((name, load)) = point.sweep {
            put("sweep", name.into());
            put("load", load.into());
        }
        put("contender", label.into());
        put("round", round.into());
        put("scale", point.scale.name().into());
        put("metrics", point.case.metrics.to_vec().into());
        line
    }
}

/// Which share of all the processors' time since `begin` was neither idle nor ours (H3); what a
/// neighbour on the same hardware took counts, too.
fn foreign_share(before: &Load, own_before: std::time::Duration, begin: Instant) -> f64 {
    let (now, own) = (Load::now(), child::own_cpu_time() - own_before);
    let busy = (now.busy - before.busy) + (now.stolen - before.stolen);
    let all = begin.elapsed().as_secs_f64() * machine::processors() as f64;
    let share = (busy.as_secs_f64() - own.as_secs_f64()) / all;
    (share.clamp(0.0, 1.0) * 1e4).round() / 1e4
}

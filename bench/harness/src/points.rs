//! One thing to measure: a case with every number filled in.

use crate::cases::{CASES, Case, Contender, Kind, QUOTAS, Scale};
use crate::curves::{Axis, SWEEPS};
use crate::options::Options;
use crate::table::QUOTA_GROUP;

/// One row of the table, or one place on a curve.
#[derive(Clone, Debug)]
pub struct Point {
    /// The row's name; with the contender's label it names a series of figures.
    pub id: String,
    /// The case.
    pub case: Case,
    /// `--n`, if any.
    pub size: u64,
    /// `--procs`; 0: what the program makes of the machine.
    pub procs: u64,
    /// `--tasks`, or connections, if any.
    pub tasks: Option<u64>,
    /// The curve and the load.
    pub sweep: Option<(&'static str, u64)>,
    /// How large it is.
    pub scale: Scale,
    /// Whether it runs under a quota of half the machine.
    pub under_quota: bool,
}

impl Point {
    /// What the contender's program is called with.
    pub fn arguments(&self, contender: &Contender) -> Vec<String> {
        let mut arguments = vec![match self.case.kind {
            // Its program does nothing else.
            Kind::Hello => return Vec::new(),
            Kind::Startup => "noop".to_owned(),
            _ => self.case.workload.to_owned(),
        }];
        let mut put = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
        if self.procs > 0 {
            put("--procs", self.procs.to_string());
        }
        put("--variant", contender.variant.to_owned());
        if self.size > 0 {
            put("--n", (self.size / contender.divisor).max(1).to_string());
        }
        if let (Kind::Program, Some(tasks)) = (self.case.kind, self.tasks) {
            put("--tasks", tasks.to_string());
        }
        if self.scale != Scale::Whole && self.case.workload == "sleepers" {
            put("--secs", "2".to_owned());
        }
        arguments
    }
}

/// Everything that the command line asks for, in the order of the tables.
pub fn points(options: &Options) -> Vec<Point> {
    let mut points = Vec::new();
    if options.table {
        points.extend(table_points(options, CASES));
    }
    if options.quota {
        let quotas = table_points(options, QUOTAS)
            .into_iter()
            .map(|point| Point {
                id: format!("quota {}", point.id),
                under_quota: true,
                case: Case {
                    group: QUOTA_GROUP,
                    ..point.case
                },
                ..point
            });
        points.extend(quotas);
    }
    if options.sweep {
        points.extend(sweep_points(options));
    }
    points
}

fn table_points(options: &Options, cases: &[Case]) -> Vec<Point> {
    let mut points = Vec::new();
    for case in cases.iter().filter(|case| options.wants(case.workload)) {
        let tasks: Vec<Option<u64>> = if case.tasks.is_empty() {
            vec![None]
        } else {
            case.tasks.iter().copied().map(Some).collect()
        };
        for &procs in case.procs {
            for &tasks in &tasks {
                points.push(point(case, options.scale, procs, tasks));
            }
        }
    }
    points
}

fn point(case: &Case, scale: Scale, procs: u64, tasks: Option<u64>) -> Point {
    let mut id = case.workload.to_owned();
    if !case.variant.is_empty() {
        id = format!("{id} {}", case.variant);
    }
    match (case.kind, tasks) {
        (Kind::Http | Kind::Echo, Some(connections)) => id = format!("{id} c={connections}"),
        (_, Some(tasks)) => id = format!("{id} tasks={tasks}"),
        (_, None) => {}
    }
    if case.procs.len() > 1 {
        id = match procs {
            0 => format!("{id} procs=own"),
            _ => format!("{id} procs={procs}"),
        };
    }
    Point {
        id,
        case: *case,
        size: scale.of(case.sizes),
        procs,
        tasks,
        sweep: None,
        scale,
        under_quota: false,
    }
}

fn sweep_points(options: &Options) -> Vec<Point> {
    let wanted = SWEEPS
        .iter()
        .filter(|sweep| options.wants(sweep.name) || options.wants(sweep.case.workload));
    let mut points = Vec::new();
    for sweep in wanted {
        let loads = sweep
            .loads
            .iter()
            .filter(|&&load| options.scale != Scale::Quick || load <= sweep.quick_max);
        for &load in loads {
            let procs = sweep.case.procs.first().copied().unwrap_or(1);
            let point = Point {
                id: format!("{} {load}", sweep.name),
                case: sweep.case,
                size: options.scale.of(sweep.case.sizes),
                procs,
                tasks: sweep.case.tasks.first().copied(),
                sweep: Some((sweep.name, load)),
                scale: options.scale,
                under_quota: false,
            };
            points.push(match sweep.axis {
                Axis::Tasks => Point {
                    size: load,
                    ..point
                },
                Axis::Connections => Point {
                    tasks: Some(load),
                    ..point
                },
                Axis::Procs => Point {
                    procs: load,
                    ..point
                },
            });
        }
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{Request, parse};
    use std::ffi::OsString;

    fn points_of(line: &str) -> Vec<Point> {
        match parse(line.split_whitespace().map(OsString::from)) {
            Ok(Request::Run(options)) => points(&options),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_point_for_each_number_of_processors_or_tasks() {
        let ids = |line: &str| points_of(line).into_iter().map(|point| point.id);
        let expected = ["pingpong procs=1", "pingpong procs=2"];
        assert!(ids("pingpong").eq(expected));
        assert!(ids("mutex").eq(["mutex tasks=8", "mutex tasks=64"]));
        assert!(ids("http_hello").eq(["http_hello c=64", "http_hello c=1000"]));
        let expected = [1, 2, 4, 8, 16].map(|procs| format!("fib_by_procs {procs}"));
        assert!(ids("--sweep fib").eq(expected));
        let expected = ["own", "1", "2"].map(|procs| format!("quota hogs procs={procs}"));
        assert!(ids("--quota hogs").eq(expected));
        assert!(points_of("--quota").iter().all(|point| point.under_quota));
        assert!(!points_of("").iter().any(|point| point.under_quota));
    }

    #[test]
    fn sizes_are_those_asked_for_and_less_for_who_cannot() {
        let arguments = |line: &str, label: &str| {
            let point = points_of(line).remove(0);
            let contenders = point.case.contenders;
            let contender = contenders.iter().find(|contender| contender.label == label);
            point.arguments(contender.expect("it takes part")).join(" ")
        };
        assert_eq!(
            arguments("pingpong", "tokio kanal"),
            "pingpong --procs 1 --variant kanal --n 1000000"
        );
        assert_eq!(
            arguments("pingpong --quick", "threads"),
            "pingpong --procs 1 --variant default --n 8000"
        );
        assert_eq!(
            arguments("--sweep --standard tcp", "go"),
            "tcp --procs 1 --variant default --n 50000 --tasks 64"
        );
        assert_eq!(
            arguments("--quota hogs --quick", "tokio"),
            "hogs --variant default --n 10"
        );
        assert_eq!(
            arguments("mutex", "go"),
            "mutex --procs 2 --variant default --n 10000000 --tasks 8"
        );
        assert_eq!(
            arguments("http_hello", "go"),
            "http_hello --procs 1 --variant default"
        );
        assert_eq!(
            arguments("startup", "may"),
            "noop --procs 2 --variant default"
        );
    }
}

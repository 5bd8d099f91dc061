//! The lines of `results.jsonl`, and what they say: a median and a spread for every row, contender and
//! key, and the ratio to ours.

use crate::cases::{Metric, Scale};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

/// The file's name.
pub const FILE: &str = "results.jsonl";

/// The repetition that only warms up.
pub const WARM_UP: u64 = 0;

/// One line of the file: one run of one contender.
#[derive(Clone, Debug)]
pub struct Line(Map<String, Value>);

impl Line {
    /// Of the run's own keys, and the program's line under `report`.
    pub fn new(keys: Map<String, Value>) -> Line {
        Line(keys)
    }

    /// As text.
    pub fn text(&self) -> String {
        Value::Object(self.0.clone()).to_string()
    }

    fn text_of(&self, key: &str) -> &str {
        self.0.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    fn number_of(&self, key: &str) -> Option<f64> {
        self.0.get(key).and_then(Value::as_f64)
    }
}

/// The middle and the ends of several figures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The middle one, or the mean of the two in the middle.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
}

impl Spread {
    /// Of at least one figure.
    pub fn of(mut figures: Vec<f64>) -> Option<Spread> {
        figures.sort_by(f64::total_cmp);
        let (min, max) = (*figures.first()?, *figures.last()?);
        let middle = figures.len() / 2;
        let median = match figures.len() % 2 {
            0 => (figures[middle - 1] + figures[middle]) / 2.0,
            _ => figures[middle],
        };
        Some(Spread { median, min, max })
    }
}

/// What one contender did in one row.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// Its name in tables.
    pub label: String,
    /// What it says of itself: the program's versions, and the variant.
    pub version: String,
    /// How large its workload was.
    pub size: Option<f64>,
    /// Its figures by key, then by repetition.
    rounds: BTreeMap<String, BTreeMap<u64, f64>>,
}

impl Series {
    /// The figures of this key.
    pub fn spread(&self, key: &str) -> Option<Spread> {
        Spread::of(self.rounds.get(key)?.values().copied().collect())
    }

    /// How many times as good `ours` is as this: the ratio of the medians, with the least and the most
    /// ratio within one repetition.
    pub fn ratio(&self, ours: &Series, metric: &Metric) -> Option<Spread> {
        let better = |ours: f64, theirs: f64| match metric.more_is_better {
            true => ours / theirs,
            false => theirs / ours,
        };
        let (our, their) = (ours.rounds.get(metric.key)?, self.rounds.get(metric.key)?);
        let ratios = our
            .iter()
            .filter_map(|(round, ours)| Some(better(*ours, *their.get(round)?)))
            .filter(|ratio| ratio.is_finite());
        let within = Spread::of(ratios.collect())?;
        let median = better(
            ours.spread(metric.key)?.median,
            self.spread(metric.key)?.median,
        );
        Some(Spread { median, ..within })
    }

    /// How many repetitions there are.
    pub fn repetitions(&self) -> usize {
        self.rounds.values().map(BTreeMap::len).max().unwrap_or(0)
    }
}

/// One row of the table, or one place on a curve.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// Its name.
    pub id: String,
    /// The plot that it is in.
    pub group: String,
    /// The curve and the load, if it is of one.
    pub sweep: Option<(String, f64)>,
    /// The keys that are compared.
    pub metrics: Vec<Metric>,
    /// The scale, if the sizes were smaller than those that figures are quoted for.
    pub smaller: Option<String>,
    /// The share of the processors' time that others used meanwhile.
    pub foreign: f64,
    /// The contenders, ours first.
    pub series: Vec<Series>,
}

/// Everything that one folder has.
#[derive(Clone, Debug, Default)]
pub struct Results {
    /// The rows, in the order in which they were measured first.
    pub rows: Vec<Row>,
    /// What the last session says of the machine.
    pub machine: Map<String, Value>,
    /// Our commits that the rows are of.
    pub commits: BTreeSet<String>,
}

impl Results {
    /// Reads the folder's file; nothing, if there is none.
    ///
    /// # Errors
    /// When it cannot be read, or a line is no JSON.
    pub fn read(folder: &Path) -> io::Result<Results> {
        let text = match fs::read_to_string(folder.join(FILE)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            read => read?,
        };
        let lines: Result<Vec<Line>, _> = text
            .lines()
            .map(|line| serde_json::from_str(line).map(Line))
            .collect();
        Ok(Results::of(&lines?))
    }

    /// What the lines say; of a row that was measured more than once, the last session counts.
    pub fn of(lines: &[Line]) -> Results {
        let mut results = Results::default();
        let mut last_session = BTreeMap::new();
        let mut commit_of = BTreeMap::new();
        for line in lines {
            last_session.insert(line.text_of("case"), line.text_of("session"));
            if let Some(Value::Object(machine)) = line.0.get("machine") {
                results.machine = machine.clone();
                let commit = machine.get("commit").and_then(Value::as_str);
                commit_of.insert(line.text_of("session"), commit.unwrap_or("unknown"));
            }
        }
        let counts = |line: &&Line| {
            let case = line.text_of("case");
            !case.is_empty() && last_session.get(case) == Some(&line.text_of("session"))
        };
        let mut shares: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for line in lines.iter().filter(counts) {
            let case = line.text_of("case");
            if line.number_of("round") == Some(WARM_UP as f64) {
                continue;
            }
            if let Some(commit) = commit_of.get(line.text_of("session")) {
                results.commits.insert((*commit).to_owned());
            }
            shares
                .entry(case)
                .or_default()
                .extend(line.number_of("foreign"));
            let index = results.rows.iter().position(|row| row.id == case);
            let index = index.unwrap_or_else(|| {
                results.rows.push(row_of(line));
                results.rows.len() - 1
            });
            results.rows[index].add(line);
        }
        for row in &mut results.rows {
            let shares = &shares[row.id.as_str()];
            row.foreign = shares.iter().sum::<f64>() / shares.len().max(1) as f64;
        }
        results
    }
}

/// Lines of before the scales had names say whether they are quick.
fn smaller(line: &Line) -> Option<String> {
    let scale = match line.text_of("scale") {
        "" if line.0.get("quick") == Some(&Value::Bool(true)) => "quick",
        scale => scale,
    };
    (!["", Scale::Whole.name()].contains(&scale)).then(|| scale.to_owned())
}

fn row_of(line: &Line) -> Row {
    let keys = line.0.get("metrics").and_then(Value::as_array);
    let keys = keys.into_iter().flatten().filter_map(Value::as_str);
    let sweep = line.text_of("sweep");
    Row {
        id: line.text_of("case").to_owned(),
        group: line.text_of("group").to_owned(),
        sweep: (!sweep.is_empty())
            .then(|| (sweep.to_owned(), line.number_of("load").unwrap_or_default())),
        metrics: keys.filter_map(Metric::of).collect(),
        smaller: smaller(line),
        ..Row::default()
    }
}

impl Row {
    fn add(&mut self, line: &Line) {
        let label = line.text_of("contender");
        let index = self.series.iter().position(|series| series.label == label);
        let index = index.unwrap_or_else(|| {
            self.series.push(Series {
                label: label.to_owned(),
                ..Series::default()
            });
            self.series.len() - 1
        });
        let series = &mut self.series[index];
        let (Some(Value::Object(report)), Some(round)) =
            (line.0.get("report"), line.number_of("round"))
        else {
            return;
        };
        let text = |key: &str| report.get(key).and_then(Value::as_str).unwrap_or_default();
        series.version = format!("{} {} {}", text("peer"), text("ver"), text("variant"));
        series.size = report.get("n").and_then(Value::as_f64);
        for metric in &self.metrics {
            if let Some(figure) = report.get(metric.key).and_then(Value::as_f64) {
                let rounds = series.rounds.entry(metric.key.to_owned()).or_default();
                rounds.insert(round as u64, figure);
            }
        }
    }

    /// Ours.
    pub fn ours(&self) -> Option<&Series> {
        self.series.iter().find(|series| series.label == "gaggle")
    }

    /// Who has the best median of this key.
    pub fn first(&self, metric: &Metric) -> Option<&Series> {
        let sign = if metric.more_is_better { -1.0 } else { 1.0 };
        let medians = self
            .series
            .iter()
            .filter_map(|series| Some((series, sign * series.spread(metric.key)?.median)));
        medians
            .min_by(|(_, one), (_, other)| one.total_cmp(other))
            .map(|(series, _)| series)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn line(session: &str, contender: &str, round: u64, ns: f64) -> Line {
        let keys = json!({
            "session": session, "case": "yield", "group": "tasks", "contender": contender,
            "round": round, "quick": true, "foreign": 0.01, "metrics": ["ns_per_op"],
            "report": {"peer": contender, "ver": "1", "variant": "default", "n": 5, "ns_per_op": ns},
        });
        let Value::Object(keys) = keys else {
            panic!("an object")
        };
        Line::new(keys)
    }

    #[test]
    fn a_ratio_is_of_medians_and_its_spread_is_within_repetitions() {
        let lines = [
            line("old", "gaggle", 1, 1000.0),
            line("new", "gaggle", 0, 900.0),
            line("new", "go", 0, 900.0),
            line("new", "gaggle", 1, 10.0),
            line("new", "go", 1, 40.0),
            line("new", "gaggle", 2, 20.0),
            line("new", "go", 2, 20.0),
            line("new", "gaggle", 3, 30.0),
            line("new", "go", 3, 60.0),
        ];
        let results = Results::of(&lines);
        let row = &results.rows[0];
        let metric = row.metrics[0];
        let ours = row.ours().expect("ours took part");
        // The warm-up and the older session do not count.
        let expected = Spread {
            median: 20.0,
            min: 10.0,
            max: 30.0,
        };
        assert_eq!(ours.spread("ns_per_op"), Some(expected));
        let ratio = row.series[1].ratio(ours, &metric);
        let expected = Spread {
            median: 2.0,
            min: 1.0,
            max: 4.0,
        };
        assert_eq!(ratio, Some(expected));
        assert_eq!(row.first(&metric).map(|s| s.label.as_str()), Some("gaggle"));
        assert!((row.foreign - 0.01).abs() < 1e-9 && row.smaller.as_deref() == Some("quick"));
    }

    #[test]
    fn the_median_of_an_even_number_is_between() {
        let spread = Spread::of(vec![4.0, 1.0, 2.0, 3.0]).expect("there are four");
        assert_eq!((spread.min, spread.median, spread.max), (1.0, 2.5, 4.0));
        assert_eq!(Spread::of(Vec::new()), None);
    }
}

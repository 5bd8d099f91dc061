//! The comparison in words: a Markdown page, and lines of JSON.

use crate::cases::Metric;
use crate::results::{Results, Row, Series, Spread};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::Write;

/// From this share on, a row says that others used the processors while it was measured.
const FOREIGN_NOTED: f64 = 0.05;

/// The plot of what ran under a quota.
pub const QUOTA_GROUP: &str = "quota";

/// The whole page.
pub fn markdown(results: &Results, plots: &[String]) -> String {
    let mut page = String::from("# Gaggle beside its peers\n\n");
    head(&mut page, results);
    for plot in plots {
        let name = plot.trim_end_matches(".svg").replace('_', " ");
        writeln!(page, "![{name}]({plot})").expect("a string takes everything");
    }
    let (rows, places): (Vec<_>, Vec<_>) = results.rows.iter().partition(|row| row.sweep.is_none());
    let (under_quota, rows): (Vec<_>, Vec<_>) =
        rows.into_iter().partition(|row| row.group == QUOTA_GROUP);
    table(&mut page, "Table", &rows);
    summary(&mut page, &rows);
    table(&mut page, "Under a quota of half the machine", &under_quota);
    table(&mut page, "Curves", &places);
    page
}

fn head(page: &mut String, results: &Results) {
    let said = |key: &str| results.machine.get(key).and_then(Value::as_str);
    let unknown = "unknown";
    let mut put = |text: std::fmt::Arguments| page.write_fmt(text).expect("a string takes it");
    put(format_args!(
        "Measured on {} ({} processors, {}), {}, {}, {}; Gaggle at commit {}.\n\n",
        said("processor").unwrap_or(unknown),
        said("processors").unwrap_or(unknown),
        said("memory").unwrap_or(unknown),
        said("kernel").unwrap_or(unknown),
        said("libc").unwrap_or(unknown),
        said("rustc").unwrap_or(unknown),
        results
            .commits
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(", "),
    ));
    let versions: BTreeSet<_> = results
        .rows
        .iter()
        .flat_map(|row| &row.series)
        .map(|series| {
            let words: Vec<_> = series.version.split(' ').collect();
            words[..words.len().saturating_sub(1)].join(" ")
        })
        .filter(|version| version.split(' ').nth(1).is_some_and(|ver| !ver.is_empty()))
        .collect();
    let versions: Vec<_> = versions.into_iter().collect();
    put(format_args!("Versions: {}.\n\n", versions.join(", ")));
    let smaller: BTreeSet<_> = results
        .rows
        .iter()
        .filter_map(|row| row.smaller.as_deref())
        .collect();
    for scale in smaller {
        put(format_args!(
            "**A {scale} run**: smaller sizes, so the figures are rougher than those of a whole one.\n\n"
        ));
    }
    put(format_args!(
        "Each figure is the median of its repetitions, with the least and the most behind it; the runs of \
         one row took turns. \"Ours is\" says how many times as good Gaggle's median is (above 1: better), \
         with the least and the most within one repetition. A star: other processes used more than {}% of \
         the processors meanwhile. `cargo xtask bench` measures it again.\n\n",
        FOREIGN_NOTED * 100.0
    ));
}

/// In how many rows ours is first, and who is in the others.
fn summary(page: &mut String, rows: &[&Row]) {
    let compared: Vec<_> = rows
        .iter()
        .filter(|row| row.series.len() > 1)
        .filter_map(|row| {
            let metric = row.metrics.first()?;
            Some((row, metric, row.first(metric)?))
        })
        .collect();
    let behind: Vec<_> = compared
        .iter()
        .filter(|(_, _, first)| !first.label.starts_with("gaggle"))
        .collect();
    let mut put = |text: std::fmt::Arguments| page.write_fmt(text).expect("a string takes it");
    put(format_args!(
        "\n## Who is first\n\nOurs is first in {} of {} rows by the row's first figure.",
        compared.len() - behind.len(),
        compared.len()
    ));
    if behind.is_empty() {
        put(format_args!("\n\n"));
        return;
    }
    put(format_args!(" In the others:\n\n"));
    put(format_args!(
        "| workload | figure | first | ours is |\n|---|---|---|---:|\n"
    ));
    for (row, metric, first) in behind {
        let Some(ratio) = ratio(row, first, metric) else {
            continue;
        };
        put(format_args!(
            "| {} | {} | {} | {:.2} |\n",
            row.id, metric.name, first.label, ratio.median
        ));
    }
    put(format_args!("\n"));
}

fn table(page: &mut String, title: &str, rows: &[&Row]) {
    if rows.is_empty() {
        return;
    }
    let mut put = |text: String| {
        page.push_str(&text);
        page.push('\n');
    };
    put(format!("\n## {title}\n"));
    put("| workload | figure | contender | median | least .. most | ours is |".to_owned());
    put("|---|---|---|---:|---:|---:|".to_owned());
    for row in rows {
        let star = if row.foreign > FOREIGN_NOTED {
            " *"
        } else {
            ""
        };
        for metric in &row.metrics {
            for series in &row.series {
                let Some(spread) = series.spread(metric.key) else {
                    continue;
                };
                put(format!(
                    "| {}{star} | {} ({}) | {}{} | {} | {} .. {} | {} |",
                    row.id,
                    metric.name,
                    metric.unit,
                    series.label,
                    remark(row, series),
                    number(spread.median),
                    number(spread.min),
                    number(spread.max),
                    ratio(row, series, metric).map_or("-".to_owned(), |ratio| format!(
                        "{:.2} ({:.2} .. {:.2})",
                        ratio.median, ratio.min, ratio.max
                    )),
                ));
            }
        }
    }
}

/// What the contender does otherwise: its variant, if it is none that was asked for, and its size, if
/// it is another than ours.
fn remark(row: &Row, series: &Series) -> String {
    let mut remarks = Vec::new();
    let variant = series.version.rsplit(' ').next().unwrap_or_default();
    let told = ["", "default"].contains(&variant)
        || series.label.contains(variant)
        || row.id.contains(variant);
    if !told {
        remarks.push(variant.to_owned());
    }
    let our_size = row.ours().and_then(|ours| ours.size);
    if let (Some(ours), Some(size)) = (our_size, series.size)
        && ours != size
    {
        remarks.push(format!("n={size}"));
    }
    match remarks.is_empty() {
        true => String::new(),
        false => format!(" ({})", remarks.join(", ")),
    }
}

fn ratio(row: &Row, series: &Series, metric: &Metric) -> Option<Spread> {
    let ours = row.ours()?;
    if series.label == ours.label {
        return None;
    }
    series.ratio(ours, metric)
}

/// Three digits, which is more than a spread leaves of a figure.
pub fn number(figure: f64) -> String {
    let size = figure.abs();
    let digits = match size {
        _ if size >= 100.0 => 0,
        _ if size >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{figure:.digits$}");
    let (whole, rest) = text.split_once('.').unwrap_or((&text, ""));
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        let left = whole.len() - index;
        if index > 0 && left.is_multiple_of(3) && digit != '-' && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    match rest {
        "" => grouped,
        _ => format!("{grouped}.{rest}"),
    }
}

/// A line for every row, key and contender.
pub fn json_lines(results: &Results) -> Vec<String> {
    let mut lines = Vec::new();
    for row in &results.rows {
        for metric in &row.metrics {
            for series in &row.series {
                let Some(spread) = series.spread(metric.key) else {
                    continue;
                };
                let ratio = ratio(row, series, metric);
                let line = json!({
                    "case": row.id, "key": metric.key, "unit": metric.unit, "scale": row.smaller.as_deref().unwrap_or("whole"),
                    "contender": series.label, "repetitions": series.repetitions(),
                    "median": spread.median, "min": spread.min, "max": spread.max,
                    "ours_is": ratio.map(|ratio| ratio.median),
                    "ours_is_min": ratio.map(|ratio| ratio.min),
                    "ours_is_max": ratio.map(|ratio| ratio.max),
                    "foreign": row.foreign,
                });
                lines.push(line.to_string());
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_and_groups() {
        let texts = [0.123, 5.678, 12.34, 123.4, 1234.5, 1_234_567.0].map(number);
        assert_eq!(texts, ["0.12", "5.68", "12.3", "123", "1,234", "1,234,567"]);
        assert_eq!(number(-1234.0), "-1,234");
    }
}

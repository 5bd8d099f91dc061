//! The plots: bars with their spread for each group of workloads, and a curve for each sweep. SVG, by
//! plotters.

use crate::cases::Metric;
use crate::results::{Results, Row, Spread};
use crate::table::number;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::collections::BTreeSet;
use std::error::Error;
use std::path::Path;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn Error>>;

/// Pixels of a page of bars.
const WIDTH: i32 = 1000;
const BAR: i32 = 16;
const GAP: i32 = 12;
const HEAD: i32 = 48;
/// Where bars begin, and how much is left for the figure behind the longest.
const LEFT: i32 = 330;
const RIGHT: i32 = 140;
/// A bar that is more than this many times as long as ours is cut, and has a gap near its end.
const CUT: f64 = 5.0;

/// The colour of a contender, the same in every plot: ours, then one for each family.
fn colour(label: &str) -> RGBColor {
    let family = label.split(' ').next().unwrap_or_default();
    match family {
        "gaggle" => RGBColor(214, 69, 65),
        "go" => RGBColor(64, 160, 190),
        "tokio" if label == "tokio" => RGBColor(90, 90, 150),
        "tokio" => RGBColor(140, 130, 200),
        "may" => RGBColor(222, 165, 60),
        _ => RGBColor(120, 140, 120),
    }
}

/// Draws everything into `folder`; the names of the files.
///
/// # Errors
/// When a file cannot be written.
pub fn draw(results: &Results, folder: &Path) -> Result<Vec<String>, Box<dyn Error>> {
    let mut files = Vec::new();
    let rows: Vec<_> = results
        .rows
        .iter()
        .filter(|row| row.sweep.is_none())
        .collect();
    let groups: BTreeSet<_> = rows.iter().map(|row| row.group.as_str()).collect();
    for group in groups {
        let of_group: Vec<_> = rows
            .iter()
            .copied()
            .filter(|row| row.group == group)
            .collect();
        let keys: BTreeSet<_> = of_group
            .iter()
            .flat_map(|row| row.metrics.iter().map(|metric| metric.key))
            .collect();
        for metric in keys.into_iter().filter_map(Metric::of) {
            let file = format!("{group}_{}.svg", metric.key);
            if bars(&folder.join(&file), group, &metric, &of_group)? {
                files.push(file);
            }
        }
    }
    let sweeps: BTreeSet<_> = results
        .rows
        .iter()
        .filter_map(|row| Some(row.sweep.as_ref()?.0.as_str()))
        .collect();
    for sweep in sweeps {
        let places: Vec<_> = results
            .rows
            .iter()
            .filter(|row| row.sweep.as_ref().is_some_and(|(name, _)| name == sweep))
            .collect();
        for metric in &places[0].metrics {
            let file = format!("{sweep}_{}.svg", metric.key);
            curves(&folder.join(&file), sweep, metric, &places)?;
            files.push(file);
        }
    }
    Ok(files)
}

/// One bar: the row it belongs to, whose it is, and how long.
struct Bar<'a> {
    row: &'a str,
    label: &'a str,
    spread: Spread,
}

fn bars_of<'a>(rows: &[&'a Row], metric: &Metric) -> Vec<Bar<'a>> {
    let mut bars = Vec::new();
    for row in rows {
        // A key that is not this row's own may be in its lines all the same.
        if !row.metrics.iter().any(|own| own.key == metric.key) {
            continue;
        }
        for series in &row.series {
            if let Some(spread) = series.spread(metric.key) {
                bars.push(Bar {
                    row: &row.id,
                    label: &series.label,
                    spread,
                });
            }
        }
    }
    bars
}

/// Horizontal bars, each row's on a scale of its own that ends at its longest bar, or where bars are cut,
/// so that an outlier hides nothing; `false`: there is none.
fn bars(file: &Path, group: &str, metric: &Metric, rows: &[&Row]) -> Result<bool, Box<dyn Error>> {
    let bars = bars_of(rows, metric);
    if bars.is_empty() {
        return Ok(false);
    }
    let names: BTreeSet<_> = bars.iter().map(|bar| bar.row).collect();
    let height = HEAD + BAR * bars.len() as i32 + GAP * names.len() as i32 + GAP;
    let area = SVGBackend::new(file, (WIDTH as u32, height as u32)).into_drawing_area();
    area.fill(&WHITE)?;
    let better = if metric.more_is_better {
        "more"
    } else {
        "less"
    };
    let title = format!(
        "{group}: {} ({}), {better} is better; the line is least .. most, a gap a bar that is cut",
        metric.name, metric.unit
    );
    area.draw_text(&title, &text_style(16, HPos::Left), (GAP, GAP))?;
    let mut top = HEAD;
    for (index, bar) in bars.iter().enumerate() {
        let begins = index == 0 || bars[index - 1].row != bar.row;
        if begins && index > 0 {
            top += GAP;
        }
        draw_bar(&area, bar, begins, scale_of(&bars, bar.row), top)?;
        top += BAR;
    }
    area.present()?;
    Ok(true)
}

/// The figure at which a row's scale ends.
fn scale_of(bars: &[Bar], row: &str) -> f64 {
    let of_row = || bars.iter().filter(|bar| bar.row == row);
    let longest = of_row().map(|bar| bar.spread.max).fold(0.0, f64::max);
    let ours = of_row().find(|bar| bar.label == "gaggle");
    match ours.map(|ours| CUT * ours.spread.max) {
        Some(cut) if cut > 0.0 => longest.min(cut),
        _ => longest,
    }
}

fn text_style(size: i32, side: HPos) -> TextStyle<'static> {
    let style = ("sans-serif", size).into_font().color(&BLACK);
    style.pos(Pos::new(side, VPos::Top))
}

fn draw_bar(area: &Area, bar: &Bar, begins: bool, scale: f64, top: i32) -> Drawn {
    let length = |figure: f64| {
        let share = if scale > 0.0 { figure / scale } else { 0.0 };
        LEFT + (f64::from(WIDTH - LEFT - RIGHT) * share.clamp(0.0, 1.0)).round() as i32
    };
    let text_top = top + 2;
    if begins {
        area.draw_text(bar.row, &text_style(13, HPos::Left), (GAP, text_top))?;
    }
    area.draw_text(
        bar.label,
        &text_style(13, HPos::Right),
        (LEFT - 6, text_top),
    )?;
    let end = length(bar.spread.median).max(LEFT + 1);
    let (upper, lower) = (top + 2, top + BAR - 3);
    area.draw(&Rectangle::new(
        [(LEFT, upper), (end, lower)],
        colour(bar.label).filled(),
    ))?;
    let (least, most) = (length(bar.spread.min), length(bar.spread.max));
    if bar.spread.median > scale {
        let gap = [(end - 16, upper), (end - 10, lower)];
        area.draw(&Rectangle::new(gap, WHITE.filled()))?;
    } else {
        let middle = top + BAR / 2;
        let line = |ends: [(i32, i32); 2]| PathElement::new(ends.to_vec(), BLACK.stroke_width(1));
        area.draw(&line([(least, middle), (most, middle)]))?;
        for side in [least, most] {
            area.draw(&line([(side, middle - 3), (side, middle + 3)]))?;
        }
    }
    let text = number(bar.spread.median);
    let behind = (most.max(end) + 6, text_top);
    area.draw_text(&text, &text_style(13, HPos::Left), behind)?;
    Ok(())
}

/// The places of one contender.
type Line = Vec<(f64, Spread)>;

fn lines_of<'a>(places: &[&'a Row], metric: &Metric) -> Vec<(&'a str, Line)> {
    let mut lines: Vec<(&str, Line)> = Vec::new();
    for row in places {
        let load = row.sweep.as_ref().map_or(0.0, |(_, load)| *load);
        for series in &row.series {
            let Some(spread) = series.spread(metric.key) else {
                continue;
            };
            match lines.iter_mut().find(|(label, _)| *label == series.label) {
                Some((_, line)) => line.push((load, spread)),
                None => lines.push((&series.label, vec![(load, spread)])),
            }
        }
    }
    for (_, line) in &mut lines {
        line.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    }
    lines
}

/// A curve for each contender, both axes logarithmic.
fn curves(file: &Path, sweep: &str, metric: &Metric, places: &[&Row]) -> Drawn {
    let lines = lines_of(places, metric);
    let all: Vec<_> = lines
        .iter()
        .flat_map(|(_, line)| line.iter().copied())
        .collect();
    // A logarithm needs something above nothing.
    let least = 1e-3;
    let range = |figures: Vec<f64>| {
        let spread = Spread::of(figures).unwrap_or(Spread {
            median: 1.0,
            min: 1.0,
            max: 1.0,
        });
        spread.min.max(least) / 1.3..spread.max.max(least) * 1.3
    };
    let loads = range(all.iter().map(|(load, _)| *load).collect());
    let ends = all.iter().flat_map(|(_, spread)| [spread.min, spread.max]);
    let figures = range(ends.collect());
    let area = SVGBackend::new(file, (800, 500)).into_drawing_area();
    area.fill(&WHITE)?;
    let better = if metric.more_is_better {
        "more"
    } else {
        "less"
    };
    let title = format!("{}: {better} is better", sweep.replace('_', " "));
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(80)
        .build_cartesian_2d(loads.log_scale(), figures.log_scale())?;
    let axis = sweep.rsplit("_by_").next().unwrap_or_default();
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_desc(axis)
        .y_desc(format!("{} ({})", metric.name, metric.unit))
        .x_label_formatter(&|figure| number(*figure))
        .y_label_formatter(&|figure| number(*figure))
        .draw()?;
    for (label, line) in &lines {
        let style = colour(label).stroke_width(2);
        let medians = line
            .iter()
            .map(|(load, spread)| (*load, spread.median.max(least)));
        chart
            .draw_series(LineSeries::new(medians.clone(), style))?
            .label(*label)
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], style));
        chart.draw_series(medians.map(|place| Circle::new(place, 3, style.filled())))?;
        chart.draw_series(line.iter().map(|(load, spread)| {
            let ends = vec![
                (*load, spread.min.max(least)),
                (*load, spread.max.max(least)),
            ];
            PathElement::new(ends, colour(label).stroke_width(1))
        }))?;
    }
    chart
        .configure_series_labels()
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    area.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::{Line, Results};
    use serde_json::{Value, json};

    fn line(case: &str, sweep: Option<u64>, contender: &str, ns: f64) -> Line {
        let mut keys = json!({
            "session": "one", "case": case, "group": "tasks", "contender": contender, "round": 1,
            "metrics": ["ns_per_op"], "report": {"peer": contender, "ns_per_op": ns},
        });
        if let Some(load) = sweep {
            keys["sweep"] = "spawn_by_tasks".into();
            keys["load"] = load.into();
        }
        let Value::Object(keys) = keys else {
            panic!("an object")
        };
        Line::new(keys)
    }

    #[test]
    fn bars_and_curves_name_everyone_and_tell_the_figures() {
        let lines = [
            line("yield", None, "gaggle", 15.0),
            line("yield", None, "threads", 12_345.0),
            line("spawn_by_tasks 100", Some(100), "gaggle", 40.0),
            line("spawn_by_tasks 1000", Some(1000), "gaggle", 50.0),
            line("spawn_by_tasks 100", Some(100), "go", 300.0),
        ];
        let folder = std::env::temp_dir().join(format!("gaggle-plots-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("it is ours");
        let files = draw(&Results::of(&lines), &folder).expect("they can be drawn");
        assert_eq!(
            files,
            ["tasks_ns_per_op.svg", "spawn_by_tasks_ns_per_op.svg"]
        );
        let read = |file: &str| std::fs::read_to_string(folder.join(file)).expect("it is there");
        let bars = read(&files[0]);
        for word in ["gaggle", "threads", "12,345", "15.0", "yield"] {
            assert!(bars.contains(word), "{word}");
        }
        let curves = read(&files[1]);
        for word in ["gaggle", "go", "1,000", "less is better"] {
            assert!(curves.contains(word), "{word}");
        }
        std::fs::remove_dir_all(&folder).expect("it is ours");
    }
}

//! ARCHITECTURE.md links what exists: every decision record, and for every numbered invariant the
//! test that holds it; and `docs/dangers.md`, for every danger. `docs/contracts.md` names tests that
//! exist, or says why there is none. `examples/README.md` lists every program beside it.
//!
//! An invariant is a row of a table whose first cell is a letter and a number, such as `A1`. Its
//! tests are written as code: a file's path from the root, two colons, and the test's name.

use super::Finding;
use super::source::Source;
use crate::failure::Failure;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

const OVERVIEW: &str = "ARCHITECTURE.md";
/// Its rows are held to the same.
const DANGERS: &str = "docs/dangers.md";
const RECORDS: &str = "docs/adr";
/// Lists the programs beside it.
const EXAMPLES: &str = "examples/README.md";
/// Go's cases, each with a test or a reason in its last cell.
const CONTRACTS: &str = "docs/contracts.md";

/// Reports broken links, unlinked decision records, and invariants without a test.
pub fn check(root: &Path, sources: &[Source], findings: &mut Vec<Finding>) -> Result<(), Failure> {
    let path = root.join(OVERVIEW);
    let text = std::fs::read_to_string(&path).map_err(Failure::at(&path))?;
    let links = links(&text);
    for (line, target) in &links {
        let file = target.split('#').next().unwrap_or_default();
        if !file.is_empty() && !file.contains("://") && !root.join(file).exists() {
            let message = format!("links {target}, which does not exist");
            findings.push(Finding::error(Path::new(OVERVIEW), *line, message));
        }
    }
    for record in records(root)? {
        if !links.iter().any(|(_, target)| Path::new(target) == record) {
            let message = format!("{OVERVIEW} does not link this decision record");
            findings.push(Finding::error(&record, 0, message));
        }
    }
    invariants(OVERVIEW, &text, sources, findings);
    let dangers = root.join(DANGERS);
    if dangers.exists() {
        let text = std::fs::read_to_string(&dangers).map_err(Failure::at(&dangers))?;
        invariants(DANGERS, &text, sources, findings);
    }
    examples(root, sources, findings)?;
    let path = root.join(CONTRACTS);
    if path.exists() {
        let text = std::fs::read_to_string(&path).map_err(Failure::at(&path))?;
        contracts(&text, sources, findings);
    }
    Ok(())
}

/// Reports programs in the folder of examples that its list does not link.
fn examples(root: &Path, sources: &[Source], findings: &mut Vec<Finding>) -> Result<(), Failure> {
    let path = root.join(EXAMPLES);
    if !path.exists() {
        return Ok(());
    }
    let text = std::fs::read_to_string(&path).map_err(Failure::at(&path))?;
    let linked: HashSet<String> = links(&text).into_iter().map(|(_, target)| target).collect();
    let folder = Path::new(EXAMPLES).parent();
    for source in sources
        .iter()
        .filter(|source| source.path.parent() == folder)
    {
        let name = source
            .path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy();
        if !linked.contains(&*name) {
            let message = format!("{EXAMPLES} does not list this program");
            findings.push(Finding::error(&source.path, 0, message));
        }
    }
    Ok(())
}

/// Reports rows without a last cell, and tests that they name and do not exist. A test is written as
/// `file.rs::name`; folders before the file's name may be left out.
fn contracts(text: &str, sources: &[Source], findings: &mut Vec<Finding>) {
    for (index, line) in text.lines().enumerate() {
        let Some(cell) = last_cell(line) else {
            continue;
        };
        let mut error = |message: String| {
            findings.push(Finding::error(Path::new(CONTRACTS), index + 1, message));
        };
        if cell.is_empty() {
            error("names no test, and says no reason".to_string());
        }
        let tests = code_spans(cell).filter_map(|code| code.split_once("::"));
        for (file, name) in tests.filter(|(file, _)| file.ends_with(".rs")) {
            let mut named = sources
                .iter()
                .filter(|source| source.path.ends_with(file))
                .peekable();
            if named.peek().is_none() {
                error(format!("names {file}, which does not exist"));
            } else if !named.any(|source| has_test_named(&source.text, name)) {
                error(format!("names {name}, which is no test in {file}"));
            }
        }
    }
}

/// The last cell of a table's row; `None` for what is no row, or separates the head from the rows.
fn last_cell(line: &str) -> Option<&str> {
    let cells = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    let is_rule = cells.chars().all(|c| matches!(c, '-' | ':' | '|' | ' '));
    let is_empty_row = cells.chars().all(|c| matches!(c, '|' | ' '));
    if is_rule && !is_empty_row {
        return None;
    }
    Some(cells.rsplit('|').next().unwrap_or_default().trim())
}

/// The decision records, in the order of their numbers.
fn records(root: &Path) -> Result<Vec<PathBuf>, Failure> {
    let folder = root.join(RECORDS);
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut records = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(Failure::at(&folder))? {
        let name = entry.map_err(Failure::at(&folder))?.file_name();
        if Path::new(&name)
            .extension()
            .is_some_and(|extension| extension == "md")
        {
            records.push(Path::new(RECORDS).join(name));
        }
    }
    records.sort();
    Ok(records)
}

fn invariants(document: &str, text: &str, sources: &[Source], findings: &mut Vec<Finding>) {
    let mut seen = HashSet::new();
    for (index, line) in text.lines().enumerate() {
        let mut error = |message: String| {
            findings.push(Finding::error(Path::new(document), index + 1, message))
        };
        let Some(number) = invariant_number(line) else {
            continue;
        };
        if !seen.insert(number.to_string()) {
            error(format!("{number} is numbered twice"));
        }
        let tests = code_spans(line).filter_map(|code| code.split_once("::"));
        let mut has_test = false;
        for (file, name) in tests.filter(|(file, _)| file.ends_with(".rs")) {
            has_test = true;
            match sources.iter().find(|source| source.path == Path::new(file)) {
                None => error(format!("{number} links {file}, which does not exist")),
                Some(source) if !has_test_named(&source.text, name) => {
                    error(format!("{number} links {name}, which is no test in {file}"));
                }
                Some(_) => {}
            }
        }
        if !has_test {
            error(format!(
                "{number} links no test; write `path/to/file.rs::name_of_the_test`"
            ));
        }
    }
}

/// `A1` for a table row whose first cell says so.
fn invariant_number(line: &str) -> Option<&str> {
    let cell = line.trim().strip_prefix('|')?.split('|').next()?.trim();
    let digits = cell.strip_prefix(|first: char| first.is_ascii_uppercase())?;
    (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())).then_some(cell)
}

/// What stands between backticks.
fn code_spans(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// Whether `text` has a function of that name under an attribute whose path ends in `test`, or
/// inside a macro that names it (`proptest!`, `loom` models are ordinary tests).
fn has_test_named(text: &str, name: &str) -> bool {
    // A test without the harness: the whole program is the test.
    if name == "main" {
        return text.contains("\nfn main()");
    }
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    // A macro that makes a test of each of its lines.
    let row = format!("{name} = ");
    if text.contains("fn $test()") && lines.iter().any(|line| line.starts_with(&row)) {
        return true;
    }
    lines.iter().enumerate().any(|(at, line)| {
        let Some((before, after)) = line.split_once("fn ") else {
            return false;
        };
        let is_named = after
            .strip_prefix(name)
            .is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'));
        let is_function = before.is_empty() || before.ends_with(' ');
        is_named
            && is_function
            && lines[..at]
                .iter()
                .rev()
                .take_while(|line| line.starts_with('#') || line.starts_with("//"))
                .any(|line| is_test_attribute(line))
    })
}

fn is_test_attribute(line: &str) -> bool {
    let Some(path) = line.strip_prefix("#[") else {
        return false;
    };
    let path = path.split(['(', ']', ' ']).next().unwrap_or_default();
    path == "test" || path.ends_with("::test")
}

/// The targets of Markdown links, with their lines.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut links = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for tail in line.split("](").skip(1) {
            if let Some((target, _)) = tail.split_once(')') {
                links.push((index + 1, target.to_string()));
            }
        }
    }
    links
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_rows_with_a_number_are_invariants() {
        assert_eq!(invariant_number("| A1 | one thing |"), Some("A1"));
        assert_eq!(invariant_number("| number | text |"), None);
        assert_eq!(invariant_number("|---|---|"), None);
        assert_eq!(invariant_number("A1 in a sentence"), None);
    }

    #[test]
    fn last_cells_are_those_of_rows() {
        assert_eq!(last_cell("| a | b | `c.rs::d` |"), Some("`c.rs::d`"));
        assert_eq!(last_cell("| a | b | |"), Some(""));
        assert_eq!(last_cell("|---|:-:|---|"), None);
        assert_eq!(last_cell("words"), None);
    }

    #[test]
    fn a_test_is_found_by_its_attribute_and_whole_name() {
        let text = "#[test]\n#[should_panic]\nfn closes() {}\nfn helper() {}\n#[gaggle::test]\nfn parks() {}";
        assert!(has_test_named(text, "closes"));
        assert!(has_test_named(text, "parks"));
        assert!(!has_test_named(text, "close"));
        assert!(!has_test_named(text, "helper"));
    }
}

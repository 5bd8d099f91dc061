//! Rules about a single file's text: it says what it is, it has a size one can read, and its tests
//! all run.

use super::Finding;
use super::paths;
use super::source::Source;
use proc_macro2::{TokenStream, TokenTree};

/// Above this many lines a file has more than one subject.
const LINES_MAX: usize = 800;
/// Above this many lines it is worth asking.
const LINES_NOTICE: usize = 400;

/// Reports missing module docs, long files, ignored tests and unfinished code.
pub fn check(sources: &[Source], findings: &mut Vec<Finding>) {
    for source in sources {
        if !starts_with_docs(&source.text) {
            findings.push(Finding::error(
                &source.path,
                1,
                "a file starts with //! docs that say what it is",
            ));
        }
        size(source, findings);
        unfinished(source, findings);
        ignored(&source.tokens, source, findings);
        skipped_examples(source, findings);
    }
}

/// Whether the first thing in the file, inner attributes apart, is a `//!` with words.
fn starts_with_docs(text: &str) -> bool {
    let first = text
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty() && !is_inner_attribute(line));
    first
        .and_then(|line| line.strip_prefix("//!"))
        .is_some_and(|words| words.chars().any(char::is_alphabetic))
}

fn is_inner_attribute(line: &str) -> bool {
    line.starts_with("#![") && line.ends_with(']')
}

fn size(source: &Source, findings: &mut Vec<Finding>) {
    let lines = source.text.lines().count();
    if lines > LINES_MAX {
        let message = format!("{lines} lines; {LINES_MAX} at most, split it by protocol");
        findings.push(Finding::error(&source.path, 0, message));
    } else if lines > LINES_NOTICE {
        let message = format!("{lines} lines; about {LINES_NOTICE} feels right");
        findings.push(Finding::notice(&source.path, 0, message));
    }
}

/// `todo!` and `unimplemented!`, wherever they stand.
fn unfinished(source: &Source, findings: &mut Vec<Finding>) {
    for (name, line) in paths::macro_calls(&source.tokens) {
        if name == "todo" || name == "unimplemented" {
            let message = format!("{name}! is a stub; write it or leave it out");
            findings.push(Finding::error(&source.path, line, message));
        }
    }
}

/// `#[ignore]`; `#[cfg_attr(miri, ignore)]` is none, the test runs everywhere else.
fn ignored(tokens: &TokenStream, source: &Source, findings: &mut Vec<Finding>) {
    let mut after_hash = false;
    for token in tokens.clone() {
        if let TokenTree::Group(group) = &token {
            match group.stream().into_iter().next() {
                Some(TokenTree::Ident(name)) if after_hash && name == "ignore" => {
                    let line = name.span().start().line;
                    let message = "a test that is ignored checks nothing";
                    findings.push(Finding::error(&source.path, line, message));
                }
                _ => ignored(&group.stream(), source, findings),
            }
        }
        after_hash = matches!(token, TokenTree::Punct(punct) if punct.as_char() == '#');
    }
}

/// Examples in docs that rustdoc would not even compile.
fn skipped_examples(source: &Source, findings: &mut Vec<Finding>) {
    for (index, line) in source.text.lines().enumerate() {
        let words = line.trim_start();
        let docs = words
            .strip_prefix("///")
            .or_else(|| words.strip_prefix("//!"));
        let Some(fence) = docs.and_then(|docs| docs.trim_start().strip_prefix("```")) else {
            continue;
        };
        if fence
            .split(',')
            .any(|word| word.trim() == "ignore" || word.starts_with("ignore-"))
        {
            let message = "an example that is not compiled goes stale; use `text` if it is no Rust";
            findings.push(Finding::error(&source.path, index + 1, message));
        }
    }
}

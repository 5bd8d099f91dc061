//! What a file names: the paths in `use` trees, in `extern crate`, in expressions, types and macro
//! calls, and the macros it calls.
//!
//! It reads tokens, not syntax trees, so that what is written inside a macro call counts too. A
//! path is one or more names joined by `::`; a single name counts only in a `use`.

use proc_macro2::{Delimiter, Ident, TokenStream, TokenTree};
use std::path::Path;

/// A path that a file names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Resolved as far as the file alone tells: `self` and `super` have become `crate::...`.
    pub segments: Vec<String>,
    /// Counted from 1.
    pub line: usize,
}

/// The module that a file is, as names below the crate's root; `path` is relative to `src`.
pub fn module_of(path: &Path) -> Vec<String> {
    let mut names: Vec<String> = path
        .with_extension("")
        .iter()
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    let is_root = names.len() == 1 && ["main", "lib"].contains(&names[0].as_str());
    if is_root || names.last().is_some_and(|name| name == "mod") {
        names.pop();
    }
    names
}

/// Every path named in `tokens`, the contents of the module `module`.
pub fn references(tokens: &TokenStream, module: &[String]) -> Vec<Reference> {
    let mut found = Vec::new();
    walk(tokens.clone(), module, &mut found);
    found
}

/// Each `name!` and its line, at any depth.
pub fn macro_calls(tokens: &TokenStream) -> Vec<(String, usize)> {
    let tokens: Vec<TokenTree> = tokens.clone().into_iter().collect();
    let mut calls = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        match (token, tokens.get(at + 1)) {
            (TokenTree::Group(group), _) => calls.extend(macro_calls(&group.stream())),
            (TokenTree::Ident(name), Some(TokenTree::Punct(punct))) if punct.as_char() == '!' => {
                calls.push((name.to_string(), name.span().start().line));
            }
            _ => {}
        }
    }
    calls
}

fn walk(tokens: TokenStream, module: &[String], found: &mut Vec<Reference>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut at = 0;
    while at < tokens.len() {
        at = match &tokens[at] {
            TokenTree::Group(group) => {
                walk(group.stream(), module, found);
                at + 1
            }
            TokenTree::Ident(ident) if *ident == "mod" => walk_module(&tokens, at, module, found),
            TokenTree::Ident(ident) if *ident == "use" => {
                use_tree(&tokens, at + 1, &[], module, found)
            }
            TokenTree::Ident(ident) if *ident == "extern" && is_ident(&tokens, at + 1, "crate") => {
                if let Some(TokenTree::Ident(name)) = tokens.get(at + 2) {
                    add(vec![plain(name)], name, module, found);
                }
                at + 3
            }
            TokenTree::Ident(_) => path(&tokens, at, module, found),
            _ => at + 1,
        };
    }
}

/// `mod name { ... }` is walked as the module it is; answers where to go on.
fn walk_module(
    tokens: &[TokenTree],
    at: usize,
    module: &[String],
    found: &mut Vec<Reference>,
) -> usize {
    if let (Some(TokenTree::Ident(name)), Some(TokenTree::Group(body))) =
        (tokens.get(at + 1), tokens.get(at + 2))
    {
        let mut inner = module.to_vec();
        inner.push(plain(name));
        walk(body.stream(), &inner, found);
        return at + 3;
    }
    at + 1
}

/// `a::b::c` outside a `use`; answers where to go on.
fn path(
    tokens: &[TokenTree],
    start: usize,
    module: &[String],
    found: &mut Vec<Reference>,
) -> usize {
    let mut segments = Vec::new();
    let mut at = start;
    while let Some(TokenTree::Ident(ident)) = tokens.get(at) {
        segments.push(plain(ident));
        at += 1;
        if !is_colons(tokens, at) {
            break;
        }
        at += 2;
    }
    if let (TokenTree::Ident(first), true) = (&tokens[start], segments.len() > 1) {
        add(segments, first, module, found);
    }
    at
}

/// One tree of a `use`, with its branches; answers where to go on.
fn use_tree(
    tokens: &[TokenTree],
    start: usize,
    prefix: &[String],
    module: &[String],
    found: &mut Vec<Reference>,
) -> usize {
    let mut segments = prefix.to_vec();
    let mut at = start;
    while let Some(token) = tokens.get(at) {
        match token {
            TokenTree::Ident(ident) => {
                segments.push(plain(ident));
                at += 1;
                if !is_colons(tokens, at) && !is_ident(tokens, at, "as") {
                    add(segments, ident, module, found);
                    return at;
                }
                if is_ident(tokens, at, "as") {
                    add(segments, ident, module, found);
                    return at + 2;
                }
            }
            TokenTree::Punct(punct) if punct.as_char() == ':' => at += 1,
            TokenTree::Punct(punct) if punct.as_char() == '*' => {
                found.extend(resolve(segments, module).map(|segments| Reference {
                    segments,
                    line: punct.span().start().line,
                }));
                return at + 1;
            }
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                branches(group.stream(), &segments, module, found);
                return at + 1;
            }
            _ => return at + 1,
        }
    }
    at
}

fn branches(tokens: TokenStream, prefix: &[String], module: &[String], found: &mut Vec<Reference>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    for branch in tokens.split(|token| matches!(token, TokenTree::Punct(p) if p.as_char() == ',')) {
        use_tree(branch, 0, prefix, module, found);
    }
}

fn add(segments: Vec<String>, at: &Ident, module: &[String], found: &mut Vec<Reference>) {
    let line = at.span().start().line;
    found.extend(resolve(segments, module).map(|segments| Reference { segments, line }));
}

/// Turns `self::` and `super::` into `crate::`; `None` for what points above the crate.
fn resolve(segments: Vec<String>, module: &[String]) -> Option<Vec<String>> {
    let mut rest = segments.as_slice();
    let mut base = module;
    let mut is_relative = false;
    while let [first, tail @ ..] = rest {
        match first.as_str() {
            "self" => {}
            "super" => base = base.split_last()?.1,
            _ => break,
        }
        is_relative = true;
        rest = tail;
    }
    if !is_relative {
        // `{self}` at the end of a tree names the tree's own prefix.
        let mut segments = segments;
        if segments.len() > 1 && segments.last().is_some_and(|last| last == "self") {
            segments.pop();
        }
        return Some(segments);
    }
    let mut absolute = vec!["crate".to_string()];
    absolute.extend(
        base.iter()
            .chain(rest)
            .filter(|name| *name != "self")
            .cloned(),
    );
    Some(absolute)
}

fn is_ident(tokens: &[TokenTree], at: usize, name: &str) -> bool {
    matches!(tokens.get(at), Some(TokenTree::Ident(ident)) if ident == name)
}

fn is_colons(tokens: &[TokenTree], at: usize) -> bool {
    let is_colon = |token: Option<&TokenTree>| matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == ':');
    is_colon(tokens.get(at)) && is_colon(tokens.get(at + 1))
}

fn plain(ident: &Ident) -> String {
    let name = ident.to_string();
    name.strip_prefix("r#").map(str::to_string).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::str::FromStr;

    fn named(code: &str, module: &[&str]) -> Vec<String> {
        let module: Vec<String> = module.iter().map(|name| name.to_string()).collect();
        let tokens = TokenStream::from_str(code).expect("the test's code is Rust");
        references(&tokens, &module)
            .into_iter()
            .map(|found| found.segments.join("::"))
            .collect()
    }

    #[test]
    fn use_trees_are_taken_apart() {
        let code =
            "use crate::{delivery::{self, http}, usecase::*}; use gaggle_rt as rt; pub use ::a::b;";
        let expected = [
            "crate::delivery",
            "crate::delivery::http",
            "crate::usecase",
            "gaggle_rt",
            "a::b",
        ];
        assert_eq!(named(code, &[]), expected);
    }

    #[test]
    fn relative_paths_become_absolute() {
        let code = "use super::ports; mod tests { use super::x; use super::super::y; }";
        assert_eq!(
            named(code, &["repository", "sqlite"]),
            [
                "crate::repository::ports",
                "crate::repository::sqlite::x",
                "crate::repository::y"
            ]
        );
    }

    #[test]
    fn paths_in_expressions_types_and_macro_calls_count() {
        let code =
            "fn f(x: gaggle_rt::G) { println!(\"{}\", gaggle_sys::clock::now()); x.y::<u8>() }";
        assert_eq!(named(code, &[]), ["gaggle_rt::G", "gaggle_sys::clock::now"]);
    }

    #[test]
    fn comments_and_strings_do_not_count() {
        let code =
            "//! gaggle_rt::G\n/* use a::b; */ /// see gaggle_sys::x\nconst S: &str = \"a::b\";";
        assert_eq!(named(code, &[]), Vec::<String>::new());
    }

    #[test]
    fn a_file_is_the_module_its_path_says() {
        let module = |path: &str| module_of(Path::new(path)).join("::");
        assert_eq!(module("main.rs"), "");
        assert_eq!(module("delivery/mod.rs"), "delivery");
        assert_eq!(module("delivery/http/routes.rs"), "delivery::http::routes");
    }
}

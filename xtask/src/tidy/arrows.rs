//! Which crate may know which: the table, and the rule that keeps it.
//!
//! The table holds for every dependency table of a manifest, tests included, and for every path in
//! the sources. A package that the table does not list is an error, so nobody joins without a place.

use super::Finding;
use super::paths;
use super::source::{Package, Source};
use std::path::Path;

/// Each package of the tree and the packages of the tree that it may know.
const ARROWS: &[(&str, &[&str])] = &[
    ("gaggle-core", &[]),
    ("gaggle-sys", &[]),
    ("gaggle-macros", &[]),
    ("gaggle-rt", &["gaggle-core", "gaggle-sys"]),
    ("gaggle-threads", &["gaggle-core", "gaggle-sys"]),
    (
        "gaggle",
        &[
            "gaggle-rt",
            "gaggle-threads",
            "gaggle-core",
            "gaggle-macros",
        ],
    ),
    ("gaggle-debug", &["gaggle", "gaggle-http"]),
    ("gaggle-http", &["gaggle"]),
    ("gaggle-sql", &["gaggle"]),
    ("courier", &["gaggle", "gaggle-http", "gaggle-sql"]),
    // Programs that show or measure the library use it as its users do.
    (
        "gaggle-examples",
        &["gaggle", "gaggle-debug", "gaggle-http", "gaggle-sql"],
    ),
    (
        "gaggle-bench",
        &[
            "gaggle",
            "gaggle-debug",
            "gaggle-http",
            "gaggle-sql",
            "peer-common",
        ],
    ),
    (
        "gaggle-compat",
        &["gaggle", "gaggle-debug", "gaggle-http", "gaggle-sql"],
    ),
    (
        "gaggle-stress",
        &["gaggle", "gaggle-debug", "gaggle-http", "gaggle-sql"],
    ),
    (
        "gaggle-fuzz",
        &["gaggle", "gaggle-core", "gaggle-http", "gaggle-sql"],
    ),
    // What runs the bench knows only programs; its peers know nothing of Gaggle, nor does what they share with it.
    ("gaggle-bench-harness", &[]),
    // It counts the algorithms, which the facade hides.
    ("gaggle-instructions", &["gaggle-core"]),
    ("peer-common", &[]),
    ("peer-may", &["peer-common"]),
    ("peer-threads", &["peer-common"]),
    ("peer-tokio", &["peer-common"]),
    ("xtask", &[]),
];

/// A macro crate writes paths that the code which calls the macro resolves.
const WRITES_PATHS_FOR_OTHERS: &str = "gaggle-macros";

/// Reports every arrow that the table does not have.
pub fn check(packages: &[Package], sources: &[Source], findings: &mut Vec<Finding>) {
    for package in packages {
        let Some(allowed) = allowed(&package.name) else {
            findings.push(Finding::error(
                &package.manifest,
                0,
                format!(
                    "{} is not in the table of arrows (xtask/src/tidy/arrows.rs)",
                    package.name
                ),
            ));
            continue;
        };
        for dependency in &package.dependencies {
            if is_ours(&dependency.name, packages)
                && dependency.name != package.name
                && !allowed.contains(&dependency.name.as_str())
            {
                let message = forbidden(&package.name, &dependency.name, allowed);
                findings.push(Finding::error(&package.manifest, 0, message));
            }
        }
    }
    for source in sources
        .iter()
        .filter(|source| source.package != WRITES_PATHS_FOR_OTHERS)
    {
        check_source(source, packages, findings);
    }
}

fn check_source(source: &Source, packages: &[Package], findings: &mut Vec<Finding>) {
    let Some(allowed) = allowed(&source.package) else {
        return;
    };
    let in_src = source
        .path_in_package
        .strip_prefix("src")
        .unwrap_or(Path::new(""));
    for reference in paths::references(&source.tokens, &paths::module_of(in_src)) {
        let Some(first) = reference.segments.first() else {
            continue;
        };
        let target = first.replace('_', "-");
        if is_ours(&target, packages)
            && target != source.package
            && !allowed.contains(&target.as_str())
        {
            let message = forbidden(&source.package, &target, allowed);
            findings.push(Finding::error(&source.path, reference.line, message));
        }
    }
}

fn allowed(package: &str) -> Option<&'static [&'static str]> {
    ARROWS
        .iter()
        .find(|(name, _)| *name == package)
        .map(|(_, allowed)| *allowed)
}

fn is_ours(name: &str, packages: &[Package]) -> bool {
    allowed(name).is_some() || packages.iter().any(|package| package.name == name)
}

fn forbidden(from: &str, to: &str, allowed: &[&str]) -> String {
    let known = if allowed.is_empty() {
        "no crate of ours".into()
    } else {
        allowed.join(", ")
    };
    format!("forbidden arrow {from} -> {to}: {from} may know {known}")
}

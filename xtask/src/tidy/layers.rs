//! Courier's layers: delivery -> usecase -> domain; repository -> usecase's ports; delivery and
//! repository meet only in main.
//!
//! The domain is at the centre: its types appear in the signatures of the use cases and their ports,
//! so every layer may name them. What speaks HTTP or SQL stays in the layer at that edge.

use super::Finding;
use super::paths::{self, Reference};
use super::source::Source;

const SERVICE: &str = "courier";

/// Each layer, and the beginnings of the paths below `crate` that it may name.
const LAYERS: &[(&str, &[&str])] = &[
    ("domain", &["domain"]),
    ("usecase", &["usecase", "domain"]),
    ("repository", &["repository", "usecase::ports", "domain"]),
    ("delivery", &["delivery", "usecase", "domain", "config"]),
    ("config", &["config", "usecase", "domain"]),
];

/// Crates that belong to one edge, and the layer there; main wires them and may name them.
const EDGES: &[(&str, &str)] = &[
    ("rusqlite", "repository"),
    ("gaggle_sql", "repository"),
    ("ureq", "delivery"),
    ("http", "delivery"),
    ("hyper", "delivery"),
    ("gaggle_http", "delivery"),
];

/// What every layer may name of them all the same: where an endpoint is, is the domain's subject.
const SUBJECT: [&str; 2] = ["http", "Uri"];

/// Reports every path that crosses the layers the wrong way.
pub fn check(sources: &[Source], findings: &mut Vec<Finding>) {
    for source in sources.iter().filter(|source| source.package == SERVICE) {
        let Ok(in_src) = source.path_in_package.strip_prefix("src") else {
            continue;
        };
        let module = paths::module_of(in_src);
        let Some(layer) = module.first() else {
            continue;
        };
        if layer == "bin" {
            continue;
        }
        let Some((layer, allowed)) = LAYERS.iter().find(|(name, _)| name == layer) else {
            findings.push(Finding::error(
                &source.path,
                0,
                format!(
                    "{layer} is no layer of courier; put the file into one of {}",
                    names()
                ),
            ));
            continue;
        };
        for reference in paths::references(&source.tokens, &module) {
            findings.extend(
                crossing(layer, allowed, &reference)
                    .map(|message| Finding::error(&source.path, reference.line, message)),
            );
        }
    }
}

/// Why `layer` may not name this, if so.
fn crossing(layer: &str, allowed: &[&str], reference: &Reference) -> Option<String> {
    let (first, rest) = reference.segments.split_first()?;
    if reference.segments.starts_with(&SUBJECT.map(String::from)) {
        return None;
    }
    if let Some((_, edge)) = EDGES.iter().find(|(name, _)| name == first) {
        return (*edge != layer)
            .then(|| format!("{layer} names {first}, which belongs to the {edge} layer"));
    }
    if first != "crate" && first != SERVICE {
        return None;
    }
    let target = rest.first()?;
    LAYERS.iter().find(|(name, _)| name == target)?;
    let path = rest.join("::");
    let is_allowed = allowed.iter().any(|prefix| {
        path.strip_prefix(prefix)
            .is_some_and(|tail| tail.is_empty() || tail.starts_with("::"))
    });
    (!is_allowed).then(|| {
        format!(
            "forbidden arrow {layer} -> {path}: {layer} may know {}",
            allowed.join(", ")
        )
    })
}

fn names() -> String {
    LAYERS
        .iter()
        .map(|(name, _)| *name)
        .collect::<Vec<_>>()
        .join(", ")
}

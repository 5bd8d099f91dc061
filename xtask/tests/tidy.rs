//! The tidy rules on small trees made for the purpose, and on this very workspace.

use std::path::Path;
use tempfile::TempDir;
use xtask::tidy::{self, Report, Severity};

/// A workspace in a temporary folder: one package of each given name, and one file more of each.
struct Tree {
    folder: TempDir,
}

impl Tree {
    /// `packages`: a name, its manifest's dependency lines, and the text of its `src/lib.rs`.
    fn new(packages: &[(&str, &str, &str)]) -> Self {
        let tree = Tree {
            folder: tempfile::tempdir().expect("a temporary folder"),
        };
        tree.write(
            "Cargo.toml",
            "[workspace]\nresolver = \"3\"\nmembers = [\"crates/*\"]\n",
        );
        tree.write("ARCHITECTURE.md", "# Architecture\n");
        for (name, dependencies, library) in packages {
            let manifest = format!(
                "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n{dependencies}"
            );
            tree.write(&format!("crates/{name}/Cargo.toml"), &manifest);
            tree.write(&format!("crates/{name}/src/lib.rs"), library);
        }
        tree
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.folder.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a file has a folder")).expect("made");
        std::fs::write(path, text).expect("written");
    }

    fn report(&self) -> Report {
        // The folder may be reached through a link; cargo answers with the real path.
        let root = self
            .folder
            .path()
            .canonicalize()
            .expect("the folder exists");
        tidy::check(&root).expect("the tree can be read")
    }

    /// The errors as `path:line: message`, shortened to the given beginnings.
    fn errors(&self) -> Vec<String> {
        messages(&self.report(), Severity::Error)
    }
}

fn messages(report: &Report, severity: Severity) -> Vec<String> {
    report
        .findings
        .iter()
        .filter(|finding| finding.severity == severity)
        .map(|f| format!("{}:{}: {}", f.path.display(), f.line, f.message))
        .collect()
}

#[track_caller]
fn assert_only(errors: &[String], beginning: &str) {
    assert!(
        errors.len() == 1 && errors[0].starts_with(beginning),
        "expected only {beginning:?}, found {errors:#?}"
    );
}

const CORE: (&str, &str, &str) = ("gaggle-core", "", "//! Core.\n");

#[test]
fn a_tree_that_keeps_the_rules_is_clean() {
    let tree = Tree::new(&[
        CORE,
        (
            "gaggle-rt",
            "[dependencies]\ngaggle-core = { path = \"../gaggle-core\" }\n",
            "//! Green.\nuse gaggle_core::task;\n",
        ),
    ]);
    let report = tree.report();
    assert!(report.is_clean(), "{report}");
    assert_eq!((report.file_count, report.findings.len()), (2, 0));
}

#[test]
fn a_forbidden_arrow_in_a_manifest_is_reported() {
    let tree = Tree::new(&[
        ("gaggle-threads", "", "//! Threads.\n"),
        (
            "gaggle-rt",
            "[dev-dependencies]\ngaggle-threads = { path = \"../gaggle-threads\" }\n",
            "//! Green.\n",
        ),
    ]);
    assert_only(
        &tree.errors(),
        "crates/gaggle-rt/Cargo.toml:0: forbidden arrow gaggle-rt -> gaggle-threads",
    );
}

#[test]
fn a_forbidden_arrow_in_a_path_is_reported_with_its_line() {
    let tree = Tree::new(&[
        CORE,
        (
            "gaggle-http",
            "",
            "//! HTTP.\n#![forbid(unsafe_code)]\nfn f() {\n    gaggle_core::f();\n}\n",
        ),
    ]);
    assert_only(
        &tree.errors(),
        "crates/gaggle-http/src/lib.rs:4: forbidden arrow gaggle-http -> gaggle-core",
    );
}

#[test]
fn a_package_without_a_place_in_the_table_is_reported() {
    let tree = Tree::new(&[("gaggle-extra", "", "//! Extra.\n")]);
    assert_only(
        &tree.errors(),
        "crates/gaggle-extra/Cargo.toml:0: gaggle-extra is not in the table",
    );
}

#[test]
fn a_missing_module_doc_is_reported() {
    for text in [
        "fn f() {}\n",
        "// A comment.\n//! Too late.\n",
        "//!\nfn f() {}\n",
    ] {
        let tree = Tree::new(&[CORE]);
        tree.write("crates/gaggle-core/tests/t.rs", text);
        assert_only(
            &tree.errors(),
            "crates/gaggle-core/tests/t.rs:1: a file starts with //! docs",
        );
    }
    let tree = Tree::new(&[CORE]);
    tree.write(
        "crates/gaggle-core/tests/t.rs",
        "#![cfg(loom)]\n\n//! A test.\n",
    );
    assert_eq!(tree.errors(), Vec::<String>::new());
}

#[test]
fn a_long_file_is_a_notice_and_a_longer_one_an_error() {
    let tree = Tree::new(&[CORE]);
    let lines = |count: usize| format!("//! Long.\n{}", "// A line.\n".repeat(count - 1));
    tree.write("crates/gaggle-core/src/a.rs", &lines(800));
    assert_eq!(tree.errors(), Vec::<String>::new());
    let notices = messages(&tree.report(), Severity::Notice);
    assert_only(&notices, "crates/gaggle-core/src/a.rs:0: 800 lines");
    tree.write("crates/gaggle-core/src/a.rs", &lines(801));
    assert_only(&tree.errors(), "crates/gaggle-core/src/a.rs:0: 801 lines");
}

#[test]
fn ignored_tests_stubs_and_uncompiled_examples_are_reported() {
    let tree = Tree::new(&[CORE]);
    tree.write(
        "crates/gaggle-core/src/a.rs",
        "//! Three faults.\n//! ```ignore\n//! ```\nmod t {\n    #[test]\n    #[ignore = \"slow\"]\n    \
         fn f() {\n        todo!()\n    }\n}\n",
    );
    let errors = tree.errors();
    let lines: Vec<_> = errors
        .iter()
        .map(|error| error.split(':').nth(1).unwrap_or(""))
        .collect();
    assert_eq!(lines, ["2", "6", "8"], "{errors:#?}");
}

#[test]
fn a_promised_forbid_that_is_missing_is_reported() {
    let tree = Tree::new(&[(
        "gaggle-http",
        "",
        "//! Says forbid(unsafe_code) only here.\n",
    )]);
    assert_only(
        &tree.errors(),
        "crates/gaggle-http/src/lib.rs:1: gaggle-http promises",
    );
}

#[test]
fn assembly_outside_the_system_crate_is_reported() {
    let assembly =
        "//! A page with `asm!` in words.\nfn f() { unsafe { core::arch::asm!(\"nop\") } }\n";
    let tree = Tree::new(&[("gaggle-sys", "", assembly), ("gaggle-rt", "", assembly)]);
    assert_only(
        &tree.errors(),
        "crates/gaggle-rt/src/lib.rs:2: asm! outside gaggle-sys",
    );
}

#[test]
fn system_calls_outside_the_system_crate_are_reported() {
    let call = "//! Calls.\nuse libc::{c_long, iovec, syscall};\n";
    let tree = Tree::new(&[("gaggle-sys", "", call), ("gaggle-rt", "", call)]);
    tree.write("crates/gaggle-rt/tests/t.rs", call);
    assert_only(
        &tree.errors(),
        "crates/gaggle-rt/src/lib.rs:2: libc::syscall outside gaggle-sys",
    );

    for call in ["epoll_wait", "read", "wait4", "epoll_create1", "close"] {
        let text = format!("//! Calls.\nfn f() {{ unsafe {{ libc::{call}() }} }}\n");
        let tree = Tree::new(&[("gaggle-rt", "", &text)]);
        assert_only(
            &tree.errors(),
            &format!("crates/gaggle-rt/src/lib.rs:2: libc::{call} outside"),
        );
    }
}

#[test]
fn libc_is_known_for_its_types_where_its_symbols_are_defined_and_nowhere_else() {
    let types = "//! Types.\nuse libc::{EAGAIN, SYS_read, epoll_event, msghdr, pollfd, time_t};\n";
    let libc = "[dependencies]\nlibc = \"0.2\"\n";
    let tree = Tree::new(&[("gaggle-rt", libc, types)]);
    assert_eq!(tree.errors(), Vec::<String>::new());
    let tree = Tree::new(&[("gaggle-threads", libc, types)]);
    assert_only(
        &tree.errors(),
        "crates/gaggle-threads/Cargo.toml:0: gaggle-threads depends on libc",
    );
}

#[test]
fn thread_local_state_in_the_core_is_reported() {
    let tree = Tree::new(&[(
        "gaggle-core",
        "",
        "//! Core.\nthread_local! { static X: u8 = 0; }\n",
    )]);
    assert_only(
        &tree.errors(),
        "crates/gaggle-core/src/lib.rs:2: thread_local! in gaggle-core",
    );
}

/// A `courier` whose one file beside the root has this path and text.
fn courier(path: &str, text: &str) -> Tree {
    let tree = Tree::new(&[("courier", "", "//! Courier.\n#![forbid(unsafe_code)]\n")]);
    tree.write(&format!("crates/courier/src/{path}"), text);
    tree
}

#[test]
fn courier_layers_keep_their_direction() {
    for (path, text, message) in [
        (
            "domain/a.rs",
            "use crate::usecase::Publish;",
            "forbidden arrow domain -> usecase",
        ),
        (
            "usecase/a.rs",
            "use crate::{domain::Event, repository::Db};",
            "forbidden arrow usecase -> repository",
        ),
        (
            "repository/sqlite/a.rs",
            "use crate::usecase::publish::run;",
            "forbidden arrow repository -> usecase",
        ),
        (
            "repository/sqlite/a.rs",
            "fn f() { super::super::super::delivery::f() }",
            "forbidden arrow repository -> delivery",
        ),
        (
            "delivery/http/a.rs",
            "use courier::repository::sqlite;",
            "forbidden arrow delivery -> repository",
        ),
        (
            "usecase/a.rs",
            "use rusqlite::Connection;",
            "usecase names rusqlite",
        ),
        (
            "domain/a.rs",
            "fn f(status: http::StatusCode) {}",
            "domain names http",
        ),
        ("helpers/a.rs", "", "helpers is no layer"),
    ] {
        let tree = courier(path, &format!("//! A file.\n{text}\n"));
        let line = if text.is_empty() { 0 } else { 2 };
        assert_only(
            &tree.errors(),
            &format!("crates/courier/src/{path}:{line}: {message}"),
        );
    }
}

#[test]
fn courier_layers_may_look_inwards_and_main_may_wire() {
    for (path, text) in [
        (
            "usecase/a.rs",
            "use crate::domain::Event; use super::ports::Store;",
        ),
        (
            "repository/sqlite/a.rs",
            "use crate::usecase::ports::Store; use rusqlite::Connection;",
        ),
        (
            "delivery/http/a.rs",
            "use crate::usecase::publish; use gaggle_http::Server;",
        ),
        (
            "main.rs",
            "use courier::{delivery::http, repository::sqlite};",
        ),
    ] {
        let tree = courier(
            path,
            &format!("//! A file.\n#![forbid(unsafe_code)]\n{text}\n"),
        );
        assert_eq!(tree.errors(), Vec::<String>::new(), "{path}");
    }
}

#[test]
fn a_decision_record_that_nothing_links_is_reported() {
    let tree = Tree::new(&[CORE]);
    tree.write("docs/adr/0001-one.md", "# One\n");
    assert_only(
        &tree.errors(),
        "docs/adr/0001-one.md:0: ARCHITECTURE.md does not link",
    );
    tree.write(
        "ARCHITECTURE.md",
        "See [one](docs/adr/0001-one.md) and [two](docs/adr/0002-two.md).\n",
    );
    assert_only(
        &tree.errors(),
        "ARCHITECTURE.md:1: links docs/adr/0002-two.md, which does not exist",
    );
}

#[test]
fn an_invariant_links_a_test_that_exists() {
    let tree = Tree::new(&[CORE]);
    let file = "crates/gaggle-core/tests/t.rs";
    tree.write(
        file,
        "//! Tests.\n#[test]\nfn it_holds() {}\nfn helper() {}\n",
    );
    for (row, message) in [
        ("| A1 | It holds. | |".to_string(), "A1 links no test"),
        (
            format!("| A1 | It holds. | `{file}::helper` |"),
            "A1 links helper, which is no test",
        ),
        (
            "| A1 | It holds. | `crates/none.rs::it_holds` |".to_string(),
            "A1 links crates/none.rs",
        ),
        (
            format!("| A1 | a | `{file}::it_holds` |\n| A1 | b | `{file}::it_holds` |"),
            "A1 is numbered twice",
        ),
    ] {
        tree.write("ARCHITECTURE.md", &format!("{row}\n"));
        let errors = tree.errors();
        assert!(
            errors.len() == 1 && errors[0].contains(message),
            "{message}: {errors:#?}"
        );
    }
    tree.write(
        "ARCHITECTURE.md",
        &format!("| A1 | It holds. | `{file}::it_holds` |\n"),
    );
    assert_eq!(tree.errors(), Vec::<String>::new());
}

#[test]
fn this_workspace_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask is a member");
    let report = tidy::check(root).expect("the workspace can be read");
    assert!(report.file_count > 10, "too few files were read: {report}");
    assert!(report.is_clean(), "{report}");
}

#[test]
fn contracts_name_tests_that_exist_or_a_reason() {
    let tree = Tree::new(&[CORE]);
    tree.write(
        "crates/gaggle-core/tests/chan.rs",
        "//! Tests.\n#[test]\nfn closes() {}\n",
    );
    tree.write(
        "docs/contracts.md",
        "# Contracts\n\n| Go case | what it checks | covered by |\n|---|---|---|\n\
         | A | closes | `chan.rs::closes` |\n\
         | B | nil | it has no meaning |\n\
         | C | closes | `tests/chan.rs::opens` |\n\
         | D | closes | `other.rs::closes` |\n\
         | E | closes | |\n",
    );
    assert_eq!(
        tree.errors(),
        [
            "docs/contracts.md:7: names opens, which is no test in tests/chan.rs",
            "docs/contracts.md:8: names other.rs, which does not exist",
            "docs/contracts.md:9: names no test, and says no reason",
        ]
    );
}

#[test]
fn an_example_that_is_not_listed_is_reported() {
    let tree = Tree::new(&[CORE]);
    tree.write("examples/README.md", "[`listed`](listed.rs)\n");
    tree.write("examples/listed.rs", "//! One.\nfn main() {}\n");
    tree.write("examples/other.rs", "//! Other.\nfn main() {}\n");
    tree.write("examples/support/mod.rs", "//! What they share.\n");
    assert_only(&tree.errors(), "examples/other.rs:0: examples/README.md");
}

//! What the rules look at: the packages of the tree and its Rust files, read once.

use crate::failure::Failure;
use proc_macro2::TokenStream;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Workspaces of their own: their dependencies are not the library's, our rules still hold there.
pub const OWN_WORKSPACES: [&str; 5] = ["bench", "bench/peers", "compat", "fuzz", "stress"];

/// Where Rust files live; anything else at the root holds none.
const SOURCE_FOLDERS: [&str; 8] = [
    "crates", "services", "examples", "xtask", "bench", "compat", "fuzz", "stress",
];

/// One package of the tree.
#[derive(Debug)]
pub struct Package {
    /// As in its manifest.
    pub name: String,
    /// Its manifest, relative to the root.
    pub manifest: PathBuf,
    /// Its folder, relative to the root.
    pub folder: PathBuf,
    /// What its manifest names.
    pub dependencies: Vec<Dependency>,
    /// The root files of its libraries and programs, relative to the workspace's root.
    pub crate_roots: Vec<PathBuf>,
}

/// One line of a manifest's dependency tables.
#[derive(Debug)]
pub struct Dependency {
    /// The package that is named.
    pub name: String,
    /// Only its tests, examples and benches see it.
    pub is_development: bool,
}

/// One Rust file.
#[derive(Debug)]
pub struct Source {
    /// Relative to the root.
    pub path: PathBuf,
    /// The package whose folder it is in.
    pub package: String,
    /// Relative to the package's folder.
    pub path_in_package: PathBuf,
    /// The whole file.
    pub text: String,
    /// The whole file without comments; doc comments are `doc` attributes.
    pub tokens: TokenStream,
}

/// Every package of the workspace at `root`, and of the workspaces of their own inside it.
pub fn packages(root: &Path) -> Result<Vec<Package>, Failure> {
    let mut manifests = vec![root.join("Cargo.toml")];
    manifests.extend(
        OWN_WORKSPACES
            .iter()
            .map(|name| root.join(name).join("Cargo.toml")),
    );
    let mut packages = Vec::new();
    for manifest in manifests.iter().filter(|manifest| manifest.exists()) {
        let metadata = cargo_metadata::MetadataCommand::new()
            .manifest_path(manifest)
            .no_deps()
            .exec()
            .map_err(|error| Failure::new(format!("{}: {error}", manifest.display())))?;
        packages.extend(
            metadata
                .packages
                .iter()
                .map(|package| package_of(root, package)),
        );
    }
    Ok(packages)
}

fn package_of(root: &Path, package: &cargo_metadata::Package) -> Package {
    let relative = |path: &Path| path.strip_prefix(root).unwrap_or(path).to_path_buf();
    let manifest = relative(package.manifest_path.as_std_path());
    Package {
        name: package.name.to_string(),
        folder: manifest.parent().map(Path::to_path_buf).unwrap_or_default(),
        manifest,
        dependencies: package
            .dependencies
            .iter()
            .map(|dependency| Dependency {
                name: dependency.name.clone(),
                is_development: dependency.kind == cargo_metadata::DependencyKind::Development,
            })
            .collect(),
        crate_roots: package
            .targets
            .iter()
            .filter(|target| target.is_lib() || target.is_bin() || target.is_proc_macro())
            .map(|target| relative(target.src_path.as_std_path()))
            .collect(),
    }
}

/// Every Rust file below the source folders, in the order of their paths.
pub fn rust_files(root: &Path, packages: &[Package]) -> Result<Vec<Source>, Failure> {
    let mut paths = Vec::new();
    for folder in SOURCE_FOLDERS.iter().map(|name| root.join(name)) {
        if folder.is_dir() {
            collect(&folder, &mut paths)?;
        }
    }
    paths.sort();
    paths
        .into_iter()
        .map(|path| read(root, packages, &path))
        .collect()
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) -> Result<(), Failure> {
    for entry in std::fs::read_dir(folder).map_err(Failure::at(folder))? {
        let path = entry.map_err(Failure::at(folder))?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') {
                collect(&path, paths)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
    Ok(())
}

fn read(root: &Path, packages: &[Package], path: &Path) -> Result<Source, Failure> {
    let text = std::fs::read_to_string(path).map_err(Failure::at(path))?;
    let tokens = TokenStream::from_str(&text)
        .map_err(|error| Failure::new(format!("{}: not Rust: {error}", path.display())))?;
    let path = path.strip_prefix(root).unwrap_or(path).to_path_buf();
    // The longest folder wins: a package may lie inside another's folder.
    let owner = packages
        .iter()
        .filter(|package| path.starts_with(&package.folder))
        .max_by_key(|package| package.folder.components().count());
    let package = owner
        .map(|package| package.name.clone())
        .unwrap_or_default();
    let folder = owner
        .map(|package| package.folder.as_path())
        .unwrap_or(Path::new(""));
    let path_in_package = path.strip_prefix(folder).unwrap_or(&path).to_path_buf();
    Ok(Source {
        package,
        path_in_package,
        text,
        tokens,
        path,
    })
}

//! Sets the cfg `green` where gaggle-sys is compiled, under the same conditions as there: this backend runs
//! everywhere, but watches of descriptors need it.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=CARGO_ENCODED_RUSTFLAGS");
    println!("cargo::rustc-check-cfg=cfg(green)");
    let is = |key: &str, value: &str| env::var(key).is_ok_and(|v| v == value);
    let platform = is("CARGO_CFG_TARGET_OS", "linux")
        && is("CARGO_CFG_TARGET_ENV", "gnu")
        && is("CARGO_CFG_TARGET_ARCH", "x86_64");
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let watched = env::var_os("CARGO_CFG_MIRI").is_some()
        || env::var_os("CARGO_CFG_LOOM").is_some()
        || flags.contains("sanitizer");
    let features = env::var("CARGO_CFG_TARGET_FEATURE").unwrap_or_default();
    let fixed = features.split(',').any(|feature| feature == "crt-static");
    if platform && !watched && !fixed {
        println!("cargo::rustc-cfg=green");
    }
}

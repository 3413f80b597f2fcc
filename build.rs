//! Puts the linker script where the linker of every program finds it: `-Tlinker.ld` is looked
//! up in the search path, to which Cargo adds the directories that a library names.
//!
//! Says by `cfg(machine)` whether the modules are compiled that know the machine: on the target,
//! and on a host where a program is checked. Tests on a host have the feature `internals` and do
//! without them.

use std::path::Path;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=linker.ld");
    let Some(out) = env::var_os("OUT_DIR") else {
        return Err(io::Error::other("cargo sets OUT_DIR"));
    };
    fs::copy("linker.ld", Path::new(&out).join("linker.ld"))?;
    println!("cargo::rustc-link-search={}", out.display());
    println!("cargo::rustc-check-cfg=cfg(machine)");
    let is_target = env::var_os("CARGO_CFG_TARGET_OS").is_some_and(|os| os == "none");
    let tests = env::var_os("CARGO_FEATURE_INTERNALS").or_else(|| env::var_os("CARGO_CFG_LOOM"));
    if is_target || tests.is_none() {
        println!("cargo::rustc-cfg=machine");
    }
    Ok(())
}

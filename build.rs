//! Puts the linker script where the linker of every program finds it: `-Tlinker.ld` is looked
//! up in the search path, to which Cargo adds the directories that a library names.

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
    Ok(())
}

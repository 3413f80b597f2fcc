//! Paths of the tree's root and of built files.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf, absolute};

use anyhow::{Context, Result};

/// The target that the kernel is built for.
pub const TARGET: &str = "aarch64-unknown-none";

/// Makes the root of the tree the working directory, because cargo starts a runner in the
/// directory of a package. The root is the nearest directory upwards with a Makefile. Returns
/// `arguments`, with paths from the earlier working directory made absolute.
///
/// # Errors
///
/// The working directory can't be read or changed.
pub fn enter_root(arguments: Vec<OsString>) -> Result<Vec<OsString>> {
    let from = env::current_dir().context("the working directory")?;
    let Some(root) = from.ancestors().find(|dir| dir.join("Makefile").is_file()) else {
        return Ok(arguments);
    };
    if root == from {
        return Ok(arguments);
    }
    let arguments = arguments.into_iter().map(|argument| {
        if Path::new(&argument).exists() {
            absolute(&argument).map_or(argument, PathBuf::into_os_string)
        } else {
            argument
        }
    });
    let arguments = arguments.collect();
    env::set_current_dir(root).with_context(|| root.display().to_string())?;
    Ok(arguments)
}

/// Returns cargo's target directory.
#[must_use]
pub fn target_dir() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(dir) if !dir.is_empty() => dir.into(),
        _ => "target".into(),
    }
}

/// Makes the directory for the logs of machines, and returns its path.
///
/// # Errors
///
/// The directory can't be made.
pub fn log_dir() -> Result<PathBuf> {
    let dir = target_dir().join("qemu");
    std::fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
    Ok(dir)
}

/// Returns the ELF of the kernel that is shipped.
#[must_use]
pub fn kernel_elf() -> PathBuf {
    target_dir().join(TARGET).join("release/stillpoint")
}

/// Returns the Image of the kernel that is shipped.
#[must_use]
pub fn kernel_image() -> PathBuf {
    target_dir().join("Image")
}

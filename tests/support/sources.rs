//! The Rust files of a directory, for tests that read the source.

use std::path::{Path, PathBuf};
use std::{fs, io};

/// Adds every Rust file of the package below `dir` to `files`, in no order.
pub(crate) fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            // What has a manifest of its own is another package.
            if path.join("Cargo.toml").exists() {
                continue;
            }
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

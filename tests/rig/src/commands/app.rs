//! `app NAME`: builds an application below `examples`, and makes its Image.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::cargo::cargo;
use crate::config::Config;
use crate::image;
use crate::paths::{TARGET, target_dir};
use crate::process::succeed;
use crate::report::print;

pub fn run(_config: &Config, arguments: &[OsString]) -> Result<i32> {
    let [name] = arguments else {
        bail!("app NAME: `make app APP=httpd`");
    };
    let name = name.to_str().context("a name is text")?;
    let image = build(name)?;
    let bytes = std::fs::metadata(&image)?.len();
    print(&format!(
        "{}: {} KiB\n",
        image.display(),
        bytes.div_ceil(1024)
    ));
    Ok(0)
}

/// Builds the application `name` and makes its Image, whose path it returns.
///
/// # Errors
///
/// There is no such application, or it doesn't compile.
pub fn build(name: &str) -> Result<PathBuf> {
    let directory = Path::new("examples").join(name);
    if name.contains('/') || !directory.join("src/main.rs").is_file() {
        bail!("APP={name}: there is no examples/{name}/src/main.rs");
    }
    let target = std::path::absolute(target_dir())?;
    let mut build = cargo();
    build
        .current_dir(&directory)
        .env("CARGO_TARGET_DIR", &target);
    build.args(["build", "--release", "--target", TARGET, "--bin", name]);
    succeed(&mut build)?;
    let image = image(name);
    image::make(
        &target_dir().join(TARGET).join("release").join(name),
        &image,
    )?;
    Ok(image)
}

/// Returns the path of the Image of the application `name`.
#[must_use]
pub fn image(name: &str) -> PathBuf {
    target_dir().join(format!("{name}.Image"))
}

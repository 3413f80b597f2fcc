//! `examples/httpd`, an application of its own crate: its tests on the host, and on a machine.

mod client;
mod served;

use std::process::Command;

pub use served::on_machine;

use anyhow::Result;

use crate::cargo::cargo;
use crate::process::succeed;
use crate::tools::host;

/// The directory of the application.
pub const DIRECTORY: &str = "examples/httpd";

/// Returns cargo in the directory of the application, with its locked versions, and the files in
/// our target directory.
fn cargo_there(arguments: &[&str]) -> Result<Command> {
    let target = std::path::absolute(crate::paths::target_dir())?;
    let mut cargo = cargo();
    cargo.current_dir(DIRECTORY).env("CARGO_TARGET_DIR", target);
    cargo.args(arguments);
    Ok(cargo)
}

/// Runs what of it runs on a host: HTTP, the resources, the life of a connection.
///
/// # Errors
///
/// A test fails, or clippy has a word to say.
pub fn on_host() -> Result<()> {
    let host = host()?;
    succeed(&mut cargo_there(&["fmt", "--check"])?)?;
    let on_host = ["--locked", "--target", &host];
    let mut clippy = cargo_there(&["clippy", "--all-targets"])?;
    succeed(clippy.args(on_host).args(["--", "-D", "warnings"]))?;
    succeed(cargo_there(&["test"])?.args(on_host))
}

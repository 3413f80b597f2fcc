//! Builds, with cargo, tests and kernels other than the shipped kernel.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::kernels;
use crate::paths::target_dir;
use crate::process::{code, ends_with_us};

/// Returns the command `cargo`, without the variables that would silently replace the link
/// flags of .cargo/config.toml.
#[must_use]
pub fn cargo() -> Command {
    let mut cargo = Command::new("cargo");
    cargo
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    cargo
}

/// Runs `command`, a `cargo test --no-run` or `cargo build`, and returns the path of each
/// program that it names.
///
/// # Errors
///
/// A program doesn't compile.
pub fn built(command: &mut Command) -> Result<Vec<PathBuf>> {
    Ok(messages(command)?.lines().filter_map(executable).collect())
}

/// Runs `command`, a `cargo test --no-run`, and returns the path of each program of tests. A
/// package's other programs, which cargo builds for these tests, are left out.
///
/// # Errors
///
/// A program doesn't compile.
pub fn built_tests(command: &mut Command) -> Result<Vec<PathBuf>> {
    let messages = messages(command)?;
    let tests = messages.lines().filter(|message| is_of_test(message));
    Ok(tests.filter_map(executable).collect())
}

/// Runs `command`, and returns cargo's messages, a line for each.
fn messages(command: &mut Command) -> Result<String> {
    let output = ends_with_us(command)
        .arg("--message-format=json-render-diagnostics")
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        bail!("the build ended with status {}", code(output.status));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Returns whether a message of cargo is about something that was built as a test.
fn is_of_test(message: &str) -> bool {
    let profile = message.split_once("\"profile\":{");
    let profile = profile.and_then(|(_, rest)| rest.split_once('}'));
    profile.is_some_and(|(profile, _)| profile.contains("\"test\":true"))
}

/// Returns the program that a message of cargo names.
fn executable(message: &str) -> Option<PathBuf> {
    let (_, rest) = message.split_once("\"executable\":\"")?;
    let (path, _) = rest.split_once('"')?;
    Some(path.into())
}

/// Returns the name of a test or program, given the `path` of the file that cargo has made:
/// the file's name without the hash.
#[must_use]
pub fn name_of(path: &Path) -> &str {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    match name.rsplit_once('-') {
        Some((name, hash)) if hash.len() == 16 => name,
        _ => name,
    }
}

/// A kernel that is built otherwise than the shipped kernel.
///
/// Most of a build is its dependencies. So a variant differs only in settings of this
/// project's own packages, and shares cargo's build directory with the other kernels. Its
/// programs go to a directory of their own, so that the shipped kernel stays.
pub struct Variant {
    name: &'static str,
    settings: &'static [&'static str],
    /// The features, if they aren't the default ones.
    features: Option<&'static str>,
}

/// As in the profile `dev`: little optimization, and the lock validator.
pub const DEBUG_BUILD: Variant = Variant {
    name: "checked",
    settings: &["debug-assertions=true", "opt-level=1", "codegen-units=16"],
    features: None,
};

/// Without an early console.
pub const MUTE: Variant = Variant {
    name: "mute",
    settings: &["debug=\"none\""],
    features: Some("standard"),
};

impl Variant {
    /// Gives `cargo` the arguments for this variant.
    pub fn choose(&self, cargo: &mut Command) {
        let dir = target_dir();
        cargo.arg("--release").arg("--target-dir").arg(self.dir());
        cargo
            .arg("--config")
            .arg(format!("build.build-dir='{}'", dir.display()));
        for package in ["stillpoint", kernels::PACKAGE] {
            for setting in self.settings {
                cargo
                    .arg("--config")
                    .arg(format!("profile.release.package.{package}.{setting}"));
            }
        }
        if let Some(features) = self.features {
            cargo.args(["--no-default-features", "--features", features]);
        }
    }

    /// Returns the target directory of this variant.
    #[must_use]
    pub fn dir(&self) -> PathBuf {
        target_dir().join(self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_among_cargos_messages() {
        let message = r#"{"reason":"compiler-artifact","executable":"/t/deps/qemu_boot-0123456789abcdef","fresh":true}"#;
        let path = executable(message).expect("a program");
        assert_eq!(path, Path::new("/t/deps/qemu_boot-0123456789abcdef"));
        assert_eq!(executable(r#"{"executable":null}"#), None);
    }

    #[test]
    fn programs_of_tests_are_told_from_others() {
        let message = |test| {
            format!(r#"{{"target":{{"test":true}},"profile":{{"debuginfo":2,"test":{test}}}}}"#)
        };
        assert!(is_of_test(&message(true)));
        assert!(!is_of_test(&message(false)));
        assert!(!is_of_test(r#"{"target":{"test":true}}"#));
    }

    #[test]
    fn a_name_is_without_its_hash() {
        for (file, name) in [
            ("t/qemu_boot-0123456789abcdef", "qemu_boot"),
            ("qemu_boot", "qemu_boot"),
            ("dir/well-known", "well-known"),
        ] {
            assert_eq!(name_of(Path::new(file)), name);
        }
    }
}

//! `template`: copies `examples/template` to a temporary directory, and builds and runs it there,
//! as the author of a program does. One copy depends on this tree by its path, one by git.
//!
//! The files of `template/` are added to the first copy: programs that end with a status or read a
//! key, and tests that have to fail. So is the example of `examples/pool.rs`.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf, absolute};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::cargo::cargo;
use crate::config::Config;
use crate::counts::Counts;
use crate::one_check::one;
use crate::paths::{TARGET, target_dir};
use crate::process::{code, ends_with_us, output_of, succeed};
use crate::report::{Progress, print};
use crate::tools::{host, qemu_has_rpi4};

/// The name of its checks, and the command that makes them.
const STAGE: (&str, &str) = ("template", "cargo rig stage template");

/// The directory that is copied, and its files.
const TEMPLATE: &str = "examples/template";
const FILES: &[&str] = &[
    ".cargo/config.toml",
    ".gitignore",
    "Cargo.toml",
    "rust-toolchain.toml",
    "src/main.rs",
];

/// The dependency in the template's manifest, with what it names of the features. A copy names
/// it otherwise.
const DEPENDENCY: &str = "path = \"../..\"";
const FEATURES: &str =
    "default-features = false, features = [\"drivers\", \"symbols\", \"earlycon-virt\"]";

/// What is added to a copy: each file, and its text.
const ADDED: &[(&str, &str)] = &[
    ("examples/ends.rs", include_str!("template/ends.rs")),
    ("examples/key.rs", include_str!("template/key.rs")),
    ("examples/no_main.rs", include_str!("template/no_main.rs")),
    ("tests/fails.rs", include_str!("template/fails.rs")),
    (
        "examples/pool.rs",
        include_str!("../../../../examples/pool.rs"),
    ),
];

/// What a copy's manifest says of the tests among them.
const ADDED_TARGET: &str = "\n[[test]]\nname = \"fails\"\nharness = false\n";

/// A compiler that leaves the argument `$WITHOUT` out. Cargo calls it for the program alone.
const WITHOUT: &str = r#"#!/bin/sh
for word; do
    shift
    [ "$word" = "$WITHOUT" ] || set -- "$@" "$word"
done
exec "$@"
"#;

/// What is seen of a copy.
type Check = (&'static str, fn(&Copy) -> Result<()>);

const BY_PATH: &[Check] = &[
    ("its program runs", |copy| {
        let ran = copy.cargo(&["run"], &[])?;
        ran.ended(0, &["CPUs 0-3: nothing else moves"])?;
        copy.has_names(true)
    }),
    ("it can be checked on a host", |copy| {
        let ran = copy.cargo(&["check", "--tests", "--target", &host()?], &[])?;
        ran.ended(0, &["Finished"])?;
        match ran.text.contains("warning: ") {
            true => bail!("with a warning:\n{}", ran.text),
            false => Ok(()),
        }
    }),
    ("its tests run", |copy| {
        let ran = copy.cargo(&["test", "--bins"], &[])?;
        ran.ended(0, &["ok 1 - tests::a_cpu", "runner: ok 2 passed, 0 failed"])
    }),
    ("one of its tests is chosen", |copy| {
        let ran = copy.cargo(&["test", "--bins", "still_point"], &[])?;
        ran.ended(0, &["ok 1 - tests::a_still", "runner: ok 1 passed"])
    }),
    ("a program has its machine, arguments and status", |copy| {
        copy.add()?;
        let machine = [
            ("STILLPOINT_SMP", "8"),
            ("STILLPOINT_GIC", "2"),
            ("STILLPOINT_CPU", "cortex-a72"),
        ];
        let ran = copy.cargo(&["run", "--example", "ends", "7"], &machine)?;
        ran.ended(7, &["8 CPUs, GICv2"])?;
        let ran = copy.cargo(&["run", "--example", "ends", "two words"], &[])?;
        ran.ended(1, &["error: that is no status"])
    }),
    (
        "the example of a pool works while CPUs come and go",
        |copy| {
            let ran = copy.cargo(&["run", "--example", "pool"], &[])?;
            ran.ended(0, &["% on CPUs 0,2-3", "17984 primes below 200000"])
        },
    ),
    ("a program runs on a Raspberry Pi 4", |copy| {
        if !qemu_has_rpi4()? {
            print("template: this QEMU has no raspi4b\n");
            return Ok(());
        }
        let pi = [("STILLPOINT_BOARD", "rpi4")];
        let ran = copy.cargo(&["run", "--example", "ends", "8"], &pi)?;
        ran.ended(8, &["on Raspberry Pi 4 Model B"])
    }),
    (
        "on a terminal Ctrl-A is the program's, Ctrl-] QEMU's",
        |copy| {
            const CTRL_A: &[u8] = b"\x01";
            copy.on_terminal("cargo run --example key", CTRL_A)?
                .ended(0, &["the key 1"])?;
            let ran = copy.on_terminal("cargo run --example key", b"\x1dx")?;
            ran.ended(0, &["QEMU: Terminated"])
        },
    ),
    ("tests that fail are told, and others run", |copy| {
        let ran = copy.cargo(&["test", "--test", "fails"], &[])?;
        let told = [
            "1..7",
            "ok 1 - a_passes",
            "ok 2 - b_has_to_panic",
            "not ok 3 - c_has_to_panic_and_returns",
            "they differ",
            "fails::d_panics",
            "not ok 4 - d_panics",
            "error: it says why",
            "not ok 5 - e_returns_an_error",
            "ok 6 - f_is_ignored # SKIP ignored",
            "ok 7 - g_runs_after_all_of_them",
            "runner: FAIL 3 of the results",
        ];
        ran.ended(1, &told)
    }),
    ("a wrong link says what is missing", |copy| {
        let script = "undefined symbol: add_the_link_argument_-Tlinker.ld_to_.cargo/config.toml";
        let ran = copy.build_without("-Clink-arg=-Tlinker.ld")?;
        ran.ended(101, &[script])?;
        if ran.text.matches("undefined symbol").count() != 1 {
            bail!("it says more:\n{}", ran.text);
        }
        let ran = copy.build_without("-Clink-arg=-pie")?;
        ran.ended(101, &["add the link argument -pie to .cargo/config.toml"])?;
        let ran = copy.cargo(&["build", "--example", "no_main"], &[])?;
        ran.ended(101, &["put_#[stillpoint::main]_before_the_main_function"])
    }),
];

/// What the copy by git names of the features.
const FEW: &str = "default-features = false, features = [\"gicv3\", \"pl011\"]";

const BY_GIT: &[Check] = &[
    ("by git and with few features, its tests run", |copy| {
        let ran = copy.cargo(&["test"], &[])?;
        ran.ended(0, &["runner: ok 2 passed, 0 failed"])
    }),
    ("a driver that is left out is missed", |copy| {
        let ran = copy.cargo(&["run"], &[("STILLPOINT_GIC", "2")])?;
        ran.ended(101, &["this program was built without the feature gicv2"])
    }),
    ("the names of functions are left out", |copy| {
        copy.has_names(false)
    }),
];

pub fn run(_config: &Config, _arguments: &[OsString]) -> Result<i32> {
    let dir = tempfile::Builder::new().prefix("stillpoint-").tempdir();
    let dir = dir.context("a temporary directory")?;
    let tools = install_runner(&dir)?;
    let by_path = by_path()?;
    let by_git = format!("git = \"file://{}\", {FEW}", commit()?.display());
    let progress = Progress::new(1 + BY_PATH.len() + BY_GIT.len());
    let mut counts = Counts::default();
    let mut check = |what: &str, check_fn: &dyn Fn() -> Result<()>| {
        let ended = one(&progress, STAGE, what, check_fn);
        counts += ended;
        ended.failed == 0
    };
    let mut all = check("what cargo would publish is the library", &check_package);
    for (name, dependency, checks) in [("path", by_path, BY_PATH), ("git", by_git, BY_GIT)] {
        let copy = Copy::new(dir.path().join(name), &dependency, &tools)?;
        // Each begins with what those before it have left.
        all = all
            && checks
                .iter()
                .all(|(what, check_fn)| check(what, &|| check_fn(&copy)));
    }
    print(&format!("{counts}\n"));
    Ok(i32::from(!all))
}

/// Returns the dependency on this tree by its path.
fn by_path() -> Result<String> {
    let root = absolute(".")?;
    Ok(format!("path = \"{}\", {FEATURES}", root.display()))
}

/// Builds a copy of the template with the toolchain that `choice`, an argument of cargo, names.
///
/// # Errors
///
/// It can't be copied, or doesn't compile.
pub fn build_with(choice: &str) -> Result<()> {
    let dir = tempfile::Builder::new().prefix("stillpoint-").tempdir();
    let dir = dir.context("a temporary directory")?;
    let copy = Copy::new(dir.path().join("path"), &by_path()?, dir.path())?;
    copy.cargo(&[choice, "build"], &[])?.ended(0, &["Finished"])
}

/// Installs the rig below `dir`, as its users do, and returns the directory of its program. It is
/// built already, in the same profile.
fn install_runner(dir: &TempDir) -> Result<PathBuf> {
    let mut install = cargo();
    install.args(["install", "-q", "--locked", "--offline", "--debug"]);
    install.args(["--path", "tests/rig", "--no-track", "--root"]);
    install.arg(dir.path());
    install.arg("--target-dir").arg(target_dir());
    succeed(&mut install)?;
    Ok(dir.path().join("bin"))
}

/// Checks that the package to publish has the files of the library, and none of what builds,
/// boots and tests it.
fn check_package() -> Result<()> {
    let mut list = cargo();
    list.args(["package", "--list", "--allow-dirty", "--offline", "-q"]);
    let files = String::from_utf8(output_of(&mut list)?)?;
    let of_library = |file: &&str| {
        file.starts_with("src/") && !file.starts_with("src/macros/")
            || file.starts_with("examples/api/")
            || file.starts_with("LICENSE-")
            || OF_PACKAGE.contains(file)
    };
    let others: Vec<&str> = files.lines().filter(|file| !of_library(file)).collect();
    if !others.is_empty() {
        bail!("it has {others:?}");
    }
    for needed in [
        "build.rs",
        "linker.ld",
        "src/lib.rs",
        "examples/api/program.rs",
    ] {
        if !files.lines().any(|file| file == needed) {
            bail!("it has no {needed}");
        }
    }
    Ok(())
}

/// The files of the package outside of its directories.
const OF_PACKAGE: &[&str] = &[
    ".cargo_vcs_info.json",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "Cargo.toml.orig",
    "README.md",
    "build.rs",
    "docs/applications.md",
    "docs/guide.md",
    "linker.ld",
    "tests/support/xorshift.rs",
];

/// Makes a git repository with one commit, of the files in this tree as they are now, and returns
/// its path. The same files make the same commit, so that cargo builds it once.
fn commit() -> Result<PathBuf> {
    let repository = absolute(target_dir().join("template.git"))?;
    let git = |arguments: &[&str]| -> Result<String> {
        let mut git = Command::new("git");
        for name in ["AUTHOR", "COMMITTER"] {
            git.env(format!("GIT_{name}_NAME"), "template");
            git.env(format!("GIT_{name}_EMAIL"), "template");
            git.env(format!("GIT_{name}_DATE"), "2000-01-01T00:00:00Z");
        }
        git.env("GIT_DIR", &repository).env("GIT_WORK_TREE", ".");
        let output = output_of(git.args(arguments))?;
        Ok(String::from_utf8(output)?.trim().to_owned())
    };
    git(&["init", "-q"])?;
    git(&["add", "--all"])?;
    let tree = git(&["write-tree"])?;
    let commit = git(&["commit-tree", "-m", "template", &tree])?;
    git(&["update-ref", "refs/heads/main", &commit])?;
    git(&["symbolic-ref", "HEAD", "refs/heads/main"])?;
    Ok(repository)
}

/// A copy of the template.
struct Copy {
    dir: PathBuf,
    /// The variable `PATH`, with the installed runner.
    path: OsString,
}

impl Copy {
    /// Copies the template to `dir`, with `dependency` in its manifest. `tools` is the directory of
    /// the runner.
    fn new(dir: PathBuf, dependency: &str, tools: &Path) -> Result<Copy> {
        let all = std::env::var_os("PATH").unwrap_or_default();
        let all = std::env::split_paths(&all);
        let path = std::env::join_paths([tools.to_owned()].into_iter().chain(all))?;
        let copy = Copy { dir, path };
        for file in FILES {
            let from = Path::new(TEMPLATE).join(file);
            let text = fs::read_to_string(&from).with_context(|| from.display().to_string())?;
            copy.write(file, &text)?;
        }
        let manifest = copy.read("Cargo.toml")?;
        let named = format!("{DEPENDENCY}, {FEATURES}");
        if !manifest.contains(&named) {
            bail!("the manifest has no {named}");
        }
        copy.write("Cargo.toml", &manifest.replace(&named, dependency))?;
        // So that nothing is fetched: cargo keeps the versions and leaves out what it doesn't need.
        copy.write("Cargo.lock", &fs::read_to_string("Cargo.lock")?)?;
        Ok(copy)
    }

    /// Adds [`ADDED`].
    fn add(&self) -> Result<()> {
        for (file, text) in ADDED {
            self.write(file, text)?;
        }
        let manifest = self.read("Cargo.toml")?;
        self.write("Cargo.toml", &format!("{manifest}{ADDED_TARGET}"))
    }

    fn read(&self, file: &str) -> Result<String> {
        let path = self.dir.join(file);
        fs::read_to_string(&path).with_context(|| path.display().to_string())
    }

    fn write(&self, file: &str, text: &str) -> Result<()> {
        let path = self.dir.join(file);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, text).with_context(|| path.display().to_string())
    }

    /// Runs cargo with `arguments` and `variables`.
    fn cargo(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Result<Ran> {
        let mut cargo = cargo();
        cargo.args(arguments).envs(variables.iter().copied());
        self.run(cargo.stdin(Stdio::null()))
    }

    /// Runs the shell command `line` on a terminal of its own, on which `keys` are typed.
    fn on_terminal(&self, line: &str, keys: &[u8]) -> Result<Ran> {
        let typed = self.dir.join("keys");
        fs::write(&typed, keys)?;
        let mut script = Command::new("script");
        script.args(["--quiet", "--return", "--command", line, "/dev/null"]);
        script.env("STILLPOINT_TIMEOUT", "30");
        self.run(script.stdin(File::open(typed)?))
    }

    /// Runs `command` in the copy's directory.
    fn run(&self, command: &mut Command) -> Result<Ran> {
        command
            .current_dir(&self.dir)
            .env("PATH", &self.path)
            .env("CARGO_TARGET_DIR", absolute(target_dir())?);
        let Output {
            status,
            stdout,
            stderr,
        } = ends_with_us(command).output()?;
        let text = [stdout, stderr].concat();
        Ok(Ran {
            status: code(status),
            text: String::from_utf8_lossy(&text).into_owned(),
        })
    }

    /// Checks that the Image of the program that ran last has the names of functions, or hasn't.
    fn has_names(&self, wanted: bool) -> Result<()> {
        let image = target_dir().join(TARGET).join("debug/template.Image");
        let image = fs::read(&image).with_context(|| image.display().to_string())?;
        for name in [
            " template::main\n",
            " stillpoint::sched::spawn::thread_entry\n",
        ] {
            let name = name.as_bytes();
            if image.windows(name.len()).any(|part| part == name) != wanted {
                bail!("{} in its Image: not {wanted}", name.escape_ascii());
            }
        }
        Ok(())
    }

    /// Builds the program without an argument of `.cargo/config.toml`.
    fn build_without(&self, argument: &str) -> Result<Ran> {
        let wrapper = self.dir.join("without.sh");
        self.write("without.sh", WITHOUT)?;
        executable(&wrapper)?;
        let wrapper = wrapper.display().to_string();
        let variables = [
            ("RUSTC_WORKSPACE_WRAPPER", wrapper.as_str()),
            ("WITHOUT", argument),
        ];
        self.cargo(&["build"], &variables)
    }
}

/// Makes the file `path` executable.
fn executable(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    Ok(fs::set_permissions(
        path,
        fs::Permissions::from_mode(0o755),
    )?)
}

/// How a cargo has ended, and what it has printed.
struct Ran {
    status: i32,
    text: String,
}

impl Ran {
    /// Checks the status, and that each of `parts` is in a line of the output, in their order.
    fn ended(&self, status: i32, parts: &[&str]) -> Result<()> {
        let mut rest = self.text.lines();
        for part in parts {
            if !rest.any(|line| line.contains(part)) {
                bail!("not printed, or not in this order: {part}\n{}", self.text);
            }
        }
        if self.status != status {
            bail!("status {} instead of {status}\n{}", self.status, self.text);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_end_is_told() {
        let ran = Ran {
            status: 7,
            text: "one\ntwo\nthree\n".to_owned(),
        };
        assert!(ran.ended(7, &["ne", "three"]).is_ok());
        assert!(ran.ended(0, &["one"]).is_err());
        assert!(ran.ended(7, &["two", "one"]).is_err());
    }
}

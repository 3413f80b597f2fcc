//! `stage [NAME]`: runs one stage of the check, or lists them.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cargo::{DEBUG_BUILD, MUTE, Variant, built, built_tests, cargo, name_of};
use crate::commands::{
    bad_boot, held, matrix, parked, places, shipped, template, test_qemu, typed, uboot,
};
use crate::config::{Config, or};
use crate::image;
use crate::kernels::PACKAGE;
use crate::paths::{TARGET, kernel_elf, kernel_image};
use crate::process::succeed;
use crate::programs::{self, Program};
use crate::report::{print, skipped};
use crate::stages::{Stage, done, find, run_here};
use crate::tools::qemu_has_rpi4;

/// The stages of the check, in the order in which they run.
pub const STAGES: &[Stage] = &[
    Stage::at_once("setup", |_| setup()),
    Stage::quiet("fmt", |_| fmt()),
    Stage::quiet("clippy-host", |_| clippy_host()),
    Stage::quiet("clippy-target", |_| clippy_target()),
    Stage::quiet("clippy-loom", |_| clippy_loom()),
    Stage::quiet("docs-host", |_| docs_host()),
    Stage::quiet("docs-target", |_| docs_target()),
    Stage::quiet("host-tests", host_tests),
    Stage::quiet("loom", loom),
    Stage::quiet("build", |_| build()),
    Stage::quiet("template", |config| done(template::run(config, &[])?)),
    Stage::at_once("qemu-tests", qemu_tests),
    Stage::at_once("qemu-gicv2", qemu_gicv2),
    Stage::at_once("qemu-debug", qemu_debug),
    Stage::at_once("qemu-rpi4", qemu_rpi4),
    Stage::at_once("matrix", all_machines),
    Stage::at_once("held", held_cpu),
    Stage::at_once("shipped-image", shipped_image),
    Stage::at_once("bad-boot", bad_boots),
];

pub fn run(config: &Config, arguments: &[OsString]) -> Result<i32> {
    match arguments {
        [] => {
            for stage in STAGES {
                print(&format!("{}\n", stage.name));
            }
            Ok(0)
        }
        [name] => run_here(find(STAGES, name)?, config),
        _ => bail!("stage [NAME]"),
    }
}

/// Cargo's arguments for the target and the profile of the shipped kernel.
const RELEASE: [&str; 3] = ["--release", "--target", TARGET];

/// Clippy's arguments by which a warning is an error.
const STRICT: [&str; 3] = ["--", "-D", "warnings"];

/// Installs the missing tools.
pub fn setup() -> Result<()> {
    succeed(&mut Command::new("tests/setup.sh"))
}

fn fmt() -> Result<()> {
    succeed(cargo().args(["fmt", "--check", "--all"]))
}

fn clippy_host() -> Result<()> {
    let clippy = ["clippy", "--all-targets"];
    succeed(cargo().args(clippy).args(STRICT))?;
    succeed(
        cargo()
            .args(clippy)
            .args(["-p", "stillpoint-rig", "-p", "stillpoint-macros"])
            .args(STRICT),
    )
}

// Not --all-targets: host tests need std, which the target hasn't.
fn clippy_target() -> Result<()> {
    let parts = ["--lib", "--bins"];
    let clippy = || {
        let mut cargo = cargo();
        cargo.arg("clippy").args(RELEASE).args(parts);
        cargo
    };
    succeed(clippy().args(["-p", PACKAGE]).args(STRICT))?;
    // The library with the modules that tests see, then as it is shipped.
    succeed(clippy().args(["--features", "internals"]).args(STRICT))?;
    succeed(clippy().args(STRICT))?;
    // With as little as a program can have.
    let mut lean = cargo();
    lean.arg("clippy").args(RELEASE).arg("--lib");
    lean.args(["--no-default-features", "--features", "gicv3"]);
    succeed(lean.args(STRICT))?;
    let mut benches = cargo();
    benches.arg("clippy").args(RELEASE).args(["--bench", "*"]);
    succeed(benches.args(STRICT))?;
    // The lock validator is in debug builds only.
    let mut debug = cargo();
    debug.arg("clippy");
    DEBUG_BUILD.choose(&mut debug);
    debug.args(["--target", TARGET, "--features", "internals", "--lib"]);
    succeed(debug.args(STRICT))
}

fn clippy_loom() -> Result<()> {
    let mut clippy = cargo();
    as_loom(&mut clippy);
    clippy
        .args(["clippy", "--release", "--lib"])
        .args(tests_of_kind("loom")?);
    succeed(clippy.args(STRICT))
}

/// Has `cargo` build for the models. They have a target directory of their own, because all
/// dependencies are built with other flags.
fn as_loom(cargo: &mut Command) {
    cargo
        .env("RUSTFLAGS", "--cfg loom")
        .env("CARGO_TARGET_DIR", "target/loom");
}

/// Returns cargo's arguments for the test files of a kind. They are empty if there is no such
/// file, because a pattern without a match is an error for cargo.
fn tests_of_kind(kind: &str) -> Result<Vec<String>> {
    if test_files("tests", &format!("{kind}_"))?.is_empty() {
        return Ok(Vec::new());
    }
    Ok(vec!["--test".to_owned(), format!("{kind}_*")])
}

/// Returns the names, without `.rs`, of the test files in `dir` that begin with `start`.
fn test_files(dir: &str, start: &str) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| dir.to_owned())? {
        let name = entry?.file_name();
        if let Some(name) = name.to_string_lossy().strip_suffix(".rs")
            && name.starts_with(start)
        {
            names.push(name.to_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Returns the command that documents what programs may use.
fn docs() -> Command {
    let mut docs = cargo();
    docs.env("RUSTDOCFLAGS", "-Dwarnings")
        .args(["doc", "--no-deps", "--lib"]);
    docs
}

/// Returns the command that documents everything, private items too.
fn all_docs() -> Command {
    let mut docs = docs();
    docs.args(["--document-private-items", "--features", "internals"]);
    docs
}

fn docs_host() -> Result<()> {
    succeed(&mut all_docs())
}

/// Builds what programs read first, because the whole documentation goes to the same files
/// and is the one to keep. Only in the former rustdoc finds links to private items.
fn docs_target() -> Result<()> {
    succeed(docs().args(RELEASE))?;
    succeed(all_docs().args(RELEASE))
}

/// Runs the host tests, with the rig's own: all, or the files whose names begin with `TEST`,
/// or else the functions whose names contain it. All are built before the first runs.
fn host_tests(config: &Config) -> Result<()> {
    let ours = test_files("tests", "host_")?;
    let rigs = test_files("tests/rig/tests", "host_")?;
    let (runs, function) = host_selection(&config.test, &ours, &rigs);
    let mut all = Vec::new();
    for (directory, arguments) in runs {
        let mut tests = cargo();
        tests.args(["test", "--no-run"]).args(arguments);
        let mut tests = built_tests(&mut tests)?;
        // By name, because cargo names first what it has built first.
        tests.sort_unstable();
        all.extend(tests.into_iter().map(|path| Program {
            path,
            directory,
            environment: Vec::new(),
        }));
    }
    programs::run_all(all, function)
}

/// A package's directory, and the arguments of a `cargo test` for it.
type HostRun = (&'static str, Vec<String>);

/// The test files that compute for seconds, and are built for that. The others run for a
/// moment, and most of their time would be their optimization.
const COMPUTE: [&str; 4] = ["host_caches", "host_dt", "host_heap", "host_policy"];

/// Cargo's arguments for the files in [`COMPUTE`].
const OPTIMIZED: [&str; 2] = ["--config", "profile.dev.package.stillpoint.opt-level=1"];

/// Returns the `cargo test`s for the selection `test`, and the part of the names of the
/// functions to run. `ours` are the kernel's test files, `rigs` are the rig's.
fn host_selection<'a>(test: &'a str, ours: &[String], rigs: &[String]) -> (Vec<HostRun>, &'a str) {
    const OF_RIG: [&str; 2] = ["-p", "stillpoint-rig"];
    let words = |words: &[&str]| words.iter().copied().map(str::to_owned).collect::<Vec<_>>();
    let is_file =
        test.starts_with("host_") && ours.iter().chain(rigs).any(|name| name.starts_with(test));
    let start = if is_file { test } else { "host_" };
    let files = |first: &[&str], all: &[String], computes: bool| {
        let mut arguments = words(first);
        let all = all.iter().filter(|name| name.starts_with(start));
        for name in all.filter(|name| COMPUTE.contains(&name.as_str()) == computes) {
            arguments.extend(["--test".to_owned(), name.clone()]);
        }
        (arguments.len() > first.len()).then_some(arguments)
    };
    // The rig's come first: they mostly wait, so others run beside them.
    let of_rig = if is_file {
        files(&OF_RIG, rigs, false)
    } else {
        Some(words(&OF_RIG))
    };
    let mut others = files(&[], ours, false);
    if !is_file {
        others.get_or_insert_default().push("--lib".to_owned());
    }
    let computing = files(&OPTIMIZED, ours, true);
    let runs = [("tests/rig", of_rig), (".", others), (".", computing)];
    let runs = runs
        .into_iter()
        .filter_map(|(directory, run)| Some((directory, run?)));
    (runs.collect(), if is_file { "" } else { test })
}

/// Cargo's arguments for the models that take a moment: optimized, they would be compiled four
/// times as long.
const NOT_OPTIMIZED: [&str; 2] = ["--config", "profile.release.package.stillpoint.opt-level=0"];

/// Runs the models. Those of a program run one at a time: each of their runs maps and unmaps
/// the stacks of its threads, by which two models in one process hold each other up.
pub fn loom(config: &Config) -> Result<()> {
    let (long, short) = test_files("tests", "loom_")?
        .into_iter()
        .partition(|name| programs::is_long(name));
    let preemptions = or(&config.loom_max_preemptions, "3");
    let environment = [
        ("LOOM_MAX_PREEMPTIONS", preemptions.into()),
        ("RUST_TEST_THREADS", "1".into()),
    ];
    let mut all = Vec::new();
    for (names, arguments) in [(long, &[][..]), (short, &NOT_OPTIMIZED[..])] {
        let names: Vec<String> = names;
        if names.is_empty() {
            continue;
        }
        let mut models = cargo();
        as_loom(&mut models);
        models
            .args(["test", "--no-run", "--release"])
            .args(arguments);
        for name in names {
            models.args(["--test", &name]);
        }
        all.extend(built_tests(&mut models)?.into_iter().map(|path| Program {
            path,
            directory: ".",
            environment: environment.to_vec(),
        }));
    }
    if all.is_empty() {
        skipped("there are no models (tests/loom_*.rs)");
        return Ok(());
    }
    programs::run_all(all, &config.test)
}

/// Builds the kernel that is shipped.
pub fn build() -> Result<()> {
    // The tests know where this one prints early.
    let arguments = ["--no-print-directory", "build", "EARLYCON=virt"];
    succeed(Command::new("make").args(arguments))
}

/// Runs the test kernels on `machine`.
pub fn qemu(machine: Config) -> Result<()> {
    done(test_qemu::run(&machine, &[])?)
}

fn qemu_tests(config: &Config) -> Result<()> {
    qemu(Config {
        smp: "1 2 4 20".into(),
        ..config.clone()
    })
}

/// Runs the short test kernels on a machine with a GICv2; those of still points and SGIs also
/// on a machine that enters software at EL2, and on one whose GIC shows the kernel its
/// non-secure view.
fn qemu_gicv2(config: &Config) -> Result<()> {
    let gicv2 = Config {
        gic: "2".into(),
        ..config.clone()
    };
    let few = Config {
        test: "qemu_stop qemu_sgi".into(),
        ..gicv2.clone()
    };
    qemu(Config {
        test: "boot qemu_stop threads errors cycles sgi excess".into(),
        append: "rounds=50".into(),
        smp: "1 4 8".into(),
        ..gicv2
    })?;
    qemu(Config {
        virt: "on".into(),
        smp: "4".into(),
        ..few.clone()
    })?;
    qemu(Config {
        secure: "on".into(),
        smp: "4 8".into(),
        ..few
    })
}

/// Runs the test kernels with the most locks in a debug build, under the lock validator,
/// which must report nothing. The nightly run does so with the others.
fn qemu_debug(config: &Config) -> Result<()> {
    qemu(Config {
        profile: "dev".into(),
        test: "qemu_boot threads cycles rcu storm".into(),
        append: "rounds=10 seconds=10".into(),
        smp: "4".into(),
        ..config.clone()
    })
}

/// Runs test kernels on QEMU's Raspberry Pi 4. The stage is skipped if this QEMU has none.
fn qemu_rpi4(config: &Config) -> Result<()> {
    if !qemu_has_rpi4()? {
        skipped("SKIP: this QEMU has no raspi4b (it comes with version 9)");
        return Ok(());
    }
    qemu(Config {
        board: "rpi4".into(),
        test: "boot stop threads errors cycles sgi pen poison".into(),
        append: "rounds=50".into(),
        smp: "4".into(),
        ..config.clone()
    })?;
    done(parked::run(
        config,
        &[kernel_elf().into(), kernel_image().into()],
    )?)
}

/// Boots the same Image on every machine, from U-Boot, and at every address.
fn all_machines(config: &Config) -> Result<()> {
    let image = [OsString::from(kernel_image())];
    done(matrix::run(config, &image)?)?;
    done(uboot::run(config, &image)?)?;
    done(places::run(config, &image)?)
}

/// Checks a CPU that its host doesn't run: QEMU's gdbstub holds it.
fn held_cpu(config: &Config) -> Result<()> {
    let mut kernel = cargo();
    kernel
        .arg("build")
        .args(RELEASE)
        .args(["-p", PACKAGE, "--bin", "qemu_quarantine"]);
    let mut programs = built(&mut kernel)?.into_iter();
    let elf = programs.rfind(|path| name_of(path) == "qemu_quarantine");
    let elf = elf.context("cargo names no qemu_quarantine")?;
    done(held::run(config, &[elf.into()])?)
}

fn shipped_image(config: &Config) -> Result<()> {
    let image = [OsString::from(kernel_image())];
    done(shipped::run(config, &image)?)?;
    done(typed::run(config, &image)?)
}

/// Boots with trees that can't be used, with and without an early console. The kernel without
/// one is a variant: in the same directory each of the two kernels would rebuild the other.
fn bad_boots(config: &Config) -> Result<()> {
    let (mute, mute_image) = build_variant(&MUTE)?;
    let arguments = [kernel_elf(), kernel_image(), mute, mute_image].map(OsString::from);
    done(bad_boot::run(config, &arguments)?)
}

/// Builds the kernel as a variant, and returns its ELF and Image.
fn build_variant(variant: &Variant) -> Result<(PathBuf, PathBuf)> {
    let mut kernel = cargo();
    kernel.arg("build");
    variant.choose(&mut kernel);
    succeed(kernel.args(["--target", TARGET, "--bin", "stillpoint"]))?;
    let elf = variant.dir().join(TARGET).join("release/stillpoint");
    let image = elf.with_extension("Image");
    image::make(&elf, &image)?;
    Ok((elf, image))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the selection of `test`: a line for each run, and the part of functions' names.
    fn selected(test: &str) -> String {
        let ours = ["host_dt", "host_gic", "host_hotplug"].map(str::to_owned);
        let rigs = ["host_runner"].map(str::to_owned);
        let (runs, function) = host_selection(test, &ours, &rigs);
        let lines = runs
            .iter()
            .map(|(directory, run)| format!("{directory}: {}", run.join(" ")));
        let lines: Vec<String> = lines.chain([function.to_owned()]).collect();
        lines.join("\n")
    }

    #[test]
    fn host_tests_are_selected_by_file_or_by_function() {
        let optimized = OPTIMIZED.join(" ");
        let rig = "tests/rig: -p stillpoint-rig";
        let others = ".: --test host_gic --test host_hotplug";
        let computing = format!(".: {optimized} --test host_dt\n");
        let all = format!("{rig}\n{others} --lib\n{computing}");
        assert_eq!(selected(""), all);
        assert_eq!(selected("host_hotplug"), ".: --test host_hotplug\n");
        assert_eq!(selected("host_dt"), computing);
        let runner = format!("{rig} --test host_runner\n");
        assert_eq!(selected("host_runner"), runner);
        let every = format!("{runner}{others}\n{computing}");
        assert_eq!(selected("host_"), every);
        assert_eq!(selected("gic"), format!("{all}gic"));
        // There is no such file, so it may be part of a function's name.
        assert_eq!(selected("host_tests"), format!("{all}host_tests"));
    }
}

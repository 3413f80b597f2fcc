//! `stage [NAME]`: runs one stage of the check, or lists them.

pub mod hosted;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use hosted::{as_loom, host_tests, loom, test_files};

use crate::cargo::{DEBUG_BUILD, MUTE, Variant, built, cargo, name_of};
use crate::commands::{
    bad_boot, held, host_cost, httpd, managed, matrix, parked, places, shipped, template,
    test_qemu, typed, uboot,
};
use crate::config::Config;
use crate::image;
use crate::kernels::PACKAGE;
use crate::paths::{TARGET, kernel_elf, kernel_image};
use crate::process::succeed;
use crate::report::{print, skipped};
use crate::stages::Lane::{First, Second};
use crate::stages::{Stage, done, find, run_here};
use crate::tools::qemu_has_rpi4;

/// The stages of the check, in the order in which they begin in their lanes.
pub const STAGES: &[Stage] = &[
    Stage::at_once("setup", |_| setup()),
    Stage::beside(First, "fmt", |_| fmt()),
    Stage::beside(First, "clippy-host", |_| clippy_host()),
    Stage::beside(Second, "clippy-target", |_| clippy_target()),
    Stage::beside(Second, "clippy-loom", |_| clippy_loom()),
    Stage::beside(First, "docs-host", |_| docs_host()),
    Stage::beside(Second, "docs-target", |_| docs_target()),
    Stage::beside(First, "host-tests", host_tests),
    Stage::beside(Second, "loom", loom),
    Stage::beside(Second, "build", build_all),
    Stage::beside(First, "template", |config| {
        done(template::run(config, &[])?)
    }),
    Stage::beside(First, "httpd", |_| httpd::on_host()),
    Stage::quiet("qemu-tests", qemu_tests),
    Stage::quiet("qemu-gicv2", qemu_gicv2),
    Stage::quiet("qemu-debug", qemu_debug),
    Stage::quiet("qemu-rpi4", qemu_rpi4),
    Stage::quiet("matrix", all_machines),
    Stage::quiet("held", held_cpu),
    Stage::quiet("managed", |config| managed_machine(config, false)),
    Stage::quiet("host-cost", host_cost_of_shell),
    Stage::quiet("httpd-served", httpd::on_machine),
    Stage::quiet("shipped-image", shipped_image),
    Stage::quiet("bad-boot", bad_boots),
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

/// Returns cargo's arguments for the test files of a kind. They are empty if there is no such
/// file, because a pattern without a match is an error for cargo.
fn tests_of_kind(kind: &str) -> Result<Vec<String>> {
    if test_files("tests", &format!("{kind}_"))?.is_empty() {
        return Ok(Vec::new());
    }
    Ok(vec!["--test".to_owned(), format!("{kind}_*")])
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

/// Builds the kernel that is shipped.
pub fn build() -> Result<()> {
    // The tests know where this one prints early.
    let arguments = ["--no-print-directory", "build", "EARLYCON=virt"];
    succeed(Command::new("make").args(arguments))
}

/// Builds all kernels of the check, so that no stage that runs alone waits for a compiler.
fn build_all(config: &Config) -> Result<()> {
    build()?;
    build_variant(&MUTE)?;
    test_qemu::build(config)?;
    test_qemu::build(&in_debug_build(config))?;
    Ok(())
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
    qemu(in_debug_build(config))
}

/// Returns the variables of the tests in a debug build.
fn in_debug_build(config: &Config) -> Config {
    Config {
        profile: "dev".into(),
        test: "boot threads cycles rcu storm".into(),
        append: "rounds=10 seconds=10".into(),
        smp: "4".into(),
        ..config.clone()
    }
}

/// Runs test kernels on QEMU's Raspberry Pi 4. The stage is skipped if this QEMU has none.
fn qemu_rpi4(config: &Config) -> Result<()> {
    if !qemu_has_rpi4()? {
        skipped(
            "Raspberry Pi 4",
            "this QEMU has no raspi4b (it comes with version 9)",
        );
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
    let elf = test_kernel("qemu_quarantine")?;
    done(held::run(config, &[elf.into()])?)
}

/// Checks a machine that is stopped, saved and migrated in the middle of hotplug. With `is_long`
/// each case takes about a minute. The kernel is built.
pub fn managed_machine(config: &Config, is_long: bool) -> Result<()> {
    let mut arguments = vec![test_kernel("qemu_storm")?.into(), kernel_image().into()];
    if is_long {
        arguments.push("long".into());
    }
    done(managed::run(config, &arguments)?)
}

/// Checks that the host gives no time to CPUs that are offline, and next to none to idle ones.
fn host_cost_of_shell(config: &Config) -> Result<()> {
    done(host_cost::run(config, &[kernel_image().into()])?)
}

/// Builds the test kernel `name`, and returns its ELF.
fn test_kernel(name: &str) -> Result<PathBuf> {
    let mut kernel = cargo();
    kernel
        .arg("build")
        .args(RELEASE)
        .args(["-p", PACKAGE, "--bin", name]);
    let mut programs = built(&mut kernel)?.into_iter();
    let elf = programs.rfind(|path| name_of(path) == name);
    elf.with_context(|| format!("cargo names no {name}"))
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

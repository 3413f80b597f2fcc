//! `nightly [STAGE...]`: runs the stages that take too long for the check or need a nightly
//! toolchain: those named, or else all.
//!
//! A stage runs even if an earlier stage has failed. Each stage prints into
//! target/nightly/STAGE.log. What is shown meanwhile is as in the check.
//!
//! The last line is `N passed, N failed, N skipped`, in stages. A stage is skipped, and the
//! reason printed, if a tool that it needs can't be had. With REQUIRE_ALL=1 that is a
//! failure.

use std::ffi::OsString;
use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::cargo::cargo;
use crate::commands::stage::{build, hosted, managed_machine, qemu, setup};
use crate::commands::{matrix, mutants, mutants_verdicts, template, tfa, timeline, uboot, xen};
use crate::config::{Config, or};
use crate::counts::Counts;
use crate::driver::{Driver, Ended, Kind};
use crate::paths::{TARGET, kernel_image};
use crate::process::{output_of, status, succeed};
use crate::report::print;
use crate::stages::{Failed, SKIP, Stage, chosen, done, find, run_here};
use crate::tools::compile_dts;

/// The stages, in the order in which they run.
const STAGES: &[Stage] = &[
    Stage::quiet("msrv", |_| msrv()),
    Stage::quiet("fuzz", fuzz),
    Stage::quiet("mutants", all_mutants),
    Stage::quiet("loom", loom),
    Stage::quiet("policy", policy),
    Stage::quiet("steps", |_| steps()),
    Stage::quiet("trees", |_| trees()),
    Stage::quiet("miri", |_| miri()),
    Stage::quiet("qemu-el2", qemu_el2),
    Stage::quiet("qemu-icount", qemu_icount),
    Stage::quiet("qemu-gicv2", qemu_gicv2),
    Stage::quiet("qemu-secure", qemu_secure),
    Stage::quiet("qemu-rpi4", qemu_rpi4),
    Stage::quiet("qemu-debug", qemu_debug),
    Stage::quiet("qemu-many", qemu_many),
    Stage::quiet("storm", storm),
    Stage::quiet("flush", flush),
    Stage::quiet("managed", managed),
    Stage::quiet("matrix", all_machines),
    Stage::quiet("perfetto", perfetto),
    Stage::quiet("xen", under_xen),
    Stage::quiet("tfa", under_tfa),
    Stage::quiet("uboot", under_uboot),
    Stage::quiet("qemu-a72", qemu_a72),
];

/// The argument with which the driver has this command run a stage in its own process.
const HERE: &str = "--here";

pub fn run(config: &Config, arguments: &[OsString]) -> Result<i32> {
    if let [here, name] = arguments
        && here == HERE
    {
        return run_here(find(STAGES, name)?, config);
    }
    let stages = chosen(STAGES, arguments)?;
    setup()?;
    let kind = Kind {
        name: "nightly",
        command: &["nightly", HERE],
        typed: "cargo rig nightly",
    };
    let mut driver = Driver::new(kind, of_no_machine(config))?;
    let mut sum = Counts::default();
    let mut interrupted = None;
    driver.run(
        &stages,
        |_, ended| judge(ended),
        |_, ended| {
            match ended.status {
                0 => sum.passed += 1,
                SKIP => sum.skipped += 1,
                _ => sum.failed += 1,
            }
            let lines = ended.log.lines();
            for added in lines.filter_map(|line| line.strip_prefix("nightly: ")) {
                print(&format!("    {added}\n"));
            }
            if ended.is_interrupted {
                interrupted = Some(ended.status);
            }
            !ended.is_interrupted
        },
    )?;
    driver.finish(&format!(
        "{} passed, {} failed, {} skipped\n",
        sum.passed, sum.failed, sum.skipped
    ));
    if let Some(status) = interrupted {
        return Ok(status);
    }
    if config.require_all == "1" && sum.skipped != 0 {
        print("REQUIRE_ALL=1 says that nothing may be skipped\n");
        return Ok(1);
    }
    Ok(i32::from(sum.failed != 0))
}

/// Returns the variables of `config` that don't describe a machine.
fn of_no_machine(config: &Config) -> Config {
    Config {
        case: config.case.clone(),
        fuzz_seconds: config.fuzz_seconds.clone(),
        jobs: config.jobs.clone(),
        loom_max_preemptions: config.loom_max_preemptions.clone(),
        profile: config.profile.clone(),
        require_all: config.require_all.clone(),
        timeout: config.timeout.clone(),
        verbose: config.verbose.clone(),
        ..Config::default()
    }
}

fn judge(ended: &mut Ended) -> &'static str {
    match ended.status {
        0 => "ok",
        SKIP => "SKIP",
        _ => "FAIL",
    }
}

/// Ends a stage that can't run here.
fn skip(why: &str) -> Result<()> {
    print(&format!("{why}\n"));
    Err(Failed(SKIP).into())
}

fn rustup(arguments: &[&str]) -> Result<String> {
    let output = output_of(Command::new("rustup").args(arguments))?;
    Ok(String::from_utf8_lossy(&output).into_owned())
}

/// Returns whether a line of `list`, printed by rustup, names `item`. The host or a remark
/// may follow the name.
fn lists(list: &str, item: &str) -> bool {
    let mut behind = list.lines().filter_map(|line| line.strip_prefix(item));
    behind.any(|rest| rest.is_empty() || rest.starts_with(['-', ' ']))
}

/// Adds the nightly toolchain, because Miri and the sanitizers are in no other.
fn needs_nightly() -> Result<()> {
    needs_toolchain("nightly", &[])
}

/// Adds the toolchain `name`, with the arguments `more` of rustup.
fn needs_toolchain(name: &str, more: &[&str]) -> Result<()> {
    if lists(&rustup(&["toolchain", "list"])?, name) {
        return Ok(());
    }
    print(&format!("nightly: adding the Rust toolchain {name}\n"));
    let mut rustup = Command::new("rustup");
    rustup.args(["--quiet", "toolchain", "install", name]);
    rustup.args(["--profile", "minimal", "--no-self-update"]);
    match status(rustup.args(more))? {
        0 => Ok(()),
        _ => skip(&format!("the toolchain {name} can't be had")),
    }
}

/// Adds a component of the nightly toolchain.
fn needs_component(name: &str) -> Result<()> {
    needs_nightly()?;
    let has = rustup(&["component", "list", "--toolchain", "nightly", "--installed"])?;
    if lists(&has, name) {
        return Ok(());
    }
    print(&format!("nightly: adding the Rust component {name}\n"));
    let add = [
        "--quiet",
        "component",
        "add",
        "--toolchain",
        "nightly",
        name,
    ];
    match status(Command::new("rustup").args(add))? {
        0 => Ok(()),
        _ => skip(&format!("{name} can't be had")),
    }
}

fn needs_cargo_fuzz() -> Result<()> {
    needs_nightly()?;
    let mut fuzz = Command::new("cargo-fuzz");
    if fuzz.arg("--version").stdout(Stdio::null()).status().is_ok() {
        return Ok(());
    }
    print("nightly: adding cargo-fuzz\n");
    let install = ["+nightly", "install", "--quiet", "--locked", "cargo-fuzz"];
    match status(cargo().args(install))? {
        0 => Ok(()),
        _ => skip("cargo-fuzz can't be had"),
    }
}

/// Builds the library and the template with the oldest compiler that the manifest names.
fn msrv() -> Result<()> {
    let manifest = fs::read_to_string("Cargo.toml").context("Cargo.toml")?;
    let version = oldest_compiler(&manifest).context("Cargo.toml names no rust-version")?;
    let toolchain = format!("{version}.0");
    needs_toolchain(&toolchain, &["--target", TARGET])?;
    let choice = format!("+{toolchain}");
    let mut library = cargo();
    library.args([
        choice.as_str(),
        "build",
        "--locked",
        "--lib",
        "--target",
        TARGET,
    ]);
    succeed(&mut library)?;
    template::build_with(&choice)
}

/// Returns the oldest version of the compiler that a `manifest` allows.
fn oldest_compiler(manifest: &str) -> Option<&str> {
    let mut lines = manifest.lines();
    let line = lines.find_map(|line| line.strip_prefix("rust-version = "))?;
    Some(line.trim_matches('"'))
}

/// Fuzzes the device tree parser and the driver of a network card. The first inputs of the former
/// are real trees, and the dictionary has the tokens and names of a blob. An input that takes
/// 10 s counts as an endless loop; other inputs take microseconds.
fn fuzz(config: &Config) -> Result<()> {
    needs_cargo_fuzz()?;
    let seeds = std::env::current_dir()?.join("target/nightly/seeds");
    fs::create_dir_all(&seeds).context("target/nightly/seeds")?;
    fs::create_dir_all("fuzz/corpus/device_tree").context("fuzz/corpus/device_tree")?;
    for entry in fs::read_dir("dts")? {
        let tree = entry?.path();
        if tree.extension().is_some_and(|extension| extension == "dts") {
            let blob = compile_dts(&tree)?;
            fs::copy(&blob, seeds.join(blob.file_name().unwrap_or_default()))?;
        }
    }
    let seeds = seeds.into_os_string();
    let dictionary = "-dict=fuzz/device_tree.dict".into();
    fuzz_target(config, "device_tree", &[seeds, "--".into(), dictionary])?;
    fs::create_dir_all("fuzz/corpus/virtio").context("fuzz/corpus/virtio")?;
    fuzz_target(config, "virtio", &["--".into()])
}

/// Fuzzes the target `name` with further `arguments`, of which those behind `--` are libFuzzer's.
fn fuzz_target(config: &Config, name: &str, arguments: &[OsString]) -> Result<()> {
    let mut fuzz = cargo();
    fuzz.args(["+nightly", "fuzz", "run", name]);
    fuzz.arg(format!("fuzz/corpus/{name}")).args(arguments);
    fuzz.arg(format!(
        "-max_total_time={}",
        or(&config.fuzz_seconds, "60")
    ));
    fuzz.args(["-timeout=10", "-max_len=16384"]);
    succeed(fuzz.arg("-print_final_stats=1"))
}

fn all_mutants(config: &Config) -> Result<()> {
    done(mutants_verdicts::run(config, &[])?)?;
    done(mutants::run(config, &[])?)
}

/// Runs the scheduler's policy on many more loads than the check does, and at all sizes.
fn policy(config: &Config) -> Result<()> {
    let mut cargo = cargo();
    cargo.args(["test", "--release", "--test", "host_policy"]);
    succeed(cargo.env("POLICY_STEPS", "1000000"))?;
    qemu(Config {
        test: "qemu_policy".into(),
        long: "1".into(),
        ..config.clone()
    })
}

/// Has the engine of hotplug do a million random operations beside its model. The host threads
/// that a process starts are never freed, so each has a part of them.
fn steps() -> Result<()> {
    const EACH: u64 = 20_000;
    /// Operations of one seed.
    const LIFE: u64 = 100;
    (0..1_000_000 / EACH).try_for_each(|part| {
        let mut cargo = cargo();
        cargo.args([
            "test",
            "--release",
            "--test",
            "host_hotplug",
            "steps_random",
        ]);
        cargo.env("STEPS_FROM", (1 + part * EACH / LIFE).to_string());
        succeed(cargo.env("STEPS", EACH.to_string()))
    })
}

/// Reads many more broken device trees than the check does.
fn trees() -> Result<()> {
    let mut cargo = cargo();
    cargo.args(["test", "--release", "--test", "host_dt"]);
    succeed(cargo.env("DT_MUTANTS", "200000"))
}

fn loom(config: &Config) -> Result<()> {
    hosted::loom(&Config {
        loom_max_preemptions: "4".into(),
        ..config.clone()
    })
}

/// Runs tests under Miri: the pure modules, and the short tests of the scheduler, its timers
/// and its locks. Threads that pass a baton are slow under Miri, and never end, which Miri
/// reports as leaks. Tests that start a program (dtc, QEMU, git) or read the sources can't
/// run under Miri.
fn miri() -> Result<()> {
    needs_component("rust-src")?;
    needs_component("miri")?;
    let miri = |flags: &str| {
        let mut miri = cargo();
        miri.env("CARGO_TARGET_DIR", "target/miri")
            .env("MIRIFLAGS", flags);
        miri.args(["+nightly", "miri", "test"]);
        miri
    };
    succeed(miri("-Zmiri-disable-isolation").arg("--lib"))?;
    let flags = "-Zmiri-disable-isolation -Zmiri-ignore-leaks -Zmiri-permissive-provenance";
    succeed(miri(flags).args(["--test", "host_ends", "--test", "host_wait_queue"]))
}

fn qemu_el2(config: &Config) -> Result<()> {
    qemu(Config {
        virt: "on".into(),
        smp: "1 4 20".into(),
        ..config.clone()
    })
}

/// Runs the test kernels with the instruction count as the clock, on one host thread. That
/// is slow, so only at two sizes, and with a short storm.
fn qemu_icount(config: &Config) -> Result<()> {
    qemu(Config {
        icount: "1".into(),
        timeout: "600".into(),
        append: "seconds=2".into(),
        smp: "1 4".into(),
        ..config.clone()
    })
}

fn qemu_gicv2(config: &Config) -> Result<()> {
    qemu(Config {
        gic: "2".into(),
        smp: "1 2 4 8".into(),
        ..config.clone()
    })
}

/// Runs the test kernels on a machine with EL3: its GIC has two security states, and shows
/// the kernel the non-secure view.
fn qemu_secure(config: &Config) -> Result<()> {
    let secure = Config {
        secure: "on".into(),
        ..config.clone()
    };
    qemu(Config {
        gic: "2".into(),
        smp: "1 4 8".into(),
        ..secure.clone()
    })?;
    qemu(Config {
        smp: "1 4 20".into(),
        ..secure
    })
}

fn qemu_rpi4(config: &Config) -> Result<()> {
    qemu(Config {
        board: "rpi4".into(),
        smp: "4".into(),
        ..config.clone()
    })
}

/// Runs all test kernels in a debug build, under the lock validator.
fn qemu_debug(config: &Config) -> Result<()> {
    qemu(Config {
        profile: "dev".into(),
        append: "rounds=50 seconds=20".into(),
        timeout: "600".into(),
        smp: "1 4 20".into(),
        ..config.clone()
    })
}

/// Boots as many CPUs as there can be, takes them down, and brings them up again.
fn qemu_many(config: &Config) -> Result<()> {
    qemu(Config {
        test: "qemu_many".into(),
        smp: "128 512".into(),
        ..config.clone()
    })
}

/// Runs the storm in a release build, and in a debug build under the lock validator: ten
/// minutes at each size. The seed is in the log. Runs those of steps and of services, two minutes
/// at each size.
fn storm(config: &Config) -> Result<()> {
    for profile in ["release", "dev"] {
        qemu(Config {
            profile: profile.into(),
            append: "seconds=120".into(),
            timeout: "600".into(),
            test: "qemu_steps qemu_services".into(),
            smp: "4 20".into(),
            ..config.clone()
        })?;
        for size in ["4", "8", "20"] {
            qemu(Config {
                profile: profile.into(),
                append: "seconds=600 aborts=100000".into(),
                timeout: "1500".into(),
                test: "qemu_family".into(),
                smp: size.into(),
                ..config.clone()
            })?;
            qemu(Config {
                profile: profile.into(),
                append: "seconds=600".into(),
                timeout: "1200".into(),
                test: "qemu_storm".into(),
                case: "mixture".into(),
                smp: size.into(),
                ..config.clone()
            })?;
        }
    }
    Ok(())
}

/// Runs Keith Owens' race ten thousand times in each form.
fn flush(config: &Config) -> Result<()> {
    qemu(Config {
        append: "tries=10000".into(),
        timeout: "3600".into(),
        test: "qemu_flush".into(),
        smp: "1 2 4".into(),
        ..config.clone()
    })
}

/// Stops, saves and migrates machines in the middle of hotplug, for a minute each.
fn managed(config: &Config) -> Result<()> {
    build()?;
    managed_machine(config, true)
}

/// Runs the Image on every combination of the settings that the check's matrix combines in
/// pairs.
fn all_machines(config: &Config) -> Result<()> {
    build()?;
    done(matrix::run(config, &[kernel_image().into(), "all".into()])?)
}

/// Has Perfetto's trace processor read what machines export: a still point and a CPU that goes and
/// comes, and random walks, in real time and by the instruction count.
fn perfetto(config: &Config) -> Result<()> {
    build()?;
    for (smp, icount, init) in [
        ("4", "1", ""),
        ("4", "0", ""),
        (
            "20",
            "0",
            "echo 1 > /sys/kernel/tracing/events/enable; stress 5; stop -v",
        ),
        ("1", "1", ""),
    ] {
        let machine = Config {
            smp: smp.into(),
            icount: icount.into(),
            init: init.into(),
            ..config.clone()
        };
        done(timeline::run(
            &machine,
            &["--perfetto".into(), kernel_image().into()],
        )?)?;
    }
    Ok(())
}

/// Runs the Image as a guest of Xen, whose emulated GIC doesn't show pending bits, and whose
/// guests have other addresses than the board.
fn under_xen(config: &Config) -> Result<()> {
    build()?;
    done(xen::run(config, &[kernel_image().into()])?)
}

/// Runs the Image under firmware that keeps the secure world's interrupts and takes PSCI
/// calls by SMC.
fn under_tfa(config: &Config) -> Result<()> {
    build()?;
    done(tfa::run(config, &[kernel_image().into()])?)
}

/// Boots the Image from U-Boot on all its machines. The stage is skipped if there is no
/// U-Boot.
fn under_uboot(config: &Config) -> Result<()> {
    if !uboot::can_run() {
        return skip(uboot::WHY_NOT);
    }
    build()?;
    done(uboot::run(config, &[kernel_image().into(), "all".into()])?)
}

fn qemu_a72(config: &Config) -> Result<()> {
    qemu(Config {
        cpu: "cortex-a72".into(),
        smp: "1 4 20".into(),
        ..config.clone()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_compiler_is_read() {
        let manifest = "[package]\nname = \"a\"\nrust-version = \"1.91\"\n";
        assert_eq!(oldest_compiler(manifest), Some("1.91"));
        assert_eq!(oldest_compiler("[package]\n"), None);
    }

    #[test]
    fn lists_of_rustup_have_a_host_or_a_remark_behind_a_name() {
        let list = "stable-x86_64-unknown-linux-gnu (default)\nnightly-x86_64-unknown-linux-gnu\n";
        assert!(lists(list, "nightly"));
        assert!(lists("miri\n", "miri") && lists("nightly (active)\n", "nightly"));
        assert!(!lists(list, "night"));
    }
}

//! The architecture as a test: which module may name which, and what pure code must not use.
//!
//! The rules are data, in this file. `host_layering/source.rs` reads a Rust file into tokens
//! and paths, and `host_layering/rules.rs` checks them against the data. Rules that the
//! compiler checks (visibility, `unsafe` without a block) are not repeated here.
//!
//! 1. **Layers.** A module names modules of its own rank and of those below it. Above the
//!    layers is an order of single modules: each names those before it.
//! 2. **Hardware.** `arch` and `drivers` are named by `kernel` and `boot` alone.
//! 3. **One door.** Atomics, cells and spin hints come from `crate::sync`.
//! 4. **Purity.** A module with a rank holds no `static`, no assembly and no
//!    `cfg(target_...)`: it is the same program on the host as on the target.
//! 5. **Safe by default.** A module with a rank forbids `unsafe`, but for those
//!    that are listed.
//! 6. **Argued.** Every `unsafe` block and `unsafe impl` has a `// SAFETY:`.
//!
//! Code under `#[cfg(test)]` is held to the last rule only.

#[path = "host_layering/rules.rs"]
mod rules;
#[path = "host_layering/source.rs"]
mod source;
#[path = "support/sources.rs"]
mod sources;

use std::path::Path;
use std::{fs, io};

use rules::{Violation, check};
use source::Source;

/// The pure modules, lowest rank first. Those of one rank may name each other.
const LAYERS: &[&[&str]] = &[
    &["config", "errno", "escape", "fault", "symbols"],
    &["sync"],
    &["cpu"],
    &["platform", "time", "trace"],
    &["device", "coherency", "patch", "virtio", "net"],
    &["memory", "dt", "bootargs", "sched"],
    &["smp"],
    &["rcu"],
    &["irq"],
    &["stop_machine"],
    &["module"],
    &["hotplug"],
    &["pool", "governor"],
    &["shell", "lab"],
];

/// The modules that access hardware and implement `platform`.
const HARDWARE: &[&str] = &["arch", "drivers"];

/// The pure modules that hardware code may name.
const HARDWARE_NAMES: &[&str] = &[
    "platform",
    "cpu",
    "config",
    "sync",
    "time",
    "device",
    "dt",
    "memory",
    "fault",
    "net",
    "coherency",
    "patch",
    "symbols",
    "virtio",
];

/// What only drivers may name beside those: an interrupt controller plans its SGIs.
const DRIVERS_NAME: &str = "smp";

/// The modules above the layers, lowest first. Each may name every pure module and the modules
/// before it in this list.
const TOP: &[&str] = &[
    "kernel",
    "boot",
    "shell_program",
    "api",
    "lab_program",
    "lib",
    "main",
];

/// The modules that may name the hardware.
const KNOW_HARDWARE: &[&str] = &["kernel", "boot"];

/// The only module that may name atomics and cells of `core`.
const DOOR: &str = "sync";

/// What only that module may name, as the end of a path.
const BEHIND_THE_DOOR: &[&[&str]] = &[
    &["sync", "atomic"],
    &["cell", "UnsafeCell"],
    &["hint", "spin_loop"],
];

/// The pure modules in which `unsafe` is allowed, with all below them. `platform`
/// only declares: the contract of a function that starts a CPU is `unsafe`.
const MAY_BE_UNSAFE: &[&[&str]] = &[
    &["sync"],
    &["platform"],
    &["sched", "itself"],
    &["sched", "links"],
    &["sched", "scheduler"],
    &["pool", "job_link"],
    &["smp", "call"],
    &["stop_machine", "current"],
    &["stop_machine", "early_end"],
    &["stop_machine", "pair"],
    &["stop_machine", "queueing"],
    &["stop_machine", "single"],
    &["stop_machine", "stop"],
    &["stop_machine", "work_link"],
    &["module", "slot"],
    &["irq", "handlers"],
    &["irq", "line"],
    &["irq", "percpu"],
    &["virtio", "queue"],
];

/// Returns all files of `src`, modules before their children.
fn sources() -> io::Result<Vec<Source>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources::collect(&root, &mut files)?;
    files.sort();
    files
        .iter()
        .map(|file| {
            let path = file.strip_prefix(&root).unwrap_or(file);
            Ok(Source::new(
                &path.to_string_lossy(),
                &fs::read_to_string(file)?,
            ))
        })
        .collect()
}

fn report(violations: &[Violation]) -> String {
    violations
        .iter()
        .map(|violation| format!("\n  {violation}"))
        .collect()
}

#[test]
fn the_source_keeps_the_architecture() {
    let sources = sources().expect("src is readable");
    assert!(
        sources.len() > 5,
        "found only {} files in src",
        sources.len()
    );
    let violations = check(&sources);
    assert!(
        violations.is_empty(),
        "{} broken rules:{}",
        violations.len(),
        report(&violations)
    );
}

/// Returns the faults of `text` as the file `path` in a tree without other faults.
fn broken(path: &str, text: &str) -> Vec<&'static str> {
    let text = format!("#![forbid(unsafe_code)]\n{text}");
    check(&[Source::new(path, &text)])
        .iter()
        .map(|violation| violation.rule)
        .collect()
}

#[test]
fn naming_a_lower_layer_is_fine() {
    assert_eq!(
        broken("hotplug/walk.rs", "use crate::sched::Thread;"),
        [""; 0]
    );
    assert_eq!(
        broken("time/queue.rs", "use crate::platform::Platform;"),
        [""; 0]
    );
    assert_eq!(broken("boot.rs", "use crate::{arch, hotplug};"), [""; 0]);
    assert_eq!(
        broken("drivers/gic.rs", "use crate::{arch::mmio, dt::Tree};"),
        [""; 0]
    );
}

#[test]
fn naming_a_higher_layer_is_found() {
    assert_eq!(
        broken("sync/mod.rs", "use crate::sched::Thread;"),
        ["layers"]
    );
    assert_eq!(
        broken("cpu/mask.rs", "fn f() { crate::smp::call(); }"),
        ["layers"]
    );
    assert_eq!(
        broken(
            "rcu/mod.rs",
            "use crate::{config::A, sync::{B, C}, hotplug::D};"
        ),
        ["layers"]
    );
    assert_eq!(
        broken("rcu/mod.rs", "use crate::{self as root};"),
        ["layers"]
    );
    assert_eq!(
        broken("cpu/mask.rs", "use super::super::sched::Thread;"),
        ["layers"]
    );
    assert_eq!(
        broken("cpu.rs", "macro_rules! m { () => { $crate::api::f() } }"),
        ["layers"]
    );
}

#[test]
fn the_modules_above_the_layers_have_an_order() {
    assert_eq!(broken("boot/mod.rs", "use crate::kernel::Hw;"), [""; 0]);
    assert_eq!(broken("api.rs", "use crate::{boot, kernel};"), [""; 0]);
    assert_eq!(
        broken("kernel/mod.rs", "use crate::boot::early;"),
        ["layers"]
    );
    assert_eq!(
        broken("shell_program/run.rs", "use crate::api::exit;"),
        ["layers"]
    );
}

#[test]
fn naming_ones_own_siblings_is_fine() {
    assert_eq!(broken("cpu/mask.rs", "use super::id::CpuId;"), [""; 0]);
    assert_eq!(broken("cpu.rs", "mod inner { use super::CpuId; }"), [""; 0]);
    assert_eq!(
        broken("cpu/mask.rs", "pub(in crate::cpu) fn f() {}"),
        [""; 0]
    );
}

#[test]
fn naming_the_hardware_is_found() {
    assert_eq!(
        broken("sched/mod.rs", "use crate::arch::switch;"),
        ["hardware"]
    );
    assert_eq!(broken("api.rs", "use crate::drivers::BOARD;"), ["hardware"]);
    assert_eq!(
        broken("arch/irq.rs", "use crate::hotplug::die;"),
        ["hardware"]
    );
    assert_eq!(
        broken("arch/irq.rs", "use crate::kernel::KERNEL;"),
        ["hardware"]
    );
    assert_eq!(
        broken("arch/irq.rs", "use crate::smp::FanOut;"),
        ["hardware"]
    );
    assert_eq!(broken("drivers/gic.rs", "use crate::smp::FanOut;"), [""; 0]);
}

#[test]
fn an_unknown_module_is_found() {
    assert_eq!(broken("misc.rs", ""), ["layers"]);
    assert_eq!(
        broken("shell/mod.rs", "use crate::misc::helper;"),
        ["layers"]
    );
}

#[test]
fn going_round_the_door_is_found() {
    assert_eq!(
        broken("smp/mod.rs", "use core::sync::atomic::AtomicU32;"),
        ["one door"]
    );
    assert_eq!(
        broken("arch/cpu.rs", "use core::{cell::{Cell, UnsafeCell}};"),
        ["one door"]
    );
    assert_eq!(
        broken("api.rs", "fn f() { core::hint::spin_loop() }"),
        ["one door"]
    );
    assert_eq!(
        broken(
            "smp/mod.rs",
            "use core::sync; static_assert!(sync::atomic::X);"
        ),
        ["one door"]
    );
    assert_eq!(
        broken("smp/mod.rs", "use crate::sync::atomic::AtomicU32;"),
        [""; 0]
    );
    assert_eq!(
        broken("sync/cell.rs", "use core::cell::UnsafeCell;"),
        [""; 0]
    );
}

#[test]
fn impure_code_is_found() {
    assert_eq!(broken("rcu/mod.rs", "static COUNT: u32 = 0;"), ["purity"]);
    assert_eq!(
        broken("rcu/mod.rs", "fn f() { core::arch::asm!(\"wfi\") }"),
        ["purity"]
    );
    assert_eq!(broken("rcu/mod.rs", "global_asm!(\"\");"), ["purity"]);
    assert_eq!(
        broken("rcu/mod.rs", "#[cfg(not(target_os = \"none\"))] fn f() {}"),
        ["purity"]
    );
    assert_eq!(
        broken("rcu/mod.rs", "fn f() -> bool { cfg!(target_arch = \"x\") }"),
        ["purity"]
    );
    assert_eq!(broken("kernel.rs", "static KERNEL: u32 = 0;"), [""; 0]);
}

#[test]
fn words_in_comments_strings_and_lifetimes_are_not_code() {
    let text = r####"
        //! static, crate::sched, asm!
        /* static /* crate::sched */ asm!() */
        fn f<'a>(text: &'static str, quote: char) -> &'a str {
            let _ = ("static \" crate::sched::X", b"asm!(", '"', '\'', '\u{22}', c"static");
            r#"" static UnsafeCell"#
        }
    "####;
    assert_eq!(broken("cpu/mask.rs", text), [""; 0]);
}

#[test]
fn test_code_may_use_anything() {
    let text = "#[cfg(test)]\nmod tests { use core::sync::atomic::A; static X: u8 = 0; }\n";
    assert_eq!(broken("cpu/mask.rs", text), [""; 0]);
    assert_eq!(
        broken("cpu/mask.rs", &format!("{text}static Y: u8 = 0;")),
        ["purity"]
    );
    assert_eq!(
        broken("cpu/mask.rs", "#[cfg(not(test))] static Y: u8 = 0;"),
        ["purity"]
    );
    assert_eq!(
        broken(
            "cpu/mask.rs",
            "#[cfg(test)] use crate::sched::X; use crate::sched::Y;"
        ),
        ["layers"]
    );
    let files = [
        Source::new(
            "cpu/mod.rs",
            "#![forbid(unsafe_code)] #[cfg(test)] mod fake;",
        ),
        Source::new("cpu/fake.rs", "static X: u8 = 0;"),
    ];
    assert!(check(&files).is_empty());
}

#[test]
fn a_pure_module_that_allows_unsafe_is_found() {
    let rules = |files: &[Source]| -> Vec<_> {
        check(files)
            .iter()
            .map(|violation| violation.rule)
            .collect()
    };
    assert_eq!(rules(&[Source::new("rcu/mod.rs", "")]), ["safe by default"]);
    assert_eq!(rules(&[Source::new("sched/scheduler.rs", "")]), [""; 0]);
    assert_eq!(rules(&[Source::new("sync/bits.rs", "")]), [""; 0]);
    assert_eq!(
        rules(&[Source::new("sched/lock/mutex.rs", "")]),
        ["safe by default"]
    );
    // `forbid` applies to all modules below, and none of them can lift it.
    let parent = || Source::new("rcu/mod.rs", "#![forbid(unsafe_code)]");
    assert_eq!(rules(&[parent(), Source::new("rcu/gp.rs", "")]), [""; 0]);
    // A module can't forbid `unsafe` if a module below it is allowed to use it.
    let parent = || Source::new("sched/mod.rs", "");
    assert_eq!(
        rules(&[parent(), Source::new("sched/thread.rs", "")]),
        ["safe by default"]
    );
}

#[test]
fn an_unsafe_block_without_an_argument_is_found() {
    assert_eq!(
        broken("arch/cpu.rs", "fn f() { unsafe { g() } }"),
        ["argued"]
    );
    assert_eq!(
        broken("arch/cpu.rs", "unsafe impl Sync for X {}"),
        ["argued"]
    );
    assert_eq!(
        broken(
            "arch/cpu.rs",
            "// SAFETY: for another one.\nlet a = 1;\nunsafe { g() }"
        ),
        ["argued"]
    );
    assert_eq!(
        broken(
            "arch/cpu.rs",
            "// SAFETY: the caller's promise.\n// More.\nlet a =\n    unsafe { g() };"
        ),
        [""; 0]
    );
    assert_eq!(
        broken("arch/cpu.rs", "/// # Safety\nunsafe fn f() {}"),
        [""; 0]
    );
}

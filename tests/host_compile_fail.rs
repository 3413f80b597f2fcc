//! The mistakes that the types forbid. Each file in `compile_fail` has a mistake that must not
//! compile. Its first line names the compiler's error, by its words if it has no number, or is
//! `ok` for the file without a mistake.
//!
//! Those in `compile_fail/outside` are programs of the target, compiled twice: against
//! the library as programs have it, and against the one with the feature `internals`.
//! The first line names both verdicts. If the second is `ok`, nothing but visibility
//! keeps the mistake out.
//!
//! Those in `compile_fail/api` are programs of the target too: what `api` forbids by lifetimes
//! and by `Send` and `Sync`.
//!
//! And what must compile: each example of the documentation, and the files in `examples/api`.

#[path = "support/examples.rs"]
mod examples;
#[path = "support/sources.rs"]
mod sources;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use examples::Example;

/// A library that programs are compiled against, and its target.
struct Library {
    target: Option<&'static str>,
    rmeta: PathBuf,
}

impl Library {
    /// Builds the library with `features`, for `target` or for the host, and returns it.
    fn new(target: Option<&'static str>, features: &str) -> Library {
        let mut cargo = Command::new(env!("CARGO"));
        cargo
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .args(["check", "--lib", "--message-format=json"])
            .arg(format!("--features={features}"));
        if let Some(target) = target {
            // As the kernel is built, so that its dependencies are there.
            cargo.args(["--release", "--target", target]);
        }
        let output = cargo.output().expect("cargo can be started");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let messages = String::from_utf8(output.stdout).expect("JSON is text");
        let rmeta = messages
            .split('"')
            .find(|text| text.contains("/libstillpoint-") && text.ends_with(".rmeta"))
            .expect("cargo names what it made");
        Library {
            target,
            rmeta: rmeta.into(),
        }
    }

    /// Compiles `source` and returns the compiler's output, which is empty if there is no
    /// error. `name` makes the names of the test's files unique.
    fn compile(&self, source: &Path, name: &str) -> String {
        let deps = self.rmeta.parent().expect("a file is in a directory");
        let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.rmeta"));
        let mut rustc = Command::new(env::var("RUSTC").unwrap_or_else(|_| "rustc".into()));
        if let Some(target) = self.target {
            rustc.args(["--target", target]);
            // Macros of dependencies are programs of the host.
            let host = deps.ancestors().nth(3).expect("cargo's directories");
            rustc.arg(format!("-Ldependency={}/release/deps", host.display()));
        }
        let output = rustc
            .args(["--edition=2024", "--emit=metadata", "-Awarnings", "-o"])
            .arg(out)
            .arg(format!("-Ldependency={}", deps.display()))
            .arg(format!("--extern=stillpoint={}", self.rmeta.display()))
            .arg(source)
            .output()
            .expect("the compiler can be started");
        if output.status.success() {
            String::new()
        } else {
            String::from_utf8_lossy(&output.stderr).into_owned()
        }
    }
}

/// The library with the feature `internals`, as tests use it, and without, as programs do.
fn inside_and_outside() -> [Library; 2] {
    let target = Some("aarch64-unknown-none");
    [
        Library::new(target, "internals,net"),
        Library::new(target, "net"),
    ]
}

/// Returns the programs in `dir`, each with the verdicts in its first line.
fn programs(dir: &str) -> Vec<(PathBuf, Vec<String>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join(dir);
    let mut programs = Vec::new();
    for file in fs::read_dir(dir).expect("it can be read") {
        let path = file.expect("it can be read").path();
        if path.is_dir() {
            continue;
        }
        let text = fs::read_to_string(&path).expect("it can be read");
        let verdicts = text
            .strip_prefix("//! ")
            .and_then(|rest| rest.split_once(':'))
            .map(|(verdicts, _)| verdicts.split(" / ").map(str::to_owned).collect())
            .unwrap_or_else(|| panic!("{} does not say what it is for", path.display()));
        programs.push((path, verdicts));
    }
    programs
}

/// Checks that what the compiler `said` of the program at `path` is the verdict `wanted`.
fn judge(path: &Path, wanted: &str, said: &str) {
    let as_it_should_be = match wanted {
        "ok" => said.is_empty(),
        error => [format!("error[{error}]"), format!("error: {error}")]
            .iter()
            .any(|it| said.contains(it)),
    };
    assert!(as_it_should_be, "{}: {wanted}?\n{said}", path.display());
}

#[test]
fn mistakes_do_not_compile() {
    let library = Library::new(None, "internals");
    let programs = programs("tests/compile_fail");
    assert!(programs.len() > 7, "only {} files", programs.len());
    for (path, verdicts) in programs {
        let said = library.compile(&path, "mistakes");
        judge(&path, &verdicts[0], &said);
    }
}

#[test]
fn programs_can_not_reach_inside() {
    let [inside, outside] = inside_and_outside();
    let programs = programs("tests/compile_fail/outside");
    assert!(programs.len() > 12, "only {} files", programs.len());
    for (path, verdicts) in programs {
        judge(&path, &verdicts[0], &outside.compile(&path, "outside"));
        judge(&path, &verdicts[1], &inside.compile(&path, "outside"));
    }
}

#[test]
fn mistakes_with_the_api_do_not_compile() {
    let library = Library::new(Some("aarch64-unknown-none"), "net");
    let programs = programs("tests/compile_fail/api");
    assert!(programs.len() > 19, "only {} files", programs.len());
    for (path, verdicts) in programs {
        judge(&path, &verdicts[0], &library.compile(&path, "api"));
    }
}

/// The items that a program can't name: all but those of `api`.
const INSIDE: [&str; 66] = [
    "api::Hw",
    "arch::aarch64::boot",
    "arch::aarch64::cpu_local::this_cpu",
    "arch::aarch64::irq::irq_save",
    "arch::aarch64::mmu",
    "arch::aarch64::psci::Psci",
    "arch::aarch64::semihosting::exit",
    "arch::aarch64::thread_head::current",
    "arch::aarch64::timer::arm",
    "config::MAX_CPUS",
    "cpu::CpuId",
    "cpu::CpuMasks",
    "cpu::Mpidr",
    "cpu::PerCpu",
    "cpu::PerCpuCounter",
    "device::gic",
    "drivers::early::write_str",
    "drivers::gicv2",
    "drivers::gicv3",
    "dt::check",
    "errno::Errno",
    "fault",
    "hotplug::Hotplug",
    "hotplug::HotplugHost",
    "hotplug::Walker",
    "memory::StackPool",
    "platform::CpuOps",
    "platform::IrqChip",
    "platform::Platform",
    "rcu::GraceHost",
    "rcu::GracePeriods",
    "sched::Affinity",
    "sched::SchedHost",
    "sched::PerCpuThread",
    "sched::RunQueue",
    "sched::Scheduler",
    "sched::Thread",
    "sched::lock::CpusLock",
    "sched::lock::Mutex",
    "sched::lock::ReaderCounts",
    "shell::Shell",
    "smp::FanOut",
    "smp::call::CallQueue",
    "smp::call::Calls",
    "coherency::pen",
    "kernel::Kernel",
    "kernel::TEST_SGI",
    "shell_program::KernelMachine",
    "kernel::kernel",
    "boot::load_device_tree",
    "stop_machine::MultiStop",
    "stop_machine::StopHost",
    "stop_machine::StopMachine",
    "symbols",
    "sync::AtomicBits",
    "sync::LocalCpu",
    "sync::LockMap",
    "sync::Once",
    "sync::PinnedCpu",
    "sync::SpinLock",
    "sync::SpinWord",
    "sync::Wait",
    "sync::WaitPoint",
    "sync::lockdep",
    "time::Instant",
    "trace::Trace",
];

#[test]
fn what_is_inside_has_no_name() {
    let [inside, outside] = inside_and_outside();
    let mut text = String::from("#![no_std] #![no_main]");
    for (number, name) in INSIDE.iter().enumerate() {
        text += &format!("\nuse stillpoint::{name} as _{number};");
    }
    let source = Path::new(env!("CARGO_TARGET_TMPDIR")).join("names.rs");
    fs::write(&source, text).expect("it can be written");
    assert_eq!(inside.compile(&source, "names"), "");
    let said = outside.compile(&source, "names");
    for (number, name) in INSIDE.iter().enumerate() {
        // The names begin on the second line.
        let place = format!("names.rs:{}:", number + 2);
        assert!(said.contains(&place), "{name} has a name\n{said}");
    }
}

/// The public modules. All others are the kernel's own.
#[test]
fn only_these_modules_are_for_programs() {
    let root = include_str!("../src/lib.rs");
    let mut before = "";
    let mut modules = Vec::new();
    for line in root.lines() {
        if let Some(module) = line.strip_prefix("pub mod ")
            && !before.contains("internals")
        {
            modules.push(module.trim_end_matches(';'));
        }
        before = line;
    }
    modules.sort_unstable();
    assert_eq!(modules, ["api"]);
}

/// What an example of the documentation is inside of: its `?` may return any error.
fn part(number: usize, example: &Example) -> String {
    let Example { file, code, .. } = example;
    format!(
        "// {}\nfn example_{number}() -> Result<(), \
         alloc::boxed::Box<dyn core::error::Error>> {{\n{code};Ok(())\n}}\n",
        file.display()
    )
}

#[test]
fn the_examples_of_the_api_compile() {
    let mut program = "#![no_std]\n#![no_main]\n\
        #![deny(unused_imports, unused_must_use, unused_mut)]\n\
        extern crate alloc;\n"
        .to_owned();
    let parts = examples::of_documentation();
    assert!(parts.len() > 15, "{} examples are too few", parts.len());
    for (number, example) in parts.iter().enumerate() {
        program += &part(number, example);
    }
    let files = examples::of_files();
    assert!(files.len() > 50, "{} files are too few", files.len());
    for (number, Example { file, .. }) in files.iter().enumerate() {
        program += &format!("#[path = {file:?}]\nmod file_{number};\n");
    }
    let source = Path::new(env!("CARGO_TARGET_TMPDIR")).join("examples.rs");
    fs::write(&source, program).expect("it can be written");
    let [_, outside] = inside_and_outside();
    let said = outside.compile(&source, "examples");
    assert!(said.is_empty(), "{said}");
}

/// Returns the fences that begin a block in the documentation of `text`, a Rust file.
fn fences(text: &str) -> Vec<&str> {
    let all = text
        .lines()
        .filter_map(examples::documentation)
        .map(str::trim);
    // Each second one ends a block.
    all.filter(|line| line.starts_with("```"))
        .step_by(2)
        .collect()
}

/// Returns whether a block that begins with `fence` is compiled, or is no Rust.
fn is_known(fence: &str) -> bool {
    [examples::EXAMPLE, "```text"].contains(&fence)
}

#[test]
fn no_example_is_left_out() {
    for file in examples::documented_files() {
        let text = fs::read_to_string(&file).expect("it can be read");
        for fence in fences(&text) {
            assert!(
                is_known(fence),
                "{} has a block that is not compiled: {fence}",
                file.display()
            );
        }
    }
}

#[test]
fn each_file_of_examples_is_in_the_documentation() {
    let read = |file| fs::read_to_string(file).expect("it can be read");
    let source: String = examples::documented_files().into_iter().map(read).collect();
    for Example { file, .. } in examples::of_files() {
        let name = file.file_name().expect("a file").to_string_lossy();
        let included = format!("/examples/api/{name}\")]");
        assert!(source.contains(&included), "nothing shows {name}");
    }
}

#[test]
fn an_example_is_found_where_it_stands() {
    let text = "\
//! ```text
//! none
//! ```
//! ```no_run
//! # let a = 1;
//! #![no_std]
//! b(a);
//!
//! ```
    /// ```no_run
    #[doc = include_str!(\"c.rs\")]
    /// ```
    /// ```ignore
    /// d();
    /// ```
";
    let found = examples::in_documentation(text);
    let (code, shown) = ("let a = 1;\nb(a);\n\n", "#![no_std]\nb(a);\n\n");
    assert_eq!(found, [(code.to_owned(), shown.to_owned())]);
    let fences = fences(text);
    let known: Vec<_> = fences.iter().map(|fence| is_known(fence)).collect();
    assert_eq!(known, [true, true, true, false], "{fences:?}");
}

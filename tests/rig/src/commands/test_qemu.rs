//! `test-qemu`: builds every test kernel and runs each at its sizes. It prints a line for
//! each run, and the counts at the end.
//!
//! | Variable | Meaning | Default |
//! |---|---|---|
//! | `SMP` | sizes to run at | `1 2 4 20` |
//! | `TEST` | only kernels that one of these words names, whole or in part | all |
//! | `CASE` | only this case, of the kernels that have it | all |
//! | `PROFILE` | `dev`: all in a debug build, whatever they ask for | |
//! | `J` | how many runs go at a time, one of them on more than four CPUs | 3 |
//!
//! All other variables describe the machine; a kernel's directives override them.

use std::ffi::OsString;
use std::io::{Read, pipe};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::commands::runner;
use crate::config::{Config, or};
use crate::counts::{Counts, seconds};
use crate::events::Outcome;
use crate::kernels::{self, Built, Kernel};
use crate::ktap;
use crate::process::{Running, code, one_of_some_in_parallel, this_program};
use crate::report::{Progress, indented, print, repeat, skipped, to_repeat};

/// The most CPUs of a run that is not large: of the large ones, only one runs at a time.
const SMALL: u32 = 4;

pub fn run(config: &Config, _arguments: &[OsString]) -> Result<i32> {
    if Kernel::all()?.is_empty() {
        skipped("test kernels", "there are none");
        return Ok(0);
    }
    let mut built = build(config)?;
    longest_first(&mut built)?;
    let plan = plan(config, &built)?;
    let counts = run_all(config, plan)?;
    print(&format!("{counts}\n"));
    Ok(i32::from(counts.failed != 0))
}

/// Builds the test kernels that `config` chooses.
///
/// # Errors
///
/// No kernel is chosen, or one doesn't compile.
pub fn build(config: &Config) -> Result<Vec<Built>> {
    let kernels = wanted(Kernel::all()?, &config.test)?;
    let kernels = with_case(config, kernels)?;
    kernels::build(config, &kernels)
}

/// Returns the `kernels` that a word of `test` chooses: the one of that name, or else those with
/// the word in their names. Without a word these are all.
///
/// # Errors
///
/// No kernel is chosen.
fn wanted(mut kernels: Vec<Kernel>, test: &str) -> Result<Vec<Kernel>> {
    let is_name = |word: &&str| kernels.iter().any(|kernel| kernel.name == *word);
    let (whole, parts): (Vec<&str>, Vec<&str>) = test.split_whitespace().partition(is_name);
    if !whole.is_empty() || !parts.is_empty() {
        kernels.retain(|Kernel { name, .. }| {
            whole.contains(&name.as_str()) || parts.iter().any(|part| name.contains(part))
        });
    }
    if kernels.is_empty() {
        bail!("no test kernel has \"{test}\" in its name");
    }
    Ok(kernels)
}

/// Returns the `kernels` that have the case that `CASE` names; all if it names none.
///
/// # Errors
/// No kernel has the case; the message lists the cases of the kernels.
fn with_case(config: &Config, mut kernels: Vec<Kernel>) -> Result<Vec<Kernel>> {
    if config.case.is_empty() {
        return Ok(kernels);
    }
    let cases = |kernel: &Kernel| kernel.directives.cases().join(" ");
    let named = |kernel: &Kernel| format!("  {}: {}", kernel.name, cases(kernel));
    let with_cases = kernels.iter().filter(|kernel| !cases(kernel).is_empty());
    let there_are: Vec<String> = with_cases.map(named).collect();
    kernels.retain(|kernel| kernel.directives.cases().contains(&config.case.as_str()));
    if !kernels.is_empty() {
        return Ok(kernels);
    }
    if there_are.is_empty() {
        bail!("no case \"{}\": the kernels have no cases", config.case);
    }
    bail!(
        "no case \"{}\"; there are\n{}",
        config.case,
        there_are.join("\n")
    )
}

/// Sorts kernels by their time limits, the longest first, so that no long run begins last.
fn longest_first(built: &mut [Built]) -> Result<()> {
    let mut failed = None;
    built.sort_by_cached_key(|built| {
        let limit = built.kernel.directives.number::<u64>("timeout", "");
        let limit = limit.unwrap_or_else(|error| {
            failed = Some(error);
            None
        });
        (std::cmp::Reverse(limit.unwrap_or(0)), built.elf.clone())
    });
    failed.map_or(Ok(()), Err)
}

/// A kernel at one size, in one case.
struct Item<'a> {
    built: &'a Built,
    size: u32,
    /// Empty for a kernel without cases.
    case: &'a str,
    /// Why it isn't run; `None` if it is.
    unfit: Option<String>,
}

/// Returns the runs, in their order: by kernel, as in `built`, and each by its sizes. So those
/// that may take long come first at every size.
fn plan<'a>(config: &'a Config, built: &'a [Built]) -> Result<Vec<Item<'a>>> {
    let sizes = or(&config.smp, "1 2 4 20").split_whitespace();
    let sizes = sizes.map(|size| size.parse::<u32>());
    let sizes: Vec<u32> = sizes
        .collect::<Result<_, _>>()
        .with_context(|| format!("SMP={}", config.smp))?;
    let mut items = Vec::new();
    for built in built {
        let kernel = &built.kernel;
        for &size in &sizes {
            let unfit = unfit(config, kernel, size);
            let cases = if unfit.is_some() {
                vec![""]
            } else {
                cases(config, kernel)
            };
            for case in cases {
                let unfit = unfit
                    .clone()
                    .or_else(|| takes_long(config, kernel, size, case));
                items.push(Item {
                    built,
                    size,
                    case,
                    unfit,
                });
            }
        }
    }
    Ok(items)
}

/// Returns the cases of a kernel that are to be run: an empty name if it has none.
fn cases<'a>(config: &'a Config, kernel: &'a Kernel) -> Vec<&'a str> {
    let mut cases = kernel.directives.cases();
    if cases.is_empty() {
        return vec![""];
    }
    if !config.case.is_empty() {
        cases.retain(|case| *case == config.case);
    }
    cases
}

/// Returns why `case` of a kernel isn't run on `size` CPUs although it could be: it takes
/// long there, and `config` doesn't ask for such runs. `None` if it is run.
fn takes_long(config: &Config, kernel: &Kernel, size: u32, case: &str) -> Option<String> {
    let sizes = kernel.directives.value("long", case)?;
    let long = sizes
        .split_whitespace()
        .any(|word| word == size.to_string());
    (long && config.long != "1").then(|| "it takes long there: LONG=1 runs it".to_owned())
}

/// Returns why a kernel does not run on `size` CPUs of this machine; `None` if it does.
fn unfit(config: &Config, kernel: &Kernel, size: u32) -> Option<String> {
    let said = &kernel.directives;
    let board = or(&config.board, "virt");
    let mut gic = or(&config.gic, "3");
    if let Some(only) = said.value("board", "")
        && only != board
    {
        return Some(format!("it is for {only}"));
    }
    if config.is_rpi4() {
        if size != 4 {
            return Some("a Raspberry Pi 4 has 4 CPUs".to_owned());
        }
        for word in ["virt", "dtb"] {
            if said.chooses(word) {
                let word = word.to_uppercase();
                let why = format!("it chooses {word}, which a Raspberry Pi 4 has as it is");
                return Some(why);
            }
        }
        gic = "2";
    }
    if let Some(only) = said.value("smp", "")
        && !only.split_whitespace().any(|word| word == size.to_string())
    {
        return Some(format!("it runs at {only}"));
    }
    let only = said.value("gic", "").unwrap_or(gic);
    if only != gic {
        return Some(format!("it is for GICv{only}"));
    }
    (gic == "2" && size > 8).then(|| "a GICv2 has 8 CPU interfaces".to_owned())
}

/// Runs all `items`, up to `J` at a time. Only one of them is large, because each of its CPUs
/// has a thread of its own on the host; many of the small ones wait meanwhile.
fn run_all(config: &Config, items: Vec<Item>) -> Result<Counts> {
    let jobs: usize = or(&config.jobs, "3")
        .parse()
        .with_context(|| format!("J={}", config.jobs))?;
    let progress = Progress::new(items.len());
    let (large, small): (Vec<Item>, Vec<Item>) =
        items.into_iter().partition(|item| item.size > SMALL);
    let run = |item: Item| item.run(config, &progress);
    let counts = one_of_some_in_parallel(jobs.max(1), large, small, run)?;
    Ok(counts
        .into_iter()
        .fold(Counts::default(), |mut sum, counts| {
            sum += counts;
            sum
        }))
}

impl Item<'_> {
    /// Runs it, or prints why not, and returns its counts.
    fn run(&self, config: &Config, progress: &Progress) -> Result<Counts> {
        let name = format!("{} SMP={}", self.name(), self.size);
        if let Some(why) = &self.unfit {
            let counts = Counts {
                inapplicable: 1,
                ..Counts::default()
            };
            let outcome = Outcome {
                name,
                counts,
                ..Outcome::default()
            };
            progress.done(&self.line("not applicable", "-", why), outcome);
            return Ok(counts);
        }
        progress.begin(&name);
        let from = Instant::now();
        let (status, log) = self.judge(config)?;
        let took = from.elapsed();
        let verdict = Verdict::new(status, &log);
        let time = format!("{:>6}", seconds(took));
        let mut outcome = Outcome {
            name,
            counts: verdict.counts(),
            took: Some(took),
            log: self.log(config)?.display().to_string(),
            ..Outcome::default()
        };
        let text = match &verdict {
            Verdict::Skipped(why) => {
                why.clone_into(&mut outcome.text);
                self.line("skipped", &time, why)
            }
            Verdict::Inapplicable(why) => self.line("not applicable", &time, why),
            Verdict::Passed(_) => {
                // Skipped and inapplicable results are printed too, with their reasons.
                let notes: Vec<&str> = log.lines().filter(|line| ktap::is_skip(line)).collect();
                self.line("ok", &time, "") + &indented(&notes.join("\n"))
            }
            Verdict::Failed => {
                outcome.repeat = vec![self.repeat(config)];
                self.line("FAIL", &time, "") + &indented(&log) + &to_repeat(&outcome.repeat)
            }
        };
        progress.done(&text, outcome);
        Ok(verdict.counts())
    }

    /// Returns the variables of its machine.
    fn machine(&self, config: &Config) -> Config {
        Config {
            case: self.case.to_owned(),
            smp: self.size.to_string(),
            ..config.clone()
        }
    }

    /// Returns the path of what its console printed.
    fn log(&self, config: &Config) -> Result<PathBuf> {
        runner::log_of(&self.built.kernel.name, &self.machine(config))
    }

    /// Has the runner judge it, and returns the runner's status and output.
    fn judge(&self, config: &Config) -> Result<(i32, String)> {
        let (mut reader, writer) = pipe()?;
        let mut runner = this_program();
        self.machine(config).export(&mut runner);
        runner
            .arg("runner")
            .arg(&self.built.elf)
            .stdin(Stdio::null());
        runner.stdout(writer.try_clone()?).stderr(writer);
        let mut running = Running::start(&mut runner)?;
        // Closes the rig's copy of the pipe's writing end, or reading would never end.
        drop(runner);
        let mut log = Vec::new();
        reader.read_to_end(&mut log)?;
        let status = code(running.wait()?);
        Ok((status, String::from_utf8_lossy(&log).into_owned()))
    }

    fn name(&self) -> String {
        let name = &self.built.kernel.name;
        if self.case.is_empty() {
            name.clone()
        } else {
            format!("{name} {}", self.case)
        }
    }

    fn line(&self, verdict: &str, time: &str, why: &str) -> String {
        let (name, size) = (self.name(), self.size);
        let line = format!("{verdict:<15} {name:<24} SMP={size:<3} {time:>6}  {why}");
        format!("{}\n", line.trim_end())
    }

    /// Returns the command that repeats it.
    fn repeat(&self, config: &Config) -> String {
        let (append, size) = (config.append.to_string_lossy(), self.size.to_string());
        // The Makefile's defaults need not be repeated.
        let unless = |value, default| if value == default { "" } else { value };
        let variables = [
            ("TEST", self.built.kernel.name.as_str()),
            ("CASE", self.case),
            ("SMP", &size),
            ("PROFILE", &config.profile),
            ("BOARD", unless(&config.board, "virt")),
            ("GIC", unless(&config.gic, "3")),
            ("VIRT", &config.virt),
            ("SECURE", &config.secure),
            ("CPU", unless(&config.cpu, "max")),
            ("MEM", unless(&config.mem, "1G")),
            ("TCG", &config.tcg),
            ("ICOUNT", &config.icount),
            ("DTB", &config.dtb),
            ("APPEND", &append),
            ("QEMU", &config.qemu),
            ("TIMEOUT", &config.timeout),
            ("LONG", &config.long),
        ];
        repeat("test-qemu", &variables)
    }
}

/// The runner's verdict on a run.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Passed(Counts),
    Skipped(String),
    Inapplicable(String),
    Failed,
}

impl Verdict {
    fn new(status: i32, log: &str) -> Verdict {
        let last = log.lines().last().unwrap_or_default();
        let counts = last.strip_prefix("runner: ok ").and_then(Counts::parse);
        let Some(counts) = counts.filter(|_| status == 0) else {
            return Verdict::Failed;
        };
        let first =
            |of: fn(&str) -> Option<&str>| log.lines().find_map(of).unwrap_or("").to_owned();
        match counts {
            Counts {
                passed: 0,
                failed: 0,
                skipped: 1,
                ..
            } => Verdict::Skipped(first(ktap::reason_of_skip)),
            Counts { passed: 0, .. } => Verdict::Inapplicable(first(|line| {
                line.find("not applicable").map(|at| &line[at..])
            })),
            _ => Verdict::Passed(counts),
        }
    }

    fn counts(&self) -> Counts {
        match self {
            Verdict::Passed(counts) => *counts,
            Verdict::Skipped(_) => Counts {
                skipped: 1,
                ..Counts::default()
            },
            Verdict::Inapplicable(_) => Counts {
                inapplicable: 1,
                ..Counts::default()
            },
            // The results before the failure aren't counted.
            Verdict::Failed => Counts {
                failed: 1,
                ..Counts::default()
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directives::Directives;

    fn kernel(source: &str) -> Kernel {
        let directives = Directives::parse(source).expect("directives");
        Kernel {
            name: "qemu_it".to_owned(),
            directives,
        }
    }

    fn why(config: &Config, source: &str, size: u32) -> String {
        unfit(config, &kernel(source), size).unwrap_or_default()
    }

    #[test]
    fn a_kernel_is_chosen_by_its_name_or_a_part_of_it() {
        let chosen = |test: &str| {
            let kernels = ["qemu_late", "qemu_late_call", "qemu_stop"].map(|name| Kernel {
                name: name.to_owned(),
                ..kernel("")
            });
            let chosen = wanted(kernels.into(), test).map_err(|error| error.to_string());
            let names = |kernels: Vec<Kernel>| -> Vec<String> {
                kernels.into_iter().map(|kernel| kernel.name).collect()
            };
            chosen.map(names).unwrap_or_else(|error| vec![error])
        };
        assert_eq!(chosen(""), ["qemu_late", "qemu_late_call", "qemu_stop"]);
        assert_eq!(chosen("late"), ["qemu_late", "qemu_late_call"]);
        // No other can be told from it by a part of its name.
        assert_eq!(chosen("qemu_late"), ["qemu_late"]);
        assert_eq!(chosen("qemu_late stop"), ["qemu_late", "qemu_stop"]);
        let none = "no test kernel has \"none\" in its name";
        assert_eq!(chosen("none"), [none]);
    }

    #[test]
    fn a_kernel_runs_where_it_fits() {
        let virt = Config::default();
        assert_eq!(why(&virt, "", 20), "");
        assert_eq!(why(&virt, "//@ smp: 2 4\n", 20), "it runs at 2 4");
        assert_eq!(why(&virt, "//@ smp: 20\n", 2), "it runs at 20");
        assert_eq!(why(&virt, "//@ gic: 2\n", 4), "it is for GICv2");
        assert_eq!(why(&virt, "//@ board: rpi4\n", 4), "it is for rpi4");
        let v2 = Config {
            gic: "2".into(),
            ..Config::default()
        };
        assert_eq!(why(&v2, "//@ gic: 2\n", 8), "");
        assert_eq!(why(&v2, "", 20), "a GICv2 has 8 CPU interfaces");
        let pi = Config {
            board: "rpi4".into(),
            ..Config::default()
        };
        assert_eq!(why(&pi, "", 2), "a Raspberry Pi 4 has 4 CPUs");
        assert_eq!(why(&pi, "//@ gic: 2\n", 4), "");
        assert_eq!(why(&pi, "//@ gic: 3\n", 4), "it is for GICv3");
        let chooses = "it chooses DTB, which a Raspberry Pi 4 has as it is";
        assert_eq!(why(&pi, "//@ case: a\n//@ dtb: x.dts\n", 4), chooses);
    }

    #[test]
    fn a_case_selects_itself_of_the_kernels_that_have_cases() {
        let with = |case: &str| Config {
            case: case.into(),
            ..Config::default()
        };
        let has = kernel("//@ cases: a b\n");
        assert_eq!(cases(&with(""), &has), ["a", "b"]);
        assert_eq!(cases(&with("b"), &has), ["b"]);
        assert!(cases(&with("c"), &has).is_empty());
    }

    #[test]
    fn a_case_that_no_kernel_has_is_an_error_that_names_those_that_there_are() {
        let kernels = || vec![kernel("//@ cases: a b\n"), kernel("")];
        let of = |case: &str, kernels| {
            let config = Config {
                case: case.into(),
                ..Config::default()
            };
            with_case(&config, kernels)
                .map(|kernels| kernels.len())
                .map_err(|error| error.to_string())
        };
        assert_eq!(of("", kernels()), Ok(2));
        assert_eq!(of("b", kernels()), Ok(1));
        let named = "no case \"c\"; there are\n  qemu_it: a b".to_owned();
        assert_eq!(of("c", kernels()), Err(named));
        let none = "no case \"a\": the kernels have no cases".to_owned();
        assert_eq!(of("a", vec![kernel("")]), Err(none));
    }

    #[test]
    fn only_a_last_word_of_the_runner_is_a_pass() {
        let of = |status, log: &str| Verdict::new(status, log);
        let ok = "runner: ok 2 passed, 0 failed, 1 skipped, 0 not applicable\n";
        let counts = Counts {
            passed: 2,
            skipped: 1,
            ..Counts::default()
        };
        assert_eq!(of(0, &format!("1..3\n{ok}")), Verdict::Passed(counts));
        assert_eq!(of(1, ok), Verdict::Failed);
        assert_eq!(of(0, &format!("{ok}and on\n")), Verdict::Failed);
        assert_eq!(of(0, ""), Verdict::Failed);
        let skipped = "ok 1 - it # SKIP QEMU 7.2: stalls\n\
                       runner: ok 0 passed, 0 failed, 1 skipped, 0 not applicable\n";
        assert_eq!(
            of(0, skipped),
            Verdict::Skipped("QEMU 7.2: stalls".to_owned())
        );
        let other = "1..0 # SKIP not applicable: one CPU\n\
                     runner: ok 0 passed, 0 failed, 0 skipped, 1 not applicable\n";
        let why = "not applicable: one CPU".to_owned();
        assert_eq!(of(0, other), Verdict::Inapplicable(why));
    }

    #[test]
    fn those_that_may_take_long_come_first() {
        let built = |name: &str, source: &str| Built {
            kernel: kernel(source),
            elf: name.into(),
        };
        let mut all = vec![
            built("a", ""),
            built("b", "//@ timeout: 120\n"),
            built("c", "//@ timeout: 900\n"),
            built("d", ""),
        ];
        longest_first(&mut all).expect("numbers");
        let config = Config {
            smp: "1 4".into(),
            ..Config::default()
        };
        let runs = plan(&config, &all).expect("sizes");
        let runs = runs
            .iter()
            .map(|item| format!("{}{}", item.built.elf.display(), item.size));
        let order: Vec<_> = runs.collect();
        assert_eq!(order, ["c1", "c4", "b1", "b4", "a1", "a4", "d1", "d4"]);
    }
}

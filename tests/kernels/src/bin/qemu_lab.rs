//! The race lab: each lab shows the same from the same seed, the old protocol fails and ours
//! holds, and the machine is as before, whatever ends a lab.

//@ smp: 2 4
//@ timeout: 120

#![no_std]
#![no_main]

extern crate alloc;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::Cell;
use core::fmt;
use core::time::Duration;

use stillpoint::api::shell::CommandError;
use stillpoint::api::{Errno, cpu, hotplug, thread};
use stillpoint::cpu::CpuMask;
use stillpoint::lab::Lab;
use stillpoint::lab_program::{self, Console};

use kernel_support::ktap::Ktap;
use kernel_support::machine::{masks_say, secondaries, states_say};
use kernel_support::memory::InUse;

stillpoint::entry!(main);

/// Keeps what a lab prints, and interrupts it when it asks for the time `interrupted`.
struct Paper {
    text: String,
    asked: Cell<u32>,
    interrupted: u32,
}

impl fmt::Write for Paper {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.text.push_str(text);
        Ok(())
    }
}

impl Console for Paper {
    fn is_interrupted(&self) -> bool {
        self.asked.set(self.asked.get() + 1);
        self.asked.get() == self.interrupted
    }
}

/// Runs `lab`; returns what it has printed, and how it ended.
fn run(lab: Lab, seed: u64, interrupted: u32) -> (String, Result<(), CommandError>) {
    let mut paper = Paper {
        text: String::new(),
        asked: Cell::new(0),
        interrupted,
    };
    let ended = lab_program::run(lab, seed, &mut paper);
    (paper.text, ended)
}

/// Runs `lab`; returns what it has printed, or `None` if it has not shown what it should, which is
/// printed then.
fn shown(lab: Lab, seed: u64) -> Option<String> {
    let (text, ended) = run(lab, seed, 0);
    let Err(error) = ended else {
        return Some(text);
    };
    stillpoint::println!("{text}\n# {}: {error}", error.errno());
    None
}

/// What a lab has to leave as it was.
#[derive(Debug, PartialEq)]
struct Machine {
    online: CpuMask,
    places: usize,
    runtime: Option<Duration>,
}

impl Machine {
    fn now() -> Machine {
        Machine {
            online: cpu::online_racy(),
            // The steps of programs are among them.
            places: hotplug::resting_places().len(),
            runtime: thread::realtime_runtime(),
        }
    }

    /// Returns whether it is so again, and all CPUs are at rest.
    fn is_back(&self) -> bool {
        let now = Machine::now();
        if now != *self {
            stillpoint::println!("# {now:?}, before: {self:?}");
        }
        now == *self && masks_say(&self.online) && states_say(&self.online)
    }
}

/// The stories, with what seed 1 shows on four CPUs.
const STORIES: &str = include_str!("../../../../docs/lab.md");

/// The number of acts that the stories show at least.
const SHOWN: usize = 6;

fn main() {
    let mut ktap = Ktap::new();
    let before = Machine::now();
    for lab in Lab::ALL {
        shows(&mut ktap, lab);
    }
    let in_use = InUse::settled();
    for lab in Lab::ALL {
        ends_early(&mut ktap, lab, &before);
    }
    few_cpus(&mut ktap);
    stories(&mut ktap);
    ktap.check("no memory is lost", in_use.is_back());
    ktap.check("the machine is as before", before.is_back());
    ktap.finish()
}

/// Checks what `lab` shows, for some seeds.
fn shows(ktap: &mut Ktap, lab: Lab) {
    let name = lab.name();
    let first = shown(lab, 1);
    let says = format!("{name}: the old way fails, ours holds");
    ktap.check(&says, first.is_some());
    let again = [(); 2].map(|()| shown(lab, 1));
    let same = again.iter().all(|text| *text == first);
    ktap.check(&format!("{name}: the same from the same seed"), same);
    let others = [2, 3, 4].map(|seed| shown(lab, seed));
    let well = others.iter().all(|text| text.is_some() && *text != first);
    ktap.check(&format!("{name}: other tables from other seeds"), well);
    let narrow = first.is_some_and(|text| text.lines().all(|line| line.len() <= 80));
    ktap.check(&format!("{name}: it fits into 80 columns"), narrow);
}

/// Checks that a Ctrl-C ends `lab` wherever it comes, and that the machine is `before` again.
fn ends_early(ktap: &mut Ktap, lab: Lab, before: &Machine) {
    let mut well = true;
    for at in 1.. {
        match run(lab, 1, at).1 {
            Ok(()) => break,
            Err(error) => well &= error.errno() == Errno::Canceled && before.is_back(),
        }
        well &= at < 20;
    }
    ktap.check(&format!("{}: Ctrl-C ends it", lab.name()), well);
    ktap.check(
        &format!("{}: and it runs again", lab.name()),
        shown(lab, 1).is_some(),
    );
}

/// Takes one CPU after the other down, and checks that labs run as long as two are left.
fn few_cpus(ktap: &mut Ktap) {
    let mut well = true;
    for gone in secondaries() {
        well &= hotplug::cpu_down(gone).is_ok();
        for lab in Lab::ALL {
            well &= match run(lab, 1, 0).1 {
                Ok(()) => cpu::online_racy().count() > 1,
                Err(error) => {
                    cpu::online_racy().count() == 1 && error.errno() == Errno::NotSupported
                }
            };
        }
    }
    well &= secondaries()
        .into_iter()
        .all(|cpu| hotplug::cpu_up(cpu).is_ok());
    ktap.check("labs run with two CPUs or more, and say so with one", well);
}

/// Checks that the acts in the stories are what the labs print.
fn stories(ktap: &mut Ktap) {
    let name = "the stories show what is printed";
    if cpu::possible().count() != 4 {
        ktap.inapplicable(name, "they have four CPUs");
        return;
    }
    let printed: String = Lab::ALL.iter().map(|lab| run(*lab, 1, 0).0).collect();
    let printed = without_places(&printed);
    let mut acts = 0;
    let mut well = true;
    for act in acts_in(STORIES) {
        acts += 1;
        if !printed.contains(&without_places(&act)) {
            stillpoint::println!("# docs/lab.md has what isn't printed:\n{act}");
            well = false;
        }
    }
    ktap.check(name, well && acts >= SHOWN);
}

/// Returns the acts in `text`, a document: they are indented.
fn acts_in(text: &str) -> Vec<String> {
    const INDENT: &str = "    ";
    let mut acts: Vec<String> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        let code = line.strip_prefix(INDENT);
        let begins = code.is_some_and(|code| {
            !inside
                && ["The old way: ", "Ours: "]
                    .iter()
                    .any(|head| code.starts_with(head))
        });
        if begins {
            acts.push(String::new());
        }
        inside = begins || (inside && (code.is_some() || line.is_empty()));
        if let Some(act) = acts.last_mut().filter(|_| inside) {
            *act += code.unwrap_or_default();
            *act += "\n";
        }
    }
    acts.iter().map(|act| act.trim_end().into()).collect()
}

/// Returns `text` without the numbers of lines and columns in the source, which change with it.
fn without_places(text: &str) -> String {
    let mut parts = text.split(".rs:");
    let mut rest = String::from(parts.next().unwrap_or_default());
    for part in parts {
        rest += ".rs";
        rest += part.trim_start_matches(|c: char| c.is_ascii_digit() || c == ':');
    }
    rest
}

//! CPUs leave and come back again and again. Each time they are as they were before, and nothing
//! is left of their absence. The boot argument `rounds=` is the number of rounds.

//@ smp: 2 4 8 20
//@ timeout: 240

#![no_std]
#![no_main]

extern crate alloc;

stillpoint::entry!(main);

use alloc::sync::Arc;
use core::fmt::Debug;
use core::ops::RangeInclusive;
use core::time::Duration;

use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::kernel::{Hw, TEST_SGI, kernel};
use stillpoint::platform::Platform;
use stillpoint::sync::atomic::{AtomicBool, Ordering};
use stillpoint::{api, println};

use kernel_support::ktap::Ktap;
use kernel_support::machine::{eventually, masks_say, secondaries, send_sgi, states_say};
use kernel_support::memory::InUse;

/// All SGIs of the kernel. The panic SGI has no effect while no CPU has panicked.
const SGIS: RangeInclusive<u8> = 0..=7;

/// Whether each check has passed so far.
struct Verdicts {
    masks: bool,
    states: bool,
    stale: bool,
    sgis: bool,
    timers: bool,
}

fn main() {
    let rounds = told_rounds().unwrap_or(match kernel().masks.possible().count() {
        4 => 1000,
        20 => 200,
        _ => 100,
    });
    let mut ktap = Ktap::new();
    let mut good = Verdicts {
        masks: true,
        states: true,
        stale: true,
        sgis: true,
        timers: true,
    };
    let mut cycled = true;
    let mut after_first = None;
    for round in 0..rounds {
        cycled = cycle(round, &mut good);
        // The test ends at the first missing event, because each costs a long wait.
        if !cycled || !good.all() {
            break;
        }
        if after_first.is_none() {
            after_first = Some(InUse::settled());
        }
    }
    println!("# {rounds} cycles");
    ktap.check("every CPU leaves and comes back, each time", cycled);
    ktap.check("the masks say so after each move", good.masks);
    ktap.check("the counters are balanced after each move", good.states);
    ktap.check("no SGI that was sent to a CPU that was off", good.stale);
    ktap.check("every SGI arrives at a CPU that is back, once", good.sgis);
    ktap.check(
        "the timer of a CPU that is back wakes a sleeper",
        good.timers,
    );
    ktap.check(
        "as much heap and as many stacks in use as after the first cycle",
        after_first.is_some_and(InUse::is_back),
    );
    ktap.finish()
}

/// Returns how many rounds the boot arguments ask for.
fn told_rounds() -> Option<u32> {
    let mut words = kernel().bootargs.split(' ');
    words.find_map(|word| word.strip_prefix("rounds=")?.parse().ok())
}

/// Takes all secondaries down, one after the other, and up again.
fn cycle(round: u32, good: &mut Verdicts) -> bool {
    let mut online = *kernel().masks.possible();
    for cpu in secondaries() {
        if let Err(error) = api::cpu_down(cpu) {
            return broken(round, cpu, &error);
        }
        online.remove(cpu);
        good.look(&online);
    }
    let counts: alloc::vec::Vec<_> = secondaries().into_iter().map(unused_count).collect();
    for cpu in secondaries() {
        SGIS.for_each(|number| send_sgi(number, cpu));
    }
    for cpu in secondaries() {
        if let Err(error) = api::cpu_up(cpu) {
            return broken(round, cpu, &error);
        }
        online.insert(cpu);
        good.look(&online);
    }
    for (cpu, before) in secondaries().into_iter().zip(counts) {
        // The sleeper has run there with IRQs on, so the CPU has taken all interrupts that
        // were left pending.
        good.timers &= timer_is_alive(cpu);
        good.stale &= told(cpu, "stale SGIs", unused_count(cpu) == before);
        good.sgis &= told(cpu, "SGIs", sgis_are_alive(cpu));
        let once = before + 1;
        good.sgis &= told(cpu, "SGIs came more than once", unused_count(cpu) == once);
    }
    true
}

impl Verdicts {
    fn all(&self) -> bool {
        self.masks && self.states && self.stale && self.sgis && self.timers
    }

    fn look(&mut self, online: &CpuMask) {
        self.masks &= masks_say(online);
        self.states &= states_say(online);
    }
}

fn broken(round: u32, cpu: CpuId, error: &dyn Debug) -> bool {
    println!("# cycle {round}, CPU{cpu}: {error:?}");
    false
}

fn told(cpu: CpuId, what: &str, good: bool) -> bool {
    if !good {
        println!("# CPU{cpu}: {what}");
    }
    good
}

/// Returns how often `cpu` has taken the SGI that only this test sends.
fn unused_count(cpu: CpuId) -> u64 {
    kernel().interrupts.sgis(cpu, TEST_SGI)
}

fn sgis_are_alive(cpu: CpuId) -> bool {
    SGIS.into_iter().all(|number| {
        let before = kernel().interrupts.sgis(cpu, number);
        send_sgi(number, cpu);
        eventually(|| kernel().interrupts.sgis(cpu, number) > before)
    })
}

/// Returns whether a sleeper on `cpu` wakes after an interrupt of the CPU's timer. A sleep that is
/// over before it began takes no interrupt, and is repeated.
fn timer_is_alive(cpu: CpuId) -> bool {
    let before = kernel().interrupts.timers(cpu);
    eventually(|| {
        let woken = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&woken);
        let sleeper = api::spawn_on(cpu, "sleeper", move || {
            api::sleep(Duration::from_millis(1));
            flag.store(true, Ordering::Relaxed);
            Hw::this_cpu()
        });
        // The thread isn't joined, because it may never wake.
        eventually(|| woken.load(Ordering::Relaxed))
            && sleeper.is_ok_and(|sleeper| sleeper.join() == cpu)
            && kernel().interrupts.timers(cpu) > before
    })
}

//! Hotplug: one CPU down and up again, by phase; all of them, together and one by one; and the
//! floors of these, which are bare CPU_ONs and CPU_OFFs in the same rounds.

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use stillpoint::api;
use stillpoint::api::thread::{self, Builder};
use stillpoint::api::time::Timer;
use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::hotplug::Parallel;
use stillpoint::kernel::{Hw, kernel};
use stillpoint::platform::Platform;
use stillpoint::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::support::floors::{Floors, Took};
use crate::support::lines::print_line;
use crate::support::phases::Phases;
use crate::support::rounds::{Rounds, ns, time};

/// Measures all of it. All CPUs are online, before and after.
pub(crate) fn hotplug(rounds: &Rounds) {
    let secondaries: Vec<CpuId> = secondaries().iter().collect();
    one(rounds, &secondaries);
    let last = secondaries.last().expect("more than one CPU");
    under_load(*last);
    all(secondaries.len());
}

pub(crate) fn secondaries() -> CpuMask {
    let possible = kernel().masks.possible();
    possible.without(&CpuMask::of(CpuId::BOOT))
}

fn down(cpu: CpuId) {
    api::cpu_down(cpu).expect("a secondary leaves");
}

fn up(cpu: CpuId) {
    api::cpu_up(cpu).expect("a secondary returns");
}

/// What the floors took, in nanoseconds; nothing where they aren't measured.
#[derive(Default)]
struct FloorSamples {
    ons: Vec<u64>,
    offs: Vec<u64>,
}

impl FloorSamples {
    fn add(&mut self, floor: Option<Took>) {
        if let Some(took) = floor {
            self.ons.push(took.on);
            self.offs.push(took.off);
        }
    }

    /// Prints the two lines, whose operations end in `suffix`.
    fn print(self, suffix: &str, warm_up: usize) {
        if !self.ons.is_empty() {
            print_line(&format!("floor.cpu_on{suffix}"), self.ons, warm_up);
            print_line(&format!("floor.cpu_off{suffix}"), self.offs, warm_up);
        }
    }
}

/// One CPU down and up again, round robin over `secondaries`.
fn one(rounds: &Rounds, secondaries: &[CpuId]) {
    let new = || Vec::with_capacity(rounds.measured);
    let (mut downs, mut ups, mut irqs_off) = (new(), new(), new());
    let (floors, mut least) = (Floors::new(), FloorSamples::default());
    let mut phases = Phases::new();
    for (round, is_measured) in rounds.each() {
        let cpu = secondaries[round % secondaries.len()];
        let began = Hw::now();
        let gone = time(|| down(cpu));
        let longest = longest_irqs_off();
        let floor = floors
            .as_ref()
            .map(|floors| floors.measure(&CpuMask::of(cpu)));
        let back = time(|| up(cpu));
        if !is_measured {
            continue;
        }
        downs.push(gone);
        irqs_off.push(longest);
        ups.push(back);
        phases.add(cpu, began);
        least.add(floor);
    }
    let warm_up = rounds.warm_up;
    least.print("", warm_up);
    print_line("cpu_down", downs, warm_up);
    print_line("cpu_down.irqs_off", irqs_off, warm_up);
    print_line("cpu_up", ups, warm_up);
    phases.print(warm_up);
}

/// All secondaries down and up again, up in each of the ways of `cpuhp.parallel=`.
fn all(cpus: usize) {
    let measured = match cpus {
        0..=3 => 100,
        4..=15 => 30,
        16..=63 => 10,
        _ => 3,
    };
    let rounds = Rounds {
        measured,
        warm_up: measured.div_ceil(10),
    };
    let new = || Vec::with_capacity(measured);
    let (mut together, mut downs, mut ups) = (new(), new(), new());
    let mut ways = Parallel::ALL.map(|how| (how, new()));
    let default = kernel().hotplug.parallel();
    let (floors, mut least) = (Floors::new(), FloorSamples::default());
    let others = secondaries();
    let one_by_one = |walk_fn: fn(CpuId)| time(|| others.iter().for_each(walk_fn));
    let leave = || time(|| api::hotplug::cpus_down(&others).expect("all secondaries leave"));
    for (_, is_measured) in rounds.each() {
        for (how, ups) in &mut ways {
            leave();
            kernel().hotplug.set_parallel(*how);
            let back = time(|| api::hotplug::cpus_up(&others).expect("all secondaries return"));
            if is_measured {
                ups.push(back);
            }
        }
        kernel().hotplug.set_parallel(default);
        let gone = leave();
        let floor = floors.as_ref().map(|floors| floors.measure(&others));
        let back = one_by_one(up);
        let gone_singly = one_by_one(down);
        one_by_one(up);
        if !is_measured {
            continue;
        }
        together.push(gone);
        ups.push(back);
        downs.push(gone_singly);
        least.add(floor);
    }
    let warm_up = rounds.warm_up;
    least.print("_all", warm_up);
    print_line("cpus_down", together, warm_up);
    print_line("cpus_down.one_by_one", downs, warm_up);
    print_line("cpus_up.one_by_one", ups, warm_up);
    for (how, ups) in ways {
        print_line(&format!("cpus_up.{}", how.name()), ups, warm_up);
    }
}

/// Returns the longest time for which a CPU that is online had interrupts off in the last
/// stop.
pub(crate) fn longest_irqs_off() -> u64 {
    let times = kernel().stop_machine.times();
    let online = kernel().masks.online();
    let longest = online.iter().map(|cpu| times.irqs_off_ticks(cpu)).max();
    ns(longest.unwrap_or(0))
}

/// The length of the still point when `cpu` goes with all that it may carry. In each round it
/// carries new threads and timers: those of the round before have other CPUs now.
fn under_load(cpu: CpuId) {
    const TIMERS: usize = 10_000;
    const SLEEPERS: usize = 1000;
    const ROUNDS: usize = 10;
    let timers: Arc<Vec<Timer>> = Arc::new((0..TIMERS).map(|_| Timer::new(|| ())).collect());
    let mut irqs_off = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let end = Arc::new(AtomicBool::new(false));
        let asleep = Arc::new(AtomicUsize::new(0));
        let sleep = |_| {
            let (own_end, own_asleep) = (Arc::clone(&end), Arc::clone(&asleep));
            let body = move || {
                own_asleep.fetch_add(1, Ordering::Relaxed);
                while !own_end.load(Ordering::Acquire) {
                    thread::park();
                }
            };
            on(cpu).spawn(body).expect("a stack is free")
        };
        let sleepers: Vec<_> = (0..SLEEPERS).map(sleep).collect();
        let setting = Arc::clone(&timers);
        let set = move || {
            let never = api::now() + Duration::from_secs(36_000);
            for (timer, number) in setting.iter().zip(0..) {
                timer.start(never + Duration::from_micros(number));
            }
        };
        on(cpu).spawn(set).expect("a stack is free").join();
        while asleep.load(Ordering::Relaxed) < SLEEPERS {
            api::sleep(Duration::from_millis(1));
        }
        down(cpu);
        irqs_off.push(longest_irqs_off());
        up(cpu);
        end.store(true, Ordering::Release);
        for sleeper in sleepers {
            sleeper.thread().unpark();
            sleeper.join();
        }
    }
    print_line("cpu_down.irqs_off.loaded", irqs_off, 0);
}

fn on(cpu: CpuId) -> Builder {
    Builder::new().name("bench").affinity(CpuMask::of(cpu))
}

//! A CPU that stops the machine before it is online, in the startup of an INIT step.

use alloc::sync::Arc;

use stillpoint::api::Errno;
use stillpoint::api::hotplug::{
    CpuUpError, EnableStep, InitStep, Step, StepError, cpu_down, cpu_up, cpus_down, cpus_up,
};
use stillpoint::api::stop::{Stop, StopError, stop_machine, stop_machine_from_inactive_cpu};
use stillpoint::api::thread::{Builder, JoinHandle};
use stillpoint::config::MAX_CPUS;
use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::kernel::{Hw, kernel};
use stillpoint::platform::Platform;
use stillpoint::println;
use stillpoint::sync::LocalCpu;
use stillpoint::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use kernel_support::ktap::Ktap;
use kernel_support::machine::{last_cpu, masks_say, spin_until, states_say};

/// What the stops of a test have seen. Relaxed: they follow each other, and the test reads it after
/// the last.
#[derive(Default)]
struct Seen {
    /// Stops that went as they should.
    right: AtomicU32,
    wrong: AtomicU32,
    /// The teardowns of the step.
    undone: AtomicU32,
}

impl Seen {
    fn note(&self, right: bool) {
        let counter = if right { &self.right } else { &self.wrong };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns whether there were as many as `wanted` since the last call, and all right.
    fn take(&self, wanted: usize) -> bool {
        let right = self.right.swap(0, Ordering::Relaxed);
        let wrong = self.wrong.swap(0, Ordering::Relaxed);
        if wrong > 0 || right as usize != wanted {
            println!("# {right} right, {wrong} wrong, {wanted} wanted");
        }
        wrong == 0 && right as usize == wanted
    }
}

/// Installs a step whose startup does `stop_fn`, which returns whether all was right.
fn install(
    seen: &Arc<Seen>,
    stop_fn: impl Fn(CpuId) -> bool + Send + Sync + 'static,
) -> Option<Step> {
    let (up, down) = (Arc::clone(seen), Arc::clone(seen));
    let step = InitStep::new("stops")
        .startup(move |cpu| up.note(stop_fn(cpu)))
        .teardown(move |_| {
            down.undone.fetch_add(1, Ordering::Relaxed);
        })
        .stops_machine()
        .install_nocalls();
    step.ok()
}

pub(crate) fn check(ktap: &mut Ktap) {
    let last = last_cpu();
    if last == CpuId::BOOT {
        ktap.inapplicable("a CPU stops the machine before it is online", "one CPU");
        return;
    }
    let seen = Arc::new(Seen::default());
    ktap.check(
        "a CPU stops the machine before it is online",
        one(&seen, last),
    );
    ktap.check("its function runs where it is asked to", asked(&seen, last));
    ktap.check("so do CPUs that come together, one by one", together(&seen));
    ktap.check("what fails later takes it back", taken_back(&seen, last));
    ktap.check("the example of the documentation runs", example(last));
    let possible = *kernel().masks.possible();
    ktap.check(
        "all CPUs are back, and the next stop is as ever",
        masks_say(&possible) && states_say(&possible) && stop_machine(|| 9) == Ok(9),
    );
}

fn cycle(cpu: CpuId) -> bool {
    cpu_down(cpu).is_ok() && cpu_up(cpu).is_ok()
}

/// Threads that count, one on each CPU but the last, while they run.
struct Counters {
    over: AtomicBool,
    counts: [AtomicU64; MAX_CPUS],
}

impl Counters {
    fn start() -> (Arc<Counters>, alloc::vec::Vec<JoinHandle<()>>) {
        let counters = Arc::new(Counters {
            over: AtomicBool::new(false),
            counts: [const { AtomicU64::new(0) }; MAX_CPUS],
        });
        let online = kernel().masks.online().without(&CpuMask::of(last_cpu()));
        let threads = online.iter().map(|cpu| {
            let counters = Arc::clone(&counters);
            let count = move || {
                while !counters.over.load(Ordering::Relaxed) {
                    counters.counts[cpu.index()].fetch_add(1, Ordering::Relaxed);
                }
            };
            let builder = Builder::new().name("counts").affinity(CpuMask::of(cpu));
            builder.spawn(count).expect("the CPU is active")
        });
        let threads = threads.collect();
        (counters, threads)
    }

    fn sum(&self) -> u64 {
        self.counts
            .iter()
            .map(|it| it.load(Ordering::Relaxed))
            .sum()
    }
}

/// In the function no other CPU goes on, though each has a thread that counts.
fn one(seen: &Arc<Seen>, last: CpuId) -> bool {
    let (counters, threads) = Counters::start();
    let theirs = Arc::clone(&counters);
    let step = install(seen, move |here| {
        let inside = stop_machine_from_inactive_cpu(|| {
            let before = theirs.sum();
            let until = Hw::now().after_ticks(Hw::frequency().hz() / 10_000);
            while Hw::now() < until {}
            let masked = !Hw::irqs_enabled();
            (Hw::this_cpu(), masked && theirs.sum() == before)
        });
        let online = kernel().masks.online();
        inside == (here, true) && !online.contains(here) && !Hw::irqs_enabled()
    });
    let stops = kernel().stop_machine.stops();
    let cycled = cycle(last);
    let stopped = kernel().stop_machine.stops() - stops == 2; // One to go, one to come.
    counters.over.store(true, Ordering::Relaxed);
    let counted = counters.sum() > 0;
    threads.into_iter().for_each(JoinHandle::join);
    let removed = step.is_some_and(|step| step.remove().is_ok());
    cycled && stopped && counted && removed && seen.take(1)
}

/// On another CPU, on all at the same time, on one that isn't there.
fn asked(seen: &Arc<Seen>, last: CpuId) -> bool {
    let step = install(seen, |here| {
        let all = *kernel().masks.possible();
        let count = all.count();
        let met = AtomicU32::new(0);
        let released = AtomicU32::new(0);
        let release = |_| {
            released.fetch_add(1, Ordering::Relaxed);
        };
        let everywhere = Stop::new().from_inactive_cpu().and_release(&release);
        let everywhere = everywhere.run_on_each(&all, |_| {
            met.fetch_add(1, Ordering::Relaxed);
            spin_until(|| met.load(Ordering::Relaxed) as usize == count);
        });
        let at_boot = Stop::new().from_inactive_cpu().on(CpuId::BOOT);
        let absent = CpuId::from_index(count);
        let nowhere = Stop::new().from_inactive_cpu().on(absent).run(|| ());
        everywhere.is_ok()
            && released.load(Ordering::Relaxed) as usize == count
            && at_boot.run(Hw::this_cpu) == Ok(CpuId::BOOT)
            && nowhere == Err(StopError::NotOnline(absent))
            && here != CpuId::BOOT
    });
    let cycled = cycle(last);
    let removed = step.is_some_and(|step| step.remove().is_ok());
    cycled && removed && seen.take(1)
}

/// CPUs of one operation come one after the other, each finding those before it.
fn together(seen: &Arc<Seen>) -> bool {
    let others = kernel().masks.possible().without(&CpuMask::of(CpuId::BOOT));
    let came = Arc::new(AtomicU32::new(1));
    let theirs = Arc::clone(&came);
    let step = install(seen, move |_| {
        let before = theirs.fetch_add(1, Ordering::Relaxed) as usize;
        let still = AtomicU32::new(0);
        let release = |_| {
            still.fetch_add(1, Ordering::Relaxed);
        };
        let stop = Stop::new().from_inactive_cpu().and_release(&release);
        let online = stop.run(|| kernel().masks.online().count());
        online == Ok(before) && still.load(Ordering::Relaxed) as usize == before + 1
    });
    let cycled = cpus_down(&others).is_ok() && cpus_up(&others).is_ok();
    let undone = seen.undone.swap(0, Ordering::Relaxed) as usize;
    let removed = step.is_some_and(|step| step.remove().is_ok());
    // Those that were online count as having passed it, so it was taken back on each.
    cycled && removed && seen.take(others.count()) && undone >= others.count()
}

fn taken_back(seen: &Arc<Seen>, last: CpuId) -> bool {
    let step = install(seen, |here| {
        stop_machine_from_inactive_cpu(Hw::this_cpu) == here
    });
    let refuses = EnableStep::new("refuses").startup(|_| Err(Errno::Busy));
    let Ok(refuses) = refuses.install_nocalls() else {
        return false;
    };
    let went = cpu_down(last).is_ok();
    seen.undone.store(0, Ordering::Relaxed);
    let refused = match cpu_up(last) {
        Err(CpuUpError::Step { cpu, error, .. }) => {
            cpu == last && error == StepError::Refused(Errno::Busy)
        }
        _ => false,
    };
    let back = seen.undone.load(Ordering::Relaxed) == 1 && !kernel().masks.is_online(last);
    let removed = refuses.remove_nocalls().is_ok();
    let came = cpu_up(last).is_ok();
    let removed = removed && step.is_some_and(|step| step.remove().is_ok());
    went && refused && back && removed && came && seen.take(2)
}

fn example(last: CpuId) -> bool {
    static SET: AtomicU32 = AtomicU32::new(0);
    let set = |_| {
        SET.fetch_add(1, Ordering::Relaxed);
    };
    let count = kernel().masks.possible().count();
    let step = crate::example::set_together(set);
    let now = SET.swap(0, Ordering::Relaxed) as usize == count;
    let cycled = cycle(last);
    let later = SET.load(Ordering::Relaxed) as usize == count;
    now && cycled && later && step.is_ok_and(|step| step.remove().is_ok())
}

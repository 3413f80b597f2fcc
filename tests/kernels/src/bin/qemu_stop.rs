//! Still points. No other CPU does anything while the function runs, whatever it was doing
//! before, and the stop takes as few SGI writes as the GIC allows.

//@ smp: 1 2 4 8 20
//@ timeout: 900

#![no_std]
#![no_main]

extern crate alloc;

stillpoint::entry!(main);

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use stillpoint::cpu::{CpuId, CpuMask, PerCpu};
use stillpoint::kernel::{Hw, kernel};
use stillpoint::platform::{Platform, Sgi};
use stillpoint::stop_machine::{StopError, StopReport};
use stillpoint::sync::LocalCpu;
use stillpoint::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use stillpoint::{api, println};

use kernel_support::ktap::Ktap;
use kernel_support::loops::Loops;
use kernel_support::machine::{eventually, last_cpu, spin_for, spin_until, stay_on_boot_cpu};

/// How long fn waits, so that a CPU that wrongly runs is noticed.
const A_WHILE: Duration = Duration::from_millis(10);

const ONE_CPU: &str = "one CPU";

fn main() {
    stay_on_boot_cpu();
    let mut ktap = Ktap::new();
    value_comes_back(&mut ktap);
    all_can_run_it(&mut ktap);
    nothing_moves(&mut ktap);
    many_in_a_row(&mut ktap);
    from_another_cpu(&mut ktap);
    two_callers(&mut ktap);
    writes(&mut ktap);
    offline_cpus(&mut ktap);
    ktap.finish()
}

fn cpus() -> usize {
    kernel().masks.online().count()
}

fn value_comes_back(ktap: &mut Ktap) {
    let runs = AtomicU32::new(0);
    let stopped = api::stop_machine(|| {
        let before = runs.fetch_add(1, Ordering::Relaxed);
        (before, Hw::this_cpu(), Hw::irqs_enabled())
    });
    ktap.equal(
        "fn runs on the boot CPU, IRQs masked, and its value comes back",
        stopped,
        Ok((0, CpuId::BOOT, false)),
    );
    ktap.equal("fn runs once", runs.load(Ordering::Relaxed), 1);
    let last = last_cpu();
    let still = kernel().stop_machine.lock();
    let stopped = kernel().stop_machine.stop_on(&still, last, Hw::this_cpu);
    ktap.equal(
        "fn runs on the CPU that was asked for",
        stopped.map(|(cpu, _)| cpu),
        Ok(last),
    );
}

fn all_can_run_it(ktap: &mut Ktap) {
    let runs = PerCpu::new(cpus(), |_| AtomicU32::new(0));
    let good = AtomicBool::new(true);
    let online = kernel().masks.online();
    let note = |cpu: CpuId| {
        runs.get(cpu).fetch_add(1, Ordering::Relaxed);
        if cpu != Hw::this_cpu() || Hw::irqs_enabled() {
            good.store(false, Ordering::Relaxed);
        }
    };
    let still = kernel().stop_machine.lock();
    let all = kernel().stop_machine.stop_all(&still, online, &note);
    let once = runs
        .iter()
        .all(|(_, runs)| runs.load(Ordering::Relaxed) == 1);
    ktap.check(
        "stop_all runs fn once on each CPU, IRQs masked",
        all.is_ok() && once && good.load(Ordering::Relaxed),
    );
    let last = CpuMask::of(last_cpu());
    let one = kernel().stop_machine.stop_all(&still, last, &note);
    let right = runs
        .iter()
        .all(|(cpu, runs)| runs.load(Ordering::Relaxed) == 1 + u32::from(last.contains(cpu)));
    ktap.check("stop_all runs fn on no other CPU", one.is_ok() && right);
}

/// Returns whether each online CPU had IRQs off while fn ran.
fn all_were_still(report: &StopReport) -> bool {
    kernel().masks.online().iter().all(|cpu| {
        let off = kernel().stop_machine.times().irqs_off(cpu);
        let in_this_stop = off.start >= report.called && off.end <= report.ended;
        let still = in_this_stop && off.start <= report.fn_began && off.end >= report.fn_ended;
        if !still {
            println!("# CPU{cpu}: {off:?}, {report:?}");
        }
        still
    })
}

fn nothing_moves(ktap: &mut Ktap) {
    let others = kernel().masks.online().without(&CpuMask::of(CpuId::BOOT));
    let loops = Loops::start(&others);
    let mut still = true;
    let mut unmoved = true;
    for _ in 0..5 {
        match api::timed_stop_machine(|| unmoved_for(&loops, A_WHILE)) {
            Ok((nothing_moved, report)) => {
                unmoved &= nothing_moved;
                still &= all_were_still(&report);
            }
            Err(_) => still = false,
        }
    }
    let ended = loops.end();
    ktap.check(
        "while fn runs every CPU is between DISABLE_IRQ and EXIT",
        still,
    );
    let name = "while fn runs no other CPU's thread takes a step";
    if others.is_empty() {
        ktap.inapplicable(name, ONE_CPU);
    } else {
        ktap.check(name, unmoved && ended);
    }
}

/// Returns whether no loop counts for `time`.
fn unmoved_for(loops: &Loops, time: Duration) -> bool {
    let before = loops.sum();
    spin_for(time);
    loops.sum() == before
}

fn many() -> u32 {
    if cpus() > 4 { 40 } else { 200 }
}

fn many_in_a_row(ktap: &mut Ktap) {
    let others = kernel().masks.online().without(&CpuMask::of(CpuId::BOOT));
    let loops = Loops::start(&others);
    let stops = stop_again_and_again(&loops);
    let ended = loops.end();
    ktap.equal(
        "stops in a row, one on every CPU that never yields, all reach fn",
        stops,
        many(),
    );
    ktap.check("the loops go on afterwards, until they are told", ended);
}

/// Stops the machine many times; returns how many stops passed all checks.
fn stop_again_and_again(loops: &Loops) -> u32 {
    let mut good = 0;
    for number in 0..many() {
        let stopped = api::stop_machine(|| {
            let unmoved = unmoved_for(loops, Duration::from_micros(100));
            unmoved.then_some(number)
        });
        good += u32::from(stopped == Ok(Some(number)));
    }
    good
}

/// The loops run on the boot CPU too, where fn runs; the caller is the
/// thread that never yields on its own.
fn from_another_cpu(ktap: &mut Ktap) {
    let name = "stops called from another CPU, the boot CPU in a loop";
    let caller = last_cpu();
    if caller == CpuId::BOOT {
        ktap.inapplicable(name, ONE_CPU);
        return;
    }
    let thread = api::spawn_on(caller, "caller", move || {
        let others = kernel().masks.online().without(&CpuMask::of(caller));
        let loops = Loops::start(&others);
        let stops = stop_again_and_again(&loops);
        (stops, loops.end())
    });
    ktap.equal(name, thread.map(|thread| thread.join()), Ok((many(), true)));
}

fn two_callers(ktap: &mut Ktap) {
    const EACH: u32 = 30;
    let total = Arc::new(AtomicU32::new(0));
    let ready = Arc::new(AtomicU32::new(0));
    let threads: Vec<_> = [CpuId::BOOT, last_cpu()]
        .into_iter()
        .filter_map(|cpu| {
            let total = Arc::clone(&total);
            let ready = Arc::clone(&ready);
            let body = move || {
                ready.fetch_add(1, Ordering::Relaxed);
                let both = eventually(|| ready.load(Ordering::Relaxed) == 2);
                assert!(both, "a caller doesn't start");
                // Two accesses, which only the still point makes atomic.
                let step = || {
                    let value = total.load(Ordering::Relaxed);
                    spin_for(Duration::from_millis(1));
                    total.store(value + 1, Ordering::Relaxed);
                    value
                };
                let values: Vec<_> = (0..EACH).map(|_| api::stop_machine(step)).collect();
                values
            };
            api::spawn_on(cpu, "caller", body).ok()
        })
        .collect();
    let mut values: Vec<_> = threads
        .into_iter()
        .flat_map(|thread| thread.join())
        .collect();
    values.sort_by_key(|value| *value.as_ref().unwrap_or(&u32::MAX));
    ktap.check(
        "two callers at once: each stop is one of its own",
        values.into_iter().eq((0..2 * EACH).map(Ok)) && total.load(Ordering::Relaxed) == 2 * EACH,
    );
}

const STOPS: u64 = 10;

/// Returns how many register writes of `sgi` a number of stops make.
fn writes_of(sgi: Sgi) -> u64 {
    let before = kernel().sgi_writes(sgi.number());
    for _ in 0..STOPS {
        let stopped = api::stop_machine(|| ());
        assert!(stopped.is_ok(), "{stopped:?}");
    }
    kernel().sgi_writes(sgi.number()) - before
}

fn writes(ktap: &mut Ktap) {
    let one_each = if cpus() > 1 { STOPS } else { 0 };
    ktap.equal(
        "a stop with all CPUs online is one SGI register write (alone: none)",
        writes_of(Sgi::Stop),
        one_each,
    );
    let stop = &kernel().stop_machine;
    stop.set_spins(Some(u32::MAX));
    // The last CPU to leave a stop may write a wake for the sleeping caller after the caller
    // has seen the end by itself, so this write can come late. The next stop needs that CPU
    // too, so it ends after the write.
    let settled = api::stop_machine(|| ());
    assert!(settled.is_ok(), "{settled:?}");
    let awake = writes_of(Sgi::Wake);
    ktap.equal("no wake SGI is sent if no CPU sleeps", awake, 0);
    // fn takes long, so that the other CPUs are asleep when it ends.
    stop.set_spins(Some(0));
    let name = "a CPU that sleeps in a stop is woken";
    if cpus() > 1 {
        let before = kernel().sgi_writes(Sgi::Wake.number());
        let woken = spin_until(|| {
            let stopped = api::stop_machine(|| spin_for(Duration::from_millis(1)));
            stopped.is_ok() && kernel().sgi_writes(Sgi::Wake.number()) > before
        });
        ktap.check(name, woken);
    } else {
        ktap.inapplicable(name, ONE_CPU);
    }
    stop.set_spins(None);
}

/// Returns the number of affinity groups that the other online CPUs are in.
fn groups_of_others() -> u64 {
    let others = kernel().masks.online().without(&CpuMask::of(CpuId::BOOT));
    let group = |cpu: CpuId| kernel().mpidrs[cpu.index()].raw() >> 4;
    let mut groups: Vec<u64> = others.iter().map(group).collect();
    groups.sort_unstable();
    groups.dedup();
    groups.len() as u64
}

fn offline_cpus(ktap: &mut Ktap) {
    let names = [
        "a stop without one CPU of each group: one write to each group",
        "a stop of a CPU that is offline is refused, and fn doesn't run",
        "a stop with all CPUs online again is one write",
    ];
    if cpus() == 1 {
        for name in names {
            ktap.inapplicable(name, ONE_CPU);
        }
        return;
    }
    // QEMU's `virt` puts sixteen CPUs into a group.
    let one_of_each = [1, 17].map(CpuId::new).into_iter().flatten();
    let left: Vec<CpuId> = one_of_each
        .filter(|cpu| kernel().masks.is_online(*cpu))
        .collect();
    for cpu in &left {
        let down = api::cpu_down(*cpu);
        assert!(down.is_ok(), "{down:?}");
    }
    ktap.equal(names[0], writes_of(Sgi::Stop), STOPS * groups_of_others());
    let ran = AtomicBool::new(false);
    let still = kernel().stop_machine.lock();
    let refused = kernel().stop_machine.stop_on(&still, left[0], || {
        ran.store(true, Ordering::Relaxed);
    });
    drop(still);
    ktap.check(
        names[1],
        refused == Err(StopError::NotOnline(left[0])) && !ran.load(Ordering::Relaxed),
    );
    for cpu in &left {
        let up = api::cpu_up(*cpu);
        assert!(up.is_ok(), "{up:?}");
    }
    ktap.equal(names[2], writes_of(Sgi::Stop), STOPS);
}

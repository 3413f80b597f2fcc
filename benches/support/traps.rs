//! How often each operation traps to a hypervisor, all CPUs together: `TRAPS` lines. What is
//! counted, and what isn't, is in `src/arch/aarch64/traps.rs`.

use alloc::sync::Arc;

use stillpoint::api;
use stillpoint::api::thread::{self, Builder};
use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::kernel::{Hw, Trap, counted_traps, kernel};
use stillpoint::platform::OUR_SGI_COUNT;
use stillpoint::println;
use stillpoint::sched::{Class, Priority};
use stillpoint::sync::LocalCpu;
use stillpoint::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::support::rounds::Rounds;

/// How often each trap has occurred.
#[derive(Clone, Copy)]
struct Traps {
    sleeps: u64,
    sgis: u64,
    firmware: u64,
    gic: u64,
}

impl Traps {
    /// Returns how often they have occurred until now.
    fn now() -> Traps {
        let numbers = (0..).take(OUR_SGI_COUNT);
        Traps {
            sleeps: counted_traps(Trap::Sleep),
            sgis: numbers.map(|number| kernel().sgi_writes(number)).sum(),
            firmware: counted_traps(Trap::Firmware),
            gic: counted_traps(Trap::Gic),
        }
    }

    /// Prints how often they have occurred since `before`, for each of `count` operations `op`.
    fn print_since(self, before: Traps, op: &str, count: usize) {
        let n = count as u64;
        // Tenths, rounded.
        let of = |now: u64, before: u64| ((now - before) * 20 + n) / (2 * n);
        let parts = [
            of(self.sleeps, before.sleeps),
            of(self.sgis, before.sgis),
            of(self.firmware, before.firmware),
            of(self.gic, before.gic),
        ];
        let all: u64 = parts.iter().sum();
        let [sleeps, sgis, firmware, gic] = parts.map(|tenths| (tenths / 10, tenths % 10));
        println!(
            "TRAPS,stillpoint,smp={},op={op},n={count},all={}.{},sleeps={}.{},sgis={}.{},\
             firmware={}.{},gic={}.{}",
            api::cpu::possible().count(),
            all / 10,
            all % 10,
            sleeps.0,
            sleeps.1,
            sgis.0,
            sgis.1,
            firmware.0,
            firmware.1,
            gic.0,
            gic.1
        );
    }
}

/// Counts the traps of each operation. All CPUs are online, before and after.
pub(crate) fn traps(rounds: &Rounds) {
    let others = kernel().masks.online().without(&CpuMask::of(CpuId::BOOT));
    let one = others.first().expect("more than one CPU");
    let count = |op: &str, op_fn: &mut dyn FnMut(usize)| count(op, rounds, &others, op_fn);
    count("smp_call_single", &mut |_| {
        api::call_on(one, || ()).expect("it is online");
    });
    count("smp_call_many", &mut |_| {
        api::call_on_many(&others, |_| ());
    });
    wake(rounds, &others, one);
    switches(rounds, &others);
    count("stop_machine", &mut |_| {
        api::timed_stop_machine(|| ()).expect("the boot CPU is online");
    });
    count("cpu_down+up", &mut |round| {
        let cpu = others.iter().nth(round % others.count());
        let cpu = cpu.expect("the number is below the count");
        api::cpu_down(cpu).expect("a secondary leaves");
        api::cpu_up(cpu).expect("a secondary returns");
    });
}

/// Counts the traps of `op`, which `op_fn` does once. Each time all of `others` are idle before.
fn count(op: &str, rounds: &Rounds, others: &CpuMask, op_fn: &mut dyn FnMut(usize)) {
    let mut before = None;
    for (round, is_measured) in rounds.each() {
        settle(others);
        if is_measured && before.is_none() {
            before = Some(Traps::now());
        }
        op_fn(round);
    }
    settle(others); // The last operation's sleeps count too.
    let before = before.expect("a round is measured");
    Traps::now().print_since(before, op, rounds.measured);
}

/// Waits until all of `cpus` are idle.
fn settle(cpus: &CpuMask) {
    for cpu in cpus.iter() {
        while !kernel().grace_periods.is_idle(cpu) {
            Hw::relax();
        }
    }
}

/// The wake of a thread that sleeps on `cpu`, which is idle.
fn wake(rounds: &Rounds, others: &CpuMask, cpu: CpuId) {
    let ran = Arc::new(AtomicUsize::new(0));
    let end = Arc::new(AtomicBool::new(false));
    let (own_ran, own_end) = (Arc::clone(&ran), Arc::clone(&end));
    let sleeper = on(cpu).class(Class::fifo(Priority::MIN)).spawn(move || {
        while !own_end.load(Ordering::Acquire) {
            thread::park();
            own_ran.fetch_add(1, Ordering::Release);
        }
    });
    let sleeper = sleeper.expect("a stack is free");
    let mut wanted = 0;
    count("wake_other_cpu", rounds, others, &mut |_| {
        wanted += 1;
        sleeper.thread().unpark();
        while ran.load(Ordering::Acquire) < wanted {
            Hw::relax();
        }
    });
    end.store(true, Ordering::Release);
    sleeper.thread().unpark();
    sleeper.join();
}

/// A yield to another thread of this CPU and back.
fn switches(rounds: &Rounds, others: &CpuMask) {
    let me = thread::current();
    let anywhere = me.affinity();
    let here = CpuMask::of(CpuId::BOOT);
    me.set_affinity(&here).expect("the boot CPU is active");
    let end = Arc::new(AtomicBool::new(false));
    let own_end = Arc::clone(&end);
    let other = on(CpuId::BOOT).spawn(move || {
        while !own_end.load(Ordering::Relaxed) {
            thread::yield_now();
        }
    });
    let other = other.expect("a stack is free");
    count("context_switch", rounds, others, &mut |_| {
        thread::yield_now();
    });
    end.store(true, Ordering::Relaxed);
    other.join();
    me.set_affinity(&anywhere).expect("all CPUs are active");
}

fn on(cpu: CpuId) -> Builder {
    Builder::new().name("bench").affinity(CpuMask::of(cpu))
}

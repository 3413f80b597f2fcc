//! Each member of the family, called by one thread.

use alloc::sync::Arc;
use alloc::vec::Vec;

use stillpoint::api::cpu;
use stillpoint::api::hotplug::{EnableStep, cpus_read_lock};
use stillpoint::api::stop::{
    NowaitError, Stop, StopError, StopWork, stop_cpus, stop_machine, stop_machine_cpuslocked,
    stop_one_cpu, stop_one_cpu_nowait, stop_two_cpus,
};
use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::kernel::{Hw, kernel};
use stillpoint::platform::Platform;
use stillpoint::sync::LocalCpu;
use stillpoint::sync::atomic::{AtomicU32, Ordering};

use kernel_support::ktap::Ktap;
use kernel_support::machine::{eventually, last_cpu};

pub(crate) fn check(ktap: &mut Ktap) {
    let online = kernel().masks.online();
    let last = last_cpu();
    let absent = CpuId::from_index(kernel().masks.possible().count());
    one(ktap, &online, absent);
    nowait(ktap, last, absent);
    ktap.check("stop_two_cpus runs on the first of two", two(last, absent));
    several(ktap, &online, absent);
    let held = cpus_read_lock();
    let locked = stop_machine_cpuslocked(Hw::this_cpu);
    drop(held);
    ktap.check("the lock may be held", locked.is_ok());
    ktap.check("a callback of hotplug may stop", in_callback(last));
    let here = stillpoint::api::thread::migrate_disable();
    // A pin and the lock of the CPUs exclude each other.
    let me = here.cpu();
    drop(here);
    let ran_on = Stop::new().on(last).run(Hw::this_cpu);
    ktap.equal("it runs where it is asked to", ran_on, Ok(last));
    let ran_on = Stop::new().on(absent).run(Hw::this_cpu);
    ktap.equal("or nowhere", ran_on, Err(StopError::NotOnline(absent)));
    ktap.check(
        "without a wish it runs on some CPU",
        online.contains(me) && stop_machine(|| 1) == Ok(1),
    );
    released(ktap, &online);
}

fn several(ktap: &mut Ktap, online: &CpuMask, absent: CpuId) {
    let mut asked = *online;
    asked.insert(absent);
    // A run under the number of another CPU counts as a hundred.
    let runs: Vec<_> = (0..=absent.index()).map(|_| AtomicU32::new(0)).collect();
    let told = stop_cpus(&asked, |on| {
        let right = on == Hw::this_cpu();
        runs[on.index()].fetch_add(if right { 1 } else { 100 }, Ordering::Relaxed);
    });
    ktap.equal("stop_cpus runs on those that are online", told, *online);
    let is_right = |(number, runs): (usize, &AtomicU32)| {
        let wanted = u32::from(online.contains(CpuId::from_index(number)));
        runs.load(Ordering::Relaxed) == wanted
    };
    ktap.check("once on each", runs.iter().enumerate().all(is_right));
}

fn one(ktap: &mut Ktap, online: &CpuMask, absent: CpuId) {
    let ran_there = |cpu: CpuId| {
        let ran = stop_one_cpu(cpu, || (cpu::current(), Hw::irqs_enabled()));
        ran == Ok((cpu, true))
    };
    ktap.check("stop_one_cpu runs there", online.iter().all(ran_there));
    let none = stop_one_cpu(absent, || ());
    ktap.equal(
        "or nowhere, and says so",
        none,
        Err(StopError::NotOnline(absent)),
    );
}

fn nowait(ktap: &mut Ktap, cpu: CpuId, absent: CpuId) {
    let runs = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&runs);
    let work = StopWork::leak(move |on| {
        let right = on == cpu && on == Hw::this_cpu() && Hw::irqs_enabled();
        counted.fetch_add(u32::from(right), Ordering::Relaxed);
    });
    let refused = stop_one_cpu_nowait(absent, work) == Err(NowaitError::NotOnline(absent));
    let mut queued = 0;
    for _ in 0..100 {
        queued += u32::from(stop_one_cpu_nowait(cpu, work).is_ok());
    }
    let ran = || runs.load(Ordering::Relaxed) == queued;
    ktap.check(
        "a work is queued again when it has begun",
        eventually(ran) && refused,
    );
}

fn two(last: CpuId, absent: CpuId) -> bool {
    let first = kernel().masks.online().first();
    let Some(first) = first.filter(|first| *first != last) else {
        return true; // One CPU.
    };
    let there = || (Hw::this_cpu(), Hw::irqs_enabled());
    stop_two_cpus(first, last, there) == Ok((first, false))
        && stop_two_cpus(last, first, there) == Ok((last, false))
        && stop_two_cpus(first, absent, there) == Err(StopError::NotOnline(absent))
}

/// Stops the machine in the callbacks of a step on CPUs, as that CPU comes and goes.
fn in_callback(last: CpuId) -> bool {
    let stops = Arc::new(AtomicU32::new(0));
    let (up, down) = (Arc::clone(&stops), Arc::clone(&stops));
    let stop = |count: &AtomicU32| {
        if stop_machine_cpuslocked(|| ()).is_ok() {
            count.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    };
    let step = EnableStep::new("stops")
        .startup(move |_| stop(&up))
        .teardown(move |_| stop(&down))
        .install();
    let Ok(step) = step else { return false };
    let came = stops.load(Ordering::Relaxed) as usize;
    let cycled = kernel().masks.online().count() == 1
        || stillpoint::api::hotplug::cpu_down(last).is_ok()
            && stillpoint::api::hotplug::cpu_up(last).is_ok();
    let removed = step.remove().is_ok();
    let online = kernel().masks.online().count();
    let cycle = if online == 1 { 0 } else { 2 };
    removed
        && came == online
        && cycled
        && stops.load(Ordering::Relaxed) as usize == 2 * online + cycle
}

fn released(ktap: &mut Ktap, online: &CpuMask) {
    let (ran, released) = (AtomicU32::new(0), AtomicU32::new(0));
    let release = |_: CpuId| {
        let right = !Hw::irqs_enabled() && ran.load(Ordering::Relaxed) == 1;
        released.fetch_add(u32::from(right), Ordering::Relaxed);
    };
    let stopped = Stop::new().and_release(&release).run(|| {
        ran.fetch_add(1, Ordering::Relaxed);
    });
    let released = released.load(Ordering::Relaxed) as usize;
    ktap.check(
        "each CPU is released after the function, IRQs masked",
        stopped.is_ok() && released == online.count(),
    );
}

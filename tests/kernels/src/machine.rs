//! Waits of test kernels, and checks of the machine's state.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use stillpoint::api;
use stillpoint::config::MAX_CPUS;
use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::hotplug::{ALL_UP, NewService};
use stillpoint::kernel::{Hw, kernel};
use stillpoint::platform::Platform;
use stillpoint::sched::{Class, Service};
use stillpoint::sync::atomic::{AtomicU32, Ordering};
use stillpoint::sync::{IrqGuard, LocalCpu};
use stillpoint::time::Instant;

/// How long an expected event may take. It is long enough for any host.
const LIMIT: Duration = Duration::from_secs(30);

/// Returns the instant `time` from now.
pub fn after(time: Duration) -> Instant {
    Hw::deadline(time)
}

/// Binds the calling thread to the boot CPU, and brings it there. `main` begins there, but a
/// kernel thread that takes the CPU from it for a moment is enough, and an idle CPU fetches it.
pub fn stay_on_boot_cpu() {
    let bound = api::thread::current().set_affinity(&CpuMask::of(CpuId::BOOT));
    bound.expect("the boot CPU is active");
}

/// Registers `service` for good, with threads `name/N` of the normal class.
///
/// # Panics
/// If it is refused.
#[cfg_attr(debug_assertions, track_caller)]
pub fn register(name: &'static str, service: impl Service<Hw> + 'static) {
    let registered = kernel().hotplug.register_service(NewService {
        name,
        class: Class::Normal,
        service: Arc::new(service),
    });
    registered.expect("a service is registered").keep();
}

/// Takes all secondaries down, calls `alone_fn`, and brings them up again; returns whether
/// each operation succeeded and `alone_fn` returned true.
pub fn leave_and_return(alone_fn: impl FnOnce() -> bool) -> bool {
    let left = secondaries()
        .into_iter()
        .all(|cpu| api::cpu_down(cpu).is_ok());
    let alone = alone_fn();
    let back = secondaries()
        .into_iter()
        .all(|cpu| api::cpu_up(cpu).is_ok());
    left && alone && back
}

/// Waits until `check_fn` returns true; returns whether it did within [`LIMIT`]. Yields
/// meanwhile, so that other threads of this CPU run.
pub fn eventually(check_fn: impl FnMut() -> bool) -> bool {
    within_limit(check_fn, api::yield_now)
}

/// Waits as [`eventually`] does, but without a yield. May be called with preemption off.
pub fn spin_until(check_fn: impl FnMut() -> bool) -> bool {
    within_limit(check_fn, || ())
}

/// Calls `check_fn` until it returns true or [`LIMIT`] is over, and `between_fn` between two
/// calls; returns whether it did return true.
fn within_limit(mut check_fn: impl FnMut() -> bool, between_fn: impl Fn()) -> bool {
    let limit = after(LIMIT);
    loop {
        if check_fn() {
            return true;
        }
        if Hw::now() >= limit {
            return false;
        }
        between_fn();
        Hw::relax();
    }
}

/// Spins for `time`, without a yield.
pub fn spin_for(time: Duration) {
    let until = after(time);
    while Hw::now() < until {
        Hw::relax();
    }
}

/// Returns all possible CPUs except the boot CPU.
pub fn secondaries() -> Vec<CpuId> {
    let possible = *kernel().masks.possible();
    possible.without(&CpuMask::of(CpuId::BOOT)).iter().collect()
}

/// Returns the possible CPU with the highest number, which is the boot CPU if it is the only
/// one.
pub fn last_cpu() -> CpuId {
    let last = kernel().masks.possible().iter().last();
    last.expect("a machine has a CPU")
}

/// Sends SGI `number` to `cpu`.
pub fn send_sgi(number: u8, cpu: CpuId) {
    let _masked = IrqGuard::<Hw>::new();
    kernel().irq_chip().send_sgi(number, &CpuMask::of(cpu));
}

/// Returns whether exactly the CPUs of `online` are online, and all of them are active.
pub fn masks_say(online: &CpuMask) -> bool {
    let masks = &kernel().masks;
    masks.online() == *online
        && masks.active() == *online
        && masks.online().is_subset_of(masks.possible())
}

/// Returns whether the counters of every CPU's steps are balanced, and each CPU has passed all
/// steps up if it is in `online`, and all steps down if not.
pub fn states_say(online: &CpuMask) -> bool {
    let _held = kernel().hotplug.cpus_read_lock();
    kernel().masks.possible().iter().all(|cpu| {
        let state = kernel().hotplug.state(cpu);
        let wanted = if online.contains(cpu) { ALL_UP } else { 0 };
        kernel().hotplug.is_balanced(cpu) && state.state() == wanted
    })
}

/// Returns whether a stop runs its function once on each of `cpus`, with IRQs masked, and on
/// no other CPU.
pub fn stop_takes(cpus: &CpuMask) -> bool {
    let took = [const { AtomicU32::new(0) }; MAX_CPUS];
    let stop = &kernel().stop_machine;
    let stopped = {
        let _held = kernel().hotplug.cpus_read_lock();
        stop.stop_all(&stop.lock(), *cpus, &|cpu| {
            if !Hw::irqs_enabled() {
                // Relaxed: it is read after the stop.
                took[cpu.index()].fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    let wanted = |index| u32::from(CpuId::new(index).is_some_and(|cpu| cpus.contains(cpu)));
    let all = (0..MAX_CPUS).all(|index| took[index].load(Ordering::Relaxed) == wanted(index));
    if !all || stopped.is_err() {
        stillpoint::println!("# {stopped:?}, and it ran {took:?} times");
    }
    all && stopped.is_ok()
}

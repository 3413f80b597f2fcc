//! What programs call: free functions over the one kernel.
//!
//! # Panics
//! What may wait panics where its `# Context` doesn't let it be called, whether it would
//! have to wait or not; what else panics is said at each function.
//!
//! ```ignore
#![doc = include_str!("../../tests/kernels/src/bin/qemu_readme/program.rs")]
//! ```

pub mod rcu;
pub mod thread;

use core::time::Duration;

use crate::cpu::{CpuId, CpuMask};
use crate::kernel::kernel;
use crate::platform::Platform;
use crate::sched::SpawnError;
use crate::sched::lock::CpusReadGuard;
use crate::time::{Frequency, Instant};
use thread::OnOffline;

pub use thread::{JoinHandle, sleep, yield_now};

pub use crate::hotplug::{
    ApRefusal, CpuDownError, CpuUpError, Left, Quarantine, StepError, SyncState,
};
#[doc(hidden)]
pub use crate::kernel::print;
pub use crate::kernel::{HeapStats, Hw, PerCpuVar, exit, reboot};
pub use crate::shell_program::run_shell;
pub use crate::smp::call::CallError;
pub use crate::stop_machine::{CpuStopTimes, StopError, StopReport};

/// The instant that it is.
///
/// # Context
/// Any.
pub fn now() -> Instant {
    Hw::now()
}

/// The first instant that is `after` from now, or later by less than a tick: what
/// [`Timer::start`](crate::sched::Timer::start) and the locks' `wait_until` take.
///
/// # Context
/// Any.
pub fn deadline(after: Duration) -> Instant {
    Hw::deadline(after)
}

/// Ticks of [`Instant`] in a second.
///
/// # Context
/// Any.
pub fn frequency() -> Frequency {
    Hw::frequency()
}

/// Brings CPU `cpu` online; does nothing if it is.
///
/// # Context
/// Thread, preemption on; takes the hotplug lock. In a service, a callback of hotplug or
/// under [`cpus_read_lock`] it is refused at once.
///
/// # Errors
/// [`CpuUpError`]; the machine is unharmed.
pub fn cpu_up(cpu: CpuId) -> Result<(), CpuUpError> {
    kernel().hotplug.cpu_up(cpu)
}

/// Takes CPU `cpu` offline and has firmware turn it off; does nothing if it is.
///
/// # Context
/// Thread, preemption on; takes the hotplug lock. A thread that runs on `cpu` is moved. In
/// a service, a callback of hotplug or under [`cpus_read_lock`] it is refused at once.
///
/// # Errors
/// [`CpuDownError`]; the machine is unharmed.
pub fn cpu_down(cpu: CpuId) -> Result<(), CpuDownError> {
    kernel().hotplug.cpu_down(cpu)
}

/// Stops every online CPU, runs `call_fn` on the boot CPU while nothing else in
/// the machine moves, and returns its value. See [`crate::stop_machine`] for
/// what that excludes, and what it doesn't.
///
/// # Context
/// Thread, preemption on; takes [`cpus_read_lock`] and the stop mutex. `call_fn` neither
/// waits nor takes a lock that sleeps.
///
/// # Errors
/// [`StopError`]; `call_fn` has not run then.
///
/// # Panics
/// Where [`cpus_read_lock`] does; if `call_fn` may wait, for a thread, a lock or another
/// CPU.
pub fn stop_machine<R: Send>(call_fn: impl FnOnce() -> R + Send) -> Result<R, StopError> {
    timed_stop_machine(call_fn).map(|(value, _)| value)
}

/// As [`stop_machine`], and tells what it cost.
///
/// # Errors
/// [`StopError`]; `call_fn` has not run then.
pub fn timed_stop_machine<R: Send>(
    call_fn: impl FnOnce() -> R + Send,
) -> Result<(R, StopReport), StopError> {
    let _held = kernel().hotplug.cpus_read_lock();
    let still = kernel().stop_machine.lock();
    kernel().stop_machine.stop_on(&still, CpuId::BOOT, call_fn)
}

/// Runs `call_fn` on CPU `cpu`, in its interrupt handler with IRQs masked, and
/// returns its value: see [`Calls::call_on`](crate::smp::call::Calls::call_on).
///
/// # Context
/// A thread, or the function of a call that is waited for; IRQs on or off. No other
/// interrupt handler, a timer's function among them, and not inside a still point.
///
/// # Errors
/// [`CallError::Offline`]; `call_fn` has not run then.
///
/// # Panics
/// In such a handler or a still point, whether it would have to wait or not.
pub fn call_on<R: Send>(cpu: CpuId, call_fn: impl FnOnce() -> R + Send) -> Result<R, CallError> {
    kernel().calls.call_on(cpu, call_fn)
}

/// Has `call_fn` run on CPU `cpu` as [`call_on`] does, without waiting for that:
/// it runs once, even if the CPU goes offline meanwhile.
///
/// # Context
/// Any but a still point's function. `call_fn` may not wait for another CPU.
///
/// # Errors
/// [`CallError::Offline`]; `call_fn` will not run then.
pub fn call_on_nowait(
    cpu: CpuId,
    call_fn: impl FnOnce() + Send + 'static,
) -> Result<(), CallError> {
    kernel().calls.call_on_nowait(cpu, call_fn)
}

/// Runs `call_fn` on those of `cpus` that are online, all at the same time, and
/// returns which those were. This CPU is one if it is in `cpus`.
///
/// # Context
/// As [`call_on`].
///
/// # Panics
/// As [`call_on`].
pub fn call_on_many(cpus: &CpuMask, call_fn: impl Fn(CpuId) + Sync) -> CpuMask {
    kernel().calls.call_on_many(cpus, call_fn)
}

/// Runs `call_fn` on every online CPU, this one included, and returns which those
/// were.
///
/// # Context
/// As [`call_on`].
///
/// # Panics
/// As [`call_on`].
pub fn on_each_cpu(call_fn: impl Fn(CpuId) + Sync) -> CpuMask {
    call_on_many(&kernel().masks.online(), call_fn)
}

/// Keeps CPUs from coming and going until it is dropped (Linux's name).
///
/// # Context
/// Thread, preemption on; not inside another one, not inside
/// [`migrate_disable`](thread::migrate_disable), and neither in a callback of hotplug nor in
/// a service, which hotplug waits for.
///
/// # Panics
/// There, whether it would have to wait or not.
///
/// The end of a thread that has forgotten the guard ([`core::mem::forget`]): no CPU could
/// come or go any more.
#[cfg_attr(debug_assertions, track_caller)]
pub fn cpus_read_lock() -> CpusReadGuard<'static, Hw> {
    kernel().hotplug.cpus_read_lock()
}

/// Starts an ordinary thread on `cpu`, which can't go as long as the thread lives.
///
/// # Context
/// Thread, preemption on; takes `cpus_read_lock`.
///
/// # Errors
/// [`SpawnError`]; nothing has happened then.
#[cfg_attr(debug_assertions, track_caller)]
pub fn spawn_on<T: Send + 'static>(
    cpu: CpuId,
    name: &str,
    body: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, SpawnError> {
    thread::Builder::new()
        .name(name)
        .affinity(CpuMask::of(cpu))
        .on_offline(OnOffline::Refuse)
        .spawn(body)
}

/// How many ticks of the counter bringing up the secondaries took at boot, with
/// what it printed meanwhile; `None` before it is over.
pub fn boot_bring_up_ticks() -> Option<u64> {
    crate::boot::bring_up_ticks()
}

/// Bytes of heap that are in use, by all CPUs: asked for and not given back. Exact
/// if no thread allocates or frees meanwhile.
pub fn heap_in_use() -> usize {
    crate::kernel::heap_in_use()
}

/// Where the memory of the heap is, in bytes.
pub fn heap_stats() -> HeapStats {
    crate::kernel::heap_stats()
}

/// Bytes of free heap that `cpu` keeps for itself: none while it is off, or if the machine
/// hasn't that CPU.
pub fn heap_cached(cpu: CpuId) -> usize {
    crate::kernel::heap_cached(cpu)
}

/// Stacks that are in use.
pub fn stacks_in_use() -> usize {
    crate::kernel::stacks_in_use()
}

/// Puts text on the console: see [`print`](crate::kernel::print()).
#[macro_export]
macro_rules! print {
    ($($text:tt)*) => {
        $crate::api::print(format_args!($($text)*))
    };
}

/// Puts a line on the console: see [`print`](crate::kernel::print()).
#[macro_export]
macro_rules! println {
    () => {
        $crate::api::print(format_args!("\n"))
    };
    ($($text:tt)*) => {
        $crate::api::print(format_args!("{}\n", format_args!($($text)*)))
    };
}

/// Declares variables of which every possible CPU has its own:
///
/// ```ignore
/// stillpoint::percpu! {
///     /// Requests served.
///     static HITS: AtomicU64 = AtomicU64::new(0);
/// }
///
/// HITS.this(&PreemptGuard::new()).fetch_add(1, Ordering::Relaxed);
/// let all: u64 = HITS.iter().map(|(_, hits)| hits.load(Ordering::Relaxed)).sum();
/// ```
///
/// The initial value is a constant, the type is `Sync` and aligned to at most a cache
/// line. See [`PerCpuVar`].
#[macro_export]
macro_rules! percpu {
    ($($(#[$meta:meta])* $vis:vis static $name:ident: $type:ty = $value:expr;)+) => {
        $(
            $(#[$meta])*
            $vis static $name: $crate::api::PerCpuVar<$type> = {
                const VALUE: $type = $value;
                #[unsafe(link_section = ".percpu")]
                static TEMPLATE: $type = VALUE;
                // SAFETY: it is in that section, and the value is a constant's.
                unsafe { $crate::api::PerCpuVar::new(&TEMPLATE) }
            };
        )+
    };
}

/// Names the function that the first thread runs, once all CPUs are up. When it
/// returns the machine ends with status 0.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        #[unsafe(no_mangle)]
        extern "Rust" fn stillpoint_main() {
            let main: fn() = $main;
            main();
        }
    };
}

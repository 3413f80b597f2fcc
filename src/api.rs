//! What programs call: free functions over the one kernel.
//!
//! ```ignore
//! stillpoint::entry!(main);
//!
//! fn main() {
//!     let four = CpuId::new(4).expect("small");
//!     stillpoint::api::cpu_up(four)?;
//!     let value = stillpoint::api::stop_machine(|| "nothing else moves")?;
//! }
//! ```

use alloc::sync::Arc;
use core::time::Duration;

use crate::cpu::CpuId;
use crate::hotplug::{CpuDownError, CpuUpError};
use crate::platform::Platform;
use crate::sched::{SpawnError, Thread, ThreadName};
use crate::start::{Hw, kernel};
use crate::stop_machine::{StopError, StopReport};
use crate::sync::{LockMap, SpinLock};

pub use crate::start::{HeapStats, PerCpuVar, exit, reboot};

/// Brings CPU `cpu` online; does nothing if it is.
///
/// # Context
/// Thread, preemption on; takes the hotplug lock.
///
/// # Errors
/// [`CpuUpError`]; the machine is unharmed.
pub fn cpu_up(cpu: CpuId) -> Result<(), CpuUpError> {
    kernel().hotplug.cpu_up(cpu)
}

/// Takes CPU `cpu` offline and has firmware turn it off; does nothing if it is.
///
/// # Context
/// Thread on a CPU that stays, preemption on; takes the hotplug lock.
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
/// Thread, preemption on; takes the hotplug lock and the stop mutex.
///
/// # Errors
/// [`StopError`]; `call_fn` has not run then.
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
    let _held = kernel().hotplug.lock();
    let still = kernel().stop_machine.lock();
    kernel().stop_machine.stop_on(&still, CpuId::BOOT, call_fn)
}

/// Starts an ordinary thread on `cpu`, where it stays.
///
/// # Context
/// Thread, preemption on; takes the hotplug lock.
///
/// # Errors
/// [`SpawnError`]; nothing has happened then.
#[cfg_attr(debug_assertions, track_caller)]
pub fn spawn_on<T: Send + 'static>(
    cpu: CpuId,
    name: &str,
    body: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, SpawnError> {
    let _held = kernel().hotplug.lock();
    let value = Arc::new(SpinLock::new(None));
    let slot = Arc::clone(&value);
    let work = LockMap::new();
    let its_work = work.same();
    let name = ThreadName::new(format_args!("{name}"));
    let thread = kernel().sched.spawn(name, cpu, move || {
        let working = its_work.work::<Hw>();
        let result = body();
        drop(working);
        *slot.lock() = Some(result);
    })?;
    Ok(JoinHandle {
        thread,
        value,
        work,
    })
}

/// A thread that can be waited for.
pub struct JoinHandle<T> {
    thread: Arc<Thread<Hw>>,
    value: Arc<SpinLock<Option<T>, Hw>>,
    /// What it does, for the validator.
    work: LockMap,
}

impl<T> JoinHandle<T> {
    /// Waits until the thread has ended, and returns what it returned.
    ///
    /// # Context
    /// Thread, preemption on.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn join(self) -> T {
        self.work.wait::<Hw>();
        self.thread.wait_until_dead();
        let value = self.value.lock().take();
        value.expect("BUG: a thread ended without a value")
    }
}

/// Sleeps for `time`, and not less.
///
/// # Context
/// Thread, preemption on.
pub fn sleep(time: Duration) {
    let until = Hw::deadline(time);
    kernel().sched.sleep_until(until);
}

/// Lets the other threads of this CPU run once.
///
/// # Context
/// Thread, preemption on.
pub fn yield_now() {
    kernel().sched.yield_now();
}

/// How many ticks of the counter bringing up the secondaries took at boot, with
/// what it printed meanwhile; `None` before it is over.
pub fn boot_bring_up_ticks() -> Option<u64> {
    crate::start::bring_up_ticks()
}

/// Bytes of heap that are in use, by all CPUs: asked for and not given back. Exact
/// if nobody allocates or frees meanwhile.
pub fn heap_in_use() -> usize {
    crate::start::heap_in_use()
}

/// Where the memory of the heap is, in bytes.
pub fn heap_stats() -> HeapStats {
    crate::start::heap_stats()
}

/// Bytes of free heap that `cpu` keeps for itself: none while it is off.
///
/// # Panics
/// If `cpu` is not possible.
pub fn heap_cached(cpu: CpuId) -> usize {
    crate::start::heap_cached(cpu)
}

/// Stacks that are in use.
pub fn stacks_in_use() -> usize {
    crate::start::stacks_in_use()
}

/// Puts text on the console.
#[macro_export]
macro_rules! print {
    ($($text:tt)*) => {
        $crate::start::print(format_args!($($text)*))
    };
}

/// Puts a line on the console.
#[macro_export]
macro_rules! println {
    () => {
        $crate::start::print(format_args!("\n"))
    };
    ($($text:tt)*) => {
        $crate::start::print(format_args!("{}\n", format_args!($($text)*)))
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

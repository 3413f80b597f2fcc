//! The panic hook: a function of the program that a panic calls before the machine ends.
//!
//! It is called once. If it panics, faults, or waits for a spin lock that a stopped CPU
//! holds, it ends there with a line on the console, and the machine ends as without it.

use core::fmt;
use core::panic::{Location, PanicInfo};

use crate::arch::aarch64::thread_head;
use crate::cpu::CpuId;
use crate::kernel::{Hw, try_kernel};
use crate::platform::Platform;
use crate::smp::call::Inside;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{IrqGuard, Once};

/// A program's hook.
type Hook = fn(&PanicReport<'_>);

/// The hook, once a program has set one.
static HOOK: Once<Hook> = Once::new();
/// Whether the hook has been called. Relaxed: only the CPU that reports the panic uses it.
static BEGUN: AtomicBool = AtomicBool::new(false);

/// A panic, as the hook is told of it.
pub struct PanicReport<'a> {
    /// The panic's place and message, if there are any.
    info: Option<&'a PanicInfo<'a>>,
}

impl<'a> PanicReport<'a> {
    /// Returns the report of the panic of `info`; `None` stands for an exception, or for a
    /// panic whose own message has failed.
    pub(super) fn new(info: Option<&'a PanicInfo<'a>>) -> Self {
        PanicReport { info }
    }

    /// Returns the CPU that has panicked.
    pub fn cpu(&self) -> CpuId {
        Hw::this_cpu()
    }

    /// Returns the name of the thread that has panicked, or that was interrupted.
    pub fn thread(&self) -> &str {
        thread_head::current().name().as_str()
    }

    /// Returns where the panic is; `None` for an exception such as a fault, and where the
    /// panic's message has itself panicked.
    pub fn location(&self) -> Option<&Location<'_>> {
        self.info.and_then(PanicInfo::location)
    }

    /// Returns the message; `None` where [`PanicReport::location`] returns `None`. Printing it
    /// runs the program's code once more.
    pub fn message(&self) -> Option<impl fmt::Display> {
        self.info.map(PanicInfo::message)
    }
}

impl fmt::Debug for PanicReport<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PanicReport")
            .field("cpu", &self.cpu())
            .field("thread", &self.thread())
            .field("location", &self.location())
            .finish_non_exhaustive()
    }
}

/// Another hook is set already, and stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HookIsSet;

impl fmt::Display for HookIsSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is a panic hook")
    }
}

impl core::error::Error for HookIsSet {}

/// Makes `hook` the function that a panic calls.
///
/// # Errors
/// [`HookIsSet`] if a hook is set already.
pub(crate) fn set_hook(hook: Hook) -> Result<(), HookIsSet> {
    // If two CPUs call this at once, one waits in `call_once` for the other. IRQs are masked,
    // so that it waits for a few instructions only.
    let _masked = IrqGuard::<Hw>::new();
    let mut is_new = false;
    HOOK.call_once(|| {
        is_new = true;
        hook
    });
    if is_new { Ok(()) } else { Err(HookIsSet) }
}

/// Returns whether the hook has been called.
pub(super) fn has_begun() -> bool {
    BEGUN.load(Ordering::Relaxed)
}

/// Calls the hook, if there is one and it has not been called.
///
/// # Context
/// The CPU that reports the panic, IRQs masked.
pub(super) fn run(report: &PanicReport<'_>) {
    let Some(hook) = HOOK.get().filter(|_| !has_begun()) else {
        return;
    };
    BEGUN.store(true, Ordering::Relaxed);
    // A program has set the hook, so there is a kernel.
    if let Some(kernel) = try_kernel() {
        let calls = &kernel.calls;
        calls.run_inside(Hw::this_cpu(), Inside::PanicHook, || hook(report));
    }
}

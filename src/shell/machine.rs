//! What the shell needs from the kernel, and nothing more.
//!
//! The kernel implements [`Machine`] over its real parts; a test implements it
//! over a few vectors and records what was asked of it. The shell itself holds
//! no lock and no state of the machine: each command asks afresh.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::cpu::{CpuId, CpuMask, Mpidr};
use crate::errno::Errno;

/// An error of the kernel that can be shown at the shell. Its `Display` is the
/// detail that [`Errno`] can't carry: the step, the thread, firmware's code.
pub trait Failure: fmt::Display {
    /// Returns what Linux would have returned.
    fn errno(&self) -> Errno;
}

/// The machine as the shell's commands see it.
///
/// # Context
/// Of every method: thread, preemption on; it may sleep.
pub trait Machine {
    /// Why an operation was refused.
    type Error: Failure;

    /// Puts text on the console. A line ends with `\n`; what a terminal needs
    /// beside that is the console's business.
    fn write(&self, text: fmt::Arguments<'_>);

    /// Returns the CPU masks, consistent with each other.
    fn masks(&self) -> Masks;

    /// Returns what is known of `cpu`, which is in [`Masks::possible`].
    fn cpu_info(&self, cpu: CpuId) -> CpuInfo;

    /// Brings `cpu` up, all the way.
    ///
    /// # Errors
    /// Whatever refused or failed; the CPU is where it was before.
    fn cpu_up(&self, cpu: CpuId) -> Result<(), Self::Error>;

    /// Takes `cpu` down, all the way.
    ///
    /// # Errors
    /// Whatever refused or failed; the CPU is where it was before.
    fn cpu_down(&self, cpu: CpuId) -> Result<(), Self::Error>;

    /// Returns the state table in walking order, `offline` first, `online` last.
    fn steps(&self) -> impl Iterator<Item = StepRow<'_>>;

    /// Brings the machine to a still point, does nothing there, and lets it go.
    ///
    /// # Errors
    /// The stop gave up: nothing has happened.
    fn stop(&self) -> Result<StopCost, Self::Error>;

    /// Checks that all that the kernel offers works on this machine, and tells the
    /// outcome of each check to `tell_fn`: what was seen, or what is wrong.
    fn self_test(&self, tell_fn: &mut dyn FnMut(&str, Result<String, String>));

    /// How much memory there is.
    fn memory(&self) -> MemoryReport;

    /// Prints the recorded hotplug walks of `cpu`, or of all CPUs.
    fn trace(&self, cpu: Option<CpuId>);
}

/// How much memory there is, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryReport {
    /// The heap.
    pub heap: usize,
    /// What of it is in use: asked for, and not given back.
    pub heap_used: usize,
    /// What of it CPUs keep for their next requests.
    pub heap_cached: usize,
    /// What is left of it. The heap itself needs some, too.
    pub heap_free: usize,
    /// The stacks, with their guard pages.
    pub stacks: usize,
    /// What of them is in use.
    pub stacks_used: usize,
}

/// The CPU masks; each contains the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Masks {
    /// CPUs that the machine has, `maxcpus=` or not.
    pub possible: CpuMask,
    /// CPUs that run.
    pub online: CpuMask,
    /// CPUs that ordinary threads are placed on.
    pub active: CpuMask,
}

/// Where a CPU stands between two operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CpuState {
    /// Off, as firmware has confirmed.
    Offline,
    /// Running.
    Online,
    /// Between the two: an operation is under way, or it stopped half-way.
    Partial,
    /// Firmware can't or would not turn it off: it waits in the pen and can be called.
    Parked,
    /// It came up and refused itself.
    Failed,
    /// It never arrived, or was not seen to go: its memory stays its own until it is.
    Quarantined,
}

impl fmt::Display for CpuState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Offline => "offline",
            Self::Online => "online",
            Self::Partial => "partial",
            Self::Parked => "parked",
            Self::Failed => "failed",
            Self::Quarantined => "quarantined",
        })
    }
}

/// What is known of one CPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuInfo {
    /// `MIDR_EL1` as the CPU itself read it; `None` if it never ran.
    pub midr: Option<u32>,
    /// Its hardware affinity.
    pub mpidr: Mpidr,
    /// Where it stands.
    pub state: CpuState,
    /// Why there, if that needs to be told.
    pub why: Option<String>,
}

/// One row of the state table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepRow<'a> {
    /// Its place, `offline` being 0.
    pub number: usize,
    /// Its group, such as `prep`; empty for `offline` and `online`.
    pub group: &'a str,
    /// Its name in the group.
    pub name: &'a str,
    /// Why it has no startup callback; `None` if it has one.
    pub no_startup: Option<&'a str>,
    /// Why it has no teardown callback; `None` if it has one.
    pub no_teardown: Option<&'a str>,
    /// Passages up, all CPUs together; those without a callback count.
    pub ups: u64,
    /// Passages down, all CPUs together.
    pub downs: u64,
    /// The CPUs whose passages up are one more than those down.
    pub past: CpuMask,
    /// The CPUs where the difference is neither 0 nor 1. Empty, or the kernel
    /// has lost a callback.
    pub unbalanced: CpuMask,
}

/// What one still point took, in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StopCost {
    /// From the call to the start of the function.
    pub to_fn_ns: u64,
    /// From the call to its return.
    pub whole_ns: u64,
    /// Register writes that sending the request to all took.
    pub request_writes: u64,
    /// How many register writes it took to wake the CPUs that slept in it.
    pub wake_writes: u64,
    /// How long each participant had its IRQs off.
    pub irqs_off_ns: Vec<(CpuId, u64)>,
}

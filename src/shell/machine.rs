//! What the shell needs from the kernel, and nothing more.
//!
//! The kernel implements [`Machine`] over its real parts; a test implements it
//! over a few vectors and records what was asked of it. The shell itself holds
//! no lock and no state of the machine: each command asks afresh.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use super::program::ShellCommand;
use crate::cpu::{CpuId, CpuMask, IdRegisters, Mpidr};
use crate::errno::Errno;
use crate::governor::{Governor, Statistics, Tunables};
use crate::platform::PsciQuery;

/// An error of the kernel that the shell can print. Its `Display` adds the
/// detail that [`Errno`] can't carry: the step, the thread, firmware's code.
pub trait Failure: fmt::Display {
    /// Returns the number that Linux would have returned.
    fn errno(&self) -> Errno;
}

/// The machine as the shell's commands see it.
///
/// # Context
/// Of every method: thread, preemption on; it may sleep.
pub trait Machine {
    /// Why an operation was refused.
    type Error: Failure;

    /// Prints text on the console. A line ends with `\n`; the console adds what else a
    /// terminal needs.
    fn write(&self, text: fmt::Arguments<'_>);

    /// Returns the commands that the program adds to the shell's own.
    fn commands(&self) -> &[ShellCommand] {
        &[]
    }

    /// Waits for `within` at most until Ctrl-C is typed, and takes it and all that was typed
    /// before it out of the input. Returns how many bytes it has dropped so, without the Ctrl-C;
    /// `None` if none was typed: the input stays as it is then.
    fn interrupted(&self, within: Duration) -> Option<usize>;

    /// Takes the next typed byte out of the input; waits for `within` at most.
    fn typed(&self, within: Duration) -> Typed;

    /// Returns the CPU masks, consistent with each other.
    fn masks(&self) -> Masks;

    /// Returns what is known about `cpu`, which is in [`Masks::possible`].
    fn cpu_info(&self, cpu: CpuId) -> CpuInfo;

    /// Brings `cpus` up, all the way, in one operation. Returns those that are not up, each
    /// with the reason why it was refused or has failed. [`Machine::cpu_info`] tells where such
    /// a CPU is: mostly where it was before.
    fn cpus_up(&self, cpus: &CpuMask) -> Vec<(CpuId, Self::Error)>;

    /// Takes `cpus` down, all the way, in one operation. Returns those that are not down, as
    /// [`Machine::cpus_up`] does.
    fn cpus_down(&self, cpus: &CpuMask) -> Vec<(CpuId, Self::Error)>;

    /// Returns the number of the state that `cpu`, which is in [`Masks::possible`], is in.
    fn cpu_state(&self, cpu: CpuId) -> usize;

    /// Moves `cpu` to the state of number `state`, and leaves it there.
    ///
    /// # Errors
    /// Why the operation was refused or failed.
    fn set_target(&self, cpu: CpuId, state: usize) -> Result<(), Self::Error>;

    /// Returns the number of the state whose step is to fail when `cpu` next passes it, if
    /// there is one.
    fn failure(&self, cpu: CpuId) -> Option<usize>;

    /// Has the step of state number `state` fail once when `cpu` next passes it; with `None`
    /// no step is to fail any more.
    ///
    /// # Errors
    /// There is no such step, or it can't fail. Nothing has changed then.
    fn set_failure(&self, cpu: CpuId, state: Option<usize>) -> Result<(), Self::Error>;

    /// Returns the state table in walking order, `offline` first, `online` last.
    fn steps(&self) -> impl Iterator<Item = StepRow<'_>>;

    /// Brings the machine to a still point, does nothing there, and lets it go.
    ///
    /// # Errors
    /// Why the stop was given up; the function hasn't run then.
    fn stop(&self) -> Result<StopCost, Self::Error>;

    /// Checks each facility of the kernel on this machine. Calls `tell_fn` with the name
    /// and the outcome of each check: what was seen, or what is wrong.
    fn self_test(&self, tell_fn: &mut dyn FnMut(&str, Result<String, String>));

    /// Returns how much memory there is, and how much of it is in use.
    fn memory(&self) -> MemoryReport;

    /// Returns what the log still has, oldest first; each line has its end.
    fn log(&self) -> String;

    /// Returns the boot arguments.
    fn boot_line(&self) -> String;

    /// Returns the frequency of the timer, in hertz.
    fn timer_hz(&self) -> u64;

    /// Returns how often each interrupt was taken.
    fn interrupts(&self) -> Vec<InterruptRow>;

    /// Returns the interrupts of devices that are in use, by their numbers.
    fn irqs(&self) -> Vec<IrqRow>;

    /// Lets the interrupt `number` of a device go only to `cpus`.
    ///
    /// # Errors
    /// It isn't in use, or can't go there. Nothing has changed then.
    fn set_irq_affinity(&self, number: u32, cpus: &CpuMask) -> Result<(), Self::Error>;

    /// Has `cpu` wait at its entry, before it says that it is alive, the next time that it is
    /// started, or lets it go on.
    fn set_held(&self, cpu: CpuId, held: bool);

    /// Asks firmware, and returns its answer as it stands in the register.
    ///
    /// # Errors
    /// There is no PSCI.
    fn psci(&self, query: PsciQuery) -> Result<i64, Self::Error>;

    /// Returns the identity of the thread that runs the shell: see [`ThreadRow::id`].
    fn this_thread(&self) -> usize;

    /// Lets the thread `id` run on `cpus` only.
    ///
    /// # Errors
    /// There is no such thread, or it can't run there. Nothing has changed then.
    fn set_affinity(&self, id: usize, cpus: &CpuMask) -> Result<(), Self::Error>;

    /// Returns the threads that have not ended, except idle threads, in the order in
    /// which they were made.
    fn threads(&self) -> Vec<ThreadRow>;

    /// Returns in what registers `cpu` says which instructions it has, or `None` if it isn't online.
    fn id_registers(&self, cpu: CpuId) -> Option<IdRegisters>;

    /// Returns for how many nanoseconds `cpu` has been idle while it was online, or `None` if it
    /// has never been.
    fn idle_ns(&self, cpu: CpuId) -> Option<u64>;

    /// Returns for how many nanoseconds threads other than the idle one have had `cpu`, or `None`
    /// if it has never been online.
    fn run_ns(&self, cpu: CpuId) -> Option<u64>;

    /// Returns the time since an instant in the past that doesn't change, in nanoseconds.
    fn now_ns(&self) -> u64;

    /// Returns the time since the beginning of 1970, UTC; `None` if the machine has no clock.
    fn unix_time(&self) -> Option<Duration> {
        None
    }

    /// Sleeps for `time`.
    fn sleep(&self, time: Duration);

    /// Returns for how long of each second realtime threads may have a CPU that ordinary
    /// threads want, or `None` if there is no bound.
    fn realtime_runtime(&self) -> Option<Duration>;

    /// Changes what [`Machine::realtime_runtime`] returns, which is a second at most.
    fn set_realtime_runtime(&self, runtime: Option<Duration>);

    /// Returns after how long taking a CPU down turns back, or `None` if it has no limit.
    fn down_limit(&self) -> Option<Duration>;

    /// Changes what [`Machine::down_limit`] returns.
    fn set_down_limit(&self, limit: Option<Duration>);

    /// Returns after how many seconds the log says that a wait goes on; 0: never.
    fn watchdog_seconds(&self) -> u8;

    /// Changes what [`Machine::watchdog_seconds`] returns.
    fn set_watchdog_seconds(&self, seconds: u8);

    /// Returns whether events are recorded.
    fn is_tracing(&self) -> bool;

    /// Changes what [`Machine::is_tracing`] returns.
    ///
    /// # Errors
    /// Why it can't be changed now.
    fn set_tracing(&self, on: bool) -> Result<(), Self::Error>;

    /// Returns whether scheduling events are recorded while events are.
    fn is_tracing_sched(&self) -> bool;

    /// Changes what [`Machine::is_tracing_sched`] returns.
    ///
    /// # Errors
    /// Why it can't be changed now.
    fn set_tracing_sched(&self, on: bool) -> Result<(), Self::Error>;

    /// Returns what decides how many CPUs are online, and what it has done.
    ///
    /// # Errors
    /// Why it can't be told now.
    fn governor(&self) -> Result<GovernorReport, Self::Error>;

    /// Chooses a governor.
    ///
    /// # Errors
    /// Why it was not chosen, or CPUs did not come or go for it.
    fn set_governor(&self, governor: Governor) -> Result<(), Self::Error>;

    /// Changes the settings of the governor.
    ///
    /// # Errors
    /// Why they were not changed, or CPUs did not come or go for them.
    fn set_governor_tunables(&self, tunables: Tunables) -> Result<(), Self::Error>;

    /// Has `count` CPUs online, with the governor `userspace`.
    ///
    /// # Errors
    /// Why there are not so many.
    fn set_governed_cpus(&self, count: usize) -> Result<(), Self::Error>;

    /// Has `cpus`, which are offline, stay so: the governor doesn't bring them up.
    fn keep_off(&self, cpus: &CpuMask);

    /// Prints the recorded hotplug walks of `cpu`, or of all CPUs.
    fn trace(&self, cpu: Option<CpuId>);

    /// Prints what is recorded of all CPUs as a timeline in JSON.
    fn export_trace(&self);
}

/// What [`Machine::typed`] has taken out of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Typed {
    /// This byte.
    Byte(u8),
    /// The place of bytes that the console has lost.
    Lost,
    /// Nothing: nothing was typed in time.
    Nothing,
}

/// What decides how many CPUs are online, and what it has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GovernorReport {
    /// Which it is.
    pub governor: Governor,
    /// Its settings.
    pub tunables: Tunables,
    /// The CPUs that it has taken down and may bring up.
    pub given_back: CpuMask,
    /// What it has done.
    pub statistics: Statistics,
}

/// How often an interrupt was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterruptRow {
    /// The name in front of the colon: a number, or `IPI0` for an SGI.
    pub name: String,
    /// A count for each CPU, by its number.
    pub counts: Vec<u64>,
    /// What it is.
    pub what: String,
}

/// An interrupt of a device, as of a moment ago.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IrqRow {
    /// Its number.
    pub number: u32,
    /// The CPUs that it may go to.
    pub affinity: CpuMask,
    /// The CPU that it goes to, if it goes to any.
    pub effective: Option<CpuId>,
    /// How often it came since it was last judged.
    pub seen: u32,
    /// How often of these it had no reason.
    pub unhandled: u32,
    /// When it last had none, in milliseconds since the instant of [`Machine::now_ns`].
    pub last_unhandled_ms: u64,
}

/// A thread, and what it has used, as of a moment ago.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadRow {
    /// The number of the thread: each that was made has a greater one.
    pub id: usize,
    /// The thread's name.
    pub name: String,
    /// The CPU that it runs on, or ran on last.
    pub cpu: CpuId,
    /// The CPUs that it may run on.
    pub cpus: CpuMask,
    /// The class as `ps` names it: `TS`, `FF`, `RR`; `STP` for a stopper.
    pub class: &'static str,
    /// The realtime priority, if the thread has one.
    pub priority: Option<u8>,
    /// The niceness of an ordinary thread.
    pub nice: Option<i8>,
    /// What the thread does: `R` runs or wants to, `S` waits, `P` is parked, `Z` has
    /// ended.
    pub state: char,
    /// For how long it has had a CPU, in nanoseconds.
    pub run_ns: u64,
    /// How often it gave its CPU to another thread by itself.
    pub waits: u64,
    /// How often it lost its CPU to another thread.
    pub preemptions: u64,
    /// How often it was moved to another CPU.
    pub migrations: u64,
}

/// How much memory there is and how much of it is in use, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryReport {
    /// Size of the heap.
    pub heap: usize,
    /// Part of the heap that was allocated and not freed.
    pub heap_used: usize,
    /// Part of the heap that CPUs, or depots between them, keep for the next requests.
    pub heap_cached: usize,
    /// Part of the heap that is free. The heap's own data takes the rest.
    pub heap_free: usize,
    /// Size of all stacks of the pool, with their guard pages.
    pub stacks: usize,
    /// Size of the stacks that are in use, with their guard pages.
    pub stacks_used: usize,
}

/// The CPU masks; each contains the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Masks {
    /// CPUs that the machine has, including those that `maxcpus=` keeps off.
    pub possible: CpuMask,
    /// CPUs that can be brought up.
    pub present: CpuMask,
    /// CPUs that run.
    pub online: CpuMask,
    /// CPUs that ordinary threads are placed on.
    pub active: CpuMask,
}

/// The state of a CPU between two operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CpuState {
    /// Off, as firmware has confirmed.
    Offline,
    /// Running.
    Online,
    /// Between offline and online: an operation is under way, or it stopped half-way.
    Partial,
    /// In the parking pen, because firmware can't turn the CPU off or refused to. The
    /// CPU can be brought up from there.
    Parked,
    /// The CPU arrived and found that it can't be used.
    Failed,
    /// Firmware refused to start the CPU.
    Refused,
    /// The CPU never arrived, or firmware has not confirmed that it is off. Its stacks and
    /// its per-CPU memory stay reserved until firmware confirms that.
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
            Self::Refused => "refused",
            Self::Quarantined => "quarantined",
        })
    }
}

/// What is known about one CPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuInfo {
    /// `MIDR_EL1` as the CPU itself read it; `None` if the CPU never ran.
    pub midr: Option<u32>,
    /// The CPU's hardware affinity.
    pub mpidr: Mpidr,
    /// The CPU's state.
    pub state: CpuState,
    /// Why the CPU is in that state, if there is something to explain.
    pub why: Option<String>,
}

/// One row of the state table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepRow<'a> {
    /// The state's number in walking order; `offline` is 0.
    pub number: usize,
    /// The state's group, such as `prep`; empty for `offline` and `online`.
    pub group: &'a str,
    /// The state's name within its group.
    pub name: &'a str,
    /// Whether a CPU can be moved there, and rest.
    pub may_rest: bool,
    /// Why the state has no startup callback; `None` if it has one.
    pub no_startup: Option<&'a str>,
    /// Why the state has no teardown callback; `None` if it has one.
    pub no_teardown: Option<&'a str>,
    /// How often CPUs have passed the state on their way up, all CPUs together, whether
    /// it has a callback or not.
    pub ups: u64,
    /// How often CPUs have passed the state on their way down, all CPUs together.
    pub downs: u64,
    /// The CPUs that have passed the state once more on the way up than on the way down.
    pub past: CpuMask,
    /// The CPUs for which that difference is neither 0 nor 1. If the mask isn't empty the
    /// kernel has lost a callback.
    pub unbalanced: CpuMask,
}

impl StepRow<'_> {
    /// Returns the name with its group in front, `sched:drain`.
    pub fn full_name(&self) -> String {
        let colon = if self.group.is_empty() { "" } else { ":" };
        alloc::format!("{}{colon}{}", self.group, self.name)
    }
}

/// What one still point took, in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StopCost {
    /// From the call to the start of the function.
    pub to_fn_ns: u64,
    /// From the call to its return.
    pub whole_ns: u64,
    /// How many register writes it took to send the request to all CPUs.
    pub request_writes: u64,
    /// How many register writes it took to wake the CPUs that slept in the stop.
    pub wake_writes: u64,
    /// How long each participant had its IRQs off.
    pub irqs_off_ns: Vec<(CpuId, u64)>,
}

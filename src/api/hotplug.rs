//! Bringing CPUs up and taking them down, and being told of it.
//!
//! ```no_run
//! # use stillpoint::api::{cpu::CpuId, hotplug};
//! # let cpu = CpuId::from_index(1);
//! hotplug::cpu_down(cpu)?;
//! hotplug::cpu_up(cpu)?;
//! ```
//! What is to be done when a CPU comes or goes is a *step*: a name with a startup and a
//! teardown, which undoes the startup. [`on_cpus`] installs the simplest; [`EnableStep`] and
//! [`PrepareStep`] are for steps that may fail, [`MultiStepBuilder`] and
//! [`MultiPrepareStepBuilder`] for steps with instances, [`InitStep`] for what is done on a CPU
//! before it is online, [`post_dead`] for what waits for other threads. Steps of a kind are passed
//! in the order in which they were installed, and in reverse on the way down. If one fails, those
//! that were passed are undone, and the operation returns its error. At most 40 steps on CPUs,
//! 20 that prepare, 4 in INIT and 4 of [`post_dead`] are installed at a time.
//!
//! In a callback, functions that bring a CPU up or down, install or remove a step return an
//! error at once, and so does [`cpus_read_lock_checked`], but for a callback of [`post_dead`];
//! [`cpus_read_lock`] panics. [`register_service`] gives each CPU a thread of its own, which
//! comes and goes with it.

use alloc::vec::Vec;
use core::time::Duration;

use crate::cpu::{CpuId, CpuMask};
use crate::hotplug;
use crate::kernel::entry::{Entered, enter};
use crate::kernel::{self, Hw, kernel};
use crate::platform::Platform;
use crate::sched::lock;
use crate::time::Instant;

pub use crate::api::init_step::InitStep;
pub use crate::api::multi_step::{Instance, MultiPrepareStepBuilder, MultiStep, MultiStepBuilder};
pub use crate::api::residents::{Residence, Residents, spawn_on_each_cpu};
pub use crate::api::service::{RegisteredService, Service, register_service};
pub use crate::api::step::{EnableStep, PrepareStep, Step, on_cpus, post_dead};
pub use crate::hotplug::{
    ApRefusal, Awaited, BatchError, CpuDownError, CpuUpError, FreezeError, HotplugDisabled,
    InstallError, Left, NotRemoved, Quarantine, RestingPlace, StepError, StepName, SyncState,
    TargetError, ThawError,
};
pub use crate::sched::lock::WouldDeadlock;
pub use crate::trace::Direction;

/// No CPU comes or goes while this exists.
///
/// ```no_run
#[doc = include_str!("../../examples/api/callees.rs")]
/// ```
#[must_use]
pub struct CpusReadGuard {
    _guard: Entered<lock::CpusReadGuard<'static, Hw>>,
}

impl CpusReadGuard {
    /// Returns the CPUs that are online. They stay so while the guard exists.
    ///
    /// # Context
    /// Any.
    pub fn online(&self) -> CpuMask {
        let _in_kernel = enter();
        kernel().masks.online()
    }

    /// Returns the CPUs that threads are placed on. They stay so while the guard exists.
    ///
    /// # Context
    /// Any.
    pub fn active(&self) -> CpuMask {
        let _in_kernel = enter();
        kernel().masks.active()
    }

    /// Returns an iterator over the CPUs that are online. It lives as long as the guard, so the
    /// CPUs stay online meanwhile.
    ///
    /// # Context
    /// Any.
    ///
    /// ```no_run
    #[doc = include_str!("../../examples/api/guard.rs")]
    /// ```
    pub fn each_online(&self) -> impl Iterator<Item = CpuId> + use<'_> {
        let online = self.online();
        let possible = kernel().masks.possible().iter();
        possible.filter(move |cpu| online.contains(*cpu))
    }
}

/// No CPU comes or goes, and no other thread installs or removes a step, while this exists.
#[must_use]
pub struct RegistrationGuard(pub(super) Entered<hotplug::RegistrationGuard<Hw>>);

impl RegistrationGuard {
    /// Returns the CPUs that are online. They stay so while the guard exists.
    ///
    /// # Context
    /// Any.
    pub fn online(&self) -> CpuMask {
        let _in_kernel = enter();
        self.0.online()
    }
}

/// Keeps CPUs from coming and going, and other threads from installing steps, until the returned
/// guard is dropped. It is for a program that treats the CPUs which are online by hand, and then
/// installs a step without calls. Linux: `cpu_hotplug_register_begin`, as it was proposed.
///
/// Other threads may take [`cpus_read_lock`] meanwhile, and so may this one.
///
/// # Context
/// Thread, preemption on; waits while a CPU comes or goes.
///
/// # Errors
/// [`WouldDeadlock`], in a callback of hotplug, under [`cpus_read_lock`] and in a pinned thread.
///
/// ```no_run
#[doc = include_str!("../../examples/api/by_hand.rs")]
/// ```
#[cfg_attr(debug_assertions, track_caller)]
pub fn registration_lock() -> Result<RegistrationGuard, WouldDeadlock> {
    let _in_kernel = enter();
    let locked = kernel().hotplug.registration_lock();
    locked.map(|guard| RegistrationGuard(Entered::new(guard)))
}

/// A CPU's way up or down that is over: see [`last_walks`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Walk {
    /// The CPU.
    pub cpu: CpuId,
    /// Which way it was to go.
    pub direction: Direction,
    /// When it began.
    pub began: Instant,
    /// When it was over.
    pub ended: Instant,
    /// For how long interrupts were off on all CPUs in its still point, if it went through one. CPUs
    /// that go together have one in common.
    pub irqs_off: Option<Duration>,
    /// Whether the CPU got there. Otherwise a step has failed, and the CPU has turned round.
    pub is_done: bool,
}

/// Returns the walks of all CPUs that began at `since` or later, in the order of their ends, as far as
/// the trace still has them: some for each CPU. With the boot argument `tracing_on=0` there are none.
///
/// ```no_run
#[doc = include_str!("../../examples/api/load.rs")]
/// ```
///
/// # Context
/// Thread; allocates. A walk that isn't over is left out.
pub fn last_walks(since: Instant) -> Vec<Walk> {
    let _in_kernel = enter();
    let of_cpu = |cpu| kernel::walks::walks_since(cpu, since);
    let walks = kernel().masks.possible().iter().flat_map(of_cpu);
    let mut walks: Vec<Walk> = walks
        .filter(|walk| walk.whole)
        .map(|walk| Walk {
            cpu: walk.cpu,
            direction: walk.direction,
            began: walk.began,
            ended: walk.ended,
            irqs_off: walk
                .irqs_off
                .map(|ticks| Duration::from_nanos(Hw::frequency().ticks_to_ns(ticks))),
            is_done: walk.failed.is_none() && !walk.turned_back,
        })
        .collect();
    walks.sort_unstable_by_key(|walk| walk.ended);
    walks
}

/// Brings CPU `cpu` online; does nothing if it is online.
///
/// # Context
/// Thread, preemption on; takes the hotplug lock. Returns an error at once under
/// [`cpus_read_lock`] and under a guard of
/// [`migrate_disable`](crate::api::thread::migrate_disable).
///
/// # Errors
/// [`CpuUpError`]. The other CPUs go on as before. `cpu` itself may be left half way, or
/// quarantined, which means that its end has not been seen: [`Left`] says which. It can be
/// brought up or taken down again from there.
///
/// ```no_run
#[doc = include_str!("../../examples/api/bring_up.rs")]
/// ```
pub fn cpu_up(cpu: CpuId) -> Result<(), CpuUpError> {
    let _in_kernel = enter();
    kernel().hotplug.cpu_up(cpu)
}

/// Takes CPU `cpu` offline and has firmware turn it off; does nothing if it is offline.
///
/// # Context
/// Thread, preemption on; takes the hotplug lock. A caller that runs on `cpu` is moved to
/// another CPU. Returns an error at once where [`cpu_up`] does.
///
/// # Errors
/// [`CpuDownError`]. The other CPUs go on as before. `cpu` itself may be left half way, or
/// offline and quarantined, as with [`cpu_up`].
///
/// ```no_run
#[doc = include_str!("../../examples/api/take_down.rs")]
/// ```
pub fn cpu_down(cpu: CpuId) -> Result<(), CpuDownError> {
    let _in_kernel = enter();
    kernel().hotplug.cpu_down(cpu)
}

/// Takes CPU `cpu` offline as [`cpu_down`] does, but turns back at `deadline` if the machine has
/// not been stopped by then: all steps are taken again, and the CPU stays. It is too late from
/// the moment when the machine stops. A step can't be interrupted: the operation turns back when
/// it returns, and the log names a step that doesn't.
///
/// # Context
/// As [`cpu_down`].
///
/// # Errors
/// As [`cpu_down`]. At the deadline it is [`CpuDownError::Late`] or the error of a step, with the
/// errno ETIMEDOUT. They name what was in the way: a thread, a step or a CPU.
///
/// ```no_run
#[doc = include_str!("../../examples/api/in_time.rs")]
/// ```
pub fn cpu_down_before(cpu: CpuId, deadline: Instant) -> Result<(), CpuDownError> {
    let _in_kernel = enter();
    kernel().hotplug.cpu_down_before(cpu, deadline)
}

/// Returns the limit of [`cpu_down`]: for how long it may go on before it turns back, as
/// [`cpu_down_before`] does; `None`, as it is at first, without a limit.
///
/// # Context
/// Any.
pub fn down_limit() -> Option<Duration> {
    kernel().hotplug.down_limit()
}

/// Sets what [`down_limit`] returns (boot argument `cpu_down_timeout_ms=`; in the shell
/// `sysctl kernel.cpu_down_timeout_ms=`). It holds for each way down that begins from now on, by
/// [`cpu_down`], [`cpus_down`], [`cpu_set_target`] or [`freeze`], and counts from the call.
///
/// # Context
/// Any.
pub fn set_down_limit(limit: Option<Duration>) {
    let _in_kernel = enter();
    kernel().hotplug.set_down_limit(limit);
}

/// Brings `cpus` online in one operation; those that are online stay so. The CPUs come up at the
/// same time, as far as the boot argument `cpuhp.parallel=` says. So callbacks of steps run at
/// the same time for several CPUs: those before a CPU runs on the caller, one CPU after the
/// other, the others each on its CPU.
///
/// # Context
/// As for [`cpu_up`].
///
/// # Errors
/// [`BatchError`]: which CPUs did not come up, and why each did not. The others have.
///
/// ```no_run
#[doc = include_str!("../../examples/api/together.rs")]
/// ```
pub fn cpus_up(cpus: &CpuMask) -> Result<(), BatchError<CpuUpError>> {
    let _in_kernel = enter();
    kernel().hotplug.cpus_up(cpus)
}

/// Takes `cpus` offline in one operation, and has firmware turn them off; those that are offline
/// stay so. It takes one grace period and one still point, however many CPUs go. Callbacks of
/// steps run at the same time for several CPUs.
///
/// The CPUs may go that could go one after the other, in the order of their numbers: if all
/// CPUs are named, the last one stays, with an error. A [`down_limit`] is one for all of them:
/// [`cpus_down_before`].
///
/// # Context
/// As for [`cpu_down`].
///
/// # Errors
/// [`BatchError`]: which CPUs did not go, and why each did not. The others have gone.
///
/// ```no_run
/// # use stillpoint::{api::{cpu::{CpuId, CpuMask}, hotplug}, println};
/// # let cpus = CpuMask::of(CpuId::from_index(1));
/// if let Err(error) = hotplug::cpus_down(&cpus) {
///     for (cpu, why) in error.failed() {
///         println!("CPU{cpu} stays: {why}");
///     }
/// }
/// ```
pub fn cpus_down(cpus: &CpuMask) -> Result<(), BatchError<CpuDownError>> {
    let _in_kernel = enter();
    kernel().hotplug.cpus_down(cpus)
}

/// Takes `cpus` offline as [`cpus_down`] does, but CPUs turn back at `deadline`, as one does with
/// [`cpu_down_before`]. Those whose own steps are late don't keep the others: they turn back when
/// three quarters of the time are over, and the rest is for the stop of the machine. If that doesn't
/// come in time, all turn back. A step can't be interrupted: the operation returns when all have
/// turned back that stay.
///
/// # Context
/// As for [`cpu_down`].
///
/// # Errors
/// As [`cpus_down`]. At the deadline it is [`CpuDownError::Late`] or the error of a step, with the
/// errno ETIMEDOUT, for each CPU that stays.
pub fn cpus_down_before(cpus: &CpuMask, deadline: Instant) -> Result<(), BatchError<CpuDownError>> {
    let _in_kernel = enter();
    kernel().hotplug.cpus_down_before(cpus, deadline)
}

/// Moves CPU `cpu` to the state of number `state`, up or down, and leaves it there; does nothing
/// if it is there. [`resting_places`] has the numbers; that of the last step means `online`, too
/// (Linux: writing to `/sys/devices/system/cpu/cpuN/hotplug/target`).
///
/// A CPU that rests between the two ends is online, but not active: it takes interrupts and
/// calls, is in each still point and holds off grace periods, and no thread is placed on it.
/// A step that is installed meanwhile is called on it if the CPU is past it. [`cpu_up`],
/// [`cpu_down`] and this take it on from there.
///
/// # Context
/// As for [`cpu_up`] and [`cpu_down`].
///
/// # Errors
/// [`TargetError`], EINVAL if no CPU may rest in `state`. If a step fails, the CPU goes back to
/// where it was, or is left as by [`cpu_up`] or [`cpu_down`].
///
/// ```no_run
#[doc = include_str!("../../examples/api/rest.rs")]
/// ```
pub fn cpu_set_target(cpu: CpuId, state: usize) -> Result<(), TargetError> {
    let _in_kernel = enter();
    kernel().hotplug.cpu_set_target(cpu, state)
}

/// Returns the number of the state that `cpu` is in: that of the last step that is up (Linux:
/// `/sys/devices/system/cpu/cpuN/hotplug/state`).
///
/// # Context
/// Any. Racy, unless the caller holds [`cpus_read_lock`].
///
/// # Panics
/// If the machine has no such CPU.
pub fn cpu_state_racy(cpu: CpuId) -> usize {
    let _in_kernel = enter();
    hotplug::state_number(kernel().hotplug.state(cpu).state())
}

/// Returns the states to which a CPU may be moved, from `offline` to `online`. The steps of
/// programs on CPUs are among them while they are installed.
///
/// # Context
/// Thread; allocates. Racy, unless the caller holds [`cpus_read_lock`].
pub fn resting_places() -> Vec<RestingPlace> {
    let _in_kernel = enter();
    kernel().hotplug.resting_places().collect()
}

/// Hotplug is disabled while this exists.
#[must_use = "dropping it enables hotplug again"]
pub struct DisableGuard {
    _guard: Entered<hotplug::DisableGuard<Hw>>,
}

/// Disables hotplug until the returned guard is dropped: no CPU is coming or going on return,
/// and [`cpu_up`], [`cpu_down`], [`cpu_set_target`] and [`freeze`] fail at once with EBUSY,
/// where [`cpus_read_lock`] has them wait. Guards are counted; any thread may drop one (Linux:
/// `cpu_hotplug_disable`).
///
/// # Context
/// Thread, preemption on; waits while a CPU comes or goes.
///
/// # Errors
/// [`WouldDeadlock`], in a callback of hotplug, under [`cpus_read_lock`] and in a pinned thread.
pub fn disable() -> Result<DisableGuard, WouldDeadlock> {
    let _in_kernel = enter();
    let guard = kernel().hotplug.disable()?;
    Ok(DisableGuard {
        _guard: Entered::new(guard),
    })
}

/// All CPUs but one have gone, and hotplug is disabled, while this exists. Dropping it brings
/// them back; the log says it if one doesn't come.
///
/// # Panics
/// If it is dropped where [`cpu_up`] would return [`WouldDeadlock`].
#[must_use = "dropping it brings the CPUs back"]
pub struct Frozen(Entered<hotplug::Frozen<Hw>>);

impl Frozen {
    /// Returns the CPUs that have gone and are to come back.
    ///
    /// # Context
    /// Any.
    pub fn cpus(&self) -> CpuMask {
        let _in_kernel = enter();
        self.0.cpus()
    }

    /// Brings the CPUs back, each to the state that it had, and enables hotplug. Does nothing
    /// the second time.
    ///
    /// # Context
    /// As for [`cpu_up`].
    ///
    /// # Errors
    /// [`ThawError`]. With [`ThawError::Up`] all other CPUs are back, and hotplug is enabled.
    pub fn thaw(&mut self) -> Result<(), ThawError> {
        let _in_kernel = enter();
        self.0.thaw()
    }
}

/// Takes all CPUs but `stays` down, and keeps them there until the returned value is thawed or
/// dropped (Linux: `freeze_secondary_cpus`, with any CPU). They go as with [`cpus_down`]. If one
/// doesn't go, those that have gone come back, except those that are quarantined because they
/// weren't seen off. [`set_down_limit`]'s limit counts from the call.
///
/// # Context
/// As for [`cpu_down`]. A caller that may not run on `stays` may run anywhere afterwards.
///
/// # Errors
/// [`FreezeError`]: EBUSY if hotplug is disabled, EINVAL if `stays` is not active, ETIMEDOUT if the
/// limit came before the first step, or what [`cpu_down`] returned for a CPU.
///
/// ```no_run
#[doc = include_str!("../../examples/api/freeze.rs")]
/// ```
pub fn freeze(stays: CpuId) -> Result<Frozen, FreezeError> {
    let _in_kernel = enter();
    let frozen = kernel().hotplug.freeze(stays);
    frozen.map(|frozen| Frozen(Entered::new(frozen)))
}

/// Keeps CPUs from coming and going until the returned guard is dropped (the name is
/// Linux's).
///
/// # Context
/// Thread, preemption on. The thread may not hold another of these guards or one of
/// [`migrate_disable`](crate::api::thread::migrate_disable).
///
/// # Panics
/// If it is called outside its context, even if it would not have to wait.
///
/// A thread that has forgotten the guard ([`core::mem::forget`]) panics at its end: no CPU
/// could come or go any more.
#[cfg_attr(debug_assertions, track_caller)]
pub fn cpus_read_lock() -> CpusReadGuard {
    let _in_kernel = enter();
    CpusReadGuard {
        _guard: Entered::new(kernel().hotplug.cpus_read_lock()),
    }
}

/// Does as [`cpus_read_lock`], but returns an error where that panics because it would wait for
/// itself: in a callback of hotplug, in a service, under another guard, and under one of
/// [`migrate_disable`](crate::api::thread::migrate_disable). It is for code that
/// doesn't know where it is called.
///
/// # Context
/// Thread, preemption on.
///
/// # Errors
/// [`WouldDeadlock`], at once, even if it would not have to wait.
///
/// # Panics
/// If it is called outside its context, even if it would not have to wait.
#[cfg_attr(debug_assertions, track_caller)]
pub fn cpus_read_lock_checked() -> Result<CpusReadGuard, WouldDeadlock> {
    let _in_kernel = enter();
    let locked = kernel().hotplug.cpus_read_lock_checked();
    locked.map(|guard| CpusReadGuard {
        _guard: Entered::new(guard),
    })
}

/// Returns how long it took at boot to bring up the other CPUs; `None` before that is done.
/// Nothing is printed meanwhile.
///
/// # Context
/// Any.
pub fn boot_bring_up_time() -> Option<Duration> {
    let ticks = crate::boot::bring_up_ticks()?;
    Some(Duration::from_nanos(Hw::frequency().ticks_to_ns(ticks)))
}

//! The governor of this machine: [`governor`](crate::governor) over the kernel's own scheduler and
//! hotplug.
//!
//! `ondemand` has a thread, `governor`, of the class of the kernel's own threads. The choice of
//! another governor, and of a number of CPUs with `userspace`, is carried out by the caller.
//!
//! # Which CPUs
//! Those come that the governor has taken down itself (`only-its-own` of
//! `src/hotplug/governed.rs`), the lowest number first. Those go that are active, the highest
//! number first.
//!
//! # How the rest ends
//! At rest the thread waits without a limit, and [`ARMED`] is false. Where a run queue has a thread
//! that waits and had none, the scheduler calls [`threads_wait`], which arms: it sets a timer, once.
//! That timer's function wakes the thread. The call is behind the static key [`WAITS`], which is
//! on while the governor is `ondemand`.
//!
//! # Invariants
//! - **armed-or-seen**: a thread that begins to wait while the governor rests, and could have a
//!   CPU, arms it. Before the rest the governor stores that it isn't armed, and then looks at each
//!   run queue under its lock. A change of that queue comes before, and is seen, or after, and finds
//!   it not armed.
//! - **one-decides**: what decides and carries it out holds the lock of [`STATE`] meanwhile. So
//!   one thread at a time writes the ring of the governor's events.
//! - **caller-may-wait**: that lock is taken only by a thread for which an operation of hotplug
//!   may wait, because its holder carries out operations. Others get an error first.

mod act;
mod error;
mod look;
mod measure;

use core::time::Duration;

use crate::governor::{Governor, Policy, Refusals, Statistics, Tunables};
use crate::kernel::static_key::StaticKey;
use crate::kernel::{Hw, kernel};
use crate::platform::Platform;
use crate::sched::lock::{Mutex, MutexGuard, WaitQueue};
use crate::sched::{Class, ThreadName, Timer};
use crate::sync::Once;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::time::Instant;
use measure::Measured;

pub use error::GovernorError;

/// Whether the time is counted for which threads wait for a CPU. Its count is 0 or 1.
pub(super) static WAITS: StaticKey = StaticKey::new();

/// What the governor is and does (one-decides).
static STATE: Mutex<State, Hw> = Mutex::new(State::new());

/// Whether the timer that ends the rest is set, or the thread doesn't rest. Relaxed: the locks of
/// the run queues order it (armed-or-seen).
static ARMED: AtomicBool = AtomicBool::new(true);
/// When it was armed last, in ticks. Relaxed: a hint.
static ARMED_AT: AtomicU64 = AtomicU64::new(0);
/// How long after that the thread is woken, in ticks. Relaxed: a setting.
static ALARM_AFTER: AtomicU64 = AtomicU64::new(0);
/// Wakes the thread.
static ALARM: Once<Timer<Hw>> = Once::new();
/// Whether the thread is to look now. Relaxed: the lock of [`LOOKS`] orders it.
static KICKED: AtomicBool = AtomicBool::new(false);
/// Whether the governor is `ondemand`. Relaxed: a hint.
static RUNS: AtomicBool = AtomicBool::new(false);
/// Where the thread waits.
static LOOKS: WaitQueue<Hw> = WaitQueue::new();

/// What the governor is and does.
struct State {
    governor: Governor,
    /// The settings, if any were chosen.
    tunables: Option<Tunables>,
    /// The policy, while the governor is `ondemand`.
    policy: Option<Policy>,
    measured: Measured,
    /// The CPUs that didn't come.
    stay_away: Refusals,
    /// The CPUs that didn't go.
    stay_here: Refusals,
    statistics: Statistics,
    /// Whether there is a thread.
    has_thread: bool,
}

impl State {
    const fn new() -> State {
        State {
            governor: Governor::Userspace,
            tunables: None,
            policy: None,
            measured: Measured::new(),
            stay_away: Refusals::NONE,
            stay_here: Refusals::NONE,
            statistics: Statistics {
                ups: 0,
                downs: 0,
                come: 0,
                gone: 0,
                refused: 0,
                looks: 0,
                hold: Duration::ZERO,
            },
            has_thread: false,
        }
    }

    fn tunables(&self) -> Tunables {
        let cpus = kernel().masks.possible().count();
        self.tunables.unwrap_or(Tunables::new(cpus))
    }
}

/// Locks the state (caller-may-wait).
fn lock() -> Result<MutexGuard<'static, State, Hw>, GovernorError> {
    kernel().hotplug.may_add_or_remove()?;
    Ok(STATE.lock())
}

/// Returns which governor there is.
///
/// # Context
/// Thread, preemption on, where an operation of hotplug may be waited for.
///
/// # Errors
/// [`GovernorError::WouldDeadlock`].
pub(crate) fn governor() -> Result<Governor, GovernorError> {
    Ok(lock()?.governor)
}

/// Returns the settings.
///
/// # Context
/// As [`governor()`].
///
/// # Errors
/// [`GovernorError::WouldDeadlock`].
pub(crate) fn tunables() -> Result<Tunables, GovernorError> {
    Ok(lock()?.tunables())
}

/// Returns what the governor has done so far.
///
/// # Context
/// As [`governor()`].
///
/// # Errors
/// [`GovernorError::WouldDeadlock`].
pub(crate) fn statistics() -> Result<Statistics, GovernorError> {
    let state = lock()?;
    let hold = state.policy.as_ref().map_or(0, Policy::hold);
    Ok(Statistics {
        hold: Duration::from_nanos(hold),
        ..state.statistics
    })
}

/// Chooses a governor. With `performance` CPUs have come on return.
///
/// # Context
/// As [`governor()`]; brings CPUs up, and stops the machine where `ondemand` begins or ends.
///
/// # Errors
/// [`GovernorError`]. With [`GovernorError::Up`] and [`GovernorError::Down`] the governor is chosen
/// all the same; else nothing has changed.
pub(crate) fn choose(governor: Governor) -> Result<(), GovernorError> {
    let mut state = lock()?;
    kernel().trace.make_governor()?;
    match (state.policy.is_some(), governor == Governor::Ondemand) {
        (false, true) => begin(&mut state)?,
        (true, false) => end(&mut state)?,
        _ => {}
    }
    state.governor = governor;
    act::within_bounds(&mut state)
}

/// Begins `ondemand`.
fn begin(state: &mut State) -> Result<(), GovernorError> {
    ALARM.call_once(|| Timer::new(kick));
    if !state.has_thread {
        let name = ThreadName::new(format_args!("governor"));
        let all = kernel().masks.possible();
        kernel().sched.spawn(name, Class::KERNEL, all, look::run)?;
        state.has_thread = true;
    }
    kernel().sched.begin_waits();
    WAITS.enable()?;
    let tunables = state.tunables();
    state.policy = Some(Policy::new(tunables, measure::now_ns()));
    state.stay_away = Refusals::NONE;
    state.stay_here = Refusals::NONE;
    state.measured.begin();
    set_alarm(&tunables);
    ARMED.store(true, Ordering::Relaxed);
    RUNS.store(true, Ordering::Relaxed);
    kick();
    Ok(())
}

/// Ends `ondemand`.
fn end(state: &mut State) -> Result<(), GovernorError> {
    WAITS.disable()?;
    RUNS.store(false, Ordering::Relaxed);
    state.policy = None;
    Ok(())
}

/// Sets the settings.
///
/// # Context
/// As [`choose`].
///
/// # Errors
/// As [`choose`]; [`GovernorError::Tunables`], and nothing has changed then.
pub(crate) fn set_tunables(tunables: Tunables) -> Result<(), GovernorError> {
    let mut state = lock()?;
    tunables.check(kernel().masks.possible().count())?;
    kernel().trace.make_governor()?;
    state.tunables = Some(tunables);
    if let Some(policy) = &mut state.policy {
        policy.set_tunables(tunables);
        set_alarm(&tunables);
        kick();
    }
    act::within_bounds(&mut state)
}

/// Has `count` CPUs online, while the governor is `userspace`.
///
/// # Context
/// As [`choose`].
///
/// # Errors
/// [`GovernorError::NotUserspace`], [`GovernorError::NoSuchCount`]: nothing has changed.
/// [`GovernorError::Short`], and what CPUs have refused, all others have come or gone.
pub(crate) fn set_cpus(count: usize) -> Result<(), GovernorError> {
    let mut state = lock()?;
    if state.governor != Governor::Userspace {
        return Err(GovernorError::NotUserspace(state.governor));
    }
    let tunables = state.tunables();
    if count < tunables.min_cpus || count > tunables.max_cpus {
        return Err(GovernorError::NoSuchCount(count));
    }
    kernel().trace.make_governor()?;
    act::to(&mut state, count, crate::governor::Reason::Userspace)
}

fn set_alarm(tunables: &Tunables) {
    let ticks = Hw::frequency().duration_to_ticks(tunables.up_wait / 2);
    ALARM_AFTER.store(ticks, Ordering::Relaxed);
}

/// A thread waits for a CPU on a run queue that had none that waits: ends the rest of the governor
/// in a while.
///
/// # Context
/// Under the lock of a run queue, IRQs masked.
pub(super) fn threads_wait() {
    // The first look keeps the line of the word shared while the governor looks.
    if ARMED.load(Ordering::Relaxed) || ARMED.swap(true, Ordering::Relaxed) {
        return;
    }
    let now = Hw::now();
    ARMED_AT.store(now.0, Ordering::Relaxed);
    let after = ALARM_AFTER.load(Ordering::Relaxed);
    if let Some(alarm) = ALARM.get() {
        alarm.start(now.after_ticks(after));
    }
}

/// Has the thread look, if it is `ondemand`: CPUs have come or gone.
///
/// # Context
/// Thread.
pub(super) fn operation_over() {
    if RUNS.load(Ordering::Relaxed) {
        kick();
    }
}

/// Has the thread look now.
fn kick() {
    KICKED.store(true, Ordering::Relaxed);
    LOOKS.wake_one();
}

/// Chooses the governor that the command line names.
///
/// # Context
/// The first thread, when the CPUs have come.
pub(crate) fn start(governor: Governor) {
    if governor == Governor::default() {
        return;
    }
    match choose(governor) {
        Ok(()) => log::info!("governor {}", governor.name()),
        Err(error) => log::error!("governor {}: {error}", governor.name()),
    }
}

/// Returns the instant that is `ns` nanoseconds of the clock of samples.
fn instant_of(ns: u64) -> Instant {
    Hw::deadline(Duration::from_nanos(ns.saturating_sub(measure::now_ns())))
}

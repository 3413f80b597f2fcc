//! What the governor does: has CPUs come and go, and records that.

use core::time::Duration;

use super::{GovernorError, State, measure};
use crate::cpu::CpuMask;
use crate::governor::{Governor, Reason, Refusals};
use crate::hotplug::{BatchError, CpuDownError, CpuUpError};
use crate::kernel::{Hw, is_tracing, kernel};
use crate::platform::Platform;
use crate::trace::{Direction, GovernorEvent, Load};

/// How long CPUs may take to go before they turn back: a thread may be pinned there, and meanwhile
/// none can come.
const GO_LIMIT: Duration = Duration::from_millis(20);

/// The CPUs that may come at `at`, in nanoseconds.
pub(super) fn may_come(state: &State, at: u64) -> CpuMask {
    kernel().hotplug.governed().without(&state.stay_away.at(at))
}

/// The CPUs that may go at `at`.
pub(super) fn may_go(state: &State, at: u64) -> CpuMask {
    kernel().masks.active().without(&state.stay_here.at(at))
}

/// Has `count` CPUs of `may_come` come.
///
/// # Errors
/// The CPUs that did not come.
pub(super) fn come(
    state: &mut State,
    count: usize,
    reason: Reason,
    load: Load,
) -> Result<(), BatchError<CpuUpError>> {
    let from = online();
    let cpus: CpuMask = may_come(state, measure::now_ns())
        .iter()
        .take(count)
        .collect();
    record_decision(reason, from, from + cpus.count(), load);
    let result = kernel().hotplug.governor_up(&cpus);
    let failed = result.as_ref().err().map(BatchError::cpus);
    state.over(Direction::Up, &cpus, failed, from, reason);
    result
}

/// Has `count` CPUs of `may_go` go, those with the highest numbers.
///
/// # Errors
/// The CPUs that did not go.
pub(super) fn go(
    state: &mut State,
    count: usize,
    reason: Reason,
    load: Load,
) -> Result<(), BatchError<CpuDownError>> {
    let from = online();
    let may = may_go(state, measure::now_ns());
    let stay = may.count().saturating_sub(count);
    let cpus: CpuMask = may.iter().skip(stay).collect();
    record_decision(reason, from, from - cpus.count(), load);
    let result = kernel()
        .hotplug
        .governor_down(&cpus, Hw::deadline(GO_LIMIT));
    let failed = result.as_ref().err().map(BatchError::cpus);
    state.over(Direction::Down, &cpus, failed, from, reason);
    result
}

/// Has CPUs come or go until `count` are online.
///
/// # Errors
/// [`GovernorError`]: what CPUs have refused; all others have come or gone.
pub(super) fn to(state: &mut State, count: usize, reason: Reason) -> Result<(), GovernorError> {
    // A caller asks: each CPU is asked, whatever it has answered before.
    state.stay_away = Refusals::NONE;
    state.stay_here = Refusals::NONE;
    let online = online();
    if online > count {
        let done = go(state, online - count, reason, Load::default());
        return done.map_err(GovernorError::Down);
    }
    let may_come = kernel().hotplug.governed().count();
    if online < count && may_come > 0 {
        let done = come(state, count - online, reason, Load::default());
        done.map_err(GovernorError::Up)?;
    }
    let online = self::online();
    if online < count && reason == Reason::Userspace {
        return Err(GovernorError::Short {
            wanted: count,
            online,
        });
    }
    Ok(())
}

/// Has CPUs come or go as the governor says that isn't `ondemand`, and as floor and ceiling say.
///
/// # Errors
/// As [`to`].
pub(super) fn within_bounds(state: &mut State) -> Result<(), GovernorError> {
    let tunables = state.tunables();
    let online = online();
    match state.governor {
        Governor::Ondemand => Ok(()), // Its thread does.
        Governor::Performance => to(state, tunables.max_cpus, Reason::Performance),
        Governor::Userspace if online < tunables.min_cpus => {
            to(state, tunables.min_cpus, Reason::Floor)
        }
        Governor::Userspace if online > tunables.max_cpus => {
            to(state, tunables.max_cpus, Reason::Ceiling)
        }
        Governor::Userspace => Ok(()),
    }
}

/// Returns how many CPUs threads are placed on.
fn online() -> usize {
    kernel().masks.active().count()
}

fn record_decision(reason: Reason, from: usize, to: usize, load: Load) {
    record(GovernorEvent::Decided {
        reason,
        from: short(from),
        to: short(to),
        load,
    });
}

/// Writes `event`, which happens now (`one-decides` of [`governor`](crate::kernel::governor)).
pub(super) fn record(event: GovernorEvent) {
    if is_tracing() {
        let trace = &kernel().trace;
        trace.write_governor(Hw::this_cpu(), Hw::now(), event);
    }
}

/// Returns a number of CPUs as the trace has it.
pub(super) fn short(count: usize) -> u16 {
    u16::try_from(count).expect("BUG: more CPUs than numbers")
}

impl State {
    /// Notes that `asked` have come or gone, but for those of `failed`. `from` were online before.
    fn over(
        &mut self,
        direction: Direction,
        asked: &CpuMask,
        failed: Option<CpuMask>,
        from: usize,
        reason: Reason,
    ) {
        let at = measure::now_ns();
        let failed = failed.unwrap_or(CpuMask::EMPTY);
        let moved = asked.count() - failed.count();
        let (wanted, refusals) = match direction {
            Direction::Up => (from + asked.count(), &mut self.stay_away),
            Direction::Down => (from - asked.count(), &mut self.stay_here),
        };
        refusals.note(at, asked, &failed);
        self.statistics.refused += failed.count() as u64;
        let (times, cpus) = match direction {
            Direction::Up => (&mut self.statistics.ups, &mut self.statistics.come),
            Direction::Down => (&mut self.statistics.downs, &mut self.statistics.gone),
        };
        *times += u64::from(moved > 0);
        *cpus += moved as u64;
        let to = match direction {
            Direction::Up => from + moved,
            Direction::Down => from - moved,
        };
        if let Some(policy) = &mut self.policy {
            policy.changed(at, from, to);
        }
        let (wanted, online) = (short(wanted), short(to));
        record(GovernorEvent::Done {
            reason,
            wanted,
            online,
        });
    }
}

//! The decision.

#![forbid(unsafe_code)]

use crate::governor::hold::Hold;
use crate::governor::needs::Needs;
use crate::governor::tunables::ns;
use crate::governor::{Reason, Tunables};
use crate::trace::Direction;

/// For how many percent of the time CPUs are busy that are *saturated*.
pub const SATURATED: u64 = 95;

/// For how many times `up_wait` what threads have waited is remembered.
const MEMORY: u64 = 3;

/// What was measured since the sample before. Times are nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// When it ended.
    pub at: u64,
    /// How long it is. Not 0.
    pub span: u64,
    /// How many CPUs are online at its end.
    pub online: usize,
    /// How many CPUs were online all the time: `busy` is of these.
    pub measured: usize,
    /// For how long these were busy, added up; `None` for the first sample after a rest, when it
    /// isn't known.
    pub busy: Option<u64>,
    /// For how long threads have waited for a CPU, added up.
    pub waited: u64,
    /// How many threads wait at its end.
    pub waiting: usize,
    /// How many CPUs the governor may bring up now.
    pub may_come: usize,
    /// How many it may take down now, beside the floor.
    pub may_go: usize,
    /// When CPUs that have refused may be asked again, if there are any.
    pub retry: Option<u64>,
}

/// CPUs that come or go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Whether they come or go.
    pub direction: Direction,
    /// How many; 1 at least.
    pub count: usize,
    /// Why.
    pub reason: Reason,
}

/// What is to be done after a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// CPUs come or go now. The caller tells the result by [`Policy::changed`].
    Change(Change),
    /// The next sample is taken at this time.
    Look(u64),
    /// None is, until a thread waits, an operation of another caller is over, or this time has
    /// come, at which CPUs that have refused may be asked again.
    Rest(Option<u64>),
}

/// What threads have waited in saturated samples, without another one between.
#[derive(Clone, Copy, Debug, Default)]
struct Pressure {
    waited: u64,
    span: u64,
}

impl Pressure {
    /// Adds a saturated sample. What is long ago counts for half (`wait-is-recent` of
    /// [`governor`](crate::governor)).
    fn add(&mut self, sample: &Sample, up_wait: u64) {
        while self.span > MEMORY * up_wait {
            self.waited /= 2;
            self.span /= 2;
        }
        self.waited += sample.waited;
        self.span += sample.span;
    }
}

/// The policy `ondemand`, with what it remembers.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    tunables: Tunables,
    pressure: Pressure,
    needs: Needs,
    hold: Hold,
    /// When the next change may be made (`changes-apart` of [`governor`](crate::governor)).
    free: u64,
}

impl Policy {
    /// Returns a policy that has seen nothing yet, at `at`.
    pub fn new(tunables: Tunables, at: u64) -> Policy {
        Policy {
            tunables,
            pressure: Pressure::default(),
            needs: Needs::new(at),
            hold: Hold::new(&tunables),
            free: at,
        }
    }

    /// Returns the settings.
    pub fn tunables(&self) -> &Tunables {
        &self.tunables
    }

    /// Returns for how long CPUs must have been too many now before they go, in nanoseconds.
    pub fn hold(&self) -> u64 {
        self.hold.get()
    }

    /// Works by other settings from now on, which are checked.
    pub fn set_tunables(&mut self, tunables: Tunables) {
        self.tunables = tunables;
        self.hold.set(&tunables);
    }

    /// Decides by `sample`.
    pub fn decide(&mut self, sample: &Sample) -> Decision {
        let saturated = self.note(sample);
        let change = self.change(sample, saturated);
        change.map_or_else(|| self.look(sample, saturated), Decision::Change)
    }

    /// Notes that a change is over at `at`: the number of CPUs online was `from` and is `to`.
    pub fn changed(&mut self, at: u64, from: usize, to: usize) {
        self.free = at.saturating_add(ns(self.tunables.rate_limit));
        self.pressure = Pressure::default();
        if to > from {
            self.hold.wanted(at, &self.tunables);
            // They stay for a hold.
            self.needs = Needs::new(at);
        } else if to < from {
            self.hold.went(at);
        }
    }

    /// Remembers what counts of `sample`. Returns whether it is saturated; one that can't be
    /// judged isn't.
    fn note(&mut self, sample: &Sample) -> bool {
        let Some(busy) = sample.busy else {
            // What it says counts if the next one is saturated.
            self.pressure = Pressure {
                waited: sample.waited,
                span: sample.span,
            };
            self.needs = Needs::new(sample.at);
            return false;
        };
        let whole = sample.span.saturating_mul(sample.measured as u64);
        let saturated = u128::from(busy) * 100 >= u128::from(whole) * u128::from(SATURATED);
        if saturated {
            self.pressure.add(sample, ns(self.tunables.up_wait));
        } else {
            self.pressure = Pressure::default();
        }
        let need = self.need(sample, busy);
        let least = if saturated { sample.online } else { 0 };
        self.needs.note(sample.at, need.max(least));
        saturated
    }

    /// Returns how many CPUs `busy` makes busy for `target_busy` percent at most.
    fn need(&self, sample: &Sample, busy: u64) -> usize {
        let each = u128::from(sample.span) * u128::from(self.tunables.target_busy);
        let need = (u128::from(busy) * 100).div_ceil(each.max(1));
        usize::try_from(need).unwrap_or(usize::MAX)
    }

    fn change(&mut self, sample: &Sample, saturated: bool) -> Option<Change> {
        if sample.at < self.free {
            return None;
        }
        let Tunables {
            min_cpus, max_cpus, ..
        } = self.tunables;
        let online = sample.online;
        let up = |wanted: usize, reason| change(Direction::Up, wanted.min(sample.may_come), reason);
        let down = |wanted: usize, reason| {
            let most = online.saturating_sub(min_cpus).min(sample.may_go);
            change(Direction::Down, wanted.min(most), reason)
        };
        // (within-bounds)
        if online < min_cpus {
            return up(min_cpus - online, Reason::Floor);
        }
        if online > max_cpus {
            return down(online - max_cpus, Reason::Ceiling);
        }
        let Pressure { waited, span } = self.pressure;
        if saturated && waited >= ns(self.tunables.up_wait) {
            let average = (waited + span / 2) / span.max(1);
            let count = usize::try_from(average).unwrap_or(usize::MAX).max(1);
            return up(count.min(max_cpus - online), Reason::Waiting);
        }
        let from = sample.at.saturating_sub(self.hold.get());
        let most = self.needs.most_since(from)?;
        down(online.saturating_sub(most), Reason::Idle)
    }

    /// Returns when to look again where nothing changes.
    fn look(&self, sample: &Sample, saturated: bool) -> Decision {
        let Tunables {
            min_cpus, max_cpus, ..
        } = self.tunables;
        let online = sample.online;
        let waits = sample.waiting > 0 || (saturated && sample.waited > 0);
        let grows = online < max_cpus && sample.may_come > 0 && (waits || online < min_cpus);
        let shrinks = online > min_cpus && sample.may_go > 0;
        if !grows && !shrinks {
            // (rests-at-the-floor) A thread that waits ends a rest only if CPUs may come when it
            // begins. So there is one look when those that have refused may be asked again.
            return Decision::Rest(sample.retry);
        }
        let next = ns(self.tunables.sampling_rate);
        let next = if waits {
            next.min(ns(self.tunables.up_wait) / 2)
        } else {
            next
        };
        Decision::Look(sample.at + next)
    }
}

/// Returns a change of `count` CPUs, if that isn't 0.
fn change(direction: Direction, count: usize, reason: Reason) -> Option<Change> {
    (count > 0).then_some(Change {
        direction,
        count,
        reason,
    })
}

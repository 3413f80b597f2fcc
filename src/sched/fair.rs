//! Fair shares among ordinary threads: weights, virtual time, and the time line of one
//! run queue.
//!
//! A thread's *virtual runtime* is the time for which it has run, divided by its weight:
//! of two threads that want the CPU, the one with less has had less than its share. The
//! ordinary thread with the least virtual runtime is next, for a slice
//! ([`NORMAL_SLICE`](crate::config::NORMAL_SLICE)) at a time. This is start-time fair
//! queueing (Goyal, Vin and Cheng, 1996), as in Linux's CFS. Virtual runtimes of all CPUs
//! are on one scale, and a thread that falls behind those on another CPU moves there (see
//! `balance`), as in global virtual time fair scheduling (Kim, Choi and Huh, 2018).
//!
//! ```text
//!                 credit         floor          credit
//!   ────────────┼───────────────┼──────────────┼──────────► virtual runtime
//!               │◄──── a thread that comes is put in here ────►│
//!   has slept long: here                            has run ahead elsewhere: here
//! ```
//! The *floor* of a queue is the least virtual runtime of its threads, as last seen.
//!
//! # Invariants
//! - **credit-is-bounded**: a thread that comes to a queue with ordinary threads is at
//!   most `credit` before or behind its floor if it has slept, and `carried` if it
//!   comes from another CPU, where it waited for its share. So a thread that has slept for
//!   an hour goes first, but not for an hour; and one that ran ahead on a CPU of its own
//!   waits for a few slices, and not until the others have caught up. A heavy thread that
//!   has slept is before the floor by no more than it uses up in that time on the CPU, so
//!   it delays the others no longer than a light one. A light thread is behind the floor by
//!   what it uses up in that time at most, so that sleeping gains it nothing.
//! - **floor-never-falls**: a queue's floor never falls while ordinary threads are in it.
//! - **waits-are-bounded**: beside ordinary threads only, a thread that waits has a CPU
//!   after each of the others that may run where it does has had no more than
//!   `carried * W / min(w, 1) + carried * W` and one slice, where w is its own
//!   weight and W the other's, in multiples of that of niceness 0. For n equal threads on
//!   one CPU that is 11 (n - 1) slices if they come from other CPUs, and (n - 1) if not.
//! - **weights-hold**: over a second, threads that compute for ever and may run anywhere each
//!   get their share by weight, of which no thread's is more than one CPU. With niceness -5
//!   to 5 they do within 10 % and a slice, with -10 to 10 within 20 % and two slices. With
//!   all of -20 to 19 a thread gets a quarter of its share at least, but for two slices: the
//!   slice of a light thread is more than its share of a second there.
//! - **equals-are-max-min-fair**: over a second equal threads that compute for ever get what
//!   max-min fairness gives them on the CPUs that they may use, within 5 % and a slice, or
//!   two slices if that is more. So equal threads with the same CPUs get equal time. That
//!   holds for a niceness of 5 or less: lighter threads have been seen to differ by twice as
//!   much, since what a thread is owed when it moves is little of a light thread's time. If a
//!   realtime thread takes a part of some CPUs, for however long at a time, they differ by
//!   10 % and two slices at most. If all of them sleep before their slices end, they differ by
//!   30 % and two slices at most: a sleeper is owed no more than a slice
//!   (credit-is-bounded), and must be behind by as much to move. When CPUs have come, a crowded CPU hands them one thread at the end of each slice. Until
//!   all are spread and those that waited have caught up, they also differ by what a thread
//!   may be owed (credit-is-bounded).
//! - **movers-go-first**: a thread that comes from another queue, a slice behind the thread
//!   that runs, ends that thread's turn. If it waited, the CPU that it has left could only
//!   take it back: what waits there is behind, and what is ahead runs.
//! - **yields-to-equals**: a thread that yields goes behind those that are due before a
//!   slice of its own would be over. Threads that yield to each other go further behind
//!   each time, until all others have had a turn.
//! - **debts-are-forgiven**: a queue that is further behind the clock of the machine than
//!   `forgive` is lifted with all its threads, so that their order stays. Threads that
//!   affinity holds on a crowded CPU owe nothing to the others later.
//! - **stalls-are-forgiven**: a thread behind which others wait loses the CPU when its slice is
//!   over. If it has had the CPU for more than `forgive` all the same, the CPU itself stood
//!   still, as that of a guest does that its host pauses, and the thread is charged for
//!   `forgive` only. So the others have no more than that before it, however long the pause
//!   was.
//!
//! The unit of virtual runtime is a tick of the counter at weight 1024. With a counter
//! of 1 GHz and the least weight it overflows after eight years of computing.

#![forbid(unsafe_code)]

use core::fmt;

/// How nice a thread is to the others: its weight is less by a fifth for each step. As in
/// Linux from -20 to 19, and 0 unless told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Nice(i8);

impl Nice {
    /// The least nice: the largest share.
    pub const MIN: Nice = Nice(-20);
    /// The nicest: the smallest share.
    pub const MAX: Nice = Nice(19);

    /// Returns niceness `value`, or `None` if it isn't -20 to 19.
    pub const fn new(value: i8) -> Option<Nice> {
        if Self::MIN.0 <= value && value <= Self::MAX.0 {
            Some(Nice(value))
        } else {
            None
        }
    }

    /// Returns the niceness as a number.
    pub const fn get(self) -> i8 {
        self.0
    }

    /// Returns the weight: 1024 for 0, and 1.25 times as much for each step down.
    pub(crate) const fn weight(self) -> u32 {
        WEIGHTS[(self.0 - Self::MIN.0) as usize]
    }
}

impl fmt::Display for Nice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The weight of niceness 0.
pub(crate) const WEIGHT_0: u32 = 1024;

/// The weight of each niceness, from -20 on.
#[allow(
    clippy::cast_possible_truncation,
    reason = "the largest weight is 88,818"
)]
const WEIGHTS: [u32; 40] = {
    let mut weights = [WEIGHT_0; 40];
    // 1.25 to the power of the step, in 2^32ths: exact enough for 20 steps.
    let mut power: u128 = 1 << 32;
    let mut step = 1;
    while step <= 20 {
        power = power * 5 / 4;
        weights[20 - step] = ((WEIGHT_0 as u128 * power + (1 << 31)) >> 32) as u32;
        if step < 20 {
            let quotient = ((WEIGHT_0 as u128) << 33) / power;
            weights[20 + step] = quotient.div_ceil(2) as u32;
        }
        step += 1;
    }
    weights
};

/// Returns the virtual runtime of `ticks` at `weight`.
#[inline]
pub(crate) fn virtual_ticks(ticks: u64, weight: u32) -> u64 {
    if weight == WEIGHT_0 {
        return ticks;
    }
    let ticks = u128::from(ticks) * u128::from(WEIGHT_0) / u128::from(weight);
    u64::try_from(ticks).unwrap_or(u64::MAX)
}

/// How far from the floor a thread may come to a queue (credit-is-bounded).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reach {
    before: u64,
    behind: u64,
}

/// Distances on the scale of virtual runtime, in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Distances {
    /// The length of a slice.
    pub(crate) slice: u64,
    /// The [`Reach`] of a thread that comes from a sleep.
    pub(crate) credit: u64,
    /// The [`Reach`] of a thread that comes from another CPU.
    pub(crate) carried: u64,
    /// How far a queue may be behind the clock (debts-are-forgiven), and for how much a thread
    /// is charged at once while others wait (stalls-are-forgiven).
    pub(crate) forgive: u64,
    /// By how much a thread must lead one that waits on another CPU for that to move.
    lag: u64,
}

impl Distances {
    /// Returns the distances for slices of `slice` ticks.
    pub(crate) const fn of_slice(slice: u64) -> Distances {
        Distances {
            slice,
            credit: slice,
            carried: 5 * slice,
            forgive: 50 * slice,
            lag: slice,
        }
    }

    /// Returns by how much a thread must lead one of `weight` that waits on another CPU for
    /// that to move: what the latter uses up in a slice, if that is less than a slice.
    pub(crate) fn lag(&self, weight: u32) -> u64 {
        self.lag.min(virtual_ticks(self.lag, weight))
    }

    /// Returns the reach of a thread of `weight` that comes from another queue, if it
    /// `moves`, and from a sleep otherwise.
    #[inline]
    pub(crate) fn reach(&self, moves: bool, weight: u32) -> Reach {
        let ticks = if moves { self.carried } else { self.credit };
        let own = virtual_ticks(ticks, weight);
        Reach {
            // What it waited for elsewhere it is owed, however heavy it is.
            before: if moves { ticks } else { ticks.min(own) },
            behind: ticks.max(own),
        }
    }
}

/// Where the threads of one run queue are on the scale of virtual runtime.
///
/// A thread in the queue, or running from it, keeps its place as an *offset*, which is
/// relative to the queue. Outside it keeps the absolute virtual runtime.
#[derive(Debug)]
pub(crate) struct TimeLine {
    /// What is added to an offset to get the absolute virtual runtime.
    lift: u64,
    /// The floor, as an offset.
    floor: u64,
}

impl TimeLine {
    pub(crate) const fn new() -> TimeLine {
        TimeLine { lift: 0, floor: 0 }
    }

    /// Returns the absolute virtual runtime of the thread at `offset`.
    #[inline]
    pub(crate) fn absolute(&self, offset: u64) -> u64 {
        offset.saturating_add(self.lift)
    }

    /// Returns the offset of a thread of the queue with this absolute virtual runtime.
    pub(crate) fn offset(&self, absolute: u64) -> u64 {
        absolute.saturating_sub(self.lift)
    }

    /// Returns the absolute virtual runtime of the floor.
    #[inline]
    pub(crate) fn floor(&self) -> u64 {
        self.absolute(self.floor)
    }

    /// Notes that no ordinary thread of the queue has an offset below `least`.
    #[inline]
    pub(crate) fn raise_floor(&mut self, least: u64) {
        self.floor = self.floor.max(least); // (floor-never-falls)
    }

    /// Returns the offset for a thread that comes with the absolute virtual runtime
    /// `absolute` (credit-is-bounded).
    #[inline]
    pub(crate) fn admit(&self, absolute: u64, reach: Reach) -> u64 {
        let floor = self.floor();
        // An offset is never negative.
        let low = floor.saturating_sub(reach.before).max(self.lift);
        let high = floor.saturating_add(reach.behind);
        absolute.clamp(low, high) - self.lift
    }

    /// Returns the offset for a thread that comes with `absolute` to a queue without an
    /// ordinary thread, and begins a new time line there, near the machine's `clock`.
    pub(crate) fn begin(&mut self, absolute: u64, clock: u64, reach: Reach) -> u64 {
        let low = clock.saturating_sub(reach.before);
        let high = clock.saturating_add(reach.behind);
        self.lift = 0;
        self.floor = absolute.clamp(low, high);
        self.floor
    }

    /// Lifts the queue with all its threads, if it is too far behind `clock`
    /// (debts-are-forgiven).
    pub(crate) fn forgive(&mut self, clock: u64, distances: &Distances) {
        let least = clock.saturating_sub(distances.forgive);
        self.lift += least.saturating_sub(self.floor());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const D: Distances = Distances::of_slice(100);
    const REACH: Reach = Reach {
        before: 100,
        behind: 100,
    };

    #[test]
    fn a_step_of_niceness_is_a_quarter() {
        assert_eq!(Nice::default().weight(), 1024);
        assert_eq!(Nice::MAX.weight(), 15);
        for pair in WEIGHTS.windows(2) {
            let ratio = f64::from(pair[0]) / f64::from(pair[1]);
            assert!((1.2..1.3).contains(&ratio), "{pair:?}");
        }
        assert_eq!((Nice::new(-21), Nice::new(20)), (None, None));
    }

    #[test]
    fn time_is_divided_by_the_weight() {
        assert_eq!(virtual_ticks(1000, 1024), 1000);
        assert_eq!(virtual_ticks(1000, 2048), 500);
        assert_eq!(virtual_ticks(u64::MAX, 15), u64::MAX);
    }

    #[test]
    fn a_thread_comes_near_the_floor_however_long_it_was_away() {
        let mut line = TimeLine::new();
        assert_eq!(line.begin(0, 5_000, REACH), 4_900);
        line.raise_floor(6_000);
        line.raise_floor(5_500);
        assert_eq!(line.floor(), 6_000);
        assert_eq!(line.admit(0, REACH), 5_900);
        assert_eq!(line.admit(6_050, REACH), 6_050);
        assert_eq!(line.admit(u64::MAX, REACH), 6_100);
    }

    #[test]
    fn a_heavy_thread_is_not_far_before_and_a_light_one_may_be_far_behind() {
        let mut line = TimeLine::new();
        line.begin(10_000, 10_000, REACH);
        let heavy = D.reach(false, 10 * WEIGHT_0);
        assert_eq!(line.admit(0, heavy), 9_990);
        assert_eq!(line.admit(u64::MAX, heavy), 10_100);
        let light = D.reach(false, WEIGHT_0 / 8);
        assert_eq!(line.admit(0, light), 9_900);
        assert_eq!(line.admit(u64::MAX, light), 10_800);
        assert_eq!(line.admit(0, D.reach(true, WEIGHT_0)), 9_500);
    }

    #[test]
    fn a_queue_is_lifted_with_its_threads() {
        let mut line = TimeLine::new();
        let first = line.begin(1_000, 1_000, REACH);
        let second = line.admit(1_070, REACH);
        line.forgive(1_500, &D);
        assert_eq!(line.absolute(first), 1_000, "not behind by so much");
        line.forgive(10_000, &D);
        assert_eq!(line.absolute(first), 5_000);
        assert_eq!(line.absolute(second) - line.absolute(first), 70);
        assert_eq!(line.admit(0, REACH), first - 100);
    }
}

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
//! - **equal-weights-are-alike**: among threads of one weight that compute for ever, which weight
//!   that is makes no difference: how far they may lag is a multiple of what one of them uses
//!   up in a slice. Only a heavy thread may be owed more when it moves.
//! - **credit-is-bounded**: a thread that comes to a queue with ordinary threads is at
//!   most `credit` before or behind its floor if it has slept, and `carried` if it
//!   comes from another CPU, where it waited for its share. A new thread is at the floor: it
//!   has waited for nothing. So a thread that has slept for an hour goes first, but not for
//!   an hour; and one that ran ahead on a CPU of its own waits for a few slices, and not until
//!   the others have caught up. A thread that has slept is before the floor by no more than it
//!   uses up in that time on the CPU, however heavy or light it is: so it delays the others for
//!   no longer, and equal threads that sleep are alike whatever their weight. A light thread is
//!   behind the floor by what it uses up in that time at most, so that sleeping gains it
//!   nothing; and before the floor by as much if it moves, so that it loses nothing by that.
//! - **floor-never-falls**: a queue's floor never falls while ordinary threads are in it.
//! - **waits-are-bounded**: beside ordinary threads only, a thread that waits has a CPU
//!   after each of the others that may run where it does has had no more than
//!   `carried * W / min(w, 1) + carried * max(W, 1)` and one slice, where w is its own
//!   weight and W the other's, in multiples of that of niceness 0. For n equal threads of
//!   niceness 0 or more on one CPU that is 11 (n - 1) slices if they come from other CPUs, and
//!   (n - 1) if they neither do nor sleep.
//! - **weights-hold**: over a second, threads that compute for ever and may run anywhere each
//!   get their share by weight, of which no thread's is more than one CPU. With niceness -5
//!   to 5 they do within 10 % and a slice, with -10 to 10 within 20 % and two slices. With
//!   all of -20 to 19 a thread gets a quarter of its share at least, but for two slices: the
//!   slice of a light thread is more than its share of a second there.
//! - **equals-are-max-min-fair**: over a second equal threads that compute for ever get what
//!   max-min fairness gives them on the CPUs that they may use, within 5 % and a slice. So equal
//!   threads with the same CPUs get equal time, and differ by no more than that. That holds for
//!   every niceness, if a timer interrupt comes when it should. If it comes late, or the slices
//!   of the CPUs end at different times, it is two slices, if those are more: with more than
//!   twelve threads for each CPU. The reason is that a CPU takes the thread that has had least,
//!   by however little. Two threads that are never apart by more than a slice may change their
//!   order, so that one is a slice before the other when a second begins, and a slice behind it
//!   when it ends. If realtime threads take a part of some CPUs, for however long at a time, they
//!   differ by 10 % and two slices at most: beside a single one, beside several that sleep and
//!   wake in step, and beside others if there are more ordinary threads than CPUs. With no more, a
//!   thread that finds an idle CPU each time it is preempted is never looked after. Equal
//!   threads that all sleep in the same way before their slices end share as if they computed for
//!   ever, if there are half as many again as CPUs, and one more. With fewer, a thread that finds
//!   an idle CPU each time it wakes waits for no other: they differ by 20 % and two slices at
//!   most. When CPUs have come, a crowded CPU hands them one thread at the end of each slice.
//!   Until all are spread and those that waited have caught up, they also differ by what a thread
//!   may be owed (credit-is-bounded).
//! - **movers-go-first**: a thread that comes from another queue, two slices behind the thread
//!   that runs, ends that thread's turn. If it waited, the CPU that it has left could only
//!   take it back: what waits there is behind, and what is ahead runs. A thread that is closer
//!   is next when the turn is over: with many threads, turns that are cut short make more
//!   difference than the wait.
//! - **sleepers-go-first**: a thread that wakes more than a slice behind the thread that runs
//!   ends that thread's turn, as in CFS. Else threads that sleep and wake in step would
//!   differ for ever: one wakes each time when another has just begun a turn, and waits,
//!   while a third finds an idle CPU. `credit` is two slices, so that a thread that wakes may
//!   be so far behind one that is at the floor.
//! - **yields-to-equals**: a thread that yields goes behind those that are due before a
//!   slice of its own would be over. Threads that yield to each other go further behind
//!   each time, until all others have had a turn.
//! - **debts-are-forgiven**: a queue that is further behind the clock of the machine than
//!   `forgive`, or than what a light thread uses up in that time if that is the next that can
//!   move, is lifted with all its threads, so that their order stays. Threads that affinity
//!   holds on a crowded CPU owe nothing to the others later.
//! - **the-lone-are-owed-little**: a thread that is alone on its CPU has all that it can get,
//!   however far it is behind. When the CPU of one that waits looks there, the lone thread is
//!   brought to within `carried` of that one, or what that one uses up in that time if it is
//!   light: after one slice a light thread is far ahead, which says nothing about the others.
//!   Else heavy threads that began beside light ones, whose turns are long on the scale, would
//!   crowd for seconds, until one has caught up that began alone.
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

impl Reach {
    /// That of a new thread.
    pub(crate) const NONE: Reach = Reach {
        before: 0,
        behind: 0,
    };
}

/// How far a thread that waits may lag behind another CPU until it moves there
/// (`behind-moves` of `balance`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lags {
    /// Behind the thread that is next on a CPU with less load: by what the thread's own CPU
    /// advances in [`LAG_SLICES`] slices, if that is less than the thread uses up in a slice,
    /// but by a quarter of that in any case.
    ///
    /// So of `k` equal threads each may lag by `LAG_SLICES` / `k` slices: the more they are, the
    /// less time each of them has in a second. Few threads move all the same: a CPU with
    /// `k` threads and one with `k` - 1 drift apart the more slowly by the square of `k`. The
    /// quarter is for light threads beside heavy ones, which would move all the time.
    pub(crate) behind_next: u64,
    /// Behind the thread that runs on any CPU: by what the thread that waits uses up in two
    /// slices, and a quarter of a slice more. Slices that end at the same time on two CPUs make
    /// it two slices for a moment, which is no reason to move.
    pub(crate) behind_running: u64,
}

/// For how many slices of its CPU a thread lags behind less loaded ones until it moves.
const LAG_SLICES: u64 = 4;

/// Where a CPU is on the scale of virtual runtime: absolute, for threads of other CPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Front {
    /// The ordinary thread that runs.
    pub(crate) running: u64,
    /// Before this a thread that comes would be next.
    pub(crate) next: u64,
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
}

impl Distances {
    /// Returns the distances for slices of `slice` ticks.
    pub(crate) const fn of_slice(slice: u64) -> Distances {
        Distances {
            slice,
            credit: 2 * slice,
            carried: 5 * slice,
            forgive: 50 * slice,
        }
    }

    /// Returns what a thread of `weight` uses up in a slice: the unit of all that it may lag
    /// (equal-weights-are-alike).
    pub(crate) fn lag(&self, weight: u32) -> u64 {
        virtual_ticks(self.slice, weight)
    }

    /// Returns by how much a thread of `weight` may lag where the weights add up to `load`.
    pub(crate) fn lags(&self, weight: u32, load: u64) -> Lags {
        let slice = self.lag(weight);
        let load = u32::try_from(load).unwrap_or(u32::MAX);
        let advance = virtual_ticks(LAG_SLICES * self.slice, load);
        Lags {
            behind_next: advance.clamp(slice / 4, slice),
            behind_running: slice.saturating_mul(9) / 4,
        }
    }

    /// Returns how far a queue may be behind the clock whose next thread that can move is of
    /// `weight` (debts-are-forgiven).
    fn forgive(&self, weight: u32) -> u64 {
        self.forgive.max(virtual_ticks(self.forgive, weight))
    }

    /// Returns the reach of a thread of `weight` that comes from another queue, if it
    /// `moves`, and from a sleep otherwise.
    #[inline]
    pub(crate) fn reach(&self, moves: bool, weight: u32) -> Reach {
        let ticks = if moves { self.carried } else { self.credit };
        let own = virtual_ticks(ticks, weight);
        Reach {
            // What it waited for elsewhere it is owed, however heavy or light it is.
            before: if moves { ticks.max(own) } else { own },
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

    /// Lifts the queue so that its thread at `offset` is no further behind `absolute` than
    /// `reach` (the-lone-are-owed-little).
    pub(crate) fn lift_to(&mut self, offset: u64, absolute: u64, reach: Reach) {
        let least = absolute.saturating_sub(reach.before);
        self.lift += least.saturating_sub(self.absolute(offset));
    }

    /// Lifts the queue with all its threads, if it is too far behind `clock` for one of
    /// `weight` that may move (debts-are-forgiven).
    pub(crate) fn forgive(&mut self, clock: u64, distances: &Distances, weight: u32) {
        let least = clock.saturating_sub(distances.forgive(weight));
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
        assert_eq!(line.admit(0, heavy), 9_980);
        assert_eq!(line.admit(u64::MAX, heavy), 10_200);
        let light = D.reach(false, WEIGHT_0 / 8);
        assert_eq!(line.admit(0, light), 8_400);
        assert_eq!(line.admit(u64::MAX, light), 11_600);
        assert_eq!(line.admit(0, D.reach(true, WEIGHT_0)), 9_500);
        assert_eq!(line.admit(0, D.reach(true, 10 * WEIGHT_0)), 9_500);
        assert_eq!(line.admit(0, D.reach(true, WEIGHT_0 / 8)), 6_000);
    }

    #[test]
    fn a_lone_thread_is_lifted_to_within_reach() {
        let mut line = TimeLine::new();
        let lone = line.begin(1_000, 1_000, REACH);
        line.lift_to(lone, 1_100, REACH);
        assert_eq!(line.absolute(lone), 1_000);
        line.lift_to(lone, 3_000, REACH);
        assert_eq!(line.absolute(lone), 2_900);
        line.lift_to(lone, 1_000, REACH);
        assert_eq!(line.absolute(lone), 2_900, "it never falls");
    }

    #[test]
    fn a_queue_is_lifted_with_its_threads() {
        let mut line = TimeLine::new();
        let first = line.begin(1_000, 1_000, REACH);
        let second = line.admit(1_070, REACH);
        line.forgive(1_500, &D, WEIGHT_0);
        assert_eq!(line.absolute(first), 1_000, "not behind by so much");
        line.forgive(10_000, &D, WEIGHT_0);
        assert_eq!(line.absolute(first), 5_000);
        assert_eq!(line.absolute(second) - line.absolute(first), 70);
        line.forgive(13_000, &D, WEIGHT_0 / 2);
        assert_eq!(
            line.absolute(first),
            5_000,
            "not behind by so much if light"
        );
        assert_eq!(line.admit(0, REACH), first - 100);
    }
}

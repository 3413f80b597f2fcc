//! A thread's share of the CPUs as an ordinary thread: its niceness, its virtual runtime,
//! and its turn in its run queue.

#![forbid(unsafe_code)]

use crate::sched::Nice;
use crate::sched::fair::{TimeLine, WEIGHT_0, virtual_ticks};
use crate::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};

/// A thread's share. All fields are Relaxed: they change under the lock of the run queue
/// to which the thread belongs.
#[derive(Debug)]
pub(crate) struct Share {
    /// The niceness, as its bits.
    nice: AtomicU8,
    /// Cached `nice.weight()`.
    weight: AtomicU32,
    /// The virtual runtime, in ticks at weight 1024. While the thread is queued or runs
    /// it is an offset on its queue's [`TimeLine`], else it is absolute.
    runtime: AtomicU64,
    /// What the thread has been charged for and is too little to count in `runtime`, in
    /// parts of a tick there, `weight` of which are a whole one. Without it many short turns
    /// of a heavy thread would cost it nothing.
    rest: AtomicU64,
    /// The key of the queued thread: the least is next. It differs from `runtime` for a
    /// thread that was put in front or yields.
    turn: AtomicU64,
    /// The thread has left a queue where it waited for its share, and is in no other yet.
    moves: AtomicBool,
}

impl Share {
    pub(crate) fn new(nice: Nice) -> Share {
        Share {
            nice: AtomicU8::new(nice.get().cast_unsigned()),
            weight: AtomicU32::new(nice.weight()),
            runtime: AtomicU64::new(0),
            rest: AtomicU64::new(0),
            turn: AtomicU64::new(0),
            moves: AtomicBool::new(false),
        }
    }

    /// Returns the thread's niceness.
    pub(crate) fn nice(&self) -> Nice {
        Nice::new(self.nice.load(Ordering::Relaxed).cast_signed())
            .expect("BUG: a niceness out of range")
    }

    /// Sets the thread's niceness.
    ///
    /// # Context
    /// Under the run-queue lock; the thread isn't queued.
    pub(crate) fn set_nice(&self, nice: Nice) {
        self.nice
            .store(nice.get().cast_unsigned(), Ordering::Relaxed);
        self.weight.store(nice.weight(), Ordering::Relaxed);
        self.rest.store(0, Ordering::Relaxed);
    }

    /// Returns the thread's weight.
    #[inline]
    pub(crate) fn weight(&self) -> u32 {
        self.weight.load(Ordering::Relaxed)
    }

    /// Returns the virtual runtime.
    #[inline]
    pub(crate) fn runtime(&self) -> u64 {
        self.runtime.load(Ordering::Relaxed)
    }

    pub(crate) fn set_runtime(&self, runtime: u64) {
        self.runtime.store(runtime, Ordering::Relaxed);
    }

    /// Charges the thread for `ticks` on the CPU. Returns its virtual runtime.
    #[inline]
    pub(crate) fn charge(&self, ticks: u64) -> u64 {
        let runtime = self.runtime() + self.spend(ticks);
        self.set_runtime(runtime);
        runtime
    }

    /// Does as [`Share::virtual_ticks`], and leaves the rest of the division for the next
    /// time.
    #[inline]
    fn spend(&self, ticks: u64) -> u64 {
        let weight = self.weight();
        if weight == WEIGHT_0 {
            return ticks;
        }
        let rest = self.rest.load(Ordering::Relaxed);
        // Saturates if the thread has run alone for months.
        let parts = ticks
            .saturating_mul(u64::from(WEIGHT_0))
            .saturating_add(rest);
        self.rest
            .store(parts % u64::from(weight), Ordering::Relaxed);
        parts / u64::from(weight)
    }

    /// Returns what `ticks` on the CPU add to the thread's virtual runtime.
    #[inline]
    pub(crate) fn virtual_ticks(&self, ticks: u64) -> u64 {
        virtual_ticks(ticks, self.weight())
    }

    /// Makes the virtual runtime absolute: the thread leaves the queue with `line`.
    #[inline]
    pub(crate) fn leave(&self, line: &TimeLine) {
        self.set_runtime(line.absolute(self.runtime()));
    }

    /// Returns whether the thread, which is in no queue, has never been on a time line.
    #[inline]
    pub(crate) fn is_new(&self) -> bool {
        self.runtime() == 0
    }

    /// Notes that the thread leaves a queue where it waited for its share.
    pub(crate) fn moves(&self) {
        self.moves.store(true, Ordering::Relaxed);
    }

    /// Returns whether the thread comes from another queue, and not from a sleep. Forgets
    /// it.
    #[inline]
    pub(crate) fn comes_from_queue(&self) -> bool {
        let moves = self.moves.load(Ordering::Relaxed);
        if moves {
            self.moves.store(false, Ordering::Relaxed);
        }
        moves
    }

    /// Takes [`Share::leave`] back: the thread is still in the queue with `line`.
    pub(crate) fn enter(&self, line: &TimeLine) {
        self.set_runtime(line.offset(self.runtime()));
    }

    /// Returns the thread's key in its queue.
    #[inline]
    pub(crate) fn turn(&self) -> u64 {
        self.turn.load(Ordering::Relaxed)
    }

    /// Sets the key: the virtual runtime, but `latest` at most.
    #[inline]
    pub(crate) fn take_turn_by(&self, latest: u64) {
        self.turn
            .store(self.runtime().min(latest), Ordering::Relaxed);
    }

    /// Sets the key: the virtual runtime, but `earliest` at least.
    #[inline]
    pub(crate) fn take_turn_after(&self, earliest: u64) {
        self.turn
            .store(self.runtime().max(earliest), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_short_turns_cost_as_much_as_a_long_one() {
        for nice in Nice::MIN.get()..=Nice::MAX.get() {
            let nice = Nice::new(nice).expect("in range");
            let [short, long] = [(), ()].map(|()| Share::new(nice));
            for _ in 0..10_000 {
                short.charge(1);
            }
            long.charge(10_000);
            assert_eq!(short.runtime(), long.runtime(), "niceness {nice}");
        }
    }
}

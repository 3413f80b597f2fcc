//! Which CPUs are idle, which run something less urgent, and where a realtime thread
//! waits: bit maps, so that neither a waker nor a CPU that looks for work scans all CPUs.
//!
//! ```text
//!   a CPU goes idle                        a thread is left waiting behind another
//!   ───────────────                        ───────────────────────────────────────
//!   sets its bit in `idle`                 says that a thread waits here
//!   fence(SeqCst)        seen-by-one       fence(SeqCst)
//!   does a thread wait somewhere?          is a CPU idle?
//!     yes: it takes the thread               yes: it claims and wakes that CPU
//! ```
//! The same goes for a CPU that turns to something less urgent (it publishes its level,
//! then looks for a realtime thread that waits) and for a realtime thread that is left
//! waiting (its CPU publishes that, then looks for a less urgent CPU).
//!
//! # Invariants
//! - **seen-by-one**: a thread that waits and a CPU that could run it don't miss each
//!   other: at least one of both sides sees the other (store buffering; both fences are
//!   needed).
//! - **one-claim**: of all that want to send work to an idle CPU, the one that clears its
//!   bit may count on finding it idle. The others look further.
//! - **level-under-lock**: what is published of a CPU changes under the lock of its run
//!   queue. Readers get hints.
//!
//! `tests/loom_cpu_map.rs` model-checks this file.

#![forbid(unsafe_code)]

use crate::cpu::{CpuId, CpuMask};
use crate::sched::class::NORMAL_LEVEL;
use crate::sync::AtomicBits;
use crate::sync::atomic::{Ordering, fence};

/// Number of levels above the ordinary one that are told apart. A model has a few only,
/// because loom makes all atomics anew for each execution.
const LEVELS: usize = if cfg!(loom) { 3 } else { NORMAL_LEVEL };

/// The maps. All accesses are Relaxed; where order matters a fence says so.
#[derive(Debug)]
pub struct CpuMap {
    /// Number of words in which a CPU can be found.
    words: usize,
    /// CPUs that have no work, and that no other CPU has claimed yet.
    idle: AtomicBits,
    /// CPUs that run, or are about to run, something above the ordinary level.
    urgent: AtomicBits,
    /// The same CPUs, by level.
    by_level: [AtomicBits; LEVELS],
    /// The levels at which any CPU has been, because a program has few and a search has to be
    /// short: it is done with IRQs masked. A bit for each level; none is cleared.
    used: AtomicBits,
    /// CPUs behind whose running thread a movable realtime thread waits.
    waiting: AtomicBits,
}

impl CpuMap {
    /// Returns the maps of a machine with `cpus` CPUs, of which none is idle.
    pub fn new(cpus: usize) -> CpuMap {
        CpuMap {
            words: cpus.div_ceil(64),
            idle: AtomicBits::new(),
            urgent: AtomicBits::new(),
            by_level: core::array::from_fn(|_| AtomicBits::new()),
            used: AtomicBits::new(),
            waiting: AtomicBits::new(),
        }
    }

    /// Says that `cpu` has no work, and orders that before a look for work that follows
    /// (seen-by-one).
    ///
    /// # Context
    /// `cpu` itself.
    pub fn go_idle(&self, cpu: CpuId) {
        self.idle.set(cpu.index(), Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Returns whether any CPU is idle.
    #[inline]
    pub fn any_idle(&self) -> bool {
        self.any(&self.idle)
    }

    /// Returns the idle CPUs of those in the words that `among_fn` returns.
    pub fn idle_of(&self, among_fn: impl Fn(usize) -> u64) -> CpuMask {
        CpuMask::from_bits(core::array::from_fn(|word| {
            self.idle.word(word, Ordering::Relaxed) & among_fn(word)
        }))
    }

    /// Returns whether `cpu` is idle and unclaimed.
    #[inline]
    pub fn is_idle(&self, cpu: CpuId) -> bool {
        self.idle.get(cpu.index(), Ordering::Relaxed)
    }

    /// Claims `cpu`, if it is idle. Returns whether it was (one-claim).
    #[inline]
    pub fn claim(&self, cpu: CpuId) -> bool {
        self.is_idle(cpu) && self.idle.clear(cpu.index(), Ordering::Relaxed)
    }

    /// Claims an idle CPU of those in the words that `among_fn` returns; one from `near`
    /// on, if there is one.
    pub fn claim_near(&self, near: CpuId, among_fn: impl Fn(usize) -> u64) -> Option<CpuId> {
        loop {
            let idle = |word| self.idle.word(word, Ordering::Relaxed) & among_fn(word);
            let cpu = self.nearest(near, idle)?;
            if self.idle.clear(cpu.index(), Ordering::Relaxed) {
                return Some(cpu);
            }
            // Another CPU has claimed it: its bit is clear now, so the loop ends.
        }
    }

    /// Publishes that the most urgent level of `cpu` was `from` and is `to`
    /// (level-under-lock).
    pub fn publish_level(&self, cpu: CpuId, from: usize, to: usize) {
        if to < LEVELS {
            if !self.used.get(to, Ordering::Relaxed) {
                self.used.set(to, Ordering::Relaxed);
            }
            self.by_level[to].set(cpu.index(), Ordering::Relaxed);
            self.urgent.set(cpu.index(), Ordering::Relaxed);
        } else {
            self.urgent.clear(cpu.index(), Ordering::Relaxed);
        }
        if from < LEVELS {
            self.by_level[from].clear(cpu.index(), Ordering::Relaxed);
        }
    }

    /// Publishes whether a movable realtime thread waits on `cpu` (level-under-lock).
    pub fn publish_waiting(&self, cpu: CpuId, waits: bool) {
        if waits {
            self.waiting.set(cpu.index(), Ordering::Relaxed);
        } else {
            self.waiting.clear(cpu.index(), Ordering::Relaxed);
        }
    }

    /// Orders what this CPU has published before what it looks at next (seen-by-one).
    pub fn published(&self) {
        fence(Ordering::SeqCst);
    }

    /// Returns whether a movable realtime thread waits anywhere.
    #[inline]
    pub fn any_waiting(&self) -> bool {
        self.any(&self.waiting)
    }

    /// Returns the CPUs on which a movable realtime thread waits.
    pub fn waiting(&self) -> impl Iterator<Item = CpuId> {
        (0..self.words).flat_map(|word| {
            let mut left = self.waiting.word(word, Ordering::Relaxed);
            core::iter::from_fn(move || {
                let bit = left.trailing_zeros() as usize;
                left &= left.wrapping_sub(1);
                CpuId::new(64 * word + bit).filter(|_| bit < 64)
            })
        })
    }

    /// Returns whether a CPU other than `cpu` is in the words that `among_fn` returns.
    pub fn is_another(&self, cpu: CpuId, among_fn: impl Fn(usize) -> u64) -> bool {
        let (own, bit) = (cpu.index() / 64, cpu.index() % 64);
        (0..self.words).any(|word| {
            let not = if word == own { 1 << bit } else { 0 };
            among_fn(word) & !not != 0
        })
    }

    /// Returns a CPU, of those in the words that `among_fn` returns, that runs nothing as
    /// urgent as `level`: the least urgent one, and of those the one nearest to `near`.
    pub fn less_urgent(
        &self,
        level: usize,
        near: CpuId,
        among_fn: impl Fn(usize) -> u64,
    ) -> Option<CpuId> {
        let ordinary = |word| !self.urgent.word(word, Ordering::Relaxed) & among_fn(word);
        self.nearest(near, ordinary).or_else(|| {
            self.used_below(level).find_map(|lower| {
                let at_it = &self.by_level[lower];
                self.nearest(near, |word| {
                    at_it.word(word, Ordering::Relaxed) & among_fn(word)
                })
            })
        })
    }

    /// Returns the levels less urgent than `level` at which any CPU has been, the least urgent
    /// first.
    fn used_below(&self, level: usize) -> impl Iterator<Item = usize> {
        (0..LEVELS.div_ceil(64)).rev().flat_map(move |word| {
            let mut left = self.used.word(word, Ordering::Relaxed);
            core::iter::from_fn(move || {
                let bit = left.checked_ilog2()? as usize;
                left ^= 1 << bit;
                Some(64 * word + bit).filter(|used| *used > level)
            })
        })
    }

    #[inline]
    fn any(&self, bits: &AtomicBits) -> bool {
        (0..self.words).any(|word| bits.word(word, Ordering::Relaxed) != 0)
    }

    /// Returns the first CPU from `near` on, and round, whose bit is set in the words that
    /// `word_fn` returns.
    fn nearest(&self, near: CpuId, word_fn: impl Fn(usize) -> u64) -> Option<CpuId> {
        let (first, bit) = (near.index() / 64, near.index() % 64);
        let above = u64::MAX << bit;
        let found = |word: usize, mask: u64| {
            let bits = word_fn(word) & mask;
            (bits != 0).then(|| 64 * word + bits.trailing_zeros() as usize)
        };
        found(first, above)
            .or_else(|| {
                let others = (first + 1..self.words).chain(0..first);
                others.into_iter().find_map(|word| found(word, u64::MAX))
            })
            .or_else(|| found(first, !above))
            .and_then(CpuId::new)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::sched::{Class, Priority};

    fn cpu(index: usize) -> CpuId {
        CpuId::new(index).expect("small")
    }

    fn level(priority: u8) -> usize {
        Class::fifo(Priority::new(priority).expect("1 to 99")).level()
    }

    #[test]
    fn an_idle_cpu_is_claimed_once() {
        let map = CpuMap::new(130);
        for index in [3, 70, 129] {
            map.go_idle(cpu(index));
        }
        let all = |_| u64::MAX;
        assert_eq!(map.claim_near(cpu(71), all), Some(cpu(129)));
        assert_eq!(
            map.claim_near(cpu(71), |word| u64::from(word == 1) * u64::MAX),
            Some(cpu(70))
        );
        assert_eq!(map.claim_near(cpu(71), all), Some(cpu(3)));
        assert_eq!(map.claim_near(cpu(71), all), None);
        assert!(!map.any_idle() && !map.claim(cpu(3)));
    }

    #[test]
    fn another_cpu_is_found_in_any_word() {
        let map = CpuMap::new(130);
        let own = |word| u64::from(word == 1) << 7;
        assert!(!map.is_another(cpu(71), own));
        assert!(map.is_another(cpu(7), own));
        assert!(map.is_another(cpu(71), |word| own(word) | u64::from(word == 2)));
        assert!(!map.is_another(cpu(71), |_| 0));
    }

    #[test]
    fn the_least_urgent_cpu_is_found() {
        let map = CpuMap::new(3);
        let allowed = |_| 0b111;
        assert_eq!(map.less_urgent(level(50), cpu(1), allowed), Some(cpu(1)));
        for (index, priority) in [(0, 10), (1, 50), (2, 20)] {
            map.publish_level(cpu(index), NORMAL_LEVEL, level(priority));
        }
        assert_eq!(map.less_urgent(level(50), cpu(1), allowed), Some(cpu(0)));
        assert_eq!(map.less_urgent(level(50), cpu(1), |_| 0b110), Some(cpu(2)));
        assert_eq!(map.less_urgent(level(20), cpu(1), |_| 0b110), None);
        map.publish_level(cpu(2), level(20), NORMAL_LEVEL);
        assert_eq!(map.less_urgent(level(1), cpu(1), allowed), Some(cpu(2)));
    }

    #[test]
    fn cpus_with_waiting_threads_are_listed() {
        let map = CpuMap::new(130);
        map.publish_waiting(cpu(129), true);
        map.publish_waiting(cpu(5), true);
        map.publish_waiting(cpu(63), true);
        map.publish_waiting(cpu(5), false);
        assert!(map.waiting().eq([cpu(63), cpu(129)]));
    }
}

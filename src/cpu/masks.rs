//! The masks of the machine: which CPUs exist, are online, and are active.
//!
//! # Invariants
//! - **active-is-online**: possible ⊇ online ⊇ active, at every instant. So a CPU
//!   becomes online before it becomes active, and stops being active first.
//! - **leaves-in-still-point**: with preemption off, a CPU can't leave `online`: it is
//!   cleared in a still point only. Another CPU may join meanwhile.
//! - **own-bit**: each bit has one writer, the CPU that it stands for.

use crate::cpu::{CpuId, CpuMask};
use crate::sync::AtomicBits;
use crate::sync::atomic::Ordering;

/// The masks of one machine.
#[derive(Debug)]
pub struct CpuMasks {
    possible: CpuMask,
    /// The CPUs that are online. Set with Release by `init:online`, pairs with the
    /// Acquire of readers: a reader that sees the bit sees all that the CPU did before
    /// it. Cleared inside a still point, through whose end every reader has passed.
    online: AtomicBits,
    /// The CPUs that are active. Set with Release by `sched:active`, read with Acquire
    /// by code that places work. After a clear, `sync:active` waits until no code holds
    /// the old mask.
    active: AtomicBits,
    /// The CPUs that the still point which is about to begin, or has begun, takes down. The
    /// control CPU writes it with the stop mutex held, before the stop and after it. Relaxed:
    /// it is read in the still point, which the stop orders.
    dying: AtomicBits,
}

impl CpuMasks {
    /// Returns the masks of a machine whose device tree lists `possible`.
    pub fn new(possible: CpuMask) -> CpuMasks {
        CpuMasks {
            possible,
            online: AtomicBits::new(),
            active: AtomicBits::new(),
            dying: AtomicBits::new(),
        }
    }

    /// Returns the CPUs that the device tree lists. They never change.
    pub fn possible(&self) -> &CpuMask {
        &self.possible
    }

    /// Returns the CPUs that take interrupts. Each word is a snapshot of its own.
    pub fn online(&self) -> CpuMask {
        CpuMask::from_bits(self.online.snapshot(Ordering::Acquire))
    }

    /// Returns word `word` of [`CpuMasks::online`], the CPUs from `64 * word` on, as
    /// one snapshot.
    ///
    /// # Panics
    /// If a mask has no such word.
    #[inline]
    pub fn online_word(&self, word: usize) -> u64 {
        self.online.word(word, Ordering::Acquire)
    }

    /// Returns the CPUs on which the scheduler may place work.
    pub fn active(&self) -> CpuMask {
        CpuMask::from_bits(self.active.snapshot(Ordering::Acquire))
    }

    /// Returns word `word` of [`CpuMasks::active`], the CPUs from `64 * word` on, as
    /// one snapshot.
    ///
    /// # Panics
    /// If a mask has no such word.
    #[inline]
    pub fn active_word(&self, word: usize) -> u64 {
        self.active.word(word, Ordering::Acquire)
    }

    /// Returns whether `cpu` is online.
    pub fn is_online(&self, cpu: CpuId) -> bool {
        self.online.get(cpu.index(), Ordering::Acquire)
    }

    /// Returns whether `cpu` is active.
    pub fn is_active(&self, cpu: CpuId) -> bool {
        self.active.get(cpu.index(), Ordering::Acquire)
    }

    /// Returns whether this CPU, `me`, may give `cpu` something to do: whether `cpu` is online.
    /// If `me` has left `online` itself, in the still point that takes it down, `cpu` may leave
    /// at this moment too, if it is one of those that go.
    ///
    /// # Context
    /// Preemption off.
    #[inline]
    pub fn may_give_work(&self, me: CpuId, cpu: CpuId) -> bool {
        let goes_too = || self.dying.get(cpu.index(), Ordering::Relaxed) && !self.is_online(me);
        self.is_online(cpu) && !goes_too()
    }

    /// Marks `cpus` as the CPUs that the next still point takes down, or removes the marks.
    ///
    /// # Context
    /// The control CPU, with the stop mutex held.
    pub fn set_dying(&self, cpus: &CpuMask, dying: bool) {
        for cpu in cpus.iter() {
            if dying {
                self.dying.set(cpu.index(), Ordering::Relaxed);
            } else {
                self.dying.clear(cpu.index(), Ordering::Relaxed);
            }
        }
    }

    /// Sets `cpu`'s online bit.
    ///
    /// # Context
    /// `cpu` itself, IRQs masked (`init:online`).
    ///
    /// # Panics
    /// If the bit was set already: the CPU would be running twice.
    pub fn set_online(&self, cpu: CpuId) {
        assert!(
            self.online.set(cpu.index(), Ordering::Release),
            "BUG: {cpu:?} came online twice"
        );
    }

    /// Clears `cpu`'s online bit.
    ///
    /// # Context
    /// `cpu` itself (own-bit), inside the still point (leaves-in-still-point).
    ///
    /// # Panics
    /// If the bit was clear already, or the CPU is still active (active-is-online).
    pub fn clear_online(&self, cpu: CpuId) {
        assert!(
            !self.is_active(cpu),
            "BUG: {cpu:?} leaves `online` while active"
        );
        assert!(
            self.online.clear(cpu.index(), Ordering::Release),
            "BUG: {cpu:?} went offline twice"
        );
    }

    /// Sets or clears `cpu`'s active bit.
    ///
    /// # Context
    /// Thread on `cpu` (`sched:active`).
    ///
    /// # Panics
    /// If an offline CPU would become active (active-is-online).
    pub fn set_active(&self, cpu: CpuId, active: bool) {
        if active {
            assert!(
                self.is_online(cpu),
                "BUG: {cpu:?} becomes active while not online"
            );
            self.active.set(cpu.index(), Ordering::Release);
        } else {
            self.active.clear(cpu.index(), Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cpu_is_online_before_it_is_active() {
        let masks = CpuMasks::new(CpuMask::first_n(2));
        masks.set_online(CpuId::BOOT);
        masks.set_active(CpuId::BOOT, true);
        assert!(masks.active().is_subset_of(&masks.online()));
        masks.set_active(CpuId::BOOT, false);
        masks.clear_online(CpuId::BOOT);
        assert!(masks.online().is_empty());
    }

    #[test]
    #[should_panic(expected = "leaves `online` while active")]
    fn an_active_cpu_can_not_leave_online() {
        let masks = CpuMasks::new(CpuMask::first_n(1));
        masks.set_online(CpuId::BOOT);
        masks.set_active(CpuId::BOOT, true);
        masks.clear_online(CpuId::BOOT);
    }
}

use core::sync::atomic::{AtomicU64, Ordering};

use stillpoint::api::sync::{CachePadded, IrqGuard, Nesting, SpinLock, SpinLockGuard};

/// What interrupt handlers fill and threads empty. So each side masks IRQs: a handler that
/// interrupted its own CPU inside the lock would wait for ever.
pub(crate) struct Ring {
    slots: SpinLock<[u32; 16]>,
    /// Counted on all CPUs, without the lock; on a cache line that the lock isn't on.
    lost: CachePadded<AtomicU64>,
}

impl Ring {
    pub(crate) const fn new() -> Ring {
        Ring {
            slots: SpinLock::new([0; 16]),
            lost: CachePadded(AtomicU64::new(0)),
        }
    }

    /// For handlers: waits for a few instructions of another CPU at most.
    pub(crate) fn push(&self, value: u32) {
        if !put(self.slots.lock_irqsave(), value) {
            self.lost.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// For those that must not wait even that long, such as a panic's hook.
    pub(crate) fn push_or_lose(&self, value: u32) -> bool {
        match self.slots.try_lock_irqsave() {
            Some(slots) => put(slots, value),
            None => false,
        }
    }

    /// Exchanges what is in two rings. Each CPU takes the lock at the lower address first, so that
    /// no two wait for each other.
    pub(crate) fn exchange(&self, other: &Ring) {
        let is_lower = core::ptr::from_ref(self) < core::ptr::from_ref(other);
        let (low, high) = if is_lower {
            (self, other)
        } else {
            (other, self)
        };
        let mut low = low.slots.lock_irqsave();
        let mut high = high.slots.lock_irqsave_nested(Nesting::Ascending);
        core::mem::swap(&mut *low, &mut *high);
    }

    /// Empties several rings at one moment: what a handler of this CPU would put into one of them
    /// comes after all. IRQs are masked once.
    pub(crate) fn drain(rings: &[Ring], mut drain_fn: impl FnMut(u32)) {
        let masked = IrqGuard::new();
        for ring in rings {
            let mut slots = ring.slots.lock_masked(&masked);
            let full = slots.iter_mut().filter(|slot| **slot != 0);
            full.for_each(|slot| drain_fn(core::mem::take(slot)));
        }
    }
}

/// Puts `value` into a free slot. The lock opens when `slots` is dropped, here.
fn put(mut slots: SpinLockGuard<'_, [u32; 16]>, value: u32) -> bool {
    let free = slots.iter_mut().find(|slot| **slot == 0);
    free.map(|slot| *slot = value).is_some()
}

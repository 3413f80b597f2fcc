//! One value for each CPU of the machine.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use crate::cpu::CpuId;
use crate::sync::CachePadded;

/// A `T` for each possible CPU, each in cache lines of its own. A CPU that is off keeps its
/// value, so its counts stay part of every sum.
pub struct PerCpu<T> {
    slots: Box<[CachePadded<T>]>,
}

impl<T> PerCpu<T> {
    /// Returns the values of CPUs 0 to `cpus - 1`, each made by `make_fn`.
    pub fn new(cpus: usize, mut make_fn: impl FnMut(CpuId) -> T) -> PerCpu<T> {
        // Not collected: without optimization each adapter has a frame with a value, some of them
        // are of 4 KiB, and the boot stack isn't large.
        let mut slots = Vec::with_capacity(cpus);
        for cpu in (0..cpus).filter_map(CpuId::new) {
            slots.push(CachePadded(make_fn(cpu)));
        }
        PerCpu {
            slots: slots.into(),
        }
    }

    /// Returns the value of `cpu`.
    ///
    /// # Panics
    /// If `cpu` is not possible on this machine.
    #[inline]
    pub fn get(&self, cpu: CpuId) -> &T {
        match self.slots.get(cpu.index()) {
            Some(slot) => &slot.0,
            None => not_possible(cpu),
        }
    }

    /// Returns the value of `cpu`, if that is possible on this machine.
    #[inline]
    pub fn try_get(&self, cpu: CpuId) -> Option<&T> {
        self.slots.get(cpu.index()).map(|slot| &slot.0)
    }

    /// Returns an iterator over the possible CPUs and their values.
    pub fn iter(&self) -> impl Iterator<Item = (CpuId, &T)> {
        self.slots
            .iter()
            .enumerate()
            .filter_map(|(index, slot)| Some((CpuId::new(index)?, &slot.0)))
    }
}

/// Takes the number by value: a message that borrowed it would have every caller of
/// [`PerCpu::get`] store it on its stack first.
#[cold]
#[inline(never)]
fn not_possible(cpu: CpuId) -> ! {
    panic!("BUG: {cpu:?} is not possible on this machine");
}

impl<T: fmt::Debug> fmt::Debug for PerCpu<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

//! A lock validator for the locks of one act: the kernel's own code, with a graph of its own.
//!
//! The kernel's validator panics at the first order of locks that could deadlock. A lab takes
//! locks in such an order on purpose, and in release builds too. So its locks are not those of
//! the kernel's graph, and it asks this one before it takes them.

use alloc::boxed::Box;
use core::panic::Location;

use crate::sync::lockdep::{HeldLocks, LockClass, LockKind, Lockdep, Report, Taking, Where};
use crate::sync::{IrqGuard, LocalCpu, SpinLock};

/// Room for the classes of an act.
const CLASSES: usize = 4;
/// And for the orders of them.
const LINKS: usize = 8;

/// A lock of an act: what it is called, and where the act says so.
#[derive(Clone, Copy, Debug)]
pub struct Ordered(LockClass);

impl Ordered {
    /// Returns a lock whose name `name_fn` returns.
    #[track_caller]
    pub const fn new(kind: LockKind, name_fn: fn() -> &'static str) -> Ordered {
        Ordered(LockClass {
            kind,
            site: Location::caller(),
            type_name_fn: name_fn,
            level: 0,
        })
    }
}

/// The locks that one thread of the act holds, by its name.
pub struct Holder<E: LocalCpu> {
    name: &'static str,
    held: SpinLock<HeldLocks, E>,
}

impl<E: LocalCpu> Holder<E> {
    /// Returns a thread that holds none.
    pub const fn new(name: &'static str) -> Self {
        Holder {
            name,
            held: SpinLock::new_untracked(HeldLocks::new()),
        }
    }
}

/// The orders in which the threads of an act have taken its locks.
pub struct Orders<E: LocalCpu>(Box<Lockdep<E, CLASSES, LINKS>>);

impl<E: LocalCpu> Orders<E> {
    /// Returns a validator that has seen nothing.
    pub fn new() -> Self {
        Orders(Box::new(Lockdep::new()))
    }

    /// Says that `holder` is about to take `lock` and will wait for it.
    ///
    /// # Errors
    /// The report: this can deadlock. The lock doesn't count as taken.
    ///
    /// # Panics
    /// If the act has too many locks.
    #[track_caller]
    pub fn takes(&self, holder: &Holder<E>, lock: &Ordered) -> Result<(), Box<Report>> {
        let number = self.0.number(lock.0).expect("BUG: an act of more locks");
        let taking = Taking {
            number,
            base: number,
            class: lock.0,
            instance: usize::from(number),
            waits: true,
            ascending: false,
            at: Location::caller(),
            place: Where {
                in_irq: false,
                irqs_on: true,
            },
            who: holder.name,
        };
        let _masked = IrqGuard::<E>::new();
        let taken = self.0.acquire(&mut holder.held.lock_irqsave(), &taking);
        taken.map_err(Box::new)
    }

    /// Says that `holder` opens `lock`.
    pub fn opens(&self, holder: &Holder<E>, lock: &Ordered) {
        if let Some(number) = self.0.number(lock.0) {
            let mut held = holder.held.lock_irqsave();
            self.0.release(&mut held, usize::from(number));
        }
    }
}

impl<E: LocalCpu> Default for Orders<E> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;
    use crate::sync::nowhere::Nowhere;

    #[test]
    fn both_orders_are_found_and_one_is_not() {
        let cpus = Ordered::new(LockKind::Rw, || "the set of CPUs");
        let mutex = Ordered::new(LockKind::Sleep, || "the allocator");
        let orders = Orders::<Nowhere>::new();
        let [alloc, admin] = ["alloc", "admin"].map(Holder::new);
        for _ in 0..2 {
            for lock in [&mutex, &cpus] {
                orders.takes(&alloc, lock).expect("one order");
            }
            for lock in [&cpus, &mutex] {
                orders.opens(&alloc, lock);
            }
        }
        orders.takes(&admin, &cpus).expect("it holds none");
        let report = orders.takes(&admin, &mutex).expect_err("the other order");
        let report = report.to_string();
        for part in [
            "possible circular locking dependency:",
            "admin is about to take mutex of the allocator",
            "and holds rw lock of the set of CPUs",
            "alloc took rw lock of the set of CPUs",
            "while it held mutex of the allocator",
        ] {
            assert!(report.contains(part), "{report}");
        }
        // It was not taken.
        orders.opens(&admin, &cpus);
        orders.takes(&admin, &mutex).expect("it holds none");
    }
}

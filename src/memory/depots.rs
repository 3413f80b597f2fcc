//! Depots: whole chains of free heap blocks on their way from the CPUs that free them to the
//! CPUs that allocate.
//!
//! [`CPUS_PER_GROUP`] neighbouring CPUs have a depot for each size class, with a lock of its
//! own. A chain is put or taken in constant time. A CPU that finds its own group's depot empty
//! looks at those of other groups: that is how blocks come back from CPUs that only free to
//! CPUs that only allocate.
//!
//! Nothing here allocates but [`Depots::new`].
//!
//! # Invariants
//! - **bounded-depot**: a depot has at most [`CHAINS_PER_CPU`] chains for each possible CPU of
//!   its group, which is [`DEPOT_BYTES`] for each.
//! - **closed-while-drained**: while a [`Draining`] lives, no chain is put into a depot. `put`
//!   looks at the count of drainings under the depot's lock, and a drain has added to the count
//!   before it takes that lock. So a chain is in the depot before the drain looks there, or it
//!   isn't put there.
//!
//! `tests/loom_depots.rs` checks the second.

#![forbid(unsafe_code)]

use alloc::boxed::Box;

use crate::cpu::CpuId;
use crate::memory::chain::Stack;
use crate::memory::size_class::{CLASSES, MAGAZINE_BYTES};
use crate::memory::{FreeBlock, SizeClass, WholeChain};
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{CachePadded, IrqGuard, LocalCpu, SpinLock};

/// How many CPUs share depots. CPUs of other groups come to a depot's lock only if the depots
/// of their own are empty.
pub const CPUS_PER_GROUP: usize = 4;

/// How many chains of each class a depot keeps for each CPU of its group. `docs/performance.md`
/// has the figures for fewer.
pub const CHAINS_PER_CPU: usize = 4;

/// How many bytes of each class a depot keeps for each CPU of its group at most: a chain is
/// half of a magazine.
pub const DEPOT_BYTES: usize = CHAINS_PER_CPU * MAGAZINE_BYTES / 2;

/// How many other groups are looked at for a chain.
const PROBES: usize = 16;

/// The chains of one class, of one group of CPUs.
struct Depot<B, E: LocalCpu> {
    /// How many chains it keeps at most (bounded-depot).
    most: usize,
    stack: SpinLock<Stack<B>, E>,
    /// How many chains `stack` has. Relaxed: stored under the lock; read without the lock it
    /// is displayed, or a hint on which the reader looks again under the lock.
    chains: AtomicUsize,
}

/// The depots of a group of CPUs, one for each class.
type Group<B, E> = [CachePadded<Depot<B, E>>; CLASSES];

/// A depot.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    group: usize,
    class: SizeClass,
}

impl Place {
    /// Returns the class of the depot's blocks.
    pub const fn class(self) -> SizeClass {
        self.class
    }
}

/// The depots of a machine.
pub struct Depots<B, E: LocalCpu> {
    /// The depots of each group, in the order of the classes.
    groups: Box<[Group<B, E>]>,
    /// How many [`Draining`]s live. Relaxed: the locks of the depots order it
    /// (closed-while-drained).
    draining: AtomicUsize,
}

impl<B: FreeBlock, E: LocalCpu> Depots<B, E> {
    /// Returns empty depots for `cpus` possible CPUs.
    pub fn new(cpus: usize) -> Depots<B, E> {
        let group = |group: usize| {
            let members = CPUS_PER_GROUP.min(cpus - group * CPUS_PER_GROUP);
            core::array::from_fn(|_| {
                CachePadded(Depot {
                    most: members * CHAINS_PER_CPU,
                    stack: SpinLock::new(Stack::new()),
                    chains: AtomicUsize::new(0),
                })
            })
        };
        Depots {
            groups: (0..cpus.div_ceil(CPUS_PER_GROUP)).map(group).collect(),
            draining: AtomicUsize::new(0),
        }
    }

    /// Returns all depots.
    pub fn places(&self) -> impl Iterator<Item = Place> {
        let groups = 0..self.groups.len();
        groups.flat_map(|group| SizeClass::all().map(move |class| Place { group, class }))
    }

    /// Returns the depots of the group of `cpu`.
    pub fn places_of(&self, cpu: CpuId) -> impl Iterator<Item = Place> {
        let group = group_of(cpu);
        SizeClass::all().map(move |class| Place { group, class })
    }

    /// Removes and returns a chain of `class` for `cpu`: of its group, or else of another one.
    pub fn take(
        &self,
        cpu: CpuId,
        class: SizeClass,
        masked: &IrqGuard<E>,
    ) -> Option<WholeChain<B>> {
        let (own, count) = (group_of(cpu), self.groups.len());
        let others = (1..count.min(1 + PROBES)).map(|step| (own + step) % count);
        let places = core::iter::once(own).chain(others);
        places
            .map(|group| Place { group, class })
            .filter(|place| self.exceeds(*place, 0))
            .find_map(|place| self.take_at(place, 0, masked))
    }

    /// Returns whether more than `kept` chains were in the depot at `place` a moment ago.
    pub fn exceeds(&self, place: Place, kept: usize) -> bool {
        self.depot(place).chains.load(Ordering::Relaxed) > kept
    }

    /// Removes and returns a chain from the depot at `place`, if more than `kept` are there.
    pub fn take_at(
        &self,
        place: Place,
        kept: usize,
        masked: &IrqGuard<E>,
    ) -> Option<WholeChain<B>> {
        let depot = self.depot(place);
        let mut stack = depot.stack.lock_masked(masked);
        if stack.len() <= kept {
            return None;
        }
        let chain = stack.pop();
        depot.chains.store(stack.len(), Ordering::Relaxed);
        chain
    }

    /// Keeps `chain`, of blocks of `class`, in the depot of the group of `cpu`.
    ///
    /// # Errors
    /// Returns `chain` if the depot is full, or depots are being drained.
    pub fn put(
        &self,
        cpu: CpuId,
        class: SizeClass,
        chain: WholeChain<B>,
        masked: &IrqGuard<E>,
    ) -> Result<(), WholeChain<B>> {
        let group = group_of(cpu);
        let depot = self.depot(Place { group, class });
        let mut stack = depot.stack.lock_masked(masked);
        // (bounded-depot), (closed-while-drained)
        if stack.len() >= depot.most || self.draining.load(Ordering::Relaxed) > 0 {
            return Err(chain);
        }
        stack.push(chain);
        depot.chains.store(stack.len(), Ordering::Relaxed);
        Ok(())
    }

    /// Keeps all chains out of the depots until the answer is dropped
    /// (closed-while-drained).
    pub fn close(&self) -> Draining<'_, B, E> {
        self.draining.fetch_add(1, Ordering::Relaxed);
        Draining { depots: self }
    }

    /// Returns how many bytes are in the depots. Exact if no CPU uses them meanwhile.
    pub fn bytes(&self) -> usize {
        let bytes = |place: Place| {
            let chains = self.depot(place).chains.load(Ordering::Relaxed);
            chains * place.class.batch() * place.class.size()
        };
        self.places().map(bytes).sum()
    }

    fn depot(&self, place: Place) -> &Depot<B, E> {
        &self.groups[place.group][place.class.index()]
    }
}

/// Returns the CPUs of the group of `cpu`, possible or not.
pub fn group_members(cpu: CpuId) -> impl Iterator<Item = CpuId> {
    let first = group_of(cpu) * CPUS_PER_GROUP;
    (first..first + CPUS_PER_GROUP).filter_map(CpuId::new)
}

fn group_of(cpu: CpuId) -> usize {
    cpu.index() / CPUS_PER_GROUP
}

/// No chain is put into a depot while this lives.
#[must_use]
pub struct Draining<'a, B, E: LocalCpu> {
    depots: &'a Depots<B, E>,
}

impl<B, E: LocalCpu> Drop for Draining<'_, B, E> {
    fn drop(&mut self) {
        self.depots.draining.fetch_sub(1, Ordering::Relaxed);
    }
}

//! The counts of a module's references, and its state: the moves, none of which waits. The
//! [module above](super) has the picture and the invariants.

#![forbid(unsafe_code)]

use core::fmt;
use core::marker::PhantomData;

use crate::cpu::{CpuId, PerCpu};
use crate::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// Where a module is in its life. The names are Linux's, where Linux has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ModuleState {
    /// There is none.
    Unloaded,
    /// A thread is about to load it.
    Unformed,
    /// Its function that sets it up runs. References can be taken.
    Coming,
    /// It is set up.
    Live,
    /// It is being unloaded, and references are left. Only a thread that has one gets another.
    Going,
}

impl ModuleState {
    const ALL: [ModuleState; 5] = [
        ModuleState::Unloaded,
        ModuleState::Unformed,
        ModuleState::Coming,
        ModuleState::Live,
        ModuleState::Going,
    ];
}

impl fmt::Display for ModuleState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ModuleState::Unloaded => "not loaded",
            ModuleState::Unformed => "about to be loaded",
            ModuleState::Coming => "being set up",
            ModuleState::Live => "live",
            ModuleState::Going => "being unloaded",
        })
    }
}

/// How a count is changed, and what the section is in which that happens.
pub trait Kind: Send + Sync {
    /// Whether the section keeps its CPU, with IRQs masked. If not, the machine may be brought to
    /// a classic still point inside it.
    const KEEPS_CPU: bool;

    /// Adds 1 to `word`, with `order` for the store.
    ///
    /// # Context
    /// In the section.
    fn add(word: &AtomicU64, order: Ordering);
}

/// References are counted by a load and a store, with IRQs masked: an interrupt handler may take
/// references too.
#[derive(Debug)]
pub struct Plain;

impl Kind for Plain {
    const KEEPS_CPU: bool = true;

    #[inline]
    fn add(word: &AtomicU64, order: Ordering) {
        let value = word.load(Ordering::Relaxed);
        word.store(value + 1, order);
    }
}

/// References are counted by one atomic instruction, with preemption on.
#[derive(Debug)]
pub struct Atomic;

impl Kind for Atomic {
    const KEEPS_CPU: bool = false;

    #[inline]
    fn add(word: &AtomicU64, order: Ordering) {
        word.fetch_add(1, order);
    }
}

/// What one CPU has counted. Neither wraps: 64 bits take longer than any machine runs.
#[derive(Debug)]
struct Count {
    /// Added to Relaxed: what follows a get is ordered by the put of the same reference.
    gets: AtomicU64,
    /// Added to Release, and loaded Acquire by the sum: the sum sees the gets before
    /// (`puts-before-gets` of [`module`](crate::module)), and what was done with the reference is
    /// over.
    puts: AtomicU64,
}

/// What an unload wants of the sum, in the still point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// It must be 0.
    Unused,
    /// It is waited for afterwards.
    Any,
}

/// The state of a module, and how many references to it each CPU has taken and put.
#[derive(Debug)]
pub struct References<K> {
    /// A [`ModuleState`]. What a thread that takes a reference sees by its Acquire was stored
    /// before a Release.
    state: AtomicU8,
    counts: PerCpu<Count>,
    kind: PhantomData<K>,
}

impl<K: Kind> References<K> {
    /// Returns the references to a module that isn't loaded, for `cpus` possible CPUs.
    pub fn new(cpus: usize) -> References<K> {
        References {
            state: AtomicU8::new(ModuleState::Unloaded as u8),
            counts: PerCpu::new(cpus, |_| Count {
                gets: AtomicU64::new(0),
                puts: AtomicU64::new(0),
            }),
            kind: PhantomData,
        }
    }

    /// Returns the state. It may change at any time, but for the thread that changes it.
    #[inline]
    pub fn state(&self) -> ModuleState {
        // Pairs with the Release stores of `set` (value-while-referenced).
        let state = self.state.load(Ordering::Acquire);
        ModuleState::ALL[usize::from(state)]
    }

    /// Sets the state. A CPU that sees the new one sees what was done before.
    fn set(&self, state: ModuleState) {
        self.state.store(state as u8, Ordering::Release);
    }

    /// Unloaded → Unformed. The caller loads the module, and no other thread.
    ///
    /// # Errors
    /// The state that it is in.
    pub fn claim(&self) -> Result<(), ModuleState> {
        // Acquire pairs with `gone`, whose thread has taken the last value out (one-changes).
        let [from, to] = [ModuleState::Unloaded as u8, ModuleState::Unformed as u8];
        let (won, lost) = (Ordering::Acquire, Ordering::Relaxed);
        let claimed = self.state.compare_exchange(from, to, won, lost);
        claimed.map(drop).map_err(|_| self.state())
    }

    /// Unformed → Coming, with a reference of the loader's.
    ///
    /// # Context
    /// The thread that claimed it, in a section on `cpu`; the value is there.
    pub fn come(&self, cpu: CpuId) {
        self.get_again(cpu);
        self.set(ModuleState::Coming);
    }

    /// Coming, or Going where an unload gives up, → Live.
    ///
    /// # Context
    /// The thread that has loaded it, or that unloads it.
    pub fn live(&self) {
        self.set(ModuleState::Live);
    }

    /// Takes a reference, unless the module isn't there or goes. Returns whether it did.
    /// While the module is set up it does, as Linux's `try_module_get`.
    ///
    /// # Context
    /// In a section on `cpu`.
    #[inline]
    #[must_use]
    pub fn try_get(&self, cpu: CpuId) -> bool {
        let there = matches!(self.state(), ModuleState::Coming | ModuleState::Live);
        if there {
            self.get_again(cpu); // (looked-and-counted)
        }
        there
    }

    /// Takes a reference for a caller that keeps another one meanwhile, which need not be its
    /// own.
    ///
    /// # Context
    /// In a section on `cpu`.
    ///
    /// # Panics
    /// If there is none: the module may go at any time.
    pub fn get(&self, cpu: CpuId) {
        assert!(
            self.total() > 0,
            "BUG: a reference is taken to a module that has none (it is {})",
            self.state()
        );
        self.get_again(cpu);
    }

    /// Does as [`References::get`], and trusts the caller (`none-from-none` of
    /// [`module`](crate::module)).
    ///
    /// # Context
    /// As [`References::get`].
    #[inline]
    pub fn get_again(&self, cpu: CpuId) {
        K::add(&self.counts.get(cpu).gets, Ordering::Relaxed);
    }

    /// Puts a reference. Behind it [`References::goes`] says whether to wake the unload.
    ///
    /// # Context
    /// In a section on `cpu`, which need not be the CPU on which it was taken.
    ///
    /// # Panics
    /// In a debug build, if there is no reference. In another one the next sum does.
    #[inline]
    pub fn put(&self, cpu: CpuId) {
        K::add(&self.counts.get(cpu).puts, Ordering::Release);
        if cfg!(debug_assertions) {
            self.total();
        }
    }

    /// Returns whether the caller, which has put a reference, must wake the unload.
    ///
    /// # Context
    /// In the section of the put. Where that doesn't keep its CPU, a still point may come
    /// between the two.
    #[inline]
    #[must_use]
    pub fn goes(&self) -> bool {
        // Relaxed: it is behind the still point, or the put is before that too (put-wakes).
        self.state.load(Ordering::Relaxed) == ModuleState::Going as u8
    }

    /// Returns how many references there are: too many, if some are taken or put meanwhile, but
    /// never too few.
    ///
    /// # Panics
    /// If more were put than taken.
    pub fn total(&self) -> u64 {
        let counts = || self.counts.iter().map(|(_, count)| count);
        // (puts-before-gets)
        let puts = counts().fold(0_u64, |sum, count| sum + count.puts.load(Ordering::Acquire));
        let gets = counts().fold(0_u64, |sum, count| sum + count.gets.load(Ordering::Relaxed));
        match gets.checked_sub(puts) {
            Some(total) => total,
            None => put_too_often(gets, puts),
        }
    }

    /// `from` → Going.
    ///
    /// # Context
    /// In a still point that no section reaches into; `from` is Live, or Coming for the loader.
    ///
    /// # Errors
    /// Why it stays as it is.
    pub fn go(&self, from: ModuleState, wanted: Wanted) -> Result<(), Stays> {
        let state = self.state();
        if state != from {
            return Err(Stays::NotIn(state));
        }
        let references = self.total(); // Exact: no section is half done.
        if wanted == Wanted::Unused && references > 0 {
            return Err(Stays::InUse(references));
        }
        self.set(ModuleState::Going);
        Ok(())
    }

    /// Going → Unloaded.
    ///
    /// # Context
    /// The thread that unloads it, which has seen a sum of 0 and taken the value out.
    pub fn gone(&self) {
        self.set(ModuleState::Unloaded);
    }
}

/// Why a module doesn't go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stays {
    /// It isn't in the state from which it should go.
    NotIn(ModuleState),
    /// It has this many references.
    InUse(u64),
}

#[cold]
fn put_too_often(gets: u64, puts: u64) -> ! {
    panic!("BUG: of a module's {gets} references {puts} were put");
}

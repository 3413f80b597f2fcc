//! What the workers of the soak share, and what they count.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use stillpoint::println;
use stillpoint::sched::lock::{Condvar, Mutex, RwLock, Semaphore};
use stillpoint::start::Hw;
use stillpoint::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::reading::Page;

/// A count. Relaxed: read when its writers have ended.
#[derive(Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, what: u64) {
        self.0.fetch_add(what, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// All that the workers share.
pub(crate) struct World {
    pub(crate) stop: AtomicBool,
    /// Things that must not be, as seen by anybody.
    wrong: Count,
    pub(crate) downs: Count,
    pub(crate) ups: Count,
    pub(crate) stops: Count,
    pub(crate) computed: Count,
    pub(crate) slept: Count,
    /// Calls that were accepted, refused, and executed.
    pub(crate) called: Count,
    pub(crate) refused: Count,
    pub(crate) executed: Count,
    /// Timers that were set, that were taken back, and that went off.
    pub(crate) set: Count,
    pub(crate) cancelled: Count,
    pub(crate) fired: Count,
    pub(crate) periods: Count,
    /// Additions under locks, counted outside.
    pub(crate) added: Count,
    pub(crate) mutex: Mutex<u64, Hw>,
    pub(crate) pair: RwLock<(u64, u64), Hw>,
    pub(crate) permits: Semaphore<Hw>,
    pub(crate) inside: AtomicU64,
    pub(crate) changed: Condvar<Hw>,
    pub(crate) parked: Count,
    pub(crate) spawned: Count,
    pub(crate) allocated: Count,
    /// What is read under RCU, and which of it is published.
    pub(crate) pages: [Arc<Page>; 32],
    pub(crate) page: AtomicU64,
    pub(crate) read: Count,
    /// Callbacks that were queued, and that have run.
    pub(crate) deferred: Count,
    pub(crate) ran: Arc<Count>,
    /// Memory on its way from one allocator to another.
    pub(crate) parcels: Mutex<Vec<(u8, Vec<u8>)>, Hw>,
}

/// So many threads may be inside the semaphore.
pub(crate) const PERMITS: usize = 2;

impl World {
    pub(crate) fn new() -> World {
        World {
            stop: AtomicBool::new(false),
            wrong: Count::default(),
            downs: Count::default(),
            ups: Count::default(),
            stops: Count::default(),
            computed: Count::default(),
            slept: Count::default(),
            called: Count::default(),
            refused: Count::default(),
            executed: Count::default(),
            set: Count::default(),
            cancelled: Count::default(),
            fired: Count::default(),
            periods: Count::default(),
            added: Count::default(),
            mutex: Mutex::new(0),
            pair: RwLock::new((0, 0)),
            permits: Semaphore::new(PERMITS),
            inside: AtomicU64::new(0),
            changed: Condvar::new(),
            parked: Count::default(),
            spawned: Count::default(),
            allocated: Count::default(),
            // The first is published.
            pages: core::array::from_fn(|at| Page::new(at != 0)),
            page: AtomicU64::new(0),
            read: Count::default(),
            deferred: Count::default(),
            ran: Arc::new(Count::default()),
            parcels: Mutex::new(Vec::new()),
        }
    }

    pub(crate) fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    /// Something must be so.
    pub(crate) fn must(&self, is_so: bool, what: fmt::Arguments<'_>) {
        if !is_so {
            self.wrong.add(1);
            println!("# WRONG: {what}");
        }
    }

    pub(crate) fn is_sound(&self) -> bool {
        self.wrong.get() == 0
    }

    /// Whether each kind of work was done at all; CPUs come and go if there are two.
    pub(crate) fn all_worked(&self, cpus: usize) -> bool {
        let always = [
            &self.stops,
            &self.computed,
            &self.slept,
            &self.executed,
            &self.fired,
            &self.cancelled,
            &self.periods,
            &self.added,
            &self.parked,
            &self.spawned,
            &self.allocated,
            &self.read,
            &self.deferred,
        ];
        let hotplug = [&self.downs, &self.ups];
        always.iter().all(|count| count.get() > 0)
            && (cpus == 1 || hotplug.iter().all(|count| count.get() > 0))
    }

    pub(crate) fn calls_add_up(&self) -> bool {
        self.called.get() == self.executed.get()
    }

    pub(crate) fn callbacks_add_up(&self) -> bool {
        self.deferred.get() == self.ran.get()
    }

    pub(crate) fn timers_add_up(&self) -> bool {
        self.set.get() == self.cancelled.get() + self.fired.get()
    }

    pub(crate) fn locks_add_up(&self) -> bool {
        let pair = self.pair.read();
        pair.0 == pair.1 && *self.mutex.lock() + pair.0 == self.added.get()
    }
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = [
            ("down", &self.downs),
            ("up", &self.ups),
            ("stops", &self.stops),
            ("computed", &self.computed),
            ("slept", &self.slept),
            ("called", &self.called),
            ("refused", &self.refused),
            ("timers", &self.set),
            ("cancelled", &self.cancelled),
            ("periods", &self.periods),
            ("added", &self.added),
            ("parked", &self.parked),
            ("spawned", &self.spawned),
            ("allocated", &self.allocated),
            ("read", &self.read),
            ("deferred", &self.deferred),
        ];
        for (name, count) in counts {
            write!(f, "{name}={} ", count.get())?;
        }
        Ok(())
    }
}

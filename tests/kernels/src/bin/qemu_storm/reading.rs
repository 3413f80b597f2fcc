//! Memory that is read under RCU and freed. It is poisoned before it is freed, so that a reader
//! that comes too late notices.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;

use stillpoint::api::{rcu, thread};
use stillpoint::kernel::Hw;
use stillpoint::sync::IrqGuard;
use stillpoint::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use crate::world::{Count, World, micros, one_in};
use kernel_support::xorshift::Random;

const ALIVE: u64 = 0x1d1e_5a11_7e57_1e55;
const FREED: u64 = 0xdead;

/// The object that is published: a word that tells whether it is alive, and more bytes, so that
/// its block has a size that others allocate too.
struct Page {
    word: AtomicU64,
    _more: [u64; 6],
}

impl Page {
    fn new() -> Box<Page> {
        Box::new(Page {
            word: AtomicU64::new(ALIVE),
            _more: [0; 6],
        })
    }
}

/// The page that is published, and counters.
pub(crate) struct Reading {
    /// Exchanged AcqRel for a new page, loaded Acquire by readers.
    page: AtomicPtr<Page>,
    made: Count,
    freed: Arc<Count>,
    read: Count,
    waited: Count,
}

impl Reading {
    pub(crate) fn new() -> Reading {
        Reading {
            page: AtomicPtr::new(Box::into_raw(Page::new())),
            made: Count::default(),
            freed: Arc::new(Count::default()),
            read: Count::default(),
            waited: Count::default(),
        }
    }

    /// Reads the page for a while; returns whether it was alive all the time. The caller is in a
    /// read-side section.
    pub(crate) fn look(&self) -> bool {
        let page = self.page.load(Ordering::Acquire);
        (0..200).all(|_| {
            // SAFETY: it came from a box, and the thread that took it out of `page` frees it after a
            // grace period, which this section holds up: else the test has found that.
            let page = unsafe { &*page };
            page.word.load(Ordering::Relaxed) == ALIVE
        })
    }

    /// Publishes `page` and returns the page before, which some readers may still read.
    fn publish(&self, page: Box<Page>) -> Unpublished {
        Unpublished(self.page.swap(Box::into_raw(page), Ordering::AcqRel))
    }

    pub(crate) fn has_worked(&self) -> bool {
        self.read.get() > 0 && self.freed.get() > 0 && self.waited.get() > 0
    }

    /// Returns whether every page that was replaced has been freed, once.
    pub(crate) fn add_up(&self) -> bool {
        self.made.get() == self.freed.get()
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        // SAFETY: it came from a box; no thread is left that reads or replaces it.
        drop(unsafe { Box::from_raw(*self.page.get_mut()) });
    }
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "pages={} freed={} read={} waited={}",
            self.made, self.freed, self.read, self.waited
        )
    }
}

/// A page that is no longer published.
struct Unpublished(*mut Page);

// SAFETY: the value has one owner; other threads only read the page.
unsafe impl Send for Unpublished {}

impl Unpublished {
    /// Frees the page, a grace period after it was taken out; poisons it first.
    fn free(self, freed: &Count) {
        // SAFETY: it came from a box, was taken out once, and no thread reads it any more:
        // else the test has found that.
        let page = unsafe { Box::from_raw(self.0) };
        page.word.store(FREED, Ordering::Relaxed);
        freed.add(1);
    }
}

/// Replaces the page, and frees the old one after a grace period in one of several ways.
pub(crate) fn replace(world: &Arc<World>, random: &mut Random) {
    let reading = &world.reading;
    for _ in 0..10 {
        let old = reading.publish(Page::new());
        reading.made.add(1);
        let freed = Arc::clone(&reading.freed);
        match random.below(4) {
            0 => {
                rcu::synchronize();
                old.free(&freed);
            }
            1 => {
                rcu::synchronize();
                rcu::call_rcu(move || old.free(&freed));
            }
            _ => rcu::call_rcu(move || old.free(&freed)),
        }
        if one_in(random, 20) {
            rcu::barrier();
        }
        if one_in(random, 3) {
            thread::sleep(micros(random, 300));
        }
    }
}

/// Reads in a section, in a nested section, and with interrupts masked.
pub(crate) fn read(world: &Arc<World>, random: &mut Random) {
    let reading = &world.reading;
    for _ in 0..30 {
        let alive = match random.below(3) {
            0 => {
                let _masked = IrqGuard::<Hw>::new();
                reading.look()
            }
            1 => rcu::read(|_| {
                let before = reading.look();
                // A preemption point inside: the thread that is woken has to wait.
                world.locks.wake_one();
                before && reading.look()
            }),
            _ => rcu::read(|_| rcu::read(|_| reading.look()) && reading.look()),
        };
        world.must(alive, format_args!("a page was freed under its reader"));
        reading.read.add(1);
    }
    if one_in(random, 2) {
        thread::sleep(micros(random, 300));
    }
}

/// Waits for sections, for threads, and for callbacks.
pub(crate) fn wait(world: &Arc<World>, random: &mut Random) {
    match random.below(3) {
        0 => rcu::synchronize_tasks(),
        1 => rcu::barrier(),
        _ => rcu::synchronize(),
    }
    world.reading.waited.add(1);
    thread::sleep(micros(random, 4000));
}

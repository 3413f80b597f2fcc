//! Workers under RCU: one replaces what the others read.

use alloc::sync::Arc;
use core::time::Duration;

use stillpoint::api::{rcu, thread};
use stillpoint::sync::atomic::{AtomicBool, Ordering};

use crate::world::World;
use crate::xorshift::Random;

/// What is published. It is not freed in earnest: a reader that sees one that should
/// have been is found by that.
pub(crate) struct Page {
    freed: AtomicBool,
}

/// Replaces the page again and again; each is freed after a grace period, one way or
/// the other, and may be used anew then.
pub(crate) fn replace(world: &World, mut random: Random) {
    let mut at = 0;
    while world.goes_on() {
        let before = at;
        // One that has been freed by now: if none has, wait for all.
        at = (0..world.pages.len())
            .find(|other| world.pages[*other].freed.load(Ordering::Acquire))
            .unwrap_or_else(|| {
                rcu::barrier();
                (before + 1) % world.pages.len()
            });
        world.pages[at].freed.store(false, Ordering::Relaxed);
        world.page.store(at as u64, Ordering::Release);
        let old = Arc::clone(&world.pages[before]);
        let ran = Arc::clone(&world.ran);
        if random.below(4) == 0 {
            rcu::synchronize();
            old.freed.store(true, Ordering::Release);
        } else {
            world.deferred.add(1);
            rcu::call_rcu(move || {
                old.freed.store(true, Ordering::Release);
                ran.add(1);
            });
        }
        if random.below(32) == 0 {
            rcu::synchronize_tasks();
        }
        if random.below(2) == 0 {
            thread::sleep(Duration::from_micros(random.below(300) as u64));
        }
    }
    rcu::barrier();
}

/// Looks at the page for a while; it must not be freed meanwhile.
pub(crate) fn read(world: &World, mut random: Random) {
    while world.goes_on() {
        let turns = random.below(2000);
        let freed = rcu::read(|_| {
            let at = usize::try_from(world.page.load(Ordering::Acquire)).expect("small");
            (0..turns).any(|_| world.pages[at].freed.load(Ordering::Acquire))
        });
        world.must(!freed, format_args!("a page was freed under its reader"));
        world.read.add(1);
        if random.below(16) == 0 {
            thread::yield_now();
        }
    }
}

impl Page {
    pub(crate) fn new(freed: bool) -> Arc<Page> {
        Arc::new(Page {
            freed: AtomicBool::new(freed),
        })
    }
}

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use stillpoint::api::sync::WaitQueue;
use stillpoint::api::time::Instant;

static ITEMS: AtomicU32 = AtomicU32::new(0);
static IS_CLOSED: AtomicBool = AtomicBool::new(false);
static CHANGED: WaitQueue = WaitQueue::new();

/// Adds an item; an interrupt handler may do it, as there is no lock. The change comes first, then
/// the wake. One item is for one thread.
pub(crate) fn put() {
    ITEMS.fetch_add(1, Ordering::Release);
    CHANGED.wake_one();
}

/// Says that no item will come. That concerns each thread that waits.
pub(crate) fn close() {
    IS_CLOSED.store(true, Ordering::Release);
    CHANGED.wake_all();
}

/// Takes an item, and waits for it until `at`; returns whether there was one.
pub(crate) fn take_before(at: Instant) -> bool {
    let order = Ordering::Acquire; // Pairs with the Releases above.
    let mut is_taken = false;
    CHANGED.wait_until(at, || {
        let one_less = |items: u32| items.checked_sub(1);
        is_taken = ITEMS.fetch_update(order, order, one_less).is_ok();
        is_taken || IS_CLOSED.load(order)
    });
    is_taken
}

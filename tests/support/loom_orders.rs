//! A model that is sure to try several orders. Loom leaves out orders that it takes for equal,
//! and it remembers one access of an atomic only: a thread whose first access is a load can hide
//! from it that another thread has loaded the same before, which its own store then meets. Such a
//! model runs once and proves nothing, so the threads of a model are to be arranged otherwise.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Runs `model` in every order of its threads, as `loom::model` does.
///
/// # Panics
/// If loom has tried no more than one.
pub(crate) fn every_order(model: impl Fn() + Sync + Send + 'static) {
    let orders = Arc::new(AtomicUsize::new(0));
    let tried = Arc::clone(&orders);
    loom::model(move || {
        tried.fetch_add(1, Ordering::Relaxed);
        model();
    });
    // Relaxed: loom runs the model in this thread.
    let orders = orders.load(Ordering::Relaxed);
    assert!(orders > 1, "the model was tried in one order only");
}

//! A queue in which threads of a model wait.

use loom::sync::{Condvar, Mutex};

/// Stands for `sched::lock::WaitQueue`. It first checks the condition without the lock, as
/// that does.
pub(crate) struct WaitQueue {
    waiters: Mutex<()>,
    woken: Condvar,
}

impl WaitQueue {
    pub(crate) fn new() -> WaitQueue {
        WaitQueue {
            waiters: Mutex::new(()),
            woken: Condvar::new(),
        }
    }

    pub(crate) fn wait(&self, mut ready_fn: impl FnMut() -> bool) {
        if ready_fn() {
            return;
        }
        let mut waiters = self.waiters.lock().expect("no thread panics under it");
        while !ready_fn() {
            waiters = self.woken.wait(waiters).expect("no thread panics under it");
        }
    }

    pub(crate) fn wake(&self) {
        let _waiters = self.waiters.lock().expect("no thread panics under it");
        self.woken.notify_all();
    }
}

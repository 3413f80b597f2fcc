use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;

use alloc::collections::BTreeMap;
use alloc::sync::Arc;

use stillpoint::api::sync::Mutex;
use stillpoint::api::thread::{self, JoinHandle, Thread, ThreadId};
use stillpoint::println;

/// A thread that works when it is told to.
pub(crate) struct Worker {
    handle: JoinHandle<u32>,
    is_over: Arc<AtomicBool>,
}

impl Worker {
    pub(crate) fn start() -> Worker {
        let is_over = Arc::new(AtomicBool::new(false));
        let its = Arc::clone(&is_over);
        let handle = thread::spawn(move || {
            let mut turns = 0;
            while !its.load(Ordering::Acquire) {
                thread::park(); // An unpark that came before isn't lost: this returns at once.
                turns += 1;
            }
            turns
        });
        Worker { handle, is_over }
    }

    /// Any thread may do it, and an interrupt handler.
    pub(crate) fn wake(&self) {
        self.handle.thread().unpark();
    }

    /// Ends the worker, and returns how often it has worked.
    pub(crate) fn end(self) -> u32 {
        self.is_over.store(true, Ordering::Release); // Pairs with the Acquire of the worker.
        self.wake();
        if !self.handle.is_finished() {
            println!("it is in its last turn"); // `join` waits for the end of it.
        }
        self.handle.join()
    }
}

/// Threads that have told their names, to be found by what identifies them.
static KNOWN: Mutex<BTreeMap<ThreadId, Thread>> = Mutex::new(BTreeMap::new());

/// Adds the running thread, and has it wait for a second to be found.
pub(crate) fn introduce() -> bool {
    let this = thread::current();
    KNOWN.lock().insert(this.id(), this);
    thread::park_timeout(Duration::from_secs(1))
}

/// Wakes the thread of `id`, if it is known.
pub(crate) fn find(id: ThreadId) {
    if let Some(thread) = KNOWN.lock().remove(&id) {
        println!("{} is found", thread.name());
        thread.unpark();
    }
}

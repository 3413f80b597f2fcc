//! The thread of a user of a line, which does what its handler leaves.
//!
//! ```text
//!                 wake, by the handler                      done
//!     at rest ─────────────────────────▶ woken ─▶ runs ─────────────▶ at rest
//!                                          ▲        │
//!                                          └────────┘ woken again meanwhile
//! ```
//! A level-triggered line stays masked from the wake to `done`: its device holds the line until the
//! thread has served it. An edge comes again meanwhile, and the thread runs once more.
//!
//! The thread is of the class FIFO with priority 50, as Linux's are, and is called `irq/N-NAME`. It
//! may run where its line may go, and goes elsewhere when its CPU leaves, as any thread.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::sync::Arc;

use super::IrqHost;
use super::line::Line;
use crate::cpu::CpuMask;
use crate::sched::{Class, Priority, SpawnError, Thread, ThreadName};
use crate::sync::Once;
use crate::sync::atomic::{AtomicU32, Ordering};
use crate::time::Instant;

/// What a thread of a user runs each time that it was woken.
pub type ThreadFn = Box<dyn FnMut() + Send>;

/// The handler has left something to do.
const WOKEN: u32 = 1;
/// The thread is to end.
const ENDS: u32 = 2;

/// The thread of one user.
pub(super) struct IrqThread<P: IrqHost> {
    /// Bits. Release in `wake` and `end`, and Acquire in `serve`: what the handler has done is seen
    /// by the thread.
    word: AtomicU32,
    thread: Once<Arc<Thread<P>>>,
}

impl<P: IrqHost> IrqThread<P> {
    /// Starts the thread for a user of `line` that is called `name`, and may run on `cpus`.
    ///
    /// # Errors
    /// [`SpawnError`]; `thread_fn` has been dropped then.
    pub(super) fn start(
        line: &'static Line<P>,
        name: &str,
        cpus: &CpuMask,
        thread_fn: ThreadFn,
    ) -> Result<Arc<IrqThread<P>>, SpawnError> {
        let priority = Priority::new(50).expect("BUG: it is a priority of programs");
        let name = ThreadName::new(format_args!("irq/{}-{name}", line.irq().intid()));
        let own = Arc::new(IrqThread {
            word: AtomicU32::new(0),
            thread: Once::new(),
        });
        let its = Arc::clone(&own);
        let body = move || its.serve(line, thread_fn);
        let thread = P::sched().spawn(name, Class::fifo(priority), cpus, body)?;
        own.thread.call_once(|| thread);
        Ok(own)
    }

    /// Runs `thread_fn` whenever it was woken, until the thread is to end.
    fn serve(&self, line: &Line<P>, mut thread_fn: ThreadFn) {
        let sched = P::sched();
        let mut cpus = line.affinity();
        loop {
            let word = self.word.fetch_and(!WOKEN, Ordering::Acquire); // Pairs with `wake`.
            if word & WOKEN != 0 {
                let wanted = line.affinity();
                if wanted != cpus {
                    cpus = wanted;
                    // None of them is active any more: then it goes where it can.
                    let _moved = sched.set_affinity(&sched.current(), &cpus);
                }
                thread_fn();
                line.thread_done();
            } else if word & ENDS != 0 {
                return;
            } else {
                sched.wait_permit(Instant::FOREVER);
            }
        }
    }

    /// Notes that the handler has left something to do; returns whether it had left nothing before.
    /// If so, the line counts it, and then [`IrqThread::go_on`] is to be called.
    ///
    /// # Context
    /// The handler, IRQs masked.
    pub(super) fn wake(&self) -> bool {
        self.word.fetch_or(WOKEN, Ordering::Release) & WOKEN == 0 // Pairs with `serve`.
    }

    /// Has the thread look at what there is to do.
    ///
    /// # Context
    /// Any.
    pub(super) fn go_on(&self) {
        if let Some(thread) = self.thread.get() {
            P::sched().give_permit(thread);
        }
    }

    /// Waits until the thread has done what was left to it, and has ended.
    ///
    /// # Context
    /// Another thread, preemption on. No handler wakes it any more.
    pub(super) fn end(&self) {
        self.word.fetch_or(ENDS, Ordering::Release); // Pairs with the Acquire in `serve`.
        self.go_on();
        if let Some(thread) = self.thread.get() {
            thread.wait_until_dead();
        }
    }
}

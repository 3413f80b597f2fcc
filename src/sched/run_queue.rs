//! One CPU's run queue: who is runnable, and who is next.
//!
//! Pure bookkeeping behind the run-queue lock; the decision is
//! [`RunQueue::pick_next`], which a host test checks against a small model.

#![forbid(unsafe_code)]

use alloc::sync::Arc;

use intrusive_collections::LinkedList;

use crate::platform::PreemptWork;
use crate::sched::links::RunLink;
use crate::sched::{Class, Host, Thread, ThreadState};

/// The threads of one CPU that want to run, and the one that does.
pub struct RunQueue<P: Host> {
    /// FIFO for each class above idle, the most urgent first.
    queues: [LinkedList<RunLink<P>>; 3],
    current: Option<Arc<Thread<P>>>,
    idle: Option<Arc<Thread<P>>>,
    /// A thread that was switched away from for good or to park, until the next
    /// one has looked after it (S4). Others need nothing: one that waits has a
    /// count of itself on its own stack, one that doesn't is on the queue.
    pub(crate) previous: Option<Arc<Thread<P>>>,
}

/// A decision to switch threads.
#[must_use]
#[derive(Debug)]
pub struct Switch<P: Host> {
    /// Who runs now.
    pub from: Arc<Thread<P>>,
    /// Who runs next.
    pub to: Arc<Thread<P>>,
}

fn level(class: Class) -> usize {
    match class {
        Class::Stop => 0,
        Class::Realtime => 1,
        Class::Normal => 2,
        Class::Idle => panic!("BUG: an idle thread is never queued"),
    }
}

impl<P: Host> RunQueue<P> {
    /// An empty queue of a CPU that runs nothing yet.
    pub fn new() -> Self {
        RunQueue {
            queues: core::array::from_fn(|_| LinkedList::new(RunLink::new())),
            current: None,
            idle: None,
            previous: None,
        }
    }

    /// Says that `idle` is what this CPU runs, now and whenever nothing else is
    /// runnable.
    pub fn start(&mut self, idle: Arc<Thread<P>>) {
        idle.set_state(ThreadState::Running);
        self.current = Some(Arc::clone(&idle));
        self.idle = Some(idle);
    }

    /// The thread that runs here.
    ///
    /// # Panics
    /// Before [`RunQueue::start`].
    pub fn current(&self) -> &Arc<Thread<P>> {
        self.current
            .as_ref()
            .expect("BUG: this CPU runs no thread yet")
    }

    /// Makes `thread` runnable.
    ///
    /// # Panics
    /// If it is queued already (S2).
    pub fn enqueue(&mut self, thread: Arc<Thread<P>>) {
        assert!(
            !thread.run_link.is_linked(),
            "BUG: {thread:?} is runnable twice (S2)"
        );
        thread.set_state(ThreadState::Runnable);
        self.queues[level(thread.class())].push_back(thread);
    }

    /// Whether a stopper waits for the CPU, and something else has it.
    pub fn stopper_waits(&self) -> bool {
        !self.queues[0].is_empty()
            && self
                .current
                .as_ref()
                .is_some_and(|current| current.class() != Class::Stop)
    }

    /// Whether anything but the running thread wants the CPU.
    pub fn is_empty(&self) -> bool {
        self.queues.iter().all(LinkedList::is_empty)
    }

    /// Decides what becomes of the running thread, and who runs next. Returns
    /// the two, or `None` if the running thread goes on.
    ///
    /// `only_stopper`: the running thread is being preempted, which only a
    /// stopper may do; it goes back to the *front* of its class.
    ///
    /// # Panics
    /// If nothing runs here yet.
    pub fn pick_next(&mut self, only_stopper: bool) -> Option<Switch<P>> {
        if only_stopper && !self.stopper_waits() {
            return None;
        }
        let current = Arc::clone(self.current());
        let mut to_look_after = false;
        match current.state() {
            ThreadState::Running if current.class() == Class::Idle => {}
            ThreadState::Running => {
                current.set_state(ThreadState::Runnable);
                let queue = &mut self.queues[level(current.class())];
                if only_stopper {
                    queue.push_front(Arc::clone(&current));
                } else {
                    queue.push_back(Arc::clone(&current));
                }
            }
            // Preempted between "about to wait" and the wait itself: it is
            // still running, and will look at its condition again.
            ThreadState::Blocking | ThreadState::Parking if only_stopper => {
                let state = current.state();
                self.queues[level(current.class())].push_front(Arc::clone(&current));
                current.set_state(state);
            }
            ThreadState::Blocking => current.rest.settle(),
            ThreadState::Parking => {
                current.rest.settle();
                to_look_after = true;
            }
            ThreadState::Dead => to_look_after = true,
            state => panic!("BUG: the running thread {current:?} is {state:?} (S1)"),
        }
        let next = self
            .queues
            .iter_mut()
            .find_map(LinkedList::pop_front)
            .or_else(|| self.idle.clone())
            .expect("BUG: this CPU has no idle thread");
        if !matches!(next.state(), ThreadState::Blocking | ThreadState::Parking) {
            next.set_state(ThreadState::Running);
        }
        if Arc::ptr_eq(&next, &current) {
            return None;
        }
        let from = self.current.replace(Arc::clone(&next)).unwrap_or(current);
        if to_look_after {
            P::set_preempt_work(PreemptWork::Previous, true);
            self.previous = Some(Arc::clone(&from));
        }
        Some(Switch { from, to: next })
    }
}

impl<P: Host> Default for RunQueue<P> {
    fn default() -> Self {
        Self::new()
    }
}

//! The links by which a thread is in a run queue, in the list of threads that wait for
//! one thing, and among those that sleep until an instant. They are in the thread
//! itself, so queueing allocates nothing. The macro's code is `unsafe`; that is all of
//! this file.

use alloc::sync::Arc;

use intrusive_collections::{LinkedListAtomicLink, RBTreeAtomicLink, intrusive_adapter};

use crate::sched::timer::TimerNode;
use crate::sched::{SchedHost, Thread};

intrusive_adapter!(pub(crate) RunLink<P> = Arc<Thread<P>>: Thread<P> { run_link => LinkedListAtomicLink } where P: SchedHost);
intrusive_adapter!(pub(crate) WaitLink<P> = Arc<Thread<P>>: Thread<P> { wait_link => LinkedListAtomicLink } where P: SchedHost);
intrusive_adapter!(pub(crate) AllLink<P> = Arc<Thread<P>>: Thread<P> { all_link => LinkedListAtomicLink } where P: SchedHost);
intrusive_adapter!(pub(crate) SleepLink<P> = Arc<Thread<P>>: Thread<P> { sleep_link => RBTreeAtomicLink } where P: SchedHost);
intrusive_adapter!(pub(crate) TimerLink<P> = Arc<TimerNode<P>>: TimerNode<P> { link => RBTreeAtomicLink } where P: SchedHost);

//! The links by which a thread is in a run queue (one for a realtime level and one for
//! the tree of ordinary threads), in the list of threads that wait for
//! one object, among the threads that lend to one thread, and in the queue of threads that
//! sleep until an instant. The links are
//! in the thread itself, so queueing allocates nothing. The macro expands to `unsafe`
//! code; this file contains nothing else.

use alloc::sync::Arc;

use intrusive_collections::{LinkedListAtomicLink, RBTreeAtomicLink, intrusive_adapter};

use crate::sched::timer::TimerNode;
use crate::sched::{SchedHost, Thread};

intrusive_adapter!(pub(crate) RunLink<P> = Arc<Thread<P>>: Thread<P> { run_link => LinkedListAtomicLink } where P: SchedHost);
intrusive_adapter!(pub(crate) FairLink<P> = Arc<Thread<P>>: Thread<P> { fair_link => RBTreeAtomicLink } where P: SchedHost);
intrusive_adapter!(pub WaitLink<P> = Arc<Thread<P>>: Thread<P> { wait_link => LinkedListAtomicLink } where P: SchedHost);
intrusive_adapter!(pub LendLink<P> = Arc<Thread<P>>: Thread<P> { lend_link => LinkedListAtomicLink } where P: SchedHost);
intrusive_adapter!(pub(crate) AllLink<P> = Arc<Thread<P>>: Thread<P> { all_link => LinkedListAtomicLink } where P: SchedHost);
intrusive_adapter!(pub(crate) SleepLink<P> = Arc<Thread<P>>: Thread<P> { sleep_link => RBTreeAtomicLink } where P: SchedHost);
intrusive_adapter!(pub(crate) TimerLink<P> = Arc<TimerNode<P>>: TimerNode<P> { link => RBTreeAtomicLink } where P: SchedHost);

//! How a thread hangs in a run queue, and in the list of those who wait for one
//! thing: by links of its own, so that neither allocates. The macro's code is
//! `unsafe`; that is all of this file.

use alloc::sync::Arc;

use intrusive_collections::{LinkedListAtomicLink, intrusive_adapter};

use crate::sched::{Host, Thread};

intrusive_adapter!(pub(crate) RunLink<P> = Arc<Thread<P>>: Thread<P> { run_link => LinkedListAtomicLink } where P: Host);
intrusive_adapter!(pub(crate) WaitLink<P> = Arc<Thread<P>>: Thread<P> { wait_link => LinkedListAtomicLink } where P: Host);

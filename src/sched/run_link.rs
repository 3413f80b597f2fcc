//! How a thread hangs in a run queue: by a link of its own, so that queueing
//! allocates nothing. The macro's code is `unsafe`; that is all of this file.

use alloc::sync::Arc;

use intrusive_collections::{LinkedListAtomicLink, intrusive_adapter};

use crate::sched::{Host, Thread};

intrusive_adapter!(pub(crate) RunLink<P> = Arc<Thread<P>>: Thread<P> { link => LinkedListAtomicLink } where P: Host);

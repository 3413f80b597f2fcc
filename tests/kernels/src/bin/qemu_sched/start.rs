//! Starts the threads of this test, each on one CPU, and has a flag that they share.

use alloc::sync::Arc;

use stillpoint::api::thread::{Builder, JoinHandle};
use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::sched::{Class, Priority};
use stillpoint::sync::atomic::{AtomicBool, Ordering};

/// A flag of several threads.
#[derive(Clone, Default)]
pub(crate) struct Flag(Arc<AtomicBool>);

impl Flag {
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

pub(crate) fn spawn<T: Send + 'static>(
    cpu: CpuId,
    class: Class,
    body: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    Builder::new()
        .name("test")
        .affinity(CpuMask::of(cpu))
        .class(class)
        .spawn(body)
        .expect("a stack is free")
}

pub(crate) fn fifo(priority: u8) -> Class {
    Class::fifo(Priority::new(priority).expect("1 to 99"))
}

pub(crate) fn round_robin(priority: u8) -> Class {
    Class::round_robin(Priority::new(priority).expect("1 to 99"))
}

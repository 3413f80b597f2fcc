//! Locks that sleep. They need the scheduler, so they live here and not in
//! [`crate::sync`]; none may be taken with preemption off or in a still point.

#![forbid(unsafe_code)]

mod completion;
mod mutex;
mod wait_queue;
mod waiters;

use core::time::Duration;

pub use completion::Completion;
pub use mutex::{Mutex, MutexGuard};
pub use wait_queue::WaitQueue;

/// How long a wait for another thread of the kernel may take before the log says
/// what is waited for. The wait goes on.
pub const PATIENCE: Duration = Duration::from_secs(10);

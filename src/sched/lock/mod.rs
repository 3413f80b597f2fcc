//! Locks that sleep. They need the scheduler, so they live here and not in
//! [`crate::sync`]; none may be taken with preemption off or in a still point.

#![forbid(unsafe_code)]

mod completion;
mod mutex;
mod waiters;

pub use completion::Completion;
pub use mutex::{Mutex, MutexGuard};

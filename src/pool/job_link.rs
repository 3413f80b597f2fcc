//! The link by which a job is in a queue. The macro expands to `unsafe` code; this file contains
//! nothing else.

use alloc::sync::Arc;

use intrusive_collections::{LinkedListAtomicLink, intrusive_adapter};

use crate::pool::Job;
use crate::sync::LocalCpu;

intrusive_adapter!(pub(super) JobLink<E> = Arc<Job<E>>: Job<E> { link => LinkedListAtomicLink } where E: LocalCpu + 'static);

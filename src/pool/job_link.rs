//! The link by which a job is in a queue. The macro expands to `unsafe` code; this file contains
//! nothing else.

use alloc::sync::Arc;

use intrusive_collections::{RBTreeAtomicLink, intrusive_adapter};

use crate::pool::Job;
use crate::sync::LocalCpu;

intrusive_adapter!(pub(super) JobLink<E> = Arc<Job<E>>: Job<E> { link => RBTreeAtomicLink } where E: LocalCpu + 'static);

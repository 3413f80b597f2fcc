//! The link by which a work is in the queue of a stopper. The macro expands to `unsafe` code;
//! this file contains nothing else.

use intrusive_collections::{LinkedListAtomicLink, intrusive_adapter};

use crate::stop_machine::WorkNode;

intrusive_adapter!(pub WorkLink<T> = &'static WorkNode<T>: WorkNode<T> { link => LinkedListAtomicLink } where T: 'static);

//! A callback, and chains of them: one allocation for each callback, and none for a chain.

use alloc::boxed::Box;

/// The node that follows in a chain.
type Link = Option<Box<dyn Node>>;

/// What a node carries beside its function.
#[derive(Default)]
pub struct Head {
    next: Link,
    /// The era in which the node was queued: see [`Queues`](crate::rcu::Queues).
    pub(super) era: u64,
}

/// A function that is to run once, with the link that queues it.
pub trait Node: Send {
    /// Returns the node's link and era.
    fn head(&mut self) -> &mut Head;
    /// Frees the node's memory, then calls the function.
    fn run(self: Box<Self>);
}

struct Callback<F> {
    head: Head,
    call_fn: F,
}

impl<F: FnOnce() + Send> Node for Callback<F> {
    fn head(&mut self) -> &mut Head {
        &mut self.head
    }

    fn run(self: Box<Self>) {
        // Out of this frame, which keeps an empty box until it ends.
        let Callback { call_fn, .. } = unbox(self);
        call_fn();
    }
}

/// Returns what is in `boxed`, whose memory is free then.
#[allow(clippy::boxed_local, reason = "the box is to be freed here")]
fn unbox<T>(boxed: Box<T>) -> T {
    *boxed
}

/// Returns a node that will call `call_fn`. Allocates.
pub fn node(call_fn: impl FnOnce() + Send + 'static) -> Box<dyn Node> {
    Box::new(Callback {
        head: Head::default(),
        call_fn,
    })
}

/// Nodes in a chain, with access to the first of them.
#[derive(Default)]
pub(super) struct Chain {
    first: Link,
}

impl Chain {
    /// Returns whether the chain has no node.
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Puts `node` before all others.
    pub(super) fn push(&mut self, mut node: Box<dyn Node>) {
        node.head().next = self.first.take();
        self.first = Some(node);
    }

    /// Removes the first node and returns it.
    pub(super) fn pop(&mut self) -> Option<Box<dyn Node>> {
        let mut node = self.first.take()?;
        self.first = node.head().next.take();
        Some(node)
    }

    /// Returns the era of the first node.
    pub(super) fn era(&mut self) -> Option<u64> {
        self.first.as_mut().map(|node| node.head().era)
    }

    /// Returns the same nodes in the opposite order.
    pub(super) fn reversed(mut self) -> Chain {
        let mut other = Chain::default();
        while let Some(node) = self.pop() {
            other.push(node);
        }
        other
    }
}

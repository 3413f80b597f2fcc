//! Priority inheritance: a thread that waits for a mutex lends its level to the thread that
//! holds it, so that no thread in between keeps the owner from its CPU.
//!
//! Each thread lends its own level to one thread only: the owner of the mutex that it waits
//! for. What it inherits itself is part of that level. So a chain needs no walk over it, and
//! no code holds the locks of two mutexes:
//! ```text
//!   W (90) waits for M      M's owner O waits for N            N's owner Q computes
//!   ───────────────────     ─────────────────────────          ────────────────────
//!   lends 90 to O  ───────► its level changes, so it is woken
//!   sleeps                  takes its place in N's line anew,
//!                           lends 90 to Q ───────────────────► runs at 90
//!                           sleeps again
//! ```
//! A loan is taken back the same way: where the waiter has given up, or the owner has handed
//! the mutex over. O runs at its own level then, so it takes back from Q when it next has
//! a CPU, or Q gives the loan back with N.
//!
//! No thread is less urgent than an ordinary one, so an ordinary thread has nothing to
//! lend. Its waits cost nothing here.
//!
//! # Which lock guards what
//! A thread's loans ([`Lenders`]) change under a spin lock of that thread, and what it
//! inherits changes under that lock too. The line of a mutex
//! ([`Turns`](super::turns::Turns)) changes under the mutex's spin lock. A thread sets its
//! own place ([`Place`]), under the lock of the mutex that it waits for. The locks are
//! taken in this order: a mutex's, a thread's, a run queue's.
//!
//! # Invariants
//! - **first-lends**: with the mutex's lock open, the first thread in line lends to the
//!   owner if it waits at a level above the ordinary one, and no other thread in line does.
//! - **inherits-the-most**: with a thread's lock open, what the thread inherits is the most
//!   urgent level at which a thread that lends to it waits, or a writer of the hotplug
//!   lock.
//! - **change-wakes**: a thread that changes the level of one that waits for a mutex wakes
//!   it afterwards. The woken thread, if it hasn't got the mutex, takes its place anew at
//!   the level that it has then. It reads its level after it has said that it is about to
//!   block, and the level changes under the lock of its run queue. So either it reads the
//!   new level, or the wake finds it about to block.
//! - **no-loan-left**: a thread that has the mutex, or has given up, lends to no thread.
//! - **levels-meet**: in a circle of threads that wait for each other levels only rise until
//!   they are the same. Then no thread is woken any more.
//!
//! `tests/loom_inherit.rs` model-checks this file and `turns`, with a mutex for each lock
//! and a thread of the model for each thread.

#![forbid(unsafe_code)]

use alloc::sync::Arc;

use intrusive_collections::linked_list::AtomicLinkOps;
use intrusive_collections::{Adapter, DefaultPointerOps, LinkedList, LinkedListAtomicLink};

use crate::sched::class::{LEVELS, NORMAL_LEVEL};
use crate::sync::atomic::{AtomicU8, Ordering};

/// Stands for the place of a thread that waits for no mutex.
const NOWHERE: u8 = u8::MAX;

/// What inheritance needs of a thread.
pub trait Heir: Sized {
    /// Puts the thread in the line of a mutex.
    type WaitLink: Adapter<LinkOps = AtomicLinkOps, PointerOps = DefaultPointerOps<Arc<Self>>>;
    /// Puts the thread among those that lend to an owner.
    type LendLink: Adapter<LinkOps = AtomicLinkOps, PointerOps = DefaultPointerOps<Arc<Self>>>;
    /// The adapter itself.
    const WAIT_LINK: Self::WaitLink;
    /// The adapter itself.
    const LEND_LINK: Self::LendLink;

    /// Returns the link of [`Heir::WAIT_LINK`].
    fn wait_link(&self) -> &LinkedListAtomicLink;

    /// Returns where the thread waits.
    fn place(&self) -> &Place;

    /// Returns the level at which the thread runs or would run, what it inherits included.
    fn level(&self) -> usize;

    /// Calls `change_fn` under the thread's lock.
    fn with_lenders<R>(&self, change_fn: impl FnOnce(&mut Lenders<Self>) -> R) -> R;

    /// Has `thread` inherit `level`; the lowest of all: nothing. Wakes it if its own level has changed
    /// and it waits for a mutex (change-wakes).
    ///
    /// # Context
    /// Under the thread's lock.
    fn inherit(thread: &Arc<Self>, level: usize);

    /// Marks `me`, the running thread, as about to block.
    fn about_to_block(me: &Arc<Self>);

    /// Wakes `thread` if it waits or is about to.
    fn wake(thread: &Arc<Self>);
}

/// Whether a thread waits for a mutex, and at which level it stands in line there.
///
/// Relaxed: under the lock of that mutex; what the thread lends is recounted afterwards. A
/// thread that changes the level looks at it after it has held the lock of the run queue
/// (change-wakes).
#[derive(Debug)]
pub struct Place(AtomicU8);

impl Place {
    /// Returns the place of a thread that doesn't wait.
    pub fn new() -> Place {
        Place(AtomicU8::new(NOWHERE))
    }

    /// Returns whether the thread waits, as far as a thread that has changed its level must
    /// know.
    #[inline]
    pub fn waits(&self) -> bool {
        self.0.load(Ordering::Relaxed) != NOWHERE
    }

    /// Returns the level at which the thread waits.
    #[inline]
    pub fn at(&self) -> usize {
        usize::from(self.0.load(Ordering::Relaxed))
    }

    /// Notes that the thread waits at `level`.
    #[inline]
    pub(super) fn wait_at(&self, level: usize) {
        let level = u8::try_from(level).expect("BUG: levels fit a byte");
        self.0.store(level, Ordering::Relaxed);
    }

    /// Notes that the thread waits no longer.
    #[inline]
    pub(super) fn leave(&self) {
        self.0.store(NOWHERE, Ordering::Relaxed);
    }

    /// Returns whether a thread that waits here has something to lend.
    #[inline]
    pub(super) fn is_urgent(&self) -> bool {
        self.at() < NORMAL_LEVEL
    }
}

impl Default for Place {
    fn default() -> Self {
        Self::new()
    }
}

/// The threads that lend to one thread: the first in line of each mutex that it holds and
/// for which an urgent thread waits.
pub struct Lenders<T: Heir> {
    list: LinkedList<T::LendLink>,
    /// The level that a writer of the hotplug lock lends; [`LEVELS`]: nothing.
    writer: usize,
}

impl<T: Heir> Lenders<T> {
    /// Returns that no thread lends.
    pub fn new() -> Self {
        Lenders {
            list: LinkedList::new(T::LEND_LINK),
            writer: LEVELS,
        }
    }

    /// Has a writer of the hotplug lock lend `level`; none if that is the ordinary one.
    pub(super) fn lend_as_writer(&mut self, level: usize) {
        self.writer = if level < NORMAL_LEVEL { level } else { LEVELS };
    }

    pub(super) fn add(&mut self, lender: Arc<T>) {
        self.list.push_back(lender);
    }

    pub(super) fn remove(&mut self, lender: &T) {
        let mut at = self.list.front_mut();
        while at.get().is_some_and(|other| !core::ptr::eq(other, lender)) {
            at.move_next();
        }
        let removed = at.remove();
        assert!(
            removed.is_some(),
            "BUG: a thread takes back what it never lent"
        );
    }

    /// Returns the most urgent level that is lent; the lowest of all: none (inherits-the-most).
    pub fn most_urgent(&self) -> usize {
        let lent = self.list.iter().map(|lender| lender.place().at());
        lent.fold(self.writer, usize::min)
    }

    /// Has `thread`, whose loans these are, inherit what is lent (inherits-the-most).
    pub(super) fn settle(&self, thread: &Arc<T>) {
        T::inherit(thread, self.most_urgent());
    }
}

impl<T: Heir> Default for Lenders<T> {
    fn default() -> Self {
        Self::new()
    }
}

//! The lock that keeps CPUs from coming up and going down. Code that needs the set of
//! CPUs unchanged for longer than a moment reads; hotplug writes.
//!
//! A reader that meets no writer writes one word of its own CPU ([`ReaderCounts`]).
//! Writers get the lock in the order in which they asked. Readers that came while a
//! writer had the lock are let in when it leaves, before the next writer. So neither
//! starves, and a thread that reads must not read again inside.
//!
//! A writer that waits lends its level to the readers that it waits for: `reader_loans`. It may
//! give up; then it takes that back, and opens the lock as one that leaves. A reader that waits
//! may give up too: it leaves the line under the line's lock, and nothing was lent to it there.

#![forbid(unsafe_code)]

use core::marker::PhantomData;

use crate::cpu::CpuId;
use crate::sched::lock::waiters::{Waiters, wait_patiently_until};
use crate::sched::lock::{Mutex, MutexGuard, ReaderCounts, WaitQueue, WouldDeadlock};
use crate::sched::{Patience, SchedHost, Thread, ThreadName, patience};
use crate::sync::lockdep::LockKind;
use crate::sync::{LockHeld, LockKey, PreemptGuard, SpinLock, might_sleep_in};
use crate::time::Instant;

/// The lock that keeps CPUs from coming up and going down.
pub struct CpusLock<P: SchedHost> {
    counts: ReaderCounts,
    /// Readers that wait for a writer to leave. `counts` is blocked and unblocked under
    /// this lock.
    readers: SpinLock<Waiters<P>, P>,
    /// The queue in which the writer waits for readers to leave.
    drained: WaitQueue<P>,
    writer: Mutex<(), P>,
    key: LockKey,
}

/// Checks that the running thread may wait for the lock, even if it would not have to:
/// a deadlock that happens rarely must be found always.
///
/// # Errors
/// [`WouldDeadlock`].
pub(super) fn may_wait<P: SchedHost>() -> Result<(), WouldDeadlock> {
    P::sched().with_current(|me| {
        if me.cpus_lock.is_held() {
            return Err(WouldDeadlock::HoldsIt);
        }
        if me.is_per_cpu() {
            return Err(WouldDeadlock::PerCpu);
        }
        if me.is_pinned() {
            return Err(WouldDeadlock::Pinned);
        }
        Ok(())
    })
}

#[cold]
fn forbidden<P: SchedHost>(why: WouldDeadlock) -> ! {
    panic!("BUG: {:?} {why}", P::sched().current())
}

impl<P: SchedHost> CpusLock<P> {
    /// Returns an open lock for `cpus` CPUs.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn new(cpus: usize) -> Self {
        CpusLock {
            counts: ReaderCounts::new(cpus),
            readers: SpinLock::new(Waiters::new()),
            drained: WaitQueue::new(),
            writer: Mutex::new(()),
            key: LockKey::new::<()>(LockKind::Rw),
        }
    }

    /// Takes the lock for reading: until the guard is dropped no CPU comes or goes.
    ///
    /// # Context
    /// Thread, preemption on, not pinned; may sleep while a CPU comes or goes. Not
    /// inside another read: a writer that came in between would wait for the first
    /// read, and the second read for the writer. Not in a per-CPU thread: hotplug waits
    /// until that has parked.
    ///
    /// # Panics
    /// If the thread is pinned, holds the lock or is a per-CPU thread
    /// ([`WouldDeadlock`]), whether it would have to wait or not.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn read(&self) -> CpusReadGuard<'_, P> {
        might_sleep_in::<P>("cpus_read_lock");
        let may = may_wait::<P>();
        let held = self.key.acquire();
        if let Err(why) = may {
            forbidden::<P>(why);
        }
        self.read_allowed(held)
    }

    /// Does as [`CpusLock::read`], but returns an error instead of panicking.
    ///
    /// # Context
    /// As [`CpusLock::read`].
    ///
    /// # Errors
    /// [`WouldDeadlock`], whether it would have to wait or not.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn read_if_it_may(&self) -> Result<CpusReadGuard<'_, P>, WouldDeadlock> {
        might_sleep_in::<P>("cpus_read_lock");
        may_wait::<P>()?;
        Ok(self.read_allowed(self.key.acquire()))
    }

    /// Does as [`CpusLock::read_if_it_may`], but waits no longer than until `at`. Then it
    /// returns the name of the thread that brings CPUs up or takes them down, or waits to do
    /// so, if there is one still. If the lock is free, it is taken however late it is.
    ///
    /// # Context
    /// As [`CpusLock::read`].
    ///
    /// # Errors
    /// As [`CpusLock::read_if_it_may`].
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn read_until_if_it_may(
        &self,
        at: Instant,
    ) -> Result<Result<CpusReadGuard<'_, P>, Option<ThreadName>>, WouldDeadlock> {
        might_sleep_in::<P>("cpus_read_lock");
        may_wait::<P>()?;
        let held = self.key.acquire();
        if self.enter_until(at) {
            return Ok(Ok(self.read_guard(held)));
        }
        held.release();
        Ok(Err(self.writer_name_racy()))
    }

    fn read_allowed<'a>(&'a self, held: LockHeld<'a, P>) -> CpusReadGuard<'a, P> {
        let entered = self.enter_until(Instant::FOREVER);
        assert!(entered, "BUG: a wait without limit ended without success");
        self.read_guard(held)
    }

    /// Makes the running thread a reader, and waits for a writer until `at` if it must. Returns
    /// whether it reads.
    #[inline]
    fn enter_until(&self, at: Instant) -> bool {
        // Before it counts itself (`reader-is-marked` of `reader_loans`).
        P::sched().with_current(|me| me.cpus_lock.begin_read());
        self.try_enter() || self.enter_slowly(at)
    }

    /// Returns the name of the thread that has the lock for writing, or waits for it.
    fn writer_name_racy(&self) -> Option<ThreadName> {
        self.writer.owner_racy().map(|owner| *owner.name())
    }

    /// Takes the lock for reading if no CPU is about to come or go.
    ///
    /// # Context
    /// Thread; doesn't sleep.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn try_read(&self) -> Option<CpusReadGuard<'_, P>> {
        P::sched().with_current(|me| me.cpus_lock.begin_read());
        if !self.try_enter() {
            let me = P::sched().current();
            me.cpus_lock.end_read();
            P::sched().give_back_to_writer(&me);
            return None;
        }
        Some(self.read_guard(self.key.acquired()))
    }

    fn read_guard<'a>(&'a self, held: LockHeld<'a, P>) -> CpusReadGuard<'a, P> {
        CpusReadGuard {
            lock: self,
            held,
            _not_send: PhantomData,
        }
    }

    fn try_enter(&self) -> bool {
        let here = PreemptGuard::<P>::new();
        let entered = self.counts.try_enter(P::this_cpu());
        drop(here);
        if !entered {
            self.drained.wake_one();
        }
        entered
    }

    #[cold]
    fn enter_slowly(&self, at: Instant) -> bool {
        let me = P::sched().current();
        {
            let mut readers = self.readers.lock_irqsave();
            let waits = self.counts.is_blocked();
            if waits {
                me.cpus_lock.wait();
            }
            // (`no-loan-in-line` of `reader_loans`)
            P::sched().give_back_to_writer(&me);
            if !waits {
                // The writer has left, and no other one comes under this lock.
                self.counts.let_in(P::this_cpu(), 1);
                return true;
            }
            readers.add(&me);
        }
        if wait_patiently_until(&self.readers, &me, at, "cpus_read_lock") {
            return true;
        }
        // A writer that has left meanwhile has let this thread in: then it reads.
        let mut readers = self.readers.lock_irqsave();
        let gives_up = readers.remove(&me);
        if gives_up {
            me.cpus_lock.give_up(); // (`gives-up-in-line` of `reader_loans`)
        }
        !gives_up
    }

    /// Takes the lock for writing, to change the set of CPUs.
    ///
    /// # Context
    /// Thread, preemption on, not pinned; sleeps until all readers have left.
    ///
    /// # Panics
    /// If the thread is pinned, holds the lock or is a per-CPU thread
    /// ([`WouldDeadlock`]), whether it would have to wait or not.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn write(&self) -> CpusWriteGuard<'_, P> {
        match self.write_if_it_may() {
            Ok(guard) => guard,
            Err(why) => forbidden::<P>(why),
        }
    }

    /// Does as [`CpusLock::write`], but returns an error instead of panicking.
    ///
    /// # Context
    /// As [`CpusLock::write`].
    ///
    /// # Errors
    /// [`WouldDeadlock`], whether it would have to wait or not.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn write_if_it_may(&self) -> Result<CpusWriteGuard<'_, P>, WouldDeadlock> {
        let guard = self.write_until_if_it_may(Instant::FOREVER)?;
        Ok(guard.unwrap_or_else(|_| panic!("BUG: a wait without a limit has ended at it")))
    }

    /// Does as [`CpusLock::write_if_it_may`], but waits no longer than until `at`. Then it
    /// returns the name of the thread that has the lock, if one has it still.
    ///
    /// # Context
    /// As [`CpusLock::write`].
    ///
    /// # Errors
    /// As [`CpusLock::write_if_it_may`].
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn write_until_if_it_may(
        &self,
        at: Instant,
    ) -> Result<Result<CpusWriteGuard<'_, P>, Option<ThreadName>>, WouldDeadlock> {
        might_sleep_in::<P>("an operation of hotplug");
        may_wait::<P>()?;
        let held = self.key.acquire();
        let Some(turn) = self.writer.lock_until(at) else {
            held.release();
            return Ok(Err(self.writer_name_racy()));
        };
        {
            let _readers = self.readers.lock_irqsave();
            self.counts.block();
        }
        if !self.counts.is_drained() && !self.wait_for_readers(at) {
            // Readers lose what was lent to them, and those that wait are let in.
            P::sched().take_back_from_all();
            let reader = P::sched().a_reader();
            self.leave_write();
            held.release();
            return Ok(Err(reader));
        }
        P::sched().with_current(|me| me.cpus_lock.begin_write());
        Ok(Ok(CpusWriteGuard {
            lock: self,
            held,
            _turn: turn,
        }))
    }

    /// Waits until all readers have left, or until `at`; returns whether they have. They are as
    /// urgent as this thread meanwhile.
    #[cold]
    fn wait_for_readers(&self, at: Instant) -> bool {
        let me = P::sched().current();
        let mut late = Patience::begin::<P>();
        while !self.counts.is_drained() {
            let level = me.level();
            me.place.wait_at(level); // A change of the level wakes it from here on.
            P::sched().lend_to_readers(level);
            let ready = || self.counts.is_drained() || me.level() != level;
            if !self.drained.wait_until(late.next_look().min(at), ready) {
                if at <= late.next_look() {
                    me.place.leave();
                    return self.counts.is_drained();
                }
                if late.is_out(P::now()) {
                    log::warn!(
                        "{} has waited {} s for cpus_write_lock: a thread holds cpus_read_lock",
                        me.name(),
                        patience::<P>().as_secs()
                    );
                }
            }
        }
        me.place.leave();
        true
    }

    fn leave_read(&self) {
        let here = PreemptGuard::<P>::new();
        let tell = self.counts.leave(P::this_cpu());
        drop(here);
        // The writer that has lent may have left (`leaver-gives-back` of `reader_loans`).
        if tell || P::sched().with_current(Thread::inherits) {
            self.leave_as_heir();
        }
    }

    #[cold]
    fn leave_as_heir(&self) {
        self.drained.wake_one();
        // Not before the writer is woken: this thread may lose its CPU here.
        let me = P::sched().current();
        P::sched().give_back_to_writer(&me);
    }

    /// Lets in the readers that have come meanwhile, then opens the lock to all.
    fn leave_write(&self) {
        let mut readers = self.readers.lock_irqsave();
        let cpu: CpuId = P::this_cpu();
        while let Some(reader) = readers.pop() {
            self.counts.let_in(cpu, 1);
            reader.cpus_lock.let_in();
            P::sched().wake(&reader);
        }
        self.counts.unblock();
    }
}

/// No CPU comes or goes while this exists.
///
/// Not `Send`: it belongs to the thread that made it.
#[must_use]
pub struct CpusReadGuard<'a, P: SchedHost> {
    lock: &'a CpusLock<P>,
    held: LockHeld<'a, P>,
    _not_send: PhantomData<*const ()>,
}

impl<P: SchedHost> Drop for CpusReadGuard<'_, P> {
    fn drop(&mut self) {
        self.held.release();
        P::sched().with_current(|me| me.cpus_lock.end_read());
        self.lock.leave_read();
    }
}

/// Only this thread may bring CPUs up or take them down while this exists.
#[must_use]
pub struct CpusWriteGuard<'a, P: SchedHost> {
    lock: &'a CpusLock<P>,
    held: LockHeld<'a, P>,
    /// Passed on after the readers were let in: fields drop after `drop`.
    _turn: MutexGuard<'a, (), P>,
}

impl<P: SchedHost> Drop for CpusWriteGuard<'_, P> {
    fn drop(&mut self) {
        self.held.release();
        P::sched().with_current(|me| me.cpus_lock.end_write());
        self.lock.leave_write();
    }
}

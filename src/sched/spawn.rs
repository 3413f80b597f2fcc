//! Making, starting and ending threads.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;

use crate::cpu::{CpuId, CpuMask};
use crate::platform::OutOfStacks;
use crate::sched::thread::Body;
use crate::sched::{Class, Nice, Placement, SchedHost, Scheduler, Thread, ThreadName, ThreadState};
use crate::sync::atomic::Ordering;
use crate::sync::{IrqGuard, LockMap, PreemptGuard};

/// Why a thread could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpawnError {
    /// No stack is left.
    OutOfStacks,
    /// The CPU to which the thread should be bound is not active.
    NotActive(CpuId),
    /// None of the CPUs on which the thread may run is active.
    NoActiveCpu(CpuMask),
}

/// What a new thread may claim of the CPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rank {
    /// The thread's class.
    pub class: Class,
    /// How nice the thread is as an ordinary one.
    pub nice: Nice,
}

impl From<Class> for Rank {
    fn from(class: Class) -> Self {
        let nice = Nice::default();
        Rank { class, nice }
    }
}

impl From<OutOfStacks> for SpawnError {
    fn from(_: OutOfStacks) -> Self {
        SpawnError::OutOfStacks
    }
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SpawnError::OutOfStacks => fmt::Display::fmt(&OutOfStacks, f),
            SpawnError::NotActive(cpu) => write!(f, "CPU {cpu} is not active"),
            SpawnError::NoActiveCpu(cpus) => write!(f, "none of CPUs {cpus} is active"),
        }
    }
}

impl core::error::Error for SpawnError {}

impl<P: SchedHost> Scheduler<P> {
    /// Makes a thread that will run `body`. It is parked until it is unparked.
    ///
    /// * `work` — for a per-CPU thread, the work for which others wait
    ///
    /// # Errors
    /// [`SpawnError::OutOfStacks`].
    #[cfg_attr(debug_assertions, track_caller)]
    pub(crate) fn create(
        &self,
        name: ThreadName,
        class: Class,
        place: Placement,
        body: Body,
        work: LockMap,
    ) -> Result<Arc<Thread<P>>, SpawnError> {
        let thread = Self::make(name, class.into(), place, body, work)?;
        self.list(&thread);
        Ok(thread)
    }

    /// Does as [`Scheduler::create`], but no other thread can find the new one yet.
    #[cfg_attr(debug_assertions, track_caller)]
    fn make(
        name: ThreadName,
        rank: Rank,
        place: Placement,
        body: Body,
        work: LockMap,
    ) -> Result<Arc<Thread<P>>, SpawnError> {
        let state = ThreadState::Parked;
        let thread = Thread::new(name, rank.class, place, state, Some(body), work);
        thread.share.set_nice(rank.nice);
        let arg = Arc::as_ptr(&thread).expose_provenance();
        thread.make_context(|| P::new_context(&name, thread_entry::<P>, arg))?;
        Ok(thread)
    }

    /// Adds `thread` to the list of threads that live. A walk over the list takes the
    /// lock of the queue to which each thread belongs, so the thread's CPU is set
    /// before this call.
    fn list(&self, thread: &Arc<Thread<P>>) {
        let mut threads = self.threads.lock_irqsave();
        thread.set_number(self.listed.fetch_add(1, Ordering::Relaxed) + 1);
        threads.push_back(Arc::clone(thread));
    }

    /// Starts a thread that may run on `cpus`. CPUs that the machine doesn't have are
    /// left out of its affinity, as Linux does.
    ///
    /// # Context
    /// Thread.
    ///
    /// # Errors
    /// [`SpawnError::NoActiveCpu`], [`SpawnError::OutOfStacks`]. Nothing has changed
    /// then.
    pub fn spawn(
        &self,
        name: ThreadName,
        rank: impl Into<Rank>,
        cpus: &CpuMask,
        body: impl FnOnce() + Send + 'static,
    ) -> Result<Arc<Thread<P>>, SpawnError> {
        let thread = Self::make_among(name, rank.into(), cpus, Box::new(body))?;
        self.start_on_one_of(thread, cpus)
    }

    /// Does as [`Scheduler::make`], for a thread that may run on `cpus`.
    fn make_among(
        name: ThreadName,
        rank: Rank,
        cpus: &CpuMask,
        body: Body,
    ) -> Result<Arc<Thread<P>>, SpawnError> {
        let among = Placement::Among(P::masks().possible().and(cpus));
        Self::make(name, rank, among, body, LockMap::new())
    }

    /// Starts `thread`, which no other thread can find yet, on one of `cpus`: on an idle
    /// one, else on this CPU if no thread waits here yet, else where the fewest wait.
    ///
    /// # Context
    /// Thread, preemption on: a thread that is refused drops its body, and that drop may
    /// sleep.
    ///
    /// # Errors
    /// [`SpawnError::NoActiveCpu`].
    fn start_on_one_of(
        &self,
        thread: Arc<Thread<P>>,
        cpus: &CpuMask,
    ) -> Result<Arc<Thread<P>>, SpawnError> {
        if self.try_start_on_one_of(&thread, cpus) {
            Ok(thread)
        } else {
            Err(SpawnError::NoActiveCpu(*cpus))
        }
    }

    /// Does as [`Scheduler::start_on_one_of`]. Returns whether any of `cpus` is active.
    fn try_start_on_one_of(&self, thread: &Arc<Thread<P>>, cpus: &CpuMask) -> bool {
        // With preemption off an active CPU stays active until the thread is in its
        // queue.
        let _here = PreemptGuard::<P>::new();
        let active = P::masks().active().and(cpus);
        let cpu = P::this_cpu();
        // Relaxed: a hint.
        let crowded = self.cpus.get(cpu).waiting.load(Ordering::Relaxed) > 0;
        let first = if active.contains(cpu) && !crowded {
            Some(cpu)
        } else {
            self.least_loaded(&active)
        };
        let Some(first) = first else { return false };
        thread.set_cpu(first);
        self.list(thread);
        self.unpark(thread);
        true
    }

    /// Starts a thread on `cpus`. None of them can go down as long as the thread lives.
    ///
    /// # Context
    /// Thread; the caller holds off hotplug.
    ///
    /// # Errors
    /// [`SpawnError::NotActive`] if one of them is not active,
    /// [`SpawnError::OutOfStacks`]. Nothing has changed then.
    pub fn spawn_bound(
        &self,
        name: ThreadName,
        rank: impl Into<Rank>,
        cpus: &CpuMask,
        body: impl FnOnce() + Send + 'static,
    ) -> Result<Arc<Thread<P>>, SpawnError> {
        if let Some(cpu) = cpus.without(&P::masks().active()).first() {
            return Err(SpawnError::NotActive(cpu));
        }
        self.bind(cpus, 1);
        let spawned =
            Self::make_among(name, rank.into(), cpus, Box::new(body)).and_then(|thread| {
                thread.set_holds_cpus();
                self.start_on_one_of(thread, cpus)
            });
        spawned.inspect_err(|_| self.bind(cpus, u32::MAX))
    }

    /// Lets the CPUs go down that `thread`, which has ended, has kept. Its affinity is
    /// still the original one, because `set_affinity` refuses a thread that holds CPUs.
    pub(super) fn let_held_cpus_go(&self, thread: &Thread<P>) {
        if thread.holds_cpus() {
            self.bind(&thread.affinity(), u32::MAX);
        }
    }

    /// Adds `what` to the number of threads that keep each of `cpus` from going down.
    fn bind(&self, cpus: &CpuMask, what: u32) {
        for cpu in cpus.iter() {
            self.cpus.get(cpu).bound.fetch_add(what, Ordering::Relaxed);
        }
    }

    /// Starts the first thread on the boot CPU, which is not active yet: that thread
    /// makes it active.
    ///
    /// # Context
    /// Boot, as the idle thread of the boot CPU.
    ///
    /// # Errors
    /// [`SpawnError::OutOfStacks`].
    pub fn spawn_first(&self, body: Box<dyn FnOnce() + Send>) -> Result<(), SpawnError> {
        let name = ThreadName::new(format_args!("main"));
        let anywhere = Placement::Among(*P::masks().possible());
        let thread = self.create(name, Class::Normal, anywhere, body, LockMap::new())?;
        self.unpark(&thread);
        Ok(())
    }

    /// Returns how many threads keep `cpu` from going down.
    pub fn bound_threads(&self, cpu: CpuId) -> u32 {
        self.cpus.get(cpu).bound.load(Ordering::Relaxed)
    }

    /// Calls `look_fn` with every thread that has not ended, except idle threads.
    ///
    /// # Context
    /// Any; IRQs are masked and a lock is held meanwhile: no allocation, no wait.
    pub fn for_each_thread(&self, mut look_fn: impl FnMut(&Thread<P>)) {
        for thread in self.threads.lock_irqsave().iter() {
            look_fn(thread);
        }
    }

    /// Returns the thread of this number, if it has not ended and isn't an idle thread.
    ///
    /// # Context
    /// Thread.
    pub fn thread_of_number(&self, number: u32) -> Option<Arc<Thread<P>>> {
        let threads = self.threads.lock_irqsave();
        let mut at = threads.front();
        while let Some(thread) = at.get() {
            if thread.number() == number {
                return at.clone_pointer();
            }
            at.move_next();
        }
        None
    }

    /// Removes `thread` from the list of threads that live.
    fn discard(&self, thread: &Thread<P>) {
        let listed = {
            let mut threads = self.threads.lock_irqsave();
            let mut at = threads.back_mut();
            loop {
                match at.get() {
                    Some(other) if core::ptr::eq(other, thread) => break at.remove(),
                    Some(_) => at.move_prev(),
                    None => break None,
                }
            }
        };
        assert!(
            listed.is_some(),
            "BUG: {thread:?} is not among those that live"
        );
    }

    /// Ends the running thread.
    fn exit(&self) -> ! {
        self.with_current(|me| {
            // Its CPU could never go down any more, and no message would say why.
            assert!(!me.is_pinned(), "BUG: {me:?} ends while it is pinned");
            // No CPU could come up or go down any more.
            assert!(
                !me.cpus_lock.is_held(),
                "BUG: {me:?} ends with the lock of the CPUs"
            );
            assert!(
                !me.add_remove_lock.is_held(),
                "BUG: {me:?} ends with the add/remove lock of hotplug"
            );
            self.discard(me);
            let masked = IrqGuard::<P>::new();
            let _queue = self.lock_queue_of(me, &masked);
            me.set_state(ThreadState::Dead);
        });
        self.schedule();
        panic!("BUG: a dead thread was scheduled");
    }
}

/// The entry point of every thread: on its own stack, IRQs masked.
extern "C" fn thread_entry<P: SchedHost>(arg: usize) -> ! {
    let sched = P::sched();
    sched.begin_thread();
    let body = {
        let me = sched.current();
        assert!(
            Arc::as_ptr(&me).addr() == arg,
            "BUG: {me:?} was started as another thread"
        );
        me.take_body()
    };
    if let Some(body) = body {
        body();
    }
    sched.exit()
}

//! Callbacks: the threads that serve them, and the callers that pay for them. Grace periods
//! that also wait for preempted threads.
//!
//! # The threads
//! `rcu` waits for grace periods. It is of the kernel's class, so that no thread of a
//! program delays a grace period. It runs no code of a program. After each grace period it
//! rests for several times as long, so that it takes a small part of one CPU at most.
//!
//! `rcuc/N` runs the callbacks that were queued on CPU N, and runs there, because that CPU's
//! caches may still have what they free. Its class is set at boot, and is the normal one if it
//! isn't: a callback that computes takes no more of a CPU than any other thread.
//!
//! `rcuc/N` is no per-CPU thread: it isn't parked with its CPU, so it makes no operation of
//! hotplug dearer. It has an affinity to its CPU. When the CPU goes down, the thread moves with
//! all others and runs what is left on another CPU. The next batch that is released while the
//! CPU is up takes it back. The thread is made when its CPU first comes up, so a callback
//! needs no memory to run. It is parked until the first batch of its CPU is released: most CPUs
//! come up without one.
//!
//! # Callers that pay
//! A caller that finds its queue above the mark waits until it is shorter, but no longer
//! than 10 ms. The limit is for a caller that holds a lock that a callback needs: it goes
//! on, slowly, and nothing stands still for ever. A caller that may not wait is not held
//! up: in a section, in a handler, in a callback.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::time::Duration;

use crate::cpu::{CpuId, CpuMask, PerCpu};
use crate::rcu::callback::{Node, node};
use crate::rcu::callbacks::Queues;
use crate::rcu::{GraceHost, GracePeriods};
use crate::sched::lock::WaitQueue;
use crate::sched::{Class, Placement, SchedHost, SpawnError, Thread, ThreadName, ThreadState};
use crate::sched::{Patience, patience};
use crate::sync::{LockMap, Once, PreemptGuard, might_sleep_in};
use crate::time::Instant;

/// Interval at which a wait for threads checks again: the first, and the longest.
const LOOK_AGAIN: Duration = Duration::from_micros(50);
const LOOK_AGAIN_MAX: Duration = Duration::from_millis(10);
/// After a grace period the thread `rcu` rests for so many times as long as that took, but
/// no longer than this.
const REST: u64 = 8;
const LONGEST_REST: Duration = Duration::from_millis(10);
/// How long a caller of `call_rcu` that may wait waits at most for each callback.
const LONGEST_PAY: Duration = Duration::from_millis(10);

/// What a CPU has for the callbacks that are queued on it.
struct Server<P: SchedHost> {
    /// The thread `rcuc/N`, once there is one.
    thread: Once<Arc<Thread<P>>>,
    /// Where `rcuc/N` waits for the end of a grace period.
    ready: WaitQueue<P>,
    /// Where barriers wait until callbacks have run.
    passed: WaitQueue<P>,
    /// Where callers wait that have found the queue full.
    room: WaitQueue<P>,
}

impl<P: SchedHost> Server<P> {
    fn new() -> Self {
        Server {
            thread: Once::new(),
            ready: WaitQueue::new(),
            passed: WaitQueue::new(),
            room: WaitQueue::new(),
        }
    }

    /// Lets the thread run on `cpu` alone, which is its own, if that CPU is active.
    fn go_home(&self, cpu: CpuId) {
        let thread = self.thread.get().expect("BUG: a CPU without its `rcuc`");
        let home = CpuMask::of(cpu);
        if P::masks().is_active(cpu) && thread.affinity() != home {
            // An error means that the CPU goes down at this moment.
            let _ = P::sched().set_affinity(thread, &home);
        }
    }

    /// Has the thread, which no other code parks or unparks, look for a batch that may run.
    ///
    /// # Context
    /// The thread `rcu`, after the batch was released.
    fn serve(&self) {
        let thread = self.thread.get().expect("BUG: a CPU without its `rcuc`");
        if thread.state_racy() == ThreadState::Parked {
            P::sched().unpark(thread); // Its first batch.
        } else {
            self.ready.wake_one();
        }
    }
}

/// Callbacks, and the threads `rcu` and `rcuc/N`.
pub(super) struct Deferred<P: SchedHost> {
    pub(super) queues: Queues<P>,
    /// Where `rcu` waits for callbacks.
    fresh: WaitQueue<P>,
    servers: PerCpu<Server<P>>,
    /// The class of the threads `rcuc/N`, once it is known.
    class: Once<Class>,
}

impl<P: SchedHost> Deferred<P> {
    pub(super) fn new(cpus: usize) -> Self {
        Deferred {
            queues: Queues::new(cpus),
            fresh: WaitQueue::new(),
            servers: PerCpu::new(cpus, |_| Server::new()),
            class: Once::new(),
        }
    }

    /// Waits for the grace periods that callbacks need, for ever.
    fn wait_for_grace(&self, grace_periods: &GracePeriods<P>) {
        let queues = &self.queues;
        loop {
            self.fresh
                .wait_until(Instant::FOREVER, || queues.wants_grace());
            let began = P::now();
            let gathered = queues.gather();
            grace_periods.synchronize(|late| {
                log::warn!("rcu: callbacks wait for CPUs {late}");
            });
            for cpu in gathered.iter() {
                self.servers.get(cpu).go_home(cpu);
            }
            queues.release(&gathered);
            for cpu in gathered.iter() {
                self.servers.get(cpu).serve();
            }
            // A callback may queue itself, and this thread is more urgent than all others.
            let now = P::now();
            let rest = now.after_ticks(now.ticks_since(began).saturating_mul(REST));
            P::sched().sleep_until(rest.min(P::deadline(LONGEST_REST)));
        }
    }

    /// Runs the callbacks of `cpu` whose grace period is over, for ever.
    fn run_callbacks(&self, cpu: CpuId) {
        let server = self.servers.get(cpu);
        loop {
            let is_ready = || self.queues.is_ready(cpu);
            server.ready.wait_until(Instant::FOREVER, is_ready);
            let ran = self.queues.run_some(cpu);
            if ran.wants_grace {
                self.fresh.wake_one();
            }
            if ran.made_room {
                server.room.wake_all();
            }
            server.passed.wake_all();
        }
    }

    /// Returns whether the caller is a callback.
    fn is_callback(&self) -> bool {
        let mut servers = self.servers.iter();
        P::sched().with_current(|me| {
            let is_me = |thread: &Arc<Thread<P>>| core::ptr::eq(&raw const **thread, me);
            servers.any(|(_, server)| server.thread.get().is_some_and(is_me))
        })
    }

    /// Waits until the queue of `cpu`, which was full, has room, if the caller may wait.
    fn pay(&self, cpu: CpuId) {
        let may_wait = P::preempt_count() == 0 && P::irqs_enabled();
        let server = self.servers.get(cpu);
        // While the kernel boots there is no thread yet that would make room.
        if may_wait && server.thread.get().is_some() && !self.is_callback() {
            let has_room = || self.queues.has_room(cpu);
            server.room.wait_until(P::deadline(LONGEST_PAY), has_room);
        }
    }
}

impl<P: SchedHost> GracePeriods<P> {
    /// Makes the thread `rcuc/N` of this CPU run `call_fn` once, after a grace period that
    /// begins after this call. Callbacks that are queued on one CPU run in order. `call_fn` may
    /// wait, but delays all callbacks of its CPU behind it.
    ///
    /// A caller that may wait, and queues callbacks faster than they run, waits up to 10 ms
    /// each time.
    ///
    /// # Context
    /// Any in which memory may be allocated, in a still point too. Waits only in a thread
    /// with preemption and IRQs on.
    pub fn call_rcu(&self, call_fn: impl FnOnce() + Send + 'static) {
        self.queue_callback(node(call_fn));
    }

    /// Does as [`GracePeriods::call_rcu`] with a function whose node was made before. Allocates
    /// nothing.
    ///
    /// # Context
    /// Any, in a still point too. Waits only in a thread with preemption and IRQs on.
    pub fn queue_callback(&self, node: Box<dyn Node>) {
        let here = PreemptGuard::<P>::new();
        let cpu = P::this_cpu();
        let pushed = self.deferred.queues.push(cpu, node);
        drop(here);
        if pushed.wants_grace {
            self.deferred.fresh.wake_one();
        }
        if pushed.is_full {
            self.deferred.pay(cpu);
        }
    }

    /// Sets above how many waiting callbacks of one CPU a caller of
    /// [`GracePeriods::call_rcu`] waits.
    pub fn set_callback_mark(&self, mark: u64) {
        self.deferred.queues.set_mark(mark);
    }

    /// Waits until every callback that was queued before has run. It doesn't
    /// wait for those that are queued later.
    ///
    /// # Context
    /// Thread, preemption on; the boot is over.
    ///
    /// # Panics
    /// If a callback calls this: it would wait for its own end.
    pub fn barrier(&self) {
        might_sleep_in::<P>("rcu::barrier");
        let deferred = &self.deferred;
        assert!(
            !deferred.is_callback(),
            "BUG: a callback waits for all callbacks"
        );
        let era = deferred.queues.begin_era();
        for cpu in P::masks().possible().iter() {
            let done = || deferred.queues.is_past(cpu, era);
            let passed = &deferred.servers.get(cpu).passed;
            let mut late = Patience::begin::<P>();
            while !passed.wait_until(late.next_look(), done) {
                if !late.is_out(P::now()) {
                    continue;
                }
                let (queued, ran) = deferred.queues.totals();
                log::warn!(
                    "rcu: a barrier has waited {} s; {ran} of {queued} callbacks have run",
                    patience::<P>().as_secs(),
                );
            }
        }
    }

    /// Waits until each thread has slept, parked, yielded or ended since the call, or
    /// had done so when it last left its CPU. So it also waits for a thread that was
    /// preempted, which [`Self::synchronize`] doesn't. Idle threads don't count.
    ///
    /// # Context
    /// Thread, preemption on. Waits without limit while other threads compute.
    pub fn synchronize_tasks(&self) {
        might_sleep_in::<P>("rcu::synchronize_tasks");
        let late = || {
            log::warn!(
                "rcu: {} threads have run for {} s without a rest",
                P::sched().holdouts(),
                patience::<P>().as_secs()
            );
        };
        self.task_rounds.share_run(late, |late| {
            let mut left = P::sched().note_holdouts();
            let mut wait = LOOK_AGAIN;
            let mut patience = Patience::begin::<P>();
            while left > 0 {
                P::sched().sleep_until(P::deadline(wait));
                wait = LOOK_AGAIN_MAX.min(wait * 2);
                left = P::sched().holdouts();
                if patience.is_out(P::now()) {
                    late();
                }
            }
        });
    }
}

impl<P: GraceHost> GracePeriods<P> {
    /// Starts the threads of callbacks. Callbacks run in threads of `class`. The CPUs that are
    /// online get theirs here, and each later one from [`GracePeriods::prepare`].
    ///
    /// # Context
    /// Thread; once, when a CPU is active. The caller holds off hotplug.
    ///
    /// # Errors
    /// [`SpawnError`].
    pub fn start_threads(&self, class: Class) -> Result<(), SpawnError> {
        self.deferred.class.call_once(|| class);
        for cpu in P::masks().online().iter() {
            self.prepare(cpu)?;
        }
        let waits = || {
            let all = P::grace_periods();
            all.deferred.wait_for_grace(all);
        };
        let name = ThreadName::new(format_args!("rcu"));
        P::sched().spawn(name, Class::KERNEL, P::masks().possible(), waits)?;
        Ok(())
    }

    /// Makes the thread that runs `cpu`'s callbacks, parked, if there is none yet, and if
    /// [`GracePeriods::start_threads`] has been called.
    ///
    /// # Context
    /// Thread; one caller at a time (`prep:threads`).
    ///
    /// # Errors
    /// [`SpawnError`].
    pub fn prepare(&self, cpu: CpuId) -> Result<(), SpawnError> {
        let server = self.deferred.servers.get(cpu);
        let Some(class) = self.deferred.class.get() else {
            return Ok(());
        };
        if server.thread.get().is_none() {
            let name = ThreadName::of_cpu("rcuc", cpu);
            let runs = move || P::grace_periods().deferred.run_callbacks(cpu);
            let home = Placement::Among(CpuMask::of(cpu));
            let (body, work) = (Box::new(runs), LockMap::new());
            let thread = P::sched().create(name, *class, home, body, work)?;
            thread.set_moves_silently();
            server.thread.call_once(|| thread);
        }
        Ok(())
    }
}

//! Cross calls: a function that runs on another CPU, in its interrupt handler.
//!
//! ```text
//!   sender, preemption off            target
//!   ──────────────────────            ──────
//!   is it online? no: Offline
//!   push a node on its queue
//!   it was empty: the call SGI ─────► takes all that is queued, runs each,
//!   a few turns, then sleeps ◄─────── answers; wakes the sender, if it sleeps
//! ```
//!
//! # What may be borrowed, and why that is sound
//! A call that is waited for may borrow from its sender's frame. The sender keeps
//! preemption off from its look at the online mask until the answer. A CPU leaves
//! `online` in a still point only. No still point begins before every CPU's stopper
//! runs, the sender's CPU included. So the target stays online until it has answered,
//! and such a call is never in the queue of a CPU that leaves.
//!
//! A call that no sender waits for owns what it uses. If it was queued before the still
//! point that takes its CPU down, it has run by the end of that: each CPU runs its
//! queue when it has masked IRQs for a stop, and once more when it is no longer online.
//! So a call is executed or refused, never later.
//!
//! # Invariants
//! - **calls-online-only**: a CPU pushes to a queue only if it has seen that queue's
//!   CPU online and has had preemption off since. So a queue is empty while its CPU is
//!   offline.
//! - **dying-call-no-dying**: several CPUs may leave in one still point, each at its own
//!   pace: the only ones that see another CPU leave. A call that one of them still runs can't
//!   call another one, which may have emptied its queue for the last time.
//! - **waiter-serves-queue**: a sender that waits with IRQs masked serves its own
//!   queue, so two CPUs may call each other in that way. It doesn't sleep, because it
//!   may be in a handler that has interrupted another wait of this CPU.
//! - **call-before-stop**: a sender that waits for an answer can delay a stop, and a
//!   stop never delays such a sender: while it waits, not every CPU has arrived, so no
//!   CPU has masked IRQs yet. This is why the function of a call that is not waited for
//!   must not wait for a call itself: the CPU of its sender may be in its stopper by
//!   then. The same holds for a timer's function, which may have interrupted a stopper.
//!   Both are found ([`Inside`]).
//!
//! # Sources
//! Linux `kernel/smp.c` for the names and what users expect of them.

mod inside;
mod many;
mod one;
mod owned;
mod queue;

use core::fmt;
use core::marker::PhantomData;

pub use inside::Inside;
pub use many::{ManyCall, ManyNodes};
pub use one::OneCall;
pub use owned::OwnedCall;
pub use queue::{CallNode, CallQueue, RunFn, Target};

use crate::config::MASK_WORDS;
use crate::cpu::{CpuId, CpuMask, PerCpu};
use crate::platform::{PreemptWork, Sgi};
use crate::sched::SchedHost;
use crate::sched::{Patience, patience};
use crate::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use crate::sync::{CallName, IrqGuard, Once, PreemptGuard, Running, SpinBudget, Spins, WaitPoint};

/// What cross calls need from the layers above.
pub trait CallHost: SchedHost {
    /// Returns the one instance.
    fn calls() -> &'static Calls<Self>;
}

/// Why a call was refused. The function has not run, and will not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallError {
    /// The CPU is not online.
    Offline(CpuId),
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallError::Offline(cpu) => write!(f, "CPU {cpu} is not online"),
        }
    }
}

impl core::error::Error for CallError {}

/// The queues of all CPUs.
pub struct Calls<P: CallHost> {
    cpus: PerCpu<OneCpu>,
    /// Number of mask words that the machine's CPUs take.
    words: usize,
    /// The wait point at which senders sleep until the answer.
    point: WaitPoint,
    /// How long a sender spins before that, for the answer of one CPU and of many.
    to_one: SpinBudget,
    to_many: SpinBudget,
    _platform: PhantomData<fn() -> P>,
}

/// The call state of one CPU.
struct OneCpu {
    queue: CallQueue,
    /// The CPU's nodes as a source, once `prep:calls` has made them.
    nodes: Once<ManyNodes>,
    /// Whether the nodes are in use. Relaxed: only this CPU uses it, preemption off.
    calls_many: AtomicBool,
    /// The [`Inside`] that the CPU runs. Relaxed: only this CPU uses it.
    inside: AtomicU32,
    /// The name of the called function that the CPU runs.
    running: Running,
}

impl<P: CallHost> Calls<P> {
    /// Returns empty queues for `cpus` CPUs.
    pub fn new(cpus: usize) -> Self {
        Calls {
            cpus: PerCpu::new(cpus, |_| OneCpu {
                queue: CallQueue::new(),
                nodes: Once::new(),
                calls_many: AtomicBool::new(false),
                inside: AtomicU32::new(Inside::Nothing as u32),
                running: Running::new(),
            }),
            words: cpus.div_ceil(64),
            point: WaitPoint::new(),
            to_one: SpinBudget::of_many(),
            to_many: SpinBudget::of_many(),
            _platform: PhantomData,
        }
    }

    /// Makes the nodes by which `cpu` calls many CPUs (`prep:calls`). They stay for
    /// ever.
    ///
    /// # Context
    /// Thread on the control CPU. Allocates.
    pub fn prepare(&self, cpu: CpuId) {
        let cpus = P::masks().possible().count();
        let nodes = &self.cpus.get(cpu).nodes;
        nodes.call_once(|| ManyNodes::new::<P>(cpus));
    }

    /// Checks that the queue of `cpu` is empty, in the startup of `init:calls`.
    ///
    /// # Panics
    /// If a call was sent while `cpu` was offline (calls-online-only): its sender's
    /// frame may be gone.
    pub fn startup(&self, cpu: CpuId) {
        assert!(
            self.cpus.get(cpu).queue.is_empty(),
            "BUG: {cpu:?} was called while it was offline"
        );
    }

    /// Returns whether a call is queued on `cpu`. A call is seen that was queued before an event
    /// with which this CPU has synchronised.
    ///
    /// # Context
    /// Any.
    #[inline]
    pub fn has_queued(&self, cpu: CpuId) -> bool {
        !self.cpus.get(cpu).queue.is_empty()
    }

    /// Runs the calls that are queued on `cpu` at this moment, in a stop before the CPU
    /// is still. Calls that are queued meanwhile stay for the call SGI, so functions
    /// that call each other's CPUs for ever don't delay a stop.
    ///
    /// # Context
    /// `cpu` itself, IRQs masked.
    #[inline]
    pub fn run_queued(&self, cpu: CpuId) {
        self.run_queue(cpu);
    }

    /// Runs calls that are queued on `cpu` until none is left, in the teardown of
    /// `init:calls`. That ends, because no other CPU runs anything in a still point.
    ///
    /// # Context
    /// `cpu` itself, IRQs masked, in the still point that takes it away.
    #[inline]
    pub fn drain(&self, cpu: CpuId) {
        // These functions were called for an interrupt handler. They may allocate, and free
        // the calls' memory.
        let is_still = P::has_preempt_work(PreemptWork::Still);
        P::set_preempt_work(PreemptWork::Still, false);
        while self.run_queue(cpu) {}
        P::set_preempt_work(PreemptWork::Still, is_still);
    }

    /// Handles the call SGI on `cpu`: runs the queued calls.
    ///
    /// # Context
    /// `cpu` itself, interrupt handler.
    #[inline]
    pub fn interrupt(&self, cpu: CpuId) {
        self.run_queue(cpu);
    }

    fn run_queue(&self, cpu: CpuId) -> bool {
        let point = &self.point;
        let OneCpu { queue, running, .. } = self.cpus.get(cpu);
        queue.run(&Target {
            cpu,
            point,
            running,
        })
    }

    /// Runs `call_fn` on `cpu`, in its interrupt handler with IRQs masked, and returns
    /// its value. If `cpu` is the running CPU, `call_fn` is called directly, with IRQs
    /// masked.
    ///
    /// `call_fn` must not sleep, nor take a lock that is taken with IRQs on anywhere.
    ///
    /// # Context
    /// A thread, or the function of a call that is waited for, preemption and IRQs on
    /// or off. Not any other interrupt handler, and not inside a still point, where no
    /// CPU would answer. Waits until `cpu` takes interrupts. After ten seconds it logs
    /// that it waits, and waits on.
    ///
    /// # Errors
    /// [`CallError::Offline`].
    ///
    /// # Panics
    /// In the function of a timer, of a call that no sender waits for or of a still
    /// point, whether it would have to wait or not.
    #[inline]
    pub fn call_on<R: Send>(
        &'static self,
        cpu: CpuId,
        call_fn: impl FnOnce() -> R + Send,
    ) -> Result<R, CallError> {
        let _stay = PreemptGuard::<P>::new();
        let me = P::this_cpu();
        let masked = !P::irqs_enabled();
        if masked {
            self.check_may_wait(me);
        }
        if cpu == me {
            let _masked = IrqGuard::<P>::new();
            return Ok(call_fn());
        }
        if !P::masks().is_online(cpu) {
            return Err(CallError::Offline(cpu));
        }
        let call = OneCall::new::<P>(me, call_fn);
        // SAFETY: `call` stays in this frame until it is answered. `cpu` has been
        // online since preemption is off, so it answers (see above).
        let was_empty = unsafe { self.cpus.get(cpu).queue.push(call.node()) };
        if was_empty || masked {
            P::send_sgi_to(Sgi::Call, me, cpu);
        }
        let answered = || call.is_answered();
        self.wait(me, &self.to_one, answered, || CpuMask::of(cpu));
        Ok(call.into_value())
    }

    /// Makes `cpu` run `call_fn` as [`Calls::call_on`] does, without waiting for it. If
    /// `cpu` is the running CPU, `call_fn` is called directly, with IRQs masked.
    ///
    /// # Context
    /// Any; allocates, unless `cpu` is the running CPU. `call_fn` may not itself call
    /// another CPU and wait (call-before-stop): that panics.
    ///
    /// # Errors
    /// [`CallError::Offline`]; also in a call that this CPU runs while it goes offline, if
    /// `cpu` goes with it. Without an error `call_fn` runs once, even if `cpu` goes offline.
    pub fn call_on_nowait(
        &'static self,
        cpu: CpuId,
        call_fn: impl FnOnce() + Send + 'static,
    ) -> Result<(), CallError> {
        let _stay = PreemptGuard::<P>::new();
        let me = P::this_cpu();
        if cpu == me {
            let _masked = IrqGuard::<P>::new();
            self.run_unwaited(call_fn);
            return Ok(());
        }
        // (dying-call-no-dying)
        if !P::masks().may_give_work(me, cpu) {
            return Err(CallError::Offline(cpu));
        }
        let call = OwnedCall::new(call_fn, |call_fn| P::calls().run_unwaited(call_fn));
        // SAFETY: the call is on the heap and owns what it uses. `cpu` is online until
        // the stop that this section delays, and which runs the call.
        let was_empty = unsafe { self.cpus.get(cpu).queue.push(call.into_node()) };
        if was_empty {
            P::send_sgi_to(Sgi::Call, me, cpu);
        }
        Ok(())
    }

    fn run_unwaited(&self, call_fn: impl FnOnce()) {
        self.run_inside(P::this_cpu(), Inside::UnwaitedCall, call_fn);
    }

    /// Returns the name of the called function that `cpu` ran a moment ago, for
    /// diagnosis.
    pub fn running_racy(&self, cpu: CpuId) -> Option<&'static str> {
        self.cpus.get(cpu).running.get().map(CallName::as_str)
    }

    /// Runs `call_fn` on those of `cpus` that are online, this CPU included, and
    /// returns which CPUs those were. All run it at the same time, each as
    /// [`Calls::call_on`] says. On return it has run on all of them.
    ///
    /// # Context
    /// As [`Calls::call_on`].
    ///
    /// # Panics
    /// As [`Calls::call_on`].
    pub fn call_on_many(&'static self, cpus: &CpuMask, call_fn: impl Fn(CpuId) + Sync) -> CpuMask {
        let _stay = PreemptGuard::<P>::new();
        let me = P::this_cpu();
        if !P::irqs_enabled() {
            self.check_may_wait(me);
        }
        let (mut called, many) = self.other_targets(me, cpus);
        let own = self.cpus.get(me);
        let here = cpus.contains(me);
        let call_here = || {
            if here {
                let _masked = IrqGuard::<P>::new();
                call_fn(me);
            }
        };
        if many == 0 {
            call_here();
        } else if let Some(nodes) = own.nodes.get()
            && !own.calls_many.load(Ordering::Relaxed)
        {
            own.calls_many.store(true, Ordering::Relaxed);
            let batch = ManyCall::new(me, many, &call_fn);
            self.send_batch(&called, nodes, &batch);
            call_here();
            let is_over = || batch.is_over();
            self.wait(me, &self.to_many, is_over, || nodes.missing_racy());
            own.calls_many.store(false, Ordering::Relaxed);
        } else {
            // This CPU is inside another call of many, which uses the nodes.
            for cpu in called.iter() {
                let answer = self.call_on(cpu, || call_fn(cpu));
                assert!(answer.is_ok(), "BUG: {cpu:?} left while it was called");
            }
            call_here();
        }
        if here {
            called.insert(me);
        }
        called
    }

    /// Returns those of `cpus` that are online, without this CPU, and their number.
    /// Reads only as many mask words as the machine's CPUs take.
    #[inline] // Else the mask is copied by `memcpy`.
    fn other_targets(&self, me: CpuId, cpus: &CpuMask) -> (CpuMask, usize) {
        let mut targets = [0; MASK_WORDS];
        let mut many = 0;
        let words = targets.iter_mut().zip(cpus.bits()).enumerate();
        for (word, (target, wanted)) in words.take(self.words) {
            let myself = u64::from(word == me.index() / 64) << (me.index() % 64);
            *target = wanted & P::masks().online_word(word) & !myself;
            many += target.count_ones() as usize;
        }
        (CpuMask::from_bits(targets), many)
    }

    /// Queues `batch` on each of `targets`, and sends one SGI to all targets that need
    /// it.
    fn send_batch(&self, targets: &CpuMask, nodes: &ManyNodes, batch: &ManyCall<'_>) {
        let mut had_calls = CpuMask::EMPTY;
        let masked = !P::irqs_enabled(); // If so, all need it (`empty-sends-sgi` of `queue`).
        let mut all_need_it = true;
        for cpu in targets.iter() {
            let node = nodes.ready(cpu, batch);
            // SAFETY: nodes stay for ever, and are the batch's until it is over
            // (`calls_many`), as long as `call_on_many` keeps it in its frame. `cpu`
            // has been online since preemption is off, so it answers.
            let was_empty = unsafe { self.cpus.get(cpu).queue.push(node) };
            if !(was_empty || masked) {
                had_calls.insert(cpu);
                all_need_it = false;
            }
        }
        if all_need_it {
            P::send_sgi(Sgi::Call, targets);
        } else {
            P::send_sgi(Sgi::Call, &targets.without(&had_calls));
        }
    }

    /// Waits until `done_fn` returns true, because all targets have answered; spins by `budget`
    /// before it sleeps. `missing_fn` returns the targets that have not.
    #[inline]
    fn wait(
        &self,
        me: CpuId,
        budget: &SpinBudget,
        done_fn: impl Fn() -> bool,
        missing_fn: impl Fn() -> CpuMask,
    ) {
        if !P::irqs_enabled() {
            self.wait_serving(me, done_fn, missing_fn);
            return;
        }
        let spins = Spins::Learnt(budget);
        if spins.spin::<P, ()>(|| done_fn().then_some(())).is_none() {
            self.wait_asleep(me, budget, done_fn, missing_fn);
        }
    }

    #[cold]
    fn wait_asleep(
        &self,
        me: CpuId,
        budget: &SpinBudget,
        done_fn: impl Fn() -> bool,
        missing_fn: impl Fn() -> CpuMask,
    ) {
        let mut late = Some(Patience::begin::<P>());
        // The watch ends the sleep every second, to check for late targets.
        let _watch = P::sched().watch(me);
        let spent = Spins::Spent(budget);
        self.point.wait_open::<P, ()>(me.index(), spent, || {
            if done_fn() {
                return Some(());
            }
            if late.as_mut().is_some_and(|late| late.is_out(P::now())) {
                late = None;
                self.say_late(me, &missing_fn());
            }
            None
        });
    }

    /// Waits as [`Calls::wait`] does, with IRQs masked (waiter-serves-queue).
    #[cold]
    fn wait_serving(
        &self,
        me: CpuId,
        done_fn: impl Fn() -> bool,
        missing_fn: impl Fn() -> CpuMask,
    ) {
        let mut late = Some(Patience::begin::<P>());
        while !done_fn() {
            self.run_queue(me);
            if late.as_mut().is_some_and(|late| late.is_out(P::now())) {
                late = None;
                self.say_late(me, &missing_fn());
            }
            P::relax();
        }
    }

    /// Logs that `missing` have not answered a call by `me`, and what they run instead.
    fn say_late(&self, me: CpuId, missing: &CpuMask) {
        log::warn!(
            "CPU{me} called, and CPUs {missing} have not answered for {} s",
            patience::<P>().as_secs()
        );
        for cpu in missing.iter() {
            if let Some(name) = self.running_racy(cpu) {
                log::warn!("  CPU{cpu} runs the call {name}");
            }
            if let Some(name) = P::sched().running_timer_racy(cpu) {
                log::warn!("  CPU{cpu} runs the function of the timer {name}");
            }
        }
    }
}

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
//! `online` in a still point only, and no still point begins before every CPU's
//! stopper runs, the sender's too: so the target stays until it has answered, and
//! such a call is never in the queue of a CPU that leaves. A call that nobody
//! waits for owns what it uses. One that was queued before the still point that
//! takes its CPU away has run in it at the latest: each CPU runs its queue when it
//! has masked IRQs for a stop, and once more when it is no longer online. So a
//! call is executed or refused, never later.
//!
//! # Invariants
//! - **calls-online-only**: a CPU pushes to a queue only if it has seen that queue's
//!   CPU online with preemption off since. So a queue is empty while its CPU is
//!   offline.
//! - **waiter-serves-queue**: a sender that waits with IRQs masked serves its own
//!   queue: two CPUs may call each other so. It sleeps nowhere, since what it waits for
//!   may be in a handler that has interrupted another wait of this CPU.
//! - **call-before-stop**: a sender that waits for an answer can hold up a stop, and a
//!   stop never holds up such a sender: not every CPU has arrived, so no CPU has masked
//!   IRQs yet. This is why the function of a call that is not waited for must not wait
//!   for a call itself: its own sender may be in its stopper by then. The same holds
//!   for a timer's function, which may have interrupted a stopper. Either is found
//!   ([`Inside`]).
//!
//! # Sources
//! Linux `kernel/smp.c` for the names and what users expect of them.

mod many;
mod one;
mod owned;
mod queue;

use core::fmt;
use core::marker::PhantomData;

pub use many::{ManyCall, ManyNodes};
pub use one::OneCall;
pub use owned::OwnedCall;
pub use queue::{CallNode, CallQueue, RunFn, Target};

use crate::config::MASK_WORDS;
use crate::cpu::{CpuId, CpuMask, PerCpu};
use crate::platform::Sgi;
use crate::sched::SchedHost;
use crate::sched::{late_at, patience};
use crate::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use crate::sync::{CallName, IrqGuard, Once, PreemptGuard, Running, WaitPoint};
use crate::time::Instant;

/// Turns that a sender waits awake before it sleeps, by `make bench`.
const SPINS: u32 = 100;

/// What cross calls need from their right.
pub trait CallHost: SchedHost {
    /// The one instance.
    fn calls() -> &'static Calls<Self>;
}

/// Why a call did not happen. The function has not run then, and won't.
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
    /// Words of a mask that the machine's CPUs take.
    words: usize,
    /// Where senders wait for their answers.
    point: WaitPoint,
    _platform: PhantomData<fn() -> P>,
}

/// What there is of one CPU.
struct OneCpu {
    queue: CallQueue,
    /// Its nodes as a source, once `prep:calls` has made them.
    nodes: Once<ManyNodes>,
    /// They are in use. Relaxed: this CPU's alone, preemption off.
    calls_many: AtomicBool,
    /// What it runs, as an [`Inside`]. Relaxed: this CPU's alone.
    inside: AtomicU32,
    /// Whose function it runs of those that were called here.
    running: Running,
}

/// Where a CPU is that may not wait for another one's answer: that one may be waiting for
/// what this CPU does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Inside {
    /// Nowhere of the kind.
    Nothing,
    /// The function of a call that nobody waits for (call-before-stop).
    UnwaitedCall,
    /// An interrupt handler that runs what a program has set: it may have interrupted a
    /// stopper that others wait for.
    Handler,
    /// The function of a stop: all other CPUs have masked IRQs, so none answers.
    Stop,
}

impl Inside {
    /// What is wrong with waiting there.
    fn fault(word: u32) -> &'static str {
        const FAULTS: [(Inside, &str); 3] = [
            (
                Inside::UnwaitedCall,
                "the function of a call that nobody waits for",
            ),
            (Inside::Handler, "an interrupt handler"),
            (Inside::Stop, "the function of a stop"),
        ];
        let fault = FAULTS.iter().find(|(inside, _)| *inside as u32 == word);
        fault.map_or("nothing", |(_, what)| what)
    }
}

impl<P: CallHost> Calls<P> {
    /// For `cpus` CPUs.
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
            _platform: PhantomData,
        }
    }

    /// `prep:calls`: `cpu` has what it calls many others with, for ever.
    ///
    /// # Context
    /// Thread on the control CPU. Allocates.
    pub fn prepare(&self, cpu: CpuId) {
        let cpus = P::masks().possible().count();
        let nodes = &self.cpus.get(cpu).nodes;
        nodes.call_once(|| ManyNodes::new::<P>(cpus));
    }

    /// `init:calls`, startup: nobody has called a CPU that was offline.
    ///
    /// # Panics
    /// If somebody has (calls-online-only): it would run what is long over.
    pub fn startup(&self, cpu: CpuId) {
        assert!(
            self.cpus.get(cpu).queue.is_empty(),
            "BUG: {cpu:?} was called while it was offline"
        );
    }

    /// Runs what is queued on `cpu` at this moment, in a stop before its CPU is still.
    /// Calls that are queued meanwhile stay for the call SGI: functions that call each
    /// other's CPUs for ever hold up no stop.
    ///
    /// # Context
    /// `cpu` itself, IRQs masked.
    #[inline]
    pub fn run_queued(&self, cpu: CpuId) {
        self.run_queue(cpu);
    }

    /// `init:calls`, teardown: runs what is queued on `cpu` until nothing is. That ends,
    /// because no other CPU runs anything in a still point.
    ///
    /// # Context
    /// `cpu` itself, IRQs masked, in the still point that takes it away.
    #[inline]
    pub fn drain(&self, cpu: CpuId) {
        while self.run_queue(cpu) {}
    }

    /// The call SGI has arrived on `cpu`.
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

    /// Runs `call_fn` on `cpu`, in its interrupt handler with IRQs masked, and
    /// returns its value. On one's own CPU it is called, IRQs masked.
    ///
    /// It must not sleep, and takes no lock that is taken with IRQs on anywhere.
    ///
    /// # Context
    /// A thread, or the function of a call that is waited for, preemption and IRQs
    /// on or off. Not any other interrupt handler, and not inside a still point,
    /// where nobody would answer. Waits until `cpu` takes interrupts; after ten
    /// seconds it says so, and waits on.
    ///
    /// # Errors
    /// [`CallError::Offline`].
    ///
    /// # Panics
    /// In the function of a timer, of a call that nobody waits for or of a still point,
    /// whether it would have to wait or not.
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
        self.wait(me, || call.is_answered(), || CpuMask::of(cpu));
        Ok(call.into_value())
    }

    /// Has `call_fn` run on `cpu` as [`Calls::call_on`] does, without waiting for
    /// that. On one's own CPU it is called, IRQs masked.
    ///
    /// # Context
    /// Any; allocates. What is called from the function of a still point for another CPU
    /// runs there once the machine goes on, when that CPU takes interrupts. `call_fn` may
    /// not itself call another CPU and wait (call-before-stop): that is found.
    ///
    /// # Errors
    /// [`CallError::Offline`]. Otherwise it will run, once, even if `cpu` goes
    /// offline.
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
        if !P::masks().is_online(cpu) {
            return Err(CallError::Offline(cpu));
        }
        let call = OwnedCall::new(call_fn, |call_fn| P::calls().run_unwaited(call_fn));
        // SAFETY: it is on the heap and its own. `cpu` is online until the stop
        // that this section holds up, which runs it.
        let was_empty = unsafe { self.cpus.get(cpu).queue.push(call.into_node()) };
        if was_empty {
            P::send_sgi_to(Sgi::Call, me, cpu);
        }
        Ok(())
    }

    fn run_unwaited(&self, call_fn: impl FnOnce()) {
        self.run_inside(P::this_cpu(), Inside::UnwaitedCall, call_fn);
    }

    /// Calls `run_fn` on `cpu`, where meanwhile a wait for another CPU's answer panics.
    ///
    /// # Context
    /// `cpu` itself, IRQs masked.
    #[inline]
    pub fn run_inside(&self, cpu: CpuId, inside: Inside, run_fn: impl FnOnce()) {
        let word = &self.cpus.get(cpu).inside;
        let before = word.load(Ordering::Relaxed);
        word.store(inside as u32, Ordering::Relaxed);
        run_fn();
        word.store(before, Ordering::Relaxed);
    }

    /// Checks that this CPU, which has IRQs masked, may wait for another one's answer.
    #[cold]
    fn check_may_wait(&self, me: CpuId) {
        let inside = self.cpus.get(me).inside.load(Ordering::Relaxed);
        assert!(
            inside == Inside::Nothing as u32,
            "BUG: {} waits for another CPU's answer",
            Inside::fault(inside)
        );
    }

    /// Whose function `cpu` runs of those that were called there, a moment ago: for
    /// diagnosis.
    pub fn running_racy(&self, cpu: CpuId) -> Option<&'static str> {
        self.cpus.get(cpu).running.get().map(CallName::as_str)
    }

    /// Runs `call_fn` on those of `cpus` that are online, this CPU included if it
    /// is one, and returns which those were. All run it at the same time, each as
    /// [`Calls::call_on`] says; it has run everywhere on return.
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
            self.wait(me, || batch.is_over(), || nodes.missing_racy());
            own.calls_many.store(false, Ordering::Relaxed);
        } else {
            // Inside another call of many by this CPU: the nodes are that one's.
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

    /// Those of `cpus` that are online, this CPU left out, and how many they are.
    /// Looks at no more of the masks than the machine has CPUs.
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

    /// Queues `batch` on each of `targets`, and sends one SGI to all of them that
    /// need it.
    fn send_batch(&self, targets: &CpuMask, nodes: &ManyNodes, batch: &ManyCall<'_>) {
        let mut had_calls = CpuMask::EMPTY;
        let masked = !P::irqs_enabled(); // Then to all (`empty-sends-sgi` of `queue`).
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

    /// Waits until `done_fn` says that all have answered; `missing_fn` says who has
    /// not.
    #[inline]
    fn wait(&self, me: CpuId, done_fn: impl Fn() -> bool, missing_fn: impl Fn() -> CpuMask) {
        if !P::irqs_enabled() {
            self.wait_serving(me, done_fn, missing_fn);
            return;
        }
        for _ in 0..SPINS {
            if done_fn() {
                return;
            }
            P::relax();
        }
        self.wait_asleep(me, done_fn, missing_fn);
    }

    #[cold]
    fn wait_asleep(&self, me: CpuId, done_fn: impl Fn() -> bool, missing_fn: impl Fn() -> CpuMask) {
        let mut late_at = late_at::<P>();
        // Ends the sleep, to look who is late.
        let _watch = P::sched().watch(me);
        self.point.wait_open::<P, ()>(me.index(), 0, || {
            if done_fn() {
                return Some(());
            }
            if P::now() >= late_at {
                late_at = Instant::FOREVER;
                self.say_late(me, &missing_fn());
            }
            None
        });
    }

    /// As [`Calls::wait`], with IRQs masked (waiter-serves-queue).
    #[cold]
    fn wait_serving(
        &self,
        me: CpuId,
        done_fn: impl Fn() -> bool,
        missing_fn: impl Fn() -> CpuMask,
    ) {
        let mut late_at = late_at::<P>();
        while !done_fn() {
            self.run_queue(me);
            if P::now() >= late_at {
                late_at = Instant::FOREVER;
                self.say_late(me, &missing_fn());
            }
            P::relax();
        }
    }

    /// Says that `missing` have not answered a call by `me`, and what they run instead.
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

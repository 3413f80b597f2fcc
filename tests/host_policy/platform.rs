//! The platform of a machine of many CPUs whose threads have no code: a context switch
//! changes a word, and returns at once as the next thread.
//!
//! The machine belongs to the host thread that has made it. Whatever a CPU does, it does
//! in one go, and the driver says which CPU is next. So a run is repeatable, and two CPUs
//! never compete for a lock.

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::num::NonZeroUsize;
use std::sync::OnceLock;
use std::time::Duration;

use stillpoint::config::MASK_WORDS;
use stillpoint::cpu::{CpuId, CpuMask, CpuMasks};
use stillpoint::platform::{OutOfStacks, Platform, PreemptWork, Sgi, ThreadName};
use stillpoint::sched::{SchedHost, Scheduler};
use stillpoint::sync::atomic::{AtomicUsize, Ordering};
use stillpoint::sync::{IrqFlags, LocalCpu, Wait, Woken};
use stillpoint::time::{Frequency, Instant};
use stillpoint::trace::Event;

use crate::xorshift::Random;

/// The time of an event that never comes.
pub(crate) const NEVER: u64 = u64::MAX;

/// How many decisions about preemption in one act of a CPU mean that it comes to no end.
const ENDLESS: u32 = 10_000;

/// What the platform keeps of one CPU.
#[derive(Default)]
pub(crate) struct Cpu {
    /// The thread word of the running thread.
    pub(crate) word: Cell<usize>,
    work: Cell<u32>,
    preempt_count: Cell<u32>,
    /// When the timer interrupts.
    pub(crate) armed: Cell<u64>,
    /// Whether a Reschedule SGI is pending.
    pub(crate) called: Cell<bool>,
}

/// A machine.
pub(crate) struct Machine {
    pub(crate) masks: CpuMasks,
    sched: OnceLock<Scheduler<Many>>,
    pub(crate) cpus: Vec<Cpu>,
    pub(crate) now: Cell<u64>,
    /// By how much timer interrupts are late: at random, but by less than this.
    late: RefCell<Option<(Random, usize)>>,
    /// The CPU that acts.
    pub(crate) me: Cell<usize>,
    pub(crate) masked: Cell<bool>,
    /// How often the scheduler has decided about preemption since that CPU began to act.
    decisions: Cell<u32>,
    /// What other CPUs do as soon as this one has put a thread into a queue.
    meanwhile: RefCell<Option<Box<dyn FnOnce()>>>,
}

thread_local! {
    static MACHINE: Cell<Option<&'static Machine>> = const { Cell::new(None) };
    static SEED: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Sets the seed that is told of machines of this host thread that hang.
pub(crate) fn set_seed(seed: u64) {
    SEED.set(Some(seed));
}

/// Returns the machine of this host thread.
pub(crate) fn machine() -> &'static Machine {
    MACHINE.get().expect("this host thread has no machine")
}

impl Cpu {
    /// Has the thread that runs forbid preemption, or allow it again.
    pub(crate) fn set_section(&self, forbids: bool) {
        self.preempt_count.set(u32::from(forbids));
    }

    /// Returns whether the thread that runs forbids preemption.
    pub(crate) fn is_in_section(&self) -> bool {
        self.preempt_count.get() > 0
    }
}

impl Machine {
    /// Gives this host thread a machine of `cpus` CPUs, none of which is online.
    pub(crate) fn install(cpus: usize) {
        let machine: &'static Machine = Box::leak(Box::new(Machine {
            masks: CpuMasks::new(CpuMask::first_n(cpus)),
            sched: OnceLock::new(),
            cpus: (0..cpus).map(|_| Cpu::default()).collect(),
            now: Cell::new(0),
            late: RefCell::new(None),
            me: Cell::new(0),
            masked: Cell::new(false),
            decisions: Cell::new(0),
            meanwhile: RefCell::new(None),
        }));
        for cpu in &machine.cpus {
            cpu.armed.set(NEVER);
        }
        MACHINE.set(Some(machine));
        assert!(machine.sched.set(Scheduler::new(cpus)).is_ok());
    }

    /// Has CPU `index` act from now on.
    pub(crate) fn turn_to(&self, index: usize) {
        self.me.set(index);
        self.decisions.set(0);
    }

    /// Has other CPUs do `act_fn` in the midst of the next wake: when the thread is in a
    /// queue, and before its CPU looks for one that is idle.
    pub(crate) fn meanwhile(&self, act_fn: impl FnOnce() + 'static) {
        *self.meanwhile.borrow_mut() = Some(Box::new(act_fn));
    }

    /// Has timer interrupts come late from now on, by less than `most` ticks.
    pub(crate) fn come_late(&self, seed: u64, most: usize) {
        *self.late.borrow_mut() = Some((Random::new(seed), most));
    }

    /// Returns by how much the next timer interrupt is late.
    fn lateness(&self) -> u64 {
        let mut late = self.late.borrow_mut();
        let late = late.as_mut();
        late.map_or(0, |(random, most)| random.below(*most) as u64)
    }

    /// Lets the other CPUs do what they do meanwhile, if they do.
    fn let_others_act(&self) {
        let Some(act_fn) = self.meanwhile.take() else {
            return;
        };
        let (me, masked) = (self.me.get(), self.masked.replace(false));
        act_fn();
        self.me.set(me);
        self.masked.set(masked);
    }

    fn mine(&self) -> &Cpu {
        &self.cpus[self.me.get()]
    }

    /// Ends all tests, because this machine won't come to an end. A panic wouldn't end it: what
    /// is dropped on the way out decides about preemption too, and panics in its turn.
    fn abort(&self, why: &str) -> ! {
        let thread = std::thread::current();
        let test = thread.name().unwrap_or("a test");
        let seed = SEED.get().map_or("?".into(), |seed| seed.to_string());
        let told = format!(
            "the machine of {test} has hung: {why}\n  \
             POLICY_SEED={seed}, {} us, CPU{} acts, {} decisions about preemption\n",
            self.now.get() / 1000,
            self.me.get(),
            self.decisions.get(),
        );
        // What `eprintln` prints is kept for the report of the test, which never comes.
        let told = std::io::stderr().write_all(told.as_bytes());
        drop(told);
        std::process::abort()
    }
}

/// The platform.
#[derive(Debug)]
pub(crate) struct Many;

impl LocalCpu for Many {
    fn irq_save() -> IrqFlags {
        IrqFlags(u64::from(machine().masked.replace(true)))
    }

    unsafe fn irq_restore(flags: IrqFlags) {
        machine().masked.set(flags.0 != 0);
    }

    unsafe fn irq_enable() {
        machine().masked.set(false);
    }

    fn irqs_enabled() -> bool {
        !machine().masked.get()
    }

    fn preempt_disable() {
        let count = &machine().mine().preempt_count;
        count.set(count.get() + 1);
    }

    unsafe fn preempt_enable_no_resched() {
        let count = &machine().mine().preempt_count;
        count.set(count.get() - 1);
    }

    fn preempt_count() -> u32 {
        machine().mine().preempt_count.get()
    }

    fn preempt_point() {
        if Self::preempt_count() == 0 && Self::irqs_enabled() {
            Many::sched().preempt_point();
        }
    }

    fn relax() {
        machine().abort("a CPU waits for another, which can't act meanwhile");
    }

    fn cpu_mark() -> NonZeroUsize {
        NonZeroUsize::MIN.saturating_add(machine().me.get())
    }
}

impl Wait for Many {
    fn sleep() {
        unreachable!("nothing sleeps but the idle threads, and the driver knows those")
    }

    fn take_wake() -> Woken {
        unreachable!("nothing sleeps but the idle threads, and the driver knows those")
    }

    fn serve_interrupts() {}

    fn send_wake(_: &[u64; MASK_WORDS]) {
        unreachable!("nothing sleeps but the idle threads, and the driver knows those")
    }
}

impl Platform for Many {
    /// The word of the thread.
    type Context = AtomicUsize;

    fn new_context(
        _: &ThreadName,
        _: extern "C" fn(usize) -> !,
        arg: usize,
    ) -> Result<AtomicUsize, OutOfStacks> {
        Ok(AtomicUsize::new(arg))
    }

    unsafe fn release_stack(_: &AtomicUsize) {
        unreachable!("no thread ends")
    }

    unsafe fn switch(from: &AtomicUsize, to: &AtomicUsize) {
        assert!(machine().masked.get(), "a switch with IRQs on");
        from.store(Many::thread_word(), Ordering::Relaxed);
        machine().mine().word.set(to.load(Ordering::Relaxed));
    }

    fn thread_word() -> usize {
        machine().mine().word.get()
    }

    unsafe fn set_thread_word(word: usize) {
        machine().mine().word.set(word);
    }

    fn this_cpu() -> CpuId {
        machine().let_others_act();
        CpuId::new(machine().me.get()).expect("a CPU of the machine")
    }

    fn now() -> Instant {
        Instant(machine().now.get())
    }

    fn frequency() -> Frequency {
        Frequency::new(1_000_000_000).expect("it is not 0")
    }

    fn arm_timer(at: Option<Instant>) {
        let at = at.map_or(NEVER, |at| at.0 + machine().lateness());
        machine().mine().armed.set(at);
    }

    fn arm_timer_by(_: Instant) {
        unreachable!("nothing stops this machine")
    }

    fn send_sgi(sgi: Sgi, targets: &CpuMask) {
        for target in targets.iter() {
            Self::send_sgi_to(sgi, Self::this_cpu(), target);
        }
    }

    fn send_sgi_to(sgi: Sgi, me: CpuId, target: CpuId) {
        assert_eq!(sgi, Sgi::Reschedule);
        assert_eq!(me.index(), machine().me.get(), "the sender");
        assert!(
            machine().masks.is_online(target),
            "CPU{target} is off, and is called"
        );
        machine().cpus[target.index()].called.set(true);
    }

    fn set_preempt_work(work: PreemptWork, pending: bool) {
        let decisions = &machine().decisions;
        decisions.set(decisions.get() + 1);
        if decisions.get() >= ENDLESS {
            machine().abort("a CPU switches for ever");
        }
        let bits = &machine().mine().work;
        let bit = if pending { work as u32 } else { 0 };
        bits.set(bits.get() & !(work as u32) | bit);
    }

    fn has_preempt_work(work: PreemptWork) -> bool {
        machine().mine().work.get() & work as u32 != 0
    }

    fn masks() -> &'static CpuMasks {
        &machine().masks
    }

    fn set_priority_mask_closed(_: bool) {
        unreachable!("nothing stops this machine")
    }
}

impl SchedHost for Many {
    fn sched() -> &'static Scheduler<Many> {
        machine().sched.get().expect("the machine has one")
    }

    fn chosen_patience() -> Option<Duration> {
        None
    }

    fn trace(_: Event) {}

    fn trace_at(_: Instant, _: Event) {}
}

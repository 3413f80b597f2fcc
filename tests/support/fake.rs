//! A machine for host tests of code that is generic over the platform.
//!
//! The machine has one CPU. Each kernel thread is a host thread, and one of them at a time
//! has the baton. A context switch passes the baton on, and returns when the thread gets it
//! back. So the real scheduler runs with real threads, and yet every step is repeatable.
//!
//! A fake machine belongs to the host thread that made it and to the threads that were
//! started from there. Its host threads never end, because the entry of a kernel thread
//! never returns.
//!
//! A method of the platform that no host test needs panics.

#[path = "fake_hosts.rs"]
mod hosts;

use std::cell::Cell;
use std::num::NonZeroUsize;
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::Duration;

use stillpoint::config::MASK_WORDS;
use stillpoint::cpu::{CpuId, CpuMask, CpuMasks};
use stillpoint::platform::{OutOfStacks, Platform, PreemptWork, Sgi, ThreadName};
use stillpoint::sched::{SchedHost, Scheduler};
use stillpoint::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use stillpoint::sync::{IrqFlags, LocalCpu, Wait, Woken};
use stillpoint::time::{Frequency, Instant};
use stillpoint::trace::Event;

/// How many CPUs a machine may have timers for.
const CPUS: usize = 4;

/// The state of a machine.
struct Machine {
    masks: CpuMasks,
    sched: OnceLock<Scheduler<Fake>>,
    /// The CPU's pending [`PreemptWork`], whichever thread has the baton.
    preempt_work: AtomicU32,
    /// The time, in nanoseconds.
    now: AtomicU64,
    /// The time for which each CPU's timer is set, in nanoseconds; `u64::MAX` if it is off.
    armed: [AtomicU64; CPUS],
    /// Whether there is no stack for another thread.
    out_of_stacks: AtomicBool,
    on_switch: OnceLock<SwitchHook>,
}

/// A function of a test that is called at each context switch.
type SwitchHook = Box<dyn Fn() + Send + Sync>;

/// A function of a test that is called whenever a host thread restores its interrupts.
type RestoreHook = Box<dyn Fn()>;
/// Called once, before interrupts are masked or preemption is forbidden.
type MaskHook = Box<dyn FnOnce()>;

thread_local! {
    static MACHINE: Cell<Option<&'static Machine>> = const { Cell::new(None) };
    static PREEMPT_COUNT: Cell<u32> = const { Cell::new(0) };
    static CPU: Cell<CpuId> = const { Cell::new(CpuId::BOOT) };
    static MASKED: Cell<bool> = const { Cell::new(false) };
    /// The word of each CPU that the calling thread has left ([`Fake::move_to`]).
    static WORDS: Cell<[usize; CPUS]> = const { Cell::new([0; CPUS]) };
    static WORD: Cell<usize> = const { Cell::new(0) };
    /// How often this thread has called [`Wait::serve_interrupts`].
    static SERVED: Cell<usize> = const { Cell::new(0) };
    /// The mark of a CPU, another one for each host thread: the threads of a test without a
    /// machine take locks as several CPUs do.
    static MARK: Cell<NonZeroUsize> = {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        let before = THREADS.fetch_add(1, Ordering::Relaxed);
        Cell::new(NonZeroUsize::MIN.saturating_add(before))
    };
    static ON_RESTORE: Cell<Option<RestoreHook>> = const { Cell::new(None) };
    static BEFORE_MASK: Cell<Option<MaskHook>> = const { Cell::new(None) };
    static BEFORE_PREEMPT_OFF: Cell<Option<MaskHook>> = const { Cell::new(None) };
}

fn machine() -> &'static Machine {
    MACHINE.get().expect("this thread has no fake machine")
}

/// The platform of the fake machine.
#[derive(Debug)]
pub(crate) struct Fake;

impl Fake {
    /// Calls `rest_fn`, which lets other threads run although the calling thread has
    /// preemption off: they stand for the threads of another CPU, which this machine
    /// doesn't have.
    #[allow(dead_code, reason = "not every test has such a moment")]
    pub(crate) fn others_run(rest_fn: impl FnOnce()) {
        let count = PREEMPT_COUNT.replace(0);
        rest_fn();
        PREEMPT_COUNT.set(count);
    }

    /// Gives the calling thread a machine whose one CPU is online and active.
    #[allow(dead_code, reason = "a test of the table needs the type only")]
    pub(crate) fn new_machine() {
        Self::new_machine_of(1);
    }

    /// Does as [`Fake::new_machine`], with `cpus` CPUs, of which the first is online and
    /// active.
    #[allow(dead_code, reason = "a test of the table needs the type only")]
    pub(crate) fn new_machine_of(cpus: usize) {
        let machine: &'static Machine = Box::leak(Box::new(Machine {
            masks: CpuMasks::new(CpuMask::first_n(cpus)),
            sched: OnceLock::new(),
            preempt_work: AtomicU32::new(0),
            now: AtomicU64::new(0),
            armed: [const { AtomicU64::new(u64::MAX) }; CPUS],
            out_of_stacks: AtomicBool::new(false),
            on_switch: OnceLock::new(),
        }));
        machine.masks.set_online(CpuId::BOOT);
        machine.masks.set_active(CpuId::BOOT, true);
        MACHINE.set(Some(machine));
        CPU.set(CpuId::BOOT);
        WORDS.set([0; CPUS]);
        WORD.set(0);
    }

    /// Sets the time to `now`, in nanoseconds. That raises no timer interrupt: a test reads
    /// [`Fake::armed`] and calls the handler.
    #[allow(dead_code, reason = "not every test has time")]
    pub(crate) fn set_now(now: u64) {
        machine().now.store(now, Ordering::Relaxed);
    }

    /// Makes the calling thread run on `cpu` from now on.
    #[allow(dead_code, reason = "few tests have several CPUs")]
    pub(crate) fn move_to(cpu: CpuId) {
        let left = CPU.replace(cpu);
        let mut words = WORDS.get();
        words[left.index()] = WORD.get();
        WORDS.set(words);
        WORD.set(words[cpu.index()]);
    }

    /// Returns the time for which this CPU's timer is set, in nanoseconds; `None` if it is off.
    #[allow(dead_code, reason = "not every test has time")]
    pub(crate) fn armed() -> Option<u64> {
        let armed = machine().armed[Self::this_cpu().index()].load(Ordering::Relaxed);
        (armed != u64::MAX).then_some(armed)
    }

    /// Returns how often the calling thread has called [`Wait::serve_interrupts`].
    #[allow(dead_code, reason = "not every test has an idle thread that runs")]
    pub(crate) fn served() -> usize {
        SERVED.get()
    }

    /// Has every later request for a stack fail.
    #[allow(dead_code, reason = "not every test refuses threads")]
    pub(crate) fn run_out_of_stacks() {
        machine().out_of_stacks.store(true, Ordering::Relaxed);
    }

    /// Has `hook` called at each switch, by the thread that gives the CPU away. A machine
    /// has one hook at most.
    #[allow(dead_code, reason = "not every test looks at switches")]
    pub(crate) fn on_switch(hook: impl Fn() + Send + Sync + 'static) {
        let fresh = machine().on_switch.set(Box::new(hook)).is_ok();
        assert!(fresh, "a machine has one hook");
    }

    /// Has `hook` called whenever the calling host thread restores its interrupts.
    #[allow(dead_code, reason = "not every test looks at guards")]
    pub(crate) fn on_irq_restore(hook: impl Fn() + 'static) {
        ON_RESTORE.set(Some(Box::new(hook)));
    }

    /// Has `interrupt` called once, just before the calling host thread masks its
    /// interrupts: the last instant at which an interrupt is still taken.
    #[allow(dead_code, reason = "not every test interrupts")]
    pub(crate) fn interrupt_before_mask(interrupt: impl FnOnce() + 'static) {
        BEFORE_MASK.set(Some(Box::new(interrupt)));
    }

    /// Has `others_fn` run once, before the calling thread forbids preemption next: other
    /// threads have the CPU there.
    #[allow(dead_code, reason = "not every test has such a moment")]
    pub(crate) fn run_before_preempt_off(others_fn: impl FnOnce() + 'static) {
        BEFORE_PREEMPT_OFF.set(Some(Box::new(others_fn)));
    }

    /// Starts a host thread that belongs to the machine of the calling thread.
    /// The body begins with interrupts on.
    pub(crate) fn spawn(body: impl FnOnce() + Send + 'static) {
        let machine = MACHINE.get();
        let start = move || {
            MACHINE.set(machine);
            body();
        };
        // Stacks are small because there are many, and they are never freed.
        std::thread::Builder::new()
            .stack_size(256 * 1024)
            .spawn(start)
            .expect("a host thread");
    }

    /// As [`Fake::spawn`], but the body begins with interrupts masked.
    pub(crate) fn spawn_masked(body: impl FnOnce() + Send + 'static) {
        Fake::spawn(move || {
            MASKED.set(true);
            body();
        });
    }
}

/// The baton of one thread: whether the thread may run.
#[derive(Clone, Default)]
pub(crate) struct Baton(Arc<(Mutex<bool>, Condvar)>);

impl Baton {
    fn give(&self) {
        *self.0.0.lock().expect("no panic under it") = true;
        self.0.1.notify_one();
    }

    fn wait(&self) {
        let mut mine = self.0.0.lock().expect("no panic under it");
        while !*mine {
            mine = self.0.1.wait(mine).expect("no panic under it");
        }
        *mine = false;
    }
}

impl LocalCpu for Fake {
    fn irq_save() -> IrqFlags {
        if !MASKED.get()
            && let Some(interrupt) = BEFORE_MASK.take()
        {
            interrupt();
        }
        IrqFlags(u64::from(MASKED.replace(true)))
    }

    unsafe fn irq_restore(flags: IrqFlags) {
        MASKED.set(flags.0 != 0);
        // The hook is taken out while it runs, as it may restore interrupts itself.
        if let Some(hook) = ON_RESTORE.take() {
            hook();
            ON_RESTORE.set(Some(hook));
        }
    }

    unsafe fn irq_enable() {
        MASKED.set(false);
    }

    fn irqs_enabled() -> bool {
        !MASKED.get()
    }

    fn preempt_disable() {
        if PREEMPT_COUNT.get() == 0
            && let Some(others_run) = BEFORE_PREEMPT_OFF.take()
        {
            others_run();
        }
        PREEMPT_COUNT.set(PREEMPT_COUNT.get() + 1);
    }

    unsafe fn preempt_enable_no_resched() {
        PREEMPT_COUNT.set(PREEMPT_COUNT.get() - 1);
    }

    fn preempt_count() -> u32 {
        PREEMPT_COUNT.get()
    }

    fn preempt_point() {
        let may_switch = Self::preempt_count() == 0 && Self::irqs_enabled();
        if let Some(sched) = machine().sched.get().filter(|_| may_switch) {
            sched.preempt_point();
        }
    }

    fn relax() {
        std::thread::yield_now();
    }

    fn cpu_mark() -> NonZeroUsize {
        MARK.get()
    }
}

impl Wait for Fake {
    fn sleep() {
        unreachable!("no other CPU could wake the only CPU")
    }

    fn take_wake() -> Woken {
        unreachable!("the fake machine has no interrupts")
    }

    fn serve_interrupts() {
        assert!(!MASKED.get(), "nothing is served with IRQs masked");
        SERVED.set(SERVED.get() + 1);
    }

    fn send_wake(_: &[u64; MASK_WORDS]) {
        unreachable!("the fake machine has one CPU")
    }
}

impl Platform for Fake {
    type Context = Baton;

    fn new_context(
        _: &ThreadName,
        entry: extern "C" fn(usize) -> !,
        arg: usize,
    ) -> Result<Baton, OutOfStacks> {
        if machine().out_of_stacks.load(Ordering::Relaxed) {
            return Err(OutOfStacks);
        }
        let baton = Baton::default();
        let mine = baton.clone();
        Fake::spawn_masked(move || {
            WORD.set(arg);
            mine.wait();
            entry(arg)
        });
        Ok(baton)
    }

    // The stack of a host thread belongs to the host.
    unsafe fn release_stack(_: &Baton) {}

    unsafe fn switch(from: &Baton, to: &Baton) {
        assert!(MASKED.get(), "a switch with IRQs on");
        if let Some(hook) = machine().on_switch.get() {
            hook();
        }
        // The batons are copied: once the next thread runs, this one may be freed.
        let (mine, next) = (from.clone(), to.clone());
        next.give();
        mine.wait();
    }

    fn thread_word() -> usize {
        WORD.get()
    }

    unsafe fn set_thread_word(word: usize) {
        WORD.set(word);
    }

    fn this_cpu() -> CpuId {
        CPU.get()
    }

    fn now() -> Instant {
        Instant(machine().now.load(Ordering::Relaxed))
    }

    fn frequency() -> Frequency {
        Frequency::new(1_000_000_000).expect("it is not 0")
    }

    fn arm_timer(at: Option<Instant>) {
        let at = at.map_or(u64::MAX, |at| at.0);
        machine().armed[Self::this_cpu().index()].store(at, Ordering::Relaxed);
    }

    fn arm_timer_by(_: Instant) {
        unreachable!("no test stops the fake machine")
    }

    fn send_sgi(_: Sgi, _: &CpuMask) {
        unreachable!("the fake machine has one CPU")
    }

    fn send_sgi_to(_: Sgi, _: CpuId, _: CpuId) {
        unreachable!("the fake machine has one CPU")
    }

    fn set_preempt_work(work: PreemptWork, pending: bool) {
        let bits = &machine().preempt_work;
        let others = bits.load(Ordering::Relaxed) & !(work as u32);
        let bit = if pending { work as u32 } else { 0 };
        bits.store(others | bit, Ordering::Relaxed);
    }

    fn has_preempt_work(work: PreemptWork) -> bool {
        machine().preempt_work.load(Ordering::Relaxed) & work as u32 != 0
    }

    fn masks() -> &'static CpuMasks {
        &machine().masks
    }

    fn set_priority_mask_closed(_: bool) {
        unreachable!("the fake machine has no interrupts")
    }
}

impl SchedHost for Fake {
    fn sched() -> &'static Scheduler<Fake> {
        machine()
            .sched
            .get_or_init(|| Scheduler::new(machine().masks.possible().count()))
    }

    fn chosen_patience() -> Option<Duration> {
        None
    }

    fn trace(_: Event) {}

    fn trace_at(_: Instant, _: Event) {}
}

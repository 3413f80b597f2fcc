//! `Hw`: implements the platform traits, up to threads and stops, with the drivers.

mod hotplug;
#[cfg(debug_assertions)]
pub(super) mod lockdep;

use core::num::NonZeroUsize;
use core::ptr::NonNull;
use core::time::Duration;

use crate::arch::aarch64::traps::{self, Trap};
use crate::arch::aarch64::{cpu_local, hint, irq, thread_head, timer};
use crate::config::{MASK_WORDS, PMR_CLOSED, PMR_OPEN};
use crate::cpu::{CpuId, CpuMask, CpuMasks};
use crate::kernel::areas::HwThread;
use crate::kernel::governor::{self, WAITS};
use crate::kernel::static_key::static_branch_unlikely;
use crate::kernel::tracing::{self, IrqSpan, SCHED_TRACING, TRACING};
use crate::kernel::{console, interrupts, panic, watchdog};
use crate::kernel::{kernel, try_kernel};
use crate::platform::{Irq, OutOfStacks, Platform, PreemptWork, Sgi, ThreadName};
use crate::rcu::{GraceHost, GracePeriods};
use crate::sched::{SchedHost, Scheduler, patience};
use crate::smp::call::{CallHost, Calls, Inside};
use crate::stop_machine::{LateCpu, LateStop, MultiStopState, StopHost, StopMachine};
use crate::sync::atomic::AtomicUsize;
use crate::sync::{IrqFlags, IrqGuard, LocalCpu, SleepCost, SpinBudget, SpinLooks, Wait, Woken};
use crate::time::{Frequency, Instant};
use crate::trace::{Event, SchedEvent};

/// The machine that this kernel runs on.
#[derive(Clone, Copy, Debug)]
pub struct Hw;

/// How often a CPU that spins for a lock looks at the clock until the wait is long
/// ([`SpinLooks`]).
const SPIN_LOOKS: u32 = 10;

impl LocalCpu for Hw {
    #[inline]
    fn irq_save() -> IrqFlags {
        irq::irq_save()
    }

    #[inline]
    unsafe fn irq_restore(flags: IrqFlags) {
        // SAFETY: the same promise.
        unsafe { irq::irq_restore(flags) };
    }

    #[inline]
    unsafe fn irq_enable() {
        // SAFETY: the same promise.
        unsafe { irq::irq_enable() };
    }

    #[inline]
    fn irqs_enabled() -> bool {
        irq::irqs_enabled()
    }

    #[inline]
    fn preempt_disable() {
        thread_head::current().preempt_disable();
    }

    #[inline]
    unsafe fn preempt_enable_no_resched() {
        // SAFETY: the same promise.
        unsafe { thread_head::current().preempt_enable() };
    }

    #[inline]
    fn preempt_count() -> u32 {
        thread_head::current().preempt_count()
    }

    #[inline]
    fn preempt_point() {
        if cpu_local::this_cpu().has_preempt_work() {
            preempt_work();
        }
    }

    #[inline]
    fn relax() {
        hint::relax();
    }

    #[inline]
    fn load_watched(word: &AtomicUsize) -> usize {
        hint::load_watched(word)
    }

    #[inline]
    fn sleep_until_event() {
        hint::wfe();
    }

    fn lock_spins() -> Option<&'static SpinBudget> {
        try_kernel().map(|kernel| &kernel.lock_spins)
    }

    #[inline]
    fn ticks() -> u64 {
        timer::now().0
    }

    #[inline]
    fn sleep_cost() -> Option<&'static SleepCost> {
        try_kernel().map(|kernel| &kernel.sleep_cost)
    }

    #[inline]
    fn cpu_mark() -> NonZeroUsize {
        NonNull::from(cpu_local::this_cpu()).addr()
    }

    fn spins_long(late: &mut Option<SpinLooks>, holder: NonZeroUsize, lock: &str) {
        let me = Self::this_cpu();
        let in_panic = panic::reports_here(me);
        let time = match in_panic {
            true => panic::LOCK_PATIENCE,
            false => patience::<Self>(),
        };
        let now = Self::now();
        let next = now.after_ticks(Self::frequency().duration_to_ticks(time / SPIN_LOOKS));
        let looks = late.get_or_insert(SpinLooks {
            next: next.0,
            left: SPIN_LOOKS,
        });
        if now < Instant(looks.next) {
            return;
        }
        looks.next = next.0;
        looks.left = looks.left.saturating_sub(1);
        // Before there is a kernel only the boot CPU runs, so no other CPU holds the lock.
        let areas = try_kernel().map(|kernel| &kernel.areas);
        let holder = areas.and_then(|areas| areas.cpu_at(holder.get()));
        if let (0, Some(holder)) = (looks.left, holder) {
            if in_panic {
                panic::end_waiting(lock, holder);
            }
            let waited = time.as_secs();
            console::warn_in_need(format_args!(
                "CPU{me} has waited {waited} s for a spin lock of {lock} that CPU{holder} holds"
            ));
            *late = None;
        }
    }

    #[cfg(debug_assertions)]
    fn lock_acquire(
        lock: &crate::sync::LockKey,
        manner: crate::sync::lockdep::Manner,
        at: crate::sync::lockdep::Place,
    ) {
        lockdep::acquire(lock, manner, at);
    }

    #[cfg(debug_assertions)]
    fn lock_release(lock: &crate::sync::LockKey) {
        lockdep::release(lock);
    }

    #[cfg(debug_assertions)]
    fn might_sleep(at: crate::sync::lockdep::Place, what: &str) {
        lockdep::might_sleep(at, what);
    }

    #[cfg(debug_assertions)]
    fn assert_no_spin_lock(what: &str) {
        lockdep::assert_no_spin_lock(what);
    }

    fn no_wait_place() -> Option<&'static str> {
        try_kernel()?.calls.no_wait_place(Self::this_cpu())
    }
}

/// Does this CPU's pending work at a preemption point, unless preemption is off there.
#[cold]
#[inline(never)]
fn preempt_work() {
    // Code with IRQs masked is in a read-side section of RCU, so no quiescent state may be
    // reported there.
    if Hw::preempt_count() == 0 && Hw::irqs_enabled() {
        let kernel = kernel();
        kernel.grace_periods.preempt_point();
        kernel.sched.preempt_point();
    }
}

/// The preemption point behind an allocation. It costs what any preemption point costs, and
/// finds an allocation in the function of a still point, and in an INIT step of a program.
///
/// # Panics
/// If there was one.
#[inline]
pub(in crate::kernel) fn preempt_point_after_allocation() {
    if cpu_local::this_cpu().has_preempt_work() {
        work_after_allocation();
    }
}

#[cold]
#[inline(never)]
fn work_after_allocation() {
    // With IRQs on it is another CPU's flag that is seen, because the thread was moved between
    // two instructions. The hook of a panic may allocate, wherever the panic was.
    if !Hw::irqs_enabled() && Hw::has_preempt_work(PreemptWork::Still) && !panic::has_begun() {
        let calls = &kernel().calls;
        assert!(
            !calls.is_inside(Hw::this_cpu(), Inside::InitStep),
            "BUG: the startup of an INIT step allocates"
        );
        panic!("BUG: a function allocates in a still point");
    }
    preempt_work();
}

impl Wait for Hw {
    fn sleep() {
        hint::complete_accesses();
        traps::count(Trap::Sleep);
        hint::wfi();
    }

    fn take_wake() -> Woken {
        if static_branch_unlikely!(SCHED_TRACING) {
            return take_wake_traced();
        }
        take_interrupt(|_| {}, || {})
    }

    #[inline]
    fn serve_interrupts() {
        hint::synchronize_context();
    }

    fn send_wake(cpus: &[u64; MASK_WORDS]) {
        Self::send_sgi(Sgi::Wake, &CpuMask::from_bits(*cpus));
    }

    #[inline]
    fn interrupt_is_pending() -> bool {
        irq::is_pending()
    }
}

/// Takes an interrupt by hand, if there is one; calls `taken_fn` with it, and `ended_fn` when it has
/// ended.
#[inline(always)] // As `send_untraced`.
fn take_interrupt(taken_fn: impl FnOnce(Irq), ended_fn: impl FnOnce()) -> Woken {
    let chip = &kernel().irq_chip;
    let mut woken = Woken::Other;
    if let Some((token, irq)) = chip.acknowledge() {
        taken_fn(irq);
        if irq == Irq::Ppi(kernel().timer_ppi) {
            // The timer is disarmed before the interrupt is ended: its line is a level,
            // and would raise the next interrupt at once.
            timer::arm(None);
            woken = Woken::Timer;
        }
        chip.end(token);
        ended_fn();
        if irq == Irq::Sgi(Sgi::Panic) {
            // This CPU may count before it is online: the counter orders nothing.
            let kernel = kernel();
            kernel
                .interrupts
                .count_sgi(Hw::this_cpu(), Sgi::Panic.number());
            panic::interrupt();
        }
    }
    hint::synchronize();
    woken
}

#[cold]
#[inline(never)]
fn take_wake_traced() -> Woken {
    if !tracing::may_record() {
        return take_interrupt(|_| {}, || {});
    }
    let span = IrqSpan::new();
    take_interrupt(|irq| span.begins(irq), || span.ends())
}

impl Platform for Hw {
    type Context = HwThread;

    fn new_context(
        name: &ThreadName,
        entry: extern "C" fn(usize) -> !,
        arg: usize,
    ) -> Result<HwThread, OutOfStacks> {
        kernel().areas.new_context(name, entry, arg)
    }

    unsafe fn release_stack(context: &HwThread) {
        // SAFETY: the same promise.
        unsafe { context.release_stack() };
    }

    unsafe fn switch(from: &HwThread, to: &HwThread) {
        // SAFETY: the same promise.
        unsafe { HwThread::switch(from, to) };
    }

    #[inline]
    fn thread_word() -> usize {
        thread_head::current().word()
    }

    unsafe fn set_thread_word(word: usize) {
        // SAFETY: the same promise, for the running thread's head.
        unsafe { thread_head::current().set_word(word) };
    }

    #[inline]
    fn this_cpu() -> CpuId {
        cpu_local::this_cpu().cpu()
    }

    #[inline]
    fn now() -> Instant {
        timer::now()
    }

    fn frequency() -> Frequency {
        timer::frequency()
    }

    fn arm_timer(at: Option<Instant>) {
        timer::arm(at);
    }

    #[inline]
    fn arm_timer_by(at: Instant) {
        timer::arm_by(at);
    }

    fn send_sgi(sgi: Sgi, targets: &CpuMask) {
        if static_branch_unlikely!(SCHED_TRACING) {
            return send_sgi_traced(sgi, targets);
        }
        send_untraced(sgi, targets);
    }

    #[inline]
    fn send_sgi_to(sgi: Sgi, me: CpuId, target: CpuId) {
        if static_branch_unlikely!(SCHED_TRACING) {
            return send_sgi_to_traced(sgi, me, target);
        }
        send_to_untraced(sgi, me, target);
    }

    fn handle_posted(posted: u32) {
        interrupts::handle_posted(posted);
    }

    #[inline]
    fn set_preempt_work(work: PreemptWork, pending: bool) {
        cpu_local::this_cpu().set_preempt_work(work, pending);
    }

    #[inline]
    fn has_preempt_work(work: PreemptWork) -> bool {
        cpu_local::this_cpu().has_this_preempt_work(work)
    }

    #[inline]
    fn masks() -> &'static CpuMasks {
        &kernel().masks
    }

    #[inline]
    fn set_priority_mask_closed(closed: bool) {
        let mask = if closed { PMR_CLOSED } else { PMR_OPEN };
        kernel().irq_chip.set_priority_mask(mask);
    }
}

#[inline(always)] // Into both, so that the one that doesn't record has no frame for that.
fn send_untraced(sgi: Sgi, targets: &CpuMask) {
    let kernel = kernel();
    kernel.sleep_cost.note_sent(Hw::ticks());
    if let Some(target) = targets.only() {
        kernel.grace_periods.note_called_alone(target);
    }
    kernel.irq_chip.send_sgi(sgi.number(), targets);
}

#[inline(always)] // As `send_untraced`.
fn send_to_untraced(sgi: Sgi, me: CpuId, target: CpuId) {
    let kernel = kernel();
    if !kernel.grace_periods.post(sgi, target) {
        kernel.sleep_cost.note_sent(Hw::ticks());
        kernel.irq_chip.send_sgi_to(sgi.number(), me, target);
    }
}

#[cold]
#[inline(never)]
fn send_sgi_traced(sgi: Sgi, targets: &CpuMask) {
    tracing::record_sgi(sgi, targets); // Before it is taken.
    send_untraced(sgi, targets);
}

#[cold]
#[inline(never)]
fn send_sgi_to_traced(sgi: Sgi, me: CpuId, target: CpuId) {
    tracing::record_sgi(sgi, &CpuMask::of(target)); // As `send_sgi_traced`.
    send_to_untraced(sgi, me, target);
}

impl SchedHost for Hw {
    #[inline]
    fn sched() -> &'static Scheduler<Self> {
        &kernel().sched
    }

    #[inline]
    fn chosen_patience() -> Option<Duration> {
        watchdog::chosen()
    }

    #[inline(always)] // As `Trace::write`. Off, it is one NOP.
    fn trace(event: Event) {
        if static_branch_unlikely!(TRACING) {
            let here = || (Self::this_cpu(), Self::now());
            kernel().trace.write::<Self>(here, event);
        }
    }

    #[inline(always)] // As `Trace::write`.
    fn trace_at(at: Instant, event: Event) {
        if static_branch_unlikely!(TRACING) {
            kernel()
                .trace
                .write::<Self>(|| (Self::this_cpu(), at), event);
        }
    }

    #[inline(always)] // As `Trace::write`.
    fn trace_masked(
        masked: &IrqGuard<Self>,
        cpu: CpuId,
        now_fn: impl FnOnce() -> Instant,
        event: Event,
    ) {
        if static_branch_unlikely!(TRACING) {
            kernel().trace.write_masked(masked, cpu, now_fn(), event);
        }
    }

    #[inline(always)] // Off, it is one NOP.
    fn accounts_waits() -> bool {
        static_branch_unlikely!(WAITS)
    }

    fn threads_wait() {
        governor::threads_wait();
    }
}

impl GraceHost for Hw {
    #[inline]
    fn grace_periods() -> &'static GracePeriods<Self> {
        &kernel().grace_periods
    }
}

impl CallHost for Hw {
    #[inline]
    fn calls() -> &'static Calls<Self> {
        &kernel().calls
    }
}

impl StopHost for Hw {
    #[inline(always)] // As `Trace::write`.
    fn traces_states() -> bool {
        static_branch_unlikely!(SCHED_TRACING)
    }

    fn trace_state(state: MultiStopState, with: Option<CpuId>) {
        let state = state as u8;
        tracing::record(&SchedEvent::State { state, with });
    }

    #[inline]
    fn stop_machine() -> &'static StopMachine<Self> {
        &kernel().stop_machine
    }

    fn stop_is_late(late: &LateStop<'_>) {
        log::warn!("stop_machine: {late}:");
        for line in late.each() {
            log::warn!("  {line}");
        }
    }

    fn works_are_late(cpus: &CpuMask, lines: &dyn Fn(CpuId) -> LateCpu) {
        log::warn!("stop_machine: the stoppers of CPUs {cpus} have not done their works yet:");
        for cpu in cpus.iter() {
            log::warn!("  {}", lines(cpu));
        }
    }

    fn still_point_is_late(late: &LateStop<'_>) {
        console::warn_in_need(format_args!("stop_machine: {late}"));
        for line in late.each() {
            console::warn_in_need(format_args!("  {line}"));
        }
    }
}

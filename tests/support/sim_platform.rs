//! The platform traits of the simulated machine.

use std::num::NonZeroUsize;
use std::sync::{Arc, Condvar, LazyLock, Mutex};
use std::time::Duration;

use stillpoint::config::MASK_WORDS;
use stillpoint::cpu::{CpuId, CpuMask, CpuMasks};
use stillpoint::hotplug::{
    ApRefusal, Handshake, Hotplug, HotplugHost, Life, Parked, Side, Step, StepContext, SyncState,
    steps,
};
use stillpoint::irq::{IrqHost, IrqTable};
use stillpoint::platform::{
    Irq, LineChip, OutOfStacks, Platform, PowerState, PreemptWork, PsciError, Sgi, ThreadName,
    Trigger,
};
use stillpoint::rcu::{GraceHost, GracePeriods};
use stillpoint::sched::{SchedHost, Scheduler};
use stillpoint::smp::call::{CallHost, Calls};
use stillpoint::stop_machine::{LateCpu, LateStop, StopHost, StopMachine};
use stillpoint::sync::atomic::AtomicU32;
use stillpoint::sync::{IrqFlags, LocalCpu, Wait, Woken};
use stillpoint::time::{Frequency, Instant};
use stillpoint::trace::{Direction, Event};

use super::{
    CPU, MASKED, NEVER, Off, PREEMPT_COUNT, Power, Sim, TIMER, WORD, end, give_turn, hold, machine,
    serve, spawn, state,
};

/// The kernel's table, except that each step asks the script on both sides whether it fails.
static STEPS: LazyLock<Vec<Step<StepContext>>> = LazyLock::new(|| {
    let scripted = |step: &Step<StepContext>| {
        if step.is_slot() {
            return *step;
        }
        Step {
            startup: Side::Fallible(|cx| Sim::pass(Direction::Up, cx)),
            teardown: Side::Fallible(|cx| Sim::pass(Direction::Down, cx)),
            ..*step
        }
    };
    steps::<Sim>().iter().map(scripted).collect()
});

impl LocalCpu for Sim {
    fn irq_save() -> IrqFlags {
        let flags = IrqFlags(u64::from(MASKED.replace(true)));
        super::script::stand_at_times();
        flags
    }

    unsafe fn irq_restore(flags: IrqFlags) {
        MASKED.set(flags.0 != 0);
        serve();
    }

    unsafe fn irq_enable() {
        MASKED.set(false);
        serve();
    }

    fn irqs_enabled() -> bool {
        !MASKED.get()
    }

    fn preempt_disable() {
        PREEMPT_COUNT.set(PREEMPT_COUNT.get() + 1);
    }

    unsafe fn preempt_enable_no_resched() {
        PREEMPT_COUNT.set(PREEMPT_COUNT.get() - 1);
    }

    fn preempt_count() -> u32 {
        PREEMPT_COUNT.get()
    }

    fn preempt_point() {
        let work = state().cpus[CPU.get()].preempt_work;
        if work != 0 && PREEMPT_COUNT.get() == 0 && !MASKED.get() {
            machine().grace.preempt_point();
            machine().sched.preempt_point();
        }
    }

    fn cpu_mark() -> NonZeroUsize {
        NonZeroUsize::MIN.saturating_add(CPU.get())
    }

    fn relax() {
        give_turn(state());
        serve();
    }

    /// As a release build does, without the validator.
    #[cfg(debug_assertions)]
    fn might_sleep(at: stillpoint::sync::lockdep::Place, what: &str) {
        let may_wait = PREEMPT_COUNT.get() == 0 && !MASKED.get();
        assert!(may_wait, "BUG: {what} may not wait at {at}");
    }
}

impl Wait for Sim {
    fn sleep() {
        let mut state = state();
        let me = CPU.get();
        let now = state.now;
        if state.cpus[me].interrupt(now).is_none() {
            state.cpus[me].asleep = true;
            give_turn(state);
            super::state().cpus[me].asleep = false;
        }
    }

    fn take_wake() -> Woken {
        let mut state = state();
        let now = state.now;
        let cpu = &mut state.cpus[CPU.get()];
        assert!(
            cpu.closed,
            "the wake SGI is taken without a handler though the mask is open"
        );
        if cpu.interrupt(now) == Some(TIMER) {
            cpu.armed = NEVER;
            return Woken::Timer;
        }
        cpu.pending &= !(1 << Sgi::Wake.number());
        Woken::Other
    }

    fn serve_interrupts() {
        serve();
    }

    fn send_wake(cpus: &[u64; MASK_WORDS]) {
        Sim::send_sgi(Sgi::Wake, &CpuMask::from_bits(*cpus));
    }
}

/// The baton of a thread, and the CPU that passed it to the thread.
#[derive(Clone, Default)]
pub(crate) struct Baton(Arc<(Mutex<Option<usize>>, Condvar)>);

impl Baton {
    fn give(&self, cpu: usize) {
        *self.0.0.lock().expect("no panic under it") = Some(cpu);
        self.0.1.notify_one();
    }

    fn wait(&self) {
        let mut mine = self.0.0.lock().expect("no panic under it");
        loop {
            if let Some(cpu) = mine.take() {
                CPU.set(cpu);
                return;
            }
            mine = self.0.1.wait(mine).expect("no panic under it");
        }
    }
}

impl Platform for Sim {
    type Context = Baton;

    fn new_context(
        _: &ThreadName,
        entry: extern "C" fn(usize) -> !,
        arg: usize,
    ) -> Result<Baton, OutOfStacks> {
        if let Some(stacks) = &mut state().script.stacks {
            *stacks = stacks.checked_sub(1).ok_or(OutOfStacks)?;
        }
        let baton = Baton::default();
        let mine = baton.clone();
        spawn(0, move || {
            WORD.set(arg);
            mine.wait();
            entry(arg)
        });
        Ok(baton)
    }

    unsafe fn switch(from: &Baton, to: &Baton) {
        assert!(MASKED.get(), "a switch with IRQs on");
        // The batons are copied: once the next thread runs, this one may be freed.
        let (mine, next) = (from.clone(), to.clone());
        next.give(CPU.get());
        mine.wait();
    }

    unsafe fn release_stack(_: &Baton) {}

    fn thread_word() -> usize {
        WORD.get()
    }

    unsafe fn set_thread_word(word: usize) {
        WORD.set(word);
    }

    fn this_cpu() -> CpuId {
        CpuId::new(CPU.get()).expect("a CPU of the machine")
    }

    fn now() -> Instant {
        Instant(state().now)
    }

    fn frequency() -> Frequency {
        Frequency::new(1_000_000_000).expect("it is not 0")
    }

    fn arm_timer(at: Option<Instant>) {
        state().cpus[CPU.get()].armed = at.map_or(NEVER, |at| at.0);
    }

    fn arm_timer_by(at: Instant) {
        let armed = &mut state().cpus[CPU.get()].armed;
        *armed = (*armed).min(at.0);
    }

    fn send_sgi(sgi: Sgi, targets: &CpuMask) {
        let mut state = state();
        if sgi == Sgi::Call && state.script.calls_on_their_way {
            return;
        }
        for target in targets.iter() {
            state.cpus[target.index()].pending |= 1 << sgi.number();
        }
    }

    fn send_sgi_to(sgi: Sgi, me: CpuId, target: CpuId) {
        assert_eq!(me.index(), CPU.get(), "the sender");
        Sim::send_sgi(sgi, &CpuMask::of(target));
        let state = state();
        if sgi == Sgi::Reschedule && state.script.stands_after_sgi {
            give_turn(state);
        }
    }

    fn set_preempt_work(work: PreemptWork, pending: bool) {
        let mut state = state();
        let bits = &mut state.cpus[CPU.get()].preempt_work;
        *bits = *bits & !(work as u32) | if pending { work as u32 } else { 0 };
    }

    fn has_preempt_work(work: PreemptWork) -> bool {
        state().cpus[CPU.get()].preempt_work & work as u32 != 0
    }

    fn masks() -> &'static CpuMasks {
        &machine().masks
    }

    fn set_priority_mask_closed(closed: bool) {
        let mut state = state();
        state.cpus[CPU.get()].closed = closed;
        if closed {
            // The turn changes here, so that other CPUs act while this one's SGIs stay pending.
            give_turn(state);
        }
    }
}

impl SchedHost for Sim {
    fn sched() -> &'static Scheduler<Sim> {
        &machine().sched
    }

    fn chosen_patience() -> Option<Duration> {
        None
    }

    fn trace(event: Event) {
        Self::write_down(Self::now(), event);
    }

    fn trace_at(at: Instant, event: Event) {
        Self::write_down(at, event);
    }
}

impl GraceHost for Sim {
    fn grace_periods() -> &'static GracePeriods<Sim> {
        &machine().grace
    }
}

impl CallHost for Sim {
    fn calls() -> &'static Calls<Sim> {
        &machine().calls
    }
}

/// Lines that nothing raises.
struct Lines;

impl LineChip for Lines {
    fn spi_count(&self) -> usize {
        8
    }

    fn has_line(&self, _: Irq) -> bool {
        true
    }

    fn set_up(&self, _: Irq, _: Trigger, _: CpuId) {}
    fn mask(&self, _: Irq) {}
    fn unmask(&self, _: Irq) {}
    fn route(&self, _: Irq, _: CpuId) {}
    fn enable_private(&self, _: CpuId, _: u32, _: Trigger) {}
    fn disable_private(&self, _: CpuId, _: u32) {}
    fn set_pending(&self, _: Irq) {}
}

impl IrqHost for Sim {
    fn irqs() -> &'static IrqTable<Sim> {
        &machine().irqs
    }

    fn line_chip() -> &'static dyn LineChip {
        &Lines
    }
}

impl StopHost for Sim {
    fn stop_machine() -> &'static StopMachine<Sim> {
        &machine().stop
    }

    fn stop_is_late(late: &LateStop<'_>) {
        let LateStop { cpus, state, .. } = late;
        Sim::note(&format!("waits for CPUs {cpus} in {state:?}"));
        Sim::tell_late(late);
    }

    fn works_are_late(cpus: &CpuMask, lines: &dyn Fn(CpuId) -> LateCpu) {
        let seen: Vec<_> = cpus.iter().map(|cpu| lines(cpu).seen).collect();
        Sim::note(&format!("waits for works of CPUs {cpus}: {seen:?}"));
    }

    fn still_point_is_late(late: &LateStop<'_>) {
        let LateStop {
            state,
            cpus,
            caller,
            ..
        } = late;
        Sim::note(&format!("late in {state:?}: {cpus}, for {caller}"));
        Sim::tell_late(late);
    }
}

impl HotplugHost for Sim {
    fn hotplug() -> &'static Hotplug<Sim> {
        let machine = machine();
        let cpus = machine.words.len();
        machine.hotplug.get_or_init(|| Hotplug::new(cpus))
    }

    fn steps() -> &'static [Step<StepContext>] {
        &STEPS
    }

    fn prepare_boot_record(cpu: CpuId) -> Result<(), OutOfStacks> {
        let mut state = state();
        let it = &mut state.cpus[cpu.index()];
        let off = matches!(it.power, Power::Off | Power::Parked);
        let own = cpu.index() == CPU.get();
        assert!(
            off || own || it.misled,
            "the boot record of CPU{cpu} is written though the CPU may run"
        );
        it.reason = None;
        it.off_refused = None;
        Ok(())
    }

    fn prepare_area(_: CpuId) -> Result<(), OutOfStacks> {
        Ok(())
    }

    fn empty_heap_cache(cpu: CpuId) {
        let (beyond, empties) = {
            let state = state();
            (state.cpus[cpu.index()].beyond, state.script.empties)
        };
        if let Some(empties) = empties {
            empties(cpu);
        }
        let word = Handshake(Self::handshake_word(cpu)).state();
        let dead = word == SyncState::Dead;
        assert!(
            dead || !beyond,
            "the heap cache of CPU{cpu} is emptied though its state is {word:?}"
        );
    }

    fn idle_context(_: CpuId) -> Baton {
        Baton::default()
    }

    fn handshake_word(cpu: CpuId) -> &'static AtomicU32 {
        &machine().words[cpu.index()]
    }

    fn refusal(cpu: CpuId) -> Option<(Life, ApRefusal)> {
        state().cpus[cpu.index()].reason
    }

    fn off_refused(cpu: CpuId) -> Option<PsciError> {
        state().cpus[cpu.index()].off_refused
    }

    fn parked(cpu: CpuId) -> Option<Parked> {
        let state = state();
        let cpu = &state.cpus[cpu.index()];
        (cpu.power == Power::Parked).then_some(match cpu.off_refused {
            Some(error) => Parked::Refused(error),
            None => Parked::NoFirmware,
        })
    }

    fn is_held(_: CpuId) -> bool {
        false
    }

    fn set_held(_: CpuId, _: bool) {
        unreachable!("the script holds CPUs")
    }

    fn cpu_on(cpu: CpuId, life: Life) -> Result<(), PsciError> {
        let mut state = state();
        let on = match state.script.on.len() {
            1 => state.script.on[0],
            _ => state.script.on.pop_front().expect("an answer is left"),
        };
        let starts_at = state.now.saturating_add(on.starts);
        let it = &mut state.cpus[cpu.index()];
        let answer = match (on.answer, it.power) {
            (Ok(()), Power::Starting(..)) => Err(PsciError::OnPending),
            (Ok(()), Power::On | Power::Leaving(_)) => Err(PsciError::AlreadyOn),
            (answer, _) => answer,
        };
        let is_off = matches!(it.power, Power::Off | Power::Parked);
        if is_off && (answer.is_ok() || on.starts != NEVER) {
            it.misled = answer.is_err();
            it.power = Power::Starting(starts_at, life);
            it.beyond = false;
        }
        answer
    }

    fn can_turn_off(_: CpuId) -> Result<(), PsciError> {
        Ok(())
    }

    fn power_state(cpu: CpuId) -> Result<PowerState, PsciError> {
        let (answer, held) = {
            let mut state = state();
            let truth = match state.cpus[cpu.index()].power {
                Power::Off | Power::Parked => PowerState::Off,
                Power::Starting(..) if state.script.early_off => PowerState::Off,
                Power::Starting(..) => PowerState::OnPending,
                Power::On | Power::Leaving(_) => PowerState::On,
            };
            let held = std::mem::take(&mut state.script.held_after_asking);
            let answer = state.script.affinity.unwrap_or(Ok(truth));
            let is_off = matches!(state.cpus[cpu.index()].power, Power::Off | Power::Parked);
            if answer == Ok(PowerState::Off) && !is_off {
                state.cpus[cpu.index()].misled = true;
            }
            (answer, held)
        };
        hold(held);
        answer
    }

    fn cpu_off(cpu: CpuId) -> ! {
        assert_eq!(cpu.index(), CPU.get(), "the CPU itself");
        let mut state = state();
        let now = state.now;
        let off = state.script.off;
        let times = state.script.times(cpu);
        let it = &mut state.cpus[cpu.index()];
        match off {
            Off::After(time) => {
                it.power = Power::Leaving(now.saturating_add(time.saturating_mul(times)));
            }
            Off::Parks(error) => {
                it.off_refused = Some(error);
                it.power = Power::Parked;
            }
            Off::Halts(error) => {
                it.off_refused = Some(error);
                it.power = Power::Leaving(NEVER);
            }
        }
        end(state)
    }

    fn disable_cpu_interface(cpu: CpuId) {
        assert_eq!(cpu.index(), CPU.get(), "the CPU itself");
        let late = {
            let script = &state().script;
            script.dies_after.saturating_mul(script.times(cpu))
        };
        hold(late);
    }

    fn synchronize_context() {
        state().cpus[CPU.get()].beyond = true;
    }

    fn init_cpu(_: CpuId) {}
    fn irqchip_startup(_: CpuId) {}
    fn irqchip_teardown(_: CpuId) {}

    fn move_interrupts(cpu: CpuId) {
        machine().irqs.move_away(cpu);
    }

    fn restore_interrupts(cpu: CpuId) {
        machine().irqs.come_back(cpu);
    }

    fn timer_startup(cpu: CpuId) {
        Self::sched().serve_timers(cpu);
    }

    fn timer_teardown(_: CpuId) {
        Self::arm_timer(None);
    }
}

//! A simulated machine of several CPUs for host tests of hotplug. A script of the test says
//! what CPUs and firmware do at each call: which answer they give, and whether it comes
//! late or never.
//!
//! The kernel's own code runs on it: scheduler, stops, grace periods, calls, hotplug. Each
//! kernel thread is a host thread, and only one host thread runs at a time: the current
//! thread (as in `fake.rs`) of the CPU that has the turn. A CPU passes the turn on where it
//! relaxes or sleeps. Time is virtual: it advances by [`MOMENT`] at each change of turn, and
//! to the next event when all CPUs sleep. So each run is repeatable, step by step. If all
//! CPUs sleep and there is no next event, or the machine runs for too long, or a CPU keeps the
//! turn for too long, it has hung, and the test aborts with a message.
//!
//! Host threads never end: those of a CPU that is off, and of a machine whose test is over,
//! are parked for ever.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, mpsc};
use std::time::Duration;

use stillpoint::cpu::{CpuId, CpuMask, CpuMasks};
use stillpoint::hotplug::{ApRefusal, Hotplug, HotplugHost, Life, StepContext, StepError, steps};
use stillpoint::irq::{IrqRequest, IrqReturn, IrqTable, Owner};
use stillpoint::platform::{Irq, IrqLine, Platform, PsciError, Sgi, Trigger};
use stillpoint::rcu::GracePeriods;
use stillpoint::sched::{SchedHost, Scheduler};
use stillpoint::smp::call::Calls;
use stillpoint::stop_machine::StopMachine;
use stillpoint::sync::atomic::AtomicU32;
use stillpoint::trace::Direction;

#[path = "sim_limits.rs"]
mod limits;
#[path = "sim_platform.rs"]
mod platform;
#[path = "sim_script.rs"]
mod script;
#[path = "sim_trace.rs"]
mod trace;

pub(crate) use script::{Off, On, Script};

/// By how much time advances when a CPU passes the turn on, in nanoseconds.
const MOMENT: u64 = 500;
/// The number of the timer interrupt; lower numbers are SGIs.
const TIMER: u32 = 16;
/// The number of the interrupt of the machine's device.
const DEVICE: u32 = 33;
/// The time of an event that never comes.
pub(crate) const NEVER: u64 = u64::MAX;

/// The power state of a CPU of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Power {
    Off,
    /// The CPU starts at this time.
    Starting(u64, Life),
    On,
    /// The CPU goes off at this time.
    Leaving(u64),
    /// The CPU is in the pen.
    Parked,
}

struct Cpu {
    power: Power,
    /// Whether the CPU has gone past its boot record since it was started.
    beyond: bool,
    /// Whether the CPU runs although firmware has answered that it is off or won't start.
    misled: bool,
    /// Whether the CPU is in WFI.
    asleep: bool,
    /// The CPU doesn't run before this time, as a virtual CPU that its host doesn't run.
    held_until: u64,
    /// Bit n is set if SGI n is pending.
    pending: u16,
    /// Whether the priority mask is closed: only SGIs 0 and 1 are taken then.
    closed: bool,
    /// The time for which the timer is set, or [`NEVER`].
    armed: u64,
    /// The pending [`PreemptWork`](stillpoint::platform::PreemptWork), as bits.
    preempt_work: u32,
    /// The reason for which the CPU has refused itself, and in which life.
    reason: Option<(Life, ApRefusal)>,
    /// The error with which CPU_OFF has returned.
    off_refused: Option<PsciError>,
    /// The life that the CPU was last started for.
    life: Life,
}

struct State {
    /// The time, in nanoseconds.
    now: u64,
    /// The number of the CPU that has the turn.
    turn: usize,
    cpus: Vec<Cpu>,
    script: Script,
    /// What was done, line by line.
    notes: Vec<String>,
    /// The name of the test.
    test: String,
    /// How often the turn was passed on.
    changes: u64,
    /// How often the platform was called since then.
    calls: u64,
}

struct Machine {
    masks: CpuMasks,
    sched: Scheduler<Sim>,
    calls: Calls<Sim>,
    stop: StopMachine<Sim>,
    grace: GracePeriods<Sim>,
    hotplug: OnceLock<Hotplug<Sim>>,
    words: Vec<AtomicU32>,
    irqs: IrqTable<Sim>,
    state: Mutex<State>,
    turns: Vec<Condvar>,
    rings: trace::Rings,
}

thread_local! {
    static MACHINE: Cell<Option<&'static Machine>> = const { Cell::new(None) };
    static CPU: Cell<usize> = const { Cell::new(0) };
    static PREEMPT_COUNT: Cell<u32> = const { Cell::new(0) };
    static MASKED: Cell<bool> = const { Cell::new(false) };
    static WORD: Cell<usize> = const { Cell::new(0) };
}

fn machine() -> &'static Machine {
    MACHINE.get().expect("this thread has no machine")
}

fn state() -> MutexGuard<'static, State> {
    let mut state = machine().state.lock().expect("no panic under it");
    limits::count_call(&mut state);
    state
}

impl Cpu {
    fn new(power: Power) -> Cpu {
        Cpu {
            power,
            beyond: false,
            misled: false,
            asleep: false,
            held_until: 0,
            pending: 0,
            closed: false,
            armed: NEVER,
            preempt_work: 0,
            reason: None,
            off_refused: None,
            life: Life::NONE,
        }
    }

    /// Returns the number of the next interrupt that this CPU would take.
    fn interrupt(&self, now: u64) -> Option<u32> {
        let open = if self.closed { 0b11 } else { u16::MAX };
        let pending = self.pending & open;
        if pending != 0 {
            return Some(pending.trailing_zeros());
        }
        (self.armed <= now).then_some(TIMER)
    }

    fn runs(&self, now: u64) -> bool {
        matches!(self.power, Power::On | Power::Leaving(_))
            && self.held_until <= now
            && (!self.asleep || self.interrupt(now).is_some())
    }

    /// Returns the time of the next event of this CPU, or [`NEVER`].
    fn next(&self) -> u64 {
        match self.power {
            Power::Off | Power::Parked => NEVER,
            Power::Starting(at, _) | Power::Leaving(at) => at,
            Power::On if !self.asleep || self.pending != 0 => self.held_until,
            Power::On => self.armed.max(self.held_until),
        }
    }
}

/// Starts and turns off the CPUs whose time has come, and returns the number of the CPU that
/// has the turn after CPU `me`.
fn choose(state: &mut State, me: usize) -> usize {
    limits::count_change(state);
    loop {
        limits::check(state);
        let now = state.now;
        for (number, cpu) in state.cpus.iter_mut().enumerate() {
            match cpu.power {
                Power::Starting(at, life) if at <= now => {
                    *cpu = Cpu {
                        power: Power::On,
                        misled: cpu.misled,
                        reason: cpu.reason,
                        off_refused: cpu.off_refused,
                        pending: cpu.pending,
                        life,
                        ..Cpu::new(Power::On)
                    };
                    spawn(number, move || enter(number));
                }
                Power::Leaving(at) if at <= now => cpu.power = Power::Off,
                _ => {}
            }
        }
        let count = state.cpus.len();
        let next = (1..=count)
            .map(|step| (me + step) % count)
            .find(|cpu| state.cpus[*cpu].runs(now) && !is_leaving(&state.cpus[*cpu]));
        if let Some(next) = next {
            return next;
        }
        let then = state.cpus.iter().map(Cpu::next).min().unwrap_or(NEVER);
        if then == NEVER {
            limits::abort(state, "all CPUs sleep for ever");
        }
        state.now = then.max(now + 1);
    }
}

fn is_leaving(cpu: &Cpu) -> bool {
    matches!(cpu.power, Power::Leaving(_))
}

/// Passes the turn of this CPU on, and returns when this CPU has the turn again.
fn give_turn(mut state: MutexGuard<'static, State>) {
    let me = CPU.get();
    state.now += MOMENT;
    let next = choose(&mut state, me);
    state.turn = next;
    if next == me {
        return;
    }
    machine().turns[next].notify_all();
    wait_for_turn(state, me);
}

fn wait_for_turn(mut state: MutexGuard<'static, State>, me: usize) {
    while state.turn != me {
        state = machine().turns[me].wait(state).expect("no panic under it");
    }
}

/// Passes the turn on for good, and parks the host thread: this CPU doesn't run any more.
fn end(mut state: MutexGuard<'static, State>) -> ! {
    let next = choose(&mut state, CPU.get());
    state.turn = next;
    machine().turns[next].notify_all();
    drop(state);
    loop {
        std::thread::park();
    }
}

/// Has this CPU not run for `time` nanoseconds.
fn hold(time: u64) {
    if time > 0 {
        Sim::hold_cpu(Sim::this_cpu(), time);
    }
}

/// Runs `body` in a new host thread, as a thread of `cpu` that has IRQs masked.
fn spawn(cpu: usize, body: impl FnOnce() + Send + 'static) {
    let machine = MACHINE.get();
    let start = move || {
        MACHINE.set(machine);
        CPU.set(cpu);
        MASKED.set(true);
        if catch_unwind(AssertUnwindSafe(body)).is_err() {
            // The panic was told. All other host threads would wait for ever.
            std::process::abort();
        }
    };
    let thread = std::thread::Builder::new().stack_size(256 * 1024);
    if let Err(error) = thread.spawn(start) {
        limits::abort_without_thread(&error);
    }
}

/// Runs CPU `number`, which was started, from its entry on.
fn enter(number: usize) {
    wait_for_turn(state(), number);
    let cpu = CpuId::new(number).expect("a CPU of the machine");
    let (refuses, late) = {
        let state = state();
        (state.script.refuses, state.script.arrives_after)
    };
    hold(late);
    if let Some(reason) = refuses {
        let life = state().cpus[number].life;
        state().cpus[number].reason = Some((life, reason));
        Sim::cpu_off(cpu);
    }
    state().cpus[number].closed = true;
    Sim::hotplug().arrive(cpu)
}

/// Runs the handlers of the pending interrupts, unless this CPU has IRQs masked.
fn serve() {
    while !MASKED.get() {
        let me = CPU.get();
        let taken = {
            let mut state = state();
            let now = state.now;
            let cpu = &mut state.cpus[me];
            let taken = cpu.interrupt(now);
            match taken {
                Some(TIMER) => cpu.armed = NEVER,
                Some(sgi) => cpu.pending &= !(1 << sgi),
                None => {}
            }
            taken
        };
        let Some(number) = taken else {
            return;
        };
        MASKED.set(true);
        let machine = machine();
        let sgi = |sgi: Sgi| u32::from(sgi.number()) == number;
        if sgi(Sgi::GracePeriod) {
            machine.grace.interrupt();
        } else if sgi(Sgi::Call) {
            machine.calls.interrupt(Sim::this_cpu());
        } else if sgi(Sgi::Stop) {
            machine.stop.stop_interrupt();
        } else if sgi(Sgi::Reschedule) {
            machine.sched.reschedule_interrupt();
        } else if sgi(Sgi::Event) {
            Sim::hotplug().event_interrupt();
        } else if number == TIMER {
            machine.sched.timer_interrupt();
        }
        if PREEMPT_COUNT.get() == 0 {
            machine.grace.preempt_point();
            machine.sched.preempt_point();
        }
        MASKED.set(false);
    }
}

/// The platform of the simulated machine.
#[derive(Debug)]
pub(crate) struct Sim;

impl Sim {
    /// Runs `test` as the first thread of a machine of `cpus` CPUs, of which only the boot
    /// CPU is online; returns when `test` returns.
    pub(crate) fn run(cpus: usize, test: impl FnOnce() + Send + 'static) {
        Sim::run_from_boot(cpus, || (), test);
    }

    /// Does as [`Sim::run`], and has the boot CPU call `early` before there are threads.
    pub(crate) fn run_from_boot(
        cpus: usize,
        early: impl FnOnce() + Send + 'static,
        test: impl FnOnce() + Send + 'static,
    ) {
        limits::tell_panics();
        let power = |cpu| if cpu == 0 { Power::On } else { Power::Off };
        let machine: &'static Machine = Box::leak(Box::new(Machine {
            masks: CpuMasks::new(CpuMask::first_n(cpus)),
            sched: Scheduler::new(cpus),
            calls: Calls::new(cpus),
            stop: StopMachine::new(cpus),
            grace: GracePeriods::new(cpus),
            hotplug: OnceLock::new(),
            words: (0..cpus).map(|_| AtomicU32::new(0)).collect(),
            irqs: IrqTable::new(8),
            state: Mutex::new(State {
                now: 0,
                turn: 0,
                cpus: (0..cpus).map(|cpu| Cpu::new(power(cpu))).collect(),
                script: Script::good(),
                notes: Vec::new(),
                test: std::thread::current().name().unwrap_or("a test").into(),
                changes: 0,
                calls: 0,
            }),
            turns: (0..cpus).map(|_| Condvar::new()).collect(),
            rings: OnceLock::new(),
        }));
        let (tell, told) = mpsc::channel();
        let before = MACHINE.replace(Some(machine));
        let main = move || {
            let request = IrqRequest {
                line: IrqLine::from_intid(DEVICE, Trigger::Edge).expect("a shared interrupt"),
                name: "device".into(),
                affinity: *machine.masks.possible(),
                owner: Owner::User,
                is_shared: false,
                starts_disabled: false,
            };
            let device = machine
                .irqs
                .request(&request, Box::new(|| IrqReturn::Handled), None);
            // The machine lives for ever.
            std::mem::forget(device.expect("the line is free"));
            let walked = Sim::hotplug().finish_boot_cpu();
            assert_eq!(walked, Ok(()), "the boot CPU");
            let result = catch_unwind(AssertUnwindSafe(test));
            tell.send(result).expect("the test waits");
            // This thread keeps the turn, so nothing on this machine runs any more.
            loop {
                std::thread::park();
            }
        };
        spawn(0, move || {
            early();
            Sim::hotplug().start_boot_cpu();
            let first = Sim::sched().spawn_first(Box::new(main));
            assert_eq!(first, Ok(()), "the first thread");
            Sim::sched().idle(|| Sim::hotplug().idle(CpuId::BOOT));
        });
        MACHINE.set(before);
        // Far longer than any test takes. A host thread may hang without passing its turn on.
        match told.recv_timeout(Duration::from_secs(600)) {
            Ok(Ok(())) => {}
            Ok(Err(panic)) => resume_unwind(panic),
            Err(error) => panic!("the machine doesn't come to an end: {error}"),
        }
    }

    /// Changes what CPUs and firmware do from now on.
    pub(crate) fn script(change: impl FnOnce(&mut Script)) {
        change(&mut state().script);
    }

    /// Has every call succeed from now on. CPUs that were held run, and CPUs that would never
    /// start or go off do so now.
    pub(crate) fn heal() {
        let mut state = state();
        state.script = Script::good();
        let now = state.now;
        for cpu in &mut state.cpus {
            cpu.held_until = cpu.held_until.min(now);
            match cpu.power {
                Power::Starting(NEVER, life) => cpu.power = Power::Starting(now, life),
                Power::Leaving(NEVER) => cpu.power = Power::Leaving(now),
                _ => {}
            }
        }
    }

    /// Has `cpu` not run for `time` nanoseconds. Another CPU gets the turn.
    pub(crate) fn hold_cpu(cpu: CpuId, time: u64) {
        let mut state = state();
        let until = state.now.saturating_add(time);
        state.cpus[cpu.index()].held_until = until;
        give_turn(state);
    }

    /// Has the counter leap by `time` nanoseconds, in which nothing runs: no CPU, and no firmware.
    pub(crate) fn leap(time: u64) {
        let mut state = state();
        state.now += time;
        for cpu in &mut state.cpus {
            let later = |at: &mut u64| *at = at.saturating_add(time);
            later(&mut cpu.held_until);
            match &mut cpu.power {
                Power::Starting(at, _) | Power::Leaving(at) => later(at),
                _ => {}
            }
        }
    }

    /// Returns the time, in nanoseconds.
    pub(crate) fn time() -> u64 {
        state().now
    }

    /// Stores `reason` as if `cpu` had refused itself in life `life`.
    pub(crate) fn leave_reason(cpu: CpuId, life: Life, reason: ApRefusal) {
        state().cpus[cpu.index()].reason = Some((life, reason));
    }

    /// Returns whether this CPU's priority mask is closed. While the CPU is online, it is
    /// closed only in a stop.
    pub(crate) fn is_closed() -> bool {
        state().cpus[CPU.get()].closed
    }

    /// Returns the CPU that the interrupt of the machine's device goes to.
    pub(crate) fn device_cpu() -> CpuId {
        let line = machine().irqs.line(Irq::Spi(DEVICE));
        line.and_then(|line| line.effective_affinity())
            .expect("the device has an interrupt")
    }

    /// Returns the life that `cpu` was last started for.
    pub(crate) fn life(cpu: CpuId) -> Life {
        state().cpus[cpu.index()].life
    }

    /// Runs step `step` of the kernel's table in `direction`, or fails if the script says
    /// so.
    fn pass(direction: Direction, context: &StepContext) -> Result<(), StepError> {
        // The walk moves the state before it passes the step.
        let up = Sim::hotplug().state(context.cpu).state();
        let step = match direction {
            Direction::Up => up - 1,
            Direction::Down => up,
        };
        let before_step = state().script.before_step;
        if let Some(before_step) = before_step {
            before_step(step, direction);
        }
        let fails = {
            let fails = &mut state().script.fails;
            let found = fails.iter().position(|fail| *fail == (step, direction));
            found.map(|at| fails.remove(at)).is_some()
        };
        if fails {
            return Err(StepError::Injected);
        }
        let shipped = &steps::<Sim>()[step];
        match direction {
            Direction::Up => shipped.startup.run(context),
            Direction::Down => shipped.teardown.run(context),
        }
    }
}

//! A machine of several CPUs for host tests of hotplug, whose CPUs and firmware do what
//! the test says, at every call: answer this or that, late, or never.
//!
//! What runs is the kernel that ships: scheduler, stops, grace periods, calls, hotplug.
//! Each kernel thread is a host thread. One of all of them runs at a time: within a CPU
//! the one that has the CPU, as in `fake.rs`, and of the CPUs the one whose turn it is. A
//! CPU gives its turn away where it relaxes or sleeps. Time is virtual: a turn given away
//! takes a moment, and when all CPUs sleep it is set to what comes next. So each run is
//! repeatable to the step. Where nothing comes any more the test has hung, and says so.
//!
//! Host threads are never freed: a CPU that is off, and a kernel thread of a machine whose
//! test is over, sleep for good.

use std::cell::Cell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, mpsc};
use std::time::Duration;

use stillpoint::cpu::{CpuId, CpuMask, CpuMasks};
use stillpoint::hotplug::{ApRefusal, Hotplug, HotplugHost, Life, StepContext, StepError, steps};
use stillpoint::platform::{Platform, PowerState, PsciError, Sgi};
use stillpoint::rcu::GracePeriods;
use stillpoint::sched::{SchedHost, Scheduler};
use stillpoint::smp::call::Calls;
use stillpoint::stop_machine::StopMachine;
use stillpoint::sync::atomic::AtomicU32;
use stillpoint::trace::Direction;

#[path = "sim_platform.rs"]
mod platform;

/// How much time a turn takes that is given away, in nanoseconds.
const MOMENT: u64 = 500;
/// The number of the timer's interrupt; those below are SGIs.
const TIMER: u32 = 16;
/// Never, as a time.
pub(crate) const NEVER: u64 = u64::MAX;

/// What CPU_ON answers, and does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct On {
    pub(crate) answer: Result<(), PsciError>,
    /// After how many nanoseconds the CPU starts, if it was off; [`NEVER`] if it doesn't.
    pub(crate) starts: u64,
}

/// What CPU_OFF does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Off {
    /// The CPU is off after so many nanoseconds; [`NEVER`] if it isn't.
    After(u64),
    /// It returns with this, and the CPU goes to the pen.
    Parks(PsciError),
    /// It returns with this, and the pen is full.
    Halts(PsciError),
}

/// What CPUs and firmware do.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    /// CPU_ON, one after the other; the last one for good.
    pub(crate) on: VecDeque<On>,
    /// Whether a CPU refuses itself at its entry.
    pub(crate) refuses: Option<ApRefusal>,
    /// How long a CPU waits before it says ALIVE.
    pub(crate) arrives_after: u64,
    /// How long one waits before it says DEAD.
    pub(crate) dies_after: u64,
    pub(crate) off: Off,
    /// What AFFINITY_INFO answers instead of the truth.
    pub(crate) affinity: Option<Result<PowerState, PsciError>>,
    /// How long the CPU that asks doesn't run after the next answer, once.
    pub(crate) held_after_asking: u64,
    /// Whether AFFINITY_INFO goes on saying OFF until a started CPU has come to its entry.
    pub(crate) early_off: bool,
    /// Steps that fail once.
    pub(crate) fails: Vec<(usize, Direction)>,
}

impl Script {
    /// All goes well.
    pub(crate) fn good() -> Script {
        let on = On {
            answer: Ok(()),
            starts: 2_000,
        };
        Script {
            on: VecDeque::from([on]),
            refuses: None,
            arrives_after: 0,
            dies_after: 0,
            off: Off::After(2_000),
            affinity: None,
            held_after_asking: 0,
            early_off: false,
            fails: Vec::new(),
        }
    }
}

/// Where a CPU of the machine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Power {
    Off,
    /// It starts at this time.
    Starting(u64, Life),
    On,
    /// It goes off at this time.
    Leaving(u64),
    /// In the pen.
    Parked,
}

struct Cpu {
    power: Power,
    /// Whether it has come beyond its boot record since it was started.
    beyond: bool,
    /// Whether firmware has said that it is off, or won't start, and it runs nevertheless.
    misled: bool,
    asleep: bool,
    /// Doesn't run before this time, as a virtual CPU whose host doesn't run it.
    held_until: u64,
    pending: u16,
    closed: bool,
    armed: u64,
    preempt_work: u32,
    reason: Option<(Life, ApRefusal)>,
    off_refused: Option<PsciError>,
    life: Life,
}

struct State {
    now: u64,
    turn: usize,
    cpus: Vec<Cpu>,
    script: Script,
}

struct Machine {
    masks: CpuMasks,
    sched: Scheduler<Sim>,
    calls: Calls<Sim>,
    stop: StopMachine<Sim>,
    grace: GracePeriods<Sim>,
    hotplug: OnceLock<Hotplug<Sim>>,
    words: Vec<AtomicU32>,
    state: Mutex<State>,
    turns: Vec<Condvar>,
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
    machine().state.lock().expect("no panic under it")
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

    /// The next interrupt that this CPU would take, by its number.
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

    /// When something happens here by itself.
    fn next(&self) -> u64 {
        match self.power {
            Power::Off | Power::Parked => NEVER,
            Power::Starting(at, _) | Power::Leaving(at) => at,
            Power::On if !self.asleep || self.pending != 0 => self.held_until,
            Power::On => self.armed.max(self.held_until),
        }
    }
}

/// Lets what is due happen, and says whose turn it is after CPU `me`.
fn choose(state: &mut State, me: usize) -> usize {
    loop {
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
                    spawn(number, true, move || enter(number));
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
            eprintln!("the machine has hung: all CPUs sleep for ever");
            std::process::abort();
        }
        state.now = then.max(now + 1);
    }
}

fn is_leaving(cpu: &Cpu) -> bool {
    matches!(cpu.power, Power::Leaving(_))
}

/// Gives the turn of this CPU away, and returns when it has it back.
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

/// This CPU doesn't run any more: its turn goes, and its host thread with it.
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
        let mut state = state();
        let until = state.now.saturating_add(time);
        state.cpus[CPU.get()].held_until = until;
        give_turn(state);
    }
}

fn spawn(cpu: usize, masked: bool, body: impl FnOnce() + Send + 'static) {
    let machine = MACHINE.get();
    let start = move || {
        MACHINE.set(machine);
        CPU.set(cpu);
        MASKED.set(masked);
        if catch_unwind(AssertUnwindSafe(body)).is_err() {
            // Its message is there; the others would wait for it for ever.
            std::process::abort();
        }
    };
    std::thread::Builder::new()
        .stack_size(256 * 1024)
        .spawn(start)
        .expect("a host thread");
}

/// A CPU that was started.
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

/// Takes the interrupts that are pending, if this CPU's are on.
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
            machine.sched.preempt_from_irq();
        }
        MASKED.set(false);
    }
}

/// The platform of the simulated machine.
#[derive(Debug)]
pub(crate) struct Sim;

impl Sim {
    /// Runs `test` as the first thread of a machine of `cpus` CPUs, the boot CPU alone
    /// online, and returns when it returns.
    pub(crate) fn run(cpus: usize, test: impl FnOnce() + Send + 'static) {
        let power = |cpu| if cpu == 0 { Power::On } else { Power::Off };
        let machine: &'static Machine = Box::leak(Box::new(Machine {
            masks: CpuMasks::new(CpuMask::first_n(cpus)),
            sched: Scheduler::new(cpus),
            calls: Calls::new(cpus),
            stop: StopMachine::new(cpus),
            grace: GracePeriods::new(cpus),
            hotplug: OnceLock::new(),
            words: (0..cpus).map(|_| AtomicU32::new(0)).collect(),
            state: Mutex::new(State {
                now: 0,
                turn: 0,
                cpus: (0..cpus).map(|cpu| Cpu::new(power(cpu))).collect(),
                script: Script::good(),
            }),
            turns: (0..cpus).map(|_| Condvar::new()).collect(),
        }));
        let (tell, told) = mpsc::channel();
        let before = MACHINE.replace(Some(machine));
        let main = move || {
            let walked = Sim::hotplug().finish_boot_cpu();
            assert_eq!(walked, Ok(()), "the boot CPU");
            let result = catch_unwind(AssertUnwindSafe(test));
            tell.send(result).expect("the test waits");
            // With the turn: nothing happens on this machine any more.
            loop {
                std::thread::park();
            }
        };
        spawn(0, true, move || {
            Sim::hotplug().start_boot_cpu();
            let first = Sim::sched().spawn_first(Box::new(main));
            assert_eq!(first, Ok(()), "the first thread");
            Sim::sched().idle(|| Sim::hotplug().idle(CpuId::BOOT));
        });
        MACHINE.set(before);
        // Far more than any test takes: what hangs without a step shall be told too.
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

    /// All goes well from now on; what was held goes on; what would never be off is.
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

    /// What time it is, in nanoseconds.
    pub(crate) fn time() -> u64 {
        state().now
    }

    /// As if `cpu` had left a reason in life `life`.
    pub(crate) fn leave_reason(cpu: CpuId, life: Life, reason: ApRefusal) {
        state().cpus[cpu.index()].reason = Some((life, reason));
    }

    /// Whether this CPU's priority mask is closed: online it is so in a stop alone.
    pub(crate) fn is_closed() -> bool {
        state().cpus[CPU.get()].closed
    }

    /// The life that `cpu` was last started for.
    pub(crate) fn life(cpu: CpuId) -> Life {
        state().cpus[cpu.index()].life
    }

    /// A step that fails if the script says so, else is as in the table that ships.
    fn pass(step: usize, direction: Direction, context: &StepContext) -> Result<(), StepError> {
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

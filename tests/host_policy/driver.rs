//! What CPUs do by themselves: they take interrupts, and idle ones look for work. The
//! order among several CPUs is random.

use std::sync::Arc;

use stillpoint::cpu::CpuId;
use stillpoint::platform::{Platform, PreemptWork};
use stillpoint::sched::{Class, PerCpuThread, SchedHost, Scheduler, Service, Thread, kernel_class};
use stillpoint::sync::atomic::AtomicUsize;
use stillpoint::sync::{LocalCpu, LockMap};
use stillpoint::time::Instant;

use crate::platform::{Machine, Many, NEVER, machine};
use crate::xorshift::Random;

/// How many things CPUs may have to do at one instant before they count as busy with each
/// other for ever.
const RESTLESS: usize = 5_000;

/// The work of the thread of a CPU that takes its CPU up and down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Walk {
    Up,
    Down,
    Done,
}

struct NoCode;

impl Service<Many> for NoCode {
    fn should_run(&self, _: CpuId) -> bool {
        unreachable!("threads have no code")
    }

    fn run(&self, _: CpuId) {
        unreachable!("threads have no code")
    }
}

/// The driver's records of one CPU.
struct Cpu {
    idle: Arc<Thread<Many>>,
    /// The thread that takes the CPU up and down.
    walker: Arc<Thread<Many>>,
    walk: Walk,
    stopper: Arc<Thread<Many>>,
    /// It is called to a stop of the machine, and has not come yet.
    called_to_stop: bool,
    online: bool,
    /// The idle thread sleeps until an interrupt.
    asleep: bool,
    /// The idle thread lost the CPU while it looked for work: it goes on behind that.
    has_looked: bool,
}

/// A machine, and the driver of its CPUs.
pub(crate) struct Driver {
    cpus: Vec<Cpu>,
}

pub(crate) fn cpu(index: usize) -> CpuId {
    CpuId::new(index).expect("a CPU of the machine")
}

pub(crate) fn sched() -> &'static Scheduler<Many> {
    Many::sched()
}

fn word(thread: &Arc<Thread<Many>>) -> usize {
    Arc::as_ptr(thread).addr()
}

/// Has the thread that runs on CPU `index` call `act_fn`.
pub(crate) fn act<R>(index: usize, act_fn: impl FnOnce() -> R) -> R {
    machine().turn_to(index);
    let before = Many::preempt_count();
    let result = act_fn();
    assert_eq!(Many::preempt_count(), before, "a guard outlives its caller");
    assert!(Many::irqs_enabled(), "IRQs stay masked");
    assert!(
        before > 0 || !Many::has_preempt_work(PreemptWork::Reschedule),
        "the last guard let a thread run on that must go"
    );
    result
}

/// Has CPU `index` take an interrupt, whose handler is `handle_fn`.
pub(crate) fn interrupt<R>(index: usize, handle_fn: impl FnOnce() -> R) -> R {
    act(index, || {
        machine().masked.set(true);
        let result = handle_fn();
        if Many::preempt_count() == 0 {
            sched().preempt_point();
        }
        machine().masked.set(false);
        result
    })
}

/// Wakes `thread`, or lets it run for the first time.
fn wake_or_begin(thread: &Arc<Thread<Many>>) {
    if !sched().wake(thread) {
        sched().unpark(thread);
    }
}

impl Driver {
    /// Returns a machine of `cpus` CPUs, of which the first `up` are up.
    pub(crate) fn new(cpus: usize, up: usize) -> Driver {
        Machine::install(cpus);
        let kernel = kernel_class();
        let cpus = (0..cpus).map(|index| {
            let create = |name, class| {
                let (service, work) = (Arc::new(NoCode), LockMap::new());
                let it = PerCpuThread::create(sched(), name, class, cpu(index), service, &work);
                Arc::clone(it.expect("a thread").thread())
            };
            let walker = create("walker", kernel);
            Cpu {
                idle: sched().new_idle(cpu(index), AtomicUsize::new(0)),
                walker,
                walk: Walk::Done,
                stopper: create("stopper", Class::Stop),
                called_to_stop: false,
                online: false,
                asleep: false,
                has_looked: false,
            }
        });
        let mut driver = Driver {
            cpus: cpus.collect(),
        };
        driver.power_on(0);
        driver.begin_walk(0, Walk::Up);
        driver.rest(&mut Random::new(1));
        for index in 1..up {
            driver.bring_up(index);
            driver.rest(&mut Random::new(1));
        }
        driver
    }

    fn power_on(&mut self, index: usize) {
        let it = &mut self.cpus[index];
        it.online = true;
        it.asleep = false;
        it.has_looked = false;
        act(index, || {
            machine().masked.set(true);
            sched().start_cpu(&it.idle);
            machine().masks.set_online(cpu(index));
            sched().serve_timers(cpu(index));
            machine().masked.set(false);
        });
    }

    /// Has CPU `index`, which is off, start. It is active when it has run its walker.
    pub(crate) fn bring_up(&mut self, index: usize) {
        assert!(!self.cpus[index].online);
        self.power_on(index);
        self.begin_walk(index, Walk::Up);
    }

    /// Has CPU `index` leave. It is off, or can be turned off, when it has run its walker.
    pub(crate) fn take_down(&mut self, index: usize) {
        assert!(machine().masks.is_active(cpu(index)));
        self.begin_walk(index, Walk::Down);
    }

    fn begin_walk(&mut self, index: usize, walk: Walk) {
        let active = machine().masks.active();
        let control = active.iter().find(|other| other.index() != index);
        // The first CPU takes itself up.
        let control = control.map_or(index, CpuId::index);
        let it = &mut self.cpus[index];
        it.walk = walk;
        let walker = Arc::clone(&it.walker);
        self.act(control, || wake_or_begin(&walker));
    }

    /// Stops the machine: all CPUs that are online come into their stoppers, and go on when
    /// all have come.
    pub(crate) fn stop(&mut self) {
        for it in self.cpus.iter_mut().filter(|it| it.online) {
            it.called_to_stop = true;
        }
    }

    /// Turns CPU `index` off, which has left and has nothing to do.
    pub(crate) fn power_off(&mut self, index: usize) {
        assert!(self.is_idle(index) && !self.is_active(index));
        let drained = act(index, || sched().is_drained(cpu(index)));
        assert!(drained, "a thread is left on CPU{index}");
        machine().masks.clear_online(cpu(index));
        let it = &machine().cpus[index];
        it.armed.set(NEVER);
        it.called.set(false);
        self.cpus[index].online = false;
    }

    pub(crate) fn len(&self) -> usize {
        self.cpus.len()
    }

    pub(crate) fn is_online(&self, index: usize) -> bool {
        self.cpus[index].online
    }

    pub(crate) fn is_active(&self, index: usize) -> bool {
        machine().masks.is_active(cpu(index))
    }

    /// Returns whether CPU `index` runs its idle thread.
    pub(crate) fn is_idle(&self, index: usize) -> bool {
        machine().cpus[index].word.get() == word(&self.cpus[index].idle)
    }

    /// Returns the address of the thread that CPU `index` runs.
    pub(crate) fn runs(&self, index: usize) -> usize {
        machine().cpus[index].word.get()
    }

    fn walks(&self, index: usize) -> bool {
        self.runs(index) == word(&self.cpus[index].walker)
    }

    /// Returns when the next timer interrupt comes.
    pub(crate) fn next_timer(&self) -> u64 {
        let armed = machine().cpus.iter().map(|cpu| cpu.armed.get());
        armed.min().unwrap_or(NEVER)
    }

    /// Returns whether CPU `index` is in its stopper, and may leave it.
    fn may_go_on(&self, index: usize) -> bool {
        self.is_in_stopper(index) && !self.cpus.iter().any(|it| it.called_to_stop)
    }

    fn has_to_act(&self, index: usize) -> bool {
        let (it, state) = (&self.cpus[index], &machine().cpus[index]);
        it.online
            && (state.called.get()
                || it.called_to_stop
                || self.may_go_on(index)
                || state.armed.get() <= machine().now.get()
                || (self.is_idle(index) && !it.asleep)
                || self.walks(index))
    }

    /// Returns whether a CPU has something to do at this instant.
    pub(crate) fn is_restless(&self) -> bool {
        (0..self.len()).any(|index| self.has_to_act(index))
    }

    /// Has the CPUs do what they have to, until none has to do anything at this instant.
    ///
    /// # Panics
    /// If they don't come to an end.
    pub(crate) fn rest(&mut self, random: &mut Random) {
        for _ in 0..RESTLESS {
            if !self.step(random) {
                return;
            }
        }
        panic!("the CPUs keep each other busy");
    }

    /// Has a CPU do one thing. Returns whether one had to.
    pub(crate) fn step(&mut self, random: &mut Random) -> bool {
        let busy: Vec<usize> = (0..self.len()).filter(|it| self.has_to_act(*it)).collect();
        if busy.is_empty() {
            return false;
        }
        let index = busy[random.below(busy.len())];
        let state = &machine().cpus[index];
        let mut tasks: Vec<fn(&mut Driver, usize)> = Vec::new();
        if state.called.get() {
            tasks.push(Driver::take_call);
        }
        if self.cpus[index].called_to_stop {
            tasks.push(Driver::begin_stop);
        }
        if self.may_go_on(index) {
            tasks.push(Driver::end_stop);
        }
        if state.armed.get() <= machine().now.get() {
            tasks.push(Driver::take_timer);
        }
        if self.is_idle(index) && !self.cpus[index].asleep {
            tasks.push(Driver::turn_idle);
        }
        if self.walks(index) {
            tasks.push(Driver::walk);
        }
        tasks[random.below(tasks.len())](self, index);
        true
    }

    fn take_call(&mut self, index: usize) {
        machine().cpus[index].called.set(false);
        self.cpus[index].asleep = false;
        interrupt(index, || sched().reschedule_interrupt());
    }

    /// Has CPU `index` come into its stopper.
    pub(crate) fn begin_stop(&mut self, index: usize) {
        self.cpus[index].called_to_stop = false;
        let stopper = Arc::clone(&self.cpus[index].stopper);
        self.interrupt(index, || wake_or_begin(&stopper));
        assert_eq!(self.runs(index), word(&stopper));
    }

    /// Calls the stopper of CPU `index`. Returns whether it does not come at once.
    pub(crate) fn begin_stop_late(&mut self, index: usize) -> bool {
        let stopper = Arc::clone(&self.cpus[index].stopper);
        self.interrupt(index, || wake_or_begin(&stopper));
        !self.is_in_stopper(index)
    }

    /// Returns whether CPU `index` runs its stopper.
    pub(crate) fn is_in_stopper(&self, index: usize) -> bool {
        self.runs(index) == word(&self.cpus[index].stopper)
    }

    fn end_stop(&mut self, index: usize) {
        let stopper = Arc::clone(&self.cpus[index].stopper);
        act(index, || {
            sched().about_to_block(&stopper);
            sched().schedule();
        });
    }

    fn take_timer(&mut self, index: usize) {
        machine().cpus[index].armed.set(NEVER);
        self.cpus[index].asleep = false;
        interrupt(index, || sched().timer_interrupt());
    }

    /// Has CPU `index`, which may be idle, take an interrupt whose handler is `handle_fn`.
    pub(crate) fn interrupt<R>(&mut self, index: usize, handle_fn: impl FnOnce() -> R) -> R {
        self.cpus[index].asleep = false;
        interrupt(index, handle_fn)
    }

    /// Has the thread that runs on CPU `index`, which may be the idle thread, call
    /// `act_fn`.
    pub(crate) fn act<R>(&mut self, index: usize, act_fn: impl FnOnce() -> R) -> R {
        self.cpus[index].asleep = false;
        act(index, act_fn)
    }

    /// Has the thread that runs on CPU `index` allow preemption again.
    pub(crate) fn end_section(&mut self, index: usize) {
        machine().cpus[index].set_section(false);
        self.act(index, Many::preempt_point);
    }

    /// Notes that the idle thread of CPU `index` sleeps, which the driver hasn't seen.
    pub(crate) fn fell_asleep(&mut self, index: usize) {
        self.cpus[index].asleep = true;
    }

    fn turn_idle(&mut self, index: usize) {
        if std::mem::take(&mut self.cpus[index].has_looked) {
            self.cpus[index].asleep = true;
            return;
        }
        let idle = self.runs(index);
        let mut asleep = false;
        let mut has_looked = false;
        act(index, || {
            sched().idle_turn(|| {
                asleep = Many::thread_word() == idle;
                // Another thread has got the CPU before the idle thread could sleep.
                has_looked = !asleep;
            });
        });
        self.cpus[index].asleep = asleep;
        self.cpus[index].has_looked = has_looked;
    }

    /// Has the walker of CPU `index` do its work.
    fn walk(&mut self, index: usize) {
        let it = &mut self.cpus[index];
        let walker = Arc::clone(&it.walker);
        match std::mem::replace(&mut it.walk, Walk::Done) {
            Walk::Up => machine().masks.set_active(cpu(index), true),
            Walk::Down => {
                machine().masks.set_active(cpu(index), false);
                act(index, || {
                    let drained = sched().drain(cpu(index), Instant::FOREVER);
                    assert_eq!(drained, Ok(()));
                });
            }
            Walk::Done => {}
        }
        act(index, || {
            sched().about_to_block(&walker);
            sched().schedule();
        });
    }
}

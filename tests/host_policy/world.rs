//! Threads that compute, sleep, wake each other and change each other, and CPUs that come
//! and go: a random load on the scheduler that ships.

use std::fmt::Write;
use std::sync::Arc;

use stillpoint::cpu::CpuMask;
use stillpoint::sched::{Class, Nice, Policy, Priority, Thread, ThreadName, ThreadState};

use crate::checks;
use crate::driver::{Driver, cpu, sched};
use crate::platform::{Many, NEVER, machine};
use crate::xorshift::Random;

/// A microsecond and a millisecond, in ticks.
pub(crate) const US: u64 = 1_000;
pub(crate) const MS: u64 = 1_000_000;

/// A thread of the load.
pub(crate) struct Worker {
    pub(crate) thread: Arc<Thread<Many>>,
    /// The CPU on which it runs.
    pub(crate) on: Option<usize>,
    /// The CPU on which it ran before this step.
    was_on: Option<usize>,
    /// Since when it has been where it is.
    pub(crate) since: u64,
    /// How long it will compute until it does something else.
    pub(crate) left: u64,
    /// For how long it computes and then sleeps, time and again; if it says nothing, that is
    /// random.
    script: Vec<(u64, u64)>,
    line: usize,
    /// For how long it has run so far.
    pub(crate) ran: u64,
    /// When it wakes, if it sleeps.
    pub(crate) wakes_at: u64,
    /// It was preempted between "about to wait" and the wait.
    pub(crate) half_asleep: bool,
    /// The CPU on which it is queued.
    pub(crate) queued_on: Option<usize>,
    /// Its place there among those of its level: less goes first. `None` if that can't be
    /// told from outside.
    pub(crate) order: Option<i64>,
    /// It has given the CPU away in this step.
    pub(crate) yielded: bool,
}

impl Worker {
    /// Returns whether it wants a CPU and has none.
    pub(crate) fn waits(&self) -> bool {
        self.waits_on(self.on).is_some()
    }

    /// Goes on to the next line of the script. Returns the one that is done.
    pub(crate) fn next_line(&mut self) -> Option<(u64, u64)> {
        let done = self.script.get(self.line).copied()?;
        self.line = (self.line + 1) % self.script.len();
        self.left = self.script[self.line].0;
        Some(done)
    }

    /// Has it compute and sleep as `script` says, time and again.
    pub(crate) fn set_script(&mut self, script: Vec<(u64, u64)>) {
        self.left = script[0].0;
        self.script = script;
    }

    /// Returns the CPU on which it waits, if it runs on `on`.
    fn waits_on(&self, on: Option<usize>) -> Option<usize> {
        let state = self.thread.state_racy();
        let wants = !matches!(state, ThreadState::Blocked | ThreadState::Parked);
        (on.is_none() && wants).then(|| self.thread.cpu().index())
    }
}

/// What a load does. Without any habit it only computes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Habits {
    /// Realtime threads are among the threads.
    pub(crate) realtime: bool,
    /// Threads sleep and wake each other.
    pub(crate) sleeps: bool,
    /// Threads are bound to a part of the CPUs.
    pub(crate) affinity: bool,
    /// The niceness of threads differs.
    pub(crate) nice: bool,
    /// Classes, affinity and niceness change.
    pub(crate) changes: bool,
    /// CPUs come and go.
    pub(crate) hotplug: bool,
    /// SGIs are taken late at times.
    pub(crate) late: bool,
    /// Threads forbid preemption for a while.
    pub(crate) sections: bool,
    /// The machine is stopped at times.
    pub(crate) stops: bool,
}

/// A machine with a load.
pub(crate) struct World {
    pub(crate) driver: Driver,
    pub(crate) workers: Vec<Worker>,
    pub(crate) habits: Habits,
    pub(crate) random: Random,
    /// When the thread that runs on each CPU allows preemption again, if it forbids it.
    sections: Vec<u64>,
    /// Number of events so far.
    pub(crate) steps: i64,
    /// The last event, for messages.
    pub(crate) last: String,
    pub(crate) next_change: u64,
    pub(crate) most: usize,
    /// Preempted threads are flushed: which thread is next is decided otherwise.
    pub(crate) flushes: bool,
}

impl World {
    /// Returns a machine of `cpus` CPUs that will have `most` threads.
    pub(crate) fn new(seed: u64, cpus: usize, most: usize, habits: Habits) -> World {
        World {
            driver: Driver::new(cpus, cpus),
            workers: Vec::new(),
            habits,
            random: Random::new(seed),
            sections: vec![NEVER; cpus],
            steps: 0,
            last: String::new(),
            next_change: 0,
            most,
            flushes: false,
        }
    }

    pub(crate) fn now() -> u64 {
        machine().now.get()
    }

    /// Returns a random time from `least` on, up to 1000 times as much: short ones as
    /// often as long ones.
    pub(crate) fn time(&mut self, least: u64) -> u64 {
        let scale = [1, 10, 100][self.random.below(3)];
        least * scale * (1 + self.random.below(10) as u64)
    }

    pub(crate) fn class(&mut self) -> Class {
        if !self.habits.realtime || self.random.below(2) == 0 {
            return Class::Normal;
        }
        // Few priorities, so that threads of one priority meet.
        let priority = Priority::new([10, 10, 20, 50][self.random.below(4)]).expect("1 to 99");
        if self.random.below(2) == 0 {
            Class::fifo(priority)
        } else {
            Class::round_robin(priority)
        }
    }

    pub(crate) fn nice(&mut self) -> Nice {
        let value = if self.habits.nice {
            [-10, -5, -1, 0, 0, 0, 1, 5, 19][self.random.below(9)]
        } else {
            0
        };
        Nice::new(value).expect("-20 to 19")
    }

    pub(crate) fn affinity(&mut self) -> CpuMask {
        let cpus = self.driver.len();
        let mut mask = CpuMask::first_n(cpus);
        if self.habits.affinity && self.random.below(2) == 0 {
            for index in 0..cpus {
                if self.random.below(3) > 0 && mask.count() > 1 {
                    mask.remove(cpu(index));
                }
            }
        }
        mask
    }

    /// Returns a CPU that is up, by chance.
    pub(crate) fn any_cpu(&mut self) -> usize {
        loop {
            let index = self.random.below(self.driver.len());
            if self.driver.is_active(index) {
                return index;
            }
        }
    }

    /// Returns a CPU that is up, by chance, whose thread may wait.
    pub(crate) fn any_cpu_that_waits(&mut self) -> usize {
        let mut index = self.any_cpu();
        for _ in 0..10 {
            if self.sections[index] == NEVER {
                return index;
            }
            index = self.any_cpu();
        }
        self.end_section(index);
        index
    }

    /// Has the thread that runs on CPU `on` forbid preemption for a while.
    pub(crate) fn begin_section(&mut self, on: usize) {
        machine().cpus[on].set_section(true);
        self.sections[on] = World::now() + self.time(5 * US);
    }

    fn end_section(&mut self, on: usize) {
        if std::mem::replace(&mut self.sections[on], NEVER) != NEVER {
            self.driver.end_section(on);
        }
    }

    /// Has the threads on all CPUs allow preemption again.
    pub(crate) fn end_sections(&mut self) {
        for on in 0..self.driver.len() {
            self.end_section(on);
        }
    }

    /// Starts one more thread, from a random CPU.
    pub(crate) fn spawn(&mut self) {
        let (class, nice, affinity) = (self.class(), self.nice(), self.affinity());
        self.spawn_as(class, nice, affinity);
    }

    pub(crate) fn spawn_as(&mut self, class: Class, nice: Nice, affinity: CpuMask) {
        let from = self.any_cpu_that_waits();
        let name = ThreadName::new(format_args!("worker {}", self.workers.len()));
        let spawned = self.driver.act(from, || {
            sched().spawn(name, class, &affinity, || {
                unreachable!("threads have no code")
            })
        });
        let Ok(thread) = spawned else {
            return; // None of its CPUs is active.
        };
        self.driver.act(from, || sched().set_nice(&thread, nice));
        let left = self.time(50 * US);
        self.workers.push(Worker {
            thread,
            on: None,
            was_on: None,
            since: World::now(),
            left,
            script: Vec::new(),
            line: 0,
            ran: 0,
            wakes_at: NEVER,
            half_asleep: false,
            queued_on: None,
            order: None,
            yielded: false,
        });
    }

    /// Starts a thread that computes for ever.
    pub(crate) fn spawn_busy(&mut self, nice: Nice) {
        let all = CpuMask::first_n(self.driver.len());
        self.spawn_as(Class::Normal, nice, all);
        self.workers.last_mut().expect("a CPU is up").left = NEVER;
    }

    /// Starts a thread that computes and sleeps as `script` says, time and again.
    pub(crate) fn spawn_with(&mut self, nice: Nice, script: Vec<(u64, u64)>) {
        self.spawn_busy(nice);
        let worker = self.workers.last_mut().expect("it was started");
        worker.set_script(script);
    }

    /// Lets the machine run until `at`.
    pub(crate) fn run_until(&mut self, at: u64) {
        while self.next(self.driver.is_restless()).0 <= at {
            self.step();
        }
        machine().now.set(at);
    }

    /// Returns for how long each thread has run by now.
    pub(crate) fn run_times(&self) -> Vec<u64> {
        let since = |it: &Worker| it.on.map_or(0, |_| World::now() - it.since);
        self.workers.iter().map(|it| it.ran + since(it)).collect()
    }

    /// Does what is next. Afterwards no CPU has anything left to do at this instant,
    /// unless that is taken late; returns whether so.
    pub(crate) fn step(&mut self) -> bool {
        self.steps += 1;
        let late = self.driver.is_restless();
        let (at, event) = self.next(late);
        machine().now.set(at.max(World::now()));
        self.last.clear();
        self.note(format_args!("{event:?}"));
        match event {
            Event::Timer => {}
            Event::Change => self.change_something(),
            Event::Wake(worker) => {
                self.workers[worker].wakes_at = NEVER;
                let thread = Arc::clone(&self.workers[worker].thread);
                let from = self.any_cpu();
                self.driver.interrupt(from, || sched().wake(&thread));
            }
            Event::Done(worker) => match self.workers[worker].on {
                // It may lose the CPU first.
                Some(on) if self.sections[on] != NEVER => self.end_section(on),
                _ => self.go_on(worker),
            },
            Event::Allow(on) => self.end_section(on),
        }
        if self.habits.stops && self.random.below(8) == 0 {
            self.note(format_args!("all stop"));
            self.driver.stop();
        }
        if self.habits.late && self.random.below(4) == 0 {
            for _ in 0..self.random.below(4) {
                self.driver.step(&mut self.random);
            }
            self.settle();
            if self.driver.is_restless() {
                return false;
            }
        }
        self.driver.rest(&mut self.random);
        self.settle();
        true
    }

    pub(crate) fn note(&mut self, what: std::fmt::Arguments<'_>) {
        write!(self.last, " {what}").expect("a string");
    }

    /// Returns the next event and when it comes. If CPUs have something to do already,
    /// that is soon.
    fn next(&mut self, late: bool) -> (u64, Event) {
        let mut first = (self.next_change, Event::Change);
        let mut add = |at: u64, event: Event| {
            if at < first.0 {
                first = (at, event);
            }
        };
        add(self.driver.next_timer(), Event::Timer);
        for (on, ends) in self.sections.iter().enumerate() {
            add(*ends, Event::Allow(on));
        }
        for (index, worker) in self.workers.iter().enumerate() {
            add(worker.wakes_at, Event::Wake(index));
            if worker.on.is_some() {
                add(worker.since.saturating_add(worker.left), Event::Done(index));
            }
        }
        let soon = World::now() + 5 * US;
        if late && first.0 > soon {
            return (soon, Event::Timer);
        }
        first
    }

    /// Books the time that `worker` has run.
    pub(crate) fn book(&mut self, worker: usize) {
        let it = &mut self.workers[worker];
        let ran = World::now() - it.since;
        it.since = World::now();
        it.ran += ran;
        it.left = it.left.saturating_sub(ran);
    }

    /// Books which thread runs where now, and since when.
    ///
    /// # Panics
    /// If a realtime thread got a CPU before another of its level that came first.
    pub(crate) fn settle(&mut self) {
        let cpus = 0..self.driver.len();
        let runs: Vec<usize> = cpus.map(|index| self.driver.runs(index)).collect();
        let mut started = Vec::new();
        for index in 0..self.workers.len() {
            let word = Arc::as_ptr(&self.workers[index].thread).addr();
            let on = runs.iter().position(|other| *other == word);
            let was_on = self.workers[index].on;
            if on != was_on {
                if was_on.is_some() {
                    self.book(index);
                }
                started.extend(on.map(|_| index));
            }
            let it = &mut self.workers[index];
            let queue = it.waits_on(on);
            if on != was_on || queue.is_some() != it.queued_on.is_some() {
                it.since = World::now();
            }
            it.on = on;
        }
        for index in started.into_iter().filter(|_| !self.flushes) {
            checks::first_came_first(self, index);
        }
        for index in 0..self.workers.len() {
            let it = &self.workers[index];
            let queue = it.waits_on(it.on);
            if queue != it.queued_on {
                let order = self.order(index, &runs);
                self.workers[index].order = order;
                self.workers[index].queued_on = queue;
            }
            let it = &mut self.workers[index];
            it.was_on = it.on;
            it.yielded = false;
        }
    }

    /// Returns the place of a thread that was queued in this step.
    fn order(&self, index: usize, runs: &[usize]) -> Option<i64> {
        let it = &self.workers[index];
        let was_here = it.was_on.filter(|on| *on == it.thread.cpu().index());
        let Some(on) = was_here else {
            return Some(self.steps);
        };
        if it.yielded {
            return Some(self.steps);
        }
        let next = self
            .workers
            .iter()
            .find(|other| Arc::as_ptr(&other.thread).addr() == runs[on]);
        let level = it.thread.class().level();
        // A more urgent one, or an ordinary one where realtime threads are held back.
        let other = next.is_none_or(|next| next.thread.class().level() != level);
        match it.thread.class() {
            // Whether its slice was over too can't be told.
            Class::Realtime(_, Policy::RoundRobin) if other => None,
            Class::Realtime(_, Policy::RoundRobin) => Some(self.steps),
            // It stays in front of those that wait.
            _ => Some(-self.steps),
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Event {
    /// A timer interrupt, or what was left to do late.
    Timer,
    Change,
    Wake(usize),
    Done(usize),
    /// The thread on a CPU allows preemption again.
    Allow(usize),
}

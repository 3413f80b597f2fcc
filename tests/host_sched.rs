//! Which thread runs next: the scheduler and its run queue, with real threads on a fake
//! CPU, against a model that is a list of tickets.
//!
//! The driver tells the thread that has the CPU what to do, and hears from the
//! thread that has it afterwards, which is the same one or another. That, and
//! the state of every thread, has to be what the model says, step by step.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fake::{Baton, Fake};
use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::sched::{
    Class, PerCpuThread, Priority, RunQueue, SchedHost, Service, Switch, SwitchReason, Thread,
    ThreadName, ThreadState,
};
use stillpoint::sync::atomic::{AtomicBool, Ordering};
use stillpoint::sync::{LocalCpu, PreemptGuard};
use stillpoint::time::Instant;
use xorshift::Random;

#[path = "support/fake.rs"]
mod fake;
#[path = "support/xorshift.rs"]
mod xorshift;

/// A thread that isn't heard of for so long hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// The number of the idle thread; per-CPU threads come next, then ordinary ones.
const IDLE: usize = 0;

/// The classes of the per-CPU threads.
const CLASSES: [Class; 7] = [
    Class::Stop,
    Class::Stop,
    Class::fifo(Priority::MAX),
    Class::fifo(Priority::MIN),
    Class::Normal,
    Class::Normal,
    Class::Normal,
];

/// How many ordinary threads one machine may have in its life.
const ORDINARY: usize = 60;

/// What the running thread is told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Yield,
    AboutToBlock,
    CancelBlock,
    /// Gives the CPU away: waits, if it is still about to.
    Schedule,
    /// Wakes a thread from thread context.
    Wake(usize),
    /// Wakes a thread from an interrupt handler.
    Interrupt(usize),
    /// Wakes a thread with preemption off.
    GuardedWake(usize),
    AskToPark(usize),
    Unpark(usize),
    /// Starts an ordinary thread.
    Spawn,
    /// Returns: an ordinary thread exits, a per-CPU thread parks if asked to.
    Return,
}

/// What the driver and the threads share.
struct Shared {
    ops: Vec<Mutex<Receiver<Op>>>,
    threads: Mutex<Vec<Arc<Thread<Fake>>>>,
    reports: Mutex<Sender<usize>>,
    /// The running thread keeps its CPU: it has preemption off or is in an
    /// interrupt handler.
    keeps_cpu: AtomicBool,
}

impl Shared {
    fn thread(&self, id: usize) -> Arc<Thread<Fake>> {
        Arc::clone(&self.threads.lock().expect("no panic under it")[id])
    }

    /// What thread `id` does while it has the CPU.
    fn work(self: &Arc<Self>, id: usize) {
        let sched = Fake::sched();
        loop {
            assert!(!self.keeps_cpu.load(Ordering::Relaxed), "{id} took a CPU");
            self.reports
                .lock()
                .expect("no panic under it")
                .send(id)
                .unwrap_or(());
            let Ok(op) = self.ops[id].lock().expect("no panic under it").recv() else {
                // The test is over; there is no way out of a kernel thread.
                loop {
                    std::thread::park();
                }
            };
            match op {
                Op::Yield | Op::Schedule => sched.yield_now(),
                Op::AboutToBlock => sched.about_to_block(&self.thread(id)),
                Op::CancelBlock => sched.cancel_block(&self.thread(id)),
                Op::Wake(other) => {
                    sched.wake(&self.thread(other));
                }
                Op::Interrupt(other) => {
                    let flags = Fake::irq_save();
                    self.keeps_cpu.store(true, Ordering::Relaxed);
                    sched.wake(&self.thread(other));
                    self.keeps_cpu.store(false, Ordering::Relaxed);
                    sched.preempt_from_irq();
                    // SAFETY: saved above.
                    unsafe { Fake::irq_restore(flags) };
                }
                Op::GuardedWake(other) => {
                    let guard = PreemptGuard::<Fake>::new();
                    self.keeps_cpu.store(true, Ordering::Relaxed);
                    sched.wake(&self.thread(other));
                    self.keeps_cpu.store(false, Ordering::Relaxed);
                    drop(guard);
                }
                Op::AskToPark(other) => sched.ask_to_park(&self.thread(other)),
                Op::Unpark(other) => sched.unpark(&self.thread(other)),
                Op::Spawn => self.spawn(),
                Op::Return => return,
            }
        }
    }

    fn spawn(self: &Arc<Self>) {
        let id = self.threads.lock().expect("no panic under it").len();
        let name = ThreadName::new(format_args!("ordinary {id}"));
        let shared = Arc::clone(self);
        // It may not run before it is listed.
        let _here = PreemptGuard::<Fake>::new();
        let thread =
            Fake::sched().spawn(name, Class::Normal, &CpuMask::of(CpuId::BOOT), move || {
                shared.work(id);
            });
        self.threads
            .lock()
            .expect("no panic under it")
            .push(thread.expect("a thread"));
    }
}

/// A per-CPU thread, which has always something to do.
struct Worker {
    id: usize,
    shared: Arc<Shared>,
}

impl Service<Fake> for Worker {
    fn should_run(&self, _: CpuId) -> bool {
        true
    }

    fn run(&self, _: CpuId) {
        self.shared.work(self.id);
    }
}

/// The fake machine, at the driver's end.
struct Machine {
    shared: Arc<Shared>,
    ops: Vec<Sender<Op>>,
    reports: Receiver<usize>,
    /// The thread that has the CPU.
    current: usize,
}

impl Machine {
    /// A machine whose idle thread runs, its per-CPU threads parked.
    fn new() -> Machine {
        Fake::new_machine();
        let sched = Fake::sched();
        let channels = (0..1 + CLASSES.len() + ORDINARY).map(|_| channel());
        let (ops, receivers): (Vec<_>, Vec<_>) = channels.unzip();
        let (report, reports) = channel();
        let idle = sched.new_idle(CpuId::BOOT, Baton::default());
        let shared = Arc::new(Shared {
            ops: receivers.into_iter().map(Mutex::new).collect(),
            threads: Mutex::new(vec![Arc::clone(&idle)]),
            reports: Mutex::new(report),
            keeps_cpu: AtomicBool::new(false),
        });
        for (index, class) in CLASSES.into_iter().enumerate() {
            let worker = Arc::new(Worker {
                id: index + 1,
                shared: Arc::clone(&shared),
            });
            let name = format!("{class:?} {}", index + 1);
            let thread = PerCpuThread::create(sched, &name, class, CpuId::BOOT, worker);
            let thread = thread.expect("a thread");
            shared
                .threads
                .lock()
                .expect("no panic under it")
                .push(thread);
        }
        let with_idle = Arc::clone(&shared);
        Fake::spawn(false, move || {
            Fake::sched().start_cpu(&idle);
            with_idle.work(IDLE);
        });
        let mut machine = Machine {
            shared,
            ops,
            reports,
            current: IDLE,
        };
        machine.hear();
        assert_eq!(machine.current, IDLE);
        machine
    }

    fn hear(&mut self) {
        self.current = self
            .reports
            .recv_timeout(PATIENCE)
            .expect("some thread has the CPU");
    }

    /// Has the running thread do `op`; afterwards `current` may be another.
    fn tell(&mut self, op: Op) {
        self.ops[self.current].send(op).expect("it listens");
        self.hear();
    }

    fn state(&self, id: usize) -> ThreadState {
        self.shared.thread(id).state_racy()
    }
}

/// The model: each runnable thread holds a ticket, and the lowest one is next.
struct Model {
    threads: Vec<ModelThread>,
    current: usize,
    last_ticket: i64,
    seen: Seen,
}

struct ModelThread {
    class: Class,
    state: ThreadState,
    asked_to_park: bool,
    /// It has not gone on since it was parked.
    in_park: bool,
    /// Level, then when it came, negative for one that goes to the front.
    ticket: Option<(usize, i64)>,
}

/// How often the interesting happened: a walk without it shows nothing.
#[derive(Debug, Default)]
struct Seen {
    preempted: u32,
    preempted_while_blocking: u32,
    saved_by_a_wake: u32,
    blocked: u32,
    parked: u32,
    parked_again: u32,
    died: u32,
    idle_again: u32,
    woken_twice: u32,
}

impl Model {
    fn new() -> Model {
        let thread = |class, state| ModelThread {
            class,
            state,
            asked_to_park: state == ThreadState::Parked,
            in_park: state == ThreadState::Parked,
            ticket: None,
        };
        let mut threads = vec![thread(Class::Idle, ThreadState::Running)];
        threads.extend(CLASSES.map(|class| thread(class, ThreadState::Parked)));
        Model {
            threads,
            current: IDLE,
            last_ticket: 0,
            seen: Seen::default(),
        }
    }

    fn draw(&mut self, id: usize, front: bool) {
        assert_eq!(self.threads[id].ticket, None, "runnable twice");
        self.last_ticket += 1;
        let sign = if front { -1 } else { 1 };
        self.threads[id].ticket = Some((self.threads[id].class.level(), sign * self.last_ticket));
    }

    /// The best ticket.
    fn first(&self) -> Option<usize> {
        (0..self.threads.len())
            .filter(|id| self.threads[*id].ticket.is_some())
            .min_by_key(|id| self.threads[*id].ticket)
    }

    fn dispatch(&mut self) {
        let next = self.first().unwrap_or(IDLE);
        let thread = &mut self.threads[next];
        thread.ticket = None;
        if thread.state == ThreadState::Runnable {
            thread.state = ThreadState::Running;
        }
        if thread.in_park && thread.asked_to_park {
            // Asked again before it had the CPU.
            thread.state = ThreadState::Parked;
            self.seen.parked_again += 1;
            return self.dispatch();
        }
        thread.in_park = false;
        self.seen.idle_again += u32::from(next == IDLE && self.current != IDLE);
        self.current = next;
    }

    /// The running thread gives the CPU away.
    fn give_away(&mut self) {
        let id = self.current;
        let thread = &mut self.threads[id];
        match thread.state {
            ThreadState::Blocking => {
                thread.state = ThreadState::Blocked;
                self.seen.blocked += 1;
            }
            ThreadState::Running if id != IDLE => {
                thread.state = ThreadState::Runnable;
                self.draw(id, false);
            }
            _ => {}
        }
        self.dispatch();
    }

    /// A more urgent thread takes the CPU.
    fn preempt(&mut self) {
        let level = |id: usize| self.threads[id].class.level();
        if self
            .first()
            .is_none_or(|first| level(first) >= level(self.current))
        {
            return;
        }
        let id = self.current;
        if id != IDLE {
            self.seen.preempted += 1;
            match &mut self.threads[id].state {
                ThreadState::Blocking => self.seen.preempted_while_blocking += 1,
                state => *state = ThreadState::Runnable,
            }
            self.draw(id, true);
        }
        self.dispatch();
    }

    fn wake(&mut self, id: usize) {
        let thread = &mut self.threads[id];
        match thread.state {
            ThreadState::Blocking => {
                thread.state = ThreadState::Running;
                self.seen.saved_by_a_wake += 1;
            }
            ThreadState::Blocked => {
                thread.state = ThreadState::Runnable;
                self.draw(id, false);
            }
            ThreadState::Runnable => self.seen.woken_twice += 1,
            _ => {}
        }
    }

    fn apply(&mut self, op: Op) {
        let id = self.current;
        match op {
            Op::Yield | Op::Schedule => self.give_away(),
            Op::AboutToBlock => self.threads[id].state = ThreadState::Blocking,
            Op::CancelBlock => self.threads[id].state = ThreadState::Running,
            Op::Wake(other) | Op::Interrupt(other) | Op::GuardedWake(other) => {
                self.wake(other);
                self.preempt();
            }
            Op::AskToPark(other) => {
                self.threads[other].asked_to_park = true;
                self.wake(other);
                self.preempt();
            }
            Op::Unpark(other) => {
                let thread = &mut self.threads[other];
                thread.asked_to_park = false;
                if thread.state == ThreadState::Parked {
                    thread.state = ThreadState::Runnable;
                    self.draw(other, false);
                }
                self.preempt();
            }
            Op::Spawn => {
                self.threads.push(ModelThread {
                    class: Class::Normal,
                    state: ThreadState::Runnable,
                    asked_to_park: false,
                    in_park: false,
                    ticket: None,
                });
                self.draw(self.threads.len() - 1, false);
                self.preempt();
            }
            Op::Return if id > CLASSES.len() => {
                self.threads[id].state = ThreadState::Dead;
                self.seen.died += 1;
                self.dispatch();
            }
            Op::Return if self.threads[id].asked_to_park => {
                self.threads[id].state = ThreadState::Parked;
                self.threads[id].in_park = true;
                self.seen.parked += 1;
                self.dispatch();
            }
            Op::Return => {}
        }
    }

    /// Something that the running thread may do.
    fn choose(&self, random: &mut Random) -> Op {
        let anyone = random.below(self.threads.len());
        let per_cpu = 1 + random.below(CLASSES.len());
        let idle = self.current == IDLE;
        let blocking = self.threads[self.current].state == ThreadState::Blocking;
        loop {
            let op = match random.below(16) {
                0 | 1 => Op::Wake(anyone),
                2 | 3 => Op::Interrupt(anyone),
                4 => Op::GuardedWake(anyone),
                5 => Op::Interrupt(self.current),
                6 => Op::AskToPark(per_cpu),
                7 | 8 => Op::Unpark(per_cpu),
                9 if blocking => Op::CancelBlock,
                10..=12 if blocking => Op::Schedule,
                9 if self.threads.len() <= CLASSES.len() + ORDINARY => Op::Spawn,
                10 => Op::Yield,
                11..=13 if !idle && !blocking => Op::AboutToBlock,
                14 if !idle && !blocking => Op::Return,
                _ => continue,
            };
            return op;
        }
    }
}

/// Walks both at random, and compares them after every step.
fn walk(seed: u64, steps: usize) -> Seen {
    let mut random = Random::new(seed);
    let mut machine = Machine::new();
    let mut model = Model::new();
    let mut done = Vec::new();
    for _ in 0..steps {
        let op = model.choose(&mut random);
        done.push((model.current, op));
        machine.tell(op);
        model.apply(op);
        let last = &done[done.len().saturating_sub(12)..];
        assert_eq!(
            machine.current, model.current,
            "who runs, seed {seed}, after {last:?}"
        );
        for (id, thread) in model.threads.iter().enumerate() {
            assert_eq!(
                machine.state(id),
                thread.state,
                "thread {id}, seed {seed}, after {last:?}"
            );
        }
    }
    model.seen
}

#[test]
fn the_scheduler_does_what_the_model_does() {
    let mut least = [u32::MAX; 9];
    for seed in 1..=4 {
        let seen = walk(seed, 40_000);
        let counts = [
            seen.preempted,
            seen.preempted_while_blocking,
            seen.saved_by_a_wake,
            seen.blocked,
            seen.parked,
            seen.parked_again,
            seen.died,
            seen.idle_again,
            seen.woken_twice,
        ];
        for (least, count) in least.iter_mut().zip(counts) {
            *least = count.min(*least);
        }
        assert!(least.iter().all(|count| *count > 10), "{seen:?}");
    }
}

/// Runs `script` from idle with the per-CPU threads unparked and run once, so
/// that each waits; returns which threads had the CPU, in turn.
fn play(script: &[Op]) -> Vec<usize> {
    let mut machine = Machine::new();
    for id in 1..=CLASSES.len() {
        machine.tell(Op::Unpark(id));
        while machine.current == IDLE {
            machine.tell(Op::Yield);
        }
        machine.tell(Op::AboutToBlock);
        machine.tell(Op::Schedule);
        assert_eq!(
            (machine.current, machine.state(id)),
            (IDLE, ThreadState::Blocked)
        );
    }
    let mut turns = Vec::new();
    for op in script {
        machine.tell(*op);
        if turns.last() != Some(&machine.current) {
            turns.push(machine.current);
        }
    }
    turns
}

/// A script in which the running thread waits, `times` over.
fn waits(times: usize) -> Vec<Op> {
    [Op::AboutToBlock, Op::Schedule].repeat(times)
}

#[test]
fn classes_come_in_their_order_and_threads_in_theirs() {
    // Woken in no order, by a stopper, which no thread preempts.
    let mut script: Vec<Op> = [1, 7, 5, 6, 4, 3, 2].map(Op::Wake).to_vec();
    script.extend(waits(7));
    assert_eq!(play(&script), [1, 2, 3, 4, 7, 5, 6, IDLE]);
}

#[test]
fn the_more_urgent_preempts_and_the_preempted_is_next() {
    let mut script = vec![Op::Wake(5), Op::Wake(6)];
    script.extend([4, 3, 1].map(Op::Interrupt));
    script.extend(waits(5));
    assert_eq!(play(&script), [5, 4, 3, 1, 3, 4, 5, 6, IDLE]);
    // With preemption off it comes later, and comes.
    assert_eq!(play(&[Op::Wake(5), Op::GuardedWake(1)]), [5, 1]);
}

#[test]
fn a_wake_between_about_to_block_and_block_is_not_lost() {
    let script = [Op::Wake(5), Op::AboutToBlock, Op::Interrupt(5)];
    assert_eq!(play(&[&script[..], &[Op::Schedule]].concat()), [5]);
    // Nor is one that comes while it has been preempted in between.
    let script = [
        &script[..2],
        &[Op::Interrupt(1), Op::Wake(5)],
        &waits(1),
        &[Op::Schedule],
    ];
    assert_eq!(play(&script.concat()), [5, 1, 5]);
}

/// A thread for a run queue alone: it never runs.
fn thread(class: Class) -> Arc<Thread<Fake>> {
    struct Nothing;
    impl Service<Fake> for Nothing {
        fn should_run(&self, _: CpuId) -> bool {
            false
        }
        fn run(&self, _: CpuId) {}
    }
    let name = format!("{class:?}");
    PerCpuThread::create(Fake::sched(), &name, class, CpuId::BOOT, Arc::new(Nothing))
        .expect("a thread")
}

/// The running thread says that it is about to wait.
fn block_current(queue: &RunQueue<Fake>) {
    let current = Arc::clone(queue.current());
    Fake::sched().about_to_block(&current);
}

/// A run queue on which idle runs.
fn queue() -> RunQueue<Fake> {
    Fake::new_machine();
    let mut queue = RunQueue::new();
    queue.start(Fake::sched().new_idle(CpuId::BOOT, Baton::default()));
    queue
}

/// The thread that a switch goes to.
fn to(switch: Option<Switch<Fake>>) -> Option<*const Thread<Fake>> {
    switch.map(|switch| switch.to)
}

#[test]
fn only_who_is_more_urgent_preempts() {
    let mut queue = queue();
    let [normal, other, realtime, stopper] = [
        Class::Normal,
        Class::Normal,
        Class::round_robin(Priority::MIN),
        Class::Stop,
    ]
    .map(thread);
    let preempt = SwitchReason::MayBePreempted;
    assert_eq!(to(queue.pick_next(preempt)), None);
    queue.enqueue(Arc::clone(&normal));
    assert_eq!(to(queue.pick_next(preempt)), Some(Arc::as_ptr(&normal)));
    queue.enqueue(Arc::clone(&other));
    assert_eq!(to(queue.pick_next(preempt)), None);
    for next in [realtime, stopper] {
        queue.enqueue(Arc::clone(&next));
        assert!(queue.should_preempt());
        assert_eq!(to(queue.pick_next(preempt)), Some(Arc::as_ptr(&next)));
        assert!(!queue.should_preempt());
    }
    // Preempted in the middle of something, both of them; a waiting thread is not.
    assert!(normal.is_marked_racy() && !other.is_marked_racy());
}

const SLICE: u64 = 4_000_000;

#[test]
fn a_slice_is_counted_only_while_another_thread_waits_for_its_end() {
    let mut queue = queue();
    let [first, second, stopper] = [Class::Normal, Class::Normal, Class::Stop].map(thread);
    let preempt = SwitchReason::MayBePreempted;
    queue.enqueue(Arc::clone(&first));
    assert_eq!(to(queue.pick_next(preempt)), Some(Arc::as_ptr(&first)));
    assert_eq!(queue.begin_slice(), None, "it is alone");
    Fake::set_now(1_000);
    queue.enqueue(Arc::clone(&second));
    assert!(queue.wants_slice());
    assert_eq!(queue.begin_slice(), Some(Instant(1_000 + SLICE)));
    // A stopper comes in the middle: what is left of the slice is kept.
    Fake::set_now(1_000_000);
    queue.enqueue(Arc::clone(&stopper));
    assert_eq!(to(queue.pick_next(preempt)), Some(Arc::as_ptr(&stopper)));
    assert_eq!(queue.begin_slice(), None, "a stopper takes no turns");
    Fake::set_now(2_000_000);
    block_current(&queue);
    assert_eq!(
        to(queue.pick_next(SwitchReason::GivesAway)),
        Some(Arc::as_ptr(&first)),
        "the preempted is next"
    );
    assert_eq!(
        queue.begin_slice(),
        Some(Instant(1_000 + SLICE + 1_000_000))
    );
    // One tick before its end nothing happens; at its end the other one is next.
    Fake::set_now(SLICE + 1_000_999);
    assert!(!queue.end_slice() && !queue.should_preempt());
    Fake::set_now(SLICE + 1_001_000);
    assert!(queue.end_slice() && queue.should_preempt());
    assert_eq!(to(queue.pick_next(preempt)), Some(Arc::as_ptr(&second)));
    assert_eq!(queue.begin_slice(), Some(Instant(2 * SLICE + 1_001_000)));
}

#[test]
#[should_panic(expected = "is queued already")]
fn a_thread_is_not_queued_twice() {
    let mut queue = queue();
    let thread = thread(Class::Normal);
    queue.enqueue(Arc::clone(&thread));
    assert!(!queue.is_empty());
    queue.enqueue(thread);
}

/// A core takes what is pending for certain only at a context synchronization event:
/// one that masks its interrupts again without may turn for ever.
#[test]
fn idle_serves_what_ended_its_sleep_before_it_sleeps_again() {
    let (report, reports) = channel();
    std::thread::spawn(move || {
        Fake::new_machine();
        Fake::spawn(true, move || {
            let sched = Fake::sched();
            let idle = sched.new_idle(CpuId::BOOT, Baton::default());
            sched.start_cpu(&idle);
            let mut sleeps = 0;
            sched.idle(|| {
                assert!(!Fake::irqs_enabled(), "idle sleeps with IRQs masked");
                report
                    .send((sleeps, Fake::served()))
                    .expect("the test waits");
                sleeps += 1;
                if sleeps == 4 {
                    loop {
                        std::thread::park();
                    }
                }
            })
        });
    });
    let seen: Vec<(usize, usize)> = reports.iter().take(4).collect();
    assert_eq!(seen, [(0, 0), (1, 1), (2, 2), (3, 3)]);
}

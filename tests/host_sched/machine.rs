//! The real scheduler on a fake machine of one CPU, driven a step at a time.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::sched::{
    Class, PerCpuThread, Priority, SchedHost, Service, Thread, ThreadName, ThreadState,
};
use stillpoint::sync::atomic::{AtomicBool, Ordering};
use stillpoint::sync::{LocalCpu, LockMap, PreemptGuard};

use crate::fake::{Baton, Fake};

/// How long the test waits for a thread before it counts as hung.
const PATIENCE: Duration = Duration::from_secs(60);

/// The number of the idle thread; per-CPU threads come next, then ordinary ones.
pub(crate) const IDLE: usize = 0;

/// The classes of the per-CPU threads.
pub(crate) const CLASSES: [Class; 7] = [
    Class::Stop,
    Class::Stop,
    Class::fifo(Priority::MAX),
    Class::fifo(Priority::MIN),
    Class::Normal,
    Class::Normal,
    Class::Normal,
];

/// How many ordinary threads one machine may have in its life.
pub(crate) const ORDINARY: usize = 60;

/// What the test tells the running thread to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Yield,
    AboutToBlock,
    CancelBlock,
    /// Gives the CPU away: blocks, if the thread is still about to block.
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
    /// Returns from the thread's function: an ordinary thread exits, a per-CPU thread parks if
    /// it was asked to.
    Return,
}

/// The state that the test and the threads share.
struct Shared {
    ops: Vec<Mutex<Receiver<Op>>>,
    threads: Mutex<Vec<Arc<Thread<Fake>>>>,
    reports: Mutex<Sender<usize>>,
    /// Whether the running thread keeps its CPU, because it has preemption off or is in an
    /// interrupt handler.
    keeps_cpu: AtomicBool,
}

impl Shared {
    fn thread(&self, id: usize) -> Arc<Thread<Fake>> {
        Arc::clone(&self.threads.lock().expect("no panic under it")[id])
    }

    /// Runs thread `id`: it reports that it has the CPU, and does what the test tells it.
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
                // The test is over, and a kernel thread can't return from here.
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
                    if Fake::preempt_count() == 0 {
                        sched.preempt_point();
                    }
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
        // The thread must not run before it is in the list.
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

/// A per-CPU thread, which always has something to do.
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

/// The fake machine, as the test sees it.
pub(crate) struct Machine {
    shared: Arc<Shared>,
    ops: Vec<Sender<Op>>,
    reports: Receiver<usize>,
    /// The thread that has the CPU.
    pub(crate) current: usize,
}

impl Machine {
    /// Returns a machine whose idle thread runs and whose per-CPU threads are parked.
    pub(crate) fn new() -> Machine {
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
            let thread =
                PerCpuThread::create(sched, &name, class, CpuId::BOOT, worker, &LockMap::new());
            let thread = Arc::clone(thread.expect("a thread").thread());
            shared
                .threads
                .lock()
                .expect("no panic under it")
                .push(thread);
        }
        let with_idle = Arc::clone(&shared);
        Fake::spawn(move || {
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

    /// Waits for the report of the thread that has the CPU.
    fn hear(&mut self) {
        self.current = self
            .reports
            .recv_timeout(PATIENCE)
            .expect("some thread has the CPU");
    }

    /// Has the running thread do `op`. Afterwards `current` may be another thread.
    pub(crate) fn tell(&mut self, op: Op) {
        self.ops[self.current].send(op).expect("it listens");
        self.hear();
    }

    pub(crate) fn state(&self, id: usize) -> ThreadState {
        self.shared.thread(id).state_racy()
    }
}

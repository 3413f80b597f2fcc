//! Where jobs wait, and which workers take them.

#![forbid(unsafe_code)]

use alloc::sync::Arc;
use core::fmt;

use crate::cpu::{CpuId, CpuMask, PerCpu};
use crate::pool::line::Line;
use crate::pool::{Job, Started};
use crate::sync::{LocalCpu, SpinLock};

/// The queue of a CPU.
struct Queue<E: LocalCpu + 'static> {
    /// Whether it accepts jobs (`closed-is-empty` of [`pool`](crate::pool)).
    open: bool,
    /// Its index is that of the CPU.
    jobs: Line<E>,
    /// How often a thread looked for a job here first. Wraps.
    looks: u32,
}

/// Each such look at a queue is at the others first (`others-first` of [`pool`](crate::pool)).
const OTHERS_FIRST: u32 = 32;

/// The workers, each with the number of its CPU.
struct Roster {
    /// Those that take jobs.
    serving: CpuMask,
    /// Those among them that rest, and that no thread has chosen to wake.
    resting: CpuMask,
    /// Whether all are to end.
    ended: bool,
}

/// What a worker is to do.
#[derive(Debug)]
pub enum Next<E: LocalCpu + 'static> {
    /// This job. If another worker is named, it is to be woken first
    /// (`wake-passed-on` of [`pool`](crate::pool)).
    Job(Arc<Job<E>>, Option<CpuId>),
    /// Sleep until it is woken.
    Rest,
    /// End.
    End,
}

/// The queues of a pool, and the list of its workers. Its functions return which workers are to
/// be woken: a wake before the worker sleeps has to end that sleep.
pub struct Board<E: LocalCpu + 'static> {
    queues: PerCpu<SpinLock<Queue<E>, E>>,
    /// Jobs that are in no CPU's queue. Its index is above those of the CPUs.
    shared: SpinLock<Line<E>, E>,
    roster: SpinLock<Roster, E>,
}

impl<E: LocalCpu + 'static> Board<E> {
    /// Returns a board for a machine of `cpus` CPUs. None of the workers serves. Allocates.
    pub fn new(cpus: usize) -> Board<E> {
        Board {
            queues: PerCpu::new(cpus, |cpu| {
                SpinLock::new(Queue {
                    open: false,
                    jobs: Line::new(cpu.index()),
                    looks: 0,
                })
            }),
            shared: SpinLock::new(Line::new(cpus)),
            roster: SpinLock::new(Roster {
                serving: CpuMask::EMPTY,
                resting: CpuMask::EMPTY,
                ended: false,
            }),
        }
    }

    /// Queues `job`, on CPU `near` if that is there. Returns the worker to wake.
    ///
    /// # Context
    /// Any. Neither allocates nor frees.
    ///
    /// # Panics
    /// If the job is in a queue.
    #[must_use = "it sleeps"]
    pub fn push(&self, job: Arc<Job<E>>, near: CpuId) -> Option<CpuId> {
        if let Some(job) = self.push_near(job, near) {
            self.shared.lock_irqsave().push_back(job);
        }
        self.roster.lock_irqsave().choose(near) // Behind the push (rests-then-looks).
    }

    /// Queues `job` on CPU `near`, or returns it if that queue is closed.
    fn push_near(&self, job: Arc<Job<E>>, near: CpuId) -> Option<Arc<Job<E>>> {
        let mut queue = self.queues.get(near).lock_irqsave();
        if !queue.open {
            return Some(job);
        }
        queue.jobs.push_back(job);
        None
    }

    /// Has the worker of `cpu` serve from now on. It is to be woken.
    ///
    /// # Context
    /// Thread, where CPUs neither come nor go.
    pub fn open(&self, cpu: CpuId) {
        self.roster.lock_irqsave().serving.insert(cpu); // First (serves-before-open).
        self.queues.get(cpu).lock_irqsave().open = true;
    }

    /// Has the worker of `cpu` take no job any more, and hands over what waits in its queue.
    /// Returns the workers to wake.
    ///
    /// # Context
    /// As [`Board::open`].
    #[must_use = "they sleep"]
    pub fn close(&self, cpu: CpuId) -> CpuMask {
        self.queues.get(cpu).lock_irqsave().open = false;
        self.hand_over(cpu);
        let mut roster = self.roster.lock_irqsave(); // Behind that (closed-is-empty).
        roster.serving.remove(cpu);
        roster.resting.remove(cpu);
        core::mem::take(&mut roster.resting)
    }

    /// Moves what waits on `cpu`, whose queue is closed, to the shared queue. One at a time: IRQs
    /// are masked only briefly.
    fn hand_over(&self, cpu: CpuId) {
        let next = || self.queues.get(cpu).lock_irqsave().jobs.pop_front();
        while let Some(job) = next() {
            self.shared.lock_irqsave().push_back(Arc::clone(&job));
            if job.has_started() {
                self.remove(&job); // (no-done-entry)
            }
        }
    }

    /// Takes what `job`, a function, does out of it, and the job out of its queue; `None` if
    /// another thread has.
    ///
    /// # Context
    /// Thread, behind the [`Board::push`] of the job.
    pub fn start(&self, job: &Arc<Job<E>>) -> Option<Started<E>> {
        let started = job.start()?;
        self.remove(job);
        Some(started)
    }

    /// Takes `job`, which has been begun, out of its queue if it is there.
    fn remove(&self, job: &Arc<Job<E>>) {
        let cpu = CpuId::new(job.ticket.line());
        let its_own = match cpu.and_then(|cpu| self.queues.try_get(cpu)) {
            Some(queue) => queue.lock_irqsave().jobs.remove(job),
            None => self.shared.lock_irqsave().remove(job),
        };
        drop(its_own); // The caller has another one: nothing is freed here.
    }

    /// Has the workers end, each when it asks for the next job. All are to be woken.
    ///
    /// # Context
    /// Any.
    pub fn end(&self) {
        self.roster.lock_irqsave().ended = true;
    }

    /// Returns whether the worker of `worker` takes jobs.
    ///
    /// # Context
    /// Any; the answer may be old.
    pub fn is_serving(&self, worker: CpuId) -> bool {
        self.roster.lock_irqsave().serving.contains(worker)
    }

    /// Returns what the worker of `worker`, which runs on `near`, is to do.
    ///
    /// # Context
    /// Thread, that worker.
    pub fn next(&self, worker: CpuId, near: CpuId) -> Next<E> {
        let serving = match self.roster.lock_irqsave().enter(worker, false) {
            Ok(serving) => serving,
            Err(next) => return next,
        };
        if let Some(job) = self.take(near, &serving) {
            return Next::Job(job, None);
        }
        let serving = match self.roster.lock_irqsave().enter(worker, true) {
            Ok(serving) => serving,
            Err(next) => return next,
        };
        let Some(job) = self.take(near, &serving) else {
            return Next::Rest;
        };
        let mut roster = self.roster.lock_irqsave();
        let was_chosen = !roster.resting.contains(worker);
        roster.resting.remove(worker);
        let passed_on = if was_chosen {
            roster.choose(near)
        } else {
            None
        };
        Next::Job(job, passed_on)
    }

    /// Takes a job for a thread that isn't a worker.
    ///
    /// # Context
    /// Thread.
    pub fn take_any(&self, near: CpuId) -> Option<Arc<Job<E>>> {
        let serving = self.roster.lock_irqsave().serving;
        self.take(near, &serving)
    }

    /// Takes the oldest job of the queue of `near`, of the shared queue, or of another one; now and
    /// then in another order (`others-first` of [`pool`](crate::pool)).
    fn take(&self, near: CpuId, serving: &CpuMask) -> Option<Arc<Job<E>>> {
        let of = |cpu| self.queues.get(cpu).lock_irqsave().jobs.pop_front();
        let (own, looks) = {
            let mut queue = self.queues.get(near).lock_irqsave();
            queue.looks = queue.looks.wrapping_add(1);
            let own = match queue.looks % OTHERS_FIRST {
                0 => None,
                _ => queue.jobs.pop_front(),
            };
            (own, queue.looks)
        };
        own.or_else(|| self.shared.lock_irqsave().pop_front())
            .or_else(|| {
                let turn = (looks / OTHERS_FIRST) as usize % serving.count().max(1);
                let in_turn = serving.iter().skip(turn).chain(serving.iter().take(turn));
                in_turn.filter(|cpu| *cpu != near).find_map(of)
            })
            .or_else(|| of(near))
    }
}

impl<E: LocalCpu + 'static> fmt::Debug for Board<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Board { .. }")
    }
}

impl Roster {
    /// Notes whether `worker`, which is about to look for a job, rests. Returns the CPUs to look
    /// at, or what the worker is to do instead.
    fn enter<E: LocalCpu>(&mut self, worker: CpuId, rests: bool) -> Result<CpuMask, Next<E>> {
        if self.ended {
            return Err(Next::End);
        }
        if !self.serving.contains(worker) {
            return Err(Next::Rest);
        }
        match rests {
            true => self.resting.insert(worker),
            false => self.resting.remove(worker),
        }
        Ok(self.serving)
    }

    /// Chooses a worker that rests, `near` if it does, and that is to be woken.
    fn choose(&mut self, near: CpuId) -> Option<CpuId> {
        let chosen = match self.resting.contains(near) {
            true => near,
            false => self.resting.first()?,
        };
        self.resting.remove(chosen);
        Some(chosen)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::vec::Vec;

    use super::{Board, Next, OTHERS_FIRST};
    use crate::cpu::{CpuId, CpuMask};
    use crate::pool::{CallApp, Job, Runner};
    use crate::sync::nowhere::Nowhere;

    struct Program;

    impl CallApp for Program {
        fn call<R>(&self, app_fn: impl FnOnce() -> R) -> R {
            app_fn()
        }
    }

    /// What was done, and by which worker.
    type Done = Arc<Mutex<Vec<(u32, usize)>>>;

    fn cpu(index: usize) -> CpuId {
        CpuId::from_index(index)
    }

    fn job(number: u32, done: &Done) -> Arc<Job<Nowhere>> {
        let done = Arc::clone(done);
        Job::new(Box::new(move |runner| {
            let Runner::Worker(cpu) = runner else { return };
            done.lock().expect("one thread").push((number, cpu.index()));
        }))
    }

    /// Has the worker of CPU `index` do its next job; returns the worker that it wakes.
    fn turn(board: &Board<Nowhere>, index: usize) -> Option<CpuId> {
        let Next::Job(job, another) = board.next(cpu(index), cpu(index)) else {
            panic!("it finds a job");
        };
        job.start()
            .expect("it has it alone")
            .run(Runner::Worker(cpu(index)), &Program);
        another
    }

    fn rests(board: &Board<Nowhere>, index: usize) -> bool {
        matches!(board.next(cpu(index), cpu(index)), Next::Rest)
    }

    #[test]
    fn the_own_queue_comes_first_and_in_order() {
        let (board, done) = (Board::new(3), Done::default());
        (0..3).for_each(|index| board.open(cpu(index)));
        for (number, near) in [(1, 0), (2, 1), (3, 1), (4, 2)] {
            assert_eq!(
                board.push(job(number, &done), cpu(near)),
                None,
                "none rests"
            );
        }
        for index in [1, 1, 1, 2] {
            assert_eq!(turn(&board, index), None);
        }
        let wanted = [(2, 1), (3, 1), (1, 1), (4, 2)];
        assert_eq!(*done.lock().expect("one thread"), wanted);
        assert!(rests(&board, 0));
    }

    #[test]
    fn a_worker_that_rests_is_chosen_once_and_that_of_the_cpu_first() {
        let (board, done) = (Board::new(3), Done::default());
        (0..3).for_each(|index| board.open(cpu(index)));
        assert!((0..3).all(|index| rests(&board, index)));
        let chosen = [2, 2, 2, 2].map(|near| board.push(job(0, &done), cpu(near)));
        assert_eq!(chosen, [Some(cpu(2)), Some(cpu(0)), Some(cpu(1)), None]);
    }

    #[test]
    fn what_waits_on_a_cpu_that_goes_is_done_by_the_others() {
        let (board, done) = (Board::new(2), Done::default());
        (0..2).for_each(|index| board.open(cpu(index)));
        for number in 1..4 {
            assert_eq!(board.push(job(number, &done), cpu(1)), None);
        }
        assert!(board.is_serving(cpu(1)));
        assert!(board.close(cpu(1)).is_empty(), "none rests");
        assert!(!board.is_serving(cpu(1)) && rests(&board, 1));
        assert_eq!(board.push(job(4, &done), cpu(1)), None);
        (0..4).for_each(|_| assert_eq!(turn(&board, 0), None));
        assert_eq!(
            *done.lock().expect("one thread"),
            [(1, 0), (2, 0), (3, 0), (4, 0)]
        );
        assert!(rests(&board, 0));
        assert_eq!(
            board.close(cpu(0)),
            CpuMask::EMPTY,
            "it serves no more itself"
        );
        assert_eq!(board.push(job(5, &done), cpu(0)), None, "it waits");
        board.open(cpu(1));
        assert_eq!(turn(&board, 1), None);
    }

    /// Has CPU 0 bring itself a job (0) before each of `turns` turns, as a task does that wakes
    /// itself. Returns how many turns it took until the job `awaited` was done.
    fn turns_until(awaited: u32, board: &Board<Nowhere>, done: &Done, turns: usize) -> usize {
        for taken in 1..=turns {
            assert_eq!(board.push(job(0, done), cpu(0)), None);
            assert_eq!(turn(board, 0), None);
            if done.lock().expect("one thread").contains(&(awaited, 0)) {
                return taken;
            }
        }
        panic!("job {awaited} is not begun in {turns} turns");
    }

    impl Board<Nowhere> {
        /// Returns how many jobs are in queues.
        fn entries(&self) -> usize {
            let queues = self.queues.iter();
            let on_cpus: usize = queues
                .map(|(_, queue)| queue.lock_irqsave().jobs.count())
                .sum();
            on_cpus + self.shared.lock_irqsave().count()
        }
    }

    /// No worker looks: those that wait for the jobs do them.
    #[test]
    fn a_job_that_is_begun_by_what_waits_for_it_is_in_no_queue() {
        let (board, done) = (Board::new(2), Done::default());
        (0..2).for_each(|index| board.open(cpu(index)));
        let jobs: Vec<_> = (0..6).map(|number| job(number, &done)).collect();
        for (index, job) in jobs.iter().enumerate() {
            assert_eq!(board.push(Arc::clone(job), cpu(index % 2)), None);
        }
        assert!(board.start(&jobs[2]).is_some() && board.start(&jobs[5]).is_some());
        assert!(board.start(&jobs[2]).is_none(), "it has been begun");
        assert_eq!(board.entries(), 4);
        assert!(board.close(cpu(1)).is_empty(), "none rests");
        assert_eq!(board.entries(), 4);
        assert!(board.start(&jobs[3]).is_some());
        assert_eq!(board.entries(), 3);
        (0..3).for_each(|_| assert_eq!(turn(&board, 0), None));
        let wanted = [(0, 0), (4, 0), (1, 0)];
        assert_eq!(*done.lock().expect("one thread"), wanted);
        assert_eq!(board.entries(), 0);
    }

    #[test]
    fn what_was_handed_over_is_begun_though_a_queue_is_never_empty() {
        let (board, done) = (Board::new(2), Done::default());
        (0..2).for_each(|index| board.open(cpu(index)));
        for number in [1, 2] {
            assert_eq!(board.push(job(number, &done), cpu(1)), None);
        }
        assert!(board.close(cpu(1)).is_empty());
        for number in [1, 2] {
            turns_until(number, &board, &done, OTHERS_FIRST as usize);
        }
    }

    /// The workers of CPUs 1 to 3 are in the middle of a job.
    #[test]
    fn each_queue_has_its_turn_though_those_before_it_are_never_empty() {
        let (board, done) = (Board::new(4), Done::default());
        (0..4).for_each(|index| board.open(cpu(index)));
        for (number, near) in (0..100).flat_map(|_| [(0, 1), (0, 2)]).chain([(3, 3)]) {
            assert_eq!(board.push(job(number, &done), cpu(near)), None);
        }
        turns_until(3, &board, &done, 4 * OTHERS_FIRST as usize);
    }

    #[test]
    fn all_that_rest_are_woken_when_one_leaves_and_all_end() {
        let board = Board::<Nowhere>::new(3);
        (0..3).for_each(|index| board.open(cpu(index)));
        assert!((0..3).all(|index| rests(&board, index)));
        assert_eq!(board.close(cpu(1)), [0, 2].into_iter().map(cpu).collect());
        board.end();
        for index in 0..3 {
            assert!(matches!(board.next(cpu(index), cpu(index)), Next::End));
        }
    }
}

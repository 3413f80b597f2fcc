//! A machine whose CPUs take time to come and to go, with jobs that compute, in virtual time; and the
//! governor's thread on it, which does as the kernel's does.

use std::collections::VecDeque;

use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::governor::{Change, Decision, Policy, Reason, Refusals, Sample, Tunables};
use stillpoint::trace::Direction;

pub(crate) const US: u64 = 1_000;
pub(crate) const MS: u64 = 1_000 * US;
pub(crate) const S: u64 = 1_000 * MS;

/// The resolution of the time: what happens within one happens at once.
const STEP: u64 = 20 * US;
/// How long a job has a CPU while another one waits.
const SLICE: u64 = 4 * MS;

/// How long a look of the governor takes.
const OWN_TIME: u64 = 30 * US;

/// A change that the governor has made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Made {
    pub(crate) began: u64,
    pub(crate) ended: u64,
    pub(crate) from: usize,
    pub(crate) to: usize,
    /// How many were to be online.
    pub(crate) wanted: usize,
    pub(crate) reason: Reason,
}

/// What the governor's thread does.
#[derive(Clone, Copy, Debug)]
enum Doing {
    Rests(Option<u64>),
    Looks(u64),
    Acts {
        change: Change,
        cpus: CpuMask,
        began: u64,
        until: u64,
    },
}

/// A job.
#[derive(Clone, Copy, Debug)]
struct Job {
    /// What it has still to compute; `u64::MAX`: for ever.
    left: u64,
    owner: usize,
}

pub(crate) struct World {
    pub(crate) now: u64,
    pub(crate) online: CpuMask,
    /// Those that are off because the governor has taken them down.
    given_back: CpuMask,
    /// CPUs that don't come, and that don't go.
    pub(crate) stubborn: CpuMask,
    cpus: usize,
    jobs: VecDeque<Job>,
    /// Owners of jobs that have ended in the last step.
    pub(crate) ended: Vec<usize>,
    slice_end: u64,
    busy: u64,
    waited: u64,
    pub(crate) policy: Policy,
    doing: Doing,
    armed: Option<u64>,
    /// Whether a thread that waits arms it: it has gone to rest with CPUs that may come.
    listens: bool,
    /// The last measurement: when, what was busy and waited, with which CPUs, and whether there was a
    /// rest since.
    before: (u64, u64, u64, CpuMask, bool),
    away: Refusals,
    here: Refusals,
    /// How long CPUs take to come, and to go.
    pub(crate) takes: [u64; 2],
    pub(crate) made: Vec<Made>,
    pub(crate) looks: u64,
}

impl World {
    pub(crate) fn new(cpus: usize, tunables: Tunables) -> World {
        assert_eq!(tunables.check(cpus), Ok(()));
        let online = CpuMask::first_n(tunables.min_cpus);
        World {
            now: 0,
            online,
            given_back: CpuMask::first_n(cpus).without(&online),
            stubborn: CpuMask::EMPTY,
            cpus,
            jobs: VecDeque::new(),
            ended: Vec::new(),
            slice_end: 0,
            busy: 0,
            waited: 0,
            policy: Policy::new(tunables, 0),
            doing: Doing::Looks(0),
            armed: None,
            listens: false,
            before: (0, 0, 0, online, false),
            away: Refusals::NONE,
            here: Refusals::NONE,
            takes: [300 * US, 200 * US],
            made: Vec::new(),
            looks: 0,
        }
    }

    /// Adds a job that computes for `time`.
    pub(crate) fn start(&mut self, time: u64, owner: usize) {
        self.jobs.push_back(Job { left: time, owner });
        self.arm();
    }

    /// Arms the governor, if it listens and a thread waits.
    fn arm(&mut self) {
        if self.rests() && self.listens && self.waiting() > 0 && self.armed.is_none() {
            self.armed = Some(self.now);
        }
    }

    /// Ends all jobs.
    pub(crate) fn end_all(&mut self) {
        self.jobs.clear();
    }

    pub(crate) fn count(&self) -> usize {
        self.online.count()
    }

    pub(crate) fn rests(&self) -> bool {
        matches!(self.doing, Doing::Rests(_))
    }

    /// Lets `time` pass.
    pub(crate) fn run(&mut self, time: u64) {
        let end = self.now + time;
        while self.now < end {
            self.step(end);
        }
    }

    /// Lets time pass until something happens, or until `end`.
    pub(crate) fn step(&mut self, end: u64) {
        let next = self.next_event().min(end).max(self.now + STEP);
        let time = next - self.now;
        self.now = next;
        self.compute(time);
        self.govern();
        let Tunables {
            min_cpus, max_cpus, ..
        } = *self.policy.tunables();
        assert!(
            (min_cpus..=max_cpus.min(self.cpus)).contains(&self.count()),
            "{} CPUs (within-bounds)",
            self.count()
        );
    }

    /// Returns when a job ends, a slice ends, or the governor does something, if nothing else happens.
    fn next_event(&self) -> u64 {
        let running = self.jobs.iter().take(self.count());
        let first_end = running.map(|job| self.now.saturating_add(job.left)).min();
        let slice = (self.waiting() > 0).then_some(self.slice_end);
        let governor = match self.doing {
            Doing::Rests(_) => self.alarm(),
            Doing::Looks(at) => Some(at),
            Doing::Acts { until, .. } => Some(until),
        };
        let all = [first_end, slice, governor];
        all.into_iter().flatten().min().unwrap_or(u64::MAX)
    }

    fn compute(&mut self, time: u64) {
        let running = self.jobs.len().min(self.count());
        let waiting = self.jobs.len() - running;
        self.busy += running as u64 * time;
        self.waited += waiting as u64 * time;
        for job in self.jobs.iter_mut().take(running) {
            if job.left != u64::MAX {
                job.left = job.left.saturating_sub(time);
            }
        }
        self.ended.clear();
        let ended = &mut self.ended;
        self.jobs.retain(|job| {
            if job.left == 0 && job.owner != usize::MAX {
                ended.push(job.owner);
            }
            job.left > 0
        });
        if waiting == 0 {
            self.slice_end = self.now + SLICE;
        } else if self.now >= self.slice_end {
            self.slice_end = self.now + SLICE;
            let running = running.min(self.jobs.len());
            self.jobs.rotate_left(running);
        }
    }

    fn waiting(&self) -> usize {
        self.jobs.len().saturating_sub(self.count())
    }

    fn govern(&mut self) {
        match self.doing {
            Doing::Rests(_) => {
                self.arm();
                if self.alarm().is_some_and(|due| self.now >= due) {
                    self.look();
                }
            }
            Doing::Looks(at) if self.now >= at => self.look(),
            Doing::Acts {
                change,
                cpus,
                began,
                until,
            } if self.now >= until => {
                self.act(change, cpus, began);
            }
            Doing::Looks(_) | Doing::Acts { .. } => {}
        }
    }

    /// Returns when the rest ends, if it does by itself.
    fn alarm(&self) -> Option<u64> {
        let Doing::Rests(retry) = self.doing else {
            return None;
        };
        let armed = self.armed.map(|armed| armed + up_wait(&self.policy) / 2);
        armed.into_iter().chain(retry).min()
    }

    fn may_come(&self) -> CpuMask {
        self.given_back.without(&self.away.at(self.now))
    }

    fn may_go(&self) -> CpuMask {
        self.online.without(&self.here.at(self.now))
    }

    fn room_up(&self) -> usize {
        let max_cpus = self.policy.tunables().max_cpus;
        self.may_come()
            .count()
            .min(max_cpus.saturating_sub(self.count()))
    }

    fn look(&mut self) {
        self.looks += 1;
        // It takes a CPU for a moment itself, before others.
        self.jobs.push_front(Job {
            left: OWN_TIME,
            owner: usize::MAX,
        });
        let (at, busy, waited, cpus, rested) = self.before;
        let now = self.now;
        let waiting = self.waiting();
        let retry = [self.away.until(now), self.here.until(now)];
        let mut sample = Sample {
            at: now,
            span: (now - at).max(1),
            online: self.count(),
            measured: self.online.and(&cpus).count(),
            busy: Some(self.busy - busy),
            waited: self.waited - waited,
            waiting,
            may_come: self.may_come().count(),
            may_go: self.may_go().count(),
            retry: retry.into_iter().flatten().min(),
        };
        if rested {
            sample.span = now.saturating_sub(self.armed.unwrap_or(at).max(at)).max(1);
            sample.busy = None;
            sample.waited = sample.waited.min(sample.span * waiting.max(1) as u64);
        }
        self.before = (now, self.busy, self.waited, self.online, false);
        self.armed = None;
        self.doing = match self.policy.decide(&sample) {
            Decision::Look(at) => {
                assert!(at > now, "it looks again at once");
                Doing::Looks(at)
            }
            Decision::Rest(retry) => {
                assert!(retry.is_none_or(|at| at > now), "it looks again at once");
                self.before.4 = true;
                self.listens = self.room_up() > 0;
                Doing::Rests(retry)
            }
            Decision::Change(change) => self.begin(change),
        };
    }

    fn begin(&mut self, change: Change) -> Doing {
        let cpus: CpuMask = match change.direction {
            Direction::Up => self.may_come().iter().take(change.count).collect(),
            Direction::Down => {
                let may = self.may_go();
                may.iter().skip(may.count() - change.count).collect()
            }
        };
        assert_eq!(cpus.count(), change.count, "more than there are");
        let takes = self.takes[usize::from(change.direction == Direction::Down)];
        Doing::Acts {
            change,
            cpus,
            began: self.now,
            until: self.now + takes,
        }
    }

    fn act(&mut self, change: Change, cpus: CpuMask, began: u64) {
        let from = self.count();
        let failed = cpus.and(&self.stubborn);
        let moved = cpus.without(&failed);
        let wanted = match change.direction {
            Direction::Up => {
                self.online = self.online.or(&moved);
                self.given_back = self.given_back.without(&moved);
                self.away.note(self.now, &cpus, &failed);
                from + cpus.count()
            }
            Direction::Down => {
                self.online = self.online.without(&moved);
                self.given_back = self.given_back.or(&moved);
                self.here.note(self.now, &cpus, &failed);
                from - cpus.count()
            }
        };
        let (ended, to, reason) = (self.now, self.count(), change.reason);
        self.policy.changed(ended, from, to);
        self.made.push(Made {
            began,
            ended,
            from,
            to,
            wanted,
            reason,
        });
        self.before = (self.now, self.busy, self.waited, self.online, false);
        let rate = u64::try_from(self.policy.tunables().sampling_rate.as_nanos());
        self.doing = Doing::Looks(self.now + rate.expect("it is short"));
    }

    /// Takes `cpu` away, as an operator does.
    pub(crate) fn take_away(&mut self, cpu: CpuId) {
        self.online.remove(cpu);
        self.given_back.remove(cpu);
    }
}

pub(crate) fn up_wait(policy: &Policy) -> u64 {
    u64::try_from(policy.tunables().up_wait.as_nanos()).expect("it is short")
}

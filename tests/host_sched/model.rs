//! The model of the scheduler: each runnable thread holds a ticket.

use stillpoint::sched::{Class, ThreadState};

use crate::machine::{CLASSES, IDLE, ORDINARY, Op};
use crate::xorshift::Random;

/// The model. Each runnable thread holds a ticket, and the thread with the lowest one runs
/// next.
pub(crate) struct Model {
    pub(crate) threads: Vec<ModelThread>,
    pub(crate) current: usize,
    last_ticket: i64,
    pub(crate) seen: Seen,
}

impl Model {
    pub(crate) fn new() -> Model {
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

    /// Returns the thread with the lowest ticket.
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
            // It was asked to park again before it had the CPU.
            thread.state = ThreadState::Parked;
            self.seen.parked_again += 1;
            return self.dispatch();
        }
        thread.in_park = false;
        self.seen.idle_again += u32::from(next == IDLE && self.current != IDLE);
        self.current = next;
    }

    /// Has the running thread give the CPU away.
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

    /// Gives the CPU to a more urgent thread, if there is one.
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

    pub(crate) fn apply(&mut self, op: Op) {
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

    /// Returns something that the running thread may do.
    pub(crate) fn choose(&self, random: &mut Random) -> Op {
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

pub(crate) struct ModelThread {
    class: Class,
    pub(crate) state: ThreadState,
    asked_to_park: bool,
    /// Whether the thread has not run on since it was parked.
    in_park: bool,
    /// The level, then the number of the ticket, which is negative if the thread goes to the
    /// front of its level.
    ticket: Option<(usize, i64)>,
}

/// How often each interesting event happened. A walk in which one never happens shows nothing
/// about it.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) preempted: u32,
    pub(crate) preempted_while_blocking: u32,
    pub(crate) saved_by_a_wake: u32,
    pub(crate) blocked: u32,
    pub(crate) parked: u32,
    pub(crate) parked_again: u32,
    pub(crate) died: u32,
    pub(crate) idle_again: u32,
    pub(crate) woken_twice: u32,
}

//! What threads do when they have computed for long enough, and what happens to them and to
//! the CPUs.

use std::sync::Arc;

use stillpoint::sched::Class;

use crate::driver::sched;
use crate::platform::{NEVER, machine};
use crate::world::{MS, US, World};

impl World {
    /// Has `worker`, which has computed for long enough, do something else.
    pub(crate) fn go_on(&mut self, worker: usize) {
        let on = self.workers[worker].on.expect("it runs");
        let thread = Arc::clone(&self.workers[worker].thread);
        self.book(worker);
        if std::mem::take(&mut self.workers[worker].half_asleep) {
            // If it was woken meanwhile, this is a yield.
            self.workers[worker].yielded = true;
            self.workers[worker].left = self.time(10 * US);
            self.driver.act(on, || sched().schedule());
            return;
        }
        if let Some((_, sleeps)) = self.workers[worker].next_line() {
            return self.sleep_for(worker, on, sleeps);
        }
        self.workers[worker].left = self.time(if thread.class() == Class::Normal {
            100 * US
        } else {
            10 * US
        });
        if self.habits.sections && self.random.below(4) == 0 {
            return self.begin_section(on);
        }
        let choices = if self.habits.sleeps { 8 } else { 1 };
        match self.random.below(choices) {
            0 => {
                if self.random.below(4) == 0 {
                    self.yield_now(worker, on);
                }
            }
            1 | 2 => {
                let other = self.random.below(self.workers.len());
                let other = Arc::clone(&self.workers[other].thread);
                self.driver.act(on, || sched().wake(&other));
            }
            _ => self.sleep(worker, on),
        }
    }

    fn yield_now(&mut self, worker: usize, on: usize) {
        self.workers[worker].yielded = true;
        self.driver.act(on, || sched().yield_now());
    }

    /// Has `worker`, which runs, yield.
    pub(crate) fn have_it_yield(&mut self, worker: usize) {
        let on = self.workers[worker].on.expect("it runs");
        self.book(worker);
        self.yield_now(worker, on);
        self.settle();
    }

    fn sleep_for(&mut self, worker: usize, on: usize, time: u64) {
        let thread = Arc::clone(&self.workers[worker].thread);
        self.workers[worker].wakes_at = World::now() + time;
        self.driver.act(on, || {
            sched().about_to_block(&thread);
            sched().schedule();
        });
    }

    fn sleep(&mut self, worker: usize, on: usize) {
        let thread = Arc::clone(&self.workers[worker].thread);
        let time = self.time(20 * US) + self.time(20 * US);
        self.workers[worker].wakes_at = World::now() + time;
        self.driver.act(on, || sched().about_to_block(&thread));
        if self.random.below(8) == 0 {
            // An interrupt wakes another thread, which may get the CPU.
            let other = self.random.below(self.workers.len());
            let other = Arc::clone(&self.workers[other].thread);
            self.driver.interrupt(on, || sched().wake(&other));
            if self.driver.runs(on) != Arc::as_ptr(&thread).addr() {
                self.workers[worker].half_asleep = true;
                self.workers[worker].left = 0;
                return;
            }
        }
        // If the interrupt has woken this thread, this is a yield.
        self.workers[worker].yielded = true;
        self.driver.act(on, || sched().schedule());
    }

    /// Changes a thread or the CPUs, or starts a thread.
    pub(crate) fn change_something(&mut self) {
        self.next_change = World::now() + self.time(50 * US);
        if self.workers.len() < self.most {
            return self.spawn();
        }
        self.next_change += 2 * MS;
        let kinds = match (self.habits.changes, self.habits.hotplug) {
            (true, true) => 0..5,
            (true, false) => 0..3,
            (false, true) => 3..5,
            (false, false) => return self.next_change = NEVER,
        };
        let kind = kinds.start + self.random.below(kinds.len());
        if kind >= 3 {
            return self.walk();
        }
        let worker = self.random.below(self.workers.len());
        let thread = Arc::clone(&self.workers[worker].thread);
        let from = self.any_cpu_that_waits();
        match kind {
            0 => {
                let class = self.class();
                self.note(format_args!("{thread:?} becomes {class:?}"));
                self.driver.act(from, || sched().set_class(&thread, class));
                self.workers[worker].queued_on = None; // It goes behind the others.
            }
            1 => {
                let nice = self.nice();
                self.note(format_args!("{thread:?} becomes {nice}"));
                self.driver.act(from, || sched().set_nice(&thread, nice));
                self.workers[worker].queued_on = None; // It goes behind the others.
            }
            _ => {
                let cpus = self.affinity();
                self.note(format_args!("{thread:?} may use {cpus}"));
                // Refused if none of them is active.
                self.driver
                    .act(from, || sched().set_affinity(&thread, &cpus))
                    .unwrap_or(());
            }
        }
    }

    /// Has a CPU come or go.
    fn walk(&mut self) {
        let index = self.random.below(self.driver.len());
        self.end_sections();
        self.driver.rest(&mut self.random);
        let active = machine().masks.active();
        self.note(format_args!("CPU{index} comes or goes"));
        if !self.driver.is_online(index) {
            self.driver.bring_up(index);
        } else if self.driver.is_active(index) {
            if active.count() > 1 {
                self.driver.take_down(index);
            }
        } else {
            self.driver.power_off(index);
        }
    }
}

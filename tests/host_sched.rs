//! Which thread runs next: the scheduler and its run queue, with real threads on a fake
//! CPU, against a model that is a list of tickets.
//!
//! The test tells the thread that has the CPU what to do, and that thread or another one
//! reports that it has the CPU then. This thread, and the state of every thread, must be
//! what the model says, step by step.

#[path = "support/fake.rs"]
mod fake;
#[path = "host_sched/idle.rs"]
mod idle;
#[path = "host_sched/machine.rs"]
mod machine;
#[path = "host_sched/model.rs"]
mod model;
#[path = "host_sched/run_queue.rs"]
mod run_queue;
#[path = "host_sched/scripts.rs"]
mod scripts;
#[path = "host_sched/walk.rs"]
mod walk;
#[path = "support/xorshift.rs"]
mod xorshift;

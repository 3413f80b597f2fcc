//! The scheduler and its model do the same, whatever the threads do.

use crate::machine::Machine;
use crate::model::{Model, Seen};
use crate::xorshift::Random;

/// Has the machine and the model do the same random steps, and compares them after each.
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
            "running thread, seed {seed}, after {last:?}"
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

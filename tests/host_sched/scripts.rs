//! Scripts: what the threads do is written down, and in which order they then run.

use stillpoint::sched::ThreadState;

use crate::machine::{CLASSES, IDLE, Machine, Op};

/// Runs `script`, beginning with the idle thread. Each per-CPU thread has been unparked and
/// has blocked. Returns which threads had the CPU, in their order.
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

/// Returns a script in which the running thread blocks, `times` times.
fn waits(times: usize) -> Vec<Op> {
    [Op::AboutToBlock, Op::Schedule].repeat(times)
}

#[test]
fn classes_come_in_their_order_and_threads_in_theirs() {
    // A stopper, which no thread preempts, wakes the threads in a mixed order.
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
    // With preemption off the more urgent thread runs later, but does run.
    assert_eq!(play(&[Op::Wake(5), Op::GuardedWake(1)]), [5, 1]);
}

#[test]
fn a_wake_between_about_to_block_and_block_is_not_lost() {
    let script = [Op::Wake(5), Op::AboutToBlock, Op::Interrupt(5)];
    assert_eq!(play(&[&script[..], &[Op::Schedule]].concat()), [5]);
    // Neither is a wake that comes while the thread is preempted in between.
    let script = [
        &script[..2],
        &[Op::Interrupt(1), Op::Wake(5)],
        &waits(1),
        &[Op::Schedule],
    ];
    assert_eq!(play(&script.concat()), [5, 1, 5]);
}

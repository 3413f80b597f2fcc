//! The run queue without a scheduler: preemption, slices, a thread queued twice.

use std::sync::Arc;

use stillpoint::cpu::CpuId;
use stillpoint::sched::{
    Class, PerCpuThread, Priority, RunQueue, SchedHost, Service, Switch, SwitchReason, Thread,
};
use stillpoint::time::Instant;

use crate::fake::{Baton, Fake};

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

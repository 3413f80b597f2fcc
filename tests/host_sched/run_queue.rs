//! The run queue without a scheduler: preemption, slices, a thread queued twice.

use std::sync::Arc;

use stillpoint::cpu::CpuId;
use stillpoint::platform::Platform;
use stillpoint::sched::{
    Class, PerCpuThread, Priority, RunQueue, SchedHost, Service, Switch, SwitchReason, Thread,
};
use stillpoint::sync::LockMap;
use stillpoint::time::Instant;

use crate::fake::{Baton, Fake};

/// Returns a thread that is only queued and never runs.
fn thread(class: Class) -> Arc<Thread<Fake>> {
    struct Nothing;
    impl Service<Fake> for Nothing {
        fn should_run(&self, _: CpuId) -> bool {
            false
        }
        fn run(&self, _: CpuId) {}
    }
    let name = format!("{class:?}");
    let service = Arc::new(Nothing);
    let work = LockMap::new();
    let thread = PerCpuThread::create(Fake::sched(), &name, class, CpuId::BOOT, service, &work);
    Arc::clone(thread.expect("a thread").thread())
}

/// Makes the running thread about to block.
fn block_current(queue: &RunQueue<Fake>) {
    let current = Arc::clone(queue.current());
    Fake::sched().about_to_block(&current);
}

/// Returns a run queue whose current thread is the idle thread.
fn queue() -> RunQueue<Fake> {
    Fake::new_machine();
    let mut queue = RunQueue::new();
    queue.start(Fake::sched().new_idle(CpuId::BOOT, Baton::default()));
    queue
}

/// Returns the thread that `switch` switches to.
fn to(switch: Option<Switch<Fake>>) -> Option<*const Thread<Fake>> {
    switch.map(|switch| switch.to)
}

#[test]
fn only_a_more_urgent_thread_preempts() {
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
    queue.enqueue(Arc::clone(&normal), || 0);
    assert_eq!(to(queue.pick_next(preempt)), Some(Arc::as_ptr(&normal)));
    queue.enqueue(Arc::clone(&other), || 0);
    assert_eq!(to(queue.pick_next(preempt)), None);
    for next in [realtime, stopper] {
        queue.enqueue(Arc::clone(&next), || 0);
        assert!(queue.should_preempt());
        assert_eq!(to(queue.pick_next(preempt)), Some(Arc::as_ptr(&next)));
        assert!(!queue.should_preempt());
    }
    // A thread that was preempted is marked; a thread that was queued and never ran is not.
    assert!(normal.is_marked_racy() && !other.is_marked_racy());
}

#[test]
fn a_cpu_is_busy_while_it_is_there_and_not_idle() {
    Fake::new_machine();
    let mut queue = RunQueue::new();
    assert_eq!(queue.busy_ticks(), None, "it has never run");
    let idle = Fake::sched().new_idle(CpuId::BOOT, Baton::default());
    Fake::set_now(1_000);
    queue.start(Arc::clone(&idle));
    assert_eq!(queue.busy_ticks(), Some(0));
    let normal = thread(Class::Normal);
    Fake::set_now(1_100);
    queue.enqueue(Arc::clone(&normal), || 0);
    assert!(queue.pick_next(SwitchReason::MayBePreempted).is_some());
    Fake::set_now(1_250);
    block_current(&queue);
    assert!(queue.pick_next(SwitchReason::GivesAway).is_some());
    assert_eq!(queue.busy_ticks(), Some(150));
    // It goes, and comes again much later.
    Fake::set_now(1_000_000);
    queue.start(Arc::clone(&idle));
    assert_eq!((queue.busy_ticks(), idle.usage().ticks), (Some(150), 100));
}

const SLICE: u64 = 4_000_000;

#[test]
fn a_slice_is_counted_only_while_another_thread_waits_for_its_end() {
    let mut queue = queue();
    let [first, second, stopper] = [Class::Normal, Class::Normal, Class::Stop].map(thread);
    let preempt = SwitchReason::MayBePreempted;
    queue.enqueue(Arc::clone(&first), || 0);
    assert_eq!(to(queue.pick_next(preempt)), Some(Arc::as_ptr(&first)));
    assert_eq!(queue.begin_slice(Fake::now), None, "no other thread waits");
    Fake::set_now(1_000);
    queue.enqueue(Arc::clone(&second), || 0);
    assert!(queue.wants_slice());
    // CPUs that are ahead are looked for as soon as one waits, and then in step with slices.
    assert_eq!(queue.begin_slice(Fake::now), Some(Instant(1_000)));
    assert!(!queue.end_slice() && !queue.should_preempt());
    assert_eq!(queue.next_end(), Some(Instant(1_000 + SLICE)));
    // A stopper comes during the slice, and the rest of the slice is kept.
    Fake::set_now(1_000_000);
    queue.enqueue(Arc::clone(&stopper), || 0);
    assert_eq!(to(queue.pick_next(preempt)), Some(Arc::as_ptr(&stopper)));
    assert_eq!(
        queue.begin_slice(Fake::now),
        None,
        "a stopper has no slices"
    );
    Fake::set_now(2_000_000);
    block_current(&queue);
    assert_eq!(
        to(queue.pick_next(SwitchReason::GivesAway)),
        Some(Arc::as_ptr(&first)),
        "the preempted thread is next"
    );
    assert_eq!(
        queue.begin_slice(Fake::now),
        Some(Instant(1_000 + SLICE)),
        "the next look"
    );
    // One tick before the slice's end nothing happens. At its end the other thread is next.
    Fake::set_now(SLICE + 1_000_999);
    assert!(!queue.end_slice() && !queue.should_preempt());
    Fake::set_now(SLICE + 1_001_000);
    assert!(queue.end_slice() && queue.should_preempt());
    assert_eq!(to(queue.pick_next(preempt)), Some(Arc::as_ptr(&second)));
    assert_eq!(
        queue.begin_slice(Fake::now),
        Some(Instant(2 * SLICE + 1_001_000))
    );
}

#[test]
fn a_turn_is_over_though_the_timer_has_not_interrupted_yet() {
    let mut queue = queue();
    let turns = || thread(Class::round_robin(Priority::MIN));
    let [first, second] = [turns(), turns()];
    let urgent = thread(Class::fifo(Priority::MAX));
    let preempt = SwitchReason::MayBePreempted;
    Fake::set_now(0);
    queue.enqueue(Arc::clone(&first), || 0);
    assert_eq!(to(queue.pick_next(preempt)), Some(Arc::as_ptr(&first)));
    queue.enqueue(Arc::clone(&second), || 0);
    let end = queue.begin_slice(Fake::now).expect("they take turns");
    // Another thread is woken at that instant, before the timer is looked at.
    Fake::set_now(end.0);
    queue.enqueue(Arc::clone(&urgent), || 0);
    assert_eq!(to(queue.pick_next(preempt)), Some(Arc::as_ptr(&urgent)));
    block_current(&queue);
    assert_eq!(
        to(queue.pick_next(SwitchReason::GivesAway)),
        Some(Arc::as_ptr(&second))
    );
}

#[test]
#[should_panic(expected = "is queued already")]
fn a_thread_is_not_queued_twice() {
    let mut queue = queue();
    let thread = thread(Class::Normal);
    queue.enqueue(Arc::clone(&thread), || 0);
    assert!(!queue.is_empty());
    queue.enqueue(thread, || 0);
}

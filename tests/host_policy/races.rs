//! What happens between two steps of one CPU: the random loads let a CPU do all that it does
//! in one go.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use stillpoint::sched::{Nice, ThreadState};

use crate::checks;
use crate::driver::{act, interrupt, sched};
use crate::platform::machine;
use crate::world::{Habits, MS, World};

/// Has a CPU go idle, look for work in vain and sleep, while another one queues a thread
/// for which it has seen no idle CPU. The idle CPU must be called (`none-beside-idle` of
/// `sched::balance`).
pub(crate) fn a_cpu_goes_idle_in_the_midst_of_a_wake() {
    let mut world = World::new(1, 2, 0, Habits::default());
    world.spawn_busy(Nice::default());
    world.spawn_busy(Nice::default());
    world.spawn_with(Nice::default(), vec![(MS, 50 * MS)]);
    world.run_until(20 * MS);
    let sleeper = Arc::clone(&world.workers[2].thread);
    assert_eq!(sleeper.state_racy(), ThreadState::Blocked);
    let queues = sleeper.cpu().index();
    let idles = 1 - queues;
    let leaves = world.workers.iter().find(|it| it.on == Some(idles));
    let leaves = Arc::clone(&leaves.expect("both CPUs are busy").thread);

    let slept = Rc::new(Cell::new(false));
    let (woken, sleeps) = (Arc::clone(&sleeper), Rc::clone(&slept));
    machine().meanwhile(move || {
        assert_eq!(woken.state_racy(), ThreadState::Runnable, "it has a CPU");
        act(idles, || {
            sched().about_to_block(&leaves);
            sched().schedule();
        });
        act(idles, || sched().idle_turn(|| sleeps.set(true)));
    });
    interrupt(queues, || sched().wake(&sleeper));
    assert!(slept.get(), "the CPU has gone idle meanwhile");
    world.driver.fell_asleep(idles);
    world.driver.rest(&mut world.random);
    world.settle();
    checks::none_waits_in_vain(&world);
}

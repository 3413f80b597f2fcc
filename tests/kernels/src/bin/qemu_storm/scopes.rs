//! Scopes whose threads borrow from each other's stacks and start others, and threads
//! in a ring that park until it is their turn.

use alloc::sync::Arc;
use alloc::vec::Vec;

use stillpoint::api::thread::{self, Builder, JoinHandle, Scope, Thread};
use stillpoint::kernel::Hw;
use stillpoint::sched::lock::Mutex;
use stillpoint::sync::atomic::{AtomicU64, Ordering};

use crate::world::{Count, World, another, micros, one_in};
use kernel_support::machine::spin_for;
use kernel_support::xorshift::Random;

/// To which depth a scope's threads start others.
const DEPTH: u32 = 4;

/// Adds one to every slot; a thread that does the same has half of them. Counts in `missed` the
/// slots of threads that could not be started.
fn halve<'scope>(
    scope: &'scope Scope<'scope, '_>,
    slots: &'scope mut [u64],
    missed: &'scope Count,
    mut random: Random,
    depth: u32,
) {
    if slots.len() < 2 || depth == DEPTH {
        slots.iter_mut().for_each(|slot| *slot += 1);
        spin_for(micros(&mut random, 60));
        return;
    }
    let (left, right) = slots.split_at_mut(slots.len() / 2);
    let (many, its) = (left.len() as u64, another(&mut random));
    let started = Builder::new()
        .name("scoped")
        .spawn_scoped(scope, move || halve(scope, left, missed, its, depth + 1));
    match started {
        Ok(thread) if one_in(&mut random, 3) => thread.join(),
        // The scope waits for the thread.
        Ok(_) => {}
        Err(_) => missed.add(many),
    }
    if one_in(&mut random, 3) {
        thread::sleep(micros(&mut random, 200));
    }
    halve(scope, right, missed, random, depth + 1);
}

/// Runs a scope with a tree of threads.
pub(crate) fn scope(world: &Arc<World>, random: &mut Random) {
    let mut slots = [0; 15];
    let missed = Count::default();
    let its = another(random);
    thread::scope(|scope| halve(scope, &mut slots, &missed, its, 0));
    let untouched = slots.iter().filter(|slot| **slot == 0).count() as u64;
    world.must(
        untouched == missed.get() && slots.iter().all(|slot| *slot <= 1),
        format_args!("a scope with {missed} slots missed: {slots:?}"),
    );
}

const MEMBERS: u64 = 3;

/// A ring of threads, of which one has the turn at a time.
struct Ring {
    /// The number of the current turn, which tells the member that has it. Stored Release by the
    /// member that passes the turn on, loaded Acquire by all.
    turn: AtomicU64,
    turns: u64,
    members: Mutex<Vec<(u64, Thread)>, Hw>,
}

impl Ring {
    /// Passes the turn to the next member, or ends the ring.
    fn pass(&self, turn: u64) {
        self.turn.store(turn, Ordering::Release);
        let members = self.members.lock();
        for (number, member) in members.iter() {
            if *number == turn % MEMBERS || turn >= self.turns {
                member.unpark();
            }
        }
    }

    fn take_part(&self, me: u64, random: &mut Random) {
        // From this push on `pass` unparks this member, which reads the turn only after it.
        self.members.lock().push((me, thread::current()));
        loop {
            let turn = self.turn.load(Ordering::Acquire);
            if turn >= self.turns {
                return;
            }
            if turn % MEMBERS == me {
                spin_for(micros(random, 30));
                self.pass(turn + 1);
            } else if one_in(random, 4) {
                thread::park_timeout(micros(random, 2000));
            } else {
                thread::park();
            }
        }
    }
}

/// Runs a ring of threads from its beginning to its end.
pub(crate) fn ring(world: &Arc<World>, random: &mut Random) {
    let ring = Arc::new(Ring {
        turn: AtomicU64::new(0),
        turns: 30 + random.below(100) as u64,
        members: Mutex::new(Vec::new()),
    });
    let threads: Vec<JoinHandle<()>> = (0..MEMBERS)
        .filter_map(|me| {
            let (its, mut random) = (Arc::clone(&ring), another(random));
            let body = move || its.take_part(me, &mut random);
            Builder::new()
                .name(format_args!("ring/{me}"))
                .spawn(body)
                .ok()
        })
        .collect();
    if (threads.len() as u64) < MEMBERS {
        ring.pass(ring.turns);
    }
    threads.into_iter().for_each(JoinHandle::join);
    let turn = ring.turn.load(Ordering::Acquire);
    world.must(
        turn >= ring.turns,
        format_args!("a ring of {} turns has ended at {turn}", ring.turns),
    );
}

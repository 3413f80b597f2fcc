//! A key that turns a thousand times and more, under a load on all CPUs, while CPUs come and go.
//!
//! ```text
//!   turner            readers, anywhere
//!   begun += 1        before = done
//!   the key turns     value = the site
//!   done += 1         if begun is before: no turn had begun, so the value is that of turn `before`
//! ```

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use stillpoint::api::hotplug::{cpu_down, cpu_up};
use stillpoint::api::sync::PreemptGuard;
use stillpoint::api::thread::{self, Builder, Class, JoinHandle, Policy, Priority};
use stillpoint::cpu::PerCpu;
use stillpoint::kernel::{Hw, kernel};
use stillpoint::platform::Platform;
use stillpoint::println;
use stillpoint::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use kernel_support::ktap::Ktap;
use kernel_support::machine::{after, secondaries};

use crate::{KEY, is_on};

/// How often the key turns at least.
const TURNS: u64 = 1000;
/// How often it turns while CPUs come and go, which it has to wait for.
const TURNS_OF_MOVERS: u64 = 100;
/// How long either may take.
const LIMIT: Duration = Duration::from_secs(100);
/// How long each thread rests.
const PAUSE: Duration = Duration::from_micros(50);

struct Shared {
    /// How many turns have begun. Acquire and Release: the reads of a reader stay in their order.
    begun: AtomicU64,
    /// How many turns have ended. As `begun`.
    done: AtomicU64,
    /// How often a value was judged on each CPU, off and on.
    seen: PerCpu<[AtomicU64; 2]>,
    wrong: AtomicU64,
    over: AtomicBool,
}

impl Shared {
    fn read(&self) {
        let _here = PreemptGuard::new();
        let before = self.done.load(Ordering::Acquire);
        let on = is_on();
        if self.begun.load(Ordering::Acquire) != before {
            return; // A turn was under way: both values are right.
        }
        // The key is off at first.
        if on == before.is_multiple_of(2) {
            self.wrong.fetch_add(1, Ordering::Relaxed);
        }
        let seen = self.seen.get(Hw::this_cpu());
        seen[usize::from(on)].fetch_add(1, Ordering::Relaxed);
    }

    fn all_have_seen_both(&self) -> bool {
        let mut counts = self.seen.iter().flat_map(|(_, seen)| seen);
        counts.all(|count| count.load(Ordering::Relaxed) > 0)
    }

    fn turn(&self) {
        let turn = self.begun.fetch_add(1, Ordering::AcqRel);
        let turned = if turn.is_multiple_of(2) {
            KEY.enable()
        } else {
            KEY.disable()
        };
        assert_eq!(turned, Ok(()));
        self.done.fetch_add(1, Ordering::AcqRel);
        if is_on() != turn.is_multiple_of(2) {
            self.wrong.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn reader(shared: &Arc<Shared>) -> JoinHandle<()> {
    let shared = Arc::clone(shared);
    thread::spawn(move || {
        while !shared.over.load(Ordering::Relaxed) {
            for _ in 0..100 {
                shared.read();
            }
            // Four CPUs that never rest on two of the host make a still point take 100 ms.
            thread::sleep(PAUSE);
        }
    })
}

/// Takes CPUs down and up again until the storm is over; returns how often.
fn mover(shared: &Arc<Shared>) -> JoinHandle<u64> {
    let shared = Arc::clone(shared);
    thread::spawn(move || {
        let mut moves = 0;
        while !shared.over.load(Ordering::Relaxed) {
            for cpu in secondaries() {
                assert_eq!((cpu_down(cpu), cpu_up(cpu)), (Ok(()), Ok(())));
                moves += 1;
            }
            thread::sleep(Duration::from_millis(1));
        }
        moves
    })
}

/// Turns the key `turns` times and until every CPU has seen both values; returns whether that
/// was within the limit. A realtime thread, which sleeps so that the readers run.
fn turn_often(shared: &Arc<Shared>, turns: u64) -> bool {
    let shared = Arc::clone(shared);
    let class = Class::Realtime(Priority::MIN, Policy::Fifo);
    let turner = Builder::new().class(class).spawn(move || {
        let limit = after(LIMIT);
        let end = shared.done.load(Ordering::Relaxed) + turns;
        let is_enough = || {
            let turns = shared.done.load(Ordering::Relaxed);
            turns >= end && turns.is_multiple_of(2) && shared.all_have_seen_both()
        };
        while !is_enough() && Hw::now() < limit {
            shared.turn();
            thread::sleep(PAUSE);
        }
        is_enough()
    });
    turner.expect("a thread").join()
}

pub(crate) fn test() -> ! {
    let mut ktap = Ktap::new();
    let cpus = kernel().masks.possible().count();
    let shared = Arc::new(Shared {
        begun: AtomicU64::new(0),
        done: AtomicU64::new(0),
        seen: PerCpu::new(cpus, |_| [const { AtomicU64::new(0) }; 2]),
        wrong: AtomicU64::new(0),
        over: AtomicBool::new(false),
    });
    let readers: Vec<_> = (0..cpus).map(|_| reader(&shared)).collect();
    let name = "the key turns a thousand times, and every CPU sees both values";
    ktap.check(name, turn_often(&shared, TURNS));
    let mover = mover(&shared);
    let name = "it turns while CPUs come and go";
    ktap.check(name, turn_often(&shared, TURNS_OF_MOVERS));
    shared.over.store(true, Ordering::Relaxed);
    readers.into_iter().for_each(JoinHandle::join);
    let moves = mover.join();
    let turns = shared.done.load(Ordering::Relaxed);
    println!("# {turns} turns, {moves} CPUs down and up");
    for (cpu, seen) in shared.seen.iter() {
        println!("# CPU {cpu} has seen {seen:?}");
    }
    ktap.equal(
        "no CPU has the old value after a turn",
        shared.wrong.load(Ordering::Relaxed),
        0,
    );
    ktap.check("CPUs have come and gone", moves > 0 || cpus == 1);
    ktap.equal(
        "the key is off at the end",
        (KEY.count_racy(), is_on()),
        (0, false),
    );
    ktap.finish()
}

//! Classes, niceness and affinity of threads change at random while those threads wait for
//! mutexes, with and without a limit, one inside the other, pinned, and as readers of the hotplug
//! lock; and CPUs come and go. A thread that holds nothing must be as urgent as its class and no
//! more, each thread must go on, and at the end nothing is lent.

//@ smp: 1 2 4
//@ timeout: 120

#![no_std]
#![no_main]

extern crate alloc;

stillpoint::entry!(main);

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use stillpoint::api::sync::Condvar;
use stillpoint::api::thread::{self, Builder, Class, JoinHandle, Nice, Priority};
use stillpoint::api::{self, sync::Mutex};
use stillpoint::cpu::CpuMask;
use stillpoint::kernel::{Hw, kernel};
use stillpoint::platform::Platform;
use stillpoint::println;
use stillpoint::sched::lock::Heir;
use stillpoint::sched::{Thread, ThreadState};
use stillpoint::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use kernel_support::ktap::Ktap;
use kernel_support::machine::{after, eventually, secondaries, spin_for, states_say};
use kernel_support::xorshift::Random;

/// How many threads lock and are changed.
const WORKERS: usize = 10;

/// How long all goes on.
const TIME: Duration = Duration::from_secs(4);

/// What the threads share. All atomics are Relaxed: counts and a flag for a look.
struct World {
    over: AtomicBool,
    /// Each one a class of its own for the lock validator.
    counts: [Mutex<u64>; 3],
    changed: Condvar,
    workers: Mutex<Vec<Arc<Thread<Hw>>>>,
    turns: [AtomicU64; WORKERS],
    taken: AtomicU64,
    given_up: AtomicU64,
    changes: AtomicU64,
    walks: AtomicU64,
    /// How often a thread that held nothing was not at the level of its class.
    wrong: AtomicU64,
}

impl World {
    fn goes_on(&self) -> bool {
        !self.over.load(Ordering::Relaxed)
    }

    /// Takes the mutexes from `first` on, some of them, one inside the other.
    fn nest(&self, first: usize, random: &mut Random) {
        for index in first..self.counts.len() {
            if random.below(2) == 0 {
                continue;
            }
            let mutex = &self.counts[index];
            let held = match random.below(3) {
                0 => Some(mutex.lock()),
                _ => mutex.lock_until(after(micros(random, 400))),
            };
            let Some(mut held) = held else {
                self.given_up.fetch_add(1, Ordering::Relaxed);
                continue;
            };
            *held += 1;
            self.taken.fetch_add(1, Ordering::Relaxed);
            self.stay(random);
            self.nest(index + 1, random);
            if index == 2 && random.below(4) == 0 {
                let (held, _) = self.changed.wait_until(held, after(micros(random, 200)));
                drop(held);
            } else {
                drop(held);
                self.changed.notify_one();
            }
        }
    }

    /// Computes or sleeps for a moment, pinned or not.
    fn stay(&self, random: &mut Random) {
        let pin = (random.below(4) == 0).then(thread::migrate_disable);
        match random.below(3) {
            0 => thread::sleep(micros(random, 100)),
            1 => thread::yield_now(),
            _ => spin_for(micros(random, 50)),
        }
        drop(pin);
    }

    fn work(&self, number: usize, mut random: Random) {
        let me = kernel().sched.current();
        self.workers.lock().push(Arc::clone(&me));
        while self.goes_on() {
            if random.below(4) == 0 {
                let reads = api::cpus_read_lock();
                self.stay(&mut random);
                if random.below(2) == 0 {
                    self.nest(0, &mut random);
                }
                drop(reads);
            } else {
                self.nest(0, &mut random);
            }
            self.look_at(&me);
            self.turns[number].fetch_add(1, Ordering::Relaxed);
            thread::sleep(micros(&mut random, 100));
        }
        self.look_at(&me);
    }

    /// Looks whether `me`, which holds nothing, is as urgent as its class. Another thread may be
    /// about to change that.
    fn look_at(&self, me: &Thread<Hw>) {
        let is_so = || Heir::level(me) == me.class().level();
        if !(0..100).any(|_| is_so()) {
            self.wrong.fetch_add(1, Ordering::Relaxed);
            println!("# WRONG: {me:?} is at level {}", Heir::level(me));
        }
    }

    /// Changes one of the threads, whatever it does.
    fn change(&self, mut random: Random) {
        let sched = &kernel().sched;
        while self.goes_on() {
            let one = {
                let workers = self.workers.lock();
                Arc::clone(&workers[random.below(workers.len())])
            };
            match random.below(4) {
                0 => sched.set_nice(&one, any_nice(&mut random)),
                // Its CPUs may all be off.
                1 => {
                    let _refused = sched.set_affinity(&one, &any_cpus(&mut random));
                }
                _ => sched.set_class(&one, any_class(&mut random)),
            }
            self.changes.fetch_add(1, Ordering::Relaxed);
            if random.below(8) == 0 {
                thread::sleep(micros(&mut random, 200));
            }
        }
    }

    /// Takes CPUs down and brings them up.
    fn walk(&self, mut random: Random) {
        let cpus = secondaries();
        while self.goes_on() && !cpus.is_empty() {
            let cpu = cpus[random.below(cpus.len())];
            let went = api::cpu_down(cpu);
            assert!(went.is_ok(), "CPU{cpu} does not go: {went:?}");
            if random.below(2) == 0 {
                thread::sleep(micros(&mut random, 500));
            }
            let came = api::cpu_up(cpu);
            assert!(came.is_ok(), "CPU{cpu} does not come back: {came:?}");
            self.walks.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn micros(random: &mut Random, below: usize) -> Duration {
    Duration::from_micros(random.below(below) as u64)
}

fn any_class(random: &mut Random) -> Class {
    // Fewer than there are threads, so that equals meet.
    let number = u8::try_from(10 + 10 * random.below(5)).expect("10 to 50");
    let priority = Priority::new(number).expect("10 to 50");
    match random.below(4) {
        0 => Class::fifo(priority),
        1 => Class::round_robin(priority),
        _ => Class::Normal,
    }
}

fn any_nice(random: &mut Random) -> Nice {
    let above = i8::try_from(random.below(40)).expect("0 to 39");
    Nice::new(above - 20).expect("-20 to 19")
}

fn any_cpus(random: &mut Random) -> CpuMask {
    let possible = kernel().masks.possible();
    let some: CpuMask = possible.iter().filter(|_| random.below(2) == 0).collect();
    if some.is_empty() { *possible } else { some }
}

/// Starts a thread that is more urgent than the workers may become.
fn start(urgency: u8, body: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    let class = Class::fifo(Priority::new(urgency).expect("a priority"));
    let thread = Builder::new().class(class).spawn(body);
    thread.expect("a stack is free")
}

fn main() {
    let mut ktap = Ktap::new();
    let seed = Hw::now().0;
    println!("# seed={seed}");
    let world = Arc::new(World {
        over: AtomicBool::new(false),
        counts: [Mutex::new(0), Mutex::new(0), Mutex::new(0)],
        changed: Condvar::new(),
        workers: Mutex::new(Vec::with_capacity(WORKERS)),
        turns: [const { AtomicU64::new(0) }; WORKERS],
        taken: AtomicU64::new(0),
        given_up: AtomicU64::new(0),
        changes: AtomicU64::new(0),
        walks: AtomicU64::new(0),
        wrong: AtomicU64::new(0),
    });
    let me = thread::current();
    me.set_class(Class::fifo(Priority::MAX));
    let mut threads: Vec<JoinHandle<()>> = Vec::new();
    for number in 0..WORKERS {
        let its = Arc::clone(&world);
        let random = Random::new(seed + number as u64);
        let body = move || its.work(number, random);
        threads.push(thread::spawn(body));
    }
    let all_there = || world.workers.lock().len() == WORKERS;
    while !all_there() {
        thread::sleep(Duration::from_millis(1));
    }
    for number in 0..2 {
        let its = Arc::clone(&world);
        let random = Random::new(seed + 100 + number);
        threads.push(start(70, move || its.change(random)));
    }
    let its = Arc::clone(&world);
    threads.push(start(80, move || its.walk(Random::new(seed + 200))));

    thread::sleep(TIME / 2);
    let half: Vec<u64> = turns_of(&world);
    thread::sleep(TIME / 2);
    let full: Vec<u64> = turns_of(&world);
    world.over.store(true, Ordering::Relaxed);
    let ended = eventually(|| {
        thread::sleep(Duration::from_millis(1));
        threads.iter().all(JoinHandle::is_finished)
    });
    me.set_class(Class::Normal);
    let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
    println!(
        "# turns {full:?}, taken {}, given up {}, changes {}, walks {}",
        count(&world.taken),
        count(&world.given_up),
        count(&world.changes),
        count(&world.walks)
    );
    if !ended {
        for worker in world.workers.lock().iter() {
            println!(
                "# {worker:?} on CPU{}, level {}",
                worker.cpu(),
                Heir::level(&**worker)
            );
        }
    }
    ktap.check("all threads end", ended);
    let went_on = half.iter().zip(&full).all(|(half, full)| full > half);
    ktap.check("each thread goes on", went_on);
    let one_cpu = secondaries().is_empty();
    ktap.check("CPUs come and go", one_cpu || count(&world.walks) > 0);
    ktap.check(
        "mutexes are taken, and waits given up",
        count(&world.taken) > 0 && count(&world.given_up) > 0,
    );
    ktap.equal("threads at another level", count(&world.wrong), 0);
    let settled = world.workers.lock().iter().all(|worker| {
        worker.state_racy() == ThreadState::Dead
            && !worker.place().waits()
            && Heir::level(&**worker) == worker.class().level()
            && worker.with_lenders(|lenders| lenders.most_urgent()) > Class::Normal.level()
    });
    ktap.check("nothing is lent at the end", settled);
    let total: u64 = world.counts.iter().map(|it| *it.lock()).sum();
    ktap.equal("mutexes exclude", total, count(&world.taken));
    ktap.check(
        "all steps are balanced",
        states_say(kernel().masks.possible()),
    );
    ktap.finish()
}

fn turns_of(world: &World) -> Vec<u64> {
    let turns = world.turns.iter();
    turns.map(|turns| turns.load(Ordering::Relaxed)).collect()
}

//! Threads that move and threads that stay: affinity, pins, and a CPU that goes while threads
//! run, wait and sleep on it.

//@ smp: 2 4 20
//@ timeout: 240
//@ output: ^.*thread lonely no longer affine to cpu[0-9]+$

#![no_std]
#![no_main]

extern crate alloc;

stillpoint::entry!(main);

use alloc::sync::Arc;
use core::time::Duration;

use stillpoint::api;
use stillpoint::api::thread::{self, Builder, JoinHandle, OnOffline, Thread};
use stillpoint::config::MAX_CPUS;
use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::errno::Errno;
use stillpoint::hotplug::CpuDownError;
use stillpoint::kernel::kernel;
use stillpoint::sched::{AffinityError, Class, Priority};
use stillpoint::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use kernel_support::ktap::Ktap;
use kernel_support::machine::{eventually, last_cpu, masks_say, secondaries, spin_for, spin_until};

fn main() {
    let mut ktap = Ktap::new();
    affinity(&mut ktap);
    pins(&mut ktap);
    refusal(&mut ktap);
    broken(&mut ktap);
    pinned_and_down(&mut ktap);
    computing_and_down(&mut ktap);
    ktap.finish()
}

/// The state that a watched thread and its watcher share.
#[derive(Default)]
struct Watch {
    /// The number of turns of its loop.
    turns: AtomicU64,
    /// The CPU of the last turn.
    cpu: AtomicU32,
    end: AtomicBool,
}

impl Watch {
    fn turn(&self) {
        let cpu = u32::try_from(thread::current_cpu_racy().index()).expect("a small number");
        self.cpu.store(cpu, Ordering::Relaxed);
        self.turns.fetch_add(1, Ordering::Relaxed);
    }

    fn is_told_to_end(&self) -> bool {
        self.end.load(Ordering::Relaxed)
    }

    /// Waits until the thread has made two more turns, and the last one was on one of `cpus`.
    fn comes_to(&self, cpus: &CpuMask) -> bool {
        let before = self.turns.load(Ordering::Relaxed);
        eventually(|| self.turns.load(Ordering::Relaxed) >= before + 2)
            && eventually(|| self.is_on(cpus))
    }

    fn is_on(&self, cpus: &CpuMask) -> bool {
        CpuId::new(self.cpu.load(Ordering::Relaxed) as usize).is_some_and(|cpu| cpus.contains(cpu))
    }
}

/// A thread that computes until it is told to end, and its shared state.
struct Watched {
    watch: Arc<Watch>,
    handle: JoinHandle<()>,
}

impl Watched {
    fn start(builder: Builder, between_fn: impl Fn() + Send + 'static) -> Watched {
        let watch = Arc::new(Watch::default());
        let own = Arc::clone(&watch);
        let body = move || {
            while !own.is_told_to_end() {
                own.turn();
                between_fn();
            }
        };
        let handle = builder.spawn(body).expect("a stack is free");
        Watched { watch, handle }
    }

    fn thread(&self) -> Thread {
        self.handle.thread()
    }

    fn end(self) {
        self.watch.end.store(true, Ordering::Relaxed);
        self.thread().unpark();
        self.handle.join();
    }
}

fn on(cpu: CpuId) -> Builder {
    Builder::new().name("test").affinity(CpuMask::of(cpu))
}

/// Returns whether `watched` moves to each CPU in turn when its affinity is set to that CPU.
fn goes_round(watched: &Watched) -> bool {
    let cpus = kernel().masks.online();
    cpus.iter().all(|cpu| {
        let told = watched.thread().set_affinity(&CpuMask::of(cpu)).is_ok();
        told && watched.watch.comes_to(&CpuMask::of(cpu))
    })
}

fn affinity(ktap: &mut Ktap) {
    let cpus = kernel().masks.online();
    let walker = thread::spawn(move || {
        let me = thread::current();
        (0..3).flat_map(|_| cpus.iter()).all(|cpu| {
            me.set_affinity(&CpuMask::of(cpu)).is_ok()
                && thread::current_cpu_racy() == cpu
                && me.affinity() == CpuMask::of(cpu)
        })
    });
    ktap.check(
        "a thread that changes its own affinity is on its new CPU on return",
        walker.join(),
    );

    let computes = Watched::start(on(last_cpu()), || ());
    ktap.check(
        "one that computes goes where it is told",
        goes_round(&computes),
    );
    computes.end();
    let sleeps = Watched::start(on(last_cpu()), || thread::sleep(Duration::from_micros(300)));
    ktap.check("so does one that sleeps", goes_round(&sleeps));
    sleeps.end();
    let parks = Watched::start(on(last_cpu()), thread::park);
    let round = cpus.iter().all(|cpu| {
        let told = parks.thread().set_affinity(&CpuMask::of(cpu)).is_ok();
        let came = eventually(|| {
            parks.thread().unpark();
            parks.watch.is_on(&CpuMask::of(cpu))
        });
        told && came
    });
    ktap.check("and one that is parked", round);
    parks.end();
    ktap.check("and one that waits for its CPU", queued_goes_elsewhere());
    ktap.check("and one that is about to wait", waiter_goes_elsewhere());

    let nowhere = CpuMask::of(CpuId::new(MAX_CPUS - 1).expect("a CPU number"));
    let bound = api::spawn_on(last_cpu(), "bound", thread::park).expect("a stack is free");
    let thread = bound.thread();
    let refused = [
        thread::current().set_affinity(&nowhere),
        thread.set_affinity(&cpus),
    ];
    thread.unpark();
    bound.join();
    ktap.equal(
        "an affinity that can't be is refused",
        refused,
        [
            Err(AffinityError::NoActiveCpu(nowhere)),
            Err(AffinityError::HoldsCpus),
        ],
    );
}

/// Returns whether a thread that is queued behind a more urgent one goes to another CPU when
/// its affinity allows that.
fn queued_goes_elsewhere() -> bool {
    let urgent = Class::fifo(Priority::MIN);
    let hog = Watched::start(on(last_cpu()).class(urgent), || ());
    let has_it = hog.watch.comes_to(&CpuMask::of(last_cpu()));
    let queued = Watched::start(on(last_cpu()), || ());
    let waits = queued.watch.turns.load(Ordering::Relaxed) == 0;
    let boot = CpuMask::of(CpuId::BOOT);
    let moved = queued.thread().set_affinity(&boot).is_ok() && queued.watch.comes_to(&boot);
    queued.end();
    hog.end();
    has_it && waits && moved
}

/// Returns whether a thread moves whose affinity is changed while it is about to wait, and
/// which then doesn't wait.
fn waiter_goes_elsewhere() -> bool {
    let (says, told) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicBool::new(false)),
    );
    let (own_says, own_told) = (Arc::clone(&says), Arc::clone(&told));
    let boot = CpuMask::of(CpuId::BOOT);
    let waiter = on(last_cpu()).spawn(move || {
        let me = kernel().sched.current();
        kernel().sched.about_to_block(&me);
        own_says.store(true, Ordering::Release);
        while !own_told.load(Ordering::Acquire) {}
        // The SGI has been sent and may not have arrived.
        spin_for(Duration::from_millis(20));
        kernel().sched.cancel_block(&me);
        spin_until(|| boot.contains(thread::current_cpu_racy()))
    });
    let waiter = waiter.expect("a stack is free");
    let waits = eventually(|| says.load(Ordering::Acquire));
    let moved = waiter.thread().set_affinity(&boot);
    told.store(true, Ordering::Release);
    waiter.join() && waits && moved.is_ok()
}

fn pins(ktap: &mut Ktap) {
    let cpus = kernel().masks.online();
    let pinned = Arc::new(AtomicBool::new(false));
    let done = Arc::new(AtomicBool::new(false));
    let (own_pinned, own_done) = (Arc::clone(&pinned), Arc::clone(&done));
    let stayer = thread::spawn(move || {
        let guard = thread::migrate_disable();
        let inner = thread::migrate_disable();
        own_pinned.store(true, Ordering::Release);
        let mut stayed = true;
        let ended = eventually(|| {
            thread::sleep(Duration::from_micros(200));
            stayed &= thread::current_cpu_racy() == guard.cpu();
            own_done.load(Ordering::Acquire)
        });
        drop(inner);
        thread::yield_now();
        stayed &= thread::current_cpu_racy() == guard.cpu();
        let was = guard.cpu();
        drop(guard);
        (ended && stayed, was, thread::current_cpu_racy())
    });
    let thread = stayer.thread();
    let began = eventually(|| pinned.load(Ordering::Acquire));
    let other = Watched::start(Builder::new(), || thread::sleep(Duration::from_micros(200)));
    let mut told = true;
    for _ in 0..5 {
        for cpu in cpus.iter() {
            told &= thread.set_affinity(&CpuMask::of(cpu)).is_ok();
            thread::sleep(Duration::from_millis(1));
        }
    }
    let moved = goes_round(&other);
    other.end();
    // Its affinity after the unpin, which doesn't have its current CPU.
    let at = stayer.thread().inner().cpu();
    let away = cpus.without(&CpuMask::of(at));
    told &= thread.set_affinity(&away).is_ok();
    done.store(true, Ordering::Release);
    let (stayed, was, after) = stayer.join();
    ktap.check(
        "a pinned thread stays through sleeps, whatever it is told",
        began && told && moved && stayed && was == at,
    );
    ktap.check("unpinned it goes where it may run", away.contains(after));
}

fn refusal(ktap: &mut Ktap) {
    let cpu = last_cpu();
    let builder = on(cpu).on_offline(OnOffline::Refuse);
    let bound = Watched::start(builder, thread::park);
    let refused = api::cpu_down(cpu);
    ktap.equal(
        "a CPU that a thread refuses to let go is busy",
        (refused, refused.map_err(|error| error.errno())),
        (
            Err(CpuDownError::BoundThreads { cpu, threads: 1 }),
            Err(Errno::Busy),
        ),
    );
    bound.end();
    let goes = api::cpu_down(cpu).is_ok() && !kernel().masks.online().contains(cpu);
    let comes = api::cpu_up(cpu).is_ok();
    ktap.check("when the thread has ended it goes", goes && comes);
}

/// A thread that may run only on the CPU that goes: running, and asleep.
fn broken(ktap: &mut Ktap) {
    let cpu = last_cpu();
    let lonely = || on(cpu).name("lonely");
    let computes = Watched::start(lonely(), || ());
    let sleeps = Watched::start(lonely(), || thread::sleep(Duration::from_millis(1)));
    let here = CpuMask::of(cpu);
    let were_there = computes.watch.comes_to(&here) && sleeps.watch.comes_to(&here);
    let others = kernel().masks.online().without(&here);
    let gone = api::cpu_down(cpu).is_ok();
    let go_on = computes.watch.comes_to(&others) && sleeps.watch.comes_to(&others);
    let free = computes.thread().affinity() == *kernel().masks.possible();
    let back = api::cpu_up(cpu).is_ok();
    computes.end();
    sleeps.end();
    ktap.check(
        "a thread whose last CPU goes runs elsewhere, its affinity broken",
        were_there && gone && go_on && free && back,
    );
}

fn pinned_and_down(ktap: &mut Ktap) {
    let cpu = last_cpu();
    let own_let_go = Arc::new(AtomicBool::new(false));
    let let_go = Arc::clone(&own_let_go);
    let pinned = Arc::new(AtomicBool::new(false));
    let own_pinned = Arc::clone(&pinned);
    let builder = on(cpu);
    let body = move || {
        let guard = thread::migrate_disable();
        own_pinned.store(true, Ordering::Release);
        let masks = &kernel().masks;
        let going = eventually(|| {
            thread::sleep(Duration::from_millis(1));
            !masks.is_active(cpu)
        });
        let mut stayed = true;
        for _ in 0..50 {
            thread::sleep(Duration::from_micros(500));
            thread::yield_now();
            stayed &= thread::current_cpu_racy() == cpu && masks.online().contains(cpu);
        }
        own_let_go.store(true, Ordering::Release);
        drop(guard);
        (going && stayed, going && thread::current_cpu_racy() != cpu)
    };
    let holder = builder.spawn(body).expect("a stack is free");
    let began = eventually(|| pinned.load(Ordering::Acquire));
    let gone = api::cpu_down(cpu).is_ok();
    let waited = let_go.load(Ordering::Acquire);
    let (stayed, moved) = holder.join();
    let back = api::cpu_up(cpu).is_ok();
    ktap.check(
        "a CPU that goes waits for a pinned thread",
        began && gone && waited && back,
    );
    ktap.check("which sees one CPU number all the time", stayed);
    ktap.check("and goes on elsewhere when it has let go", moved);
}

fn computing_and_down(ktap: &mut Ktap) {
    let all = kernel().masks.online();
    // On each CPU that goes there is one thread, which never yields.
    let right = secondaries().into_iter().all(|cpu| {
        let computes = Watched::start(on(cpu), || ());
        let here = CpuMask::of(cpu);
        let alone = computes.watch.comes_to(&here);
        let anywhere = computes.thread().set_affinity(&all).is_ok();
        let gone = api::cpu_down(cpu).is_ok();
        let goes_on = computes.watch.comes_to(&all.without(&here));
        let back = api::cpu_up(cpu).is_ok();
        computes.end();
        alone && anywhere && gone && goes_on && back
    });
    ktap.check(
        "a thread that computes doesn't hold up its CPU, and goes on elsewhere",
        right && masks_say(&all),
    );
}

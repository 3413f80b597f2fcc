//! ok / ok: What a program may do: it compiles, so the others fail for what they name.
#![no_std]
#![no_main]

use core::time::Duration;
use stillpoint::api::{self, Hw, rcu, thread};
use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::sched::lock::{Completion, Condvar, Mutex, RwLock, Semaphore};
use stillpoint::sched::{AffinityError, SpawnError, Timer};
use stillpoint::sync::atomic::{AtomicU64, Ordering};
use stillpoint::sync::{IrqGuard, PreemptGuard, SpinLock};
use stillpoint::time::Instant;

stillpoint::percpu! {
    /// Counted by each CPU.
    static HITS: AtomicU64 = AtomicU64::new(0);
}

static SUM: Mutex<u64, Hw> = Mutex::new(0);
static TABLE: RwLock<[u64; 4], Hw> = RwLock::new([0; 4]);
static CHANGED: Condvar<Hw> = Condvar::new();
static DONE: Completion<Hw> = Completion::new();
static ROOM: Semaphore<Hw> = Semaphore::new(4);
static WORD: SpinLock<u64, Hw> = SpinLock::new(0);

stillpoint::entry!(main);

fn main() {
    let timer: Timer<Hw> = Timer::new(|| {
        HITS.this(&IrqGuard::new()).fetch_add(1, Ordering::Relaxed);
        DONE.complete();
    });
    timer.start(api::deadline(Duration::from_millis(1)));
    DONE.wait();
    let began: Instant = api::now();
    let worker = thread::spawn(|| *SUM.lock() += 1);
    thread::Thread::from(worker.thread()).unpark();
    worker.join();
    CHANGED.notify_all();
    ROOM.acquire();
    *WORD.lock() += TABLE.read()[0] + api::now().ticks_since(began);
    let first: u64 = rcu::read(|_| HITS.this(&PreemptGuard::new()).load(Ordering::Relaxed));
    rcu::call_rcu(move || stillpoint::println!("{first} at {} Hz", api::frequency().hz()));
    let cpu = CpuId::BOOT;
    let down: Result<(), api::CpuDownError> = api::cpu_down(cpu);
    let up: Result<(), api::CpuUpError> = api::cpu_up(cpu);
    let call: Result<u32, api::CallError> = api::call_on(cpu, || 1);
    let moved: Result<(), AffinityError> = thread::current().set_affinity(&CpuMask::of(cpu));
    let stop: Result<((), api::StopReport), api::StopError> = api::timed_stop_machine(|| ());
    let other: Result<thread::JoinHandle<()>, SpawnError> = api::spawn_on(cpu, "other", || ());
    drop((down.map_err(|error| error.errno()), up, call, moved, stop, other));
    let _held = api::cpus_read_lock();
    api::run_shell()
}

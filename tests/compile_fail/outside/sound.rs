//! ok / ok: What a program may do: it compiles, so the others fail for what they name.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;

use stillpoint::api::cpu::{self, CallError, CpuId, CpuMask};
use stillpoint::api::hotplug::{self, CpuDownError, CpuUpError, CpusReadGuard};
use stillpoint::api::stop::{self, StopError, StopReport};
use stillpoint::api::sync::{
    Completion, Condvar, IrqGuard, Mutex, MutexGuard, PreemptGuard, RwLock, Semaphore, SpinLock,
};
use stillpoint::api::thread::{self, AffinityError, JoinHandle, SpawnError};
use stillpoint::api::time::{self, Instant, Timer};
use stillpoint::api::{ExitStatus, log, mem, rcu};

stillpoint::percpu! {
    /// Counted by each CPU.
    static HITS: AtomicU64 = AtomicU64::new(0);
}

static SUM: Mutex<u64> = Mutex::new(0);
static TABLE: RwLock<[u64; 4]> = RwLock::new([0; 4]);
static CHANGED: Condvar = Condvar::new();
static DONE: Completion = Completion::new();
static ROOM: Semaphore = Semaphore::new(4);
static WORD: SpinLock<u64> = SpinLock::new(0);

stillpoint::entry!(main);

fn main() -> Result<ExitStatus, CpuDownError> {
    let timer: Timer = Timer::new(|| {
        HITS.this(&IrqGuard::new()).fetch_add(1, Ordering::Relaxed);
        DONE.complete();
    });
    timer.start(time::deadline(Duration::from_millis(1)));
    DONE.wait();
    let began: Instant = time::now();
    let worker = thread::spawn(|| *SUM.lock() += 1);
    worker.thread().unpark();
    worker.join();
    CHANGED.notify_all();
    ROOM.acquire();
    let sum: MutexGuard<'_, u64> = SUM.lock();
    drop(sum);
    let passed: Duration = time::now() - began;
    assert!(began + passed >= began && began.elapsed() >= passed);
    *WORD.lock() += TABLE.read()[0];
    let first: u64 = rcu::read(|_| HITS.this(&PreemptGuard::new()).load(Ordering::Relaxed));
    rcu::call_rcu(move || stillpoint::println!("{first} at {} Hz", time::frequency().hz()));
    let cpu = CpuId::BOOT;
    let sets: [CpuMask; 4] = [cpu::possible(), cpu::present(), cpu::online_racy(), cpu::active_racy()];
    log::info!("{} of {}, on {}", sets[2], sets[0], cpu::current());
    let up: Result<(), CpuUpError> = hotplug::cpu_up(cpu);
    let call: Result<u32, CallError> = cpu::call_on(cpu, || 1);
    let moved: Result<(), AffinityError> = thread::current().set_affinity(&CpuMask::of(cpu));
    let stop: Result<((), StopReport), StopError> = stop::timed_stop_machine(|| ());
    let other: Result<JoinHandle<()>, SpawnError> = thread::spawn_on(cpu, "other", || ());
    drop((up.map_err(|error| error.errno()), call, moved, stop, other));
    {
        let _held: CpusReadGuard = hotplug::cpus_read_lock();
    }
    hotplug::cpu_down(CpuId::from_index(1))?;
    if mem::heap_stats().free == 0 {
        return Ok(ExitStatus::from(3));
    }
    stillpoint::api::run_shell()
}

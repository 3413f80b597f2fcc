//! What the function of a still point may do: wake and tell threads, set timers, queue what was
//! made before, print, free, and use spin locks and guards.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::time::Duration;

use stillpoint::api::hotplug::{Service, register_service};
use stillpoint::api::sync::{
    Completion, Condvar, IrqGuard, Mutex, Once, PreemptGuard, Semaphore, SpinLock, WaitQueue,
};
use stillpoint::api::thread::{Class, Nice};
use stillpoint::api::time::Timer;
use stillpoint::api::{args, cpu, hotplug, log, mem, panic, rcu, stop, thread, time};
use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::println;
use stillpoint::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use kernel_support::ktap::Ktap;
use kernel_support::machine::eventually;

stillpoint::percpu! {
    static HITS: AtomicU32 = AtomicU32::new(0);
}

/// A service whose threads do one thing when they are asked to.
#[derive(Default)]
struct Asked {
    wanted: AtomicBool,
    done: AtomicBool,
}

impl Service for Asked {
    fn should_run(&self, _: CpuId) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }

    fn run(&self, _: CpuId) {
        self.wanted.store(false, Ordering::Relaxed);
        self.done.store(true, Ordering::Relaxed);
    }
}

/// Has threads wait in each way, and the function of a still point wake them.
fn wakes(ktap: &mut Ktap) {
    static ONE: Completion = Completion::new();
    static ALL: Completion = Completion::new();
    static CONDITION: Condvar = Condvar::new();
    static TOLD: Mutex<bool> = Mutex::new(false);
    static PERMITS: Semaphore = Semaphore::new(0);
    static QUEUE: WaitQueue = WaitQueue::new();
    static FREE: Semaphore = Semaphore::new(1);
    static DONE: Completion = Completion::new();
    static READY: AtomicBool = AtomicBool::new(false);
    let waits: [fn(); 6] = [
        || ONE.wait(),
        || ALL.wait(),
        || drop(CONDITION.wait_while(TOLD.lock(), |told| !*told)),
        || PERMITS.acquire(),
        || assert!(QUEUE.wait_until(time::Instant::FOREVER, || READY.load(Ordering::Relaxed))),
        thread::park,
    ];
    let sleepers = waits.map(thread::spawn);
    let asleep = || {
        sleepers
            .iter()
            .all(|sleeper| sleeper.thread().usage().waits > 0)
    };
    assert!(eventually(asleep), "a thread doesn't wait");
    DONE.complete();
    let stopped = stop::stop_machine(|| {
        ONE.complete();
        ALL.complete_all();
        let told = TOLD.try_lock().map(|mut told| *told = true);
        CONDITION.notify_one();
        CONDITION.notify_all();
        PERMITS.release();
        READY.store(true, Ordering::Relaxed);
        QUEUE.wake_one();
        QUEUE.wake_all();
        sleepers[5].thread().unpark();
        let taken = FREE.try_acquire() && DONE.try_wait() && !sleepers[0].is_finished();
        (told, taken)
    });
    ktap.equal(
        "fn wakes threads, and takes what is free",
        stopped,
        Ok((Some(()), true)),
    );
    for sleeper in sleepers {
        sleeper.join();
    }
    ktap.check("and they go on afterwards", true);
}

/// Has the function of a still point set off what runs later.
fn later(ktap: &mut Ktap) {
    static RAN: AtomicU32 = AtomicU32::new(0);
    let count = || {
        RAN.fetch_add(1, Ordering::Relaxed);
    };
    let timer = Timer::new(count);
    let never = Timer::new(count);
    let callback = rcu::Callback::new(count);
    let service = register_service("asked", Asked::default());
    let service = service.expect("it is registered");
    let stopped = stop::stop_machine(|| {
        timer.start(time::now());
        never.start_periodic(
            time::deadline(Duration::from_secs(100)),
            Duration::from_secs(1),
        );
        let cancelled = never.is_set() && never.try_cancel();
        callback.queue();
        service.wanted.store(true, Ordering::Relaxed);
        service.wake(CpuId::BOOT);
        let called = cpu::call_on_nowait(CpuId::BOOT, count).is_ok();
        (cancelled, called, RAN.load(Ordering::Relaxed))
    });
    ktap.equal(
        "fn sets a timer, queues a callback, wakes a service and calls its own CPU",
        stopped,
        Ok((true, true, 1)),
    );
    let all = || RAN.load(Ordering::Relaxed) == 3 && service.done.load(Ordering::Relaxed);
    ktap.check("and all that runs afterwards", eventually(all));
    ktap.check("the service is removed", service.remove().is_ok());
}

/// Has the function of a still point use what waits for nobody.
fn at_once(ktap: &mut Ktap) {
    static SPIN: SpinLock<u32> = SpinLock::new(0);
    static ONCE: Once<u32> = Once::new();
    static RESET: Completion = Completion::new();
    fn hook(_: &panic::PanicReport<'_>) {}
    let freed = Box::new([0_u8; 64]);
    let shared = Arc::new([0_u8; 20_000]);
    let other = thread::spawn(thread::park);
    let stopped = stop::stop_machine(|| {
        drop(freed);
        drop(shared);
        *SPIN.lock() += 1;
        *SPIN.lock_irqsave() += 1;
        let masked = IrqGuard::new();
        *SPIN.lock_masked(&masked) += 1;
        drop(masked);
        let here = PreemptGuard::new();
        HITS.this(&here).fetch_add(1, Ordering::Relaxed);
        drop(here);
        RESET.reset();
        let thread = other.thread();
        thread.set_nice(Nice::MAX);
        thread.set_class(Class::fifo(thread::Priority::MIN));
        thread.set_class(Class::Normal);
        println!("# {thread:?} {:?} {:?}", thread.usage(), thread.affinity());
        log::info!("from a still point, on CPU {}", cpu::current());
        hotplug::set_down_limit(hotplug::down_limit());
        thread::set_realtime_runtime(thread::realtime_runtime());
        let hooked = panic::set_hook(hook).is_ok();
        let masks = [cpu::online_racy(), cpu::active_racy(), cpu::present()];
        let has_run = cpu::run_time(cpu::current()).is_some();
        let stats = (mem::heap_stats(), rcu::stats(), mem::stacks_in_use());
        println!("# {stats:?} {:?}", hotplug::boot_bring_up_time());
        rcu::read(|_| hotplug::cpu_state_racy(CpuId::BOOT) > 0)
            && SPIN.try_lock_irqsave().is_some_and(|sum| *sum == 3)
            && ONCE.get().is_none()
            && args::var("case").is_some()
            && hooked
            && has_run
            && masks
                .iter()
                .all(|mask| CpuMask::of(CpuId::BOOT).is_subset_of(mask))
    });
    other.thread().unpark();
    other.join();
    ktap.equal(
        "fn frees, prints, logs, reads, and uses spin locks and guards",
        stopped,
        Ok(true),
    );
}

/// Checks all that, and ends the kernel.
pub(crate) fn check() -> ! {
    let mut ktap = Ktap::new();
    wakes(&mut ktap);
    later(&mut ktap);
    at_once(&mut ktap);
    ktap.finish()
}

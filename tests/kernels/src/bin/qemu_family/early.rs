//! The family before there are threads: the boot CPU calls [`stillpoint_early_test`] then.

use stillpoint::api::cpu;
use stillpoint::api::stop::{
    CancelToken, NowaitError, Stop, StopError, StopWork, stop_cpus, stop_machine,
    stop_machine_cpuslocked, stop_one_cpu, stop_one_cpu_nowait, stop_two_cpus,
};
use stillpoint::api::time;
use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::kernel::{Hw, kernel};
use stillpoint::platform::Platform;
use stillpoint::sync::atomic::{AtomicU32, Ordering};
use stillpoint::sync::{LocalCpu, Once};

use kernel_support::ktap::Ktap;

/// The checks that went wrong, one bit for each, and [`DONE`] when all were made. Relaxed: the same
/// CPU reads it later.
static WRONG: AtomicU32 = AtomicU32::new(0);
const DONE: u32 = 1 << 31;

const NAMES: [&str; 6] = [
    "a stop is a direct call, IRQs masked",
    "single works run with preemption off",
    "no other CPU is online",
    "a past deadline and a cancelled token are errors",
    "a release follows the function",
    "a work that isn't waited for is done at once",
];

pub(crate) fn check(ktap: &mut Ktap) {
    let wrong = WRONG.load(Ordering::Relaxed);
    for (nth, name) in NAMES.iter().enumerate() {
        ktap.check(name, wrong & (DONE | 1 << nth) == DONE);
    }
}

// SAFETY: no other function of this program has the name.
#[unsafe(no_mangle)]
extern "C" fn stillpoint_early_test() {
    let results = [
        direct(),
        single(),
        elsewhere(),
        given_up(),
        released(),
        nowait(),
    ];
    assert!(!Hw::irqs_enabled() && Hw::preempt_count() == 0);
    let mut wrong = DONE;
    for (nth, right) in results.into_iter().enumerate() {
        wrong |= u32::from(!right) << nth;
    }
    WRONG.store(wrong, Ordering::Relaxed);
}

fn direct() -> bool {
    let inside = || (Hw::this_cpu(), Hw::irqs_enabled(), Hw::preempt_count());
    let wanted = (CpuId::BOOT, false, 0);
    let timed = Stop::new().run_timed(inside);
    let mut runs = 0;
    let in_order = stop_machine(|| runs += 1) == Ok(()) && runs == 1;
    in_order
        && kernel().masks.online().is_empty()
        && kernel().stop_machine.stops() == 2
        && Stop::new().on(CpuId::BOOT).run(inside) == Ok(wanted)
        && stop_machine_cpuslocked(inside) == Ok(wanted)
        && timed.is_ok_and(|(value, report)| value == wanted && report.called <= report.ended)
        && Stop::new()
            .run_on_each(&CpuMask::of(CpuId::BOOT), |on| assert!(on == CpuId::BOOT))
            .is_ok()
}

fn single() -> bool {
    let inside = || (cpu::current(), Hw::preempt_count());
    let boot = CpuMask::of(CpuId::BOOT);
    let all = kernel().masks.possible();
    stop_one_cpu(CpuId::BOOT, inside) == Ok((CpuId::BOOT, 1))
        && stop_cpus(all, |_| assert!(Hw::preempt_count() == 1)) == boot
}

fn never() {
    panic!("BUG: it runs")
}

fn elsewhere() -> bool {
    let other = CpuId::from_index(1);
    let error = || Err(StopError::NotOnline(other));
    Stop::new().on(other).run(never) == error()
        && stop_one_cpu(other, never) == error()
        && stop_two_cpus(CpuId::BOOT, other, never) == error()
        && stop_two_cpus(other, CpuId::BOOT, never) == error()
        && stop_cpus(&CpuMask::of(other), |_| never()).is_empty()
        && Stop::new()
            .run_on_each(&CpuMask::first_n(2), |_| never())
            .map(drop)
            == error()
        && stop_one_cpu_nowait(other, StopWork::leak(|_| never()))
            == Err(NowaitError::NotOnline(other))
}

fn given_up() -> bool {
    let token = CancelToken::new();
    let goes_on = Stop::new().cancelled_by(&token).run(|| 1) == Ok(1);
    token.cancel();
    let late = Stop::new().before(time::now()).run(|| 2);
    let cancelled = Stop::new().cancelled_by(&token).run(|| 3);
    goes_on
        && matches!(late, Err(StopError::Late(missing)) if missing.is_empty())
        && matches!(cancelled, Err(StopError::Cancelled(missing)) if missing.is_empty())
}

fn released() -> bool {
    let order = AtomicU32::new(0);
    let release = |_| {
        let was = order.swap(2, Ordering::Relaxed);
        assert!(was == 1 && !Hw::irqs_enabled());
    };
    let stopped = Stop::new()
        .and_release(&release)
        .run(|| order.swap(1, Ordering::Relaxed));
    stopped == Ok(0) && order.load(Ordering::Relaxed) == 2
}

/// The work asks for itself again more often than the stack would bear it inside itself.
fn nowait() -> bool {
    const MANY: u32 = 10_000;
    static RUNS: AtomicU32 = AtomicU32::new(0);
    static WORK: Once<StopWork> = Once::new();
    let work = *WORK.call_once(|| {
        StopWork::leak(|on| {
            if RUNS.fetch_add(1, Ordering::Relaxed) + 1 < MANY {
                let again = WORK.get().map(|work| stop_one_cpu_nowait(on, *work));
                assert!(again == Some(Ok(())));
            }
        })
    });
    let queued = || stop_one_cpu_nowait(CpuId::BOOT, work) == Ok(());
    queued() && queued() && RUNS.load(Ordering::Relaxed) == MANY + 1
}

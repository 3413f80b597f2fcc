//! Stops that don't happen: a CPU that doesn't come, a stop in the way, a token, and thousands of
//! deadlines at about the instant at which the last CPU comes.

use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use stillpoint::api::hotplug::{EnableStep, cpu_down, cpu_up};
use stillpoint::api::stop::{
    CancelToken, HeldBy, NotCome, NowaitError, Stop, StopError, StopWork, stop_cpus, stop_machine,
    stop_one_cpu, stop_one_cpu_nowait, stop_two_cpus,
};
use stillpoint::api::sync::{IrqGuard, PreemptGuard};
use stillpoint::api::thread::{self, Builder};
use stillpoint::api::time::{self, Timer};
use stillpoint::config::MAX_CPUS;
use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::kernel::kernel;
use stillpoint::platform::Sgi;
use stillpoint::println;
use stillpoint::sync::atomic::{AtomicBool, Ordering};
use stillpoint::time::Instant;

use kernel_support::case::told;
use kernel_support::ktap::Ktap;
use kernel_support::machine::{last_cpu, spin_until, stay_on_boot_cpu};
use kernel_support::memory::InUse;
use kernel_support::unharmed::same;

/// The limit of a stop that is to be given up. All CPUs but one come before, on a slow host too.
const SHORT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(20);

pub(crate) fn check(ktap: &mut Ktap) {
    stay_on_boot_cpu();
    let last = last_cpu();
    if last == CpuId::BOOT {
        ktap.inapplicable("a CPU that doesn't come is named", "one CPU");
    } else {
        let by = while_held(last, with_preemption_off, || late_for(last));
        ktap.equal("preemption is off", by, Some(HeldBy::PreemptionOff));
        let by = while_held(last, with_irqs_masked, || late_for(last));
        ktap.equal("IRQs are masked", by, Some(HeldBy::IrqsOff));
        ktap.equal("another stop", behind_a_work(last), Some(HeldBy::OtherStop));
        ktap.check("a timer cancels a stop", cancelled(last));
    }
    ktap.check("behind another stop its caller is named", behind(in_stop));
    let named = "behind an operation of hotplug its thread is named";
    if last == CpuId::BOOT {
        ktap.inapplicable(named, "one CPU");
    } else {
        ktap.check(named, behind(in_operation));
    }
    ktap.check("nothing is left of thousands", many());
    ktap.check("a deadline that is past disturbs no CPU", past());
    ktap.check(
        "a token may be of many stops, and is too late in fn",
        shared(),
    );
    ktap.check(
        "a CPU that the machine has not is not online",
        nowhere(last),
    );
    let after = Stop::new().before(time::deadline(LONG)).run(|| 7);
    ktap.equal("the next stop is as ever", after, Ok(7));
}

/// Returns what was in the way of a stop, if it was given up for `cpu` alone.
fn only(cpu: CpuId, missing: &[NotCome]) -> Option<HeldBy> {
    match missing {
        [only] if only.cpu == cpu => Some(only.held_up.by),
        _ => {
            println!("# {missing:?}");
            None
        }
    }
}

fn late_for(cpu: CpuId) -> Option<HeldBy> {
    match Stop::new().before(time::deadline(SHORT)).run(|| ()) {
        Err(StopError::Late(missing)) => only(cpu, &missing),
        other => {
            println!("# {other:?}");
            None
        }
    }
}

/// Has a thread on `cpu` call `hold_fn`, which calls what it is given, while `stop_fn` runs.
/// Returns the value of that.
fn while_held<R>(cpu: CpuId, hold_fn: fn(&dyn Fn()), stop_fn: impl FnOnce() -> R) -> R {
    let flags = Arc::new([AtomicBool::new(false), AtomicBool::new(false)]);
    let theirs = Arc::clone(&flags);
    let holder = Builder::new()
        .name("holder")
        .affinity(CpuMask::of(cpu))
        .spawn(move || {
            hold_fn(&|| {
                theirs[0].store(true, Ordering::Relaxed);
                spin_until(|| theirs[1].load(Ordering::Relaxed));
            });
        });
    let holder = holder.expect("the CPU is active");
    spin_until(|| flags[0].load(Ordering::Relaxed));
    let value = stop_fn();
    flags[1].store(true, Ordering::Relaxed);
    holder.join();
    value
}

fn with_preemption_off(go_on: &dyn Fn()) {
    let _here = PreemptGuard::new();
    go_on();
}

fn with_irqs_masked(go_on: &dyn Fn()) {
    let _masked = IrqGuard::new();
    go_on();
}

fn behind_a_work(cpu: CpuId) -> Option<HeldBy> {
    let flags = Arc::new([AtomicBool::new(false), AtomicBool::new(false)]);
    let theirs = Arc::clone(&flags);
    let work = StopWork::leak(move |_| {
        theirs[0].store(true, Ordering::Relaxed);
        spin_until(|| theirs[1].load(Ordering::Relaxed));
    });
    if stop_one_cpu_nowait(cpu, work).is_err() {
        return None;
    }
    spin_until(|| flags[0].load(Ordering::Relaxed));
    let by = late_for(cpu);
    flags[1].store(true, Ordering::Relaxed);
    by
}

/// Whether a thread holds the locks of a stop, and whether it may let go of them.
static HOLDS: [AtomicBool; 2] = [const { AtomicBool::new(false) }; 2];

fn sleep_until(flag: &AtomicBool) {
    while !flag.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(1));
    }
}

/// Holds what the caller has until the stop in question is over.
fn hold() {
    HOLDS[0].store(true, Ordering::Relaxed);
    sleep_until(&HOLDS[1]);
}

fn in_stop() {
    let _still = kernel().stop_machine.lock();
    hold();
}

fn in_operation() {
    let slow = EnableStep::new("slow").teardown(|_| {
        hold();
        Ok(())
    });
    let slow = slow.install_nocalls().expect("there is room for a step");
    let went = cpu_down(last_cpu()).is_ok();
    assert!(went && slow.remove_nocalls().is_ok() && cpu_up(last_cpu()).is_ok());
}

/// Returns whether a stop tells at its deadline that thread `owner` is in the way, which calls
/// `hold_fn`, and whether the next one takes place.
fn behind(hold_fn: fn()) -> bool {
    for flag in &HOLDS {
        flag.store(false, Ordering::Relaxed);
    }
    let owner = Builder::new().name("owner").spawn(hold_fn);
    let owner = owner.expect("there is a stack for a thread");
    sleep_until(&HOLDS[0]);
    let stopped = Stop::new().before(time::deadline(SHORT / 10)).run(|| ());
    HOLDS[1].store(true, Ordering::Relaxed);
    owner.join();
    let told = stopped.expect_err("a lock is held").to_string();
    let named = "an operation of thread owner lasted until the deadline";
    same("told", told.as_str(), named) & stop_machine(|| ()).is_ok()
}

fn cancelled(cpu: CpuId) -> bool {
    let token = CancelToken::new();
    let canceller = token.clone();
    let timer = Timer::new(move || canceller.cancel());
    let stopped = while_held(cpu, with_preemption_off, || {
        timer.start(time::deadline(SHORT));
        Stop::new().cancelled_by(&token).run(|| ())
    });
    match stopped {
        Err(StopError::Cancelled(missing)) => only(cpu, &missing).is_some(),
        other => {
            println!("# {other:?}");
            false
        }
    }
}

/// Stops with a deadline that is between nothing and what the last stop took.
fn many() -> bool {
    let wanted = told("aborts").unwrap_or(2000);
    // What the first ones make for good is not counted.
    let mut whole = stop_machine(|| ()).is_ok();
    let _first = Stop::new().before(time::now()).run(|| ());
    let before = InUse::settled();
    let stops = kernel().stop_machine.stops();
    let (mut given_up, mut ran, mut ticks) = (0, 0, 0);
    while given_up < wanted {
        let at = time::now().after_ticks(ticks);
        match Stop::new().before(at).run(|| ()) {
            Ok(()) => {
                ran += 1;
                ticks /= 2;
            }
            Err(StopError::Late(_)) => {
                given_up += 1;
                ticks += ticks / 8 + 1;
            }
            Err(error) => {
                println!("# {error}");
                whole = false;
            }
        }
    }
    println!("# {given_up} were given up, {ran} were not");
    whole && ran > 0 && kernel().stop_machine.stops() - stops == ran && before.is_back()
}

fn past() -> bool {
    [Instant(0), time::now()].into_iter().all(|at| {
        let before = kernel().interrupts.sgis(last_cpu(), Sgi::Stop.number());
        let stopped = Stop::new().before(at).run(|| ());
        let after = kernel().interrupts.sgis(last_cpu(), Sgi::Stop.number());
        same("stopped", stopped, Err(StopError::Late(Vec::new()))) & same("SGIs", after, before)
    })
}

fn shared() -> bool {
    let token = CancelToken::new();
    let all_ran = thread::scope(|scope| {
        let stops = || (0..50).all(|_| Stop::new().cancelled_by(&token).run(|| ()).is_ok());
        let threads = [(); 3].map(|()| scope.spawn(stops));
        threads.into_iter().all(|thread| thread.join())
    });
    let inside = Stop::new().cancelled_by(&token).run(|| token.cancel());
    let after = Stop::new().cancelled_by(&token).run(|| ());
    all_ran
        & same("inside", inside, Ok(()))
        & same("after", after, Err(StopError::Cancelled(Vec::new())))
}

fn nowhere(last: CpuId) -> bool {
    let nowhere = CpuId::new(MAX_CPUS - 1).expect("a number");
    let error = || Err(StopError::NotOnline(nowhere));
    let mask = CpuMask::of(nowhere);
    let work = StopWork::leak(|_| ());
    let queued = stop_one_cpu_nowait(nowhere, work);
    same("one", stop_one_cpu(nowhere, || ()), error())
        & same("two", stop_two_cpus(last, nowhere, || ()), error())
        & same("on", Stop::new().on(nowhere).run(|| ()), error())
        & same(
            "each",
            Stop::new().run_on_each(&mask, |_| ()).map(drop),
            error(),
        )
        & same("some", stop_cpus(&mask, |_| ()), CpuMask::EMPTY)
        & same("queued", queued, Err(NowaitError::NotOnline(nowhere)))
}

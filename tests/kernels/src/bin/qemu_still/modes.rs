//! Code of each kind on one CPU while a stop that flushes preempted threads, or a stop of that CPU
//! alone, is called for: whether it is over when fn runs.

use alloc::sync::Arc;
use core::time::Duration;

use stillpoint::api::stop::{Stop, StopMode, stop_one_cpu};
use stillpoint::api::sync::{IrqGuard, Mutex, PreemptGuard, SpinLock};
use stillpoint::api::{self, rcu, thread, time};
use stillpoint::cpu::CpuId;
use stillpoint::sync::atomic::{AtomicBool, Ordering};

use kernel_support::ktap::Ktap;
use kernel_support::machine::{eventually, last_cpu, spin_for, spin_until};

use crate::ONE_CPU;
use crate::stops::{A_WHILE, Hold};

/// A slow host needs time.
const LONG: Duration = Duration::from_secs(20);

static SPIN: SpinLock<()> = SpinLock::new(());
static MUTEX: Mutex<()> = Mutex::new(());

/// How the machine, or a part of it, is stopped.
#[derive(Clone, Copy)]
enum Kind {
    Flush,
    OneCpu,
}

impl Kind {
    /// Runs `call_fn` in the stop; returns whether it was run.
    fn run(self, call_fn: impl FnOnce() + Send) -> bool {
        match self {
            Kind::Flush => {
                let stop = Stop::new().mode(StopMode::FlushPreempted);
                let stopped = stop.before(time::deadline(LONG)).run(call_fn);
                stopped.is_ok()
            }
            Kind::OneCpu => stop_one_cpu(last_cpu(), call_fn).is_ok(),
        }
    }
}

/// What the holder waits for inside of what it holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    /// A while after the stop was called for: if fn could run, it would have.
    AWhile,
    /// Until fn has run, computing.
    Fn,
    /// Until fn has run, asleep.
    FnAsleep,
}

#[derive(Default)]
struct Shared {
    holding: AtomicBool,
    asked: AtomicBool,
    fn_ran: AtomicBool,
}

/// Has a thread on the last CPU hold something, by `hold_fn`, while the boot CPU calls for a stop
/// of `kind`. Returns whether fn ran while it held, if all else was as it should be.
fn runs_inside(kind: Kind, until: Until, hold_fn: Hold) -> Option<bool> {
    let shared = Arc::new(Shared::default());
    let inside = Arc::clone(&shared);
    let holder = api::spawn_on(last_cpu(), "holder", move || {
        hold_fn(&|| {
            let ran = || inside.fn_ran.load(Ordering::Relaxed);
            inside.holding.store(true, Ordering::Relaxed);
            let as_wanted = match until {
                Until::AWhile => {
                    let asked = spin_until(|| inside.asked.load(Ordering::Relaxed));
                    spin_for(A_WHILE);
                    asked
                }
                Until::Fn => spin_until(ran),
                Until::FnAsleep => eventually(|| {
                    thread::sleep(Duration::from_micros(50));
                    ran()
                }),
            };
            inside.holding.store(false, Ordering::Relaxed);
            as_wanted
        })
    });
    let holder = holder.ok()?;
    spin_until(|| shared.holding.load(Ordering::Relaxed));
    shared.asked.store(true, Ordering::Relaxed);
    let mut held = None;
    let stopped = kind.run(|| {
        held = Some(shared.holding.load(Ordering::Relaxed));
        shared.fn_ran.store(true, Ordering::Relaxed);
    });
    (holder.join() && stopped).then_some(held?)
}

/// The name of a check, how the holder waits, and the code that fn excludes or doesn't.
type Case = (&'static str, Until, Hold);

fn check_all(ktap: &mut Ktap, kind: Kind, cases: &[Case]) {
    for (name, until, hold_fn) in cases {
        if last_cpu() == CpuId::BOOT {
            ktap.inapplicable(name, ONE_CPU);
        } else {
            let runs = runs_inside(kind, *until, *hold_fn);
            ktap.equal(name, runs, Some(*until != Until::AWhile));
        }
    }
}

const PREEMPTION_OFF: Hold = |inside| {
    let _held = PreemptGuard::new();
    inside()
};
const IRQS_MASKED: Hold = |inside| {
    let _held = IrqGuard::new();
    inside()
};
const SPIN_LOCK: Hold = |inside| {
    let _held = SPIN.lock();
    inside()
};
const RCU_SECTION: Hold = |inside| rcu::read(|_| inside());
const WITH_MUTEX: Hold = |inside| {
    let _held = MUTEX.lock();
    inside()
};
const CPUS_READ_LOCK: Hold = |inside| {
    let _held = api::cpus_read_lock();
    inside()
};
const NO_FLUSH: Hold = |inside| thread::no_flush(inside);
const NOTHING: Hold = |inside| inside();

/// Checks what a stop that flushes preempted threads excludes, and what it doesn't.
pub(crate) fn flush(ktap: &mut Ktap) {
    let cases: [Case; 9] = [
        (
            "preemption off holds a flush up",
            Until::AWhile,
            PREEMPTION_OFF,
        ),
        ("IRQs masked hold a flush up", Until::AWhile, IRQS_MASKED),
        ("a held SpinLock holds a flush up", Until::AWhile, SPIN_LOCK),
        (
            "a section of RCU holds a flush up",
            Until::AWhile,
            RCU_SECTION,
        ),
        (
            "code that doesn't sleep, with preemption on, holds a flush up",
            Until::AWhile,
            NO_FLUSH,
        ),
        (
            "so does a holder of a mutex that doesn't sleep meanwhile",
            Until::AWhile,
            |inside| thread::no_flush(|| WITH_MUTEX(inside)),
        ),
        (
            "a holder of a mutex that sleeps holds no flush up",
            Until::FnAsleep,
            |inside| thread::no_flush(|| WITH_MUTEX(inside)),
        ),
        (
            "a holder of cpus_read_lock that sleeps holds no flush up",
            Until::FnAsleep,
            |inside| thread::no_flush(|| CPUS_READ_LOCK(inside)),
        ),
        (
            "an application's own code holds no flush up",
            Until::Fn,
            NOTHING,
        ),
    ];
    check_all(ktap, Kind::Flush, &cases);
}

/// Checks what a stop of one CPU excludes there, and what it doesn't.
pub(crate) fn one_cpu(ktap: &mut Ktap) {
    let cases: [Case; 7] = [
        (
            "preemption off holds stop_one_cpu up",
            Until::AWhile,
            PREEMPTION_OFF,
        ),
        (
            "IRQs masked hold stop_one_cpu up",
            Until::AWhile,
            IRQS_MASKED,
        ),
        (
            "a held SpinLock holds stop_one_cpu up",
            Until::AWhile,
            SPIN_LOCK,
        ),
        (
            "a section of RCU holds stop_one_cpu up",
            Until::AWhile,
            RCU_SECTION,
        ),
        (
            "a holder of a mutex doesn't hold stop_one_cpu up",
            Until::Fn,
            WITH_MUTEX,
        ),
        (
            "a holder of cpus_read_lock doesn't hold stop_one_cpu up",
            Until::Fn,
            CPUS_READ_LOCK,
        ),
        (
            "code with preemption on doesn't hold stop_one_cpu up",
            Until::Fn,
            NO_FLUSH,
        ),
    ];
    check_all(ktap, Kind::OneCpu, &cases);
}

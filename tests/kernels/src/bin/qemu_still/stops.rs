//! Code of each kind on one CPU while another one stops the machine: whether it is over when fn
//! runs.

use alloc::sync::Arc;
use core::time::Duration;

use stillpoint::api::{self, rcu, sync as api_sync};
use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::kernel::{Hw, kernel};
use stillpoint::platform::{Platform, Sgi};
use stillpoint::stop_machine::MultiStopState;
use stillpoint::sync::LocalCpu;
use stillpoint::sync::atomic::{AtomicBool, Ordering};
use stillpoint::time::Instant;
use stillpoint::trace::Event;

use kernel_support::ktap::Ktap;
use kernel_support::machine::{last_cpu, spin_for, spin_until};

use crate::ONE_CPU;

/// How long a stop that should wait is given to go wrong.
pub(crate) const A_WHILE: Duration = Duration::from_millis(10);

static SPIN: api_sync::SpinLock<()> = api_sync::SpinLock::new(());
static MUTEX: api_sync::Mutex<()> = api_sync::Mutex::new(());
static RW: api_sync::RwLock<()> = api_sync::RwLock::new(());

/// Flags by which a holder and the function of a stop see each other.
struct Shared {
    holding: AtomicBool,
    fn_ran: AtomicBool,
}

/// The observations of a stop that met a holder on another CPU.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    /// The holder saw the stop before it let go: asked for, and every other
    /// CPU in PREPARE; or, if it should not hold it up, fn having run.
    stop_while_holding: bool,
    /// Whether the holder still held when fn ran.
    fn_while_holding: bool,
}

const HELD_UP: Seen = Seen {
    stop_while_holding: true,
    fn_while_holding: false,
};
const NOT_HELD_UP: Seen = Seen {
    stop_while_holding: true,
    fn_while_holding: true,
};

/// A kind of code: it calls what it is given while it holds what makes it one of its kind.
pub(crate) type Hold = fn(&dyn Fn() -> bool) -> bool;

/// The name of a check, the code that is in the stop's way or isn't, and what fn finds out about
/// it by itself.
type Case = (&'static str, Hold, fn() -> bool);

/// Has a thread on the last CPU hold something, by `hold_fn`, while the boot
/// CPU stops the machine. `until_fn`: it holds on until fn has run, not only
/// until the stop is waiting for it. fn asks `look_fn`, too, whether it is held.
fn hold(until_fn: bool, hold_fn: Hold, look_fn: fn() -> bool) -> Option<Seen> {
    let shared = Arc::new(Shared {
        holding: AtomicBool::new(false),
        fn_ran: AtomicBool::new(false),
    });
    let inside = Arc::clone(&shared);
    let began = Hw::now();
    let holder = api::spawn_on(last_cpu(), "holder", move || {
        hold_fn(&|| {
            let stop_sgis = stop_sgis_of(last_cpu());
            inside.holding.store(true, Ordering::Relaxed);
            let seen = if until_fn {
                spin_until(|| inside.fn_ran.load(Ordering::Relaxed))
            } else {
                stop_waits_for(last_cpu(), began, stop_sgis)
            };
            inside.holding.store(false, Ordering::Relaxed);
            seen
        })
    });
    let holder = holder.ok()?;
    spin_until(|| shared.holding.load(Ordering::Relaxed));
    let stopped = api::stop_machine(|| {
        shared.fn_ran.store(true, Ordering::Relaxed);
        let holding = shared.holding.load(Ordering::Relaxed);
        (holding, look_fn() == holding)
    });
    let (fn_while_holding, agrees) = stopped.ok()?;
    let stop_while_holding = holder.join();
    agrees.then_some(Seen {
        stop_while_holding,
        fn_while_holding,
    })
}

/// Waits until a stop waits for `cpu`, the caller's, alone: every other CPU has been in PREPARE
/// since `since`, and this one, if it takes interrupts, has taken more stop SGIs than
/// `stop_sgis`. Then gives the stop time to go wrong. Returns whether a stop has come.
pub(crate) fn stop_waits_for(cpu: CpuId, since: Instant, stop_sgis: u64) -> bool {
    let others = kernel().masks.online().without(&CpuMask::of(cpu));
    let prepare = Event::Stop {
        state: MultiStopState::Prepare as u8,
    };
    let waits = spin_until(|| {
        let mut waiting = CpuMask::EMPTY;
        kernel().trace.collect(|record| {
            if record.at >= since && record.event == prepare {
                waiting.insert(record.on);
            }
            false
        });
        others.is_subset_of(&waiting) && (!Hw::irqs_enabled() || stop_sgis_of(cpu) > stop_sgis)
    });
    spin_for(A_WHILE);
    waits
}

/// Returns how many stop SGIs `cpu` has taken.
pub(crate) fn stop_sgis_of(cpu: CpuId) -> u64 {
    kernel().interrupts.sgis(cpu, Sgi::Stop.number())
}

/// Code that a still point excludes.
fn excluded(ktap: &mut Ktap) {
    let spin_is_held = || SPIN.try_lock_irqsave().is_none();
    let cases: [Case; 5] = [
        (
            "preemption off holds a stop up until it is on again",
            |inside| {
                let _held = api_sync::PreemptGuard::new();
                inside()
            },
            || false,
        ),
        (
            "IRQs masked hold a stop up until they are open again",
            |inside| {
                let _held = api_sync::IrqGuard::new();
                inside()
            },
            || false,
        ),
        (
            "a held SpinLock holds a stop up until it is open again",
            |inside| {
                let _held = SPIN.lock();
                inside()
            },
            spin_is_held,
        ),
        (
            "a SpinLock held with IRQs masked does too",
            |inside| {
                let _held = SPIN.lock_irqsave();
                inside()
            },
            spin_is_held,
        ),
        (
            "a read-side section of RCU holds a stop up until it ends",
            |inside| rcu::read(|_| inside()),
            || false,
        ),
    ];
    for (name, hold_fn, look_fn) in cases {
        if last_cpu() == CpuId::BOOT {
            ktap.inapplicable(name, ONE_CPU);
        } else {
            ktap.equal(name, hold(false, hold_fn, look_fn), Some(HELD_UP));
        }
    }
}

/// Code that a still point doesn't exclude: it is in the middle of its work while fn runs.
fn not_excluded(ktap: &mut Ktap) {
    let cases: [Case; 4] = [
        (
            "a thread with preemption on holds no stop up",
            |inside| inside(),
            || true,
        ),
        (
            "a holder of a sleeping mutex holds no stop up, and fn finds it taken",
            |inside| {
                let _held = MUTEX.lock();
                inside()
            },
            || MUTEX.try_lock().is_none(),
        ),
        (
            "a reader of an RwLock holds no stop up",
            |inside| {
                let _held = RW.read();
                inside()
            },
            || true,
        ),
        (
            "a holder of cpus_read_lock holds no stop up",
            |inside| {
                let _held = api::cpus_read_lock();
                inside()
            },
            || true,
        ),
    ];
    for (name, hold_fn, look_fn) in cases {
        if last_cpu() == CpuId::BOOT {
            ktap.inapplicable(name, ONE_CPU);
        } else {
            ktap.equal(name, hold(true, hold_fn, look_fn), Some(NOT_HELD_UP));
        }
    }
}

/// Checks what a still point excludes, and what it doesn't.
pub(crate) fn check(ktap: &mut Ktap) {
    excluded(ktap);
    not_excluded(ktap);
}

//! Code of each kind on one CPU while another CPU comes or goes: whether the set of online CPUs
//! stays as it is.

use alloc::sync::Arc;

use stillpoint::api::hotplug::EnableStep;
use stillpoint::api::sync::{IrqGuard, Mutex, PreemptGuard, RwLock, SpinLock};
use stillpoint::api::{self, rcu, thread};
use stillpoint::cpu::CpuId;
use stillpoint::kernel::{Hw, kernel};
use stillpoint::platform::Platform;
use stillpoint::sync::atomic::{AtomicBool, Ordering};
use stillpoint::time::Instant;

use kernel_support::ktap::Ktap;
use kernel_support::machine::{eventually, last_cpu, spin_until};

use crate::stops::{A_WHILE, Hold, stop_sgis_of, stop_waits_for};

const TOO_FEW: &str = "fewer than three CPUs";

static SPIN: SpinLock<()> = SpinLock::new(());
static MUTEX: Mutex<()> = Mutex::new(());
static RW: RwLock<()> = RwLock::new(());

/// The CPU of the reader. The operation runs on the boot CPU, and the last one goes.
fn reader_cpu() -> CpuId {
    CpuId::from_index(1)
}

fn is_online() -> bool {
    kernel().masks.is_online(last_cpu())
}

/// Flags by which the reader and the CPU that goes see each other.
#[derive(Default)]
struct Shared {
    leaving: AtomicBool,
    inside: AtomicBool,
}

/// What the reader sees before it tells that it is inside. From then on the operation goes on,
/// however long the reader's CPU rests.
struct Before {
    at: Instant,
    stop_sgis: u64,
    online: bool,
}

impl Before {
    fn look() -> Self {
        Self {
            at: Hw::now(),
            stop_sgis: stop_sgis_of(reader_cpu()),
            online: is_online(),
        }
    }
}

/// Takes the last CPU down. When it has left the active CPUs, so that no grace period lies
/// between, a reader on another CPU comes inside of what `hold_fn` holds, and looks. Returns what
/// the reader has seen, and whether the CPU has gone and come back.
fn while_it_goes(hold_fn: Hold, look_fn: fn(&Before) -> bool) -> (bool, bool) {
    let shared = Arc::new(Shared::default());
    let read = Arc::clone(&shared);
    let reader = api::spawn_on(reader_cpu(), "reader", move || {
        assert!(
            eventually(|| read.leaving.load(Ordering::Relaxed)),
            "it doesn't leave"
        );
        hold_fn(&|| {
            let before = Before::look();
            read.inside.store(true, Ordering::Relaxed);
            look_fn(&before)
        })
    });
    let leaves = Arc::clone(&shared);
    let step = EnableStep::new("reader")
        .teardown(move |_| {
            leaves.leaving.store(true, Ordering::Relaxed);
            let comes = eventually(|| leaves.inside.load(Ordering::Relaxed));
            assert!(comes, "the reader doesn't come");
            Ok(())
        })
        .install_nocalls();
    let step = step.expect("there is a slot");
    let went = api::cpu_down(last_cpu());
    let seen = reader.expect("a reader is started").join();
    let came = api::cpu_up(last_cpu());
    let removed = step.remove_nocalls();
    (seen, (went, came) == (Ok(()), Ok(())) && removed.is_ok())
}

/// Returns whether the CPU is still online while the stop that takes it waits for the reader.
fn stays(before: &Before) -> bool {
    before.online && stop_waits_for(reader_cpu(), before.at, before.stop_sgis) && is_online()
}

/// Returns whether the CPU was online and goes.
fn goes(before: &Before) -> bool {
    before.online && spin_until(|| !is_online())
}

fn on_the_way_down(ktap: &mut Ktap) {
    let excluded: [(&str, Hold); 4] = [
        (
            "with preemption off no CPU leaves the online CPUs",
            |look| {
                let _held = PreemptGuard::new();
                look()
            },
        ),
        ("with IRQs masked no CPU leaves the online CPUs", |look| {
            let _held = IrqGuard::new();
            look()
        }),
        ("under a SpinLock no CPU leaves the online CPUs", |look| {
            let _held = SPIN.lock();
            look()
        }),
        (
            "in a read-side section of RCU no CPU leaves the online CPUs",
            |look| rcu::read(|_| look()),
        ),
    ];
    let not_excluded: [(&str, Hold); 3] = [
        (
            "code that doesn't sleep, with preemption on, sees a CPU leave",
            |look| look(),
        ),
        ("a holder of a sleeping mutex sees a CPU leave", |look| {
            let _held = MUTEX.lock();
            look()
        }),
        ("a reader of an RwLock sees a CPU leave", |look| {
            let _held = RW.read();
            look()
        }),
    ];
    let stays: (_, fn(&Before) -> bool) = (&excluded[..], stays);
    for (cases, look_fn) in [stays, (&not_excluded, goes)] {
        for (name, hold_fn) in cases {
            if last_cpu().index() < 2 {
                ktap.inapplicable(name, TOO_FEW);
            } else {
                ktap.equal(name, while_it_goes(*hold_fn, look_fn), (true, true));
            }
        }
    }
}

/// Preemption that is off keeps CPUs from going, and not from coming.
fn on_the_way_up(ktap: &mut Ktap) {
    let name = "with preemption off a CPU may come";
    if last_cpu().index() < 2 {
        ktap.inapplicable(name, TOO_FEW);
        return;
    }
    let went = api::cpu_down(last_cpu());
    let inside = Arc::new(AtomicBool::new(false));
    let is_inside = Arc::clone(&inside);
    let reader = api::spawn_on(reader_cpu(), "reader", move || {
        let _held = PreemptGuard::new();
        let before = Before::look();
        is_inside.store(true, Ordering::Relaxed);
        !before.online && spin_until(is_online)
    });
    assert!(
        eventually(|| inside.load(Ordering::Relaxed)),
        "no reader comes"
    );
    let came = api::cpu_up(last_cpu());
    let seen = reader.expect("a reader is started").join();
    ktap.equal(name, (went, seen, came), (Ok(()), true, Ok(())));
}

/// Holds `cpus_read_lock` while another thread calls `operate_fn`. Returns whether the set of
/// online CPUs was the same until the end of the hold, and another one after the operation.
fn under_the_lock(operate_fn: fn() -> bool) -> bool {
    let held = api::cpus_read_lock();
    let before = is_online();
    let caller = thread::spawn(operate_fn);
    let waits = || caller.thread().usage().waits > 0;
    let same = eventually(waits) && {
        api::sleep(A_WHILE);
        is_online() == before && kernel().masks.is_active(last_cpu()) == before
    };
    drop(held);
    caller.join() && same && is_online() != before
}

fn under_cpus_read_lock(ktap: &mut Ktap) {
    let names = [
        "under cpus_read_lock no CPU goes",
        "under cpus_read_lock no CPU comes",
    ];
    let operations: [fn() -> bool; 2] = [
        || api::cpu_down(last_cpu()).is_ok(),
        || api::cpu_up(last_cpu()).is_ok(),
    ];
    for (name, operate_fn) in names.into_iter().zip(operations) {
        if last_cpu() == CpuId::BOOT {
            ktap.inapplicable(name, crate::ONE_CPU);
        } else {
            ktap.check(name, under_the_lock(operate_fn));
        }
    }
}

/// Checks what keeps a CPU from coming and going.
pub(crate) fn check(ktap: &mut Ktap) {
    on_the_way_down(ktap);
    on_the_way_up(ktap);
    under_cpus_read_lock(ktap);
}

//! References that are counted with preemption on, with a thread that loses its CPU between its
//! look at the state and its count.

use core::time::Duration;

use stillpoint::api::stop::stop_machine;
use stillpoint::api::thread;
use stillpoint::kernel::Hw;
use stillpoint::module::{Atomic, Kind, Module, ModuleState};
use stillpoint::stop_machine::StopError;
use stillpoint::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use stillpoint::time::Instant;

use kernel_support::ktap::Ktap;
use kernel_support::machine::{eventually, spin_until};

/// Whether the next count is to be held up.
static ARMED: AtomicBool = AtomicBool::new(false);
static IS_BETWEEN: AtomicBool = AtomicBool::new(false);
static GO_ON: AtomicBool = AtomicBool::new(false);

/// Counts as [`Atomic`] does, but computes for a while first, if that is armed: it is preempted
/// there by whatever wants its CPU.
struct HeldUp;

impl Kind for HeldUp {
    const KEEPS_CPU: bool = false;

    fn add(word: &AtomicU64, order: Ordering) {
        if ARMED.swap(false, Ordering::Relaxed) {
            IS_BETWEEN.store(true, Ordering::Relaxed);
            spin_until(|| GO_ON.load(Ordering::Relaxed));
        }
        Atomic::add(word, order);
    }
}

static MODULE: Module<u32, Hw, HeldUp> = Module::new();

/// The classic still point, which comes between a preempted thread's look and its count.
fn classic(_at: Instant, call_fn: &mut (dyn FnMut() + Send)) -> Result<(), StopError> {
    stop_machine(call_fn)
}

/// A module of this kind is unloaded by the classic stop, and a thread gets a reference to what
/// is gone.
pub(crate) fn misses_a_reference(ktap: &mut Ktap) {
    let loaded = MODULE.load(3, |_| Ok::<(), ()>(()), classic);
    let user = thread::spawn(|| {
        ARMED.store(true, Ordering::Relaxed);
        let got = MODULE.try_get();
        // It isn't read: its value is gone.
        let is_gone = MODULE.state_racy() == ModuleState::Unloaded;
        got.is_some() && is_gone && MODULE.references_racy() == 1
    });
    let is_between = eventually(|| IS_BETWEEN.load(Ordering::Relaxed));
    let went = MODULE.try_unload(classic);
    GO_ON.store(true, Ordering::Relaxed);
    let was_wrong = user.join();
    thread::sleep(Duration::from_millis(1));
    let missed = loaded.is_ok() && is_between && went == Ok(3) && was_wrong;
    ktap.check(
        "the classic stop misses a preempted thread's reference",
        missed,
    );
    ktap.equal("which it puts all the same", MODULE.references_racy(), 0);
}

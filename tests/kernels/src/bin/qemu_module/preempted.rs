//! References that are counted with preemption on, with a thread that loses its CPU between its
//! look at the state and its count.

use core::time::Duration;

use stillpoint::api::stop::{Stop, StopMode, stop_machine};
use stillpoint::api::thread;
use stillpoint::api::time::{self, Timer};
use stillpoint::kernel::Hw;
use stillpoint::module::{Atomic, Kind, Module, ModuleState, UnloadError};
use stillpoint::stop_machine::StopError;
use stillpoint::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use stillpoint::time::Instant;

use kernel_support::ktap::Ktap;
use kernel_support::machine::{eventually, spin_until};

/// Whether the next count is to be held up.
static ARMED: AtomicBool = AtomicBool::new(false);
static IS_BETWEEN: AtomicBool = AtomicBool::new(false);
static GO_ON: AtomicBool = AtomicBool::new(false);
/// The unload has returned.
static UNLOADED: AtomicBool = AtomicBool::new(false);

/// A slow host needs time.
const LONG: Duration = Duration::from_secs(20);

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

/// The still point that comes when no thread is preempted between the two.
fn flushed(_at: Instant, call_fn: &mut (dyn FnMut() + Send)) -> Result<(), StopError> {
    let stop = Stop::new().mode(StopMode::FlushPreempted);
    stop.before(time::deadline(LONG)).run(call_fn)
}

/// The same with a stop that flushes preempted threads: it sees the reference.
pub(crate) fn sees_a_reference(ktap: &mut Ktap) {
    GO_ON.store(false, Ordering::Relaxed);
    IS_BETWEEN.store(false, Ordering::Relaxed);
    let loaded = MODULE.load(4, |_| Ok::<(), ()>(()), flushed);
    let user = thread::spawn(|| {
        // As a public function of the kernel, which the thread is in while it takes a reference.
        let got = thread::no_flush(|| {
            ARMED.store(true, Ordering::Relaxed);
            MODULE.try_get()
        });
        spin_until(|| UNLOADED.load(Ordering::Relaxed));
        let value = got.as_deref().copied();
        let is_live = MODULE.state_racy() == ModuleState::Live;
        value == Some(4) && is_live && MODULE.references_racy() == 1
    });
    let is_between = eventually(|| IS_BETWEEN.load(Ordering::Relaxed));
    // While the stop waits for the user no other thread runs.
    let timer = Timer::new(|| GO_ON.store(true, Ordering::Relaxed));
    timer.start(time::deadline(Duration::from_millis(20)));
    let in_use = MODULE.try_unload(flushed);
    let waited = GO_ON.load(Ordering::Relaxed);
    UNLOADED.store(true, Ordering::Relaxed);
    let is_whole = user.join();
    ktap.check(
        "a stop that flushes preempted threads sees it",
        loaded.is_ok() && is_between && waited && is_whole,
    );
    ktap.equal(
        "so the module stays",
        in_use,
        Err(UnloadError::InUse { references: 1 }),
    );
    ktap.equal("until it is put", MODULE.try_unload(flushed), Ok(4));
}

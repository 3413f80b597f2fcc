//! From inside each kind of callback: whatever would wait for the operation that called it gets
//! an error at once.

use alloc::sync::Arc;
use alloc::vec::Vec;

use stillpoint::api::cpu::CpuId;
use stillpoint::api::hotplug::{
    CpuDownError, CpuUpError, EnableStep, InstallError, PrepareStep, Step, WouldDeadlock, cpu_down,
    cpu_up, cpus_read_lock_checked, disable, on_cpus, post_dead, registration_lock,
};
use stillpoint::api::sync::Mutex;

use kernel_support::machine::{leave_and_return, secondaries};
use kernel_support::unharmed::same;

/// The reasons for which a callback was refused each function.
type Refusals = Arc<Mutex<Vec<[Option<WouldDeadlock>; 8]>>>;

/// The step that callbacks try to remove.
type Victim = Arc<Mutex<Option<Step>>>;

/// Tries everything that an operation would have to end for.
fn try_all(victim: &Victim) -> [Option<WouldDeadlock>; 8] {
    let step = victim.lock().take().expect("it was put back");
    let not_removed = step.remove().expect_err("it can't be removed here");
    *victim.lock() = Some(not_removed.handle);
    let up = match cpu_up(CpuId::BOOT) {
        Err(CpuUpError::WouldDeadlock(why)) => Some(why),
        _ => None,
    };
    let down = match cpu_down(CpuId::from_index(1)) {
        Err(CpuDownError::WouldDeadlock(why)) => Some(why),
        _ => None,
    };
    let install = |installed: Result<Step, InstallError>| match installed {
        Err(InstallError::WouldDeadlock(why)) => Some(why),
        _ => None,
    };
    [
        Some(not_removed.why),
        up,
        down,
        install(on_cpus(|_| (), |_| ())),
        install(PrepareStep::new("inner").install()),
        registration_lock().err(),
        disable().err(),
        cpus_read_lock_checked().err(),
    ]
}

pub(crate) fn all() -> bool {
    let victim: Victim = Arc::new(Mutex::new(on_cpus(|_| (), |_| ()).ok()));
    let refusals = Refusals::new(Mutex::new(Vec::new()));
    let tries = || {
        let (victim, refusals) = (Arc::clone(&victim), Arc::clone(&refusals));
        move || {
            let tried = try_all(&victim);
            refusals.lock().push(tried);
        }
    };
    let all_are = |wanted: WouldDeadlock, calls: usize| {
        let seen = core::mem::take(&mut *refusals.lock());
        same("how many", seen.len(), calls)
            & seen.iter().all(|tried| {
                let mut all = [Some(wanted); 8];
                // After a CPU's end it may be read.
                if wanted == WouldDeadlock::AddsOrRemoves {
                    all[7] = None;
                }
                same("refused", *tried, all)
            })
    };
    let all = secondaries().len() + 1;
    let others = secondaries().len();

    let (start, stop) = (tries(), tries());
    let step = EnableStep::new("inside")
        .startup(move |_| {
            start();
            Ok(())
        })
        .teardown(move |_| {
            stop();
            Ok(())
        })
        .install();
    let mut sound = step.is_ok() & all_are(WouldDeadlock::PerCpu, all);
    sound &= leave_and_return(|| true) & all_are(WouldDeadlock::PerCpu, 2 * others);
    drop(step);
    sound &= all_are(WouldDeadlock::PerCpu, all);

    let (start, stop) = (tries(), tries());
    let step = PrepareStep::new("inside")
        .startup(move |_| {
            start();
            Ok(())
        })
        .teardown(move |_| stop())
        .install();
    sound &= step.is_ok() & all_are(WouldDeadlock::HoldsIt, all);
    sound &= leave_and_return(|| true) & all_are(WouldDeadlock::HoldsIt, 2 * others);
    drop(step);
    sound &= all_are(WouldDeadlock::HoldsIt, all);

    let stop = tries();
    let step = post_dead("inside", move |_| stop());
    sound &= step.is_ok() & leave_and_return(|| true);
    sound &= all_are(WouldDeadlock::AddsOrRemoves, others);
    // On removal it isn't called.
    drop(step);
    sound &= refusals.lock().is_empty();
    let victim = victim.lock().take();
    sound & victim.is_some_and(|step| step.remove().is_ok())
}

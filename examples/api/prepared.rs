use core::sync::atomic::{AtomicUsize, Ordering};

use stillpoint::api::hotplug::{
    InitStep, InstallError, PrepareStep, RegistrationGuard, Step, registration_lock,
};

static CPUS: AtomicUsize = AtomicUsize::new(0);

/// Counts the CPUs that are there, and keeps the count right. Between the count and the
/// installation no CPU comes or goes, because the guard is held all the time.
pub(crate) fn count() -> Result<Step, InstallError> {
    let guard = registration_lock()?;
    CPUS.store(guard.online().count(), Ordering::Relaxed);
    keep_count(&guard)
}

fn keep_count(guard: &RegistrationGuard) -> Result<Step, InstallError> {
    PrepareStep::new("count")
        .startup(|_cpu| {
            CPUS.fetch_add(1, Ordering::Relaxed);
            Ok(())
        })
        .teardown(|_cpu| {
            CPUS.fetch_sub(1, Ordering::Relaxed);
        })
        .install_nocalls_under(guard)
}

static CALLED: AtomicUsize = AtomicUsize::new(0);
static ARRIVED: AtomicUsize = AtomicUsize::new(0);
static LEFT: AtomicUsize = AtomicUsize::new(0);

/// Counts how often a CPU is called from now on, and how often one arrives and leaves. The CPUs
/// that are there don't matter, so no guard is needed.
pub(crate) fn watch() -> Result<[Step; 2], InstallError> {
    let calls = PrepareStep::new("calls").startup(|_cpu| {
        CALLED.fetch_add(1, Ordering::Relaxed);
        Ok(())
    });
    // On the CPU itself, with IRQs masked.
    let arrivals = InitStep::new("arrivals")
        .startup(|_cpu| {
            ARRIVED.fetch_add(1, Ordering::Relaxed);
        })
        .teardown(|_cpu| {
            LEFT.fetch_add(1, Ordering::Relaxed);
        });
    Ok([calls.install_nocalls()?, arrivals.install_nocalls()?])
}

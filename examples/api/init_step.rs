use stillpoint::api::cpu::{CpuId, online_racy};
use stillpoint::api::hotplug::{InitStep, InstallError, Step, registration_lock};
use stillpoint::api::stop::Stop;

/// Has `set_fn` called on all CPUs at the same moment, nothing else running: now, and each time that
/// a CPU comes.
pub(crate) fn set_together(set_fn: fn(CpuId)) -> Result<Step, InstallError> {
    let guard = registration_lock()?;
    let now = Stop::new().run_on_each(&guard.online(), set_fn);
    assert!(now.is_ok(), "all are online, and there is no deadline");
    let step = InitStep::new("set").stops_machine().startup(move |cpu| {
        let mut cpus = online_racy(); // Exact here: no other CPU comes or goes.
        cpus.insert(cpu);
        let stopped = Stop::new().from_inactive_cpu().run_on_each(&cpus, set_fn);
        assert!(stopped.is_ok(), "all of them take part");
    });
    step.install_nocalls_under(&guard)
}

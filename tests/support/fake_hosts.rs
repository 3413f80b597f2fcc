//! What a fake machine of one CPU is never asked for: grace periods, calls, stops, hotplug.

use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::hotplug::{ApRefusal, Hotplug, HotplugHost, Life, Parked};
use stillpoint::platform::{OutOfStacks, PowerState, PsciError};
use stillpoint::rcu::{GraceHost, GracePeriods};
use stillpoint::smp::call::{CallHost, Calls};
use stillpoint::stop_machine::{LateCpu, LateStop, StopHost, StopMachine};
use stillpoint::sync::atomic::AtomicU32;

use super::{Baton, Fake};

impl GraceHost for Fake {
    fn grace_periods() -> &'static GracePeriods<Fake> {
        unreachable!("no grace period on one CPU")
    }
}

impl CallHost for Fake {
    fn calls() -> &'static Calls<Fake> {
        unreachable!("there is no other CPU to call")
    }
}

impl StopHost for Fake {
    fn stop_machine() -> &'static StopMachine<Fake> {
        unreachable!("no test stops the fake machine")
    }

    fn stop_is_late(_: &LateStop<'_>) {
        unreachable!("no test stops the fake machine")
    }

    fn works_are_late(_: &CpuMask, _: &dyn Fn(CpuId) -> LateCpu) {
        unreachable!("no test stops the fake machine")
    }

    fn still_point_is_late(_: &LateStop<'_>) {
        unreachable!("no test stops the fake machine")
    }
}

impl HotplugHost for Fake {
    fn hotplug() -> &'static Hotplug<Fake> {
        unreachable!("the table's callbacks are not run")
    }

    fn prepare_boot_record(_: CpuId) -> Result<(), OutOfStacks> {
        unreachable!("no CPU comes or goes")
    }

    fn prepare_area(_: CpuId) -> Result<(), OutOfStacks> {
        unreachable!("no CPU comes or goes")
    }

    fn empty_heap_cache(_: CpuId) {
        unreachable!("no CPU comes or goes")
    }

    fn idle_context(_: CpuId) -> Baton {
        unreachable!("no CPU comes or goes")
    }

    fn handshake_word(_: CpuId) -> &'static AtomicU32 {
        unreachable!("no CPU comes or goes")
    }

    fn refusal(_: CpuId) -> Option<(Life, ApRefusal)> {
        unreachable!("no CPU comes or goes")
    }

    fn off_refused(_: CpuId) -> Option<PsciError> {
        unreachable!("no CPU comes or goes")
    }

    fn parked(_: CpuId) -> Option<Parked> {
        unreachable!("no CPU comes or goes")
    }

    fn is_held(_: CpuId) -> bool {
        unreachable!("no CPU comes or goes")
    }

    fn set_held(_: CpuId, _: bool) {
        unreachable!("no CPU comes or goes")
    }

    fn cpu_on(_: CpuId, _: Life) -> Result<(), PsciError> {
        unreachable!("no CPU comes or goes")
    }

    fn can_turn_off(_: CpuId) -> Result<(), PsciError> {
        unreachable!("no CPU comes or goes")
    }

    fn power_state(_: CpuId) -> Result<PowerState, PsciError> {
        unreachable!("no CPU comes or goes")
    }

    fn cpu_off(_: CpuId) -> ! {
        unreachable!("no CPU comes or goes")
    }

    fn disable_cpu_interface(_: CpuId) {
        unreachable!("no CPU comes or goes")
    }

    fn synchronize_context() {
        unreachable!("no CPU comes or goes")
    }

    fn init_cpu(_: CpuId) {
        unreachable!("no CPU comes or goes")
    }

    fn irqchip_startup(_: CpuId) {
        unreachable!("no CPU comes or goes")
    }

    fn irqchip_teardown(_: CpuId) {
        unreachable!("no CPU comes or goes")
    }

    fn move_interrupts(_: CpuId) {
        unreachable!("no CPU comes or goes")
    }

    fn restore_interrupts(_: CpuId) {
        unreachable!("no CPU comes or goes")
    }

    fn timer_startup(_: CpuId) {
        unreachable!("no CPU comes or goes")
    }

    fn timer_teardown(_: CpuId) {
        unreachable!("no CPU comes or goes")
    }
}

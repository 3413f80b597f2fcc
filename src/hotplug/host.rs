//! What hotplug needs of the machine, beyond threads and stops.

use crate::cpu::CpuId;
use crate::hotplug::{ApRefusal, Hotplug, Life, Parked, Step, StepContext, steps};
use crate::platform::{OutOfStacks, PowerState, PsciError};
use crate::rcu::GraceHost;
use crate::stop_machine::StopHost;
use crate::sync::atomic::AtomicU32;

/// Implemented by the target's `Hw`.
pub trait HotplugHost: StopHost + GraceHost {
    /// Returns the one instance.
    fn hotplug() -> &'static Hotplug<Self>;

    /// Makes `cpu`'s boot record and entry stack, or readies those that it has
    /// from an earlier time, its refusal cleared.
    ///
    /// # Context
    /// The control CPU; `cpu` was never started, or firmware has said since that it
    /// is off.
    ///
    /// # Errors
    /// [`OutOfStacks`].
    fn prepare_boot_record(cpu: CpuId) -> Result<(), OutOfStacks>;

    /// Makes what the CPU itself needs beyond that: interrupt and overflow
    /// stacks. Kept for the next time.
    ///
    /// # Errors
    /// [`OutOfStacks`].
    fn prepare_area(cpu: CpuId) -> Result<(), OutOfStacks>;

    /// An operation on CPUs is over, and its locks are free.
    ///
    /// # Context
    /// Thread.
    fn operation_over() {}

    /// Returns the state table. A host test's table has steps that fail where these can't.
    fn steps() -> &'static [Step<StepContext>] {
        steps::<Self>()
    }

    /// Gives back the free blocks of heap that `cpu` keeps, and that are kept for it.
    ///
    /// # Context
    /// The control CPU; `cpu` is off or parked, as control has seen, or has not
    /// come beyond its boot record since it was.
    fn empty_heap_cache(cpu: CpuId);

    /// Returns a context for `cpu`'s idle thread, whose stack is the entry stack of its
    /// boot record.
    fn idle_context(cpu: CpuId) -> Self::Context;

    /// Returns the handshake word, in the boot record.
    fn handshake_word(cpu: CpuId) -> &'static AtomicU32;

    /// Returns why the CPU refused itself, from its boot record, and in which of its lives.
    fn refusal(cpu: CpuId) -> Option<(Life, ApRefusal)>;

    /// Returns firmware's answer to the last CPU_OFF of `cpu`, if that returned.
    fn off_refused(cpu: CpuId) -> Option<PsciError>;

    /// Returns why the CPU waits in the parking pen, if it does.
    fn parked(cpu: CpuId) -> Option<Parked>;

    /// Returns whether a test holds the CPU at its entry.
    ///
    /// # Context
    /// `cpu` itself; reads only its boot record.
    fn is_held(cpu: CpuId) -> bool;

    /// Has `cpu` wait at its entry, or go on: see [`Hotplug::hold_at_entry`].
    fn set_held(cpu: CpuId, held: bool);

    /// CPU_ON, or the release from the pen: the CPU will run [`Hotplug::arrive`], or
    /// refuse itself with `life` beside the reason.
    ///
    /// # Errors
    /// What firmware answered.
    fn cpu_on(cpu: CpuId, life: Life) -> Result<(), PsciError>;

    /// Asks whether firmware would turn the CPU off.
    ///
    /// # Errors
    /// The refusal to expect.
    fn can_turn_off(cpu: CpuId) -> Result<(), PsciError>;

    /// Returns the answer of AFFINITY_INFO; a CPU in the pen is off.
    ///
    /// # Errors
    /// What firmware answered.
    fn power_state(cpu: CpuId) -> Result<PowerState, PsciError>;

    /// Turns this CPU, which is `cpu`, off. If firmware refuses, the CPU goes to the pen;
    /// where the pen has no room, it stays in a WFI for ever and touches nothing.
    ///
    /// # Context
    /// `cpu` itself, IRQs masked, nothing left to run.
    fn cpu_off(cpu: CpuId) -> !;

    /// Turns this CPU's interrupt interface off.
    fn disable_cpu_interface(cpu: CpuId);

    /// The first act after SHOULD_ONLINE: ISB.
    fn synchronize_context();

    /// `init:cpu`: the system registers of this CPU.
    fn init_cpu(cpu: CpuId);
    /// `init:irqchip`, startup.
    fn irqchip_startup(cpu: CpuId);
    /// `init:irqchip`, teardown.
    fn irqchip_teardown(cpu: CpuId);
    /// `enable:irq-affinity`, startup: has `cpu` serve interrupts of devices. Those that rest
    /// because none of their CPUs was there go to it.
    ///
    /// # Context
    /// Thread on `cpu`; for the boot CPU the boot.
    fn restore_interrupts(cpu: CpuId);
    /// `enable:irq-affinity`, teardown: moves the interrupts of devices that go to `cpu`,
    /// which has left `active`, to a CPU that serves them.
    ///
    /// # Context
    /// Thread on `cpu`.
    fn move_interrupts(cpu: CpuId);

    /// `init:timer`, startup.
    fn timer_startup(cpu: CpuId);
    /// `init:timer`, teardown.
    fn timer_teardown(cpu: CpuId);
}

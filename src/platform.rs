//! The contract between the pure kernel and the machine under it.
//!
//! [`Platform`] is a trait of associated functions without `self`: it costs
//! nothing on the target, where the one `Hw` implements it from the drivers, and
//! a host test implements it with state per thread. The driver traits
//! ([`IrqChip`], [`CpuOps`], [`Console`]) are what `drivers` and `arch` hand to
//! `kernel`, chosen at boot from the device tree.

use core::fmt;
use core::time::Duration;

use crate::cpu::{CpuId, CpuMask, CpuMasks, Mpidr};
use crate::sync::{IrqGuard, PreemptGuard, Wait};
use crate::time::{Frequency, Instant};

/// Software generated interrupts, by what they ask for. The discriminant is the
/// interrupt number, below [`OUR_SGI_COUNT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Sgi {
    /// Ends the sleep of a `WaitPoint`; its handler is empty.
    Wake = 0,
    /// The machine has panicked: stop where you are.
    Panic = 1,
    /// A thread was made runnable on your run queue.
    Reschedule = 2,
    /// A work was queued on your stopper.
    Stop = 3,
    /// A grace period waits for a quiescent state of yours.
    GracePeriod = 4,
    /// Something that a thread of this CPU waits for has happened.
    Event = 5,
    /// A function was queued for you to run.
    Call = 6,
}

impl Sgi {
    /// All SGIs that have a meaning.
    pub const ALL: [Sgi; 7] = [
        Sgi::Wake,
        Sgi::Panic,
        Sgi::Reschedule,
        Sgi::Stop,
        Sgi::GracePeriod,
        Sgi::Event,
        Sgi::Call,
    ];

    /// The interrupt number, 0 to 6.
    pub const fn number(self) -> u8 {
        self as u8
    }
}

/// How many SGIs a GIC has (IHI 0069, INTIDs 0 to 15).
pub const SGI_COUNT: usize = 16;

/// How many of them are ours: 0 to 7. The others are secure software's, by what Arm
/// recommends and TF-A does; see [`crate::device::gic`]. They are never sent, turned on
/// or set up.
pub const OUR_SGI_COUNT: usize = 8;

/// An interrupt as [`IrqChip::acknowledge`] returns it: what
/// [`IrqChip::end`] must be given back, unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IrqToken(pub u32);

/// What interrupt a token stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Irq {
    /// SGI 0 to 15.
    Sgi(u8),
    /// A private interrupt of this CPU, INTID 16 to 31.
    Ppi(u32),
    /// A shared interrupt, INTID 32 and up.
    Spi(u32),
}

/// Whether a line is level or edge triggered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// Pending while the line is high.
    Level,
    /// Pending from a rising edge on.
    Edge,
}

/// An interrupt controller. All methods may be called on any CPU with IRQs
/// masked; those that speak of "this CPU" touch nothing of another one.
pub trait IrqChip: Sync {
    /// Readies this CPU's part before it says ALIVE: redistributor awake
    /// (bounded wait), priorities set, every private interrupt off but wake and
    /// panic, pending and active state of our SGIs and all PPIs cleared, running
    /// priority checked to be idle, CPU interface on with the priority mask
    /// open. Takes no lock.
    ///
    /// All of it has arrived on return, for another CPU to send SGIs to this one.
    ///
    /// # Errors
    /// [`IrqChipError`] if the chip has no part for this CPU, or that can't be
    /// used.
    fn early_init_cpu(&self, cpu: CpuId) -> Result<(), IrqChipError>;

    /// Turns our SGIs of this CPU on (`init:irqchip`, startup). Takes no lock.
    fn startup_cpu(&self, cpu: CpuId);

    /// Turns off all private interrupts of this CPU but wake and panic
    /// (`init:irqchip`, teardown). Takes no lock.
    fn teardown_cpu(&self, cpu: CpuId);

    /// Turns this CPU's interface off: the last act before CPU_OFF. Only after
    /// [`IrqChip::early_init_cpu`] has succeeded here.
    fn disable_cpu_interface(&self);

    /// As [`IrqChip::disable_cpu_interface`], for a CPU that refuses itself: in
    /// [`IrqChip::early_init_cpu`], or before that was called. Touches no register that
    /// may not be there.
    fn disable_refused_interface(&self);

    /// Whether this CPU, which is `cpu`, can write its priority mask and send SGIs. It
    /// can from the success of [`IrqChip::early_init_cpu`] on; where a chip's registers
    /// are there in any state, earlier. Touches no register that may not be there. Takes no lock.
    fn can_send(&self, cpu: CpuId) -> bool;

    /// Proves with a self-SGI at each of the two priorities, the mask closed,
    /// that only wake and panic get through. Boot CPU, IRQs masked, once.
    ///
    /// # Errors
    /// [`IrqChipError::PrioritiesUnusable`] if they don't do that here.
    fn check_priorities(&self) -> Result<(), IrqChipError>;

    /// Turns the private interrupt `ppi` of this CPU on or off.
    fn enable_ppi(&self, cpu: CpuId, ppi: u32, trigger: Trigger, on: bool);

    /// Routes the shared interrupt `spi` to `cpu` and turns it on.
    fn enable_spi(&self, spi: u32, trigger: Trigger, cpu: CpuId);

    /// Takes the most urgent pending interrupt, if the mask lets one through.
    fn acknowledge(&self) -> Option<(IrqToken, Irq)>;

    /// Ends an interrupt: priority drop and deactivation.
    fn end(&self, token: IrqToken);

    /// Writes this CPU's priority mask; the write has taken effect on return.
    fn set_priority_mask(&self, mask: u8);

    /// Sends SGI `number` to every CPU of `targets`, this one included if it is
    /// in there, in as few register writes as the hardware allows. Stores
    /// before it are visible to the handlers. Every write is counted.
    ///
    /// # Panics
    /// If `number` is none of ours, 0 to 7.
    fn send_sgi(&self, number: u8, targets: &CpuMask);

    /// As [`IrqChip::send_sgi`], from this CPU, which is `me`, to `target` alone:
    /// one register write.
    ///
    /// # Panics
    /// If `number` is none of ours, 0 to 7.
    fn send_sgi_to(&self, number: u8, me: CpuId, target: CpuId);

    /// How many register writes [`IrqChip::send_sgi`] and its like have made for `number`, by
    /// all CPUs together.
    fn sgi_writes(&self, number: u8) -> u64;

    /// A name for people, such as `GICv3`.
    fn name(&self) -> &'static str;
}

/// Why an interrupt controller can't serve a CPU or a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IrqChipError {
    /// No redistributor in any region has this CPU's affinity.
    NoRedistributor(Mpidr),
    /// The redistributor's `ChildrenAsleep` stayed set.
    RedistributorAsleep(Mpidr),
    /// An interrupt of another incarnation is still active: its priority runs.
    StaleRunningPriority(u8),
    /// The priority mask doesn't separate wake and panic from the rest.
    PrioritiesUnusable,
    /// The system register interface can't be turned on.
    NoSystemRegisters,
    /// A GICv2 has no CPU interface for this CPU.
    NoCpuInterface(Mpidr),
    /// Firmware keeps this CPU's SGIs for secure software.
    SgisReserved(Mpidr),
}

impl fmt::Display for IrqChipError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRedistributor(mpidr) => {
                write!(f, "no redistributor has the affinity {mpidr}")
            }
            Self::RedistributorAsleep(mpidr) => {
                write!(f, "the redistributor of {mpidr} does not wake")
            }
            Self::StaleRunningPriority(priority) => {
                write!(f, "an interrupt of priority {priority:#x} is still active")
            }
            Self::PrioritiesUnusable => {
                f.write_str("the priority mask does not separate wake and panic from the rest")
            }
            Self::NoSystemRegisters => {
                f.write_str("the GIC system registers can not be turned on (ICC_SRE_EL1.SRE)")
            }
            Self::NoCpuInterface(mpidr) => {
                write!(
                    f,
                    "the GIC has no CPU interface for {mpidr} (GICD_ITARGETSR0)"
                )
            }
            Self::SgisReserved(mpidr) => {
                write!(
                    f,
                    "the SGIs of {mpidr} are kept for secure software (GICD_IGROUPR0)"
                )
            }
        }
    }
}

/// A refusal by PSCI firmware (DEN 0022, return error codes).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PsciError {
    /// NOT_SUPPORTED, -1.
    NotSupported,
    /// INVALID_PARAMETERS, -2: no such CPU, for CPU_ON.
    InvalidParameters,
    /// DENIED, -3: a policy.
    Denied,
    /// ALREADY_ON, -4.
    AlreadyOn,
    /// ON_PENDING, -5.
    OnPending,
    /// INTERNAL_FAILURE, -6.
    InternalFailure,
    /// NOT_PRESENT, -7.
    NotPresent,
    /// DISABLED, -8.
    Disabled,
    /// INVALID_ADDRESS, -9.
    InvalidAddress,
    /// A value that the specification doesn't have.
    Unknown(i64),
}

impl PsciError {
    /// The error that `code` stands for: the inverse of [`PsciError::code`].
    pub const fn from_code(code: i64) -> PsciError {
        match code {
            -1 => Self::NotSupported,
            -2 => Self::InvalidParameters,
            -3 => Self::Denied,
            -4 => Self::AlreadyOn,
            -5 => Self::OnPending,
            -6 => Self::InternalFailure,
            -7 => Self::NotPresent,
            -8 => Self::Disabled,
            -9 => Self::InvalidAddress,
            other => Self::Unknown(other),
        }
    }

    /// The value that firmware returned.
    pub const fn code(self) -> i64 {
        match self {
            Self::NotSupported => -1,
            Self::InvalidParameters => -2,
            Self::Denied => -3,
            Self::AlreadyOn => -4,
            Self::OnPending => -5,
            Self::InternalFailure => -6,
            Self::NotPresent => -7,
            Self::Disabled => -8,
            Self::InvalidAddress => -9,
            Self::Unknown(code) => code,
        }
    }
}

impl fmt::Display for PsciError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::NotSupported => "NOT_SUPPORTED",
            Self::InvalidParameters => "INVALID_PARAMETERS",
            Self::Denied => "DENIED",
            Self::AlreadyOn => "ALREADY_ON",
            Self::OnPending => "ON_PENDING",
            Self::InternalFailure => "INTERNAL_FAILURE",
            Self::NotPresent => "NOT_PRESENT",
            Self::Disabled => "DISABLED",
            Self::InvalidAddress => "INVALID_ADDRESS",
            Self::Unknown(_) => "unknown code",
        };
        write!(f, "PSCI {name} ({})", self.code())
    }
}

/// What firmware says of a CPU's power (DEN 0022, AFFINITY_INFO).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PowerState {
    /// ON.
    On,
    /// OFF. Alone it proves nothing: firmware says so for a while after a
    /// successful CPU_ON too.
    Off,
    /// ON_PENDING.
    OnPending,
}

/// Turns CPUs on and off: PSCI, or the pen where a CPU has a spin-table. Chosen for
/// each CPU from the device tree.
pub trait CpuOps: Sync {
    /// Starts `target` at the physical address `entry` with `context` in x0.
    ///
    /// # Errors
    /// What firmware answered; nothing is retried here.
    ///
    /// # Safety
    /// `entry` must be code that runs with MMU and caches off at the exception
    /// level of the caller's boot, and all it reads must be clean to the point
    /// of coherency and stay so until it has arrived.
    unsafe fn cpu_on(&self, target: Mpidr, entry: u64, context: u64) -> Result<(), PsciError>;

    /// Turns this CPU off. Returns only if firmware refuses.
    ///
    /// Context: IRQs masked, no interrupt active, nothing left to run here.
    fn cpu_off(&self) -> PsciError;

    /// Whether firmware would turn `cpu` off if asked, as far as it says
    /// beforehand (a resident trusted OS forbids it; DEN 0022,
    /// MIGRATE_INFO_TYPE).
    ///
    /// # Errors
    /// The refusal to expect.
    fn can_turn_off(&self, target: Mpidr) -> Result<(), PsciError>;

    /// Asks for the power state of `target`.
    ///
    /// # Errors
    /// What firmware answered.
    fn affinity_info(&self, target: Mpidr) -> Result<PowerState, PsciError>;

    /// Turns the machine off; returns only if that can't be done.
    fn system_off(&self);

    /// Resets the machine; returns only if that can't be done.
    fn system_reset(&self);

    /// A name for people, such as `PSCI 1.1 (hvc)`.
    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result;
}

/// What a serial console has received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// A byte.
    Byte(u8),
    /// Some bytes were lost or damaged here: the next byte doesn't follow the one
    /// before.
    Lost,
}

/// A serial console. Its caller holds the console lock, or has broken it.
pub trait Console: Sync {
    /// Puts `byte` out if there is room within about `10 ms` by the counter;
    /// returns whether it did. Never waits longer, so that no console can wedge
    /// the kernel; after one failure it doesn't wait again until there is room.
    fn put(&self, byte: u8) -> bool;

    /// Takes what has arrived, if anything has.
    fn get(&self) -> Option<Received>;

    /// Turns the receive interrupt on or off.
    fn enable_receive_interrupt(&self, on: bool);

    /// Acknowledges the receive interrupt at the device.
    fn clear_receive_interrupt(&self);
}

/// What a CPU may have to do at a preemption point, or at the end of a switch. The
/// discriminant is a bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum PreemptWork {
    /// The running thread is to lose the CPU.
    Reschedule = 1,
    /// A grace period waits for the quiescent state.
    GracePeriod = 2,
    /// The thread that was switched away from is to be looked after: by the next
    /// one, before it does anything else.
    Previous = 4,
}

/// No stack is left for a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfStacks;

impl fmt::Display for OutOfStacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no stack is left in the pool")
    }
}

impl<P: Platform> PreemptGuard<P> {
    /// The CPU that this runs on, for as long as the guard lives.
    pub fn cpu(&self) -> CpuId {
        P::this_cpu()
    }
}

impl<P: Platform> IrqGuard<P> {
    /// The CPU that this runs on, for as long as the guard lives.
    pub fn cpu(&self) -> CpuId {
        P::this_cpu()
    }
}

/// What threads and hotplug need from the machine beyond [`Wait`].
pub trait Platform: Wait + Sized + Send + Sync {
    /// A thread's stack and its registers while it doesn't run. Opaque here.
    type Context: Send + Sync;

    /// A new thread's context: its first switch enters `entry(arg)` with IRQs
    /// masked, on a stack of its own, with a preempt count of 0. `arg` is also what
    /// [`Platform::thread_word`] returns to it.
    ///
    /// # Errors
    /// [`OutOfStacks`] if the pool is empty.
    fn new_context(
        name: &str,
        entry: extern "C" fn(usize) -> !,
        arg: usize,
    ) -> Result<Self::Context, OutOfStacks>;

    /// Gives back the stack of the thread whose context this is, which will never run
    /// again. What is left of the context may live on.
    ///
    /// # Context
    /// Any, IRQs masked.
    ///
    /// # Safety
    /// No CPU runs on that stack, and none will.
    unsafe fn release_stack(context: &Self::Context);

    /// Saves the running thread in `from` and goes on with `to`. Returns when
    /// somebody switches back to `from`.
    ///
    /// Context: IRQs masked.
    ///
    /// # Safety
    /// `from` is the context of the thread that runs here; `to` is that of a
    /// thread of this CPU which runs nowhere; both stay where they are.
    unsafe fn switch(from: &Self::Context, to: &Self::Context);

    /// The word that the running thread was made with, or that it has set; 0 before
    /// that. It goes with the thread, whatever CPU it is on.
    fn thread_word() -> usize;

    /// Sets the running thread's word: for an idle thread, which nobody made.
    ///
    /// # Safety
    /// It is what [`Platform::new_context`] would have been given for that thread.
    unsafe fn set_thread_word(word: usize);

    /// The CPU that this runs on. Stable only with preemption or IRQs off.
    fn this_cpu() -> CpuId;

    /// The counter, now. Ordered after what comes before it.
    fn now() -> Instant;

    /// The counter's frequency.
    fn frequency() -> Frequency;

    /// The moment `time` from now.
    fn deadline(time: Duration) -> Instant {
        Self::now().after_ticks(Self::frequency().duration_to_ticks(time))
    }

    /// Arms this CPU's one-shot timer for `at`, or turns it off with `None`.
    ///
    /// Context: IRQs masked.
    fn arm_timer(at: Option<Instant>);

    /// Has this CPU's timer interrupt at `at` at the latest. One that comes when nothing is
    /// due does no harm: its handler arms the timer anew.
    ///
    /// Context: IRQs masked.
    fn arm_timer_by(at: Instant);

    /// Sends `sgi` to `targets` (see [`IrqChip::send_sgi`]).
    fn send_sgi(sgi: Sgi, targets: &CpuMask);

    /// Sends `sgi` from this CPU, which is `me`, to `target` alone (see
    /// [`IrqChip::send_sgi_to`]).
    fn send_sgi_to(sgi: Sgi, me: CpuId, target: CpuId);

    /// Says whether this CPU has `work` to do at its next preemption point: what
    /// makes [`crate::sync::Exec::preempt_point`] more than a load and a test.
    ///
    /// Context: IRQs masked.
    fn set_preempt_work(work: PreemptWork, pending: bool);

    /// Whether [`Platform::set_preempt_work`] said so last, on this CPU.
    fn has_preempt_work(work: PreemptWork) -> bool;

    /// Which CPUs there are, and how far each has come.
    fn masks() -> &'static CpuMasks;

    /// Opens this CPU's priority mask, or closes it to all but wake, panic and the timer.
    fn set_priority_mask_closed(closed: bool);
}

//! Interrupts: what a CPU can be told by one, and what an interrupt controller does.

#![forbid(unsafe_code)]

use core::fmt;

use crate::cpu::{CpuId, CpuMask, Mpidr};

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

    /// Returns the SGI of interrupt number `number`, or `None` if that has no meaning.
    pub const fn from_number(number: u8) -> Option<Sgi> {
        if (number as usize) < Sgi::ALL.len() {
            Some(Sgi::ALL[number as usize])
        } else {
            None
        }
    }

    /// Returns the interrupt number, 0 to 6.
    pub const fn number(self) -> u8 {
        self as u8
    }
}

/// [`Sgi::from_number`] looks in [`Sgi::ALL`]: each stands at its number.
const _: () = {
    let mut number = 0;
    while number < Sgi::ALL.len() {
        assert!(Sgi::ALL[number] as usize == number);
        number += 1;
    }
};

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
    /// An SGI that has a meaning.
    Sgi(Sgi),
    /// Another SGI, by its number, at most 15: one that only tests send, or one of
    /// secure software's, which is never on.
    UnknownSgi(u8),
    /// A private interrupt of this CPU, INTID 16 to 31.
    Ppi(u32),
    /// A shared interrupt, INTID 32 and up.
    Spi(u32),
}

impl Irq {
    /// Returns the interrupt of SGI `number`, 0 to 15.
    pub const fn from_sgi_number(number: u8) -> Irq {
        match Sgi::from_number(number) {
            Some(sgi) => Irq::Sgi(sgi),
            None => Irq::UnknownSgi(number),
        }
    }
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

    /// Returns whether this CPU, which is `cpu`, can write its priority mask and send
    /// SGIs. It can from the success of [`IrqChip::early_init_cpu`] on; where a chip's
    /// registers are there in any state, earlier. Touches no register that may not be
    /// there. Takes no lock.
    fn can_send(&self, cpu: CpuId) -> bool;

    /// Proves with a self-SGI at each of the two priorities, the mask closed,
    /// that only wake and panic get through. Boot CPU, IRQs masked, once.
    ///
    /// # Errors
    /// [`IrqChipError::PrioritiesUnusable`] if they don't do that here.
    fn check_priorities(&self) -> Result<(), IrqChipError>;

    /// Turns the private interrupt `ppi` of this CPU, which is `cpu`, on.
    fn enable_ppi(&self, cpu: CpuId, ppi: u32, trigger: Trigger);

    /// Turns the private interrupt `ppi` of this CPU, which is `cpu`, off.
    fn disable_ppi(&self, cpu: CpuId, ppi: u32);

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

    /// Returns how many register writes [`IrqChip::send_sgi`] and its like have made for
    /// `number`, by all CPUs together.
    fn sgi_writes(&self, number: u8) -> u64;

    /// Returns a name for people, such as `GICv3`.
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

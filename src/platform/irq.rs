//! Interrupts, and the trait of an interrupt controller.

#![forbid(unsafe_code)]

use core::fmt;

use crate::cpu::{CpuId, CpuMask, Mpidr};
use crate::platform::LineChip;

/// A software generated interrupt, by its meaning. The discriminant is the interrupt number,
/// below [`OUR_SGI_COUNT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Sgi {
    /// Ends the sleep of a `WaitPoint`; its handler is empty.
    Wake = 0,
    /// Another CPU has panicked, and the receiver must stop; or another CPU asks where the
    /// receiver is.
    Panic = 1,
    /// The receiver must look at its run queue again: a thread has come, or the running
    /// thread must leave. A receiver that is idle also looks for work on other CPUs.
    Reschedule = 2,
    /// Work was queued for the receiver's stopper.
    Stop = 3,
    /// A grace period waits for a quiescent state of the receiver.
    GracePeriod = 4,
    /// An event has happened that a thread on the receiver waits for.
    Event = 5,
    /// A function was queued for the receiver to run.
    Call = 6,
}

impl Sgi {
    /// All SGIs that have a meaning, by their numbers.
    pub const ALL: [Sgi; 7] = [
        Sgi::Wake,
        Sgi::Panic,
        Sgi::Reschedule,
        Sgi::Stop,
        Sgi::GracePeriod,
        Sgi::Event,
        Sgi::Call,
    ];

    /// Returns the SGI with the interrupt number `number`, or `None` if that has no meaning.
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

    /// Returns what it is for, as `/proc/interrupts` says it: in Linux's words where Linux has it.
    pub const fn purpose(self) -> &'static str {
        match self {
            Sgi::Stop => "Stop machine interrupts",
            Sgi::Call => "Function call interrupts",
            Sgi::Reschedule => "Rescheduling interrupts",
            Sgi::GracePeriod => "RCU grace period interrupts",
            Sgi::Event => "Hotplug event interrupts",
            Sgi::Wake => "Wake interrupts",
            Sgi::Panic => "CPU stop interrupts",
        }
    }
}

// `Sgi::from_number` indexes `Sgi::ALL` by the interrupt number.
const _: () = {
    let mut number = 0;
    while number < Sgi::ALL.len() {
        assert!(Sgi::ALL[number] as usize == number);
        number += 1;
    }
};

/// How many SGIs a GIC has (IHI 0069, INTIDs 0 to 15).
pub const SGI_COUNT: usize = 16;

/// How many of them the kernel may use: 0 to 7. Arm recommends to leave the others to secure
/// software, and TF-A uses them (see [`crate::device::gic`]). The kernel never sends them,
/// turns them on or sets them up.
pub const OUR_SGI_COUNT: usize = 8;

/// The token of an acknowledged interrupt: [`IrqChip::acknowledge`] returns it, and
/// [`IrqChip::end`] takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IrqToken(pub u32);

/// An interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Irq {
    /// An SGI that has a meaning.
    Sgi(Sgi),
    /// Another SGI, by its number, at most 15: only tests send one; those of secure software
    /// are never turned on.
    UnknownSgi(u8),
    /// A private interrupt of this CPU, INTID 16 to 31.
    Ppi(u32),
    /// A shared interrupt, INTID 32 to 1019.
    Spi(u32),
    /// A message-signalled interrupt of an ITS, INTID 8192 and up.
    Lpi(u32),
}

/// INTID of the first private interrupt of a CPU (IHI 0069, INTIDs).
pub const FIRST_PPI: u32 = 16;

/// INTID of the first shared interrupt.
pub const FIRST_SPI: u32 = 32;

/// The INTID behind that of the last shared interrupt.
pub const END_OF_SPIS: u32 = 1020;

/// INTID of the first message-signalled interrupt of an ITS.
pub const FIRST_LPI: u32 = 8192;

impl Irq {
    /// Returns the interrupt for the SGI of number `number`, 0 to 15.
    pub const fn from_sgi_number(number: u8) -> Irq {
        match Sgi::from_number(number) {
            Some(sgi) => Irq::Sgi(sgi),
            None => Irq::UnknownSgi(number),
        }
    }

    /// Returns the interrupt of a device that has the number `intid`; `None` for an SGI, and for
    /// numbers without a meaning.
    pub const fn from_intid(intid: u32) -> Option<Irq> {
        match intid {
            FIRST_PPI..FIRST_SPI => Some(Irq::Ppi(intid)),
            FIRST_SPI..END_OF_SPIS => Some(Irq::Spi(intid)),
            FIRST_LPI.. => Some(Irq::Lpi(intid)),
            _ => None,
        }
    }

    /// Returns the number of the interrupt (INTID).
    pub const fn intid(self) -> u32 {
        match self {
            Irq::Sgi(sgi) => sgi.number() as u32,
            Irq::UnknownSgi(number) => number as u32,
            Irq::Ppi(intid) | Irq::Spi(intid) | Irq::Lpi(intid) => intid,
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

/// An interrupt controller. All methods may be called on any CPU with IRQs masked. A method
/// whose description says "this CPU" touches no state of another CPU. The lines of devices are
/// those of [`LineChip`].
pub trait IrqChip: LineChip {
    /// Sets up the controller's part for this CPU, before the CPU says ALIVE:
    ///
    /// - the redistributor is awake, within a limited time;
    /// - the priorities are set;
    /// - every private interrupt but wake and panic is off;
    /// - no SGI of ours and no PPI is pending or active;
    /// - no interrupt's priority is running;
    /// - the CPU interface is on, with the priority mask open.
    ///
    /// On return all of it has taken effect, so another CPU can send SGIs to this one. Takes
    /// no lock.
    ///
    /// # Errors
    /// [`IrqChipError`] if the controller has no part for this CPU, or the part can't be used.
    fn early_init_cpu(&self, cpu: CpuId) -> Result<(), IrqChipError>;

    /// Turns this CPU's SGIs on that the kernel uses (`init:irqchip`, startup). Takes no lock.
    fn startup_cpu(&self, cpu: CpuId);

    /// Turns all private interrupts of this CPU but wake and panic off
    /// (`init:irqchip`, teardown). Takes no lock.
    fn teardown_cpu(&self, cpu: CpuId);

    /// Turns this CPU's interface off, immediately before CPU_OFF. Called only on a CPU where
    /// [`IrqChip::early_init_cpu`] has succeeded.
    fn disable_cpu_interface(&self);

    /// As [`IrqChip::disable_cpu_interface`], for a CPU that can't come up, because
    /// [`IrqChip::early_init_cpu`] has failed or before that was called. Touches no register
    /// that may be missing.
    fn disable_refused_interface(&self);

    /// Returns whether this CPU, which is `cpu`, can write its priority mask and send SGIs. It
    /// can once [`IrqChip::early_init_cpu`] has succeeded, or earlier if the controller's
    /// registers can always be accessed. Touches no register that may be missing. Takes no
    /// lock.
    fn can_send(&self, cpu: CpuId) -> bool;

    /// Checks that only the more urgent of the two priorities gets through a closed mask: this
    /// CPU sends itself an SGI of each.
    ///
    /// # Context
    /// The boot CPU, IRQs masked, once.
    ///
    /// # Errors
    /// [`IrqChipError::PrioritiesUnusable`] if the mask doesn't separate them.
    fn check_priorities(&self) -> Result<(), IrqChipError>;

    /// Turns the private interrupt `ppi` of this CPU, which is `cpu`, on. It is off, as
    /// [`IrqChip::early_init_cpu`] and [`IrqChip::disable_ppi`] leave it.
    fn enable_ppi(&self, cpu: CpuId, ppi: u32, trigger: Trigger);

    /// Turns the private interrupt `ppi` of this CPU, which is `cpu`, off. It may still come
    /// until [`IrqChip::teardown_cpu`] has returned.
    fn disable_ppi(&self, cpu: CpuId, ppi: u32);

    /// Acknowledges and returns the most urgent pending interrupt, or `None` if the priority
    /// mask lets none through.
    fn acknowledge(&self) -> Option<(IrqToken, Irq)>;

    /// Ends an interrupt: drops the running priority, and deactivates the interrupt.
    fn end(&self, token: IrqToken);

    /// Writes this CPU's priority mask; the write has taken effect on return.
    fn set_priority_mask(&self, mask: u8);

    /// Sends SGI `number` to every CPU of `targets`, also to this one if it is among them, in
    /// as few register writes as the hardware allows. The handlers see all earlier stores of
    /// this CPU. Every register write is counted.
    ///
    /// # Panics
    /// If `number` is above 7.
    fn send_sgi(&self, number: u8, targets: &CpuMask);

    /// As [`IrqChip::send_sgi`], from this CPU, which is `me`, only to `target`, with one
    /// register write.
    ///
    /// # Panics
    /// If `number` is above 7.
    fn send_sgi_to(&self, number: u8, me: CpuId, target: CpuId);

    /// Returns how many register writes [`IrqChip::send_sgi`] and [`IrqChip::send_sgi_to`] have
    /// made for `number`, on all CPUs together.
    fn sgi_writes(&self, number: u8) -> u64;

    /// Returns the name that messages use, such as `GICv3`.
    fn name(&self) -> &'static str;
}

/// Why an interrupt controller can't serve a CPU or a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IrqChipError {
    /// No redistributor in any region has this CPU's affinity.
    NoRedistributor(Mpidr),
    /// The redistributor's `ChildrenAsleep` stayed set.
    RedistributorAsleep(Mpidr),
    /// An interrupt of an earlier life of the CPU is still active, with this running priority.
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

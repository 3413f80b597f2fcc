//! The interrupt controller: GICv2, for up to 8 CPUs.
//!
//! It has three parts, each in its own file: the distributor, of which there is one; the
//! bank of the distributor's registers that each CPU has to itself, at the same address
//! for all CPUs; and the CPU interface, which is banked too. `irq_chip` implements the
//! kernel's interface on them. [`crate::device::gic`] says what is written to the bank,
//! so that host tests can run it.
//!
//! # A CPU's life, as its part of the GIC sees it
//! ```text
//!   off ──early_init_cpu──▶ wake, panic ──startup_cpu──▶ our SGIs, its PPIs
//!    ▲                         │     ▲                            │
//!    └──disable_cpu_interface──┘     └────────teardown_cpu────────┘
//! ```
//!
//! # Numbers of CPU interfaces
//! An SGI names its targets by the numbers of their CPU interfaces. These need not be
//! the CPU numbers, and need not follow from the affinities. A CPU can only read
//! its own number: GICD_ITARGETSR0 gives each reader the bit of that reader. So each CPU
//! records it on its way up, before it reports ALIVE. Until then no SGI reaches the CPU.
//! A target list has eight bits, so one write reaches every set of CPUs, with the sender
//! in it or without.
//!
//! # Security states
//! The values that we write mean the same for our SGIs in each view that software can
//! have:
//!
//! | View | Our interrupts | Bit 0 of GICD_CTLR and GICC_CTLR | GICD_IGROUPRn |
//! |---|---|---|---|
//! | no Security Extensions | group 0, by IRQ as FIQEn is 0 | group 0 on | we write 0 |
//! | the non-secure one, as on a Raspberry Pi | group 1: firmware's choice | group 1 on | ignores us |
//! | the secure one | group 0, by IRQ as FIQEn is 0 | group 0 on | we write 0 |
//!
//! Bit 1 of GICD_CTLR and the aliased registers, which mean group 1 in the first
//! and the third view and nothing in the second, are left alone. In the non-secure
//! view the GIC shifts both the priorities that we write and the mask, so they keep their
//! order. [`check_priorities`](crate::platform::IrqChip::check_priorities) checks that.
//!
//! # Concurrency
//! Sending, acknowledging, ending and setting the mask take no lock. They use registers
//! of the running CPU, GICD_SGIR, whose writes are complete in themselves, and tables
//! that don't change after a CPU's first arrival. Only its own CPU accesses a bank, with
//! IRQs masked. Shared interrupts are set up under a lock, from a thread, with IRQs
//! masked.
//!
//! # Registers that abort
//! Xen (`xen/arch/arm/vgic-v2.c`) answers some accesses that the architecture allows
//! with an abort. So the driver doesn't read GICD_ICPIDR2, which holds the revision, but
//! trusts the device tree. It also reads pending state before it clears it, and writes
//! nothing if none is pending.
//!
//! # Sources
//! IHI 0048, the GICv2 architecture: Interrupt handling and prioritization;
//! Programmers' model, Distributor and CPU interface register descriptions.

mod bank;
mod cpu_interface;
mod distributor;
mod error;
mod irq_chip;

use alloc::vec::Vec;
use core::mem::size_of;
use core::ptr::{self, NonNull};

use arm_gic::gicv2::registers::{Gicc, Gicd};

use crate::cpu::Mpidr;
use crate::device::gic::{GICV2_CPU_INTERFACE_SIZE, GICV2_DISTRIBUTOR_SIZE, is_register_address};
use crate::drivers::gic::SgiWrites;
use crate::sync::atomic::AtomicU8;

use cpu_interface::CpuInterface;
use distributor::Distributor;

pub use error::GicInitError;

/// The most CPUs that a GICv2 can have: the number of bits of a target list.
pub const MAX_INTERFACES: usize = 8;

const _: () = assert!(size_of::<Gicd>() as u64 <= GICV2_DISTRIBUTOR_SIZE);
const _: () = assert!(size_of::<Gicc>() as u64 <= GICV2_CPU_INTERFACE_SIZE);

/// Returns a pointer to device registers at `address`.
///
/// # Errors
/// [`GicInitError::BadAddress`] if no GIC registers can be there.
fn device_pointer<T>(address: u64) -> Result<NonNull<T>, GicInitError> {
    let bad = GicInitError::BadAddress(address);
    if !is_register_address(address) {
        return Err(bad);
    }
    let address_here = usize::try_from(address).map_err(|_| bad)?;
    NonNull::new(ptr::with_exposed_provenance_mut(address_here)).ok_or(bad)
}

/// What the driver keeps for each CPU.
#[derive(Debug)]
struct CpuData {
    /// The CPU's affinity.
    mpidr: Mpidr,
    /// The CPU's bit in a target list; 0 before it has first come up. Stored
    /// Relaxed by the CPU itself, the same value each time, and loaded Relaxed.
    /// The sender of an SGI has loaded the target's ALIVE word or its online bit with
    /// Acquire, and the target stored both with Release after this.
    interface: AtomicU8,
    /// How many register writes the CPU has made to send SGIs.
    sgi_writes: SgiWrites,
}

/// A machine's GICv2.
#[derive(Debug)]
pub struct GicV2 {
    distributor: Distributor,
    cpu_interface: CpuInterface,
    cpus: Vec<CpuData>,
}

// SAFETY: the pointers in it are to device registers, which any CPU may use. `Distributor`
// and `CpuInterface` say why each register has one user at a time, or is only written
// with complete values.
unsafe impl Send for GicV2 {}
// SAFETY: as for `Send`; what all CPUs share is under a lock or atomic.
unsafe impl Sync for GicV2 {}

impl GicV2 {
    /// Sets the distributor up and returns the GIC: every shared interrupt is off, none is
    /// pending or active. Doesn't touch the part of any CPU. Allocates.
    ///
    /// * `distributor` — address of the distributor's registers
    /// * `cpu_interface` — address of the CPU interface's registers
    /// * `cpus` — the affinity of each CPU, by CPU number, the boot CPU's first
    ///
    /// If there are more CPUs than the GIC has interfaces it serves the first
    /// ones: see [`GicV2::served`].
    ///
    /// # Context
    /// Boot CPU, once.
    ///
    /// # Errors
    /// [`GicInitError`] if no GICv2 can be at these addresses, or it can't be turned on.
    ///
    /// # Safety
    /// The addresses must be those of a GICv2, [`GICV2_DISTRIBUTOR_SIZE`] and
    /// [`GICV2_CPU_INTERFACE_SIZE`] bytes from there on mapped as device memory for ever,
    /// and used by nothing else.
    pub unsafe fn new(
        distributor: u64,
        cpu_interface: u64,
        cpus: &[Mpidr],
    ) -> Result<GicV2, GicInitError> {
        // SAFETY: promised by the caller.
        let cpu_interface = unsafe { CpuInterface::new(cpu_interface) }?;
        // SAFETY: promised by the caller.
        let distributor = unsafe { Distributor::new(distributor) }?;
        let cpus = cpus
            .iter()
            .take(distributor.interfaces())
            .map(|&mpidr| CpuData {
                mpidr,
                interface: AtomicU8::new(0),
                sgi_writes: SgiWrites::new(),
            })
            .collect();
        Ok(GicV2 {
            distributor,
            cpu_interface,
            cpus,
        })
    }

    /// Returns how many of the CPUs given to [`GicV2::new`] the GIC serves: the first ones.
    /// No other CPU may be started.
    pub fn served(&self) -> usize {
        self.cpus.len()
    }
}

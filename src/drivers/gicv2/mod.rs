//! The interrupt controller: GICv2, for up to 8 CPUs.
//!
//! Three parts, a file each: the distributor, of which there is one; the bank of
//! the distributor's registers that each CPU has to itself, at an address that is
//! the same for all; and the CPU interface, banked as well. `irq_chip` joins them
//! to what the kernel asks for. What is written to the bank is in
//! [`crate::device::gic`], where host tests reach it.
//!
//! # A CPU's life, as its part of the GIC sees it
//! ```text
//!   off ──early_init_cpu──▶ wake, panic ──startup_cpu──▶ our SGIs, its PPIs
//!    ▲                         │     ▲                            │
//!    └──disable_cpu_interface──┘     └────────teardown_cpu────────┘
//! ```
//!
//! # Numbers of CPU interfaces
//! An SGI names its targets by the numbers of their CPU interfaces, which need
//! not be their CPU numbers, nor anything of their affinities. A CPU can only read
//! its own (GICD_ITARGETSR0 says to each reader "you"), so each writes it down on
//! its way up, before it says ALIVE; until then no SGI reaches it. A list has eight
//! bits: every set of CPUs is one write, with the sender in it or without.
//!
//! # Security states
//! What is written means the same in each view that software can have, for the SGIs
//! that are ours:
//!
//! | View | Our interrupts | Bit 0 of GICD_CTLR and GICC_CTLR | GICD_IGROUPRn |
//! |---|---|---|---|
//! | no Security Extensions | group 0, by IRQ as FIQEn is 0 | group 0 on | we write 0 |
//! | the non-secure one, as on a Raspberry Pi | group 1: firmware's choice | group 1 on | ignores us |
//! | the secure one | group 0, by IRQ as FIQEn is 0 | group 0 on | we write 0 |
//!
//! Bit 1 of GICD_CTLR and the aliased registers, which mean group 1 in the first
//! and the third view and nothing in the second, are left alone. In the non-secure
//! view the priorities that we write are shifted, and so is the mask: they keep their
//! order. [`check_priorities`](crate::platform::IrqChip::check_priorities) proves it.
//!
//! # Concurrency
//! Sending, acknowledging, ending and the mask take no lock: they are registers of
//! the running CPU, or a register that is written whole, and tables that don't
//! change after a CPU's first arrival. A bank is touched by its own CPU alone, with
//! IRQs masked. Shared interrupts are set up under a lock, from a thread, with IRQs
//! masked.
//!
//! # Registers that abort
//! Xen (`xen/arch/arm/vgic-v2.c`) answers some accesses that the architecture allows
//! with an abort. So GICD_ICPIDR2, which would tell the revision, isn't read: the
//! device tree is believed. And pending state is read before it is taken back, and
//! not written where there is none.
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
use crate::device::gic::is_register_address;
use crate::drivers::gic::SgiWrites;
use crate::sync::atomic::AtomicU8;

use cpu_interface::CpuInterface;
use distributor::Distributor;

pub use error::GicInitError;

/// The most CPUs that a GICv2 can have: bits of a target list.
pub const MAX_INTERFACES: usize = 8;

/// Size of a distributor's registers in bytes.
pub const DISTRIBUTOR_SIZE: u64 = 0x1000;

/// Size of a CPU interface's registers in bytes. Some device trees say less,
/// because the last register came with GICv2.
pub const CPU_INTERFACE_SIZE: u64 = 0x2000;

const _: () = assert!(size_of::<Gicd>() as u64 <= DISTRIBUTOR_SIZE);
const _: () = assert!(size_of::<Gicc>() as u64 <= CPU_INTERFACE_SIZE);

/// Returns a pointer to device registers at `address`.
fn device_pointer<T>(address: u64) -> Result<NonNull<T>, GicInitError> {
    let bad = GicInitError::BadAddress(address);
    if !is_register_address(address) {
        return Err(bad);
    }
    let address_here = usize::try_from(address).map_err(|_| bad)?;
    NonNull::new(ptr::with_exposed_provenance_mut(address_here)).ok_or(bad)
}

/// What there is of each CPU.
#[derive(Debug)]
struct PerCpu {
    mpidr: Mpidr,
    /// The CPU's bit in a target list; 0 before it has first come up. Stored
    /// Relaxed by the CPU itself, the same value each time, and loaded Relaxed.
    /// A CPU that sends to another one has seen that one's word ALIVE or its online
    /// bit, both Acquire, which that CPU stored Release after this.
    interface: AtomicU8,
    sgi_writes: SgiWrites,
}

/// A machine's GICv2.
#[derive(Debug)]
pub struct GicV2 {
    distributor: Distributor,
    cpu_interface: CpuInterface,
    cpus: Vec<PerCpu>,
}

// SAFETY: the pointers in it are to device registers, which any CPU may use; that
// each register has one user at a time, or is written whole, is said at
// `Distributor` and `CpuInterface`.
unsafe impl Send for GicV2 {}
// SAFETY: as for `Send`; what all CPUs share is under a lock or atomic.
unsafe impl Sync for GicV2 {}

impl GicV2 {
    /// Sets the distributor up: every shared interrupt off, nothing pending or
    /// active. No CPU's own part is touched. Allocates; boot CPU, once.
    ///
    /// * `distributor` — address of the distributor's registers
    /// * `cpu_interface` — address of the CPU interface's registers
    /// * `cpus` — the affinity of each CPU, by CPU number, the boot CPU's first
    ///
    /// If there are more CPUs than the GIC has interfaces it serves the first
    /// ones: see [`GicV2::served`].
    ///
    /// # Errors
    /// [`GicInitError`] if there can be no GICv2, or it can't be turned on.
    ///
    /// # Safety
    /// The addresses must be those of a GICv2, [`DISTRIBUTOR_SIZE`] and
    /// [`CPU_INTERFACE_SIZE`] bytes from there on mapped as device memory for ever,
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
            .map(|&mpidr| PerCpu {
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

    /// Returns how many of the CPUs that it was made for it serves: the first ones. No
    /// other may be started.
    pub fn served(&self) -> usize {
        self.cpus.len()
    }
}

//! A GIC's part for one CPU: which of its registers are written, with what, and in
//! which order.
//!
//! The SGIs and PPIs of a CPU are set up through registers that lie at the same
//! offsets in a GICv2's distributor, where they are banked, and in the second frame
//! of a GICv3's redistributor. [`GicV2Bank`] and [`GicV3Bank`] say what differs.
//! [`find_redistributors`] finds each CPU's redistributor. [`GicV3Interface`] sets up the
//! system registers through which a CPU takes the interrupts of a GICv3.
//! [`check_priorities`] checks on the running machine that the priorities work.
//!
//! # Priorities
//! Wake, panic and the PPIs have priority 0x40, all other interrupts 0xc0. A mask of 0xf0
//! lets all of them through, 0xb0 only the former. With two security states the GIC
//! shifts the priorities that we write, and it may or may not shift the mask. These
//! values keep their order either way.
//!
//! # SGIs that aren't ours
//! SGIs 8 to 15 belong to secure software: Arm "strongly recommends that all processors
//! reserve" ID0 to ID7 for non-secure SGIs, and ID8 to ID15 for secure ones (IHI 0048).
//! TF-A does so: "Mark SGIs 8-15 and the other secure interrupts on the platform as
//! group0" (TF-A, Firmware Design). The code here changes no bit and no byte of those
//! eight, even where this GIC would allow it.
//!
//! # Writes that have not arrived yet
//! The registers are mapped as Device-nGnRE. Accesses of one CPU to one peripheral
//! arrive in program order, but a write may be acknowledged before it has arrived
//! (Arm ARM, "Device memory", Early Write Acknowledgement), so after a DSB the register
//! may still hold its old value. A read of the same frame can't overtake the writes
//! before it, so [`PrivateRegisters::settle`] reads back. It ends each sequence on which
//! something outside these registers relies. An SGI from another CPU takes a different
//! path, and can overtake a write that still has to arrive.
//!
//! # Pending and active state
//! The code here decides nothing by the values of the pending and active registers: the
//! GICs that Xen emulates (`xen/arch/arm/vgic-v2.c`, `vgic-v3.c`) read them as zero.

mod frames;
mod interface;
mod priorities;
mod v2;
mod v3;

use crate::config::{PRIORITY_NORMAL, PRIORITY_WAKE};
use crate::platform::{Sgi, Trigger};

pub use frames::{BadStride, FRAME, Found, RedistributorType, find_redistributors};
pub use interface::{GicV3Interface, Icc, IccRegisters};
pub use priorities::{OwnSgis, check_priorities};
pub use v2::GicV2Bank;
pub use v3::GicV3Bank;

/// Bits of the SGIs that the kernel may use, in registers with a bit for each interrupt.
pub const OUR_SGIS: u32 = 0x00ff;

/// Bits of the SGIs that belong to secure software.
pub const SECURE_SGIS: u32 = 0xff00;

/// Bits of the PPIs.
pub const PPIS: u32 = 0xffff_0000;

/// Bits of the SGIs that are never turned off while a CPU runs.
pub const WAKE_AND_PANIC: u32 = 1 << Sgi::Wake.number() | 1 << Sgi::Panic.number();

/// The alignment of addresses of GIC registers, in bytes. The architecture's frames
/// are of 64 KiB, but a GICv3's distributor need not lie at a multiple of that: in Xen's
/// guests it is at 0x300_1000 (`xen/include/public/arch-arm.h`).
pub const ADDRESS_ALIGNMENT: u64 = 0x1000;

/// Size of the registers of a GICv2's distributor, in bytes.
pub const GICV2_DISTRIBUTOR_SIZE: u64 = 0x1000;

/// Size of the registers of a GICv2's CPU interface, in bytes. Some device trees say less,
/// because the last register came with GICv2.
pub const GICV2_CPU_INTERFACE_SIZE: u64 = 0x2000;

/// Offset of the group registers.
pub const IGROUPR: usize = 0x080;
/// Offset of the registers that turn interrupts on: those whose bit is written as 1.
pub const ISENABLER: usize = 0x100;
/// Offset of the registers that turn interrupts off: those whose bit is written as 1.
pub const ICENABLER: usize = 0x180;
/// Offset of the registers that clear pending interrupts: those whose bit is written as 1.
pub const ICPENDR: usize = 0x280;
/// Offset of the registers that deactivate interrupts: those whose bit is written as 1.
pub const ICACTIVER: usize = 0x380;
/// Offset of the priorities, four to a word.
pub const IPRIORITYR: usize = 0x400;
/// Offset of a GICv2's targets, four to a word.
pub const ITARGETSR: usize = 0x800;
/// Offset of the trigger modes, 16 to a word.
pub const ICFGR: usize = 0xc00;
/// Offset of a GICv3's group modifiers.
pub const IGRPMODR: usize = 0xd00;
/// Offset of a GICv2's registers that clear pending SGIs by their sender, four SGIs to a
/// word.
pub const CPENDSGIR: usize = 0xf10;

/// Indices of the priority words that hold our SGIs.
const OUR_PRIORITY_WORDS: core::ops::Range<usize> = 0..2;

/// Indices of the priority words that hold the PPIs.
const PPI_PRIORITY_WORDS: core::ops::Range<usize> = 4..8;

const _: () = assert!(OUR_SGIS | SECURE_SGIS | PPIS == u32::MAX);

/// The registers of one CPU's SGIs and PPIs, by their offsets, which are the
/// constants of this module.
///
/// # Context
/// The CPU to which the registers belong, IRQs masked.
pub trait PrivateRegisters {
    /// Reads the register at `offset`.
    fn read(&self, offset: usize) -> u32;

    /// Writes the register at `offset`. The write may arrive after this has returned, but
    /// arrives before later reads and writes of these registers.
    fn write(&self, offset: usize, value: u32);

    /// Waits, for a bounded time, until all writes have arrived and interrupts that they
    /// turned off don't come any more, as far as this GIC tells that. All later accesses
    /// of the CPU come after that.
    fn settle(&self);
}

/// Returns whether GIC registers can be at `address`.
pub const fn is_register_address(address: u64) -> bool {
    address != 0 && address.is_multiple_of(ADDRESS_ALIGNMENT)
}

/// Returns the priority of SGI or PPI `number`, until a device's PPI gets the ordinary one. The
/// timer is urgent, so that a CPU that waits in a stop can be woken by it.
const fn priority_of(number: usize) -> u8 {
    if (WAKE_AND_PANIC | PPIS) & (1 << number) != 0 {
        PRIORITY_WAKE
    } else {
        PRIORITY_NORMAL
    }
}

/// Writes the priority words `words`; `priority_fn` returns the priority of an interrupt.
fn write_priorities(
    registers: &impl PrivateRegisters,
    words: core::ops::Range<usize>,
    priority_fn: impl Fn(usize) -> u8,
) {
    for word in words {
        let bytes = core::array::from_fn(|byte| priority_fn(word * 4 + byte));
        registers.write(IPRIORITYR + word * 4, u32::from_le_bytes(bytes));
    }
}

/// Writes `bits` to the register at `offset`, except those of secure software's SGIs. What is
/// there already, as in every life of a CPU but its first, isn't written again.
fn write_our_bits(registers: &impl PrivateRegisters, offset: usize, bits: u32) {
    let before = registers.read(offset);
    let after = before & SECURE_SGIS | bits & !SECURE_SGIS;
    if after != before {
        registers.write(offset, after);
    }
}

/// Gives PPI `ppi` the priority of ordinary interrupts.
fn set_ordinary_priority(registers: &impl PrivateRegisters, ppi: u32) {
    let (word, byte) = (ppi as usize / 4, ppi as usize % 4);
    let offset = IPRIORITYR + word * 4;
    let mut bytes = registers.read(offset).to_le_bytes();
    bytes[byte] = PRIORITY_NORMAL;
    registers.write(offset, u32::from_le_bytes(bytes));
}

/// Sets how the line of PPI `ppi` triggers. The PPI must be off.
fn set_trigger(registers: &impl PrivateRegisters, ppi: u32, trigger: Trigger) {
    let ppi = ppi as usize;
    let offset = ICFGR + ppi / 16 * 4;
    let before = registers.read(offset);
    let after = with_trigger(before, ppi, trigger);
    if after != before {
        registers.write(offset, after);
    }
}

/// Returns `value`, the present value of the trigger register of interrupt `intid`, with
/// that interrupt's mode set to `trigger`. If the mode is fixed in hardware, the GIC
/// ignores the write.
pub const fn with_trigger(value: u32, intid: usize, trigger: Trigger) -> u32 {
    // Each interrupt has two bits. The upper one means "edge"; the meaning of the lower
    // one differs between GICs.
    let bit = 2 << (intid % 16 * 2);
    match trigger {
        Trigger::Edge => value | bit,
        Trigger::Level => value & !bit,
    }
}

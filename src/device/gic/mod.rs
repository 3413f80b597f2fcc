//! A GIC's part for one CPU: which of its registers are written, with what, and in
//! which order.
//!
//! The SGIs and PPIs of a CPU are set up through registers that lie at the same
//! offsets in a GICv2's distributor, where they are banked, and in the second frame
//! of a GICv3's redistributor. [`GicV2Bank`] and [`GicV3Bank`] say what differs.
//! [`find_redistributors`] finds each CPU's frame of the latter.
//! [`GicV3Interface`] is the way from there into the CPU. [`check_priorities`] proves on
//! the machine at hand that the priorities work.
//!
//! # Priorities
//! Wake, panic and the PPIs are at 0x40, everything else at 0xc0. A mask of 0xf0 lets
//! all in, 0xb0 the former. With two security states the priorities that we write
//! are shifted on their way in, and the mask is or is not; these values keep
//! their order either way.
//!
//! # SGIs that aren't ours
//! SGIs 8 to 15 are the secure world's: Arm "strongly recommends that all processors
//! reserve" ID0 to ID7 for non-secure SGIs, and ID8 to ID15 for secure ones (IHI 0048).
//! TF-A does so: "Mark SGIs 8-15 and the other secure interrupts on the platform as
//! group0" (TF-A, Firmware Design). Of those eight no bit and no byte is changed here,
//! whether this GIC would let us or not.
//!
//! # Writes that are under way
//! The registers are mapped as Device-nGnRE. Accesses of one CPU to one peripheral
//! arrive in program order, but a write may be acknowledged before it has arrived
//! (Arm ARM, "Device memory", Early Write Acknowledgement), so a DSB says nothing
//! of the register. A read of the same frame can't overtake the writes before it:
//! [`PrivateRegisters::settle`] reads back. It stands at the end of each
//! sequence that something outside these registers relies on. An SGI that another
//! CPU sends doesn't come by this way, and overtakes a write that still has to arrive.
//!
//! # Pending and active state
//! Nothing is decided by what the pending and active registers read: the GICs that Xen
//! emulates (`xen/arch/arm/vgic-v2.c`, `vgic-v3.c`) read them as zero.

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

/// The SGIs that the kernel may use, as bits of the registers with a bit for each
/// interrupt.
pub const OUR_SGIS: u32 = 0x00ff;

/// The SGIs that are secure software's.
pub const SECURE_SGIS: u32 = 0xff00;

/// The PPIs.
pub const PPIS: u32 = 0xffff_0000;

/// The SGIs that are never turned off while a CPU runs.
pub const WAKE_AND_PANIC: u32 = 1 << Sgi::Wake.number() | 1 << Sgi::Panic.number();

/// What addresses of GIC registers are multiples of. The architecture's frames
/// are of 64 KiB, but a GICv3's distributor need not lie at a multiple of that: the
/// one of Xen's guests is at 0x300_1000 (`xen/include/public/arch-arm.h`).
pub const ADDRESS_ALIGNMENT: u64 = 0x1000;

/// Offset of the group registers.
pub const IGROUPR: usize = 0x080;
/// Offset of the registers that turn on what is written as 1.
pub const ISENABLER: usize = 0x100;
/// Offset of the registers that turn off what is written as 1.
pub const ICENABLER: usize = 0x180;
/// Offset of the registers that take back what is pending and written as 1.
pub const ICPENDR: usize = 0x280;
/// Offset of the registers that deactivate what is written as 1.
pub const ICACTIVER: usize = 0x380;
/// Offset of the priorities, four to a word.
pub const IPRIORITYR: usize = 0x400;
/// Offset of a GICv2's targets, four to a word.
pub const ITARGETSR: usize = 0x800;
/// Offset of the trigger modes, 16 to a word.
pub const ICFGR: usize = 0xc00;
/// Offset of a GICv3's group modifiers.
pub const IGRPMODR: usize = 0xd00;
/// Offset of a GICv2's registers that take back SGIs by their sender, four SGIs to a
/// word.
pub const CPENDSGIR: usize = 0xf10;

/// Priority words that hold our SGIs.
const OUR_PRIORITY_WORDS: core::ops::Range<usize> = 0..2;

/// Priority words that hold the PPIs.
const PPI_PRIORITY_WORDS: core::ops::Range<usize> = 4..8;

const _: () = assert!(OUR_SGIS | SECURE_SGIS | PPIS == u32::MAX);

/// The registers of one CPU's SGIs and PPIs, by their offsets, which are the
/// constants of this module.
///
/// # Context
/// The CPU that they belong to, IRQs masked.
pub trait PrivateRegisters {
    /// Reads the register at `offset`.
    fn read(&self, offset: usize) -> u32;

    /// Writes the register at `offset`. It may arrive later than this returns, but
    /// before what is written or read here afterwards.
    fn write(&self, offset: usize, value: u32);

    /// Returns when all that was written has arrived, and what that turned off doesn't
    /// come any more, as far as this GIC tells. Whatever the CPU does afterwards comes
    /// after that. Waits for a bounded time.
    fn settle(&self);
}

/// Returns whether GIC registers can be at `address`.
pub const fn is_register_address(address: u64) -> bool {
    address != 0 && address.is_multiple_of(ADDRESS_ALIGNMENT)
}

/// Returns the priority of SGI or PPI `number`. Of the PPIs the timer alone is ever turned
/// on; it is urgent, so that a CPU of a still point can look at the time.
const fn priority_of(number: usize) -> u8 {
    if (WAKE_AND_PANIC | PPIS) & (1 << number) != 0 {
        PRIORITY_WAKE
    } else {
        PRIORITY_NORMAL
    }
}

/// Writes the priority words of `words`, each interrupt's as `priority_fn` says.
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

/// Writes those bits of the register at `offset` that aren't secure software's.
fn write_our_bits(registers: &impl PrivateRegisters, offset: usize, bits: u32) {
    let theirs = registers.read(offset) & SECURE_SGIS;
    registers.write(offset, theirs | bits & !SECURE_SGIS);
}

/// Says how the line of PPI `ppi` triggers, which must be off.
fn set_trigger(registers: &impl PrivateRegisters, ppi: u32, trigger: Trigger) {
    let ppi = ppi as usize;
    let offset = ICFGR + ppi / 16 * 4;
    registers.write(offset, with_trigger(registers.read(offset), ppi, trigger));
}

/// Returns `value`, what the trigger register of interrupt `intid` reads, with that
/// interrupt's mode changed. Where this is fixed in hardware the write is ignored.
pub const fn with_trigger(value: u32, intid: usize, trigger: Trigger) -> u32 {
    // Two bits each, the upper one is "edge"; what the lower one is differs.
    let bit = 2 << (intid % 16 * 2);
    match trigger {
        Trigger::Edge => value | bit,
        Trigger::Level => value & !bit,
    }
}

//! The one address map: VA = PA, built once, used by every CPU.
//!
//! 4 KiB pages, 48-bit addresses in `TTBR0_EL1`, tables from level 0; the upper
//! half (`TTBR1_EL1`) is off. RAM is inner-shareable write-back memory, devices
//! are Device-nGnRE, and nothing is both writable and executable: the
//! descriptors say so, and `SCTLR_EL1.WXN` would catch one that doesn't. Nothing
//! is mapped for EL0.
//!
//! The map is built with the MMU off ([`PageTables::build`]), when memory takes
//! neither unaligned nor exclusive accesses. `aarch64-paging` writes descriptors
//! of a table that is not live with store-release and reads them with
//! load-acquire, which are plain accesses there. Then [`PageTables::enable`]
//! turns it on here, and [`PageTables::registers`] is what another CPU needs.

use core::arch::asm;
use core::mem::ManuallyDrop;
use core::ops::Range;
use core::ptr::NonNull;

use aarch64_cpu::registers::{ID_AA64MMFR0_EL1, Readable};
use aarch64_paging::descriptor::{El1Attributes, PhysicalAddress};
use aarch64_paging::mair::{Mair, MairAttribute, NormalMemory};
use aarch64_paging::paging::{
    Constraints, El1And0, MemoryRegion, PageTable, RootTable, Translation, VaRange,
};

use super::cache;
use super::image;
use crate::coherency::boot;
use crate::coherency::words::{Bss, CachesOn, Invalidate, Relocated, Tables, Write};
use crate::config::PAGE_SIZE;
use crate::memory::{MapError, MapKind, MapRequest, tables_needed};

/// Level of the root table: four levels, 48 bits.
const ROOT_LEVEL: usize = 0;

/// Bits of a virtual address.
const ADDRESS_BITS: u32 = 48;

/// Attribute 0: device registers. 1: RAM, write-back, allocating on read and
/// write.
const MAIR: Mair = Mair::EMPTY
    .with_attribute(0, MairAttribute::DEVICE_NGNRE)
    .with_attribute(
        1,
        MairAttribute::normal(
            NormalMemory::WriteBackNonTransientReadWriteAllocate,
            NormalMemory::WriteBackNonTransientReadWriteAllocate,
        ),
    );

/// `TCR_EL1` but for IPS. All other bits 0: 8-bit ASIDs from TTBR0, no top byte
/// ignored, no hardware update of access flags (descriptors have theirs set).
const TCR: u64 = (64 - ADDRESS_BITS as u64) // T0SZ
    | 0b01 << 8 // IRGN0: tables are walked through write-back caches,
    | 0b01 << 10 // ORGN0: inner and outer,
    | 0b11 << 12 // SH0: coherent with the other CPUs. TG0 is 0: 4 KiB.
    | (64 - ADDRESS_BITS as u64) << 16 // T1SZ: a valid value, though
    | 1 << 23 // EPD1: nothing is walked for the upper half.
    | 0b10 << 30; // TG1: 4 KiB.

/// Where IPS is in `TCR_EL1`.
const TCR_IPS_SHIFT: u32 = 32;
/// The IPS of 48 bits, the most that 4 KiB tables reach without FEAT_LPA2.
const IPS_48_BITS: u64 = 0b101;

/// Bits of `SCTLR_EL1` that are RES1 without later extensions, and keep the
/// behaviour of Armv8.0 with them: LSMAOE, nTLSMD, SPAN, EIS, TSCXT, EOS, SED,
/// ITD.
pub(super) const SCTLR_RES1: u64 =
    1 << 29 | 1 << 28 | 1 << 23 | 1 << 22 | 1 << 20 | 1 << 11 | 1 << 8 | 1 << 7;

/// MMU and caches off, in assembly, by way of a scratch register; `SCTLR_OFF` has to be
/// an operand, [`SCTLR_RES1`]. VA = PA: the next instruction is where this one is.
macro_rules! caches_off {
    ($scratch:literal) => {
        concat!(
            "movz ",
            $scratch,
            ", #({SCTLR_OFF} & 0xffff)\n",
            "movk ",
            $scratch,
            ", #({SCTLR_OFF} >> 16), lsl #16\n",
            "msr sctlr_el1, ",
            $scratch,
            "\n",
            "isb\n",
        )
    };
}
pub(super) use caches_off;

/// `SCTLR_EL1` with the MMU on. A stays 0: the kernel is compiled without
/// unaligned accesses, but C code that applications link need not be. EE, E0E
/// (little-endian), UCI, UCT, DZE, UMA, nTWE, nTWI (EL0's) stay 0 as well.
const SCTLR: u64 = SCTLR_RES1
    | 1 << 0 // M: the MMU.
    | 1 << 2 // C: data caches.
    | 1 << 3 // SA: a misaligned SP faults at its first use.
    | 1 << 12 // I: instruction caches.
    | 1 << 19; // WXN: what is writable is not executable.

/// What every valid descriptor has: accessed already, not for EL0 to execute.
const BASE: El1Attributes = El1Attributes::VALID
    .union(El1Attributes::ACCESSED)
    .union(El1Attributes::UXN);
/// RAM that all CPUs see alike.
const NORMAL: El1Attributes = BASE
    .union(El1Attributes::ATTRIBUTE_INDEX_1)
    .union(El1Attributes::INNER_SHAREABLE);

const fn attributes(kind: MapKind) -> El1Attributes {
    match kind {
        MapKind::Text => NORMAL.union(El1Attributes::READ_ONLY),
        MapKind::Rodata => NORMAL
            .union(El1Attributes::READ_ONLY)
            .union(El1Attributes::PXN),
        MapKind::Data => NORMAL.union(El1Attributes::PXN),
        MapKind::Device => BASE
            .union(El1Attributes::ATTRIBUTE_INDEX_0)
            .union(El1Attributes::PXN),
        MapKind::Guard => El1Attributes::empty(),
    }
}

/// The values that turn the map on, the same on every CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MmuRegisters {
    /// `MAIR_EL1`.
    pub mair: u64,
    /// `TCR_EL1`.
    pub tcr: u64,
    /// `TTBR0_EL1`.
    pub ttbr0: u64,
    /// `SCTLR_EL1`.
    pub sctlr: u64,
}

/// Hands out pages of a range as tables, and takes none back.
#[derive(Debug)]
struct TablePages {
    next: usize,
    end: usize,
}

impl TablePages {
    const fn left(&self) -> usize {
        (self.end - self.next) / PAGE_SIZE
    }
}

impl Translation<El1Attributes> for TablePages {
    fn allocate_table(&mut self) -> (NonNull<PageTable<El1Attributes>>, PhysicalAddress) {
        assert!(self.left() > 0, "BUG: more page tables than were asked for");
        let address = self.next;
        self.next += PAGE_SIZE;
        let table = core::ptr::with_exposed_provenance_mut::<PageTable<El1Attributes>>(address);
        // SAFETY: The page lies in the range that the caller of `build` gave us,
        // and is handed out once.
        unsafe { table.write_bytes(0, 1) };
        let table = NonNull::new(table).expect("BUG: page tables at address 0");
        (table, PhysicalAddress(address))
    }

    unsafe fn deallocate_table(&mut self, _table: NonNull<PageTable<El1Attributes>>) {
        // Only a guard as large as a block lets go of a table. Its page stays
        // unused: the map is built once.
    }

    fn physical_to_virtual(&self, pa: PhysicalAddress) -> NonNull<PageTable<El1Attributes>> {
        NonNull::new(core::ptr::with_exposed_provenance_mut(pa.0))
            .expect("BUG: page tables at address 0")
    }
}

/// The tables of the address map.
pub struct PageTables {
    /// Never dropped: CPUs walk these tables as long as the machine runs.
    root: ManuallyDrop<RootTable<El1And0, TablePages>>,
    memory: Range<usize>,
    physical_range: u64,
}

impl PageTables {
    /// Builds the map of `requests`, applied in order, a later one winning.
    ///
    /// * `memory` — where tables may be put; it is cut to whole pages. A page
    ///   for the root, and for each request [`tables_needed`] at most; a
    ///   hundred stacks with their guards share a few.
    ///
    /// # Context
    /// Boot CPU, MMU off.
    ///
    /// # Errors
    /// [`MapError`]; the map is then not to be used.
    ///
    /// # Safety
    /// `memory` is RAM, not at address 0, that nothing else uses from now on.
    pub unsafe fn build(
        memory: Range<usize>,
        requests: impl IntoIterator<Item = MapRequest>,
    ) -> Result<PageTables, MapError> {
        let start = memory.start.next_multiple_of(PAGE_SIZE);
        let end = (memory.end & !(PAGE_SIZE - 1)).max(start);
        let memory = start..end;
        boot::build(&mut Build {
            memory,
            requests: requests.into_iter(),
        })
    }

    /// Writes the tables of `requests` into `memory`, which is whole pages that
    /// nothing else uses.
    fn write(
        memory: Range<usize>,
        requests: impl IntoIterator<Item = MapRequest>,
    ) -> Result<PageTables, MapError> {
        let Range { start, end } = memory;
        let pages = TablePages { next: start, end };
        if pages.left() == 0 {
            return Err(MapError::OutOfTables { needed: 1, left: 0 });
        }
        let mut root = ManuallyDrop::new(RootTable::with_va_range(
            pages,
            ROOT_LEVEL,
            El1And0,
            VaRange::Lower,
        ));
        let (physical_range, address_bits) = physical_addresses();
        for request in requests {
            request.check(address_bits)?;
            let needed = tables_needed(&request.range);
            let left = root.translation().left();
            if needed > left {
                return Err(MapError::OutOfTables { needed, left });
            }
            let Range { start, end } = request.range;
            root.map_range(
                &MemoryRegion::new(start, end),
                PhysicalAddress(start),
                attributes(request.kind),
                Constraints::empty(),
            )
            .expect("BUG: a checked request was refused");
        }
        Ok(PageTables {
            root,
            memory,
            physical_range,
        })
    }

    /// Returns the pages of the given memory that became tables.
    pub fn used(&self) -> Range<usize> {
        self.memory.start..self.root.translation().next
    }

    /// Returns what another CPU needs to use the same map.
    pub fn registers(&self) -> MmuRegisters {
        MmuRegisters {
            mair: MAIR.0,
            tcr: TCR | self.physical_range << TCR_IPS_SHIFT,
            ttbr0: self.root.to_physical().0 as u64,
            sctlr: SCTLR,
        }
    }

    /// Turns MMU and caches on, on the boot CPU.
    ///
    /// # Safety
    /// 1. The MMU of this CPU is off, and no other CPU of ours runs.
    /// 2. The map has the running Image in it, text, read-only data and data each
    ///    as such, and all memory and devices that are used from now on.
    pub unsafe fn enable(&self) {
        // What was stored with the MMU off went past the caches. A line that a
        // cache still holds from before (firmware and loader had theirs on) would
        // hide it as soon as ours is on. The stack that this runs on is part of
        // the Image; nothing of it is in a cache of ours.
        boot::turn_on(&mut TurnOn { tables: self });
    }
}

/// The tables that [`boot::build`] writes. Only [`PageTables::build`] makes one.
struct Build<I> {
    memory: Range<usize>,
    requests: I,
}

impl<I> Invalidate<Tables> for Build<I> {
    fn invalidate(&mut self, _: Tables) {
        // SAFETY: nothing else uses this memory.
        unsafe { cache::invalidate_to_poc(self.memory.clone()) };
    }
}

impl<I: Iterator<Item = MapRequest>> Write<Tables> for Build<I> {
    type Outcome = Result<PageTables, MapError>;

    fn write(&mut self, _: Tables) -> Result<PageTables, MapError> {
        PageTables::write(self.memory.clone(), &mut self.requests)
    }
}

/// The map that [`boot::turn_on`] turns on. Only [`PageTables::enable`] makes one, whose
/// promises (1) and (2) these methods rely on.
struct TurnOn<'a> {
    tables: &'a PageTables,
}

impl Invalidate<Bss> for TurnOn<'_> {
    fn invalidate(&mut self, _: Bss) {
        // SAFETY: All that matters there was written past the caches (1).
        unsafe { cache::invalidate_to_poc(image::bss()) };
    }
}

impl Invalidate<Relocated> for TurnOn<'_> {
    fn invalidate(&mut self, _: Relocated) {
        // SAFETY: What was relocated was written past the caches (1), the Image itself
        // cleaned to memory by the loader.
        unsafe { cache::invalidate_to_poc(image::without_bss()) };
    }
}

impl Invalidate<Tables> for TurnOn<'_> {
    fn invalidate(&mut self, _: Tables) {
        // SAFETY: They were written past the caches (1).
        unsafe { cache::invalidate_to_poc(self.tables.used()) };
    }
}

impl CachesOn for TurnOn<'_> {
    fn caches_on(&mut self) {
        let MmuRegisters {
            mair,
            tcr,
            ttbr0,
            sctlr,
        } = self.tables.registers();
        // SAFETY: VA = PA, so the instructions and the stack stay where they are
        // (2). No translation, and no instruction fetched past the caches,
        // survives from before.
        unsafe {
            asm!(
                "dsb sy",
                "tlbi vmalle1",
                "ic iallu",
                "dsb nsh",
                "isb",
                "msr mair_el1, {mair}",
                "msr tcr_el1, {tcr}",
                "msr ttbr0_el1, {ttbr0}",
                "msr ttbr1_el1, xzr",
                "isb",
                "msr sctlr_el1, {sctlr}",
                "isb",
                mair = in(reg) mair,
                tcr = in(reg) tcr,
                ttbr0 = in(reg) ttbr0,
                sctlr = in(reg) sctlr,
                options(nostack, preserves_flags)
            );
        }
    }
}

/// Behind the last physical address that this CPU has.
pub fn end_of_addresses() -> usize {
    let (_, address_bits) = physical_addresses();
    1 << address_bits
}

/// Returns whether this CPU has physical addresses up to `end`.
pub fn can_address(end: usize) -> bool {
    end <= end_of_addresses()
}

/// Returns the physical address size of this core, as `TCR_EL1.IPS` codes it, at most 48
/// bits, and in bits (Arm ARM, ID_AA64MMFR0_EL1.PARange).
fn physical_addresses() -> (u64, u32) {
    let range = ID_AA64MMFR0_EL1
        .read(ID_AA64MMFR0_EL1::PARange)
        .min(IPS_48_BITS);
    let bits = match range {
        0b000 => 32,
        0b001 => 36,
        0b010 => 40,
        0b011 => 42,
        0b100 => 44,
        _ => ADDRESS_BITS,
    };
    (range, bits)
}

//! The kernel's only address map: VA = PA, built once, used by every CPU.
//!
//! It has 4 KiB pages and 48-bit addresses in `TTBR0_EL1`, with tables from level 0; the
//! upper half (`TTBR1_EL1`) is off. RAM is inner-shareable write-back memory, and devices
//! are Device-nGnRE. No page is both writable and executable: the descriptors exclude
//! that, and `SCTLR_EL1.WXN` makes a writable page non-executable in any case. No page is
//! mapped for EL0.
//!
//! [`PageTables::build`] builds the map with the MMU off, when memory allows neither
//! unaligned nor exclusive accesses. `aarch64-paging` writes descriptors
//! of a table that is not live with store-release and reads them with
//! load-acquire, which memory allows then. [`PageTables::enable`] turns the map on, on
//! the boot CPU. [`PageTables::registers`] returns the values that another CPU needs.

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
use crate::arch::assembly::asm;
use crate::coherency::boot;
use crate::coherency::words::{Bss, CachesOn, Invalidate, Relocated, Tables, Write};
use crate::config::PAGE_SIZE;
use crate::memory::{MapError, MapKind, MapRequest, tables_needed};

/// Level of the root table: with 48 bits there are four levels.
const ROOT_LEVEL: usize = 0;

/// The number of bits of a virtual address.
const ADDRESS_BITS: u32 = 48;

/// The memory attributes. 0 is for device registers; 1 is for RAM: write-back, allocating
/// on read and write.
const MAIR: Mair = Mair::EMPTY
    .with_attribute(0, MairAttribute::DEVICE_NGNRE)
    .with_attribute(
        1,
        MairAttribute::normal(
            NormalMemory::WriteBackNonTransientReadWriteAllocate,
            NormalMemory::WriteBackNonTransientReadWriteAllocate,
        ),
    );

/// `TCR_EL1` without IPS. All other bits are 0: 8-bit ASIDs from TTBR0, no top byte
/// ignored, no hardware update of access flags (descriptors have theirs set).
const TCR: u64 = (64 - ADDRESS_BITS as u64) // T0SZ
    | 0b01 << 8 // IRGN0: tables are walked through write-back caches,
    | 0b01 << 10 // ORGN0: inner and outer,
    | 0b11 << 12 // SH0: coherent with the other CPUs. TG0 is 0: 4 KiB.
    | (64 - ADDRESS_BITS as u64) << 16 // T1SZ: a valid value, not used.
    | 1 << 23 // EPD1: no table walks for the upper half.
    | 0b10 << 30; // TG1: 4 KiB.

/// The lowest bit of IPS in `TCR_EL1`.
const TCR_IPS_SHIFT: u32 = 32;
/// The IPS of 48 bits, the most that 4 KiB tables reach without FEAT_LPA2.
const IPS_48_BITS: u64 = 0b101;

/// Bits of `SCTLR_EL1` that are RES1 without later extensions, and keep the
/// behaviour of Armv8.0 with them: LSMAOE, nTLSMD, SPAN, EIS, TSCXT, EOS, SED,
/// ITD.
pub(super) const SCTLR_RES1: u64 =
    1 << 29 | 1 << 28 | 1 << 23 | 1 << 22 | 1 << 20 | 1 << 11 | 1 << 8 | 1 << 7;

/// Expands to assembly that turns MMU and caches off, with a scratch register. The
/// assembly needs [`SCTLR_RES1`] as its operand `SCTLR_OFF`. The next instruction has the
/// same address with the MMU off, because VA = PA.
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
    | 1 << 19; // WXN: writable memory is not executable.

/// The attributes of every valid descriptor: marked as accessed, not executable at EL0.
const BASE: El1Attributes = El1Attributes::VALID
    .union(El1Attributes::ACCESSED)
    .union(El1Attributes::UXN);
/// The attributes of RAM, which is coherent between all CPUs.
const NORMAL: El1Attributes = BASE
    .union(El1Attributes::ATTRIBUTE_INDEX_1)
    .union(El1Attributes::INNER_SHAREABLE);

/// Returns the attributes of a descriptor for memory of `kind`.
pub(super) const fn attributes(kind: MapKind) -> El1Attributes {
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

/// Allocates the pages of a range as tables, and frees none.
#[derive(Debug)]
struct TablePages {
    /// The address of the first page that isn't allocated.
    next: usize,
    /// The address behind the range.
    end: usize,
}

impl TablePages {
    /// Returns how many pages aren't allocated.
    const fn left(&self) -> usize {
        (self.end - self.next) / PAGE_SIZE
    }
}

impl Translation<El1Attributes> for TablePages {
    fn allocate_table(&mut self) -> (NonNull<PageTable<El1Attributes>>, PhysicalAddress) {
        assert!(
            self.left() > 0,
            "BUG: more page tables than `tables_needed` said"
        );
        let address = self.next;
        self.next += PAGE_SIZE;
        let table = core::ptr::with_exposed_provenance_mut::<PageTable<El1Attributes>>(address);
        // SAFETY: the page lies in the range that the caller of `build` gave,
        // and is allocated once.
        unsafe { table.write_bytes(0, 1) };
        let table = NonNull::new(table).expect("BUG: page tables at address 0");
        (table, PhysicalAddress(address))
    }

    unsafe fn deallocate_table(&mut self, _table: NonNull<PageTable<El1Attributes>>) {
        // A table is freed only if a guard as large as a block replaces it. Its page
        // stays unused, which costs little, because the map is built once.
    }

    fn physical_to_virtual(&self, pa: PhysicalAddress) -> NonNull<PageTable<El1Attributes>> {
        NonNull::new(core::ptr::with_exposed_provenance_mut(pa.0))
            .expect("BUG: page tables at address 0")
    }
}

/// The tables of the address map.
pub struct PageTables {
    /// The root table. It is never dropped, because CPUs walk the tables as long as the
    /// machine runs.
    root: ManuallyDrop<RootTable<El1And0, TablePages>>,
    /// The memory given for tables, as whole pages.
    memory: Range<usize>,
    /// The physical address size, as `TCR_EL1.IPS` codes it.
    physical_range: u64,
}

impl PageTables {
    /// Builds the map of `requests` and returns it. The requests are applied in order, so a
    /// later one replaces an earlier one.
    ///
    /// * `memory` — the memory for tables; it is cut to whole pages. The map takes a page
    ///   for the root, and at most [`tables_needed`] pages for each request. Requests
    ///   that lie together, such as stacks and their guards, share tables.
    ///
    /// # Context
    /// Boot CPU, MMU off.
    ///
    /// # Errors
    /// [`MapError`] if a request is unusable, or `memory` is too small.
    ///
    /// # Safety
    /// `memory` is RAM, not at address 0, and nothing else uses it from now on.
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

    /// Writes the tables of `requests` into `memory` and returns them. `memory` consists
    /// of whole pages that nothing else uses.
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

    /// Returns the part of the given memory that holds tables.
    pub fn used(&self) -> Range<usize> {
        self.memory.start..self.root.translation().next
    }

    /// Returns the register values with which another CPU uses the same map.
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
    /// 1. The MMU of this CPU is off, and no other CPU runs the kernel.
    /// 2. The map contains the running Image, with text, read-only data and data mapped
    ///    as such, and all memory and devices that are used from now on.
    pub unsafe fn enable(&self) {
        // Stores with the MMU off bypassed the caches. Firmware and loader had caches on,
        // so a cache may still hold an older copy of a line, which would hide the new
        // values as soon as our caches are on. The stack in use is part of the Image, and
        // the kernel has put none of it into a cache yet.
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

/// The map that [`boot::turn_on`] turns on. Only [`PageTables::enable`] makes one, and the
/// methods rely on the promises (1) and (2) of its caller.
struct TurnOn<'a> {
    tables: &'a PageTables,
}

impl Invalidate<Bss> for TurnOn<'_> {
    fn invalidate(&mut self, _: Bss) {
        // SAFETY: all values there that are needed were written bypassing the caches (1).
        unsafe { cache::invalidate_to_poc(image::bss()) };
    }
}

impl Invalidate<Relocated> for TurnOn<'_> {
    fn invalidate(&mut self, _: Relocated) {
        // SAFETY: relocated words were written bypassing the caches (1), and the loader has
        // cleaned the Image itself to memory.
        unsafe { cache::invalidate_to_poc(image::without_bss()) };
    }
}

impl Invalidate<Tables> for TurnOn<'_> {
    fn invalidate(&mut self, _: Tables) {
        // SAFETY: the tables were written bypassing the caches (1).
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
        // SAFETY: instructions and stack keep their addresses, because VA = PA and the map
        // contains both (2). The assembly drops all earlier translations and
        // instructions first.
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

/// Returns the first address behind the physical addresses of this CPU.
pub fn end_of_addresses() -> usize {
    let (_, address_bits) = physical_addresses();
    1 << address_bits
}

/// Returns whether this CPU has physical addresses up to `end`.
pub fn can_address(end: usize) -> bool {
    end <= end_of_addresses()
}

/// Returns the physical address size of this core, at most 48 bits: first as `TCR_EL1.IPS`
/// codes it, then as a number of bits (Arm ARM, ID_AA64MMFR0_EL1.PARange).
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

//! Writes text through an alias: another address of the same page, which is writable and never
//! executable.
//!
//! The alias is a page of the Image's addresses that the address map leaves out
//! ([`image::text_alias`]). Its descriptor is found by a walk of the live tables and is the only
//! one that ever changes once the MMU is on. Text keeps its own, which is read-only
//! (`never-writable-where-it-runs` of [`patch`](crate::patch)).
//!
//! An instruction cache may look lines up by their virtual address, so instructions are dropped
//! at the address where they run. Data caches behave as if they looked up physical addresses, so
//! it doesn't matter by which of its two addresses a word is cleaned (Arm ARM, "Caches and memory
//! hierarchy").
//!
//! Under QEMU a store to code drops what it has translated of it, so a test there never finds a
//! missing instruction of cache maintenance, nor a missing ISB: `tests/host_patch.rs` has a model.

use core::ptr::with_exposed_provenance;

use aarch64_cpu::asm::barrier;

use super::image;
use super::mmu::{MmuRegisters, attributes};
use crate::arch::assembly::asm;
use crate::config::PAGE_SIZE;
use crate::memory::MapKind;
use crate::patch::Text;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// What the lowest bits of a descriptor say at levels 0 to 2: there is a table.
const TABLE: u64 = 0b11;
/// What they say at level 3: there is a page.
const PAGE: u64 = 0b11;
/// The bits of a table's address in a descriptor.
const ADDRESS: u64 = 0x0000_ffff_ffff_f000;

/// The alias, through which text is written.
#[derive(Debug)]
pub struct TextAlias {
    /// The descriptor of level 3. Relaxed: the walks of the tables are ordered by barriers.
    descriptor: &'static AtomicU64,
    /// Where the alias is.
    address: usize,
}

impl TextAlias {
    /// Finds the alias in the map that all CPUs use.
    ///
    /// # Panics
    /// If the map has no page of its own there.
    pub fn find(map: &MmuRegisters) -> TextAlias {
        let address = image::text_alias().start;
        let descriptor = descriptor(map, address).filter(|it| it.load(Ordering::Relaxed) & 1 == 0);
        TextAlias {
            descriptor: descriptor.expect("BUG: the map has no page for the alias of text"),
            address,
        }
    }
}

/// Returns the descriptor of level 3 for `address`; `None` if a block or nothing is mapped there.
fn descriptor(map: &MmuRegisters, address: usize) -> Option<&'static AtomicU64> {
    let mut table = map.ttbr0 & ADDRESS;
    for shift in [39, 30, 21, 12] {
        let index = address >> shift & 0x1ff;
        let place = usize::try_from(table).ok()? + index * size_of::<u64>();
        // SAFETY: `table` is a table of the map, whose memory is never freed, and is mapped at
        // its own address. Nothing refers to the tables but by atomic accesses.
        let descriptor = unsafe { &*with_exposed_provenance::<AtomicU64>(place) };
        if shift == 12 {
            return Some(descriptor);
        }
        let value = descriptor.load(Ordering::Relaxed);
        if value & TABLE != TABLE {
            return None;
        }
        table = value & ADDRESS;
    }
    None
}

/// Returns the instruction at `at`.
///
/// # Safety
/// `at` is the address of an instruction in the Image's code.
pub unsafe fn read(at: usize) -> u32 {
    let at = with_exposed_provenance::<AtomicU32>(at);
    // SAFETY: the caller's promise. Code is readable, and changes by single stores alone.
    unsafe { (*at).load(Ordering::Relaxed) }
}

impl Text for TextAlias {
    fn set_alias(&mut self, page: usize) {
        let attributes = attributes(MapKind::Data).bits() as u64;
        let descriptor = page as u64 & ADDRESS | attributes | PAGE;
        self.descriptor.store(descriptor, Ordering::Relaxed);
    }

    fn clear_alias(&mut self) {
        self.descriptor.store(0, Ordering::Relaxed);
    }

    fn drop_translations(&mut self) {
        let page = self.address / PAGE_SIZE;
        // SAFETY: a translation that is dropped is looked up again.
        unsafe { asm!("tlbi vale1is, {page}", page = in(reg) page, options(nostack)) }
    }

    fn store(&mut self, site: usize, word: u32) {
        let place = self.address + site % PAGE_SIZE;
        // SAFETY: the alias has the page of `site` (`patch::write`), writable. The word is
        // aligned, as an instruction is. No Rust value is there: the compiler knows nothing of
        // the alias.
        unsafe {
            asm!(
                "str {word:w}, [{place}]",
                word = in(reg) word,
                place = in(reg) place,
                options(nostack, preserves_flags)
            );
        }
    }

    fn clean(&mut self, site: usize) {
        // SAFETY: cleaning changes nothing that this CPU can read.
        unsafe { asm!("dc cvau, {site}", site = in(reg) site, options(nostack, preserves_flags)) }
    }

    fn invalidate(&mut self, site: usize) {
        // SAFETY: an instruction that is dropped is fetched again.
        unsafe { asm!("ic ivau, {site}", site = in(reg) site, options(nostack, preserves_flags)) }
    }

    fn complete(&mut self) {
        barrier::dsb(barrier::ISH);
    }

    fn synchronize(&mut self) {
        barrier::isb(barrier::SY);
    }
}

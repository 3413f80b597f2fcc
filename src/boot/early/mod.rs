//! The first code in Rust: MMU off, no heap, no locks, one CPU.
//!
//! The whole device tree is checked and copied before any other code reads it; from then on
//! only the copy is used. A failure here ends the boot: with one line on the early console
//! and a WFI, and with the reason in `boot_failure_reason`. If the boot arguments could be
//! read and ask for it, it ends with an exit status instead of the WFI.

mod console;
mod error;
mod map;
mod plan;

use core::fmt::{self, Write};
use core::ops::Range;

use crate::arch::aarch64::mmu::PageTables;
use crate::arch::aarch64::{cache, cpu, image, mmu, pen};
use crate::bootargs::BootArgs;
use crate::coherency;
use crate::coherency::words::{Clean, Read, Tree};
use crate::config::PAGE_SIZE;
use crate::drivers::early;
use crate::dt::{self, CpuDesc, DeviceTree, EnableMethod, PhysRange};
use crate::kernel::exit;
use crate::memory::{MemoryPlan, StackLayout, bytes};
use crate::sync::UnsafeCell;

pub(super) use console::NotTaken;
pub use error::{EarlyError, Purpose};
#[cfg(any(feature = "pl031", feature = "gpio-keys", feature = "virtio"))]
pub(super) use map::is_mappable;
#[cfg(feature = "virtio")]
pub(super) use map::pci_ranges;
use map::{check_devices, requests};
use plan::{plan_memory, plan_stacks, plan_tables};

/// Where the checked copy of the device tree goes: room for the largest that the boot
/// protocol allows. The pages that the copy doesn't fill become free memory.
#[repr(align(4096))]
struct TreeBuffer(UnsafeCell<[u8; dt::MAX_SIZE]>);

const _: () = assert!(align_of::<TreeBuffer>() == PAGE_SIZE);
const _: () = assert!(size_of::<TreeBuffer>().is_multiple_of(PAGE_SIZE));

// SAFETY: the boot CPU writes the copy once, before another CPU runs; after that it is only
// read. The pages behind the copy are used only as memory of the plan.
unsafe impl Sync for TreeBuffer {}

static TREE: TreeBuffer = TreeBuffer(UnsafeCell::new([0; dt::MAX_SIZE]));

/// Returns the pages of [`TREE`] that a copy of `length` bytes doesn't use.
fn unused_tree(length: usize) -> Range<u64> {
    let start = TREE.0.get().addr();
    let used = length.next_multiple_of(PAGE_SIZE);
    (start + used) as u64..(start + dt::MAX_SIZE) as u64
}

/// Writes formatted text to the early console.
struct EarlyConsole;

impl fmt::Write for EarlyConsole {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        early::write_str(text);
        Ok(())
    }
}

/// Ends a boot that can't go on, with one line on the early console.
pub(super) fn fail(error: EarlyError) -> ! {
    // The early console never fails: it drops what it can't put out.
    match writeln!(EarlyConsole, "stillpoint: {error}") {
        Ok(()) | Err(fmt::Error) => exit::end_refused(error.reason()),
    }
}

/// Checks the whole device tree at `address`, and copies it into `copy` without its padding
/// and NOPs. Returns the length of the copy.
///
/// Every boot does this, and no other code reads the loader's tree but its header.
///
/// # Errors
/// [`EarlyError`] if there is no tree, or it is malformed. Only the eight bytes of the
/// header have been read then, or, if the size there is a possible one, that many bytes.
///
/// # Safety
/// If `address` is not 0 and a multiple of 8, eight bytes there are readable. If they are
/// the header of a device tree, the whole size that it states is readable.
pub unsafe fn load_device_tree(address: usize, copy: &mut [u8]) -> Result<usize, EarlyError> {
    if address == 0 {
        return Err(EarlyError::NoDeviceTree);
    }
    if !address.is_multiple_of(8) {
        return Err(EarlyError::MisalignedDeviceTree(address));
    }
    let start = core::ptr::with_exposed_provenance::<u8>(address);
    // The header says how large the tree is, so it is read first.
    let header = coherency::boot::read_tree(&mut LoaderTree {
        range: address..address.saturating_add(8),
        // SAFETY: the caller promises that eight bytes are readable.
        read_fn: || unsafe { *start.cast::<[u8; 8]>() },
    });
    let size = dt::total_size(&header)?;
    let checked = coherency::boot::read_tree(&mut LoaderTree {
        range: address..address.saturating_add(size),
        read_fn: || {
            // SAFETY: the header says that this is a device tree of `size` bytes, at most
            // 2 MiB; the caller promises that they are readable.
            let blob = unsafe { core::slice::from_raw_parts(start, size) };
            dt::check(blob, &mut *copy)
        },
    });
    Ok(checked?)
}

/// A part of the loader's device tree, for [`coherency::boot::read_tree`].
struct LoaderTree<F> {
    /// The addresses of the part.
    range: Range<usize>,
    /// Reads the part.
    read_fn: F,
}

impl<F> Clean<Tree> for LoaderTree<F> {
    fn clean(&mut self, _: Tree) {
        cache::clean_to_poc(self.range.clone());
    }
}

impl<T, F: FnMut() -> T> Read<Tree> for LoaderTree<F> {
    type Value = T;

    fn read(&mut self, _: Tree) -> T {
        (self.read_fn)()
    }
}

/// The results of [`prepare`].
pub(super) struct Early {
    /// The checked copy of the device tree.
    pub(super) tree: &'static [u8],
    /// The address map, which is in use.
    pub(super) tables: PageTables,
    /// The memory for the heap.
    pub(super) heap: MemoryPlan,
    /// Where the stacks lie.
    pub(super) stacks: StackLayout,
    /// How many bytes of memory lie at addresses that are too large for this CPU.
    pub(super) beyond: u64,
    /// The addresses where the loader put the tree. The memory isn't used.
    pub(super) blob: Range<u64>,
    /// Why the console that `earlycon=` names isn't the early console, if it isn't.
    pub(super) not_taken: Option<NotTaken>,
}

/// Checks the tree, plans memory, builds the address map and turns it on.
///
/// # Errors
/// [`EarlyError`] if the machine can't be booted.
///
/// # Safety
/// `dtb` is x0 as the boot protocol defines it. This is called once, before any other code
/// of this module, with the MMU off.
pub(super) unsafe fn prepare(dtb: usize) -> Result<Early, EarlyError> {
    // SAFETY: this is called once, and nothing else refers to the buffer before.
    let copy = unsafe { &mut *TREE.0.get() };
    // SAFETY: the boot protocol's promise, which the caller passes on.
    let length = unsafe { load_device_tree(dtb, copy) }?;
    // SAFETY: the first `length` bytes of the buffer are only read from now on. No reference
    // to the other bytes is left; they become free memory.
    let copy: &'static [u8] =
        unsafe { core::slice::from_raw_parts(TREE.0.get().cast::<u8>(), length) };
    let tree = DeviceTree::new(copy)?;
    exit::set_semihosting(arguments(&tree).exit_semihosting);
    let not_taken = console::choose(&tree);
    // SAFETY: the caller's promise.
    let early = unsafe { prepare_with(&tree, copy, dtb) };
    match early {
        Ok(early) => Ok(Early { not_taken, ..early }),
        Err(error) => {
            console::choose_last(&tree);
            Err(error)
        }
    }
}

/// Does the part of [`prepare`] that comes after the check of the tree.
///
/// # Errors
/// As for [`prepare`].
///
/// # Safety
/// As for [`prepare`].
unsafe fn prepare_with(
    tree: &DeviceTree<'_>,
    copy: &'static [u8],
    dtb: usize,
) -> Result<Early, EarlyError> {
    check_devices(tree)?;
    // `load_device_tree` has checked the size in the header.
    let blob = core::ptr::with_exposed_provenance::<[u8; 8]>(dtb);
    // SAFETY: `load_device_tree` has read the same eight bytes.
    let size = dt::total_size(unsafe { &*blob })?;
    let blob = dtb as u64..(dtb + size) as u64;
    take_cpus_from_firmware(tree, &blob);

    let (mut plan, beyond) = plan_memory(tree, &blob, copy.len())?;
    let stacks = plan_stacks(tree, &mut plan)?;
    let tables = plan_tables(tree, &mut plan, &stacks)?;
    // SAFETY: the plan gave out this memory once; it is RAM, and not at address 0.
    let tables =
        unsafe { PageTables::build(bytes(&tables), requests(tree, &plan, &stacks, &tables)) }?;
    // SAFETY: the MMU is off. Other CPUs run only in the pen, where they use neither MMU nor
    // cache. The map has the Image, the heap, the stacks, the tables and the devices that the
    // tree names.
    unsafe { tables.enable() };
    Ok(Early {
        tree: copy,
        tables,
        heap: plan,
        stacks,
        beyond,
        blob,
        not_taken: None,
    })
}

/// Returns the tree's boot arguments.
#[inline(never)] // The walks of the tree have large frames.
fn arguments<'a>(tree: &DeviceTree<'a>) -> BootArgs<'a> {
    BootArgs::parse(tree.bootargs().map_or(&[][..], |text| text.bytes()))
}

/// Moves the CPUs of firmware's spin-table to our own pen. This comes before any memory
/// outside the Image is written, because firmware's pen may lie there. Every CPU gets its
/// slot before any is released, because one release word may release several CPUs.
fn take_cpus_from_firmware(tree: &DeviceTree<'_>, blob: &Range<u64>) {
    let waiting = || {
        let me = cpu::mpidr();
        tree.cpus().flatten().filter_map(move |cpu| match cpu {
            CpuDesc {
                mpidr,
                enable_method: EnableMethod::SpinTable { release_addr },
                ..
            } if mpidr != me && cpu.may_start() && is_release_word(tree, release_addr, blob) => {
                Some((mpidr, release_addr))
            }
            _ => None,
        })
    };
    // A CPU without a slot stays in firmware's spin-table, and `cpu_list` leaves it out.
    let in_pen = waiting().take_while(|(mpidr, _)| pen::claim(*mpidr).is_ok());
    for (_, release_addr) in waiting().take(in_pen.count()) {
        // SAFETY: the tree says that this is a release word. `dt` has checked that its address
        // is a multiple of 8, and `is_release_word` that the memory is used for nothing else.
        unsafe { pen::take_from_firmware(release_addr) };
    }
    if !pen::all_are_here() {
        early::write_str("stillpoint: not all CPUs have come from firmware's spin-table yet\n");
    }
}

/// Returns whether a release word can be at `word`, so that it may be written to. It must be
/// inside a range that the tree reserves, as the boot protocol demands (Linux,
/// `Documentation/arch/arm64/booting.rst`), and at an address that this CPU can write; and
/// it must not be in the Image or in `blob`, the loader's tree. Anywhere else there may be
/// memory that is used for something else, or no memory.
pub(super) fn is_release_word(tree: &DeviceTree<'_>, word: u64, blob: &Range<u64>) -> bool {
    let Some(end) = word.checked_add(8).filter(|_| word != 0) else {
        return false;
    };
    let image = image::image();
    let image = image.start as u64..image.end as u64;
    let is_ours = [image, blob.clone()]
        .iter()
        .any(|ours| word < ours.end && ours.start < end);
    let is_reserved = tree
        .reserved()
        .flatten()
        .any(|reserved| reserved.start() <= word && end <= reserved.end());
    is_reserved && !is_ours && mmu::can_address(bytes(&(word..end)).end)
}

/// Returns the addresses of `range`.
fn range(range: PhysRange) -> Range<u64> {
    range.into()
}

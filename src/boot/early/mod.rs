//! The first Rust: MMU off, no heap, no locks, one CPU.
//!
//! The device tree is checked whole and copied before anything trusts it; from
//! then on only the copy is used. What goes wrong here ends in one line on the
//! early console and a WFI, with the reason in `boot_failure_reason`; or, where the
//! tree's boot arguments could be read and ask for it, in an exit status.

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
use map::{check_devices, requests};
use plan::{plan_memory, plan_stacks, plan_tables};

/// Where the checked copy of the device tree goes: room for the largest that the boot
/// protocol allows. The pages that the copy doesn't fill become free memory.
#[repr(align(4096))]
struct TreeBuffer(UnsafeCell<[u8; dt::MAX_SIZE]>);

const _: () = assert!(align_of::<TreeBuffer>() == PAGE_SIZE);
const _: () = assert!(size_of::<TreeBuffer>().is_multiple_of(PAGE_SIZE));

// SAFETY: the copy is written once, by the boot CPU before any other runs, and only
// read after. The rest of it is used as what it then is, memory of the plan.
unsafe impl Sync for TreeBuffer {}

static TREE: TreeBuffer = TreeBuffer(UnsafeCell::new([0; dt::MAX_SIZE]));

/// Returns the pages of [`TREE`] that a copy of `length` bytes leaves.
fn unused_tree(length: usize) -> Range<u64> {
    let start = TREE.0.get().addr();
    let used = length.next_multiple_of(PAGE_SIZE);
    (start + used) as u64..(start + dt::MAX_SIZE) as u64
}

/// The early console as a formatter writes to it.
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

/// Checks the device tree at `address` whole, and copies it into `copy` without
/// its padding and NOPs. Returns the length of the copy.
///
/// This is the way of every boot; nothing else reads the blob.
///
/// # Errors
/// [`EarlyError`]: nothing but the blob's bytes up to its stated size has been
/// read, and that only after the size was found sane.
///
/// # Safety
/// If `address` is not 0 and a multiple of 8, eight bytes there are readable;
/// and if those are the header of a device tree, as many as it says.
pub unsafe fn load_device_tree(address: usize, copy: &mut [u8]) -> Result<usize, EarlyError> {
    if address == 0 {
        return Err(EarlyError::NoDeviceTree);
    }
    if !address.is_multiple_of(8) {
        return Err(EarlyError::MisalignedDeviceTree(address));
    }
    let start = core::ptr::with_exposed_provenance::<u8>(address);
    // First what says how much there is, then all of it.
    let header = coherency::boot::read_tree(&mut LoaderTree {
        range: address..address.saturating_add(8),
        // SAFETY: the caller promises eight bytes.
        read_fn: || unsafe { *start.cast::<[u8; 8]>() },
    });
    let size = dt::total_size(&header)?;
    let checked = coherency::boot::read_tree(&mut LoaderTree {
        range: address..address.saturating_add(size),
        read_fn: || {
            // SAFETY: the header says that it is a device tree of this size, at most
            // 2 MiB, and the caller promises that such a one is readable.
            let blob = unsafe { core::slice::from_raw_parts(start, size) };
            dt::check(blob, &mut *copy)
        },
    });
    Ok(checked?)
}

/// A part of the loader's device tree, and what reads it, as [`coherency::boot::read_tree`] needs
/// them.
struct LoaderTree<F> {
    range: Range<usize>,
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

/// What the first Rust leaves to the rest.
pub(super) struct Early {
    /// The checked copy of the device tree.
    pub(super) tree: &'static [u8],
    /// The address map, in use.
    pub(super) tables: PageTables,
    /// Memory for the heap.
    pub(super) heap: MemoryPlan,
    /// Where the stacks lie.
    pub(super) stacks: StackLayout,
    /// Bytes of memory that this CPU has no addresses for.
    pub(super) beyond: u64,
    /// Where a loader put the tree, of which nothing may be written any more.
    pub(super) blob: Range<u64>,
    /// Why what `earlycon=` names isn't the early console, if it isn't.
    pub(super) not_taken: Option<NotTaken>,
}

/// Checks the tree, plans memory, builds the address map and turns it on.
///
/// # Safety
/// `dtb` is x0 as the boot protocol has it; called once, first, MMU off.
pub(super) unsafe fn prepare(dtb: usize) -> Result<Early, EarlyError> {
    // SAFETY: called once, before anything else could refer to the buffer.
    let copy = unsafe { &mut *TREE.0.get() };
    // SAFETY: the boot protocol's promise, which the caller passes on.
    let length = unsafe { load_device_tree(dtb, copy) }?;
    // SAFETY: it is within the buffer, whose first `length` bytes are only read from now
    // on. No reference to the others is left: they become free memory.
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

/// As [`prepare`], with the checked tree.
///
/// # Safety
/// As for [`prepare`].
unsafe fn prepare_with(
    tree: &DeviceTree<'_>,
    copy: &'static [u8],
    dtb: usize,
) -> Result<Early, EarlyError> {
    check_devices(tree)?;
    // The size was found sane when the blob was copied.
    let blob = core::ptr::with_exposed_provenance::<[u8; 8]>(dtb);
    // SAFETY: `load_device_tree` has read it.
    let size = dt::total_size(unsafe { &*blob })?;
    let blob = dtb as u64..(dtb + size) as u64;
    take_cpus_from_firmware(tree, &blob);

    let (mut plan, beyond) = plan_memory(tree, &blob, copy.len())?;
    let stacks = plan_stacks(tree, &mut plan)?;
    let tables = plan_tables(tree, &mut plan, &stacks)?;
    // SAFETY: the plan gave this memory to us alone; it is RAM, and not at 0.
    let tables =
        unsafe { PageTables::build(bytes(&tables), requests(tree, &plan, &stacks, &tables)) }?;
    // SAFETY: the MMU is off, and no other CPU runs but those in the pen, which use
    // neither MMU nor cache. The map has the Image, the
    // heap, the stacks, the tables and the devices that the tree names.
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

/// Moves the CPUs of a spin-table to our own pen, before any memory beside the Image
/// is written: theirs may lie there. One release word may serve several, so all have
/// their slots first.
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
    // A CPU for which there is no slot is left where it is, and out of the kernel's
    // list: see `cpu_list`.
    let in_pen = waiting().take_while(|(mpidr, _)| pen::claim(*mpidr).is_ok());
    for (_, release_addr) in waiting().take(in_pen.count()) {
        // SAFETY: the tree says that this is a release word; `dt` has seen that it is
        // a multiple of 8; `is_release_word`, that nothing else can have it.
        unsafe { pen::take_from_firmware(release_addr) };
    }
    if !pen::all_are_here() {
        early::write_str("stillpoint: not all CPUs have come from firmware's spin-table yet\n");
    }
}

/// Returns whether a release word can be at `word`, so that it may be written to: inside a
/// range that the tree reserves, as the boot protocol has it (Linux,
/// `Documentation/arch/arm64/booting.rst`), where this CPU can write; and not in the Image
/// or in `blob`, the tree. Anywhere else it would be memory that is used for something
/// else, or no memory.
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

fn range(range: PhysRange) -> Range<u64> {
    range.into()
}

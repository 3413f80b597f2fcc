//! The first Rust: MMU off, no heap, no locks, one CPU.
//!
//! The device tree is checked whole and copied before anything trusts it; from
//! then on only the copy is used. What goes wrong here ends in one line on the
//! early console, or without one in a WFI with the reason in
//! `boot_failure_reason`.

mod error;
mod map;

use core::cell::Cell;
use core::fmt::{self, Write};
use core::ops::Range;

use crate::arch::aarch64::boot::halt_with_reason;
use crate::arch::aarch64::mmu::PageTables;
use crate::arch::aarch64::{cache, cpu, image, mmu, pen};
use crate::config::{ORDINARY_STACKS, PAGE_SIZE, STACKS_PER_CPU};
use crate::device::{EarlyCon, EarlyConKind};
use crate::drivers::early;
use crate::dt::{self, ConsoleKind, CpuDesc, DeviceTree, DtError, EnableMethod, PhysRange};
use crate::memory::{MapKind, MemoryPlan, StackLayout, tables_needed};
use crate::shell::BootArgs;
use crate::smp;
use crate::smp::steps::{Line, Step};
use crate::sync::UnsafeCell;

pub use error::EarlyError;
use map::{check_devices, is_memory, requests};

/// Room for the checked copy of the device tree, in bytes. QEMU's tree for 512
/// CPUs takes about 100 KiB without its padding.
const TREE_SIZE: usize = 256 * 1024;

/// The checked copy.
#[repr(align(8))]
struct TreeBuffer(UnsafeCell<[u8; TREE_SIZE]>);

// SAFETY: written once, by the boot CPU before any other runs; read only after.
unsafe impl Sync for TreeBuffer {}

static TREE: TreeBuffer = TreeBuffer(UnsafeCell::new([0; TREE_SIZE]));

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
        Ok(()) | Err(fmt::Error) => halt_with_reason(error.reason()),
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
    let header = read_tree(address..address.saturating_add(8), || {
        // SAFETY: the caller promises eight bytes.
        unsafe { *start.cast::<[u8; 8]>() }
    });
    let size = dt::total_size(&header)?;
    let checked = read_tree(address..address.saturating_add(size), || {
        // SAFETY: the header says that it is a device tree of this size, at most
        // 2 MiB, and the caller promises that such a one is readable.
        let blob = unsafe { core::slice::from_raw_parts(start, size) };
        dt::check(blob, copy)
    });
    Ok(checked?)
}

/// Reads `range` of the device tree by `read_fn`.
fn read_tree<T>(range: Range<usize>, read_fn: impl FnOnce() -> T) -> T {
    let mut read_fn = Some(read_fn);
    let mut value = None;
    for step in smp::boot::READ_TREE {
        match step {
            Step::Clean(Line::Tree) => cache::clean_to_poc(range.clone()),
            Step::Read(Line::Tree) => value = read_fn.take().map(|read_fn| read_fn()),
            step => panic!("BUG: {step:?} reads no tree"),
        }
    }
    value.expect("BUG: the sequence reads the tree once")
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
    let copy: &'static [u8] = &copy[..length];
    let tree = DeviceTree::new(copy)?;
    choose_console(&tree);
    check_devices(&tree)?;
    take_cpus_from_firmware(&tree);

    let mut plan = plan_memory(&tree, dtb)?;
    let stacks = plan_stacks(&tree, &mut plan)?;
    let tables = plan_tables(&tree, &mut plan, &stacks)?;
    // SAFETY: the plan gave this memory to us alone; it is RAM, and not at 0.
    let tables =
        unsafe { PageTables::build(bytes(&tables), requests(&tree, &plan, &stacks, &tables)) }?;
    // SAFETY: the MMU is off, and no other CPU runs but those in the pen, which use
    // neither MMU nor cache. The map has the Image, the
    // heap, the stacks, the tables and the devices that the tree names.
    unsafe { tables.enable() };
    Ok(Early {
        tree: copy,
        tables,
        heap: plan,
        stacks,
    })
}

/// Prints from now on to what `earlycon=` names, else to the tree's console, else to
/// what the kernel was built with; but not to what the tree calls memory: that was
/// meant for another machine.
#[inline(never)] // The walks of the tree have large frames.
fn choose_console(tree: &DeviceTree<'_>) {
    let usable = |console: &EarlyCon| {
        let registers = early::registers(*console);
        mmu::can_address(bytes(&registers).end) && !is_memory(tree, &registers)
    };
    let arguments = BootArgs::parse(tree.bootargs().unwrap_or(""));
    let console = arguments
        .earlycon
        .filter(usable)
        .or_else(|| console_of(tree).filter(usable))
        .or(early::BUILT_IN.filter(usable));
    // SAFETY: the boot CPU is alone, and says what it does. The console is there by
    // the word of the user, of the tree, or of who built the kernel.
    unsafe { early::choose(console) };
}

/// The tree's console, as one that needs no memory.
fn console_of(tree: &DeviceTree<'_>) -> Option<EarlyCon> {
    let found = tree.console().ok()??;
    let kind = match found.kind {
        ConsoleKind::Pl011 => EarlyConKind::Pl011,
        ConsoleKind::SbsaUart => EarlyConKind::SbsaUart,
        ConsoleKind::Ns16550(layout) => EarlyConKind::Ns16550(layout),
        ConsoleKind::Other => return None,
    };
    let base = found.registers.start();
    Some(EarlyCon { kind, base })
}

/// Moves the CPUs of a spin-table to our own pen, before any memory beside the Image
/// is written: theirs may lie there. One release word may serve several, so all have
/// their slots first.
fn take_cpus_from_firmware(tree: &DeviceTree<'_>) {
    let waiting = || {
        let me = cpu::mpidr();
        let image = image::image();
        let can_write = move |word: u64| {
            let word = bytes(&(word..word.saturating_add(8)));
            mmu::can_address(word.end) && (word.end <= image.start || image.end <= word.start)
        };
        tree.cpus().flatten().filter_map(move |cpu| match cpu {
            CpuDesc {
                mpidr,
                enable_method: EnableMethod::SpinTable { release_addr },
                enabled: true,
            } if mpidr != me && can_write(release_addr) => Some((mpidr, release_addr)),
            _ => None,
        })
    };
    // A CPU for which there is no slot is left where it is, and out of the kernel's
    // list: see `boot::list_cpus`.
    let in_pen = waiting().take_while(|(mpidr, _)| pen::claim(*mpidr).is_ok());
    for (_, release_addr) in waiting().take(in_pen.count()) {
        // SAFETY: the tree says that this is a release word; `dt` has seen that it is
        // a multiple of 8; it can be addressed, and is not in the Image.
        unsafe { pen::take_from_firmware(release_addr) };
    }
    if !pen::all_are_here() {
        early::write_str("stillpoint: not all CPUs have come from firmware's spin-table yet\n");
    }
}

fn range(range: PhysRange) -> Range<u64> {
    range.into()
}

/// A physical range as addresses: the two are 64 bits alike, and VA = PA.
pub(super) fn bytes(range: &Range<u64>) -> Range<usize> {
    let address = |value: u64| usize::try_from(value).expect("BUG: addresses are 64 bits");
    address(range.start)..address(range.end)
}

/// An iterator over the good items of `all`, which notes the first error.
fn sound<'a, T>(
    all: impl Iterator<Item = Result<T, DtError>> + 'a,
    error: &'a Cell<Option<DtError>>,
) -> impl Iterator<Item = T> + 'a {
    all.filter_map(|item| match item {
        Ok(item) => Some(item),
        Err(found) => {
            error.set(error.get().or(Some(found)));
            None
        }
    })
}

fn plan_memory(tree: &DeviceTree<'_>, dtb: usize) -> Result<MemoryPlan, EarlyError> {
    let error = Cell::new(None);
    let image = image::image();
    // The size was found sane when the blob was copied.
    let blob = core::ptr::with_exposed_provenance::<[u8; 8]>(dtb);
    // SAFETY: `load_device_tree` has read it.
    let size = dt::total_size(unsafe { &*blob })?;
    let ours = [
        image.start as u64..image.end as u64,
        dtb as u64..(dtb + size) as u64,
    ];
    let plan = MemoryPlan::new(
        sound(tree.memory(), &error).map(range),
        sound(tree.reserved(), &error).map(range).chain(ours),
    );
    match error.get() {
        Some(error) => Err(error.into()),
        None => Ok(plan?),
    }
}

/// Stacks for every CPU of the tree and for ordinary threads; fewer of the
/// latter where memory is short.
fn plan_stacks(tree: &DeviceTree<'_>, plan: &mut MemoryPlan) -> Result<StackLayout, EarlyError> {
    let needed = tree.cpus().count() * STACKS_PER_CPU;
    let wanted = needed + ORDINARY_STACKS;
    let afford = plan.total() / 4 / StackLayout::bytes_for(1) as u64;
    let count = wanted
        .min(usize::try_from(afford).unwrap_or(usize::MAX))
        .max(needed);
    let size = StackLayout::bytes_for(count) as u64;
    let memory = plan
        .take(size, PAGE_SIZE as u64)
        .ok_or(EarlyError::NoMemory(size))?;
    Ok(StackLayout::new(bytes(&memory)))
}

/// Memory for the page tables: counted from the requests themselves, as if the
/// largest free range were all ours, which can only be more.
fn plan_tables(
    tree: &DeviceTree<'_>,
    plan: &mut MemoryPlan,
    stacks: &StackLayout,
) -> Result<Range<u64>, EarlyError> {
    let guards: usize = stacks.guards().count();
    // Pages of level 3 tables under the guards, and what one guard may ask for.
    let under_guards = guards * StackLayout::bytes_for(1) / (512 * PAGE_SIZE) + 8;
    let others: usize = requests(tree, plan, stacks, &(0..0))
        .filter(|request| request.kind != MapKind::Guard)
        .map(|request| tables_needed(&request.range))
        .sum();
    // One for the root; taking the tables themselves may split one range more.
    let pages = 1 + others + under_guards + 8;
    let size = (pages * PAGE_SIZE) as u64;
    plan.take(size, PAGE_SIZE as u64)
        .ok_or(EarlyError::NoMemory(size))
}

//! Plans the use of memory: stacks, page tables, and the heap, which gets the rest.

use core::ops::Range;

use super::error::{EarlyError, Purpose};
use super::map::requests;
use super::{range, unused_tree};
use crate::arch::aarch64::{image, mmu};
use crate::config::{MAX_CPUS, PAGE_SIZE};
use crate::dt::DeviceTree;
use crate::memory::{MapKind, MemoryPlan, StackLayout, tables_needed};

/// Returns a plan of the memory that this CPU can address, and how many bytes it can't
/// address. `copy_length` is how many bytes of `TREE` are in use.
///
/// A malformed memory bank is left out, which is safe; `boot` logs it later.
///
/// # Errors
/// The fault of the first malformed reservation, because the reserved memory could be
/// anywhere. Or the fault of the first malformed bank, if no memory is left.
pub(super) fn plan_memory(
    tree: &DeviceTree<'_>,
    blob: &Range<u64>,
    copy_length: usize,
) -> Result<(MemoryPlan, u64), EarlyError> {
    if let Some(error) = tree.reserved().find_map(Result::err) {
        return Err(error.into());
    }
    let image = image::image();
    let unused = unused_tree(copy_length);
    // The Image without the unused pages of the buffer for the tree.
    let ours = [
        image.start as u64..unused.start,
        unused.end..image.end as u64,
        blob.clone(),
    ];
    let end_of_addresses = mmu::end_of_addresses() as u64;
    let banks = || tree.memory().flatten().map(range);
    let plan = MemoryPlan::new(
        banks().map(|bank| bank.start..bank.end.min(end_of_addresses)),
        tree.reserved().flatten().map(range).chain(ours),
    );
    if plan.total() == 0
        && let Some(error) = tree.memory().find_map(Result::err)
    {
        return Err(error.into());
    }
    let beyond = banks().map(|bank| bank.end.saturating_sub(bank.start.max(end_of_addresses)));
    Ok((plan, beyond.sum()))
}

/// Takes memory from `plan` for the stacks of every CPU of the tree, of the first threads
/// and of ordinary threads. There are more ordinary ones the more memory there is.
///
/// # Errors
/// [`EarlyError::NoMemory`].
pub(super) fn plan_stacks(
    tree: &DeviceTree<'_>,
    plan: &mut MemoryPlan,
) -> Result<StackLayout, EarlyError> {
    // The boot CPU may have no node. `cpu_list` leaves out the CPUs above the limit.
    let cpus = tree.cpus().count().clamp(1, MAX_CPUS);
    let count = StackLayout::count_for(cpus, plan.total());
    StackLayout::take(plan, count).ok_or(EarlyError::NoMemory {
        size: StackLayout::bytes_for(count) as u64,
        purpose: Purpose::Stacks(cpus),
    })
}

/// Takes memory from `plan` for the page tables. The number of tables is counted from the
/// requests of the address map before this memory is taken from the largest free range,
/// which can only give more.
///
/// # Errors
/// [`EarlyError::NoMemory`].
pub(super) fn plan_tables(
    tree: &DeviceTree<'_>,
    plan: &mut MemoryPlan,
    stacks: &StackLayout,
) -> Result<Range<u64>, EarlyError> {
    // Level 3 tables for all guards: a piece may begin and end in the middle of a block.
    let blocks = |piece: Range<usize>| piece.len() / (512 * PAGE_SIZE) + 2;
    let under_guards: usize = stacks.ranges().map(blocks).sum();
    let others: usize = requests(tree, plan, stacks, &(0..0))
        .filter(|request| request.kind != MapKind::Guard)
        .map(|request| tables_needed(&request.range))
        .sum();
    // One table is the root. The last 16 are for the one range more that the tables themselves
    // may split, and because the builder of the map wants room for the most that a request may
    // need, also where the tables are there.
    let pages = 1 + others + under_guards + 16;
    let size = (pages * PAGE_SIZE) as u64;
    plan.take(size, PAGE_SIZE as u64)
        .ok_or(EarlyError::NoMemory {
            size,
            purpose: Purpose::Tables,
        })
}

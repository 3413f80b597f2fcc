//! The address map of the machine: which ranges are mapped, and with which attributes.

use core::ops::Range;

use super::{EarlyError, range};
use crate::arch::aarch64::image;
use crate::arch::aarch64::mmu;
use crate::device::gic::{GICV2_CPU_INTERFACE_SIZE, GICV2_DISTRIBUTOR_SIZE};
use crate::drivers::early;
#[cfg(feature = "virtio")]
use crate::dt::PciHostDesc;
use crate::dt::{BoardPower, ConsoleDesc, ConsoleKind, DeviceTree, GicDesc, PhysRange};
#[cfg(feature = "virtio")]
use crate::kernel::devices::PCI_WINDOW;
use crate::memory::{MapKind, MapRequest, MemoryPlan, StackLayout, bytes, joined};

/// Returns the whole address map. A later request wins over an earlier one, so RAM comes
/// first and then the ranges that lie in it.
pub(super) fn requests<'a>(
    tree: &'a DeviceTree<'_>,
    plan: &'a MemoryPlan,
    stacks: &'a StackLayout,
    tables: &Range<u64>,
) -> impl Iterator<Item = MapRequest> + 'a {
    let request = |range: Range<usize>, kind| MapRequest { range, kind };
    let ram = plan
        .free()
        .map(move |range| request(bytes(&range), MapKind::Data));
    let own_stacks = stacks
        .ranges()
        .map(move |range| request(range, MapKind::Data));
    let own = [
        (bytes(tables), MapKind::Data),
        (image::text(), MapKind::Text),
        (image::rodata(), MapKind::Rodata),
        (image::data(), MapKind::Data),
        (image::boot_stack_guard(), MapKind::Guard),
        (image::text_alias(), MapKind::Guard),
    ]
    .into_iter()
    .filter(|(range, _)| !range.is_empty())
    .map(move |(range, kind)| request(range, kind));
    let guards = stacks
        .guards()
        .map(move |range| request(range, MapKind::Guard));
    ram.chain(own_stacks)
        .chain(own)
        .chain(guards)
        .chain(devices(tree))
        .chain(optional(tree))
}

/// Returns the registers of devices that a machine can do without: those of them that lie where
/// they can be mapped.
fn optional<'a>(tree: &'a DeviceTree<'_>) -> impl Iterator<Item = MapRequest> + 'a {
    let mappable = |range: &Range<u64>| is_mappable(tree, range);
    let ranges = singles(tree).into_iter().flatten().filter(mappable);
    #[cfg(feature = "virtio")]
    let ranges = {
        let places = tree.virtio_mmio().flatten();
        let places = places.map(|place| range(place.registers)).filter(mappable);
        let host = tree.pci_host().ok().flatten();
        let pci = host.as_ref().map(pci_ranges);
        let pci = pci.filter(|ranges| ranges.iter().all(mappable));
        ranges.chain(places).chain(pci.into_iter().flatten())
    };
    joined(ranges.map(|range| {
        let Range { start, end } = bytes(&range);
        MapRequest::around(start, end, MapKind::Device)
    }))
}

/// Returns the registers of the clock, and those of the power key.
#[inline(never)] // A walk has a frame of 4 KiB, and the boot stack isn't large.
#[cfg_attr(
    // Without these features there is nothing to look for.
    not(any(feature = "pl031", feature = "gpio-keys")),
    allow(unused_variables)
)]
fn singles(tree: &DeviceTree<'_>) -> [Option<Range<u64>>; 2] {
    #[cfg(feature = "pl031")]
    let rtc = tree.rtc().ok().flatten().map(range);
    #[cfg(not(feature = "pl031"))]
    let rtc = None;
    #[cfg(feature = "gpio-keys")]
    let key = tree
        .power_key()
        .ok()
        .flatten()
        .map(|key| range(key.registers));
    #[cfg(not(feature = "gpio-keys"))]
    let key = None;
    [rtc, key]
}

/// Returns what of a PCI host is used: the configuration space of its first bus, and the beginning of
/// its window.
#[cfg(feature = "virtio")]
pub(in crate::boot) fn pci_ranges(host: &PciHostDesc) -> [Range<u64>; 2] {
    let window = host.window.start();
    let size = host.window.size().min(PCI_WINDOW);
    [range(host.config), window..window + size]
}

/// Returns whether the registers of a device at `range` can be mapped: the tree has no RAM there,
/// and this CPU can address them.
pub(in crate::boot) fn is_mappable(tree: &DeviceTree<'_>, range: &Range<u64>) -> bool {
    let end = usize::try_from(range.end).unwrap_or(usize::MAX);
    range.start != 0 && mmu::can_address(end) && !is_memory(tree, range)
}

/// Returns whether the tree has RAM anywhere in `range`.
pub(super) fn is_memory(tree: &DeviceTree<'_>, range: &Range<u64>) -> bool {
    tree.memory()
        .flatten()
        .any(|memory| range.start < memory.end() && memory.start() < range.end)
}

/// Refuses a tree that has device registers where it has RAM. Mapping the registers would
/// unmap that RAM, which this kernel may use.
///
/// # Errors
/// [`EarlyError::DeviceInMemory`].
pub(super) fn check_devices(tree: &DeviceTree<'_>) -> Result<(), EarlyError> {
    match devices(tree).find(|request| is_memory(tree, &range_of(request))) {
        Some(request) => Err(EarlyError::DeviceInMemory(request.range.start)),
        None => Ok(()),
    }
}

fn range_of(request: &MapRequest) -> Range<u64> {
    request.range.start as u64..request.range.end as u64
}

/// Returns the device registers that the tree names and this kernel uses.
fn devices<'a>(tree: &'a DeviceTree<'_>) -> impl Iterator<Item = MapRequest> + 'a {
    let device = |range: Range<u64>| {
        let Range { start, end } = bytes(&range);
        MapRequest::around(start, end, MapKind::Device)
    };
    let console = tree
        .console()
        .ok()
        .flatten()
        .filter(|console: &ConsoleDesc| console.kind != ConsoleKind::Other)
        .map(|console| range(console.registers));
    let power = tree
        .board_power()
        .ok()
        .flatten()
        .map(|BoardPower::BcmWatchdog { registers }| range(registers));
    // The tree may give too small a size for the register banks of a GICv2; the
    // architecture defines it.
    let at_least =
        |range: PhysRange, size| range.start()..range.end().max(range.start().saturating_add(size));
    let (singles, redistributors) = match tree.gic() {
        Ok(GicDesc::V3 {
            distributor,
            redistributors,
            ..
        }) => ([Some(range(distributor)), None], Some(redistributors)),
        Ok(GicDesc::V2 {
            distributor,
            cpu_interface,
        }) => {
            let distributor = at_least(distributor, GICV2_DISTRIBUTOR_SIZE);
            let cpu_interface = at_least(cpu_interface, GICV2_CPU_INTERFACE_SIZE);
            ([Some(distributor), Some(cpu_interface)], None)
        }
        Err(_) => ([None, None], None),
    };
    let frames = redistributors.into_iter().flat_map(|regions| {
        let mut at = 0;
        core::iter::from_fn(move || {
            let region = regions.as_slice().get(at).copied()?;
            at += 1;
            Some(range(region))
        })
    });
    early::mmio()
        .into_iter()
        .chain(console)
        .chain(power)
        .chain(singles.into_iter().flatten())
        .chain(frames)
        .map(device)
}

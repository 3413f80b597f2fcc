//! The functions of a PCI bus.

use super::{PCI_WINDOW, Reason, reason, start_virtio};
use crate::device::pci::{
    Function, Identity, VIRTIO_VENDOR, Window, assign, functions, interrupt_pin, turn_off, turn_on,
    virtio_regions,
};
use crate::drivers::pci::Ecam;
use crate::drivers::virtio::{PciTransport, VirtioInterrupt, VirtioTransport, kind_of};
use crate::dt::{DeviceTree, DtError, NodeKind, PciHostDesc};
use crate::kernel::kernel;

/// Starts the drivers of the functions on the first bus of `host`.
pub(super) fn start(host: &PciHostDesc) {
    // SAFETY: the tree says that it is there, and `boot` mapped it as device memory, for ever. It
    // passes each host once.
    let space = unsafe { Ecam::new(host.config.start()) };
    let (Some(space), Ok(tree)) = (space, DeviceTree::new(kernel().device_tree)) else {
        return;
    };
    // What firmware has put somewhere must not be in the way.
    for (function, _) in functions(&space) {
        turn_off(&space, function);
    }
    let mut window = Window {
        bus: host.bus_start,
        cpu: host.window.start(),
        size: host.window.size().min(PCI_WINDOW),
    };
    for (function, identity) in functions(&space) {
        if identity.vendor != VIRTIO_VENDOR {
            continue;
        }
        if let Err(why) = start_function(&space, &tree, host, &mut window, function, identity) {
            log::warn!("pci {function} is left out: {why}");
            turn_off(&space, function);
        }
    }
}

/// Starts the driver of the virtio device `function`.
fn start_function(
    space: &Ecam,
    tree: &DeviceTree<'_>,
    host: &PciHostDesc,
    window: &mut Window,
    function: Function,
    identity: Identity,
) -> Result<(), Reason> {
    let Some(kind) = kind_of(identity.device) else {
        return Ok(());
    };
    if !host.coherent {
        return Err("it is not coherent with the caches".into());
    }
    let bars = assign(space, function, window).map_err(reason)?;
    let regions = virtio_regions(space, function, &bars).map_err(reason)?;
    turn_on(space, function);
    let line = match interrupt_pin(space, function) {
        Some(pin) => tree.pci_line(function.device, pin),
        None => Err(DtError::PropertyMissing(NodeKind::Pci, "interrupt-map")),
    };
    // SAFETY: the registers are where the function was told to put them, in the window that `boot`
    // mapped, and each part of the window is given out once.
    let found = unsafe { PciTransport::new(kind, &regions) };
    let (transport, interrupt) = found.ok_or("its registers can not be reached")?;
    start_virtio(
        format_args!("pci {function}"),
        VirtioTransport::Pci(transport),
        VirtioInterrupt::Pci(interrupt),
        line,
    )
}

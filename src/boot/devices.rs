//! Finds the devices that the kernel needs in the device tree, and makes their drivers.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
#[cfg(any(feature = "pl031", feature = "gpio-keys", feature = "virtio"))]
use core::ops::Range;

use crate::arch::aarch64::cpu;
use crate::arch::aarch64::failure::BootFailure;
use crate::arch::aarch64::pen::Pen;
use crate::arch::aarch64::timer;
use crate::boot::cpu_list::list_cpus;
use crate::boot::early::Early;
#[cfg(any(feature = "pl031", feature = "gpio-keys", feature = "virtio"))]
use crate::boot::early::is_mappable;
#[cfg(feature = "virtio")]
use crate::boot::early::pci_ranges;
use crate::cpu::Mpidr;
use crate::drivers::bcm_watchdog::BcmWatchdog;
#[cfg(feature = "gicv2")]
use crate::drivers::gicv2::GicV2;
#[cfg(feature = "gicv3")]
use crate::drivers::gicv3::{self, GicV3};
#[cfg(any(feature = "pl031", feature = "gpio-keys", feature = "virtio"))]
use crate::dt::DtError;
use crate::dt::{BoardPower, DeviceTree, GicDesc, PhysRange, Redistributors, TimerDesc};
use crate::kernel::CpuPower;
use crate::kernel::devices::Places;
use crate::kernel::{console, exit};
use crate::memory::bytes;
use crate::platform::{IrqChip, Trigger};
use crate::time::Frequency;

/// Ends a boot that lacks a device; prints `message` on the console.
pub(super) fn give_up(message: fmt::Arguments<'_>) -> ! {
    console::print(format_args!("stillpoint: {message}\n"));
    exit::end_refused(BootFailure::NoDevice)
}

/// Ends the boot with [`give_up`] and a formatted message.
macro_rules! missing {
    ($($message:tt)*) => {
        $crate::boot::devices::give_up(format_args!($($message)*))
    };
}

pub(super) use missing;

/// What the kernel is made from.
pub(super) struct Devices {
    /// The CPUs that the machine can start and interrupt, the boot CPU first.
    pub(super) mpidrs: Vec<Mpidr>,
    /// The interrupt controller.
    pub(super) irq_chip: Box<dyn IrqChip + Send>,
    /// Turns CPUs and the machine on and off.
    pub(super) cpu_ops: CpuPower,
    /// The INTID of the timer's interrupt.
    pub(super) timer_ppi: u32,
    /// Whether that line is level or edge triggered.
    pub(super) timer_trigger: Trigger,
}

impl Devices {
    /// Returns the devices that `tree` names, `cpus` CPUs at most among them. A boot without one of
    /// them ends here.
    pub(super) fn of_tree(tree: &DeviceTree<'_>, early: &Early, cpus: usize) -> Devices {
        let gic = match tree.gic() {
            Ok(gic) => gic,
            Err(error) => missing!("no usable interrupt controller: {error}"),
        };
        let cpu_ops = make_cpu_ops(tree, &gic);
        let mut mpidrs = list_cpus(tree, &cpu_ops, early, cpus);
        let timer = init_timer(tree);
        let irq_chip = make_irq_chip(&gic, &mut mpidrs);
        Devices {
            mpidrs,
            irq_chip,
            cpu_ops,
            timer_ppi: timer.virtual_ppi,
            timer_trigger: timer.trigger,
        }
    }
}

/// Tells the timer's driver its frequency, and returns what the tree says of the timer.
fn init_timer(tree: &DeviceTree<'_>) -> TimerDesc {
    let timer = match tree.timer() {
        Ok(timer) => timer,
        Err(error) => missing!("no usable timer: {error}"),
    };
    let from_tree = timer
        .clock_frequency
        .and_then(|hz| Frequency::new(u64::from(hz)));
    if let Err(error) = timer::init_frequency(from_tree) {
        missing!("no usable timer: {error}");
    }
    timer
}

/// Returns the tree's interrupt controller. Removes the CPUs that it can't interrupt from
/// `mpidrs`, each with a warning.
#[cfg_attr(not(feature = "gicv2"), allow(clippy::ptr_arg))] // Only a GICv2 leaves CPUs out.
fn make_irq_chip(gic: &GicDesc, mpidrs: &mut Vec<Mpidr>) -> Box<dyn IrqChip + Send> {
    match gic {
        #[cfg(feature = "gicv3")]
        GicDesc::V3 {
            distributor,
            redistributors,
            stride,
        } => Box::new(make_gicv3(*distributor, redistributors, *stride, mpidrs)),
        #[cfg(feature = "gicv2")]
        GicDesc::V2 {
            distributor,
            cpu_interface,
        } => Box::new(make_gicv2(*distributor, *cpu_interface, mpidrs)),
        #[cfg(not(feature = "gicv3"))]
        GicDesc::V3 { .. } => missing!("this program was built without the feature gicv3"),
        #[cfg(not(feature = "gicv2"))]
        GicDesc::V2 { .. } => missing!("this program was built without the feature gicv2"),
    }
}

#[cfg(feature = "gicv3")]
fn make_gicv3(
    distributor: PhysRange,
    redistributors: &Redistributors,
    stride: Option<u64>,
    mpidrs: &[Mpidr],
) -> GicV3 {
    if redistributors.left_out() != 0 {
        log::warn!(
            "{} regions of redistributors are left out, with the CPUs that need them",
            redistributors.left_out()
        );
    }
    let regions: Vec<_> = redistributors
        .as_slice()
        .iter()
        .map(|region| (*region).into())
        .collect();
    let registers = gicv3::Registers {
        distributor: distributor.start(),
        redistributors: &regions,
        all_regions: redistributors.left_out() == 0,
        stride,
    };
    // SAFETY: the tree says that the registers are there. `early` mapped them as device
    // memory, for ever. No other driver uses them.
    let chip = unsafe { GicV3::new(&registers, mpidrs) };
    match chip {
        Ok(chip) => chip,
        Err(error) => missing!("interrupt controller: {error}"),
    }
}

#[cfg(feature = "gicv2")]
fn make_gicv2(distributor: PhysRange, cpu_interface: PhysRange, mpidrs: &mut Vec<Mpidr>) -> GicV2 {
    // SAFETY: the tree says that the registers are there. `early` mapped as much of them as
    // the driver uses as device memory, for ever. No other driver uses them.
    let chip = unsafe { GicV2::new(distributor.start(), cpu_interface.start(), mpidrs) };
    let chip = match chip {
        Ok(chip) => chip,
        Err(error) => missing!("interrupt controller: {error}"),
    };
    let served = chip.served();
    for mpidr in mpidrs.drain(served..) {
        log::warn!("CPU {mpidr} is left out: the GICv2 has {served} CPU interfaces");
    }
    chip
}

/// Returns the means that the tree names of turning CPUs and the machine on and off.
fn make_cpu_ops(tree: &DeviceTree<'_>, gic: &GicDesc) -> CpuPower {
    let conduit = match tree.psci() {
        Ok(found) => found.map(|psci| psci.conduit),
        Err(error) => missing!("no usable PSCI: {error}"),
    };
    let interface = match *gic {
        GicDesc::V2 { cpu_interface, .. } => Some(bytes(&cpu_interface.into()).start),
        GicDesc::V3 { .. } => None,
    };
    let pen = Pen::new(interface);
    if conduit.is_none()
        && pen.is_used()
        && let Err(full) = pen.admit(cpu::mpidr())
    {
        log::warn!("the boot CPU can not go off: {full}");
    }
    match CpuPower::new(conduit, pen, board_power(tree)) {
        Ok(power) => power,
        Err(error) => missing!("no usable PSCI: {error}"),
    }
}

/// Returns the driver of the watchdog that ends the machine where firmware doesn't.
fn board_power(tree: &DeviceTree<'_>) -> Option<BcmWatchdog> {
    match tree.board_power() {
        Ok(None) => None,
        Ok(Some(BoardPower::BcmWatchdog { registers })) => {
            // SAFETY: the tree says that the watchdog is there. `early` mapped it as device
            // memory, for ever. No other driver uses it.
            unsafe { BcmWatchdog::new(registers.start()) }
        }
        Err(error) => {
            log::warn!("no power-off: {error}");
            None
        }
    }
}

/// Returns the places for devices that `tree` names and `early` has mapped. What can't be decoded
/// or mapped is left out, with a warning.
#[inline(never)] // Walks have frames of 4 KiB.
#[cfg_attr(
    // Without these features there is nothing to look for.
    not(any(feature = "pl031", feature = "gpio-keys", feature = "virtio")),
    allow(unused_variables, unused_mut)
)]
pub(super) fn places(tree: &DeviceTree<'_>) -> Places {
    let mut places = Places::default();
    #[cfg(feature = "pl031")]
    {
        places.rtc = usable(tree, "clock", tree.rtc(), |rtc| [(*rtc).into()]);
    }
    #[cfg(feature = "gpio-keys")]
    {
        places.power_key = usable(tree, "power key", tree.power_key(), |key| {
            [key.registers.into()]
        });
    }
    #[cfg(feature = "virtio")]
    {
        for place in tree.virtio_mmio() {
            let place = usable(tree, "virtio device", place.map(Some), |place| {
                [place.registers.into()]
            });
            places.virtio_mmio.extend(place);
        }
        places.pci_host = usable(tree, "PCI host", tree.pci_host(), pci_ranges);
    }
    places
}

/// Returns the device `found` if its registers, the ranges that `ranges_of` returns, are mapped. If
/// not, or if it can't be decoded, logs a warning that calls it `what`.
#[cfg(any(feature = "pl031", feature = "gpio-keys", feature = "virtio"))]
fn usable<T, const COUNT: usize>(
    tree: &DeviceTree<'_>,
    what: &str,
    found: Result<Option<T>, DtError>,
    ranges_of: impl FnOnce(&T) -> [Range<u64>; COUNT],
) -> Option<T> {
    match found {
        Ok(None) => None,
        Ok(Some(found)) => {
            let ranges = ranges_of(&found);
            let start = ranges.first().map_or(0, |range| range.start);
            if ranges.iter().all(|range| is_mappable(tree, range)) {
                return Some(found);
            }
            log::warn!("{what} at {start:#x}: its registers can not be mapped");
            None
        }
        Err(error) => {
            log::warn!("{what}: {error}");
            None
        }
    }
}

//! The choice of the early console, once the device tree has been checked.

use core::fmt;

use super::arguments;
use super::map::is_memory;
use crate::arch::aarch64::{image, mmu};
use crate::device::EarlyCon;
use crate::drivers::early;
use crate::dt::DeviceTree;
use crate::memory::bytes;

/// Why a console can't be the early one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotTaken {
    /// The program was built without its driver.
    LeftOut,
    /// Its address is too large for this CPU.
    Beyond(u64),
    /// The tree has memory at this address, so the argument was meant for another machine.
    Memory(u64),
    /// No UART answers at this address.
    Silent(u64),
}

impl fmt::Display for NotTaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LeftOut => f.write_str("this program was built without its driver"),
            Self::Beyond(address) => write!(f, "this CPU has no address {address:#x}"),
            Self::Memory(address) => write!(f, "{address:#x} is memory"),
            Self::Silent(address) => write!(f, "no UART answers at {address:#x}"),
        }
    }
}

/// Makes the early console the first that is there of these: the console that `earlycon=`
/// names, the tree's, the one that the kernel was built with. Returns why the console that
/// `earlycon=` names can't be used, if it can't.
#[inline(never)] // The walks of the tree have large frames.
pub(super) fn choose(tree: &DeviceTree<'_>) -> Option<NotTaken> {
    let check = |console: EarlyCon| {
        if !early::has_driver(console.kind) {
            return Err(NotTaken::LeftOut);
        }
        let registers = early::registers(console);
        if !mmu::can_address(bytes(&registers).end) {
            return Err(NotTaken::Beyond(console.base));
        }
        if is_memory(tree, &registers) {
            return Err(NotTaken::Memory(console.base));
        }
        // SAFETY: the tree has no memory there, and the MMU is off.
        match unsafe { early::answers(console) } {
            true => Ok(console),
            false => Err(NotTaken::Silent(console.base)),
        }
    };
    let named = arguments(tree).earlycon.map(check);
    choose_first(tree, |console| check(*console).is_ok());
    named.and_then(Result::err)
}

/// Chooses an early console for the message that ends the boot, if there is none yet: the
/// first that can be addressed and isn't in the Image. The tree may have memory there, but
/// the boot ends, so no memory is in use that the message could overwrite.
#[inline(never)] // The walks of the tree have large frames.
pub(super) fn choose_last(tree: &DeviceTree<'_>) {
    if early::mmio().is_some() {
        return;
    }
    let image = image::image();
    choose_first(tree, |console| {
        let registers = bytes(&early::registers(*console));
        let in_image = registers.start < image.end && image.start < registers.end;
        // SAFETY: the boot ends, so no memory is in use; and the MMU is off.
        early::has_driver(console.kind)
            && mmu::can_address(registers.end)
            && !in_image
            && unsafe { early::answers(*console) }
    });
}

/// Makes the first console that is `usable` the early console, or none.
fn choose_first(tree: &DeviceTree<'_>, usable: impl Fn(&EarlyCon) -> bool + Copy) {
    let console = arguments(tree)
        .earlycon
        .filter(usable)
        .or_else(|| tree.console().ok()??.early().filter(usable))
        .or(early::BUILT_IN.filter(usable));
    // SAFETY: only the boot CPU runs. The user, the tree or the build says that the console
    // is there.
    unsafe { early::choose(console) };
}

//! Which early console is printed to, once there is a tree.

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
    /// This CPU has no such address.
    Beyond(u64),
    /// The tree calls it memory: it was meant for another machine.
    Memory(u64),
    /// No UART answers there.
    Silent(u64),
}

impl fmt::Display for NotTaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Beyond(address) => write!(f, "this CPU has no address {address:#x}"),
            Self::Memory(address) => write!(f, "{address:#x} is memory"),
            Self::Silent(address) => write!(f, "no UART answers at {address:#x}"),
        }
    }
}

/// Prints from now on to what `earlycon=` names, else to the tree's console, else to
/// what the kernel was built with: to the first of them that is there. Returns why what
/// `earlycon=` names isn't.
#[inline(never)] // The walks of the tree have large frames.
pub(super) fn choose(tree: &DeviceTree<'_>) -> Option<NotTaken> {
    let check = |console: EarlyCon| {
        let registers = early::registers(console);
        if !mmu::can_address(bytes(&registers).end) {
            return Err(NotTaken::Beyond(console.base));
        }
        if is_memory(tree, &registers) {
            return Err(NotTaken::Memory(console.base));
        }
        // SAFETY: the tree doesn't call it memory, and the MMU is off.
        match unsafe { early::answers(console) } {
            true => Ok(console),
            false => Err(NotTaken::Silent(console.base)),
        }
    };
    let named = arguments(tree).earlycon.map(check);
    choose_first(tree, |console| check(*console).is_ok());
    named.and_then(Result::err)
}

/// Where the boot can't go on and there is no console to say so, prints to the first one
/// that can be addressed and isn't the Image. The tree calls it memory; but no memory is
/// in use any more that it could overwrite.
#[inline(never)] // As above.
pub(super) fn choose_last(tree: &DeviceTree<'_>) {
    if early::mmio().is_some() {
        return;
    }
    let image = image::image();
    choose_first(tree, |console| {
        let registers = bytes(&early::registers(*console));
        let in_image = registers.start < image.end && image.start < registers.end;
        // SAFETY: no memory is in use any more, and the MMU is off.
        mmu::can_address(registers.end) && !in_image && unsafe { early::answers(*console) }
    });
}

/// Prints from now on to the first console that is `usable`, or to none.
fn choose_first(tree: &DeviceTree<'_>, usable: impl Fn(&EarlyCon) -> bool + Copy) {
    let console = arguments(tree)
        .earlycon
        .filter(usable)
        .or_else(|| tree.console().ok()??.early().filter(usable))
        .or(early::BUILT_IN.filter(usable));
    // SAFETY: the boot CPU is alone, and says what it does. The console is there by
    // the word of the user, of the tree, or of the build.
    unsafe { early::choose(console) };
}

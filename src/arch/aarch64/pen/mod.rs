//! The parking pen: a page of code in which a CPU waits that firmware can't turn off, or
//! refuses to.
//!
//! [`crate::coherency::pen`] holds the protocol, and says which side may write which
//! words. The code of the CPU's side is assembled from its lists (`code`), and control's
//! side runs its functions on the words (`words`).
//!
//! * A spin-table is a pen of the firmware. At boot its release word sends every CPU
//!   from there to this pen, because the firmware's pen may lie in memory that the kernel
//!   uses from then on. For that reason no CPU can go back there.
//! * The boot CPU of such a machine takes a slot while it boots ([`Pen::admit`]), and parks
//!   here as the others do.
//! * On a machine with PSCI a CPU comes here by itself when its CPU_OFF has returned, and
//!   takes a slot then. From then on the pen starts and parks that CPU.
//! * A parked CPU sleeps in WFI until the wake SGI. Its priority mask lets only that SGI
//!   and panic through, and the pen ignores panic. The CPU acknowledges the SGI before it
//!   looks at its command, which is possible without an MMU on a GICv2.
//!   It sleeps in WFE if its interrupt interface is off or is not a GICv2's: that is so
//!   before its first start and after a refusal, for example.
//! * A parked CPU still answers the cache look-ups of other CPUs, as any core with its
//!   caches off does. So its dirty lines aren't lost, and it doesn't clean them.
//!
//! # Sources
//! Linux, Documentation/arch/arm64/booting.rst (spin-table). IHI 0048 (GICv2),
//! GICC_IAR and GICC_EOIR. Arm ARM: SCTLR_EL1, WFE, WFI.

mod code;
mod words;

use core::fmt;
use core::time::Duration;

use super::{cpu, timer};
use crate::arch::assembly::asm;
use crate::coherency::pen;
use crate::config::MAX_PEN_CPUS;
use crate::cpu::Mpidr;
use crate::platform::{CpuOps, PowerState, PsciError};
use crate::sync::atomic::Ordering;

use code::{pen_from_firmware, pen_park};
use words::{ADMITTED, Look, PARKED, Release, SLOTS, Slot, TAKEN};

/// How long the CPUs may take from the firmware's pen to this one.
const ARRIVAL: Duration = Duration::from_millis(200);

/// The error that all slots of the pen are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PenIsFull;

impl fmt::Display for PenIsFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the parking pen has room for {MAX_PEN_CPUS} CPUs")
    }
}

/// Gives the CPU `mpidr` a slot.
///
/// # Context
/// Boot CPU, MMU off, before any CPU is sent here.
///
/// # Errors
/// [`PenIsFull`] if all slots are taken.
pub fn claim(mpidr: Mpidr) -> Result<(), PenIsFull> {
    let free = SLOTS
        .iter()
        .find(|slot| slot.command.mpidr.load(Ordering::Relaxed) == 0);
    let slot = free.ok_or(PenIsFull)?;
    let value = mpidr.raw() | TAKEN;
    slot.command.mpidr.store(value, Ordering::Relaxed);
    Ok(())
}

/// Sends the CPUs that wait at the spin-table's release word `release` to this pen.
///
/// # Context
/// Boot CPU, MMU off, all slots claimed.
///
/// # Safety
/// `release` is the physical address of a spin-table's release word, a multiple
/// of 8.
pub unsafe fn take_from_firmware(release: u64) {
    let entry = (pen_from_firmware as *const ()).addr();
    // SAFETY: the caller promises what the word is. The MMU is off, so the store bypasses
    // the caches. A line that firmware left in a cache is written back and dropped first,
    // so it can neither hide the new word nor overwrite it.
    unsafe {
        asm!(
            "dc civac, {release}",
            "dsb sy",
            "str {entry}, [{release}]",
            "dmb sy",
            "dc civac, {release}",
            "dsb sy",
            "sev",
            release = in(reg) release,
            entry = in(reg) entry,
            options(nostack, preserves_flags)
        );
    }
}

/// Waits up to 200 ms until all CPUs that have a slot are in this pen. Returns whether
/// they are. A CPU that isn't may arrive later, or never.
///
/// # Context
/// Boot CPU, MMU off.
pub fn all_are_here() -> bool {
    timer::poll(ARRIVAL, || {
        SLOTS.iter().all(|slot| {
            slot.command.mpidr.load(Ordering::Relaxed) == 0
                || slot.status.status.load(Ordering::Relaxed) == PARKED
        })
    })
}

/// Turns CPUs on and off by releasing and parking them.
#[derive(Clone, Copy, Debug)]
pub struct Pen {
    /// The address at which each CPU accesses its own GICv2 CPU interface; 0 if the
    /// machine has no GICv2.
    interface: usize,
}

impl Pen {
    /// Returns the pen of this machine; `interface` is the address of its GICv2's CPU
    /// interface, if it has a GICv2.
    pub const fn new(interface: Option<usize>) -> Pen {
        let interface = match interface {
            Some(interface) => interface,
            None => 0,
        };
        Pen { interface }
    }

    /// Returns whether the CPU `mpidr` has a slot.
    pub fn has(&self, mpidr: Mpidr) -> bool {
        self.slot(mpidr).is_some()
    }

    /// Returns whether an SGI wakes a CPU in this pen once the CPU's interface has been
    /// up, which is so on a GICv2. Otherwise an event (SEV) wakes it.
    pub const fn wakes_by_sgi(&self) -> bool {
        self.interface != 0
    }

    /// Returns whether any CPU has a slot. Relaxed: it orders nothing.
    pub fn is_used(&self) -> bool {
        let is_taken = |slot: &Slot| slot.command.mpidr.load(Ordering::Relaxed) != 0;
        SLOTS.iter().any(is_taken)
    }

    /// Gives the running CPU, which is `mpidr`, a slot if it has none, so that it can park.
    ///
    /// # Context
    /// The CPU itself, its caches on: the boot CPU while it boots, another one when it has
    /// nothing left to run.
    ///
    /// # Errors
    /// [`PenIsFull`] if all slots are taken.
    pub fn admit(&self, mpidr: Mpidr) -> Result<(), PenIsFull> {
        if self.has(mpidr) {
            return Ok(());
        }
        let value = mpidr.raw() | TAKEN | ADMITTED;
        // Release: pairs with the Acquire in `slot`. The other words of the slot are 0 (not
        // parked, never released) until this CPU writes them when it parks.
        let took = |slot: &Slot| {
            let word = &slot.command.mpidr;
            word.compare_exchange(0, value, Ordering::Release, Ordering::Relaxed)
                .is_ok()
        };
        if SLOTS.iter().any(took) {
            Ok(())
        } else {
            Err(PenIsFull)
        }
    }

    /// Returns the address of the slot of `mpidr`, for its boot record; 0 if it has none.
    pub fn slot_address(&self, mpidr: Mpidr) -> usize {
        self.slot(mpidr).map_or(0, |slot| (&raw const *slot).addr())
    }

    /// Returns the address to which the running CPU, which is `mpidr`, has to jump in
    /// order to park, and the values for x0 and x1.
    pub fn way_in(&self, mpidr: Mpidr) -> (u64, u64, u64) {
        let entry = (pen_park as *const ()).addr() as u64;
        let interface = self.own_interface() as u64;
        (entry, self.slot_address(mpidr) as u64, interface)
    }

    /// Returns the address of the interface that wakes the running CPU by an SGI; 0 if
    /// the interface is off. It is off on a CPU that has refused itself, and on one that
    /// parks because firmware hasn't turned it off.
    fn own_interface(&self) -> usize {
        if self.is_interface_on() {
            self.interface
        } else {
            0
        }
    }

    /// Returns whether the running CPU's interface signals interrupts (IHI 0048, GICC_CTLR:
    /// bit 0 in every view).
    fn is_interface_on(&self) -> bool {
        let control = core::ptr::with_exposed_provenance::<u32>(self.interface);
        // SAFETY: it is a register of this CPU's interface, mapped for ever. Reading it
        // changes nothing.
        self.interface != 0 && unsafe { control.read_volatile() } & 1 != 0
    }

    /// Returns the slot of `mpidr`. Slots are taken from the front and never given back, so
    /// the search ends at the first free one. On a machine whose CPUs don't park that is
    /// the first of all.
    fn slot(&self, mpidr: Mpidr) -> Option<&'static Slot> {
        let value = mpidr.raw() | TAKEN;
        // Acquire: pairs with the Release in `admit`.
        let holder = |slot: &Slot| slot.command.mpidr.load(Ordering::Acquire) & !ADMITTED;
        SLOTS
            .iter()
            .map(|slot| (slot, holder(slot)))
            .take_while(|(_, holder)| *holder != 0)
            .find_map(|(slot, holder)| (holder == value).then_some(slot))
    }
}

impl CpuOps for Pen {
    unsafe fn cpu_on(&self, target: Mpidr, entry: u64, context: u64) -> Result<(), PsciError> {
        let slot = self.slot(target).ok_or(PsciError::InvalidParameters)?;
        let command = &slot.command;
        // (one-command-one-release) A CPU that has never been released may still be on its
        // way from the firmware's pen: it finds the command when it arrives. A CPU that
        // has been released, or came by itself, clears its command each time that it
        // parks, so it has to have parked.
        let parks_itself = command.context.load(Ordering::Relaxed) != 0
            || command.mpidr.load(Ordering::Relaxed) & ADMITTED != 0;
        if parks_itself && self.affinity_info(target)? != PowerState::Off {
            return Err(PsciError::AlreadyOn);
        }
        pen::release(&mut Release {
            line: command,
            entry,
            context,
        });
        Ok(())
    }

    fn cpu_off(&self) -> PsciError {
        let slot = match self.slot(cpu::mpidr()) {
            Some(slot) => &raw const *slot,
            None => return PsciError::InvalidParameters,
        };
        let interface = self.own_interface();
        // SAFETY: the slot belongs to this CPU, and VA = PA. By this function's contract the
        // CPU has nothing left to run.
        unsafe {
            asm!(
                "b {park}",
                park = sym pen_park,
                in("x0") slot,
                in("x1") interface,
                options(noreturn)
            );
        }
    }

    fn can_turn_off(&self, target: Mpidr) -> Result<(), PsciError> {
        match self.slot(target) {
            Some(_) => Ok(()),
            None => Err(PsciError::NotSupported),
        }
    }

    fn affinity_info(&self, target: Mpidr) -> Result<PowerState, PsciError> {
        let slot = self.slot(target).ok_or(PsciError::InvalidParameters)?;
        Ok(match pen::look(&mut Look { line: &slot.status }) {
            PARKED => PowerState::Off,
            _ => PowerState::On,
        })
    }

    fn system_off(&self) {}

    fn system_reset(&self) {}

    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("spin-table with a parking pen")
    }
}

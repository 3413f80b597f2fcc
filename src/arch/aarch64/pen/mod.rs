//! The parking pen: where a CPU stays that firmware can't turn off, or doesn't.
//!
//! The protocol, and which side may write what, is [`crate::coherency::pen`]: the code of the
//! CPU's side below is assembled from its lists, and control's side runs its functions.
//! What is here is the page of code and the words.
//!
//! * From the firmware's own pen (a spin-table) every CPU comes here at boot, by
//!   its release word: that pen may lie in memory that is ours from then on, and
//!   can't be gone back to.
//! * Where there is firmware (PSCI), a CPU comes here by itself when its CPU_OFF has
//!   returned, and takes a slot then ([`Pen::admit`]). From there on it is the pen's.
//! * A parked CPU sleeps: in WFI until the wake SGI, which (with panic's, which the
//!   pen drops) alone gets through its priority mask. It takes that before it looks
//!   at its command; a GICv2's interface is read without an MMU as well as with one.
//!   Where there is none, the first time and after a refusal, it sleeps in WFE.
//! * A parked CPU still answers its neighbours' cache look-ups, as any core with
//!   its caches off does: what it left dirty isn't lost, and isn't cleaned.
//!
//! # Sources
//! Linux, Documentation/arch/arm64/booting.rst (spin-table). IHI 0048 (GICv2),
//! GICC_IAR and GICC_EOIR. Arm ARM: SCTLR_EL1, WFE, WFI.

mod code;
mod words;

use core::arch::asm;
use core::fmt;
use core::time::Duration;

use super::{cpu, timer};
use crate::coherency::pen;
use crate::config::MAX_PEN_CPUS;
use crate::cpu::Mpidr;
use crate::platform::{CpuOps, PowerState, PsciError};
use crate::sync::atomic::Ordering;

use code::{pen_from_firmware, pen_park};
use words::{ADMITTED, Look, PARKED, Release, SLOTS, Slot, TAKEN};

/// How long the CPUs may take from firmware's pen to ours.
const ARRIVAL: Duration = Duration::from_millis(200);

/// The pen is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PenIsFull;

impl fmt::Display for PenIsFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the parking pen has room for {MAX_PEN_CPUS} CPUs")
    }
}

/// Gives `mpidr` a slot.
///
/// # Context
/// Boot CPU, MMU off, before any CPU is sent here.
///
/// # Errors
/// [`PenIsFull`].
pub fn claim(mpidr: Mpidr) -> Result<(), PenIsFull> {
    let free = SLOTS
        .iter()
        .find(|slot| slot.command.mpidr.load(Ordering::Relaxed) == 0);
    let slot = free.ok_or(PenIsFull)?;
    let value = mpidr.raw() | TAKEN;
    slot.command.mpidr.store(value, Ordering::Relaxed);
    Ok(())
}

/// Sends the CPUs that wait at the spin-table word `release` here.
///
/// # Context
/// Boot CPU, MMU off, all slots claimed.
///
/// # Safety
/// `release` is the physical address of a spin-table's release word, a multiple
/// of 8.
pub unsafe fn take_from_firmware(release: u64) {
    let entry = (pen_from_firmware as *const ()).addr();
    // SAFETY: the caller's promise; the MMU is off, so this goes past the caches. A
    // line that firmware left in one is written back first and dropped: it can
    // neither hide the word nor undo it.
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

/// Waits until all CPUs that have a slot are here; returns whether they are, within a
/// moment. A CPU that is not may come later, or never.
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

/// CPUs that are parked and released.
#[derive(Clone, Copy, Debug)]
pub struct Pen {
    /// The GICv2 CPU interface as each CPU addresses its own; 0 if there is none.
    interface: usize,
}

impl Pen {
    /// Returns the pen of this machine; `interface` is where its GICv2 has the CPU
    /// interface.
    pub const fn new(interface: Option<usize>) -> Pen {
        let interface = match interface {
            Some(interface) => interface,
            None => 0,
        };
        Pen { interface }
    }

    /// Returns whether `mpidr` has a slot.
    pub fn has(&self, mpidr: Mpidr) -> bool {
        self.slot(mpidr).is_some()
    }

    /// Returns whether a CPU in this pen is woken by an SGI once its interface is up: on a
    /// GICv2. Else an event wakes it.
    pub const fn wakes_by_sgi(&self) -> bool {
        self.interface != 0
    }

    /// Returns whether any CPU has a slot. Relaxed: it orders nothing.
    pub fn is_used(&self) -> bool {
        let is_taken = |slot: &Slot| slot.command.mpidr.load(Ordering::Relaxed) != 0;
        SLOTS.iter().any(is_taken)
    }

    /// Gives this CPU, which is `mpidr`, a slot if it has none, so that it can park.
    ///
    /// # Context
    /// The CPU itself, its caches on; nothing left to run here.
    ///
    /// # Errors
    /// [`PenIsFull`].
    pub fn admit(&self, mpidr: Mpidr) -> Result<(), PenIsFull> {
        if self.has(mpidr) {
            return Ok(());
        }
        let value = mpidr.raw() | TAKEN | ADMITTED;
        // Release: pairs with the Acquire in `slot`. What the slot says else is the CPU's to
        // write when it parks, and 0 until then: not parked, never released.
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

    /// Returns where `mpidr`'s slot is, for its boot record; 0 if it has none.
    pub fn slot_address(&self, mpidr: Mpidr) -> usize {
        self.slot(mpidr).map_or(0, |slot| (&raw const *slot).addr())
    }

    /// Returns where this CPU, which is `mpidr`, goes to park, and what it has in x0 and
    /// x1 then.
    pub fn way_in(&self, mpidr: Mpidr) -> (u64, u64, u64) {
        let entry = (pen_park as *const ()).addr() as u64;
        let interface = self.own_interface() as u64;
        (entry, self.slot_address(mpidr) as u64, interface)
    }

    /// Returns the interface that wakes this CPU by an SGI; 0 if it is off, as that of a
    /// CPU that has refused itself, or that firmware was to turn off.
    fn own_interface(&self) -> usize {
        if self.is_interface_on() {
            self.interface
        } else {
            0
        }
    }

    /// Returns whether this CPU's interface signals interrupts (IHI 0048, GICC_CTLR: bit 0
    /// in every view).
    fn is_interface_on(&self) -> bool {
        let control = core::ptr::with_exposed_provenance::<u32>(self.interface);
        // SAFETY: a register of this CPU's own, mapped for ever; reading it changes
        // nothing.
        self.interface != 0 && unsafe { control.read_volatile() } & 1 != 0
    }

    /// Returns the slot of `mpidr`. Slots are taken from the front and never given back, so
    /// the first free one ends the search: at once on a machine whose CPUs don't park.
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
        // (one-command-one-release) One that has never been released may still be on its way from
        // firmware: it finds the command when it comes. One that came by itself forgets
        // its command first, as each time that it parks.
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
        // SAFETY: the slot is this CPU's, and VA = PA; nothing is left to run here,
        // by this function's contract.
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

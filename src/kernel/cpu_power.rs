//! Turning the CPUs of this machine on and off, and ending the machine.
//!
//! The device tree says for each CPU whether firmware does it (PSCI), or our own parking pen
//! (spin-table). A CPU that firmware has once refused to turn off uses the pen from then
//! on. Firmware ends the machine, or else the board's watchdog.

use core::fmt;

use crate::arch::aarch64::boot_record::{OffMethod, PSCI_CPU_OFF};
use crate::arch::aarch64::cpu::mpidr;
use crate::arch::aarch64::pen::Pen;
use crate::arch::aarch64::psci::{Psci, PsciInitError};
use crate::cpu::Mpidr;
use crate::device::Ending;
use crate::drivers::bcm_watchdog::BcmWatchdog;
use crate::dt::{CpuDesc, EnableMethod};
use crate::hotplug::Parked;
use crate::kernel::{LastCall, LastCallBy};
use crate::platform::{Conduit, CpuOps, PowerState, PsciError, PsciQuery};

/// PSCI, the pen, or both; and the board's own switch, if it has one.
pub(crate) struct CpuPower {
    /// Firmware, and the instruction that calls it, if the tree has a PSCI node.
    psci: Option<(Psci, Conduit)>,
    /// The CPUs that park.
    pen: Pen,
    /// Ends the machine where firmware doesn't.
    board: Option<BcmWatchdog>,
}

/// How a CPU turns itself off if it can't come up, for its boot record.
pub(super) struct WayOff {
    /// The instruction, or the pen.
    pub(super) off_method: OffMethod,
    /// PSCI's function number of CPU_OFF.
    pub(super) cpu_off_function: u32,
    /// The address of the CPU's slot in the pen.
    pub(super) pen_slot: usize,
}

impl CpuPower {
    /// Returns the means of turning CPUs on and off, and asks firmware for its version.
    ///
    /// * `conduit` — the instruction that calls firmware, if the tree has a PSCI node
    /// * `board` — the watchdog that ends the machine where firmware doesn't
    ///
    /// # Errors
    /// [`PsciInitError`] if firmware can't be used.
    pub(crate) fn new(
        conduit: Option<Conduit>,
        pen: Pen,
        board: Option<BcmWatchdog>,
    ) -> Result<CpuPower, PsciInitError> {
        let psci = match conduit {
            None => None,
            Some(conduit) => Some((Psci::new(conduit)?, conduit)),
        };
        Ok(CpuPower { psci, pen, board })
    }

    /// Asks firmware, and returns its answer; `None` if the machine has no PSCI.
    pub(crate) fn ask(&self, query: PsciQuery) -> Option<i64> {
        self.psci.as_ref().map(|(psci, _)| psci.ask(query))
    }

    /// Returns whether `cpu` goes off by parking in the pen.
    pub(super) fn parks(&self, cpu: Mpidr) -> bool {
        self.pen.has(cpu)
    }

    /// Returns whether the wake SGI must come through to `cpu` while it is parked.
    pub(super) fn wakes_by_sgi(&self, cpu: Mpidr) -> bool {
        self.parks(cpu) && self.pen.wakes_by_sgi()
    }

    /// Returns why `cpu` is in the pen, or `None` if it isn't; `refused` is firmware's
    /// answer to its CPU_OFF, if it has refused that.
    pub(super) fn parked(&self, cpu: Mpidr, refused: Option<PsciError>) -> Option<Parked> {
        let is_there = self.parks(cpu) && self.pen.affinity_info(cpu) == Ok(PowerState::Off);
        is_there.then_some(match refused {
            Some(error) => Parked::Refused(error),
            None => Parked::NoFirmware,
        })
    }

    /// Parks this CPU, whose CPU_OFF has returned, and has it use the pen from now on. Returns
    /// only if the pen is full.
    ///
    /// # Context
    /// IRQs masked, no interrupt active, nothing left to run here.
    pub(super) fn park_for_good(&self) {
        if self.pen.admit(mpidr()).is_ok() {
            self.pen.cpu_off();
        }
    }

    /// Returns whether `cpu` can be started: by the method that the tree names or, if the
    /// kernel doesn't know that method, by firmware.
    pub(crate) fn can_start(&self, cpu: &CpuDesc) -> bool {
        match cpu.enable_method {
            EnableMethod::SpinTable { .. } => self.parks(cpu.mpidr),
            EnableMethod::Psci | EnableMethod::Unknown => self.psci.is_some(),
        }
    }

    /// Returns how `cpu` turns itself off if it can't come up.
    pub(super) fn way_off(&self, cpu: Mpidr) -> WayOff {
        let off_method = match &self.psci {
            _ if self.parks(cpu) => OffMethod::Pen,
            Some((_, conduit)) => (*conduit).into(),
            None => OffMethod::None,
        };
        WayOff {
            off_method,
            cpu_off_function: PSCI_CPU_OFF,
            pen_slot: self.pen.slot_address(cpu),
        }
    }

    /// Returns the call that `cpu_off` makes on `cpu`.
    pub(super) fn last_call(&self, cpu: Mpidr) -> LastCall {
        let way = self.way_off(cpu);
        let function = u64::from(way.cpu_off_function);
        let (how, x0, x1) = match way.off_method {
            OffMethod::Hvc => (LastCallBy::Hvc, function, 0),
            OffMethod::Smc => (LastCallBy::Smc, function, 0),
            OffMethod::Pen => {
                let (entry, slot, interface) = self.pen.way_in(cpu);
                (LastCallBy::Branch(entry), slot, interface)
            }
            OffMethod::None => panic!("BUG: {cpu} can't go off"),
        };
        LastCall { how, x0, x1 }
    }

    /// Returns what turns `cpu` on and off.
    ///
    /// # Errors
    /// [`PsciError::NotSupported`] if nothing does.
    fn of(&self, cpu: Mpidr) -> Result<&dyn CpuOps, PsciError> {
        if self.parks(cpu) {
            return Ok(&self.pen);
        }
        match &self.psci {
            Some((psci, _)) => Ok(psci),
            None => Err(PsciError::NotSupported),
        }
    }
}

impl CpuOps for CpuPower {
    unsafe fn cpu_on(&self, target: Mpidr, entry: u64, context: u64) -> Result<(), PsciError> {
        // SAFETY: the same promise.
        unsafe { self.of(target)?.cpu_on(target, entry, context) }
    }

    fn cpu_off(&self) -> PsciError {
        match self.of(mpidr()) {
            Ok(ops) => ops.cpu_off(),
            Err(error) => error,
        }
    }

    fn can_turn_off(&self, target: Mpidr) -> Result<(), PsciError> {
        self.of(target)?.can_turn_off(target)
    }

    fn affinity_info(&self, target: Mpidr) -> Result<PowerState, PsciError> {
        self.of(target)?.affinity_info(target)
    }

    fn system_off(&self) {
        if let Some((psci, _)) = &self.psci {
            psci.system_off();
        }
        // PSCI returned, so it can't do that; or there is none.
        if let Some(board) = &self.board {
            board.end(Ending::PowerOff);
        }
    }

    fn system_reset(&self) {
        if let Some((psci, _)) = &self.psci {
            psci.system_reset();
        }
        // As above.
        if let Some(board) = &self.board {
            board.end(Ending::Reset);
        }
    }

    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((psci, _)) = &self.psci {
            return psci.describe(f);
        }
        if self.pen.is_used() {
            self.pen.describe(f)?;
        } else {
            f.write_str("nothing that starts CPUs")?;
        }
        f.write_str(match &self.board {
            Some(_) => ", power-off by watchdog",
            None => ", no power-off",
        })
    }
}

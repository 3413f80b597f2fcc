//! What turns the CPUs of this machine on and off, chosen for each from the device
//! tree: firmware (PSCI), or our own parking pen (spin-table). A CPU that firmware has once
//! refused to turn off is the pen's from then on. And what ends the machine: firmware,
//! else the board's watchdog.

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
use crate::platform::{Conduit, CpuOps, PowerState, PsciError};

/// PSCI, the pen, or both; and the board's own switch, if it has one.
pub(crate) struct CpuPower {
    psci: Option<(Psci, Conduit)>,
    pen: Pen,
    board: Option<BcmWatchdog>,
}

/// How a CPU that refuses itself goes away again, for its boot record.
pub(super) struct WayOff {
    pub(super) off_method: OffMethod,
    pub(super) cpu_off_function: u32,
    pub(super) pen_slot: usize,
}

impl CpuPower {
    /// * `conduit` — how firmware is called, if the tree has a PSCI node
    /// * `board` — what ends the machine where firmware doesn't
    ///
    /// # Errors
    /// [`PsciInitError`].
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

    /// Returns whether `cpu` is one that parks.
    pub(super) fn parks(&self, cpu: Mpidr) -> bool {
        self.pen.has(cpu)
    }

    /// Returns whether the wake SGI must come through to `cpu` while it is parked.
    pub(super) fn wakes_by_sgi(&self, cpu: Mpidr) -> bool {
        self.parks(cpu) && self.pen.wakes_by_sgi()
    }

    /// Returns why `cpu` is in the pen, if it is; `refused` is what firmware has answered
    /// it.
    pub(super) fn parked(&self, cpu: Mpidr, refused: Option<PsciError>) -> Option<Parked> {
        let is_there = self.parks(cpu) && self.pen.affinity_info(cpu) == Ok(PowerState::Off);
        is_there.then_some(match refused {
            Some(error) => Parked::Refused(error),
            None => Parked::NoFirmware,
        })
    }

    /// This CPU's CPU_OFF has returned: it parks from now on. Returns if the pen is full.
    ///
    /// # Context
    /// IRQs masked, no interrupt active, nothing left to run here.
    pub(super) fn park_for_good(&self) {
        if self.pen.admit(mpidr()).is_ok() {
            self.pen.cpu_off();
        }
    }

    /// Returns whether `cpu` can be started at all, by the method that the tree names or,
    /// if it names none that we know, by firmware.
    pub(crate) fn can_start(&self, cpu: &CpuDesc) -> bool {
        match cpu.enable_method {
            EnableMethod::SpinTable { .. } => self.parks(cpu.mpidr),
            EnableMethod::Psci | EnableMethod::Unknown => self.psci.is_some(),
        }
    }

    /// How `cpu` goes away if it refuses itself.
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

    /// # Errors
    /// NOT_SUPPORTED: nothing turns this CPU on or off.
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
        // There is no firmware, or it can't.
        if let Some(board) = &self.board {
            board.end(Ending::PowerOff);
        }
    }

    fn system_reset(&self) {
        if let Some((psci, _)) = &self.psci {
            psci.system_reset();
        }
        // There is no firmware, or it can't.
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

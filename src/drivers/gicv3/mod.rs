//! The interrupt controller: GICv3, and GICv4 without its virtualisation.
//!
//! It has three parts, each in its own file: the distributor, of which there is one, a
//! redistributor for each CPU, and the CPU interface in each CPU's system
//! registers. `irq_chip` implements the kernel's interface on them.
//! [`crate::device::gic`] says what is written to a CPU's own part, so that host tests
//! can run it.
//!
//! # A CPU's life, as its part of the GIC sees it
//! ```text
//!   off ──early_init_cpu──▶ wake, panic ──startup_cpu──▶ our SGIs, its PPIs
//!    ▲                         │     ▲                            │
//!    └──disable_cpu_interface──┘     └────────teardown_cpu────────┘
//! ```
//!
//! # Concurrency
//! Sending, acknowledging, ending and setting the mask take no lock. They use system
//! registers of the running CPU and tables that never change. Once the machine runs,
//! only its own CPU accesses a redistributor, with IRQs masked. Shared interrupts are
//! set up under a lock, from a thread, with IRQs masked.
//!
//! # Sources
//! IHI 0069, the GICv3 and GICv4 architecture.

mod cpu_interface;
mod distributor;
mod error;
mod irq_chip;
mod redistributor;

use alloc::vec::Vec;
use core::ops::Range;
use core::ptr::{self, NonNull};
use core::time::Duration;

use aarch64_cpu::registers::{MPIDR_EL1, Readable};
use arm_gic::Trigger as GicTrigger;

use crate::config::MAX_CPUS;
use crate::cpu::{CpuId, Mpidr};
use crate::device::gic::{find_redistributors, is_register_address};
use crate::drivers::gic::SgiWrites;
use crate::platform::Trigger;
use crate::smp::FanOut;
use crate::sync::atomic::AtomicBool;

use distributor::Distributor;
use redistributor::Redistributor;

pub use error::GicInitError;

/// How long a write that turns something off may take until every CPU has seen it.
const WRITE_LIMIT: Duration = Duration::from_millis(100);

/// Returns a pointer to device registers at `address`.
///
/// # Errors
/// [`GicInitError::BadAddress`] if no GIC registers can be there.
fn device_pointer<T>(address: u64) -> Result<NonNull<T>, GicInitError> {
    let bad = GicInitError::BadAddress(address);
    if !is_register_address(address) {
        return Err(bad);
    }
    let address_here = usize::try_from(address).map_err(|_| bad)?;
    NonNull::new(ptr::with_exposed_provenance_mut(address_here)).ok_or(bad)
}

/// Returns `trigger` as `arm-gic` names it.
const fn gic_trigger(trigger: Trigger) -> GicTrigger {
    match trigger {
        Trigger::Level => GicTrigger::Level,
        Trigger::Edge => GicTrigger::Edge,
    }
}

/// Returns the affinity of the running CPU.
fn this_mpidr() -> Mpidr {
    Mpidr::from_register(MPIDR_EL1.get())
}

/// What the driver keeps for each CPU.
#[derive(Debug)]
struct CpuData {
    /// The CPU's affinity.
    mpidr: Mpidr,
    /// The CPU's redistributor, if it has one.
    redistributor: Option<Redistributor>,
    /// The value of ICC_SGI1R_EL1 that sends SGI 0 to this CPU only; another SGI's number
    /// goes into bits 27:24. `None` if the CPU has no redistributor.
    sgi_target: Option<u64>,
    /// How many register writes the CPU has made to send SGIs.
    sgi_writes: SgiWrites,
    /// Whether `early_init_cpu` has ever succeeded on this CPU. Relaxed: no other CPU
    /// stores or loads it.
    was_up: AtomicBool,
}

/// Where the registers of a GICv3 are.
#[derive(Clone, Copy, Debug)]
pub struct Registers<'a> {
    /// Address of the distributor's.
    pub distributor: u64,
    /// Address ranges of redistributors, in any order. Once each CPU has its
    /// redistributor the rest is not read, and need not exist.
    pub redistributors: &'a [Range<u64>],
    /// Whether these are all that the GIC has.
    pub all_regions: bool,
    /// The device tree's `redistributor-stride` in bytes, if it has one.
    pub stride: Option<u64>,
}

/// A machine's GICv3.
#[derive(Debug)]
pub struct GicV3 {
    distributor: Distributor,
    cpus: Vec<CpuData>,
    fan_out: FanOut,
}

// SAFETY: the pointers in it are to device registers, which any CPU may use.
// `Redistributor` says why each redistributor has one user at a time.
unsafe impl Send for GicV3 {}
// SAFETY: as for `Send`; what all CPUs share is under a lock or atomic.
unsafe impl Sync for GicV3 {}

impl GicV3 {
    /// Finds the redistributor of each CPU, sets the distributor up and returns the GIC:
    /// every shared interrupt is off, none is pending or active. Changes nothing in the
    /// part of any CPU. Allocates.
    ///
    /// * `cpus` — the affinity of each CPU, by CPU number
    ///
    /// A CPU without a redistributor is no error here:
    /// [`early_init_cpu`](crate::platform::IrqChip::early_init_cpu) refuses it.
    ///
    /// # Context
    /// Boot CPU, once.
    ///
    /// # Errors
    /// [`GicInitError`] if this is no GICv3, a write to it doesn't complete, or it can't
    /// reach every CPU.
    ///
    /// # Safety
    /// The addresses must be those of a GICv3, mapped as device memory for ever,
    /// and used by nothing else. The part of a region that is read must hold
    /// redistributors without a gap, up to the one that says it is the last, to an
    /// address from which on nothing answers, or to the region's end.
    pub unsafe fn new(registers: &Registers<'_>, cpus: &[Mpidr]) -> Result<GicV3, GicInitError> {
        let &Registers {
            distributor,
            redistributors,
            all_regions,
            stride,
        } = registers;
        if cpus.len() > MAX_CPUS {
            return Err(GicInitError::TooManyCpus(cpus.len()));
        }
        let found = find_redistributors(redistributors, stride, cpus, |at| {
            // SAFETY: promised by the caller; the value lives only for this read.
            let redistributor = unsafe { Redistributor::new(at, Mpidr::from_register(0)) }?;
            let answers = redistributor.answers();
            Ok::<_, GicInitError>(answers.then(|| redistributor.own_type()))
        })?;
        let mut cpus: Vec<CpuData> = cpus
            .iter()
            .zip(&found.frames)
            .map(|(&mpidr, frame)| {
                // SAFETY: promised by the caller; each CPU has its own redistributor.
                let redistributor = frame.map(|at| unsafe { Redistributor::new(at, mpidr) });
                Ok(CpuData {
                    mpidr,
                    redistributor: redistributor.transpose()?,
                    sgi_target: None,
                    sgi_writes: SgiWrites::new(),
                    was_up: AtomicBool::new(false),
                })
            })
            .collect::<Result<_, GicInitError>>()?;
        // With unread regions there may be interfaces of unknown CPUs. One more than
        // there are CPUs keeps `FanOut` from sending to all but itself, which would reach
        // them too.
        let interfaces = found.interfaces + usize::from(!all_regions);

        // SAFETY: promised by the caller.
        let distributor = unsafe { Distributor::new(distributor) }?;
        let reachable = cpus.iter().enumerate().filter_map(|(at, cpu)| {
            let number = CpuId::new(at)?;
            cpu.redistributor.map(|_| (number, cpu.mpidr))
        });
        let fan_out = FanOut::new(reachable, interfaces, distributor.range_selector())?;
        for (at, cpu) in cpus.iter_mut().enumerate() {
            let write = CpuId::new(at).and_then(|cpu| fan_out.write_to(cpu));
            cpu.sgi_target = write.map(|write| write.register(0));
        }
        let me = this_mpidr();
        if fan_out.cpu_of(me).is_none() {
            return Err(GicInitError::ThisCpuUnknown(me));
        }
        Ok(GicV3 {
            distributor,
            cpus,
            fan_out,
        })
    }
}

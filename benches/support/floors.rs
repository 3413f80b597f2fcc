//! The least that turning CPUs on and off takes on this machine: CPU_ON and CPU_OFF with
//! nothing of the kernel behind them.
//!
//! ```text
//!   control                         each CPU, MMU and caches off, IRQs masked
//!   ───────                         ─────────────────────────────────────────
//!   CPU_ON of each           ─────►
//!                            ◄───── sets its flag                 floor.cpu_on
//!                                   sleeps in WFI
//!   sets GO, one SGI to all  ─────►
//!                                   CPU_OFF
//!   asks firmware for each,  ◄─────                               floor.cpu_off
//!   until it says OFF
//! ```
//!
//! The CPUs are off for the kernel before and after. What they run touches nothing but its own
//! words, acknowledges the SGI that it was woken by, and leaves the rest of the interrupt
//! controller as the kernel has left it.
//!
//! The words are written with caches off and read with caches on. Nothing is cleaned or
//! invalidated for that: QEMU has no caches, and `make bench` measures on nothing else.

use alloc::vec::Vec;
use core::arch::global_asm;
use core::time::Duration;

use stillpoint::api;
use stillpoint::arch::aarch64::psci::Psci;
use stillpoint::cpu::{CpuId, CpuMask, Mpidr};
use stillpoint::kernel::{Hw, LastCallBy, kernel};
use stillpoint::platform::{Conduit, CpuOps, Platform, PowerState, Sgi};
use stillpoint::sync::LocalCpu;
use stillpoint::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::support::rounds::ns;

/// How long the CPUs may take: a machine that takes longer is not measured.
const LIMIT: Duration = Duration::from_secs(60);

/// Whether the CPUs are to go off. Pairs, Release with the load in `floor_entry` behind the
/// acknowledge of the SGI, which [`IrqChip::send_sgi`] sends behind the store.
///
/// [`IrqChip::send_sgi`]: stillpoint::platform::IrqChip::send_sgi
static GO: AtomicU32 = AtomicU32::new(0);
/// The conduit of CPU_OFF: 0 is HVC, 1 is SMC. Written before CPU_ON, which orders it.
static BY_SMC: AtomicU32 = AtomicU32::new(0);
/// The function number of CPU_OFF. As [`BY_SMC`].
static CPU_OFF: AtomicU64 = AtomicU64::new(0);

/// What a CPU writes: whether it has come. On a line of its own, because the CPUs write at the
/// same time.
#[repr(C, align(128))]
struct Flag(AtomicU32);

unsafe extern "C" {
    /// Where CPU_ON starts a CPU. x0 is the address of its [`Flag`].
    fn floor_entry() -> !;
}

global_asm!(
    r#"
    .section .text.floor, "ax"
    .balign 64
    .global floor_entry
    .type floor_entry, %function
floor_entry:
        msr     daifset, #0xf
        mov     w1, #1
        str     w1, [x0]
        dsb     sy

        // Opens the CPU interface, so that the SGI ends the WFI.
        mrs     x1, S3_0_C12_C12_5          // ICC_SRE_EL1
        orr     x1, x1, #1
        msr     S3_0_C12_C12_5, x1
        isb
        mov     x1, #0xf0
        msr     S3_0_C4_C6_0, x1            // ICC_PMR_EL1
        mov     x1, #1
        msr     S3_0_C12_C12_7, x1          // ICC_IGRPEN1_EL1
        isb

        adrp    x2, {GO}
        add     x2, x2, :lo12:{GO}
1:      ldr     w1, [x2]
        cbnz    w1, 2f
        dsb     sy
        wfi
        mrs     x3, S3_0_C12_C12_0          // ICC_IAR1_EL1
        sub     x4, x3, #1020
        cmp     x4, #4
        b.lo    1b                          // None is pending.
        msr     S3_0_C12_C12_1, x3          // ICC_EOIR1_EL1
        dsb     sy
        b       1b

2:      msr     S3_0_C12_C12_7, xzr
        isb
        adrp    x2, {CPU_OFF}
        ldr     x0, [x2, :lo12:{CPU_OFF}]
        adrp    x2, {BY_SMC}
        ldr     w2, [x2, :lo12:{BY_SMC}]
        dsb     sy
        cbnz    w2, 3f
        hvc     #0
        b       4f
3:      smc     #0
        // Firmware has refused: control waits in vain.
4:      wfi
        b       4b
    .size floor_entry, . - floor_entry
    "#,
    GO = sym GO,
    BY_SMC = sym BY_SMC,
    CPU_OFF = sym CPU_OFF,
);

/// How long CPU_ON and CPU_OFF have taken, in nanoseconds.
pub(crate) struct Took {
    pub(crate) on: u64,
    pub(crate) off: u64,
}

/// Turns CPUs on and off with nothing of the kernel behind it.
pub(crate) struct Floors {
    psci: Psci,
    flags: Vec<Flag>,
}

impl Floors {
    /// Returns `None` on a machine where that isn't measured: its CPUs don't go off by PSCI, or
    /// its interrupt controller is no GICv3.
    pub(crate) fn new() -> Option<Floors> {
        let call = kernel().last_call(CpuId::BOOT);
        let conduit = match call.how {
            LastCallBy::Hvc => Conduit::Hvc,
            LastCallBy::Smc => Conduit::Smc,
            LastCallBy::Branch(_) => return None,
        };
        if !has_gic_registers() {
            return None;
        }
        // Relaxed: CPU_ON orders both.
        BY_SMC.store(u32::from(conduit == Conduit::Smc), Ordering::Relaxed);
        CPU_OFF.store(call.x0, Ordering::Relaxed);
        let possible = kernel().masks.possible();
        Some(Floors {
            psci: Psci::new(conduit).expect("the kernel uses it"),
            flags: possible.iter().map(|_| Flag(AtomicU32::new(0))).collect(),
        })
    }

    /// Turns `cpus`, all of which are off, on and off again.
    ///
    /// # Panics
    /// If firmware refuses, or the CPUs don't come or go within a minute.
    pub(crate) fn measure(&self, cpus: &CpuMask) -> Took {
        GO.store(0, Ordering::Relaxed); // CPU_ON orders it.
        let on = self.turn_on(cpus);
        // They sleep, as CPUs do that are to go.
        api::sleep(Duration::from_millis(1));
        let again = Hw::now();
        GO.store(1, Ordering::Release); // Pairs with the load in `floor_entry`.
        kernel().irq_chip().send_sgi(Sgi::Wake.number(), cpus);
        self.wait_off(cpus);
        let off = Hw::now().ticks_since(again);
        Took { on, off: ns(off) }
    }

    /// Turns `cpus`, all of which are off, on, and has them go off at once: no interrupt reaches
    /// a CPU that the kernel has never brought up. Returns the time until all have come, in
    /// nanoseconds.
    ///
    /// # Panics
    /// As [`Floors::measure`].
    pub(crate) fn measure_on(&self, cpus: &CpuMask) -> u64 {
        GO.store(1, Ordering::Relaxed); // CPU_ON orders it.
        let on = self.turn_on(cpus);
        self.wait_off(cpus);
        on
    }

    /// Turns `cpus` on, and returns the time until all have come, in nanoseconds.
    fn turn_on(&self, cpus: &CpuMask) -> u64 {
        assert!(
            cpus.iter().all(|cpu| self.is_off(cpu)),
            "{cpus} are not off"
        );
        for flag in &self.flags {
            flag.0.store(0, Ordering::Relaxed); // CPU_ON orders it.
        }
        let entry = (floor_entry as *const ()).addr() as u64;
        let began = Hw::now();
        for cpu in cpus.iter() {
            let context = core::ptr::from_ref(self.flag(cpu)).addr() as u64;
            // SAFETY: the code runs with MMU and caches off, at EL1 or EL2, and touches only
            // its flag, three words that don't change but for GO, and its interrupt interface.
            let started = unsafe { self.psci.cpu_on(mpidr(cpu), entry, context) };
            started.expect("firmware turns it on");
        }
        for cpu in cpus.iter() {
            // The flag orders nothing: control reads nothing else that the CPU writes.
            until(|| self.flag(cpu).0.load(Ordering::Relaxed) != 0);
        }
        ns(Hw::now().ticks_since(began))
    }

    fn wait_off(&self, cpus: &CpuMask) {
        cpus.iter().for_each(|cpu| until(|| self.is_off(cpu)));
    }

    fn is_off(&self, cpu: CpuId) -> bool {
        self.psci.affinity_info(mpidr(cpu)) == Ok(PowerState::Off)
    }

    fn flag(&self, cpu: CpuId) -> &Flag {
        &self.flags[cpu.index()]
    }
}

fn mpidr(cpu: CpuId) -> Mpidr {
    kernel().mpidrs[cpu.index()]
}

/// Spins until `is_so_fn` returns true.
fn until(is_so_fn: impl Fn() -> bool) {
    if is_so_fn() {
        return;
    }
    let limit = Hw::deadline(LIMIT);
    while !is_so_fn() {
        assert!(Hw::now() < limit, "the CPUs don't come, or don't go");
        Hw::relax();
    }
}

/// Returns whether the interrupt controller is in the CPU's system registers, as a GICv3 is.
fn has_gic_registers() -> bool {
    let features: u64;
    // SAFETY: reading this register changes nothing.
    unsafe {
        core::arch::asm!(
            "mrs {}, id_aa64pfr0_el1",
            out(reg) features,
            options(nomem, nostack, preserves_flags),
        );
    }
    features >> 24 & 0xf != 0
}

//! What a host hasn't: the instructions of the target, as macros and functions.
//!
//! A program can be checked on any host, so this crate compiles there. No code of it runs there,
//! and in place of each instruction stands a panic.

#[cfg(target_os = "none")]
mod target {
    pub(crate) use arm_gic::gicv3::GicCpuInterface;
    pub(crate) use core::arch::{asm, global_asm};
    pub(crate) use smccc::{hvc64, smc64};
}

#[cfg(not(target_os = "none"))]
mod host {
    use arm_gic::{IntId, InterruptGroup};

    /// Stands for instructions of the target.
    macro_rules! no_asm {
        ($($text:tt)*) => {
            unreachable!("BUG: a host has no such instruction")
        };
    }

    /// Stands for functions and data in assembly.
    macro_rules! no_global_asm {
        ($($text:tt)*) => {};
    }

    pub(crate) use {no_asm as asm, no_global_asm as global_asm};

    /// Stands for a call of firmware by HVC.
    pub(crate) fn hvc64(_function: u32, _arguments: [u64; 17]) -> [u64; 18] {
        no_asm!()
    }

    /// Stands for a call of firmware by SMC.
    pub(crate) fn smc64(_function: u32, _arguments: [u64; 17]) -> [u64; 18] {
        no_asm!()
    }

    /// Stands for the registers by which a CPU takes the interrupts of a GICv3.
    pub(crate) struct GicCpuInterface;

    impl GicCpuInterface {
        /// Stands for an acknowledge.
        pub(crate) fn get_and_acknowledge_interrupt(_group: InterruptGroup) -> Option<IntId> {
            no_asm!()
        }
    }
}

#[cfg(not(target_os = "none"))]
pub(crate) use host::{GicCpuInterface, asm, global_asm, hvc64, smc64};
#[cfg(target_os = "none")]
pub(crate) use target::{GicCpuInterface, asm, global_asm, hvc64, smc64};

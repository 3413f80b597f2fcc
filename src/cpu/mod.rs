//! The CPUs: logical numbers, hardware affinities, masks, per-CPU data.

#![forbid(unsafe_code)]

mod id;
#[cfg(feature = "shell")]
mod id_registers;
mod mask;
mod masks;
mod per_cpu;
mod per_cpu_counter;

pub use id::CpuId;
#[cfg(feature = "shell")]
pub use id_registers::IdRegisters;
pub use mask::CpuMask;

internal!(id::Mpidr);
internal!(masks::CpuMasks);
internal!(per_cpu::PerCpu);
internal!(per_cpu_counter::PerCpuCounter);

//! Who the CPUs are: logical numbers, hardware affinities, masks, per-CPU data.

#![forbid(unsafe_code)]

mod id;
mod mask;
mod masks;
mod per_cpu;
mod per_cpu_counter;

pub use id::{CpuId, Mpidr};
pub use mask::CpuMask;
pub use masks::CpuMasks;
pub use per_cpu::PerCpu;
pub use per_cpu_counter::PerCpuCounter;

//! Who the CPUs are: logical numbers, hardware affinities, masks, per-CPU data.

#![forbid(unsafe_code)]

mod id;
mod mask;
mod masks;
mod per_cpu;

pub use id::{CpuId, Mpidr};
pub use mask::CpuMask;
pub use masks::CpuMasks;
pub use per_cpu::PerCpu;

//! Who the CPUs are: logical numbers, hardware affinities, masks, per-CPU data.

mod id;
mod mask;

pub use id::{CpuId, Mpidr};
pub use mask::CpuMask;

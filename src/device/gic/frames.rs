//! Finds the redistributor of each CPU among a GICv3's frames.
//!
//! The search goes by the affinity that a redistributor reports, never by its position,
//! because neither the order of the frames nor their number need agree with the device
//! tree's CPUs.
//!
//! A device tree may list regions that the machine lacks, such as those of CPUs that
//! this model of it came without. A read there is answered with an external abort, which
//! ends the search of that region. A bus that answers in another way may end the boot, so
//! the search reads no frame once every CPU has its redistributor.
//!
//! # Sources
//! IHI 0069, GICR_TYPER (Affinity_Value, Last, VLPIS) and "Redistributor register map".

use alloc::vec::Vec;
use core::ops::Range;

use crate::cpu::Mpidr;

/// Size of a frame of GIC registers, in bytes.
pub const FRAME: u64 = 0x1_0000;

/// Distance of two redistributors in bytes: two frames of 64 KiB, or four if they
/// deliver virtual LPIs too.
const STRIDE: u64 = 2 * FRAME;
const STRIDE_VLPI: u64 = 4 * FRAME;

/// The fields of a redistributor's GICR_TYPER.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RedistributorType {
    /// The affinity of the CPU that the redistributor serves.
    pub mpidr: Mpidr,
    /// Whether it is the last redistributor of its region.
    pub is_last: bool,
    /// Whether it has the two frames of virtual LPIs too.
    pub has_vlpis: bool,
}

/// The device tree's `redistributor-stride` is unusable: it is below two frames, or not a
/// multiple of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadStride;

/// The redistributors of a machine's CPUs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The address of each CPU's redistributor, in the order of the CPUs; `None` for a CPU
    /// without one.
    pub frames: Vec<Option<u64>>,
    /// How many redistributors were read, plus one if the search ended before the last
    /// frame. It is equal to the number of addresses in `frames` only if the GIC serves
    /// no other CPU.
    pub interfaces: usize,
}

/// Returns the redistributor of each of `cpus`. Allocates.
///
/// * `regions` — the address ranges that hold redistributors one behind the other, up to
///   one that says it is the last, to an address where nothing answers, or to the
///   range's end
/// * `stride` — the device tree's `redistributor-stride` in bytes, if it has one
/// * `read_fn` — reads the redistributor at an address, or returns `None` if nothing
///   answers there. It is called in the order of `regions`, and no more once each CPU
///   has its redistributor
///
/// # Errors
/// [`BadStride`], and the errors of `read_fn`.
pub fn find_redistributors<E: From<BadStride>>(
    regions: &[Range<u64>],
    stride: Option<u64>,
    cpus: &[Mpidr],
    mut read_fn: impl FnMut(u64) -> Result<Option<RedistributorType>, E>,
) -> Result<Found, E> {
    if stride.is_some_and(|stride| stride < STRIDE || !stride.is_multiple_of(FRAME)) {
        return Err(BadStride.into());
    }
    let mut by_mpidr: Vec<(Mpidr, usize)> = cpus.iter().copied().zip(0..).collect();
    by_mpidr.sort_unstable();
    let mut frames = Vec::new();
    frames.resize(cpus.len(), None);
    let mut missing = cpus.len();
    let mut interfaces = 0;
    for region in regions {
        let mut at = region.start;
        while region.end.saturating_sub(at) >= STRIDE {
            if missing == 0 {
                // Only a read could tell whether there is a redistributor, so count one.
                interfaces += 1;
                return Ok(Found { frames, interfaces });
            }
            let Some(own) = read_fn(at)? else { break };
            interfaces += 1;
            let first = by_mpidr.partition_point(|(mpidr, _)| *mpidr < own.mpidr);
            let served = by_mpidr[first..].iter();
            for (_, cpu) in served.take_while(|(mpidr, _)| *mpidr == own.mpidr) {
                if frames[*cpu].is_none() {
                    frames[*cpu] = Some(at);
                    missing -= 1;
                }
            }
            if own.is_last {
                break;
            }
            let distance = if own.has_vlpis { STRIDE_VLPI } else { STRIDE };
            at = at.saturating_add(stride.unwrap_or(distance));
        }
    }
    Ok(Found { frames, interfaces })
}

//! The instructions that a site may hold.
//!
//! # Sources
//! Arm ARM, the descriptions of the instructions NOP, RET, B and BL.

use core::fmt;

/// The instruction NOP.
pub const NOP: u32 = 0xd503_201f;

/// The instruction RET, by the link register.
pub const RET: u32 = 0xd65f_03c0;

/// The instruction B to itself.
const B: u32 = 0b000101 << 26;

/// What BL has more than B.
const LINK: u32 = 1 << 31;

/// How far B reaches, forwards one instruction less: 26 bits of instructions.
const REACH: usize = 1 << 27;

/// Size of an instruction in bytes.
const SIZE: usize = 4;

/// Why there is no B from one address to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BranchError {
    /// One of the two isn't the address of an instruction.
    Misaligned {
        /// The address of the branch.
        from: usize,
        /// Where it is to lead.
        to: usize,
    },
    /// It is too far.
    TooFar {
        /// The address of the branch.
        from: usize,
        /// Where it is to lead.
        to: usize,
    },
}

impl fmt::Display for BranchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Misaligned { from, to } => {
                write!(f, "no branch from {from:#x} to {to:#x}: not aligned")
            }
            Self::TooFar { from, to } => {
                write!(f, "no branch from {from:#x} to {to:#x}: too far")
            }
        }
    }
}

impl core::error::Error for BranchError {}

/// Returns the instruction B at `from` that leads to `to`.
///
/// # Errors
/// [`BranchError`].
pub const fn branch(from: usize, to: usize) -> Result<u32, BranchError> {
    if !from.is_multiple_of(SIZE) || !to.is_multiple_of(SIZE) {
        return Err(BranchError::Misaligned { from, to });
    }
    let forwards = to >= from;
    let distance = to.abs_diff(from);
    if distance > REACH || (forwards && distance == REACH) {
        return Err(BranchError::TooFar { from, to });
    }
    // It fits, because the distance is at most 2^27.
    let [b0, b1, b2, b3, ..] = (distance / SIZE).to_le_bytes();
    let steps = u32::from_le_bytes([b0, b1, b2, b3]);
    let steps = if forwards {
        steps
    } else {
        steps.wrapping_neg()
    };
    Ok(B | steps & ((1 << 26) - 1))
}

/// Returns the instruction BL at `from` that calls `to`.
///
/// # Errors
/// [`BranchError`].
pub const fn call(from: usize, to: usize) -> Result<u32, BranchError> {
    match branch(from, to) {
        Ok(word) => Ok(word | LINK),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: usize = 0x4020_0000;

    #[test]
    fn branches_are_as_an_assembler_makes_them() {
        assert_eq!(branch(HERE, HERE), Ok(0x1400_0000));
        assert_eq!(branch(HERE, HERE + 8), Ok(0x1400_0002));
        assert_eq!(branch(HERE, HERE - 4), Ok(0x17ff_ffff));
        assert_eq!(branch(HERE, HERE - 0x1000), Ok(0x17ff_fc00));
        assert_eq!(call(HERE, HERE + 8), Ok(0x9400_0002));
        assert_eq!(call(HERE, HERE - 4), Ok(0x97ff_ffff));
    }

    #[test]
    fn a_branch_reaches_128_mib_and_no_further() {
        let far = 128 << 20;
        assert_eq!(branch(HERE, HERE + far - 4), Ok(0x15ff_ffff));
        assert_eq!(branch(HERE, HERE - far), Ok(0x1600_0000));
        let too_far = |from, to| Err(BranchError::TooFar { from, to });
        assert_eq!(branch(HERE, HERE + far), too_far(HERE, HERE + far));
        assert_eq!(branch(HERE, HERE - far - 4), too_far(HERE, HERE - far - 4));
        assert_eq!(branch(0, usize::MAX - 3), too_far(0, usize::MAX - 3));
    }

    #[test]
    fn what_is_not_aligned_is_refused() {
        for (from, to) in [(HERE + 2, HERE), (HERE, HERE + 1)] {
            let misaligned = Err(BranchError::Misaligned { from, to });
            assert_eq!((branch(from, to), call(from, to)), (misaligned, misaligned));
        }
    }
}

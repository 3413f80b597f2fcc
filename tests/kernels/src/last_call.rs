//! The call by which a CPU goes off, for kernels that make it themselves.

use stillpoint::kernel::{LastCall, LastCallBy};

/// Returns how `call` is made, as assembly tells it (0: HVC, 1: SMC, 2: a branch), and
/// where the branch goes.
pub fn for_assembly(call: &LastCall) -> (u64, u64) {
    match call.how {
        LastCallBy::Hvc => (0, 0),
        LastCallBy::Smc => (1, 0),
        LastCallBy::Branch(target) => (2, target),
    }
}

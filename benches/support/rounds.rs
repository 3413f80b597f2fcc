//! How often an operation is measured, and in which unit.

use stillpoint::kernel::Hw;
use stillpoint::platform::Platform;

/// How many operations are measured, and how many before that are not.
pub(crate) struct Rounds {
    pub(crate) measured: usize,
    pub(crate) warm_up: usize,
}

impl Rounds {
    /// Returns the number of each round and whether it is measured.
    pub(crate) fn each(&self) -> impl Iterator<Item = (usize, bool)> {
        let warm_up = self.warm_up;
        (0..warm_up + self.measured).map(move |round| (round, round >= warm_up))
    }
}

/// Returns the nanoseconds of `ticks`.
pub(crate) fn ns(ticks: u64) -> u64 {
    Hw::frequency().ticks_to_ns(ticks)
}

/// Returns for how many nanoseconds `op_fn` runs.
pub(crate) fn time(op_fn: impl FnOnce()) -> u64 {
    let began = Hw::now();
    op_fn();
    ns(Hw::now().ticks_since(began))
}

//! The memory in use on a machine that has come to rest.

use core::time::Duration;

use stillpoint::{api, println};

use crate::machine::eventually;

/// How much of the heap and how many stacks are in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InUse {
    /// The part of the heap that is in use, in bytes.
    heap: usize,
    /// The number of stacks in use.
    stacks: usize,
}

impl InUse {
    fn now() -> InUse {
        InUse {
            heap: api::heap_in_use(),
            stacks: api::stacks_in_use(),
        }
    }

    /// Returns the memory in use after the memory of all ended threads has been freed. A
    /// thread's CPU frees it shortly after the thread was joined.
    pub fn settled() -> InUse {
        let mut last = InUse::now();
        eventually(|| {
            api::sleep(Duration::from_millis(20));
            let now = InUse::now();
            core::mem::replace(&mut last, now) == now
        });
        last
    }

    /// Waits until the same amount is in use again; returns whether it is.
    pub fn is_back(self) -> bool {
        let back = eventually(|| InUse::now() == self);
        if !back {
            println!("# in use: {:?}, before: {self:?}", InUse::now());
        }
        back
    }
}

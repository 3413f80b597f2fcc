//! Memory in use, of a machine that has come to rest.

use core::time::Duration;

use stillpoint::{api, println};

use crate::machine::eventually;

/// Heap and stacks in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InUse {
    heap: usize,
    stacks: usize,
}

impl InUse {
    fn now() -> InUse {
        InUse {
            heap: api::heap_in_use(),
            stacks: api::stacks_in_use(),
        }
    }

    /// What is in use once every thread that has ended is gone: its memory is
    /// given back by its CPU, a moment after its joiner goes on.
    pub fn settled() -> InUse {
        let mut last = InUse::now();
        eventually(|| {
            api::sleep(Duration::from_millis(20));
            let now = InUse::now();
            core::mem::replace(&mut last, now) == now
        });
        last
    }

    /// Whether as much is in use again, before long.
    pub fn is_back(self) -> bool {
        let back = eventually(|| InUse::now() == self);
        if !back {
            println!("# in use: {:?}, before: {self:?}", InUse::now());
        }
        back
    }
}

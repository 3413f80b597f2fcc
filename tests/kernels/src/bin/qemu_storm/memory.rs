//! Allocates blocks of all sizes, which one thread fills and another checks and frees.

use alloc::sync::Arc;
use alloc::vec::Vec;

use stillpoint::api::thread;
use stillpoint::kernel::Hw;
use stillpoint::sched::lock::Mutex;

use crate::world::{World, micros, one_in};
use kernel_support::xorshift::Random;

/// The most blocks that are on their way at a time.
const MOST: usize = 60;

/// The blocks on their way from one thread to another, each with the byte that fills it.
pub(crate) struct Parcels(Mutex<Vec<(u8, Vec<u8>)>, Hw>);

impl Parcels {
    pub(crate) fn new() -> Parcels {
        Parcels(Mutex::new(Vec::with_capacity(MOST + 1)))
    }

    /// Frees all blocks, and returns whether they were intact.
    pub(crate) fn end(&self) -> bool {
        self.0.lock().drain(..).all(|parcel| is_intact(&parcel))
    }
}

fn is_intact((mark, bytes): &(u8, Vec<u8>)) -> bool {
    bytes.iter().all(|byte| byte == mark)
}

/// Passes blocks on, and frees blocks of other threads.
pub(crate) fn pass_on(world: &Arc<World>, random: &mut Random) {
    for _ in 0..40 {
        let mark = u8::try_from(random.below(256)).expect("below 256");
        let size = (1 << random.below(13)) + random.below(60);
        let block = alloc::vec![mark; size];
        let mut parcels = world.parcels.0.lock();
        parcels.push((mark, block));
        if parcels.len() > MOST {
            let old = parcels.swap_remove(random.below(MOST));
            drop(parcels);
            world.must(is_intact(&old), format_args!("memory was overwritten"));
        }
    }
    if one_in(random, 2) {
        thread::sleep(micros(random, 400));
    }
}

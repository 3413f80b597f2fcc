//! Blocks of all sizes that are filled in one thread, and checked and freed in another.

use alloc::sync::Arc;
use alloc::vec::Vec;

use stillpoint::api::thread;
use stillpoint::kernel::Hw;
use stillpoint::sched::lock::Mutex;

use crate::world::{World, micros, one_in};
use kernel_support::xorshift::Random;

/// So many blocks are on their way.
const MOST: usize = 60;

/// Blocks on their way from one thread to another, each filled with its mark.
pub(crate) struct Parcels(Mutex<Vec<(u8, Vec<u8>)>, Hw>);

impl Parcels {
    pub(crate) fn new() -> Parcels {
        Parcels(Mutex::new(Vec::with_capacity(MOST + 1)))
    }

    /// Frees all; returns whether they were intact.
    pub(crate) fn end(&self) -> bool {
        self.0.lock().drain(..).all(|parcel| is_intact(&parcel))
    }
}

fn is_intact((mark, bytes): &(u8, Vec<u8>)) -> bool {
    bytes.iter().all(|byte| byte == mark)
}

/// Passes blocks on, and frees those of others.
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

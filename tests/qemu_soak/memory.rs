//! Workers that take memory and give it back, in another thread as well.

use alloc::vec::Vec;

use stillpoint::api::thread::{self, Builder};

use crate::world::World;
use crate::xorshift::Random;

/// Allocates, fills, passes on, checks and frees.
pub(crate) fn allocate(world: &World, mut random: Random) {
    let mut mine: Vec<(u8, Vec<u8>)> = Vec::new();
    let intact = |(mark, bytes): &(u8, Vec<u8>)| bytes.iter().all(|byte| byte == mark);
    while world.goes_on() {
        let mark = u8::try_from(random.below(256)).expect("below 256");
        let most = 2 << random.below(11);
        let size = 1 + random.below(most);
        mine.push((mark, alloc::vec![mark; size]));
        world.allocated.add(1);
        if mine.len() > 40 {
            let parcel = mine.swap_remove(random.below(mine.len()));
            let mut parcels = world.parcels.lock();
            parcels.push(parcel);
            if parcels.len() > 20 {
                let at = random.below(parcels.len());
                let parcel = parcels.swap_remove(at);
                drop(parcels);
                world.must(intact(&parcel), format_args!("memory of somebody else"));
            }
        }
        if random.below(64) == 0 {
            thread::yield_now();
        }
    }
    world.must(
        mine.iter().all(intact),
        format_args!("memory was overwritten"),
    );
    world.parcels.lock().clear();
}

/// Starts short threads and waits for them.
pub(crate) fn spawn(world: &World, mut random: Random) {
    while world.goes_on() {
        let numbers: Vec<usize> = (0..1 + random.below(4)).collect();
        let threads: Vec<_> = numbers
            .iter()
            .map(|number| {
                let number = *number;
                Builder::new().name("short").spawn(move || number * 3)
            })
            .collect();
        for (thread, number) in threads.into_iter().zip(numbers) {
            match thread {
                Ok(thread) => {
                    let value = thread.join();
                    world.must(value == number * 3, format_args!("{value} for {number}"));
                    world.spawned.add(1);
                }
                Err(error) => world.must(false, format_args!("no thread: {error}")),
            }
        }
    }
}

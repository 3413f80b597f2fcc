use core::time::Duration;

use stillpoint::api::module::{Atomic, Counting, Module, ModuleRef, Plain, UnloadError};
use stillpoint::api::time::deadline;
use stillpoint::println;

/// Used at any time: the cheapest references. They mask IRQs for a moment.
static CODEC: Module<fn(u8) -> u8, Plain> = Module::new();
/// Used by what may not be held up: with references that mask nothing.
static FILTER: Module<fn(u8) -> u8, Atomic> = Module::new();

/// Does a piece of work with a module of either kind. A reference may be kept, cloned and passed on;
/// the module stays until the last one is dropped.
fn work<K: Counting>(module: &Module<fn(u8) -> u8, K>) -> Option<u8> {
    let taken: ModuleRef<'_, fn(u8) -> u8, K> = module.try_get()?;
    let other = taken.clone();
    println!("{} references", module.references_racy());
    Some(taken(1) + other(2))
}

pub(crate) fn work_with_both() -> (Option<u8>, Option<u8>) {
    (work(&CODEC), work(&FILTER))
}

/// Unloads one if no thread uses it now; waits half a second for the users of the other.
pub(crate) fn make_room() -> bool {
    match CODEC.try_unload() {
        Ok(_) => println!("the codec is gone"),
        Err(UnloadError::InUse { references }) => println!("{references} uses of the codec"),
        Err(error) => println!("{error}"),
    }
    // Meanwhile no thread gets a new reference. If it fails all is as before.
    FILTER
        .unload_before(deadline(Duration::from_millis(500)))
        .is_ok()
}

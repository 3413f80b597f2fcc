use stillpoint::api::cpu::possible;
use stillpoint::api::mem::{HeapStats, heap_cached, heap_in_use, heap_stats, stacks_in_use};
use stillpoint::println;

/// Calls `call_fn`, and says what it has not given back. For a test that nothing leaks: no other
/// thread runs meanwhile.
pub(crate) fn leak_of(call_fn: impl FnOnce()) -> (usize, usize) {
    let (bytes, stacks) = (heap_in_use(), stacks_in_use());
    call_fn();
    // Saturating: it may have freed what was there before.
    let leaked = heap_in_use().saturating_sub(bytes);
    (leaked, stacks_in_use().saturating_sub(stacks))
}

/// Says where the memory is, and whether the CPUs allocate from their own caches.
pub(crate) fn report() {
    let HeapStats {
        total,
        in_use,
        cached,
        in_depots,
        free,
        shared_lock_takings,
    } = heap_stats();
    println!("{in_use} of {total} bytes are in use, {free} are free");
    println!("{cached} bytes wait in caches, {in_depots} on their way between CPUs");
    for cpu in possible().iter() {
        println!("CPU{cpu} has {} of them", heap_cached(cpu));
    }
    // If this number grows with each allocation, all CPUs wait for one lock.
    println!("the shared part was used {shared_lock_takings} times");
}

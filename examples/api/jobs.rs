use alloc::vec::Vec;

use stillpoint::api::pool::{JobHandle, Pool, PoolScope, ScopedJobHandle};
use stillpoint::println;

/// Sorts two halves at the same time, and merges them. What is sorted stays the caller's: the jobs
/// borrow it, and are over when the scope ends.
pub(crate) fn sort(pool: &Pool, numbers: &mut [u32]) -> Vec<u32> {
    let (one, other) = numbers.split_at_mut(numbers.len() / 2);
    pool.scope(|scope| {
        let sorted: ScopedJobHandle<'_, ()> = sorting(scope, one);
        other.sort_unstable();
        if !sorted.is_finished() {
            println!("this thread was first"); // `join` does the job itself if none has begun it.
        }
        sorted.join();
    });
    let mut merged: Vec<u32> = one.iter().chain(other.iter()).copied().collect();
    merged.sort(); // Finds the two that are sorted.
    merged
}

fn sorting<'scope>(
    scope: &'scope PoolScope<'scope, '_>,
    numbers: &'scope mut [u32],
) -> ScopedJobHandle<'scope, ()> {
    scope.spawn(|| numbers.sort_unstable())
}

/// Prints as many results as there are by now, and returns the others.
pub(crate) fn print_finished(jobs: Vec<JobHandle<u32>>) -> Vec<JobHandle<u32>> {
    let (finished, others): (Vec<_>, Vec<_>) = jobs.into_iter().partition(JobHandle::is_finished);
    for job in finished {
        println!("{}", job.join()); // At once.
    }
    others
}

use stillpoint::api::thread::{self, Builder, Nice, Scope, ScopedJoinHandle, SpawnError};
use stillpoint::println;

/// Counts words of two texts at the same time. The threads borrow them: a scope doesn't end before
/// its threads.
pub(crate) fn count(first: &str, second: &str) -> usize {
    thread::scope(|scope| {
        let other = scope.spawn(|| second.split_whitespace().count());
        let own = first.split_whitespace().count();
        if !other.is_finished() {
            println!("{} takes longer", other.thread().name());
        }
        own + other.join()
    })
}

/// The same with threads that have properties, and where a lack of stacks is no panic.
pub(crate) fn longest<'env>(texts: &'env [&'env str]) -> Result<usize, SpawnError> {
    thread::scope(|scope| {
        let threads = texts.iter().map(|text| background(scope, text));
        let threads = threads.collect::<Result<alloc::vec::Vec<_>, _>>()?;
        Ok(threads
            .into_iter()
            .map(ScopedJoinHandle::join)
            .max()
            .unwrap_or(0))
    })
}

fn background<'scope>(
    scope: &'scope Scope<'scope, '_>,
    text: &'scope str,
) -> Result<ScopedJoinHandle<'scope, usize>, SpawnError> {
    let builder = Builder::new().name("count").nice(Nice::MAX);
    builder.spawn_scoped(scope, || text.chars().count())
}

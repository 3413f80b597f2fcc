use stillpoint::api::rcu::synchronize_tasks;
use stillpoint::api::thread::{no_flush, quiescent};

/// Replays a long list of calls through `table`, which another thread may replace. The list is one
/// section; between two calls the thread says that it has nothing of the table in its hands. So a
/// change waits for one call, not for the whole list.
pub(crate) fn replay(calls: &[usize], table: impl Fn(usize)) {
    no_flush(|| {
        for call in calls {
            table(*call);
            quiescent();
        }
    });
}

/// Frees what was the table, when no thread is in it.
pub(crate) fn free(free_fn: impl FnOnce()) {
    synchronize_tasks();
    free_fn();
}

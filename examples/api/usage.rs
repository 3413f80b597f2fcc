use core::time::Duration;

use stillpoint::api::thread::{Thread, Usage, current};
use stillpoint::api::time::now;
use stillpoint::println;

/// Calls `call_fn`, and says what has kept it: itself, what it waited for, or other threads.
pub(crate) fn profile(call_fn: impl FnOnce()) -> Duration {
    let thread: Thread = current();
    let (began, before) = (now(), thread.usage());
    call_fn();
    let (took, after) = (began.elapsed(), thread.usage());
    let run_time = after.run_time - before.run_time;
    println!("{}: {run_time:?} of {took:?} on a CPU", thread.name());
    let Usage {
        waits,
        preemptions,
        migrations,
        ..
    } = after;
    println!("it waited {} times", waits - before.waits);
    println!(
        "others took its CPU {} times",
        preemptions - before.preemptions
    );
    println!("it was moved {} times", migrations - before.migrations);
    run_time
}

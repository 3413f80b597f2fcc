//! Computing for a time.

use core::future::poll_fn;
use core::hint::black_box;
use core::task::Poll;
use core::time::Duration;

use stillpoint::api::thread;

/// For how long a task computes until it lets others have the worker.
const SLICE: Duration = Duration::from_millis(1);

/// How many steps are between two looks at the time: some microseconds.
const STEPS: u32 = 4096;

/// Computes for `time` of CPU time.
pub(super) async fn work(time: Duration) {
    let mut left = time;
    while !left.is_zero() {
        let slice = left.min(SLICE);
        compute(slice);
        left -= slice;
        if !left.is_zero() {
            yield_now().await;
        }
    }
}

/// Computes until the calling thread has had a CPU for `time`.
fn compute(time: Duration) {
    let this = thread::current();
    let began = this.usage().run_time;
    let mut number = 1_u64;
    while this.usage().run_time - began < time {
        for step in 0..STEPS {
            number = black_box(number.rotate_left(7) ^ u64::from(step));
        }
    }
}

/// Lets the tasks that wait have their turn.
async fn yield_now() {
    let mut has_yielded = false;
    poll_fn(|context| {
        if has_yielded {
            return Poll::Ready(());
        }
        has_yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::Poll;
use core::time::Duration;

use stillpoint::api::hotplug::InstallError;
use stillpoint::api::pool::Pool;
use stillpoint::api::task::{Sleep, TaskHandle, block_on, sleep, sleep_until};
use stillpoint::api::time::{Instant, deadline};
use stillpoint::println;

/// Returns the value of `future`, or `None` if it isn't there by `at`. What is left of the future
/// is dropped then.
pub(crate) async fn before<F: Future>(at: Instant, future: F) -> Option<F::Output> {
    let (mut future, mut late) = (pin!(future), pin!(sleep_until(at)));
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => late.as_mut().poll(context).map(|()| None),
    })
    .await
}

/// Two tasks, and a thread that looks at one and waits for the other.
pub(crate) fn run() -> Result<(), InstallError> {
    let pool = Pool::new()?;
    let quick: TaskHandle<u32> = pool.spawn_async(async { 42 });
    let slow = pool.spawn_async(async {
        let pause: Sleep = sleep(Duration::from_secs(60));
        before(deadline(Duration::from_millis(5)), pause).await
    });
    if !slow.is_finished() {
        println!("the thread does something else");
    }
    assert_eq!((block_on(quick), slow.join()), (42, None));
    Ok(())
}

//! The time limit of a task that waits for something else.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use stillpoint::api::task::{Sleep, sleep_until};
use stillpoint::api::time::{Instant, now};

/// Wakes a task at an instant, or earlier. A later instant than the one before costs nothing: the
/// timer that is set stays, and is set anew when it has come. So a connection has a timer for each
/// time that it is idle for long, not for each request.
pub(super) struct Alarm {
    /// What is set, and for when.
    set: Option<(Sleep, Instant)>,
}

impl Alarm {
    pub(super) fn new() -> Alarm {
        Alarm { set: None }
    }

    /// Is ready when it is `until`. Otherwise the task is woken then, or earlier.
    pub(super) fn poll(&mut self, until: Instant, context: &mut Context<'_>) -> Poll<()> {
        while now() < until {
            let (sleep, at) = match &mut self.set {
                Some((sleep, at)) if *at <= until => (sleep, *at),
                other => {
                    let (sleep, at) = other.insert((sleep_until(until), until));
                    (sleep, *at)
                }
            };
            if Pin::new(sleep).poll(context).is_pending() {
                return Poll::Pending;
            }
            // It came for an earlier limit.
            if at < until {
                self.set = None;
            }
        }
        Poll::Ready(())
    }
}

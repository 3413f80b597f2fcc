//! What may end a stop early, for as long as the stop's frame is there.

use crate::sched::Timer;
use crate::stop_machine::cancel::GiveUp;
use crate::stop_machine::{CancelToken, StopHost, StopRequest};
use crate::time::Instant;

/// The timer of a stop's deadline, and the token that may cancel the stop. Both know the stop
/// until this is dropped (`frame-outlives-giver-up` of `give_up`).
pub(super) struct EarlyEnd<'a, P: StopHost> {
    token: Option<&'a CancelToken<P>>,
    /// Dropped after the token was left: this waits for the timer's function.
    _timer: Option<Timer<P>>,
}

impl<'a, P: StopHost> EarlyEnd<'a, P> {
    /// Has `stop` given up at the deadline of `request`, or when its token is cancelled.
    ///
    /// # Context
    /// The thread that calls for the stop, which stays on this CPU: the timer's. Allocates if
    /// there is a deadline.
    ///
    /// # Safety
    /// `stop` stays until this is dropped.
    pub(super) unsafe fn begin(stop: &(dyn GiveUp + '_), request: &StopRequest<'a, P>) -> Self {
        // SAFETY: only the lifetime changes. The token and the timer use it until this is
        // dropped, and the caller keeps it until then.
        let stop: &'static dyn GiveUp = unsafe { core::mem::transmute(stop) };
        if let Some(token) = request.cancel
            && !token.begin(stop)
        {
            stop.give_up();
        }
        let timer = (request.deadline != Instant::FOREVER).then(|| {
            let timer = Timer::new(move || stop.give_up());
            timer.start(request.deadline);
            timer
        });
        EarlyEnd {
            token: request.cancel,
            _timer: timer,
        }
    }
}

impl<P: StopHost> Drop for EarlyEnd<'_, P> {
    fn drop(&mut self) {
        if let Some(token) = self.token {
            token.end();
        }
    }
}

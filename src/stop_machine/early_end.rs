//! What may end a stop early, for as long as the stop's frame is there: it arms the deadline's timer and
//! the token. `give_up` is what they call.

use crate::sched::Timer;
use crate::stop_machine::cancel::{GiveUp, Why};
use crate::stop_machine::{CancelToken, StopHost};
use crate::time::Instant;

/// The timer of a stop's deadline, and the token that may cancel the stop. Both know the stop
/// until this is dropped (`frame-outlives-giver-up` of `give_up`).
pub(super) struct EarlyEnd<'a, P: StopHost> {
    token: Option<&'a CancelToken<P>>,
    /// Dropped after the token was left: this waits for the timer's function.
    _timer: Option<Timer<P>>,
    /// Tells of a flush that takes long. The caller sleeps, and in the mode it wouldn't run.
    _late: Option<Timer<P>>,
}

impl<'a, P: StopHost> EarlyEnd<'a, P> {
    /// Has `stop` given up at `deadline`, or when `token` is cancelled. If it begins with a flush,
    /// that is reported at `late_flush`.
    ///
    /// # Context
    /// The thread that calls for the stop, which stays on this CPU: the timer's. Allocates if
    /// there is a deadline.
    ///
    /// # Safety
    /// `stop` stays until this is dropped.
    pub(super) unsafe fn begin(
        stop: &(dyn GiveUp + '_),
        deadline: Instant,
        token: Option<&'a CancelToken<P>>,
        late_flush: Option<Instant>,
    ) -> Self {
        // SAFETY: only the lifetime changes. The token and the timer use it until this is
        // dropped, and the caller keeps it until then.
        let stop: &'static dyn GiveUp = unsafe { core::mem::transmute(stop) };
        if let Some(token) = token
            && !token.begin(stop)
        {
            stop.give_up(Why::Cancel);
        }
        let timer = (deadline != Instant::FOREVER).then(|| {
            let timer = Timer::new(move || stop.give_up(Why::Deadline));
            timer.start(deadline);
            timer
        });
        // Most deadlines are earlier, and end the flush before it is late: that spares a timer.
        let late = late_flush.filter(|late| *late < deadline).map(|at| {
            let timer = Timer::new(move || stop.tell_late_flush());
            timer.start(at);
            timer
        });
        EarlyEnd {
            token,
            _timer: timer,
            _late: late,
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

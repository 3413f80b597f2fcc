use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;

use alloc::sync::Arc;

use stillpoint::api::sync::Completion;
use stillpoint::api::time::{Timer, deadline, now};
use stillpoint::println;

/// Blinks ten times a second until it is dropped.
pub(crate) struct Blinker {
    timer: Timer,
    blinks: Arc<AtomicU32>,
}

impl Blinker {
    pub(crate) fn start() -> Blinker {
        let blinks = Arc::new(AtomicU32::new(0));
        let its = Arc::clone(&blinks);
        let timer = Timer::new(move || {
            its.fetch_add(1, Ordering::Relaxed);
        });
        timer.start_periodic(now(), Duration::from_millis(100));
        Blinker { timer, blinks }
    }

    pub(crate) fn has_blinked(&self) -> bool {
        self.blinks.load(Ordering::Relaxed) > 0
    }

    /// Ends the blinking. On return its function doesn't run any more, so the number is the last.
    pub(crate) fn stop(&self) -> u32 {
        if !self.timer.cancel() {
            println!("it was stopped before");
        }
        self.blinks.load(Ordering::Relaxed)
    }
}

/// Has `done` completed by a time-out, unless the returned timer is cancelled before.
pub(crate) fn time_out(done: &Arc<Completion>) -> Timer {
    let its = Arc::clone(done);
    let timer = Timer::new(move || its.complete());
    timer.start(deadline(Duration::from_secs(2)));
    timer
}

/// For an interrupt handler, which can't wait for the timer's function: what it waited for is here.
pub(crate) fn answered(time_out: &Timer, done: &Completion) {
    if time_out.try_cancel() {
        done.complete();
    } else {
        println!("too late, or a second time"); // The function runs just now, or has run.
    }
    assert!(!time_out.is_set());
}

use core::time::Duration;

use stillpoint::api::stop::{FLUSH_LIMIT, Stop, StopError, StopMode};
use stillpoint::api::stop::{HeldBy, HeldUp, NotCome};
use stillpoint::api::time::deadline;
use stillpoint::println;

/// Has `change_fn` change what all CPUs read, within 10 ms; else nothing has changed, and the
/// console says what was in the way.
pub(crate) fn change(change_fn: impl FnOnce() + Send) -> bool {
    let soon = deadline(Duration::from_millis(10));
    judge(Stop::new().before(soon).run(change_fn))
}

/// Does so where also threads that were preempted may not be in the middle of reading. They have
/// to go on for that, which takes longer: a quarter of the time that such a stop has by itself.
pub(crate) fn change_flushed(change_fn: impl FnOnce() + Send) -> bool {
    let flush = Stop::new().mode(StopMode::FlushPreempted);
    judge(flush.before(deadline(FLUSH_LIMIT / 4)).run(change_fn))
}

fn judge(stopped: Result<(), StopError>) -> bool {
    match stopped {
        Ok(()) => return true,
        Err(StopError::Late(missing) | StopError::Cancelled(missing)) => {
            missing.iter().for_each(blame);
        }
        Err(StopError::Busy(Some(thread))) => println!("{thread} stops it, or moves a CPU"),
        Err(error) => println!("{error}"),
    }
    false
}

fn blame(missing: &NotCome) {
    let NotCome { cpu, held_up } = missing;
    let HeldUp { thread, by } = held_up;
    let why = match by {
        HeldBy::IrqsOff => "has IRQs masked, or its host gives it no time",
        HeldBy::PreemptionOff => "is in a long section",
        HeldBy::Call(name) | HeldBy::Timer(name) => name,
        HeldBy::OtherStop => "does another work of the stoppers",
        HeldBy::Unflushed => "has a thread that doesn't give it away",
    };
    match thread {
        Some(thread) => println!("CPU{cpu} in {thread}: {why}"),
        None => println!("CPU{cpu}: {why}"),
    }
}

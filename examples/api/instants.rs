use core::time::Duration;

use stillpoint::api::thread;
use stillpoint::api::time::{Frequency, Instant, frequency, now, unix_time};
use stillpoint::println;

/// Calls `sample_fn` every millisecond until `end`, or for ever if that is [`Instant::FOREVER`].
/// The calls don't drift: each is due a millisecond after the last one was due, not after it ended.
pub(crate) fn sample(mut sample_fn: impl FnMut(Duration), end: Instant) {
    let began = now();
    let mut due = began;
    while end == Instant::FOREVER || due < end {
        thread::sleep_until(due);
        sample_fn(due.elapsed()); // How late it is.
        due += Duration::from_millis(1);
    }
    println!("{:?} of samples", now().duration_since(began));
}

/// Returns how many of the counter's ticks `call_fn` takes, less what it takes to look at the
/// counter. A tick is the shortest time that this machine can tell from none.
pub(crate) fn ticks_of(call_fn: impl FnOnce()) -> u64 {
    let [first, second] = [now(), now()];
    call_fn();
    now().ticks_since(second) - second.ticks_since(first)
}

/// Says of a limit in ticks what it means in time, on this machine and on one of 1 GHz.
pub(crate) fn compare(ticks: u64) -> Option<bool> {
    let (here, there): (Frequency, Frequency) = (frequency(), Frequency::new(1_000_000_000)?);
    println!("{} Hz: {} ns", here.hz(), here.ticks_to_ns(ticks));
    let time = Duration::from_nanos(there.ticks_to_ns(ticks));
    let limit = now().after_ticks(here.duration_to_ticks(time));
    println!("the limit of that one is at {} here", limit.0);
    Some(limit > now())
}

/// Says on which day of the calendar, counted from the first of 1970, this is.
pub(crate) fn today() -> Option<u64> {
    Some(unix_time()?.as_secs() / 86_400)
}

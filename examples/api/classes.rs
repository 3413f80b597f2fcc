use core::time::Duration;

use stillpoint::api::thread::{Class, Nice, Policy, Priority, Thread};
use stillpoint::api::thread::{current, realtime_runtime, set_realtime_runtime};
use stillpoint::println;

/// Has the running thread do `call_fn` before all ordinary threads, and before those of a program
/// that are less urgent than `priority`.
pub(crate) fn urgently<R>(priority: Priority, call_fn: impl FnOnce() -> R) -> R {
    let thread: Thread = current();
    let before = thread.class();
    thread.set_class(Class::fifo(priority));
    let value = call_fn();
    thread.set_class(before);
    value
}

/// Says of `thread` what it may do to others.
pub(crate) fn explain(thread: &Thread) {
    let class = thread.class();
    match class {
        Class::Realtime(priority, Policy::Fifo) => {
            println!("priority {}: it runs until it waits", priority.get());
        }
        Class::Realtime(priority, Policy::RoundRobin) => {
            println!("priority {}: its equals take turns", priority.get());
        }
        _ => println!("niceness {}", thread.nice().get()),
    }
    if let Some(slice) = class.slice() {
        println!("a turn takes {slice:?}");
    }
    // A lower level goes first.
    let most_urgent = Class::round_robin(Priority::MAX);
    if class.level() > most_urgent.level() {
        println!("there may be others before it");
    }
}

/// Sets the class or the niceness of `thread` to what a user has typed.
pub(crate) fn set(thread: &Thread, priority: Option<u8>, nice: i8) -> Result<(), &'static str> {
    if let Some(priority) = priority {
        let priority = Priority::new(priority).ok_or("a priority is 1 to 99")?;
        thread.set_class(Class::fifo(priority));
    }
    let nice = Nice::new(nice).ok_or("a niceness is -20 to 19")?;
    if nice == Nice::MIN {
        println!("it gets nearly 90 times the time of an ordinary thread");
    }
    thread.set_nice(nice);
    Ok(())
}

/// Leaves ordinary threads a tenth of each CPU, whatever the realtime threads do. Without a bound a
/// loop of one of them may keep a CPU for ever.
pub(crate) fn leave_a_tenth() {
    let most = Duration::from_millis(900);
    if realtime_runtime().is_none_or(|runtime| runtime > most) {
        set_realtime_runtime(Some(most));
    }
}

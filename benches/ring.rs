//! A load like that of a parallel build: many threads that compute, sleep and pass messages.
//!
//! A kernel of its own, booted by `make ring`. The threads stand in a ring. In each round a
//! thread computes, sleeps, sends a word to its neighbour, and takes the word of its other
//! neighbour. A sample is the time from the first thread's start to the last one's end.
#![cfg_attr(target_os = "none", no_std)]
#![cfg_attr(target_os = "none", no_main)]

#[cfg(not(target_os = "none"))]
fn main() {}

#[cfg(target_os = "none")]
extern crate alloc;

#[cfg(target_os = "none")]
mod support {
    pub(crate) mod lines;
    pub(crate) mod work;
}

#[cfg(target_os = "none")]
mod kernel {
    use alloc::sync::Arc;
    use alloc::vec::Vec;
    use core::time::Duration;

    use stillpoint::api::sync::Completion;
    use stillpoint::api::thread::{self, Builder, JoinHandle};
    use stillpoint::api::time::{Instant, now};

    use crate::support::lines::print_line;
    use crate::support::work::{Channel, compute, number};

    stillpoint::entry!(main);

    /// How many threads are in the ring.
    const THREADS: usize = 64;

    /// What each thread does.
    #[derive(Clone, Copy)]
    struct Work {
        rounds: u64,
        turns: u64,
        sleep: Duration,
    }

    fn main() {
        // What is left of the boot settles.
        thread::sleep(Duration::from_millis(100));
        let rounds = number("rounds", 20);
        let sleep = Duration::from_micros(number("sleep", 200));
        for (op, turns) in [
            ("ring.coarse", number("coarse", 200_000)),
            ("ring.fine", number("fine", 10_000)),
        ] {
            let work = Work {
                rounds,
                turns,
                sleep,
            };
            let samples = (0..number("runs", 6)).map(|_| run(work)).collect();
            print_line(op, samples, 0);
        }
    }

    /// Runs the ring once, and returns how many nanoseconds it took.
    fn run(work: Work) -> u64 {
        let gate = Arc::new(Completion::new());
        let channels: Vec<_> = (0..THREADS).map(|_| Arc::new(Channel::new())).collect();
        let threads: Vec<_> = (0..THREADS)
            .map(|place| {
                let gate = Arc::clone(&gate);
                let from = Arc::clone(&channels[place]);
                let to = Arc::clone(&channels[(place + 1) % THREADS]);
                let thread = Builder::new().name("ring").spawn(move || {
                    gate.wait();
                    member(work, &from, &to)
                });
                thread.expect("a stack is free")
            })
            .collect();
        gate.complete_all();
        let spans: Vec<_> = threads.into_iter().map(JoinHandle::join).collect();
        let began = spans.iter().map(|(began, _)| *began).min();
        let ended = spans.iter().map(|(_, ended)| *ended).max();
        let took = ended.expect("threads") - began.expect("threads");
        u64::try_from(took.as_nanos()).expect("less than centuries")
    }

    /// Does a thread's work, and returns when that began and when it ended.
    fn member(work: Work, from: &Channel, to: &Channel) -> (Instant, Instant) {
        let began = now();
        for round in 0..work.rounds {
            compute(work.turns);
            thread::sleep(work.sleep);
            to.send(round);
            assert_eq!(from.receive(), round, "words come in their order");
        }
        (began, now())
    }
}

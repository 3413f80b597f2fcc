//! Sleeping locks of every kind: a bounded buffer between threads, readers and a
//! writer, permits, a counter, completions, and a queue of threads that wait for a word.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::fmt;

use stillpoint::api::thread;
use stillpoint::kernel::Hw;
use stillpoint::sched::lock::{Completion, Condvar, Mutex, RwLock, Semaphore, WaitQueue};
use stillpoint::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::world::{Count, World, any_cpu, micros, one_in};
use kernel_support::machine::after;
use kernel_support::xorshift::Random;

/// How many threads may be inside the semaphore.
const PERMITS: usize = 2;

/// How many items fit into the buffer.
const ROOM: usize = 4;

/// The locks, each with counters of its use.
pub(crate) struct Locks {
    over: AtomicBool,
    buffer: Mutex<VecDeque<u64>, Hw>,
    not_full: Condvar<Hw>,
    not_empty: Condvar<Hw>,
    put: Count,
    taken: Count,
    pair: RwLock<(u64, u64), Hw>,
    written: Count,
    permits: Semaphore<Hw>,
    inside: AtomicU64,
    number: Mutex<u64, Hw>,
    added: Count,
    done: Completion<Hw>,
    completed: Count,
    waited: Count,
    queue: WaitQueue<Hw>,
    word: AtomicU64,
}

impl Locks {
    pub(crate) fn new() -> Locks {
        Locks {
            over: AtomicBool::new(false),
            buffer: Mutex::new(VecDeque::with_capacity(ROOM)),
            not_full: Condvar::new(),
            not_empty: Condvar::new(),
            put: Count::default(),
            taken: Count::default(),
            pair: RwLock::new((0, 0)),
            written: Count::default(),
            permits: Semaphore::new(PERMITS),
            inside: AtomicU64::new(0),
            number: Mutex::new(0),
            added: Count::default(),
            done: Completion::new(),
            completed: Count::default(),
            waited: Count::default(),
            queue: WaitQueue::new(),
            word: AtomicU64::new(0),
        }
    }

    /// Has no thread wait for room or for an item any more.
    pub(crate) fn end(&self) {
        let buffer = self.buffer.lock();
        // Under the lock: a thread that has checked before is in a queue now.
        self.over.store(true, Ordering::Relaxed);
        drop(buffer);
        self.not_full.notify_all();
        self.not_empty.notify_all();
    }

    /// Completes, and wakes the threads that wait for the word. Any context.
    pub(crate) fn signal(&self) {
        self.completed.add(1);
        self.done.complete();
        self.word.fetch_add(1, Ordering::Relaxed);
        self.queue.wake_all();
    }

    /// Wakes a thread that waits for the word, although the word has not changed. Any context.
    pub(crate) fn wake_one(&self) {
        self.queue.wake_one();
    }

    /// Counts if the counter is free. Any context.
    pub(crate) fn try_count(&self) {
        if let Some(mut number) = self.number.try_lock() {
            *number += 1;
            self.added.add(1);
        }
    }

    pub(crate) fn has_worked(&self) -> bool {
        [&self.taken, &self.written, &self.added, &self.waited]
            .iter()
            .all(|count| count.get() > 0)
    }

    /// Returns whether the counters add up. Takes what is left in the completion.
    pub(crate) fn add_up(&self) -> bool {
        while self.done.try_wait() {
            self.waited.add(1);
        }
        let pair = *self.pair.read();
        let left = self.buffer.lock().len() as u64;
        self.put.get() == self.taken.get() + left
            && pair == (self.written.get(), self.written.get())
            && *self.number.lock() == self.added.get()
            && self.completed.get() == self.waited.get()
    }
}

impl fmt::Display for Locks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "put={} taken={} written={} added={} completed={} waited={}",
            self.put, self.taken, self.written, self.added, self.completed, self.waited
        )
    }
}

/// Puts an item into the buffer when there is room. Some threads wait for short times, so that
/// some give up just when they are woken.
pub(crate) fn put(world: &Arc<World>, random: &mut Random) {
    let locks = &world.locks;
    let mut buffer = locks.buffer.lock();
    while buffer.len() == ROOM {
        if locks.over.load(Ordering::Relaxed) {
            return;
        }
        buffer = if one_in(random, 3) {
            let (again, _) = locks
                .not_full
                .wait_until(buffer, after(micros(random, 500)));
            again
        } else {
            locks.not_full.wait(buffer)
        };
    }
    world.must(
        buffer.len() < ROOM,
        format_args!("{} are in the buffer", buffer.len()),
    );
    buffer.push_back(1);
    locks.put.add(1);
    locks.not_empty.notify_one();
}

/// Takes an item out of the buffer when there is one.
pub(crate) fn take(world: &Arc<World>, random: &mut Random) {
    let locks = &world.locks;
    let mut buffer = locks.buffer.lock();
    loop {
        if let Some(one) = buffer.pop_front() {
            locks.taken.add(one);
            locks.not_full.notify_one();
            return;
        }
        if locks.over.load(Ordering::Relaxed) {
            return;
        }
        buffer = if one_in(random, 3) {
            let (again, _) = locks
                .not_empty
                .wait_until(buffer, after(micros(random, 500)));
            again
        } else {
            locks.not_empty.wait(buffer)
        };
    }
}

/// Takes locks in their order, and sometimes sleeps while it holds one.
pub(crate) fn lock(world: &Arc<World>, random: &mut Random) {
    let locks = &world.locks;
    for _ in 0..10 {
        match random.below(5) {
            0 => {
                let mut pair = locks.pair.write();
                pair.0 += 1;
                if one_in(random, 4) {
                    thread::sleep(micros(random, 100));
                }
                pair.1 += 1;
                locks.written.add(1);
            }
            1 => {
                let pair = locks.pair.read();
                let before = *pair;
                thread::yield_now();
                world.must(
                    before.0 == before.1 && *pair == before,
                    format_args!("a reader sees {before:?}, then {:?}", *pair),
                );
            }
            2 => {
                locks.permits.acquire();
                let inside = locks.inside.fetch_add(1, Ordering::Relaxed) + 1;
                world.must(
                    inside <= PERMITS as u64,
                    format_args!("{inside} threads have {PERMITS} permits"),
                );
                thread::yield_now();
                locks.inside.fetch_sub(1, Ordering::Relaxed);
                locks.permits.release();
            }
            3 => {
                let mut number = locks.number.lock();
                let before = *number;
                if one_in(random, 4) {
                    thread::sleep(micros(random, 80));
                }
                *number = before + 1;
                locks.added.add(1);
            }
            _ => locks.try_count(),
        }
    }
}

/// Waits for completions and for the word for a short time; has another CPU signal.
pub(crate) fn wait(world: &Arc<World>, random: &mut Random) {
    let locks = &world.locks;
    if one_in(random, 2) {
        // A CPU that is off does nothing.
        let _called = stillpoint::api::call_on(any_cpu(random), || locks.signal());
    }
    for _ in 0..3 {
        if locks.done.wait_until(after(micros(random, 400))) {
            locks.waited.add(1);
        }
    }
    let before = locks.word.load(Ordering::Relaxed);
    let changed = || locks.word.load(Ordering::Relaxed) != before;
    locks.queue.wait_until(after(micros(random, 600)), changed);
}

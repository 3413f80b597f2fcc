use alloc::collections::VecDeque;

use stillpoint::api::sync::{Condvar, Mutex};
use stillpoint::api::time::Instant;

/// Passes values from threads to threads; keeps ten at most.
pub(crate) struct Channel<T> {
    state: Mutex<State<T>>,
    not_empty: Condvar,
    not_full: Condvar,
}

struct State<T> {
    values: VecDeque<T>,
    is_closed: bool,
}

impl<T> Channel<T> {
    pub(crate) const fn new() -> Channel<T> {
        Channel {
            state: Mutex::new(State {
                values: VecDeque::new(),
                is_closed: false,
            }),
            not_empty: Condvar::new(),
            not_full: Condvar::new(),
        }
    }

    /// Waits until there is room.
    pub(crate) fn send(&self, value: T) {
        let state = self.state.lock();
        // The mutex is open while it waits, and held again when this returns.
        let mut state = self
            .not_full
            .wait_while(state, |state| state.values.len() == 10);
        state.values.push_back(value);
        self.not_empty.notify_one(); // One value, one receiver.
    }

    /// Waits for a value; returns `None` if the channel is closed and empty.
    pub(crate) fn receive(&self) -> Option<T> {
        let mut state = self.state.lock();
        loop {
            if let Some(value) = state.values.pop_front() {
                self.not_full.notify_one();
                return Some(value);
            }
            if state.is_closed {
                return None;
            }
            state = self.not_empty.wait(state); // Another receiver may be first: so once more.
        }
    }

    /// Waits for a value until `at`.
    pub(crate) fn receive_until(&self, at: Instant) -> Option<T> {
        let mut state = self.state.lock();
        let mut in_time = true;
        while state.values.is_empty() && in_time {
            (state, in_time) = self.not_empty.wait_until(state, at);
        }
        let value = state.values.pop_front()?;
        self.not_full.notify_one();
        Some(value)
    }

    /// Has no receiver wait any more.
    pub(crate) fn close(&self) {
        self.state.lock().is_closed = true;
        self.not_empty.notify_all(); // It concerns each of them.
    }
}

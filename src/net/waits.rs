//! What waits until a socket can go on: wakers of threads and of tasks.

use alloc::vec::Vec;
use core::task::Waker;

/// How many wakers a place holds. The next one has all others woken. Their waits look, and come back:
/// so the wakers of waits that were given up don't stay.
const PLACES: usize = 8;

/// A place where threads and tasks wait.
#[derive(Debug, Default)]
pub(super) struct Waits(Vec<Waker>);

impl Waits {
    /// Has `waker` woken at the next [`Waits::wake`]. What has to go to make room goes to `wakes`.
    pub(super) fn add(&mut self, waker: &Waker, wakes: &mut Vec<Waker>) {
        if self.0.iter().any(|known| known.will_wake(waker)) {
            return;
        }
        if self.0.len() >= PLACES {
            self.wake(wakes);
        }
        self.0.push(waker.clone());
    }

    /// Moves all wakers to `wakes`, which are woken when the stack's lock is open again.
    pub(super) fn wake(&mut self, wakes: &mut Vec<Waker>) {
        wakes.append(&mut self.0);
    }
}

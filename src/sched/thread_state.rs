//! The states of a thread.

#![forbid(unsafe_code)]

/// The state of a thread. See the diagram in [`crate::sched`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum ThreadState {
    /// It is on its CPU's run queue, or on its way there.
    Runnable,
    /// It is on its CPU. Or it was preempted while Blocking or Parking and has been
    /// woken or unparked since: then it is on the run queue.
    Running,
    /// It is about to wait: a wake makes it Running again. It is still on its CPU, or on
    /// the run queue if it was preempted.
    Blocking,
    /// It waits for a wake.
    Blocked,
    /// It is about to park: `Scheduler::unpark` makes it Running again. It is still on
    /// its CPU, or on the run queue if it was preempted.
    Parking,
    /// It waits for `Scheduler::unpark`.
    Parked,
    /// It has exited.
    Dead,
}

impl ThreadState {
    #[inline]
    pub(super) fn from_word(word: u32) -> ThreadState {
        match word {
            0 => ThreadState::Runnable,
            1 => ThreadState::Running,
            2 => ThreadState::Blocking,
            3 => ThreadState::Blocked,
            4 => ThreadState::Parking,
            5 => ThreadState::Parked,
            6 => ThreadState::Dead,
            _ => no_state(word),
        }
    }
}

/// Out of line, so that the states, which are read at every switch, cost a comparison.
#[cold]
#[inline(never)]
fn no_state(word: u32) -> ! {
    panic!("BUG: {word} is no thread state");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_survives_its_encoding() {
        for word in 0..7 {
            assert_eq!(ThreadState::from_word(word) as u32, word);
        }
    }
}
